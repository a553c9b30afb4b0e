"""Trodes (SpikeGadgets) exports: a header of text, then packed records whose fields it states.

    <Start settings>
    clockrate: 30000
    Fields: <time uint32><xloc uint16><yloc uint16><xloc2 uint16><yloc2 uint16>
    <End settings>

    time and xloc, yloc     tracked position, `.videoPositionTracking`: a Signal in camera pixels
    time and state          a digital line, `.dio_*.dat`: its rising edges as sync events

`time` counts the samples of the acquisition, so seconds are time / clockrate. All exports of one acquisition count on
the same clock, whose name is theirs up to the first dot.

Frames come when the camera sends them, so their own times are kept. Of frames with one and the same time the first is
kept (a real file holds one that was written twice). A time that goes back has no order and is refused, but for the
counter running over after 2^32 samples, 40 hours at 30 kHz.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._edges import high_s
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._row_runs import runs, segments
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import HIGH, Events, Signal, Stream
from neuroloom.ingest.timebase import FloatArray

TITLE = "Trodes export (position, digital lines)"
MODALITY = "position"
KEEPS = "positions as stored, edges of digital lines"
TESTED_ON = "a real position file of nelpy's example data; digital lines on files written by this project only"

_MAX_HEADER_BYTES = 1 << 16
_READ = r"time|state|[xy]loc\d*"  # fields that are read, each one number per record
_NUMBERS = {
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "int64": "i8",
    "uint64": "u8", "single": "f4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the text states; records of `dtype` begin at `n_bytes`. settings: by lower-case name without blanks."""

    settings: Mapping[str, str]
    dtype: np.dtype[Any]
    n_bytes: int
    rate_hz: float


