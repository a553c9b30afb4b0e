"""Blackrock's .nsX: a header per channel, then samples in data packets; a gap between packets begins a new run.

channels_of     what the header states
packets_of      where the samples lie and when; only the heads of packets are read
runs_of         unbroken stretches of samples with their times, since the clock was last set back
signals_of      a Signal per kind of channel and unit
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._blackrock_records import (
    NSX,
    date_of,
    last_part,
    magic_of,
    records,
    seconds_of,
    text_of,
    unwrapped,
)
from neuroloom.ingest.formats._channels import columns_of, grouped, numbered
from neuroloom.ingest.formats._row_runs import measured
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Samples, Segment, Signal
from neuroloom.ingest.timebase import MAX_SHIFT_S, FloatArray, Timebase, Times

_BASE_HZ = 30000.0  # the period of an .nsX counts in these
_LFP_HZ = 2000.0  # electrodes sampled no faster hold field potentials
_MAX_PACKETS = 1_000_000
_BLOCK = 1 << 20
_ANALOG = re.compile(r"ainp|analog|aout|audio", re.I)
_TRELLIS_ANALOG = 10241

_NSX_HEAD = np.dtype([
    ("id", "S8"), ("version", "u1", 2), ("n_bytes", "<u4"), ("label", "S16"), ("comment", "S256"), ("period", "<u4"),
    ("resolution", "<u4"), ("date", "<u2", 8), ("n_channels", "<u4"),
])  # fmt: skip
_NSX_CHANNEL = np.dtype([
    ("type", "S2"), ("electrode_id", "<u2"), ("label", "S16"), ("connector", "u1"), ("pin", "u1"),
    ("low", "<i2"), ("high", "<i2"), ("low_value", "<i2"), ("high_value", "<i2"), ("unit", "S16"), ("filters", "V20"),
])  # fmt: skip
_NSX_21 = np.dtype([("id", "S8"), ("label", "S16"), ("period", "<u4"), ("n_channels", "<u4")])

Run = tuple[Samples, Times]


@dataclass(frozen=True, kw_only=True)
class Channels:
    """What an .nsX states, per channel and of all."""

    n_bytes: int
    rate_hz: float
    resolution: int
    wide_ticks: bool
    start: datetime | None
    electrode_ids: tuple[int, ...]
    labels: tuple[str, ...]
    is_analog: tuple[bool, ...]
    units: tuple[str, ...]
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return 2 * len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Packets:
    """Data packets of an .nsX: where each one's samples lie, its first tick, its samples; or all of them alike.

    alike: one record per sample ("tick", "samples") where every packet holds just one.
    """

    at: tuple[int, ...] = ()
    ticks: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    alike: NDArray[Any] | None = None

    @property
    def last_tick(self) -> int | None:
        """Tick of the last packet, None where there is none."""
        if self.alike is not None:
            return int(self.alike["tick"][-1])
        return self.ticks[-1] if self.ticks else None


def channels_of(path: Path, nanovolts: dict[int, float]) -> Channels:
    """The header of an .nsX. nanovolts: per bit, of the electrodes of the .nev beside it; version 2.1 needs them."""
    magic = magic_of(path)
    if magic not in NSX:
        raise FormatError(f"{path}: begins with {magic!r}; one of {', '.join(m.decode() for m in NSX)} is wanted")
    head = records(path, _NSX_21 if magic == NSX[0] else _NSX_HEAD)[0]
    n, period = int(head["n_channels"]), int(head["period"])
    if n == 0 or period == 0:
        raise FormatError(f"{path}: {n} channels every {period}/30000 s; more than 0 of both is wanted")
    if magic == NSX[0]:
        return _channels_21(path, n, _BASE_HZ / period, nanovolts)
    rows = records(path, _NSX_CHANNEL, n, _NSX_HEAD.itemsize)
    n_bytes, resolution = int(head["n_bytes"]), int(head["resolution"])
    if n_bytes < _NSX_HEAD.itemsize + n * _NSX_CHANNEL.itemsize or resolution == 0:
        raise FormatError(
            f"{path}: header of {n_bytes} bytes for {n} channels, times in 1/{resolution} s; not possible"
        )
    _check_channels(path, rows)
    ids, labels = rows["electrode_id"].tolist(), [text_of(label) for label in rows["label"]]
    spelled = [text_of(unit) for unit in rows["unit"]]
    factor = np.array([kept_unit(unit)[1] for unit in spelled])
    low, low_value = (rows[name].astype(np.float64) for name in ("low", "low_value"))
    gain = (rows["high_value"] - low_value) / (rows["high"] - low)
    return Channels(
        n_bytes=n_bytes,
        rate_hz=_BASE_HZ / period,
        resolution=resolution,
        wide_ticks=int(head["version"][0]) >= 3,
        start=date_of(head["date"]),
        electrode_ids=tuple(ids),
        labels=tuple(label or f"chan{i}" for label, i in zip(labels, ids, strict=True)),
        is_analog=tuple(_is_analog(*channel) for channel in zip(ids, labels, spelled, strict=True)),
        units=tuple(kept_unit(unit)[0] for unit in spelled),
        gain=gain * factor,
        offset=(low_value - gain * low) * factor,
    )


def _check_channels(path: Path, rows: NDArray[Any]) -> None:
    """Raise FormatError where the header of a channel is none, or states no range."""
    for row in rows:
        if row["type"] != b"CC":
            raise FormatError(f"{path}: the header of a channel begins with {row['type']!r}; 'CC' is wanted")
        if row["low"] == row["high"]:
            raise FormatError(
                f"{path}: digital minimum equals maximum for {text_of(row['label'])!r}; a range is wanted"
            )


def _is_analog(electrode_id: int, label: str, unit: str) -> bool:
    """True for an analog input: by its label, by Trellis' numbers, or beyond the first 128 and not in microvolts."""
    in_volts = unit.lower() in ("v", "mv")
    return bool(_ANALOG.match(label)) or electrode_id >= _TRELLIS_ANALOG or (electrode_id > 128 and in_volts)


