"""EyeLink ASC, as SR Research's edf2asc writes it: gaze samples and events as lines of text, on the tracker's clock.

    START .. END     a block of recording at the RATE of its SAMPLES line: a segment, more where samples are missing
    <time> x y pupil [x y pupil]        a sample; "." is a lost one and becomes NaN
    SBLINK/EBLINK, SSACC/ESACC, SFIX/EFIX    intervals, per eye
    MSG, INPUT, BUTTON                  events

Design rationale: the file is read once in blocks of lines and its samples are kept as float32, because the stock reader
takes eighteen times the file's size in memory; gaze at a tenth of a pixel has no more digits than float32 keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._eye_events import FIXATION_COLUMNS, SACCADE_COLUMNS, eye_intervals
from neuroloom.ingest.formats._eyelink_screen import screen_told
from neuroloom.ingest.formats._row_runs import segments, stated_runs
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import HIGH, Events, Intervals, Segment, Signal, Stream

TITLE = "EyeLink ASC"
MODALITY = "gaze"
KEEPS = "gaze and pupil as float32, blinks, saccades, fixations, messages, input lines; not velocities and resolutions"
TESTED_ON = "real files of MNE-Python's testing data and others"

_BLOCK_LINES = 20_000
_INTERVALS = {"EBLINK": "blinks", "ESACC": "saccades", "EFIX": "fixations"}


@dataclass
class _Block:
    """One START to END: what its SAMPLES line says, and its samples as they come."""

    eyes: tuple[str, ...]
    unit: str
    rate_hz: float = 0.0  # as stated
    samples: list[NDArray[np.float64]] = field(default_factory=list)  # columns: ms, then x, y, pupil per eye


@dataclass
class _Found:
    """All that a pass over the file yields."""

    blocks: list[_Block] = field(default_factory=list)
    intervals: dict[str, list[tuple[float, float, str, tuple[float, ...]]]] = field(default_factory=dict)
    messages: list[tuple[float, str]] = field(default_factory=list)
    pulses: list[tuple[float, str]] = field(default_factory=list)
    high_s: list[float] = field(default_factory=list)  # per pulse, until the input changed
    open_input: int | None = None
    start: datetime | None = None
    screen: dict[str, float] = field(default_factory=dict)
    n_short: int = 0  # rows of samples with too few cells
    is_open: bool = False  # a block began and did not end

    @property
    def repairs(self) -> tuple[str, ...]:
        short = Defect(f"{self.n_short} rows of samples that are cut short", "left out")
        ends = Defect("its last block has no END, the file was cut off", "read as far as it goes")
        return (*([short] if self.n_short else []), *([ends] if self.is_open else []))


def sniff(path: Path, head: bytes) -> bool:
    """True for a text that begins as edf2asc begins it, or that starts a block of samples early."""
    if head.startswith(b"** CONVERTED FROM") and b".asc" not in head[:4]:
        return True
    return bool(re.search(rb"^START\s+\d+\s.*(LEFT|RIGHT)", head, re.M) and re.search(rb"^MSG\s+\d+", head, re.M))


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording: gaze and pupil (apart where the tracked eye changes), blinks, saccades, fixations, messages."""
    found = _parse(path)
    if not any(block.samples for block in found.blocks) and not found.messages:
        raise FormatError(f"{path}: neither samples nor messages; a recording holds some")
    try:
        streams = _streams(path, found)
    except FormatError:
        raise
    except ValueError as error:  # what the streams say of times that go back
        raise FormatError(f"{path}: {error}") from error
    return [
        Recording(
            clock=path.stem,
            format="eyelink",
            files=(path,),
            streams=tuple(streams),
            start=found.start,
            repairs=found.repairs,
        )
    ]


