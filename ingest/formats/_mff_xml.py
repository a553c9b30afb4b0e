"""What the XML of an EGI MFF says: its start, epochs, channels, categories and events.

Times count from the start of the recording, in microseconds; in nanoseconds where the start itself has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel
from neuroloom.ingest.formats._channels import kind_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.formats._xml import all_of, child, name_of, root_of, text_of
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Events

MAX_EVENTS = 1_000_000
MAX_KEYS = 50
_CM_TO_MM = 10.0


@dataclass(frozen=True, kw_only=True)
class Start:
    """text: as the file has it. when: to the microsecond. steps_hz: how many steps of the times a second has."""

    text: str
    when: datetime
    steps_hz: float


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A stretch that was recorded, and its blocks, counted from 1."""

    start_s: float
    stop_s: float
    first_block: int
    last_block: int


@dataclass(frozen=True, kw_only=True)
class Average:
    """An epoch that is an average: when it begins, and when the event in it is."""

    category: str
    begin_s: float
    event_s: float
    n_trials: int


def record_time(path: Path) -> Start:
    """Raises FormatError where info.xml states none."""
    text = text_of(root_of(path / "info.xml"), "recordTime")
    when = _moment(text)
    if when is None:
        raise FormatError(f"{path / 'info.xml'}: recordTime is {text[:60]!r}; a date and a time are wanted")
    digits = re.search(r"\.(\d+)", text)
    return Start(text=text, when=when, steps_hz=1e9 if digits and len(digits[1]) > 6 else 1e6)


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _number(path: Path, element: Element, name: str) -> float:
    said = text_of(element, name)
    try:
        value = float(said)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise FormatError(f"{path}: {name} of {name_of(element)} is {said[:40]!r}; a number is wanted")
    return value


def epochs(path: Path, start: Start) -> list[Epoch]:
    """In the order of the file. Raises FormatError where there is none, or one that ends before it begins."""
    file = path / "epochs.xml"
    found = []
    for element in all_of(root_of(file), "epoch"):
        begin, end, first, last = (
            _number(file, element, n) for n in ("beginTime", "endTime", "firstBlock", "lastBlock")
        )
        if end <= begin or begin < 0 or max(first, last) > 1e9:
            raise FormatError(f"{file}: an epoch from {begin:g} to {end:g} in blocks {first:g} to {last:g}; it lies")
        found.append(
            Epoch(
                start_s=begin / start.steps_hz,
                stop_s=end / start.steps_hz,
                first_block=int(first),
                last_block=int(last),
            )
        )
    if not found:
        raise FormatError(f"{file}: no epoch in it; one at least is wanted")
    return found


def kind_of_signal(path: Path, number: int) -> str:
    """What `signalN.bin` holds: "EEG", "PNSData" ...; "" where nothing says it."""
    file = path / f"info{number}.xml"
    if not is_there(file):
        return ""
    kind = next(all_of(root_of(file), "fileDataType"), None)
    return name_of(kind[0]) if kind is not None and len(kind) else ""


def gains(path: Path, number: int, n_channels: int, repairs: list[str]) -> list[float]:
    """Per channel the gain (GCAL) that its numbers are to be multiplied by, 1 where none is stated."""
    found = [1.0] * n_channels
    file = path / f"info{number}.xml"
    for calibration in all_of(root_of(file), "calibration") if is_there(file) else ():
        if text_of(calibration, "type") != "GCAL":
            continue
        if text_of(calibration, "beginTime") not in ("", "0"):
            repairs.append(f"{file.name}: gains that hold from later than the start on are not applied")
            continue
        for element in all_of(calibration, "ch"):
            k = int(element.get("n", "0")) - 1 if element.get("n", "").isdigit() else -1
            if 0 <= k < n_channels:
                found[k] = _gain(file, element.text or "")
    return found


def _gain(path: Path, said: str) -> float:
    try:
        value = float(said)
    except ValueError:
        value = float("nan")
    if not (np.isfinite(value) and value != 0):
        raise FormatError(f"{path}: a gain is {said[:40]!r}; a finite number other than 0 is wanted")
    return value


# Channels -----------------------------------------------------------------------------------------------------------


def eeg_channels(path: Path, n_channels: int, bad: set[int], repairs: list[str]) -> list[Channel]:
    """Electrodes and the reference as sensorLayout.xml has them, called and placed as coordinates.xml says."""
    layout = [s for s in _sensors(path, "sensorLayout.xml") if text_of(s, "type") in ("0", "1")]
    numbers = [text_of(sensor, "number") for sensor in layout]
    if len(numbers) != n_channels:
        what = f"sensorLayout.xml lists {len(numbers)} electrodes for {n_channels} channels"
        repairs.append(Defect(what, f"numbers 1 to {n_channels}, in their order"))
        numbers, layout = [str(k + 1) for k in range(n_channels)], []
    placed = {text_of(sensor, "number"): sensor for sensor in _sensors(path, "coordinates.xml")}
    found = []
    for k, number in enumerate(numbers):
        sensor = placed.get(number, layout[k] if layout else None)
        name = text_of(sensor, "name") if sensor is not None else ""
        about: dict[str, Any] = {"bad_in_file": k + 1 in bad}
        if number in placed:
            at = [_number(path / "coordinates.xml", placed[number], axis) * _CM_TO_MM for axis in "xyz"]
            about |= dict(zip(("x_mm", "y_mm", "z_mm"), at, strict=True))
        found.append(
            Channel(name=name if name not in ("", "None") else f"E{number}", kind="eeg", unit="uV", about=about)
        )
    return found


