"""SMI, as BeGaze and the IDF Converter export it: a text of samples, or one of events, on the tracker's clock in µs.

    samples     "## [BeGaze]", "## Sample Rate: 500", ... then Time, Type, Trial, L POR X [px], L Mapped Diameter [mm],
                ...; rows of Type SMP are samples, those of Type MSG messages
    events      "[BeGaze]", "Sample Rate: 120", ... then "Table Header for Fixations:" and so on, each with its columns,
                then rows of all kinds: "Fixation L,1,1,167531377718,167531619504,241786,951.83,..."

In samples an eye that was lost is all zeros, place and pupil; it becomes NaN. A stated sample rate must agree with the
times, which proves their unit. Columns that say what each sample is of ("L Event Info") become intervals.
What the preamble states of the screen goes with the gaze, for degrees of visual angle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._dates import written_date
from neuroloom.ingest.formats._eye_events import eye_intervals, runs_of
from neuroloom.ingest.formats._people import stated_subject
from neuroloom.ingest.formats._sampled import Group, SampleRows, signals
from neuroloom.ingest.formats._sidecars import sidecar
from neuroloom.ingest.formats._tables import (
    TextTable,
    check_whole,
    is_known,
    is_text,
    loose_texts,
    number,
    number_in,
    typed,
    whole,
)
from neuroloom.ingest.formats._vendor_tables import is_of, vendor_table
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream

TITLE = "SMI BeGaze and IDF Converter (TXT)"
MODALITY = "gaze"
KEEPS = (
    "gaze, raw pupil places, pupil, eye positions, validity, messages, fixations, saccades, blinks, their measures, "
    "stimuli; not corneal reflections, planes and areas of interest"
)
TESTED_ON = "a real file of events of EMDAT and one of samples of pymovements (DIDEC); pupils to SMI's manual"

MAX_BYTES = 1 << 29  # of text: its samples are held in memory
_US = 1e-6
_EVENT_FILE = re.compile(r"^\ufeff?\[(BeGaze|iView)\]")
_HEADER = re.compile(r"Table Header for (.+?):")
_KINDS = {"Fixation": "fixations", "Saccade": "saccades", "Blink": "blinks"}
_EYES = {"L": "left", "R": "right", "B": "both"}
# Names of measures in files -> ours; others are kept under their own names, in lower case.
_MEASURES = {
    "Location X": "x_mean", "Location Y": "y_mean", "Avg. Pupil Size X": "pupil_mean", "Start Loc.X": "x_start",
    "Start Loc.Y": "y_start", "End Loc.X": "x_stop", "End Loc.Y": "y_stop", "Amplitude": "amplitude_deg",
    "Peak Speed": "peak_velocity_deg_s",
}  # fmt: skip
_SAID = ("Event Type", "Start", "End", "Duration", "AOI hit", "Image", "Plane")
# A column of samples: what it measures, our unit.
_COLUMNS = (
    (re.compile(r"([LR]) POR ([XY]) \[px\]"), "gaze", "gaze", "px"),
    (re.compile(r"([LR]) Mapped Diameter \[mm\]"), "pupil", "pupil", "mm"),
    (re.compile(r"([LR]) Dia ([XY]) \[px\]"), "pupil image", "pupil", "px"),
    (re.compile(r"([LR]) Raw ([XY]) \[px\]"), "pupil place", "aux", "px"),
    (re.compile(r"([LR]) EPOS ([XYZ])"), "eye position", "aux", "mm"),
    (re.compile(r"([LR]) GVEC ([XYZ])"), "gaze direction", "aux", "a.u."),
    (re.compile(r"([LR]) Validity"), "validity", "aux", "a.u."),
    (re.compile(r"()Pupil Confidence"), "pupil confidence", "aux", "a.u."),
)


@dataclass
class _Said:
    """Rows of one kind of event."""

    bounds_s: list[tuple[float, float]] = field(default_factory=list)
    eyes: list[str] = field(default_factory=list)
    measures: list[list[str]] = field(default_factory=list)


def sniff(path: Path, head: bytes) -> bool:
    """True for a text of events or of samples."""
    if not is_text(head):
        return False
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1", "replace")
    if _EVENT_FILE.match(text.replace("ï»¿", "", 1)) and "Table Header for" in text:
        return sidecar(path, "event_table") is None
    return is_of(path, "smi")


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError, naming the line, for damage, and where a rate contradicts the times."""
    repairs: list[str] = []
    found = vendor_table(path)
    if found is not None:
        table = whole(found[1], max_bytes=MAX_BYTES)[0]
        said = _preamble(path, table.encoding, table.first_line - 1)
        streams = _samples(table, said, repairs)
    else:
        said, streams = _events(path)
    if not streams:
        raise FormatError(f"{path}: neither samples nor events below its header; some are wanted")
    day, _, time = said.get("date", "").partition(" ")
    return [
        Recording(
            clock=path.stem,
            format="smi",
            files=(path,),
            streams=tuple(streams),
            start=written_date(day, time),
            repairs=tuple(repairs),
            subject=stated_subject(said.get("subject", "")),
        )
    ]


