"""Plexon's `.plx`: headers of three kinds of channels, then data blocks one after another, each with its own time.

Layouts after Plexon's own header file, as Neo has them. Blocks are found by going from one to the next; of each only
its head is read.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.ledger import Defect

MAGIC = b"PLEX"
SPIKE, EVENT, SLOW = 1, 4, 5

_GLOBAL = np.dtype([
    ("magic", "S4"), ("version", "<i4"), ("comment", "S128"), ("tick_hz", "<i4"), ("n_spike", "<i4"),
    ("n_event", "<i4"), ("n_slow", "<i4"), ("wave", "<i4", 2), ("date", "<i4", 6), ("fast", "<i4"), ("wave_hz", "<i4"),
    ("last", "<f8"), ("trodalness", "u1", 2), ("spike_bits", "u1"), ("slow_bits", "u1"), ("spike_mv", "<u2"),
    ("slow_mv", "<u2"), ("spike_preamp", "<u2"), ("software", "S36"), ("pad", "S10"), ("counts", "<i4", 1812),
])  # fmt: skip
_SPIKE_CHANNEL = np.dtype(
    {"names": ["name", "channel"], "formats": ["S32", "<i4"], "offsets": [0, 64], "itemsize": 1020}
)
_EVENT_CHANNEL = np.dtype(
    {"names": ["name", "channel"], "formats": ["S32", "<i4"], "offsets": [0, 32], "itemsize": 296}
)
_SLOW_CHANNEL = np.dtype({
    "names": ["name", "channel", "rate_hz", "gain", "enabled", "preamp"], "formats": ["S32", *["<i4"] * 5],
    "offsets": [0, 32, 36, 40, 44, 48], "itemsize": 296,
})  # fmt: skip
_HEAD = np.dtype([
    ("type", "<u2"), ("upper", "<u2"), ("tick", "<u4"), ("channel", "<u2"), ("unit", "<u2"), ("n", "<u2"),
    ("words", "<u2"),
])  # fmt: skip
_MAX_CHANNELS = 1 << 16
_MAX_BLOCKS = 200_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Plx:
    """Headers and, per block, its head and where its samples begin. ticks: 64 bits, of `tick_hz`."""

    path: Path
    version: int
    tick_hz: float
    stated: Any
    spike_channels: NDArray[Any]
    event_channels: NDArray[Any]
    slow_channels: NDArray[Any]
    heads: NDArray[Any]
    at: NDArray[np.int64]
    ticks: NDArray[np.int64]
    start: datetime | None


def plx_of(path: Path, repairs: list[str]) -> Plx:
    """Raises FormatError where the headers do not fit the file."""
    stated = _rows(path, _GLOBAL, 1, 0)[0]
    if stated["magic"] != MAGIC or int(stated["tick_hz"]) <= 0:
        raise FormatError(
            f"{path}: begins with {stated['magic']!r}, counts {int(stated['tick_hz'])} ticks per second; {MAGIC!r} "
            "and more than 0 are wanted"
        )
    at, channels = _GLOBAL.itemsize, []
    for key, dtype in (("n_spike", _SPIKE_CHANNEL), ("n_event", _EVENT_CHANNEL), ("n_slow", _SLOW_CHANNEL)):
        n = int(stated[key])
        if not 0 <= n <= _MAX_CHANNELS:
            raise FormatError(f"{path}: {key} is {n}; 0 to {_MAX_CHANNELS} channels are wanted")
        channels.append(_rows(path, dtype, n, at))
        at += n * dtype.itemsize
    heads, positions = _blocks(path, at, repairs)
    return Plx(
        path=path,
        version=int(stated["version"]),
        tick_hz=float(stated["tick_hz"]),
        stated=stated,
        spike_channels=channels[0],
        event_channels=channels[1],
        slow_channels=channels[2],
        heads=heads,
        at=positions + _HEAD.itemsize,
        ticks=(heads["upper"].astype(np.int64) << 32) + heads["tick"],
        start=_date(stated["date"].tolist()),
    )


def _rows(path: Path, dtype: np.dtype[Any], n: int, at: int) -> NDArray[Any]:
    size = path.stat().st_size
    if at + n * dtype.itemsize > size:
        raise FormatError(f"{path}: its headers need {at + n * dtype.itemsize} bytes, it has {size}: cut off")
    return np.fromfile(path, dtype, n, offset=at)


def _blocks(path: Path, at: int, repairs: list[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    size = path.stat().st_size
    positions = array("q")
    if at < size:
        lengths = struct.Struct("<HH").unpack_from
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            while at + _HEAD.itemsize <= size:
                n, words = lengths(raw, at + 12)
                after = at + _HEAD.itemsize + 2 * n * words
                if after > size:
                    break
                positions.append(at)
                if len(positions) > _MAX_BLOCKS:
                    raise FormatError(f"{path}: more than {_MAX_BLOCKS} data blocks; fewer are wanted")
                at = after
        if at < size:
            repairs.append(Defect(f"{size - at} bytes after the last whole data block left out"))
    found = np.frombuffer(positions, dtype=np.int64) if positions else np.zeros(0, np.int64)
    return _heads(path, found), found


def _heads(path: Path, positions: NDArray[np.int64]) -> NDArray[Any]:
    heads = np.zeros(len(positions), _HEAD)
    if not len(positions):
        return heads
    raw = np.memmap(path, np.uint8, mode="r")
    for first in range(0, len(positions), 1 << 18):
        part = positions[first : first + (1 << 18)]
        heads[first : first + len(part)] = raw[part[:, None] + np.arange(_HEAD.itemsize)].view(_HEAD)[:, 0]
    return heads


def _date(parts: list[int]) -> datetime | None:
    try:
        return datetime(*parts)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