def sniff(path: Path, head: bytes) -> bool:
    """True for a text that begins as these headers do."""
    return head.startswith(b"<Start settings>")


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording: a position, memory-mapped, or the rising edges of a digital line."""
    header = _header(path)
    names = header.dtype.names or ()
    repairs: list[str] = []
    raw = _records(path, header, repairs)
    stream: Stream
    if {"xloc", "yloc"} <= set(names):
        stream = _position(path, header, raw, repairs)
    elif "state" in names:
        stream = _edges(path, header, raw, repairs)
    else:
        raise FormatError(
            f"{path}: records of the fields {shown(names)}; time with xloc and yloc, or with state, is wanted"
        )
    return [
        Recording(
            clock=path.name.partition(".")[0] or path.stem,
            format="trodes",
            files=(path,),
            streams=(stream,),
            repairs=tuple(repairs),
        )
    ]


def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        head = file.read(_MAX_HEADER_BYTES)
    end = re.search(rb"<End settings>\r?\n", head)
    if end is None:
        raise FormatError(
            f"{path}: no line <End settings> in its first {_MAX_HEADER_BYTES} bytes; a header ends in one"
        )
    pairs = (line.partition(":") for line in head[: end.start()].decode("latin-1").splitlines()[1:])
    settings = {key.strip().lower().replace(" ", ""): value.strip() for key, _, value in pairs}
    return _Header(
        settings=settings,
        dtype=_dtype(path, settings),
        n_bytes=end.end(),
        rate_hz=_rate_hz(path, settings),
    )


def _dtype(path: Path, settings: Mapping[str, str]) -> np.dtype[Any]:
    """`<time uint32><waveform 40*int16>` as a packed dtype."""
    text = settings.get("fields", "")
    order = ">" if "big" in settings.get("byte_order", "").lower() else "<"
    fields: list[tuple[str, str] | tuple[str, str, int]] = []
    for name, given in re.findall(r"<\s*(\w+)\s+([\w*]+)\s*>", text):
        kind, count = _kind_and_count(given)
        if kind not in _NUMBERS or not 0 < count <= 1 << 16 or (count > 1 and re.fullmatch(_READ, name)):
            raise FormatError(f"{path}: field {name} is of {given[:40]!r}; one of {', '.join(_NUMBERS)} is wanted")
        if name == "time" and "int" not in kind:
            raise FormatError(f"{path}: time is of {kind!r}; whole numbers of samples are wanted")
        code = order + _NUMBERS[kind]
        fields.append((name, code) if count == 1 else (name, code, count))
    names = [field[0] for field in fields]
    if "time" not in names or len(set(names)) != len(names):
        raise FormatError(f"{path}: fields are {text[:80]!r}; a time and other fields, each once, are wanted")
    return np.dtype(fields)


def _kind_and_count(given: str) -> tuple[str, int]:
    """`uint16`, `40*int16` and `int16*40`."""
    parts = given.lower().split("*")
    counts = [int(part[:9]) for part in parts if part.isdigit()]
    kinds = [part for part in parts if not part.isdigit()]
    return (kinds[0] if len(kinds) == 1 else "", counts[0] if counts else 1)


def _rate_hz(path: Path, settings: Mapping[str, str]) -> float:
    text = settings.get("clockrate", "")
    try:
        rate_hz = float(text)
    except ValueError as error:
        raise FormatError(f"{path}: clockrate is {text[:40]!r}; samples per second are wanted") from error
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise FormatError(f"{path}: clockrate is {rate_hz}; a number above 0 is wanted")
    return rate_hz


def _records(path: Path, header: _Header, repairs: list[str]) -> NDArray[Any]:
    """A memory map of the whole records, shape (T,)."""
    n_records, rest = divmod(path.stat().st_size - header.n_bytes, header.dtype.itemsize)
    if n_records < 1:
        raise FormatError(f"{path}: no whole record of {header.dtype.itemsize} bytes after its header; one is wanted")
    if rest:
        repairs.append(Defect(f"{rest} bytes after the last whole record left out"))
    return np.memmap(path, header.dtype, mode="r", offset=header.n_bytes, shape=(n_records,))


def _times_s(path: Path, header: _Header, raw: NDArray[Any], repairs: list[str]) -> FloatArray:
    """Seconds of each record, shape (T,), never going back."""
    ticks = np.asarray(raw["time"]).astype(np.int64)
    steps = np.diff(ticks)
    bits = 8 * header.dtype["time"].itemsize
    over = steps < -(1 << (bits - 1)) if bits < 64 else np.zeros(steps.size, dtype=np.bool_)
    if over.any():
        repairs.append(f"the {bits}-bit sample counter ran over {int(over.sum())} times: counted on")
        ticks[1:] += np.cumsum(over) << bits
        steps = np.diff(ticks)
    if (steps < 0).any():
        k = int((steps < 0).argmax()) + 1
        raise FormatError(f"{path}: record {k} is at {ticks[k]} after one at {ticks[k - 1]}; times in order are wanted")
    return ticks / header.rate_hz


def _position(path: Path, header: _Header, raw: NDArray[Any], repairs: list[str]) -> Signal:
    times_s = _times_s(path, header, raw, repairs)
    places = [name for name in header.dtype.names or () if re.fullmatch(r"[xy]loc\d*", name)]
    others = [name for name in header.dtype.names or () if name not in ("time", *places)]
    unseen = [name for name in places if name not in ("xloc", "yloc") and not raw[name].any()]
    if others:
        repairs.append(f"fields left out: {shown(others)}")
    if unseen:
        repairs.append(f"{shown(unseen)} left out: 0 in every record, no second light was tracked")
    fields = tuple(name for name in places if name not in unseen)
    kept = _frames(raw, fields, times_s, repairs)
    samples = _Fields(raw, fields, kept)
    return Signal(
        name="position",
        modality="position",
        segments=segments(samples, runs(times_s if kept is None else times_s[kept])),
        channel_names=tuple(name.replace("loc", "") for name in fields),
        unit="px",
        gain=np.ones(len(fields)),
        offset=np.zeros(len(fields)),
        provenance={key: header.settings[key] for key in ("cameraresolution", "pixelscale") if key in header.settings},
    )


def _frames(
    raw: NDArray[Any], fields: tuple[str, ...], times_s: FloatArray, repairs: list[str]
) -> NDArray[np.int64] | None:
    """Which records to keep, the first of each time; None where that is all of them."""
    again = np.flatnonzero(np.diff(times_s) == 0) + 1
    if not again.size:
        return None
    alike = np.all([raw[name][again] == raw[name][again - 1] for name in fields], axis=0)
    repairs.append(
        Defect(f"{again.size} records at the time of the one before, {int((~alike).sum())} of another place, left out")
    )
    return np.delete(np.arange(len(raw), dtype=np.int64), again)


class _Fields:
    """Some fields of packed records as samples (T, C), read only when sliced. rows: which records; None for all."""

    def __init__(self, raw: NDArray[Any], fields: tuple[str, ...], rows: NDArray[np.int64] | None) -> None:
        self.raw, self.fields, self.rows = raw, fields, rows
        self.shape = (len(raw) if rows is None else len(rows), len(fields))
        self.dtype: np.dtype[Any] = np.result_type(*(raw.dtype[name] for name in fields)).newbyteorder("=")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        block = self.raw[part] if self.rows is None else self.raw[self.rows[part]]
        return np.stack([block[name] for name in self.fields], axis=1).astype(self.dtype, copy=False)


def _edges(path: Path, header: _Header, raw: NDArray[Any], repairs: list[str]) -> Events:
    """From 0 to 1; the first record only states how the line was when the recording began."""
    times_s = _times_s(path, header, raw, repairs)
    state = np.asarray(raw["state"]) != 0
    up = np.flatnonzero(state[1:] & ~state[:-1]) + 1
    down = np.flatnonzero(~state[1:] & state[:-1]) + 1
    label = header.settings.get("id") or "1"
    widths_s = tuple(high_s(times_s[up], times_s[down]).tolist())
    return Events(name=label, modality="sync", times_s=times_s[up], labels=(label,) * up.size, table={HIGH: widths_s})