def _channels_21(path: Path, n: int, rate_hz: float, nanovolts: dict[int, float]) -> Channels:
    """Version 2.1 states numbers only: 1 to 128 are electrodes, then come analog inputs. No unit without a .nev."""
    ids = [int(i) for i in records(path, np.dtype("<u4"), n, _NSX_21.itemsize)]
    known = [nanovolts.get(i, 0.0) for i in ids]
    return Channels(
        n_bytes=_NSX_21.itemsize + 4 * n,
        rate_hz=rate_hz,
        resolution=int(_BASE_HZ),
        wide_ticks=False,
        start=None,
        electrode_ids=tuple(ids),
        labels=tuple(f"chan{i}" if i <= 128 else f"ainp{i - 128}" for i in ids),
        is_analog=tuple(i > 128 for i in ids),
        units=tuple("uV" if nV else "a.u." for nV in known),
        gain=np.array([nV / 1000 if nV else 1.0 for nV in known]),
        offset=np.zeros(n),
    )


def packets_of(path: Path, stated: Channels, repairs: list[str]) -> Packets:
    """The data packets of an .nsX, of which only the heads are read.

    Raises FormatError where one is no packet, or states more samples than there are.
    """
    if magic_of(path) == NSX[0]:
        return _packets_21(path, stated, repairs)
    head = np.dtype([("flag", "u1"), ("tick", "<u8" if stated.wide_ticks else "<u4"), ("n", "<u4")])
    alike = _alike(path, stated, head, repairs)
    return alike if alike is not None else _packets_one_by_one(path, stated, head, repairs)


def _packets_21(path: Path, stated: Channels, repairs: list[str]) -> Packets:
    """Version 2.1: nothing but samples. Some program wrote the head of a data packet before them: it is skipped."""
    n_bytes = path.stat().st_size - stated.n_bytes
    n, rest = divmod(n_bytes, stated.sample_bytes)
    at = stated.n_bytes
    if rest == 9 and np.fromfile(path, "<u4", 2, offset=at + 1).tolist() == [0, n]:
        at += 9
        repairs.append(Defect(f"{path.name}: the head of a data packet, which version 2.1 does not have", "skipped"))
    elif rest:
        repairs.append(Defect(f"{path.name}: {rest} bytes after the last whole sample left out"))
    return Packets(at=(at,), ticks=(0,), counts=(n,)) if n else Packets()


