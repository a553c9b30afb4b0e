"""EyeLink .edf, as the tracker itself writes it: the same streams as its ASC, on the tracker's clock.

Its suffix is that of European Data Format; its first bytes are not. The file is read by SR Research's own library,
which eyelinkio brings along, in a process of its own (`_eyelink_edf_child.py`). Samples keep the times that the tracker
gave them; a block of recording is a segment.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._eye_events import FIXATION_COLUMNS, SACCADE_COLUMNS, eye_intervals
from neuroloom.ingest.formats._eyelink_edf_child import row_dtype
from neuroloom.ingest.formats._eyelink_screen import screen_told
from neuroloom.ingest.formats._row_runs import segments, stated_runs
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Stream

TITLE = "EyeLink EDF"
MODALITY = "gaze"
KEEPS = (
    "gaze and pupil as float32 at the tracker's own times, blinks, saccades, fixations, messages, input port, buttons; "
    "not head position, raw pupil and velocities"
)
TESTED_ON = (
    "a real file of eyelinkReader and three of eyelinkio's tests, one of them of both eyes; equal to eyelinkio's"
)

_SIGNATURE = b"SR_RESEARCH"
_OPEN = "its last block has no end: the file is damaged there, or was cut off; read as far as it goes"
_COLUMNS = {"saccades": SACCADE_COLUMNS, "fixations": FIXATION_COLUMNS, "blinks": ()}
_CHILD = "neuroloom.ingest.formats._eyelink_edf_child"


@dataclass
class _Block:
    """One START to END. samples: rows as they came."""

    eyes: tuple[str, ...]
    unit: str
    pupil: str
    rate_hz: float  # as stated
    samples: list[NDArray[Any]] = field(default_factory=list)


@dataclass
class _Found:
    """All that a pass over the file yields."""

    blocks: list[_Block] = field(default_factory=list)
    intervals: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    moments: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    is_open: bool = False


def sniff(path: Path, head: bytes) -> bool:
    """True for SR Research's signature."""
    return head.startswith(_SIGNATURE)


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording, as `eyelink` has it. Raises FormatError where the library is not there, or cannot read it."""
    found = _Found()
    for frame in _frames(path):
        _take(found, frame)
    if not any(block.samples for block in found.blocks) and not found.moments:
        raise FormatError(f"{path}: neither samples nor messages; a recording holds some")
    streams: list[Stream] = []
    screen: dict[str, float] = {}
    for message in found.moments.get("messages", ()):
        screen |= screen_told(message["label"])
    layouts = list(dict.fromkeys((b.eyes, b.unit) for b in found.blocks if b.samples))
    for eyes, unit in layouts:
        suffix = "" if len(layouts) == 1 else f" {'+'.join(eyes)} {unit}"
        blocks = [b for b in found.blocks if (b.eyes, b.unit) == (eyes, unit) and b.samples]
        streams += _signals(path, blocks, eyes, unit, suffix, screen)
    streams += [_intervals(path, name, found.intervals[name]) for name in _COLUMNS if name in found.intervals]
    streams += [_events(name, found.moments[name]) for name in ("messages", "input") if name in found.moments]
    return [
        Recording(
            clock=path.stem,
            format="eyelink_edf",
            files=(path,),
            streams=tuple(streams),
            start=_date(path),
            repairs=(_OPEN,) if found.is_open else (),
        )
    ]


# What the child finds -----------------------------------------------------------------------------------------------


def _frames(path: Path) -> Iterator[dict[str, Any] | bytes]:
    """JSON and samples, in the file's order. Raises FormatError where the child fails or falls."""
    command = [sys.executable, "-m", _CHILD, str(path.absolute())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        try:
            yield from _read_frames(path, child.stdout)
        finally:
            child.kill()


def _read_frames(path: Path, pipe: IO[bytes]) -> Iterator[dict[str, Any] | bytes]:
    while head := pipe.read(5):
        n_bytes = struct.unpack("<I", head[1:])[0] if len(head) == 5 else -1
        payload = pipe.read(n_bytes) if n_bytes >= 0 else b""
        if len(payload) != n_bytes:
            break
        if head[:1] == b"S":
            yield payload
            continue
        said = json.loads(payload)
        if "error" in said:
            raise FormatError(f"{path}: {said['error']}; an EyeLink file that SR Research's library reads is wanted")
        yield said
        if "end" in said:
            return
    raise FormatError(f"{path}: SR Research's library crashed on it; a file that is whole is wanted")


def _take(found: _Found, frame: dict[str, Any] | bytes) -> None:
    if isinstance(frame, bytes):
        block = found.blocks[-1]
        block.samples.append(np.frombuffer(frame, dtype=row_dtype(len(block.eyes))))
    elif "end" in frame:
        found.is_open = frame["is_open"]
    elif "block" in frame:
        eyes, said = tuple(frame["block"]), (frame["unit"], frame["pupil"], float(frame["rate_hz"]))
        found.blocks.append(_Block(eyes, *said))
    elif frame["kind"] in _COLUMNS:
        found.intervals.setdefault(frame["kind"], []).append(frame)
    elif frame["kind"] != "input" or frame["label"] != "0":  # the line going down again
        found.moments.setdefault(frame["kind"], []).append(frame)


def _date(path: Path) -> datetime | None:
    """The DATE line of its preamble: when the file was opened, to the second, without a zone."""
    with path.open("rb") as file:
        said = re.search(rb"^DATE: *(.+?)\s*$", file.read(2048), re.M)
    try:
        return datetime.strptime(said[1].decode("ascii"), "%a %b %d %H:%M:%S %Y") if said else None
    except ValueError:
        return None


# Streams ------------------------------------------------------------------------------------------------------------


def _signals(
    path: Path, blocks: list[_Block], eyes: tuple[str, ...], unit: str, suffix: str, screen: dict[str, float]
) -> list[Signal]:
    """Gaze (x, y per eye) and pupil (per eye), a segment per block."""
    names = [eye.lower() for eye in eyes]
    gaze_columns = [3 * e + k for e in range(len(eyes)) for k in (0, 1)]
    pupil_columns = [3 * e + 2 for e in range(len(eyes))]
    gaze: list[Segment] = []
    pupil: list[Segment] = []
    for block in blocks:
        rows = np.concatenate(block.samples)
        if (np.diff(rows["ms"]) <= 0).any():
            raise FormatError(f"{path}: sample times repeat or jump back within a block; they must increase")
        found = stated_runs(rows["ms"] / 1e3, block.rate_hz)
        gaze += segments(rows["values"][:, gaze_columns], found)
        pupil += segments(rows["values"][:, pupil_columns], found)
    on = {"screen": dict(screen)} if screen and unit == "px" else {}
    measured = {"pupil": ", ".join(dict.fromkeys(block.pupil for block in blocks))}
    return [
        _signal(f"gaze{suffix}", "gaze", gaze, [f"{axis}_{eye}" for eye in names for axis in "xy"], unit, on),
        _signal(f"pupil{suffix}", "pupil", pupil, [f"pupil_{eye}" for eye in names], "a.u.", measured),
    ]


def _signal(
    name: str, modality: str, parts: list[Segment], channels: list[str], unit: str, provenance: Mapping[str, Any]
) -> Signal:
    return Signal(
        name=name,
        modality=modality,
        segments=tuple(parts),
        channel_names=tuple(channels),
        unit=unit,
        gain=np.ones(len(channels)),
        offset=np.zeros(len(channels)),
        provenance=provenance,
    )


def _intervals(path: Path, name: str, rows: list[dict[str, Any]]) -> Intervals:
    table = {
        column: [float("nan") if row["values"][k] is None else row["values"][k] for row in rows]
        for k, column in enumerate(_COLUMNS[name])
    }
    bounds_s = np.array([row["ms"] for row in rows], dtype=np.float64) / 1e3
    return eye_intervals(name, bounds_s, [("left", "right")[row["eye"] == 1] for row in rows], table, path=path)


def _events(name: str, rows: list[dict[str, Any]]) -> Events:
    times_s = np.array([row["ms"] for row in rows], dtype=np.float64) / 1e3
    order = np.argsort(times_s, kind="stable")
    return Events(
        name=name,
        modality="sync" if name == "input" else "events",
        times_s=times_s[order],
        labels=tuple(rows[i]["label"] for i in order),
    )
