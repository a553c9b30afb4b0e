"""Curry 6 to 9: a text of parameters, and beside it float32 (or text), events and, before Curry 8, names of channels.

    X.dap        -> X.dat, X.rs3 (names, places), X.cef or X.ceo (events)           Curry 7
    X.cdt.dpa    -> X.cdt, X.cdt.cef or X.cdt.ceo; names and places in the .dpa     Curry 8 and 9 (or .cdt.dpo)

Channels come in groups: electrodes, MAG1 ..., OTHERS. CHAN_IN_FILE says where a channel lies within a sample, 0 that it
is not there. The rate is that of SampleTimeUsec where there is one, as in Curry itself.

Design rationale: MNE reads through curryreader, which loads the whole file each time and reads samples that lie channel
by channel in the wrong order. The text is simple enough to be read here, and samples stay in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._channels import columns_of, kind_of
from neuroloom.ingest.formats._companions import beside, is_there
from neuroloom.ingest.formats._header_text import count, decoded, real, text_of
from neuroloom.ingest.formats._mapped import Mapped
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._mne_info import codes_of
from neuroloom.ingest.formats._triggers import triggers
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "Curry (.dap, .cdt.dpa)"
MODALITY = "eeg"
KEEPS = "float32, events, names, places, units; not impedances, landmarks, head positions; not epochs"
TESTED_ON = (
    "real files of MNE-Python's testing data (Curry 7 and 8); samples as text or channel by channel, and MEG on files "
    "written by this project only"
)

MAX_TEXT_SAMPLES_BYTES = 1 << 27  # samples as text are held in memory
MAX_TRIGGERS = 1_000_000
_COMPRESSED = "{2912E8D8-F5C8-4E25-A8E7-A1385967DA09}"
_TESLA = {"fT": 1e-15, "pT": 1e-12}


@dataclass(frozen=True, kw_only=True)
class _Text:
    """Entries `key = value` by section, and lists by name; names of sections and lists as in the file."""

    sections: Mapping[str, Mapping[str, str]]
    lists: Mapping[str, list[str]]


def sniff(path: Path, head: bytes) -> bool:
    """True for a text that begins with Curry's parameters of data."""
    return re.match(r"\s*DATA_PARAMETERS(_\w+)?\s+START\s", decoded(head[:200])) is not None