def _alike(path: Path, stated: Channels, head: np.dtype[Any], repairs: list[str]) -> Packets | None:
    """The packets as records of one size where each holds just one sample, else None."""
    dtype = np.dtype([*((name, head[name]) for name in head.names or ()), ("samples", "<i2", (len(stated.labels),))])
    n, rest = divmod(max(path.stat().st_size - stated.n_bytes, 0), dtype.itemsize)
    if n < 2 or (np.fromfile(path, dtype, 2, offset=stated.n_bytes)["n"] != 1).any():
        return None
    raw = np.memmap(path, dtype, mode="r", offset=stated.n_bytes, shape=(n,))
    for start in range(0, n, _BLOCK):
        block = raw[start : start + _BLOCK]
        if (block["n"] != 1).any() or (block["flag"] != 1).any():
            return None
    if rest:
        repairs.append(Defect(f"{path.name}: {rest} bytes after the last whole data packet left out"))
    return Packets(alike=raw)


def _packets_one_by_one(path: Path, stated: Channels, head: np.dtype[Any], repairs: list[str]) -> Packets:
    found: list[tuple[int, int, int]] = []
    at, size = stated.n_bytes, path.stat().st_size
    with path.open("rb") as file:
        while at + head.itemsize <= size:
            flag, tick, n = _packet_head(file, head, at)
            first = at + head.itemsize
            if flag != 1:
                raise FormatError(f"{path}: the data packet at byte {at} begins with {flag}; 1 is wanted")
            if first + n * stated.sample_bytes > size:
                raise FormatError(
                    f"{path}: the data packet at byte {at} states {n} samples, {(size - first) // stated.sample_bytes} "
                    "are there: still being copied, or cut off"
                )
            if n == 0 and first < size and _packet_head(file, head, first)[0] != 1:
                n = (size - first) // stated.sample_bytes
                repairs.append(
                    Defect(f"{path.name}: the recording was never closed: the {n} samples it ends with were read")
                )
            if n:
                found.append((first, tick, n))
            if len(found) > _MAX_PACKETS:
                raise FormatError(f"{path}: more than {_MAX_PACKETS} data packets; fewer are wanted")
            at = first + n * stated.sample_bytes
    if at < size:
        repairs.append(Defect(f"{path.name}: {size - at} bytes after the last data packet left out"))
    ticks = np.array([tick for _, tick, _ in found], dtype=head["tick"])
    return Packets(
        at=tuple(place for place, _, _ in found),
        ticks=tuple(unwrapped(ticks).tolist()),
        counts=tuple(n for _, _, n in found),
    )


