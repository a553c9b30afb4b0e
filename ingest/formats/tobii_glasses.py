"""Tobii Pro Glasses 2, as the recording unit writes it: JSON lines, one measurement each, packed with gzip.

    livedata.json.gz            alone, or in the folder of a recording with recording.json, participant.json and
    segments/<N>/               segment.json, livedata.json.gz: segments of one recording, on one clock

    "gp"      gaze in the scene video, a share of its width and height (origin at the top left)
    "gp3"     gaze point in space, mm          "gd", "pc", "pd"    per eye: direction, pupil centre (mm), diameter (mm)
    "ac", "gy"                                 acceleration (m/s²) and rotation (deg/s) of the head unit
    "dir", "sig"                               the sync port: events "sync in" and "sync out", labelled "up" and "down"
    "ets", "type", "tag"                       events that a program sent, with its own time
    "vts"                                      where the scene video was: kept as events, so that frames can be found

Times are `ts`, microseconds of the unit's own clock. "s" other than 0 says that a measurement failed: it is a lost
sample. No part of the file can be read alone, so it is read whole, within a limit, and held as float32.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._dates import later
from neuroloom.ingest.formats._fixed_names import named_by
from neuroloom.ingest.formats._gzip import SIGNATURE, unpacked_head
from neuroloom.ingest.formats._json import parsed
from neuroloom.ingest.formats._people import stated_subject
from neuroloom.ingest.formats._sampled import Group, SampleRows, signals
from neuroloom.ingest.formats._sidecars import MAX_SIDECAR_BYTES
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Stream

TITLE = "Tobii Pro Glasses 2 (livedata.json.gz)"
MODALITY = "gaze"
KEEPS = (
    "gaze in the scene and in space, per eye direction, pupil centre and diameter, head motion, sync port, events, "
    "video times; not latency and the binary .tslv files, which hold the same"
)
TESTED_ON = "a real recording of GlassesTestCodeData (with sync pulses); sent events to Tobii's developer guide"

MAX_BYTES = 1 << 31  # unpacked
MAX_LINE_BYTES = 1 << 16
_LIVE = "livedata.json.gz"
_EYES = ("left", "right")
# key of a line: name of the signal, modality, unit, channels of one eye or of both
_SIGNALS = {
    "gp": ("gaze", "gaze", "norm", ("x", "y")),
    "gp3": ("gaze point", "aux", "mm", ("x", "y", "z")),
    "gd": ("gaze direction", "aux", "a.u.", ("x", "y", "z")),
    "pc": ("pupil centre", "aux", "mm", ("x", "y", "z")),
    "pd": ("pupil", "pupil", "mm", ("pupil",)),
    "ac": ("acceleration", "behaviour", "m/s2", ("x", "y", "z")),
    "gy": ("rotation", "behaviour", "deg/s", ("x", "y", "z")),
}
_PER_EYE = ("gd", "pc", "pd")


@dataclass
class _Found:
    """What the lines hold: rows by signal and eye, moments by stream."""

    rows: dict[tuple[str, str], SampleRows] = field(default_factory=dict)
    moments: dict[str, list[tuple[float, str, float]]] = field(default_factory=dict)


def sniff(path: Path, head: bytes) -> bool:
    """True for packed JSON lines that begin with `ts` and `s`, and for the folder of a recording."""
    if not head:
        return path.is_dir() and is_there(path / "recording.json") and bool(_live_files(path))
    return head.startswith(SIGNATURE) and unpacked_head(head, 64).startswith(b'{"ts":')


def files(path: Path) -> tuple[Path, ...]:
    """The live data, first segment first, then what describes them."""
    if not path.is_dir():
        return (path,)
    live = _live_files(path)
    about = [path / "recording.json", path / "participant.json", *(file.with_name("segment.json") for file in live)]
    return (*live, *(file for file in about if is_there(file)))


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError, naming the line, for damage, and for a file that unpacks to too much."""
    found, repairs = _Found(), list[str]()
    live = _live_files(path) if path.is_dir() else [path]
    for file in live:
        for line, said in _lines(file, repairs):
            _take(found, file, line, said)
    streams = [*_signal_streams(path, found, repairs), *_event_streams(found)]
    if not streams:
        raise FormatError(f"{path}: no measurement in it; some are wanted")
    return [
        Recording(
            clock=path.name if path.is_dir() else named_by(path),
            format="tobii_glasses",
            files=(path, *files(path)) if path.is_dir() else files(path),
            streams=tuple(streams),
            start=_start(live[0]),
            repairs=tuple(repairs),
            subject=_subject(path),
        )
    ]


def _live_files(path: Path) -> list[Path]:
    """Of every segment of a recording, in the order of their numbers."""
    segments = path / "segments"
    if not segments.is_dir() or segments.is_symlink():
        return []
    numbered = sorted((int(f.name), f) for f in segments.iterdir() if f.name.isdigit() and not f.is_symlink())
    return [folder / _LIVE for _, folder in numbered if is_there(folder / _LIVE)]