def pns_channels(path: Path, n_channels: int, bad: set[int], repairs: list[str]) -> list[Channel]:
    """As pnsSet.xml has them."""
    sensors = _sensors(path, "pnsSet.xml")
    if len(sensors) != n_channels:
        repairs.append(
            Defect(f"pnsSet.xml lists {len(sensors)} channels", f"{n_channels}, as many as there are, without a unit")
        )
        sensors = []
    found = []
    for k in range(n_channels):
        name = text_of(sensors[k], "name") if sensors else ""
        unit, gain = kept_unit(text_of(sensors[k], "unit") if sensors else "")
        kind = kind_of(name) or "bio"
        about = {"bad_in_file": k + 1 in bad}
        found.append(Channel(name=name or f"PNS{k + 1}", kind=kind, unit=unit, gain=gain, about=about))
    return found


def _sensors(path: Path, name: str) -> list[Element]:
    return list(all_of(root_of(path / name), "sensor")) if is_there(path / name) else []


def bad_numbers(path: Path, signal: int) -> set[int]:
    """Channels of a signal, counted from 1, that any segment excludes as bad."""
    file = path / "categories.xml"
    if not is_there(file):
        return set()
    found: set[int] = set()
    for channels in all_of(root_of(file), "channels"):
        if channels.get("signalBin") == str(signal) and channels.get("exclusion") == "badChannels":
            found |= {int(part) for part in (channels.text or "").split() if part.isascii() and part.isdigit()}
    return found


def averages(path: Path, start: Start) -> list[Average]:
    """Per category of a file of averages where its epoch and its event are; nothing for any other file."""
    file = path / "categories.xml"
    if not is_there(file):
        return []
    found = []
    for category in all_of(root_of(file), "cat"):
        for segment in all_of(category, "seg"):
            if text_of(segment, "name") != "Average":
                return []
            begin, event = (_number(file, segment, name) / start.steps_hz for name in ("beginTime", "evtBegin"))
            keys = {text_of(key, "keyCode"): text_of(key, "data") for key in all_of(segment, "key")}
            trials = keys.get("#seg", "")
            found.append(
                Average(
                    category=text_of(category, "name"),
                    begin_s=begin,
                    event_s=event,
                    n_trials=int(trials) if trials.isascii() and trials.isdigit() else 0,
                )
            )
    return found


# Events -------------------------------------------------------------------------------------------------------------


def events(path: Path, start: Start, repairs: list[str]) -> list[Events]:
    """All tracks in order of time, with what else is said of each: track, label, device, keys."""
    rows: list[tuple[float, str, dict[str, Any]]] = []
    n_lost = 0
    for file in sorted(path.glob("Events*.xml")):
        if not is_there(file):
            continue
        root = root_of(file)
        track = text_of(root, "name")
        for event in all_of(root, "event"):
            when = _moment(text_of(event, "beginTime"))
            if when is None:
                n_lost += 1
                continue
            rows.append(((when - start.when).total_seconds(), text_of(event, "code"), _about(event, track, start)))
            if len(rows) > MAX_EVENTS:
                raise FormatError(f"{path}: more than {MAX_EVENTS} events; fewer are wanted")
    if n_lost:
        repairs.append(Defect(f"{n_lost} events that state no time left out"))
    if not rows:
        return []
    rows.sort(key=lambda row: row[0])
    keys = list(dict.fromkeys(key for _, _, about in rows for key in about))
    if len(keys) > MAX_KEYS:
        repairs.append(f"{len(keys) - MAX_KEYS} kinds of keys of events left out")
    return [
        Events(
            name="events",
            modality="sync",
            times_s=np.array([time_s for time_s, _, _ in rows]),
            labels=tuple(code for _, code, _ in rows),
            table={key: tuple(about.get(key, _absent(key)) for _, _, about in rows) for key in keys[:MAX_KEYS]},
        )
    ]


def _absent(key: str) -> Any:
    return float("nan") if key == "duration_s" else ""


def _about(event: Element, track: str, start: Start) -> dict[str, Any]:
    said = text_of(event, "duration")
    about: dict[str, Any] = {"track": track, "duration_s": float(said) / start.steps_hz if said.isdigit() else 0.0}
    for name in ("label", "description", "sourceDevice"):
        if text_of(event, name):
            about[name] = text_of(event, name)
    keys = child(event, "keys")
    for key in keys if keys is not None else ():
        code = text_of(key, "keyCode")
        if code:
            about[f"key {code}"] = text_of(key, "data")
    return about


def subject_in(path: Path) -> dict[str, str]:
    """What subject.xml says of the person, if it is there."""
    if not is_there(path / "subject.xml"):
        return {}
    fields = all_of(root_of(path / "subject.xml"), "field")
    said = {text_of(field, "name").lower(): text_of(field, "data") for field in fields}
    name = " ".join(said.get(key, "") for key in ("first (given) name", "last (family) name"))
    return subject_of(
        name=name, born=said.get("date of birth", ""), sex=said.get("gender", ""), code=said.get("patient id", "")
    )