def _packet_head(file: BinaryIO, head: np.dtype[Any], at: int) -> tuple[int, int, int]:
    """Flag, tick and number of samples of the data packet at a byte; zeros where the file ends before."""
    file.seek(at)
    raw = file.read(head.itemsize)
    record = np.frombuffer(raw.ljust(head.itemsize, b"\x00"), head)[0]
    return int(record["flag"]), int(record["tick"]), int(record["n"])


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Samples (T, C) of data packets that follow one another without a gap, read only when sliced."""

    raw: NDArray[np.uint8]
    at: NDArray[np.int64]
    ends: NDArray[np.int64]  # samples up to and with each packet
    n_channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self.ends[-1]), self.n_channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("<i2")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        if stop <= start:
            return np.zeros((0, self.n_channels), self.dtype)
        first, last = np.searchsorted(self.ends, [start, stop - 1], side="right")
        before = int(self.ends[first - 1]) if first else 0
        rows = (
            np.concatenate([self._packet(k) for k in range(first, last + 1)]) if last > first else self._packet(first)
        )
        return rows[start - before : stop - before : step]

    def _packet(self, k: int) -> NDArray[Any]:
        n = int(self.ends[k]) - (int(self.ends[k - 1]) if k else 0)
        block = self.raw[self.at[k] : self.at[k] + 2 * n * self.n_channels]
        return block.view("<i2").reshape(n, self.n_channels)


def runs_of(path: Path, stated: Channels, packets: Packets, day_s: int, repairs: list[str]) -> list[Run]:
    """The unbroken stretches of samples with their times, since the clock was last set back."""
    if packets.alike is not None:
        return _runs_of_alike(path, stated, packets.alike, day_s, repairs)
    parts = _groups(packets, stated.resolution / stated.rate_hz, stated.resolution)
    spans_s = [sum(packets.counts[k] for group in part for k in group) / stated.rate_hz for part in parts]
    raw = np.memmap(path, np.uint8, mode="r")
    runs: list[Run] = []
    for group in parts[last_part(path, spans_s, repairs)]:
        ends = np.cumsum([packets.counts[k] for k in group])
        samples = _Pieces(raw, np.array([packets.at[k] for k in group]), ends, len(stated.labels))
        start_s = seconds_of(packets.ticks[group[0]], stated.resolution, day_s)
        runs.append((samples, Timebase(rate_hz=stated.rate_hz, start_s=start_s, n_samples=int(ends[-1]))))
    return runs


def _groups(packets: Packets, sample_ticks: float, resolution: int) -> list[list[list[int]]]:
    """Data packets by number: those without a gap between them, in the parts between two settings of the clock."""
    parts: list[list[list[int]]] = [[[]]]
    due = float(packets.ticks[0])
    for k, (tick, n) in enumerate(zip(packets.ticks, packets.counts, strict=True)):
        if tick < due - sample_ticks / 2:
            parts.append([[]])
        elif abs(tick - due) > MAX_SHIFT_S * resolution:
            parts[-1].append([])
        group = parts[-1][-1]
        due = (due if group else tick) + n * sample_ticks
        group.append(k)
    return parts


def _runs_of_alike(path: Path, stated: Channels, raw: NDArray[Any], day_s: int, repairs: list[str]) -> list[Run]:
    """As `runs_of`, of packets with a time for every sample: a gap is more than 1.5 samples long."""
    ticks = raw["tick"]
    longest = int(1.5 * stated.resolution / stated.rate_hz)
    cuts: list[int] = []
    resets = [0]
    for start in range(0, raw.size - 1, _BLOCK):
        steps = np.diff(ticks[start : start + _BLOCK + 1].astype(np.int64))
        cuts += (np.flatnonzero((steps > longest) | (steps <= 0)) + start + 1).tolist()
        resets += (np.flatnonzero(steps <= 0) + start + 1).tolist()
        if len(cuts) > _MAX_PACKETS:
            raise FormatError(f"{path}: more than {_MAX_PACKETS} gaps between samples; fewer are wanted")
    spans_s = [(b - a) / stated.rate_hz for a, b in pairwise([*resets, raw.size])]
    first = resets[last_part(path, spans_s, repairs)]
    edges = [first, *(cut for cut in cuts if cut > first), raw.size]
    return [(raw["samples"][a:b], _measured(ticks[a:b], stated, day_s)) for a, b in pairwise(edges)]


def _measured(ticks: NDArray[Any], stated: Channels, day_s: int) -> Times:
    def times_s(first: int, last: int) -> FloatArray:
        return np.asarray(seconds_of(ticks[first:last].astype(np.int64), stated.resolution, day_s))

    return measured(times_s, ticks.size, stated.rate_hz)


def signals_of(path: Path, stated: Channels, runs: list[Run], repairs: list[str]) -> list[Signal]:
    """One Signal per kind of channel and unit: "ns5 wideband", "ns2 lfp", "ns2 aux"."""
    names = numbered(stated.labels, repairs, where=f"{path.name}: ")
    electrode = "wideband" if stated.rate_hz > _LFP_HZ else "lfp"
    modalities = ["aux" if analog else electrode for analog in stated.is_analog]
    return [
        Signal(
            name=f"{path.suffix.lstrip('.') or 'nsx'} {modality}{suffix}",
            modality=modality,
            segments=tuple(Segment(samples=columns_of(part, columns), timebase=times) for part, times in runs),
            channel_names=tuple(names[i] for i in columns),
            unit=unit,
            gain=stated.gain[columns],
            offset=stated.offset[columns],
            table={"electrode_id": tuple(stated.electrode_ids[i] for i in columns)},
        )
        for modality, unit, suffix, columns in grouped(modalities, stated.units)
    ]