def _streams(path: Path, found: _Found) -> list[Stream]:
    streams: list[Stream] = []
    layouts = list(dict.fromkeys((block.eyes, block.unit) for block in found.blocks if block.samples))
    for eyes, unit in layouts:
        suffix = "" if len(layouts) == 1 else f" {'+'.join(eyes)} {unit}"
        blocks = [block for block in found.blocks if (block.eyes, block.unit) == (eyes, unit) and block.samples]
        streams += _signals(path, blocks, eyes, unit, suffix, found.screen)
    streams += [_intervals(path, name, rows) for name, rows in found.intervals.items()]
    if found.messages:
        streams.append(_events("messages", "events", found.messages))
    if found.pulses:
        streams.append(_events("input", "sync", found.pulses, {HIGH: found.high_s}))
    return streams


def _blocks_of_lines(path: Path) -> Iterator[list[str]]:
    with path.open("r", encoding="utf-8", errors="replace", newline=None) as file:
        while lines := file.readlines(_BLOCK_LINES * 40):
            yield lines


def _parse(path: Path) -> _Found:
    """Samples go to numpy in runs of lines; only event lines are looked at one by one."""
    found = _Found()
    for lines in _blocks_of_lines(path):
        run: list[str] = []
        for line in lines:
            if line[:1].isdigit():
                run.append(line)
                continue
            if line[:1] in ("S", "E") and line.startswith(("SAMPLES", "START", "END")):
                _take_samples(path, found, run)
                run = []
            _take_line(path, found, line)
        _take_samples(path, found, run)
    return found


def _take_samples(path: Path, found: _Found, run: list[str]) -> None:
    if not run:
        return
    if not found.blocks:
        raise FormatError(f"{path}: samples before any START line; a START line is wanted first")
    block = found.blocks[-1]
    n_columns = 1 + 3 * len(block.eyes)
    text = "".join(run).replace("\t.\t", "\tnan\t").replace(" .\t", " nan\t").replace("\t.\t", "\tnan\t")
    rows = [line.split(None, n_columns)[:n_columns] for line in text.splitlines()]
    whole = [row for row in rows if len(row) == n_columns]
    found.n_short += len(rows) - len(whole)
    try:
        table = np.array(whole, dtype=np.float64)
    except ValueError:
        table = np.array([[_number(cell) for cell in row] for row in whole], dtype=np.float64)
    if table.size:
        block.samples.append(table)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _take_line(path: Path, found: _Found, line: str) -> None:
    parts = line.split()
    if not parts:
        return
    match parts[0]:
        case "START":
            found.blocks.append(_Block(eyes=_eyes(parts), unit="px"))
            found.is_open = True
        case "END":
            found.is_open = False
        case "SAMPLES" if found.blocks:
            block = found.blocks[-1]
            block.eyes = _eyes(parts) or block.eyes
            block.rate_hz = _rate(parts)
            block.unit = {"GAZE": "px", "HREF": "href", "PUPIL": "camera"}.get(parts[1] if len(parts) > 1 else "", "px")
        case "MSG" if len(parts) > 1:
            text = line.rstrip("\n").split(None, 2)[-1] if len(parts) > 2 else ""
            found.messages.append((_ms(path, parts[1]), text))
            found.screen |= screen_told(text)
        case "INPUT" if len(parts) > 2:
            _take_input(found, _ms(path, parts[1]), parts[2])
        case "BUTTON" if len(parts) > 2:
            found.pulses.append((_ms(path, parts[1]), f"button {' '.join(parts[2:])}"))
            found.high_s.append(float("nan"))
        case "EBLINK" | "ESACC" | "EFIX" if len(parts) >= 4:
            values = tuple(_number(cell) for cell in parts[5:])
            row = (_ms(path, parts[2]), _ms(path, parts[3]), parts[1], values)
            found.intervals.setdefault(_INTERVALS[parts[0]], []).append(row)
        case "**" if len(parts) > 2 and parts[1] == "DATE:":
            found.start = _date(" ".join(parts[2:]))