# Lines --------------------------------------------------------------------------------------------------------------


def _lines(path: Path, repairs: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line; a file that was cut off is read as far as it goes."""
    n_bytes = 0
    try:
        with gzip.open(path, "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), start=1):
                n_bytes += len(line)
                if n_bytes > MAX_BYTES or (len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")):
                    raise FormatError(f"{path}: line {number}: unpacks to too much; up to {MAX_BYTES} bytes are read")
                if line.strip():
                    yield number, _json(path, line, f"line {number}: ")
    except (EOFError, zlib.error):
        repairs.append(Defect(f"{path.name}: its end is missing", "read as far as it goes"))


def _json(path: Path, text: bytes, where: str = "") -> dict[str, Any]:
    said = parsed(path, text, where)
    return said if isinstance(said, dict) else {}


def _take(found: _Found, path: Path, line: int, said: dict[str, Any]) -> None:
    ts = said.get("ts")
    if not isinstance(ts, int):
        raise FormatError(f"{path}: line {line}: ts is {str(ts)[:40]!r}; whole microseconds are wanted")
    time_s = ts / 1e6
    for key, (_, _, _, channels) in _SIGNALS.items():
        if key in said:
            values = said[key] if isinstance(said[key], list) else [said[key]]
            if len(values) != len(channels) or not all(isinstance(v, int | float) for v in values):
                raise FormatError(f"{path}: line {line}: {key} is {said[key]!r}; {len(channels)} numbers are wanted")
            lost = said.get("s", 0) != 0
            rows = found.rows.setdefault((key, str(said.get("eye", ""))), SampleRows(len(channels)))
            rows.add(time_s, [float("nan")] * len(values) if lost else values)
            return
    if "sig" in said:
        label = "up" if said["sig"] else "down"
        found.moments.setdefault(f"sync {said.get('dir', '')}".strip(), []).append((time_s, label, float("nan")))
    elif "ets" in said or "type" in said:
        label = " ".join(str(said[key]) for key in ("type", "tag") if said.get(key))
        found.moments.setdefault("events", []).append((time_s, label or "event", _seconds(said.get("ets"))))
    elif "vts" in said:
        found.moments.setdefault("video", []).append((time_s, "scene video", _seconds(said["vts"])))


def _seconds(us: Any) -> float:
    return us / 1e6 if isinstance(us, int | float) else float("nan")


# Streams ------------------------------------------------------------------------------------------------------------


def _signal_streams(path: Path, found: _Found, repairs: list[str]) -> list[Stream]:
    made: list[Stream] = []
    for key, (name, modality, unit, channels) in _SIGNALS.items():
        if key not in _PER_EYE:
            eyes = [""] if (key, "") in found.rows else []
        else:
            eyes = [eye for eye in _EYES if (key, eye) in found.rows]
        for eye in eyes:
            rows = found.rows[key, eye]
            named = tuple(f"{c}_{eye}" if eye and modality == "pupil" else c for c in channels)
            group = Group(
                name=f"{name} {eye}".strip(),
                modality=modality,
                unit=unit,
                channels=named,
                columns=tuple(range(len(channels))),
            )
            told: list[str] = []
            made += signals([group], *rows.in_order(path, f"samples of {group.name}", told))
            repairs += told
    return made


def _event_streams(found: _Found) -> list[Stream]:
    made: list[Stream] = []
    for name, rows in found.moments.items():
        rows = sorted(rows, key=lambda row: row[0])
        column = {"video": "video_s", "events": "sender_s"}.get(name)
        made.append(
            Events(
                name=name,
                modality="sync" if name.startswith("sync") else "events",
                times_s=np.array([row[0] for row in rows]),
                labels=tuple(row[1] for row in rows),
                table={column: tuple(row[2] for row in rows)} if column else {},
            )
        )
    return made


# What lies beside ---------------------------------------------------------------------------------------------------


def _about(path: Path) -> dict[str, Any]:
    if not is_there(path) or path.stat().st_size > MAX_SIDECAR_BYTES:
        return {}
    return _json(path, path.read_bytes())


def _start(live: Path) -> datetime | None:
    """`seg_t_start` of the segment, to the second, with its zone."""
    said = str(_about(live.with_name("segment.json")).get("seg_t_start", ""))
    try:
        return later(datetime.strptime(said, "%Y-%m-%dT%H:%M:%S%z"), 0.0)
    except ValueError:
        return None


def _subject(path: Path) -> dict[str, str]:
    info = _about(path / "participant.json").get("pa_info") if path.is_dir() else None
    return stated_subject(str(info.get("Name", ""))) if isinstance(info, dict) else {}