def files(path: Path) -> tuple[Path, ...]:
    """The parameters, the samples, and what else is beside them. Raises FormatError where samples are missing."""
    stem = path.name.removesuffix(path.suffix)
    if path.suffix.lower() == ".dap":
        data, others = f"{stem}.dat", [f"{stem}{end}" for end in (".rs3", ".cef", ".ceo")]
    else:
        data, others = stem, [f"{stem}{end}" for end in (".dpo", ".cef", ".ceo", ".hpi")]
        others = [name for name in others if name != path.name]
    found = beside(path, data, "the file of its samples")
    return (path, found, *(path.with_name(name) for name in others if is_there(path.with_name(name))))


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind and unit, the events, codes of trigger channels."""
    repairs: list[str] = []
    all_files = files(path)
    text = _text(path)
    stated = text.sections.get("DATA_PARAMETERS", {})
    labels = next((_text(file) for file in all_files[2:] if file.suffix.lower() == ".rs3"), text)
    rate_hz = _rate(path, stated, repairs)
    n_channels = count(path, stated, "NumChannels")
    samples = _samples(path, all_files[1], stated, n_channels, repairs)
    base = Timebase(rate_hz=rate_hz, n_samples=samples.shape[0])
    places = _channels(path, text, labels, n_channels, repairs)
    ordered = columns_of(Mapped(samples), np.array(sorted(places), dtype=np.int64))
    channels = [places[k] for k in sorted(places)]
    signals = signals_of([Segment(samples=ordered, timebase=base)], channels, repairs, stated=_provenance(channels))
    streams: list[Stream] = [*signals, *triggers(signals, codes_of, most=MAX_TRIGGERS, repairs=repairs)]
    for file in all_files[2:]:
        if file.suffix.lower() in (".cef", ".ceo"):
            streams += _events(file, base)
            break
    return [
        Recording(
            clock=path.name.removesuffix(path.suffix).removesuffix(".cdt"),
            format="curry",
            files=all_files,
            streams=tuple(streams),
            start=_start(stated),
            repairs=tuple(repairs),
        )
    ]


def _text(path: Path) -> _Text:
    """`NAME START` ... `NAME END` holds entries, `NAME START_LIST` ... `NAME END_LIST` lines, blank ones too."""
    sections: dict[str, dict[str, str]] = {}
    lists: dict[str, list[str]] = {}
    name, kind = "", ""
    for line in text_of(path).splitlines():
        edge = re.match(r"(\w+)\s+(START_LIST|START|END_LIST|END)\b", line)
        if edge:
            name, kind = (edge[1], edge[2]) if edge[2].startswith("START") else ("", "")
        elif kind == "START_LIST":
            lists.setdefault(name, []).append(line.strip())
        elif kind == "START" and "=" in line:
            key, _, value = line.partition("=")
            sections.setdefault(name, {})[key.strip()] = value.strip()
    return _Text(sections=sections, lists=lists)


def _rate(path: Path, stated: Mapping[str, str], repairs: list[str]) -> float:
    said = {"SampleTimeUsec": "0", "SampleFreqHz": "0"} | dict(stated)
    interval_us, rate_hz = (real(path, said, key, above=-1e-300) for key in ("SampleTimeUsec", "SampleFreqHz"))
    if interval_us <= 0 and rate_hz <= 0:
        raise FormatError(f"{path}: SampleTimeUsec and SampleFreqHz are {interval_us:g} and {rate_hz:g}; one is wanted")
    if interval_us > 0 and abs(1e6 / interval_us - rate_hz) > 1e-4 * rate_hz:
        repairs.append(
            Defect(f"SampleFreqHz={rate_hz:g}", f"{1e6 / interval_us:g} Hz, as SampleTimeUsec={interval_us:g} says")
        )
    return 1e6 / interval_us if interval_us > 0 else rate_hz


def _samples(
    path: Path, data: Path, stated: Mapping[str, str], n_channels: int, repairs: list[str]
) -> NDArray[np.float32]:
    """Shape (T, C): a map, or numbers from text."""
    n_trials = count(path, stated, "NumTrials") if "NumTrials" in stated else 1
    if n_trials > 1:
        raise FormatError(
            f"{path}: {n_trials} epochs, and nothing tells when they were recorded; continuous data are wanted"
        )
    if stated.get("DataGuid", "").upper() == _COMPRESSED:
        raise FormatError(f"{path}: its samples are compressed; raw float is wanted (Curry: export as Raw Float)")
    if "ASCII" in (stated.get("DataFormat"), stated.get("DataByteOrder")):
        return _from_text(data, n_channels)
    n_stated = count(path, stated, "NumSamples", least=-1)
    there, rest = divmod(data.stat().st_size, 4 * n_channels)
    if there < 1 or rest:
        raise FormatError(
            f"{data}: {data.stat().st_size} bytes; whole samples of {n_channels} float32 are wanted: still being "
            "copied, cut off, or of another type"
        )
    n = there if n_stated < 1 else min(there, n_stated)
    if n_stated not in (-1, there):
        repairs.append(Defect(f"{path.name} states {n_stated} samples, {there} are there", f"{n} samples"))
    kind = ">f4" if stated.get("DataByteOrder") == "MOTOROLA" else "<f4"
    if stated.get("DataSampOrder") == "CHAN":
        return np.memmap(data, kind, mode="r", shape=(n_channels, there)).T[:n]
    return np.memmap(data, kind, mode="r", shape=(n, n_channels))


def _from_text(data: Path, n_channels: int) -> NDArray[np.float32]:
    size = data.stat().st_size
    if size > MAX_TEXT_SAMPLES_BYTES:
        most = MAX_TEXT_SAMPLES_BYTES >> 20
        raise FormatError(f"{data}: {size >> 20} MB of text; up to {most} are wanted: export as Raw Float")
    try:
        found = np.loadtxt(data, dtype=np.float32, ndmin=2)
    except ValueError as error:
        raise FormatError(f"{data}: {one_line(error)}; rows of {n_channels} numbers are wanted") from error
    if not found.size or found.shape[1] != n_channels:
        raise FormatError(f"{data}: rows of {found.shape[1]} numbers; rows of {n_channels} are wanted")
    return found


# Channels -----------------------------------------------------------------------------------------------------------


def _channels(path: Path, text: _Text, labels: _Text, n_channels: int, repairs: list[str]) -> dict[int, Channel]:
    """Column within a sample -> channel. Raises FormatError where the groups do not fill a sample."""
    found: dict[int, Channel] = {}
    following = 0
    for section in (name for name in text.sections if name.startswith("DEVICE_PARAMETERS")):
        group, suffix = text.sections[section], section.removeprefix("DEVICE_PARAMETERS")
        n = count(path, group, "NumChanThisGroup", least=0)
        if n > 100_000:
            raise FormatError(f"{path}: {section}: {n} channels; fewer are wanted")
        if any(float(group.get(key, d) or d) != float(d) for key, d in (("CommonScale", "1"), ("CommonOffset", "0"))):
            repairs.append(f"{section}: CommonScale or CommonOffset is stated: not applied, samples are in their unit")
        places = _whole(path, text.lists.get(f"CHAN_IN_FILE{suffix}", []))
        places = places if len(places) == n else list(range(following + 1, following + n + 1))
        following += n
        for k, place in enumerate(places):
            if place > 0:
                found[place - 1] = _channel(group, suffix, k, labels, text)
    if sorted(found) != list(range(n_channels)):
        raise FormatError(f"{path}: {n_channels} channels but {len(found)} in its groups; they must match")
    return found


def _whole(path: Path, lines: Sequence[str]) -> list[int]:
    return [count(path, {"CHAN_IN_FILE": line}, "CHAN_IN_FILE", least=0) for line in lines if line]


def _channel(group: Mapping[str, str], suffix: str, k: int, labels: _Text, text: _Text) -> Channel:
    names, places = (labels.lists.get(f"{what}{suffix}", []) for what in ("LABELS", "SENSORS"))
    name = names[k] if k < len(names) and names[k] else f"{suffix.strip('_') or 'EEG'}{k + 1}"
    flags = text.lists.get(f"TRIGGER_FLAGS{suffix}", [])
    is_trigger = name.lower() == "trigger" or (k < len(flags) and flags[k] not in ("", "0"))
    spelled = group.get("DataUnit", "")
    unit, gain = ("T", _TESLA[spelled]) if spelled in _TESLA else kept_unit(spelled)
    if is_trigger:
        unit, gain, kind = "a.u.", 1.0, "stim"
    elif "MAG" in suffix:
        kind = "mag"
    else:
        kind = kind_of(name) or ("misc" if "OTHER" in suffix else "eeg")
    place = _place(places[k]) if k < len(places) else {}
    return Channel(name=name, kind=kind, unit=unit, gain=gain, about=place)


def _place(line: str) -> dict[str, float]:
    """Three numbers in mm; nothing for none, or for the origin, where no sensor is."""
    try:
        x, y, z = (float(part) for part in line.split()[:3])
    except ValueError:
        return {}
    return {"x_mm": x, "y_mm": y, "z_mm": z} if any((x, y, z)) else {}


def _provenance(channels: Sequence[Channel]) -> dict[str, Any]:
    return {"positions": "Curry's coordinates"} if any("x_mm" in channel.about for channel in channels) else {}


# Events -------------------------------------------------------------------------------------------------------------


def _events(path: Path, base: Timebase) -> list[Events]:
    """In order of time: a remark where there is one, else the code."""
    text = _text(path)
    remarks = text.lists.get("REMARK_LIST", [])
    rows: list[tuple[int, int, int, str]] = []
    for k, line in enumerate(text.lists.get("NUMBER_LIST", [])):
        parts = line.split()
        if not parts:
            continue
        said = dict(zip(("sample", "-", "type", "-", "start", "stop"), parts, strict=False))
        at, kind = (int(real(path, said, key)) for key in ("sample", "type"))
        lasts = int(real(path, said, "stop") - real(path, said, "start")) if "stop" in said else 0
        rows.append((at, kind, max(lasts, 0), remarks[k] if k < len(remarks) else ""))
    if not rows:
        return []
    rows.sort(key=lambda row: row[0])
    return [
        Events(
            name="events",
            modality="sync",
            times_s=base.seconds([at for at, _, _, _ in rows]),
            labels=tuple(remark or str(kind) for _, kind, _, remark in rows),
            table={
                "code": tuple(kind for _, kind, _, _ in rows),
                "duration_s": tuple(lasts / base.rate_hz for _, _, lasts, _ in rows),
            },
        )
    ]


def _start(stated: Mapping[str, str]) -> datetime | None:
    keys = ("StartYear", "StartMonth", "StartDay", "StartHour", "StartMin", "StartSec", "StartMillisec")
    try:
        year, month, day, hour, minute, second, milli = (int(stated[key]) for key in keys)
        return datetime(year, month, day, hour, minute, second, 1000 * milli)
    except (KeyError, ValueError):
        return None