def _take_input(found: _Found, time_s: float, value: str) -> None:
    """A value on the input port lasts until another; 0 is the line going down again."""
    if found.open_input is not None and value != found.pulses[found.open_input][1]:
        found.high_s[found.open_input] = time_s - found.pulses[found.open_input][0]
    found.open_input = None
    if value != "0":
        found.open_input = len(found.pulses)
        found.pulses.append((time_s, value))
        found.high_s.append(float("nan"))


def _rate(parts: list[str]) -> float:
    """What stands after RATE, 0 where nothing does."""
    return _number(parts[parts.index("RATE") + 1]) if "RATE" in parts[:-1] else 0.0


def _eyes(parts: list[str]) -> tuple[str, ...]:
    return tuple(eye for eye in ("LEFT", "RIGHT") if eye in parts)


def _ms(path: Path, text: str) -> float:
    value = _number(text)
    if not np.isfinite(value):
        raise FormatError(f"{path}: an event at {text!r}; a time in ms is wanted")
    return value / 1e3


def _date(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None


def _signals(
    path: Path, blocks: list[_Block], eyes: tuple[str, ...], unit: str, suffix: str, screen: dict[str, float]
) -> list[Signal]:
    """Gaze (x, y per eye) and pupil (per eye) over these blocks, a segment each."""
    gaze_columns = [1 + 3 * e + k for e in range(len(eyes)) for k in (0, 1)]
    pupil_columns = [3 + 3 * e for e in range(len(eyes))]
    names = [eye.lower() for eye in eyes]
    gaze: list[Segment] = []
    pupil: list[Segment] = []
    for block in blocks:
        table = np.concatenate(block.samples)
        if (np.diff(table[:, 0]) <= 0).any():
            raise FormatError(f"{path}: sample times repeat or jump back within a block; they must increase")
        found = stated_runs(table[:, 0] / 1e3, block.rate_hz)
        gaze += segments(table[:, gaze_columns].astype(np.float32), found)
        pupil += segments(table[:, pupil_columns].astype(np.float32), found)
    common: dict[str, Any] = {"gain": np.ones(len(gaze_columns)), "offset": np.zeros(len(gaze_columns))}
    halves: dict[str, Any] = {"gain": np.ones(len(names)), "offset": np.zeros(len(names))}
    gaze_names = tuple(f"{axis}_{eye}" for eye in names for axis in ("x", "y"))
    pupil_names = tuple(f"pupil_{eye}" for eye in names)
    return [
        Signal(
            name=f"gaze{suffix}",
            modality="gaze",
            segments=tuple(gaze),
            channel_names=gaze_names,
            unit=unit,
            provenance={"screen": dict(screen)} if screen and unit == "px" else {},
            **common,
        ),
        Signal(
            name=f"pupil{suffix}",
            modality="pupil",
            segments=tuple(pupil),
            channel_names=pupil_names,
            unit="a.u.",
            **halves,
        ),
    ]


def _intervals(path: Path, name: str, rows: list[tuple[float, float, str, tuple[float, ...]]]) -> Intervals:
    columns = {"saccades": SACCADE_COLUMNS, "fixations": FIXATION_COLUMNS}.get(name, ())
    table = {
        column: tuple(row[3][k] if k < len(row[3]) else float("nan") for row in rows)
        for k, column in enumerate(columns)
    }
    labels = [{"L": "left", "R": "right"}.get(row[2], row[2]) for row in rows]
    return eye_intervals(name, [row[:2] for row in rows], labels, table, path=path)


def _events(
    name: str, modality: str, rows: list[tuple[float, str]], table: Mapping[str, list[float]] | None = None
) -> Events:
    order = sorted(range(len(rows)), key=lambda k: rows[k][0])
    return Events(
        name=name,
        modality=modality,
        times_s=np.array([rows[k][0] for k in order]),
        labels=tuple(rows[k][1] for k in order),
        table={column: tuple(values[k] for k in order) for column, values in (table or {}).items()},
    )