def _preamble(path: Path, encoding: str, n_lines: int) -> dict[str, str]:
    """`## Sample Rate:<TAB>500` and `Subject:<TAB>S1`: what is said, by name in lower case."""
    said: dict[str, str] = {}
    with path.open("r", encoding=encoding, errors="replace", newline=None) as file:
        for _, line in zip(range(n_lines), file, strict=False):
            name, colon, value = line.lstrip("# \t").partition(":")
            if colon and value.strip():
                said.setdefault(name.strip().lower(), value.strip())
    return said


# Events -------------------------------------------------------------------------------------------------------------


def _events(path: Path) -> tuple[dict[str, str], list[Stream]]:
    """What the head of the file says, and a stream per kind of event."""
    headers: dict[str, list[str]] = {}
    found: dict[str, _Said] = {}
    messages: list[tuple[float, str]] = []
    said: dict[str, str] = {}
    for line, text in _lines(path):
        name = _HEADER.match(text)
        if name:
            headers[name[1].rstrip("s")] = []
        elif text.startswith("Event Type") and headers:
            headers[list(headers)[-1]] = _split(text)
        elif not headers:
            key, _, value = text.partition(":")
            said.setdefault(key.strip().lower(), value.strip())
        else:
            _take_event(path, line, _split(text), headers, found, messages)
    streams: list[Stream] = []
    for kind in ("fixations", "saccades", "blinks"):
        if kind in found:
            rows, names = found[kind], _measured(headers[_kind_of(kind)])
            table = {told: typed([row[k] for row in rows.measures]) for k, told in enumerate(names.values())}
            streams.append(eye_intervals(kind, rows.bounds_s, rows.eyes, table, path=path))
    if messages:
        messages.sort(key=lambda row: row[0])
        times_s = np.array([time_s for time_s, _ in messages])
        streams.append(Events(name="messages", times_s=times_s, labels=tuple(text for _, text in messages)))
    return said, streams


