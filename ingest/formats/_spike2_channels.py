"""Spike2's SON files (`.smr`): a header, a row per channel, and chains of data blocks.

After CED's description of the SON filing system, versions 1 to 9 (32 bits), as Neo has it too; what Neo leaves out is
said where it is used. Times are ticks of `us_per_time * time_base` seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError

COPYRIGHT = b"(C) CED 87"
ADC, FALL, RISE, BOTH, MARKER, ADC_MARK, REAL_MARK, TEXT_MARK, REAL = range(1, 10)

_HEAD = np.dtype([
    ("system", "<i2"), ("copyright", "S10"), ("creator", "S8"), ("us_per_time", "<i2"), ("time_per_adc", "<i2"),
    ("state", "<i2"), ("first", "<i4"), ("n_channels", "<i2"), ("sizes", "<i2", 3), ("os", "<i2"), ("last", "<i4"),
    ("time_base", "<f8"), ("date", "u1", 6), ("year", "<i2"), ("pad", "V52"), ("comments", "V400"),
])  # fmt: skip
_CHANNEL = np.dtype({
    "names": ["first", "blocks", "n_extra", "blocks_high", "divide", "title", "ideal_hz", "kind",
              "scale", "offset", "unit", "old_divide", "init_low"],
    "formats": ["<i4", "<u2", "<u2", "<u2", "<i4", "S10", "<f4", "u1", "<f4", "<f4", "S6", "<i2", "u1"],
    "offsets": [6, 14, 16, 20, 102, 108, 118, 122, 124, 128, 132, 138, 124],
    "itemsize": 140,
})  # fmt: skip
_BLOCK = np.dtype([
    ("before", "<i4"), ("after", "<i4"), ("start", "<i4"), ("stop", "<i4"), ("channel", "<u2"), ("items", "<u2"),
])  # fmt: skip
_CHANNELS_AT = 512
_MAX_BLOCKS = 50_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Channel:
    """One channel: what it holds, and its blocks: where their items lie, how many, and the tick of the first."""

    number: int
    kind: int
    title: str
    unit: str
    gain: float
    offset: float
    rate_hz: float
    n_extra: int
    init_low: bool
    at: NDArray[np.int64]
    items: NDArray[np.int64]
    ticks: NDArray[np.int64]

    def rows(self, path: Path) -> NDArray[Any]:
        """The items of a channel of events or marks, with their ticks, in the order of its blocks."""
        fields: list[tuple[Any, ...]] = [("tick", "<i4")]
        if self.kind in (MARKER, ADC_MARK, REAL_MARK, TEXT_MARK):
            fields.append(("code", "u1", 4))
        if self.kind == TEXT_MARK and self.n_extra:
            fields.append(("text", f"S{self.n_extra}"))
        elif self.kind == REAL_MARK and self.n_extra >= 4:
            fields.append(("value", "<f4", self.n_extra // 4))
        elif self.kind == ADC_MARK and self.n_extra:
            fields.append(("wave", f"V{self.n_extra}"))
        dtype = np.dtype(fields)
        raw, size = np.memmap(path, np.uint8, mode="r"), path.stat().st_size
        parts = []
        for at, n in zip(self.at.tolist(), self.items.tolist(), strict=True):
            if at + n * dtype.itemsize > size:
                raise FormatError(f"{path}: {self.title}: a block of {n} items goes beyond its {size} bytes: cut off")
            parts.append(np.frombuffer(raw[at : at + n * dtype.itemsize], dtype))
        return np.concatenate(parts) if parts else np.zeros(0, dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class Son:
    """A file: its channels, the length of a tick, and when it was begun."""

    path: Path
    tick_s: float
    channels: tuple[Channel, ...]
    start: datetime | None


def son_of(path: Path, repairs: list[str]) -> Son:
    """Raises FormatError where the header does not fit the file."""
    size = path.stat().st_size
    if size < _HEAD.itemsize:
        raise FormatError(f"{path}: {size} bytes; a header has {_HEAD.itemsize}: cut off, or still being copied")
    head = np.fromfile(path, _HEAD, 1)[0]
    system, n_channels = int(head["system"]), int(head["n_channels"])
    if head["copyright"] != COPYRIGHT or not 1 <= system <= 9:
        raise FormatError(f"{path}: SON of version {system}; 1 to 9 (.smr) are read, .smrx only by CED's own library")
    if int(head["os"]) != 0:
        raise FormatError(f"{path}: written on a Macintosh, big-endian; files of Spike2 for Windows are read")
    time_base = float(head["time_base"]) if system >= 6 else 1e-6
    us, per_adc = int(head["us_per_time"]), int(head["time_per_adc"])
    tick_s = us * time_base
    if not (np.isfinite(tick_s) and 0 < tick_s < 1e3) or not 0 <= n_channels <= 1024:
        raise FormatError(
            f"{path}: {n_channels} channels in ticks of {tick_s} s; up to 1024 and more than 0 are wanted"
        )
    if _CHANNELS_AT + n_channels * _CHANNEL.itemsize > size:
        raise FormatError(f"{path}: {n_channels} channels in {size} bytes; their headers alone need more: cut off")
    rows = np.fromfile(path, _CHANNEL, n_channels, offset=_CHANNELS_AT)
    block_bytes = 512 if system == 9 else 1
    raw = np.memmap(path, np.uint8, mode="r")
    channels = []
    for number, row in enumerate(rows):
        if not 1 <= int(row["kind"]) <= 9:
            continue
        divide = float(row["divide"]) if system >= 6 else float(row["old_divide"]) * per_adc
        blocks = _chain(path, raw, row, block_bytes, number, repairs, has_high=system == 9)
        if len(blocks[0]):
            channels.append(_channel(path, number, row, blocks, divide, tick_s))
    return Son(path=path, tick_s=tick_s, channels=tuple(channels), start=_date(head))


def _channel(path: Path, number: int, row: Any, blocks: Any, divide: float, tick_s: float) -> Channel:
    kind, title = int(row["kind"]), _pascal(row["title"]) or f"channel {number + 1}"
    sampled = kind in (ADC, REAL)
    if sampled and divide <= 0:
        raise FormatError(f"{path}: {title}: a sample every {divide:g} ticks; more than 0 is wanted")
    gain, offset = (float(row["scale"]) / 6553.6, float(row["offset"])) if kind == ADC else (1.0, 0.0)
    if not np.isfinite([gain, offset]).all() or gain == 0:
        raise FormatError(f"{path}: {title}: scale {gain} and offset {offset}; finite ones are wanted")
    return Channel(
        number=number,
        kind=kind,
        title=title,
        unit=_pascal(row["unit"]) if sampled else "",
        gain=gain,
        offset=offset,
        rate_hz=1 / (divide * tick_s) if sampled else 0.0,
        n_extra=int(row["n_extra"]),
        init_low=bool(row["init_low"]),
        at=blocks[0],
        items=blocks[1],
        ticks=blocks[2],
    )


def _chain(
    path: Path, raw: NDArray[np.uint8], row: Any, block_bytes: int, number: int, repairs: list[str], *, has_high: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """A channel's blocks, each naming the next. Version 9 counts more than 65,535 of them in a second word."""
    n = int(row["blocks"]) + (int(row["blocks_high"]) << 16 if has_high else 0)
    at = int(row["first"]) * block_bytes
    found: list[tuple[int, int, int]] = []
    if n > _MAX_BLOCKS:
        raise FormatError(f"{path}: channel {number + 1} has {n} blocks; up to {_MAX_BLOCKS} are wanted")
    while len(found) < n:
        if not 0 <= at <= raw.size - _BLOCK.itemsize:
            repairs.append(
                f"channel {number + 1}: block {len(found) + 1} of {n} lies beyond the file: left out, and on"
            )
            break
        head = np.frombuffer(raw[at : at + _BLOCK.itemsize], _BLOCK)[0]
        found.append((at + _BLOCK.itemsize, int(head["items"]), int(head["start"])))
        at = int(head["after"]) * block_bytes
    columns = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]


def _pascal(raw: bytes) -> str:
    """A text whose first byte is its length."""
    padded = raw.ljust(1, b"\x00")
    return padded[1 : 1 + padded[0]].decode("latin-1").strip("\x00 ")


def _date(head: Any) -> datetime | None:
    """Hundredths, seconds, minutes, hours, day, month and year; zeros in files before it was kept."""
    hundredths, second, minute, hour, day, month = head["date"].tolist()
    try:
        return datetime(int(head["year"]), month, day, hour, minute, second, hundredths * 10_000)
    except ValueError:
        return None