def _kind_of(stream: str) -> str:
    return next(kind for kind, name in _KINDS.items() if name == stream)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that hold something, with their numbers."""
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes of text; at most {MAX_BYTES} are read, split it")
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with path.open("r", encoding=encoding, errors="replace", newline=None) as text:
        for number_, line in enumerate(text, start=1):
            if line.strip():
                yield number_, line.rstrip("\n")


def _split(text: str) -> list[str]:
    delimiter = next((d for d in ("\t", ";", ",") if d in text), ",")
    return [cell.strip() for cell in text.split(delimiter)]


def _measured(header: Sequence[str]) -> dict[str, str]:
    """The columns of a kind of event that are measures: name in the file -> ours."""
    kept = [name for name in header if name not in _SAID]
    return {name: _MEASURES.get(name, re.sub(r"\W+", "_", name.lower()).strip("_")) for name in kept}


def _take_event(
    path: Path,
    line: int,
    cells: Sequence[str],
    headers: dict[str, list[str]],
    found: dict[str, _Said],
    messages: list[tuple[float, str]],
) -> None:
    kind, _, eye = cells[0].partition(" ")
    header = headers.get("User Event" if kind == "UserEvent" else kind)
    if not header:
        raise FormatError(f"{path}: line {line}: {cells[0][:40]!r} is of no kind that its headers name")
    if kind == "UserEvent":
        at = header.index("Start")
        text = ",".join(cells[at + 1 :])
        messages.append((_us(path, line, cells, at), re.sub(r"^# Message: ", "", text)))
        return
    if len(cells) < len(header):
        raise FormatError(f"{path}: line {line} has {len(cells)} cells; {len(header)} are wanted, as in its header")
    rows = found.setdefault(_KINDS[kind], _Said())
    rows.bounds_s.append((_us(path, line, cells, header.index("Start")), _us(path, line, cells, header.index("End"))))
    rows.eyes.append(_EYES.get(eye, eye))
    rows.measures.append([cells[header.index(name)].replace(",", ".") for name in _measured(header)])


def _us(path: Path, line: int, cells: Sequence[str], at: int) -> float:
    value = number(cells[at])
    if value is None or not np.isfinite(value):
        raise FormatError(f"{path}: line {line}: a time is {cells[at][:40]!r}; microseconds are wanted")
    return value * _US


# Samples ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    name: str
    modality: str
    unit: str
    eye: str
    axis: str
    at: int


def _columns(names: Sequence[str]) -> list[_Column]:
    found = []
    for pattern, name, modality, unit in _COLUMNS:
        for at, told in enumerate(names):
            said = pattern.fullmatch(told)
            if said:
                eye = _EYES.get(said[1], "")
                axis = said[2].lower() if pattern.groups > 1 else ""
                found.append(_Column(name, modality, unit, eye, axis, at))
    return found


def _samples(table: TextTable, said: dict[str, str], repairs: list[str]) -> list[Stream]:
    columns = _columns(table.names)
    rows = SampleRows(len(columns))
    told = {eye: table.names.index(f"{eye} Event Info") for eye in "LR" if f"{eye} Event Info" in table.names}
    stimulus = table.names.index("Stimulus") if "Stimulus" in table.names else None
    what: dict[str, list[str]] = {eye: [] for eye in told}
    shown_ones: list[str] = []
    messages: list[tuple[float, str]] = []
    at, kind = table.column("Time"), table.column("Type")
    for line, cells in loose_texts(table):
        if len(cells) > kind and cells[kind] != "SMP":
            text = " ".join(cells[3:])
            messages.append((number_in(table, line, cells, at) * _US, re.sub(r"^# Message: ", "", text)))
            continue
        check_whole(table, line, cells)
        rows.add(number_in(table, line, cells, at) * _US, _values(table, line, cells, columns))
        for eye, column in told.items():
            what[eye].append(cells[column])
        shown_ones.append(cells[stimulus] if stimulus is not None else "")
    streams: list[Stream] = []
    if len(rows):
        times_s, values = rows.in_order(table.path, "samples", repairs)
        made = signals(_groups(columns, _screen(said)), times_s, values)
        _check_rate(table.path, said, made)
        streams += [*made, *_intervals(table.path, rows.times_s, what), *_stimuli(rows.times_s, shown_ones)]
    if messages:
        messages.sort(key=lambda row: row[0])
        times = np.array([time_s for time_s, _ in messages])
        streams.append(Events(name="messages", times_s=times, labels=tuple(text for _, text in messages)))
    return streams


def _values(table: TextTable, line: int, cells: Sequence[str], columns: Sequence[_Column]) -> list[float]:
    """The numbers of a sample; those of an eye that was lost, all zeros, are NaN."""
    values = [number_in(table, line, cells, column.at) for column in columns]
    for eye in ("left", "right"):
        of_eye = [k for k, c in enumerate(columns) if c.eye == eye and c.name in ("gaze", "pupil", "pupil image")]
        sized = any(columns[k].modality == "pupil" for k in of_eye)
        if sized and all(values[k] == 0 for k in of_eye):
            for k, column in enumerate(columns):
                if column.eye == eye and column.name != "validity":
                    values[k] = float("nan")
    return values


def _screen(said: dict[str, str]) -> dict[str, float]:
    """What the preamble states of the screen: pixels, size and how far away it stood; only what is a size."""
    found: dict[str, float] = {}
    for key, names, scale in (
        ("calibration area", ("width_px", "height_px"), 1.0),
        ("stimulus dimension [mm]", ("width_cm", "height_cm"), 0.1),
        ("head distance [mm]", ("distance_cm",), 0.1),
    ):
        values = [number(cell, comma=True) for cell in said.get(key, "").split()]
        if len(values) == len(names) and all(value is not None and value > 0 for value in values):
            found |= {name: value * scale for name, value in zip(names, values, strict=True) if value is not None}
    return found


def _groups(columns: Sequence[_Column], screen: dict[str, float]) -> list[Group]:
    groups, first = [], 0
    for name in dict.fromkeys(column.name for column in columns):
        members = [column for column in columns if column.name == name]
        channels = tuple("_".join(part for part in (c.axis or name.split()[0], c.eye) if part) for c in members)
        at = tuple(range(first, first + len(members)))
        groups.append(
            Group(
                name=name,
                modality=members[0].modality,
                unit=members[0].unit,
                channels=channels,
                columns=at,
                provenance={"screen": screen} if name == "gaze" and screen else {},
            )
        )
        first += len(members)
    return groups


def _check_rate(path: Path, said: dict[str, str], made: Sequence[Signal]) -> None:
    """Raise FormatError where the rate that the file states and its times cannot both be true."""
    stated = number(said.get("sample rate", ""), comma=True)
    if not made or stated is None or not np.isfinite(stated) or made[0].n_samples < 10:
        return
    if not 0.5 < made[0].rate_hz / stated < 2:
        raise FormatError(
            f"{path}: times give {made[0].rate_hz:g} Hz as microseconds, but its Sample Rate is {stated:g}; "
            "times in microseconds are wanted"
        )


def _intervals(path: Path, times_s: Any, what: dict[str, list[str]]) -> list[Stream]:
    """Runs of samples that are of one fixation, saccade or blink, per eye."""
    found: dict[str, tuple[list[tuple[float, float]], list[str]]] = {}
    for eye, said in what.items():
        for first, stop, kind in runs_of(said):
            if kind in _KINDS:
                bounds_s, eyes = found.setdefault(_KINDS[kind], ([], []))
                bounds_s.append((float(times_s[first]), float(times_s[stop - 1])))
                eyes.append(_EYES[eye])
    return [eye_intervals(name, bounds_s, eyes, {}, path=path) for name, (bounds_s, eyes) in found.items()]


def _stimuli(times_s: Any, names: Sequence[str]) -> list[Stream]:
    rows = [(times_s[a], times_s[b - 1], name) for a, b, name in runs_of(names) if is_known(name)]
    if not rows:
        return []
    bounds_s = np.array([row[:2] for row in rows])
    return [Intervals(name="stimuli", bounds_s=bounds_s, labels=tuple(row[2] for row in rows))]
