"""Blackrock (Cerebus, CerePlex, Gemini), and what Ripple's Trellis writes alike: int16 in `.nsX`, events in `.nev`.

    X.ns1 ... X.ns9   NEURALSG (2.1)            channel numbers, then samples
                      NEURALCD (2.2, 2.3)       a row per channel, then data packets: time of the first sample, count
                      BRSMPGRP (3.0)            the same with 64-bit times; on Gemini a packet per sample, in ns (PTP)
    X.nev             NEURALEV, BREVENTS (3.0)  packets of one size: spikes, digital and serial input, comments

All files of one stem share one clock. A `.nev` names the recording, with the `.nsX` beside it; without one, each `.nsX`
is a Recording of its own. Time 0 is that of the device; PTP times (since 1970) count from the midnight before, UTC, so
that nanoseconds are kept. Units hold spike times only: waveforms stay in the file.

    packets that follow one another without a gap are one segment, any other begins a new one at its own time
    a clock that was set back (two devices started together do that): what was recorded before is left out, and noted

Design rationale: the tests compare with neo.rawio.BlackrockRawIO, but it does not read here, since it loses the last
sample of version 2.1, refuses files of one stem that differ in pauses, drops what Trellis stimulated, and tells gaps in
another way with every release.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import ChannelSubset, Events, Samples, Segment, Signal, Stream, Units
from neuroloom.ingest.timebase import MAX_SHIFT_S, FloatArray, Timebase, Times, Timestamps

TITLE = "Blackrock NSx and NEV"
MODALITY = "wideband"
TESTED_ON = (
    "a real set that Trellis wrote (.nev and .ns2, 2.2) and a real .ns3 (2.3); made-up .ns3 of MNE-Python (2.1, 2.2, "
    "3.0); 30 kHz, pauses in 2.2, PTP, clock resets, comments, sorted units on files written by this project only"
)

_NSX, _NEV = (b"NEURALSG", b"NEURALCD", b"BRSMPGRP"), (b"NEURALEV", b"BREVENTS")
_BASE_HZ = 30000.0  # the period of an .nsX counts in these
_DAY_S = 86400
_PTP_HZ = 1_000_000_000
_LFP_HZ = 2000.0  # electrodes sampled no faster hold field potentials
_MAX_PACKETS = 1_000_000
_BLOCK = 1 << 20
_ANALOG = re.compile(r"ainp|analog|aout|audio", re.I)
_TRELLIS_ANALOG, _TRELLIS_STIMULATION = 10241, range(5121, 5633)
_KINDS = {0: "unsorted", 255: "noise"} | {unit: "sorted" for unit in range(1, 17)}

_NSX_HEAD = np.dtype([
    ("id", "S8"), ("version", "u1", 2), ("n_bytes", "<u4"), ("label", "S16"), ("comment", "S256"), ("period", "<u4"),
    ("resolution", "<u4"), ("date", "<u2", 8), ("n_channels", "<u4"),
])  # fmt: skip
_NSX_CHANNEL = np.dtype([
    ("type", "S2"), ("electrode_id", "<u2"), ("label", "S16"), ("connector", "u1"), ("pin", "u1"),
    ("low", "<i2"), ("high", "<i2"), ("low_value", "<i2"), ("high_value", "<i2"), ("unit", "S16"), ("filters", "V20"),
])  # fmt: skip
_NSX_21 = np.dtype([("id", "S8"), ("label", "S16"), ("period", "<u4"), ("n_channels", "<u4")])
_NEV_HEAD = np.dtype([
    ("id", "S8"), ("version", "u1", 2), ("flags", "<u2"), ("n_bytes", "<u4"), ("packet_bytes", "<u4"),
    ("resolution", "<u4"), ("sample_hz", "<u4"), ("date", "<u2", 8), ("program", "S32"), ("comment", "S256"),
    ("n_extended", "<u4"),
])  # fmt: skip
_NEV_EXTENDED = np.dtype({  # NEUEVWAV has a factor, NEUEVLBL a label
    "names": ["id", "electrode_id", "factor", "label"], "formats": ["S8", "<u2", "<u2", "S16"],
    "offsets": [0, 8, 12, 10], "itemsize": 32,
})  # fmt: skip
_OVERFLOWN, _OVERFLOWN_NV = 21516, 152592.547  # 152592 nV per bit do not fit 16 bits: the vendor's own correction
# Ids of packets of a .nev: 0 is an input, up to _SYSTEM come electrodes.
_SYSTEM, _COMMENT, _FRAME, _BUTTON, _CONTINUED = 0x8000, 0xFFFF, 0xFFFE, 0xFFFC, 0x8000
_OTHERS = {_CONTINUED: "continuing another packet", 0xFFFD: "tracked objects", 0xFFFB: "configuration"}
_MAX_PACKET_BYTES = 1 << 16
_DISORDER_S = 0.1

Run = tuple[Samples, Times]


@dataclass(frozen=True, kw_only=True)
class _Channels:
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
class _Packets:
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


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The packets of a .nev, a memory map, with their ticks, and what its header states.

    continues: True for packets that go on with the one before and so have no time of their own.
    """

    packets: NDArray[Any]
    ticks: NDArray[np.int64]
    continues: NDArray[np.bool_]
    resolution: int
    start: datetime | None
    is_trellis: bool
    has_analog: bool
    labels: dict[int, str]
    nanovolts: dict[int, float]


def sniff(path: Path, head: bytes) -> bool:
    """True for the eight letters that an .nsX or a .nev begins with."""
    return head[:8] in _NSX + _NEV


def files(path: Path) -> tuple[Path, ...]:
    """The file, and for a `.nev` the `.ns1` to `.ns9` of its stem beside it, links left out."""
    if _magic(path) in _NSX:
        return (path,)
    beside = (path.with_suffix(f".ns{i}") for i in range(1, 10))
    return (path, *(file for file in beside if file.is_file() and not file.is_symlink()))


def incomplete(path: Path) -> str:
    """Why the last data packet of an .nsX is not whole, "" where all are; versions 2.1 and .nev state no length."""
    try:
        for file in files(path):
            if _magic(file) in _NSX[1:]:
                _packets(file, _channels(file, {}), [])
    except FormatError as error:
        return str(error)
    return ""


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per file, kind of channel and unit; the events and units of a `.nev`."""
    repairs: list[str] = []
    own, *beside = files(path)
    table = _table(own, repairs) if _magic(own) in _NEV else None
    sampled = [own] if table is None else beside
    channels = {file: _channels(file, table.nanovolts if table else {}) for file in sampled}
    packets = {file: _packets(file, stated, repairs) for file, stated in channels.items()}
    day_s = _day_s([(packets[file].last_tick, stated.resolution) for file, stated in channels.items()], table)
    streams: list[Stream] = []
    for file, stated in channels.items():
        if packets[file].last_tick is None:
            repairs.append(f"{file.name}: holds no samples: left out")
            continue
        try:
            streams += _signals(file, stated, _runs(file, stated, packets[file], day_s, repairs), repairs)
        except FormatError:
            raise
        except (ArithmeticError, ValueError) as error:  # times too large to tell two samples apart
            raise FormatError(
                f"{file}: its times make no sense ({error}); samples in order of time are wanted"
            ) from error
    if table is not None:
        streams += _noted(own, table, day_s, repairs)
    if not streams:
        raise FormatError(f"{own}: neither samples nor events; a recording holds some")
    dates = [table.start if table else None, *(stated.start for stated in channels.values())]
    return [
        Recording(
            clock=own.stem,
            format="blackrock",
            files=(own, *beside),
            streams=tuple(streams),
            start=next((date for date in dates if date is not None), None),
            repairs=tuple(repairs),
        )
    ]


def _day_s(lasts: list[tuple[int | None, int]], table: _Table | None) -> int:
    """Seconds since 1970 of the midnight before the end, where ticks are such nanoseconds (PTP), else 0.

    lasts: per .nsX its last tick and its resolution. The end is looked at since a clock may be set after the beginning.
    """
    if table is not None and not table.continues.all():
        lasts = [*lasts, (int(table.ticks[~table.continues].max()), table.resolution)]
    days = [tick // (_DAY_S * hz) for tick, hz in lasts if tick is not None and hz >= _PTP_HZ and tick < 1 << 63]
    return max(days, default=0) * _DAY_S


def _unwrapped(ticks: NDArray[Any]) -> NDArray[np.int64]:
    """Ticks in 64 bits, shape (P,): those of 32 bits begin anew after 39.8 hours at 30 kHz."""
    wide = ticks.astype(np.int64)
    if ticks.dtype.itemsize == 4:
        steps = np.diff(wide)
        turns = (steps < -(1 << 31)).astype(np.int64) - (steps > 1 << 31)
        wide[1:] += np.cumsum(turns) << 32
    return wide


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _text(raw: bytes) -> str:
    """Text up to its first NUL: what follows is whatever lay in memory."""
    return raw.partition(b"\x00")[0].decode("latin-1").strip()


def _date(date: NDArray[Any]) -> datetime | None:
    """Year, month, day of the week, day, hour, minute, second, millisecond: UTC, as the specification says."""
    year, month, _, day, hour, minute, second, millisecond = (int(part) for part in date)
    try:
        return datetime(year, month, day, hour, minute, second, millisecond * 1000, tzinfo=UTC)
    except ValueError:
        return None


def _record(path: Path, dtype: np.dtype[Any], n: int = 1, at: int = 0) -> NDArray[Any]:
    """`n` records of a header. Raises FormatError where the file is too short for them."""
    size = path.stat().st_size
    if at + n * dtype.itemsize > size:
        raise FormatError(f"{path}: its header of {n} entries needs {at + n * dtype.itemsize} bytes; it has {size}")
    return np.fromfile(path, dtype, n, offset=at)


def _channels(path: Path, nanovolts: dict[int, float]) -> _Channels:
    """The header of an .nsX. nanovolts: per bit, of the electrodes of the .nev beside it; version 2.1 needs them."""
    magic = _magic(path)
    if magic not in _NSX:
        raise FormatError(f"{path}: begins with {magic!r}; one of {', '.join(m.decode() for m in _NSX)} is wanted")
    head = _record(path, _NSX_21 if magic == _NSX[0] else _NSX_HEAD)[0]
    n, period = int(head["n_channels"]), int(head["period"])
    if n == 0 or period == 0:
        raise FormatError(f"{path}: {n} channels every {period}/30000 s; more than 0 of both is wanted")
    if magic == _NSX[0]:
        return _channels_21(path, n, _BASE_HZ / period, nanovolts)
    rows = _record(path, _NSX_CHANNEL, n, _NSX_HEAD.itemsize)
    n_bytes, resolution = int(head["n_bytes"]), int(head["resolution"])
    if n_bytes < _NSX_HEAD.itemsize + n * _NSX_CHANNEL.itemsize or resolution == 0:
        raise FormatError(
            f"{path}: header of {n_bytes} bytes for {n} channels, times in 1/{resolution} s; not possible"
        )
    _check_channels(path, rows)
    ids, labels = rows["electrode_id"].tolist(), [_text(label) for label in rows["label"]]
    spelled = [_text(unit) for unit in rows["unit"]]
    factor = np.array([kept_unit(unit)[1] for unit in spelled])
    low, low_value = (rows[name].astype(np.float64) for name in ("low", "low_value"))
    gain = (rows["high_value"] - low_value) / (rows["high"] - low)
    return _Channels(
        n_bytes=n_bytes,
        rate_hz=_BASE_HZ / period,
        resolution=resolution,
        wide_ticks=int(head["version"][0]) >= 3,
        start=_date(head["date"]),
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
            raise FormatError(f"{path}: digital minimum equals maximum for {_text(row['label'])!r}; a range is wanted")


def _is_analog(electrode_id: int, label: str, unit: str) -> bool:
    """True for an analog input: by its label, by Trellis' numbers, or beyond the first 128 and not in microvolts."""
    in_volts = unit.lower() in ("v", "mv")
    return bool(_ANALOG.match(label)) or electrode_id >= _TRELLIS_ANALOG or (electrode_id > 128 and in_volts)


def _channels_21(path: Path, n: int, rate_hz: float, nanovolts: dict[int, float]) -> _Channels:
    """Version 2.1 states numbers only: 1 to 128 are electrodes, then come analog inputs. No unit without a .nev."""
    ids = [int(i) for i in _record(path, np.dtype("<u4"), n, _NSX_21.itemsize)]
    known = [nanovolts.get(i, 0.0) for i in ids]
    return _Channels(
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


def _packets(path: Path, stated: _Channels, repairs: list[str]) -> _Packets:
    """The data packets of an .nsX, of which only the heads are read.

    Raises FormatError where one is no packet, or states more samples than there are.
    """
    if _magic(path) == _NSX[0]:
        return _packets_21(path, stated, repairs)
    head = np.dtype([("flag", "u1"), ("tick", "<u8" if stated.wide_ticks else "<u4"), ("n", "<u4")])
    alike = _alike(path, stated, head, repairs)
    return alike if alike is not None else _packets_one_by_one(path, stated, head, repairs)


def _packets_21(path: Path, stated: _Channels, repairs: list[str]) -> _Packets:
    """Version 2.1: nothing but samples. Some program wrote the head of a data packet before them: it is skipped."""
    n_bytes = path.stat().st_size - stated.n_bytes
    n, rest = divmod(n_bytes, stated.sample_bytes)
    at = stated.n_bytes
    if rest == 9 and np.fromfile(path, "<u4", 2, offset=at + 1).tolist() == [0, n]:
        at += 9
        repairs.append(f"{path.name}: the head of a data packet, which version 2.1 does not have, was skipped")
    elif rest:
        repairs.append(f"{path.name}: {rest} bytes after the last whole sample left out")
    return _Packets(at=(at,), ticks=(0,), counts=(n,)) if n else _Packets()


def _alike(path: Path, stated: _Channels, head: np.dtype[Any], repairs: list[str]) -> _Packets | None:
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
        repairs.append(f"{path.name}: {rest} bytes after the last whole data packet left out")
    return _Packets(alike=raw)


def _packets_one_by_one(path: Path, stated: _Channels, head: np.dtype[Any], repairs: list[str]) -> _Packets:
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
                repairs.append(f"{path.name}: the recording was never closed: the {n} samples it ends with were read")
            if n:
                found.append((first, tick, n))
            if len(found) > _MAX_PACKETS:
                raise FormatError(f"{path}: more than {_MAX_PACKETS} data packets; fewer are wanted")
            at = first + n * stated.sample_bytes
    if at < size:
        repairs.append(f"{path.name}: {size - at} bytes after the last data packet left out")
    ticks = np.array([tick for _, tick, _ in found], dtype=head["tick"])
    return _Packets(
        at=tuple(place for place, _, _ in found),
        ticks=tuple(_unwrapped(ticks).tolist()),
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


def _seconds(ticks: Any, resolution: int, day_s: int) -> Any:
    """Seconds of ticks; those that count nanoseconds since 1970 from the day the recording began."""
    return (ticks - day_s * resolution if resolution >= _PTP_HZ else ticks) / resolution


def _runs(path: Path, stated: _Channels, packets: _Packets, day_s: int, repairs: list[str]) -> list[Run]:
    """The unbroken stretches of samples with their times, since the clock was last set back."""
    if packets.alike is not None:
        return _runs_of_alike(path, stated, packets.alike, day_s, repairs)
    parts = _groups(packets, stated.resolution / stated.rate_hz, stated.resolution)
    spans_s = [sum(packets.counts[k] for group in part for k in group) / stated.rate_hz for part in parts]
    raw = np.memmap(path, np.uint8, mode="r")
    runs: list[Run] = []
    for group in parts[_last_part(path, spans_s, repairs)]:
        ends = np.cumsum([packets.counts[k] for k in group])
        samples = _Pieces(raw, np.array([packets.at[k] for k in group]), ends, len(stated.labels))
        start_s = _seconds(packets.ticks[group[0]], stated.resolution, day_s)
        runs.append((samples, Timebase(rate_hz=stated.rate_hz, start_s=start_s, n_samples=int(ends[-1]))))
    return runs


def _groups(packets: _Packets, sample_ticks: float, resolution: int) -> list[list[list[int]]]:
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


def _last_part(path: Path, spans_s: Sequence[float], repairs: list[str]) -> int:
    """The part of a file that is kept where its clock was set back: the last. What ran before shares no clock with it.

    Raises FormatError where a part before is longer: then nobody can say which one is the recording.
    """
    if max(spans_s) > spans_s[-1]:
        raise FormatError(
            f"{path}: its clock was set back after {spans_s[0]:.3f} s, and {spans_s[-1]:.3f} s follow at the end; one "
            "recording whose last part is the longest is wanted"
        )
    if len(spans_s) > 1:
        lost_s = sum(spans_s[:-1])
        repairs.append(f"{path.name}: its clock was set back: the {lost_s:.3f} s recorded before that are left out")
    return len(spans_s) - 1


def _runs_of_alike(path: Path, stated: _Channels, raw: NDArray[Any], day_s: int, repairs: list[str]) -> list[Run]:
    """As `_runs`, of packets with a time for every sample: a gap is more than 1.5 samples long."""
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
    first = resets[_last_part(path, spans_s, repairs)]
    edges = [first, *(cut for cut in cuts if cut > first), raw.size]
    return [(raw["samples"][a:b], _measured(ticks[a:b], stated, day_s)) for a, b in pairwise(edges)]


def _measured(ticks: NDArray[Any], stated: _Channels, day_s: int) -> Times:
    """As `times_of`, but block by block: a rate where no sample moves by more than 1 µs, else every time."""
    first_s, last_s = (float(_seconds(int(tick), stated.resolution, day_s)) for tick in ticks[[0, -1]].astype(np.int64))
    rate_hz = (ticks.size - 1) / (last_s - first_s) if ticks.size > 1 else stated.rate_hz
    base = Timebase(rate_hz=rate_hz, start_s=first_s, n_samples=ticks.size)
    for start in range(0, ticks.size, _BLOCK):
        block_s = _seconds(ticks[start : start + _BLOCK].astype(np.int64), stated.resolution, day_s)
        if np.abs(base.seconds(np.arange(start, start + block_s.size)) - block_s).max() > MAX_SHIFT_S:
            return Timestamps(times_s=_seconds(ticks.astype(np.int64), stated.resolution, day_s))
    return base


def _signals(path: Path, stated: _Channels, runs: list[Run], repairs: list[str]) -> list[Signal]:
    """One Signal per kind of channel and unit: "ns5 wideband", "ns2 lfp", "ns2 aux"."""
    names = _unique(path, stated.labels, repairs)
    electrode = "wideband" if stated.rate_hz > _LFP_HZ else "lfp"
    groups: dict[tuple[str, str], list[int]] = {}
    for i, (analog, unit) in enumerate(zip(stated.is_analog, stated.units, strict=True)):
        groups.setdefault(("aux" if analog else electrode, unit), []).append(i)
    signals = []
    for (modality, unit), members in groups.items():
        alone = sum(key[0] == modality for key in groups) == 1
        columns = np.array(members, dtype=np.int64)
        every = len(members) == len(names)
        signals.append(
            Signal(
                name=f"{path.suffix.lstrip('.') or 'nsx'} {modality}" + ("" if alone else f" {unit}"),
                modality=modality,
                segments=tuple(
                    Segment(samples=part if every else ChannelSubset(part, columns), timebase=times)
                    for part, times in runs
                ),
                channel_names=tuple(names[i] for i in members),
                unit=unit,
                gain=stated.gain[columns],
                offset=stated.offset[columns],
                table={"electrode_id": tuple(stated.electrode_ids[i] for i in members)},
            )
        )
    return signals


def _unique(path: Path, labels: tuple[str, ...], repairs: list[str]) -> list[str]:
    """Two channels of one name get a number each, and that is noted."""
    counts = Counter(labels)
    seen: Counter[str] = Counter()
    unique = []
    for label in labels:
        unique.append(f"{label}-{seen[label]}" if counts[label] > 1 else label)
        seen[label] += 1
    twice = sorted(label for label, n in counts.items() if n > 1)
    repairs += [f"{path.name}: channel name {label!r} occurs more than once: numbered" for label in twice]
    return unique


def _table(path: Path, repairs: list[str]) -> _Table:
    """The packets of a .nev. Raises FormatError where its header does not fit the file."""
    head = _record(path, _NEV_HEAD)[0]
    version = tuple(head["version"].tolist())
    n_bytes, packet_bytes, n_extended = (int(head[name]) for name in ("n_bytes", "packet_bytes", "n_extended"))
    tick_bytes = 8 if version[0] >= 3 else 4
    resolution, size = int(head["resolution"]), path.stat().st_size
    if resolution == 0 or not tick_bytes + 16 <= packet_bytes <= _MAX_PACKET_BYTES:
        raise FormatError(
            f"{path}: packets of {packet_bytes} bytes with times in 1/{resolution} s; {tick_bytes + 16} to "
            f"{_MAX_PACKET_BYTES} bytes and a resolution above 0 are wanted"
        )
    extended = _record(path, _NEV_EXTENDED, n_extended, _NEV_HEAD.itemsize)
    if not _NEV_HEAD.itemsize + extended.nbytes <= n_bytes <= size:
        raise FormatError(f"{path}: states {n_bytes} bytes of headers with {n_extended} entries; the file has {size}")
    n, rest = divmod(size - n_bytes, packet_bytes)
    if rest:
        repairs.append(f"{path.name}: {rest} bytes after the last whole packet left out")
    dtype = _packet_dtype(tick_bytes, packet_bytes)
    packets = np.memmap(path, dtype, mode="r", offset=n_bytes, shape=(n,)) if n else np.zeros(0, dtype)
    continues = packets["tick"] == np.iinfo(dtype["tick"]).max
    ticks = np.zeros(n, dtype=np.int64)
    ticks[~continues] = _unwrapped(packets["tick"][~continues])
    wave, label = (extended[extended["id"] == name] for name in (b"NEUEVWAV", b"NEUEVLBL"))
    return _Table(
        packets=packets,
        ticks=ticks,
        continues=continues,
        resolution=resolution,
        start=_date(head["date"]),
        is_trellis=b"trellis" in head["program"].lower(),
        has_analog=version < (2, 3),
        labels={int(row["electrode_id"]): _text(row["label"]) for row in label},
        nanovolts={
            int(row["electrode_id"]): _OVERFLOWN_NV if row["factor"] == _OVERFLOWN else float(row["factor"])
            for row in wave
        },
    )


def _packet_dtype(tick_bytes: int, packet_bytes: int) -> np.dtype[Any]:
    """A packet of a .nev: every kind begins with its time and id; what follows is read as its kind has it."""
    fields: dict[str, tuple[Any, int]] = {
        "id": ("<u2", 0), "code": ("u1", 2), "number": ("<u2", 2), "value": ("<u2", 4), "analog": (("<i2", (5,)), 6),
        "frame": ("<u4", 4), "elapsed": ("<u4", 8), "source": ("<u4", 12),
        "text": (f"V{packet_bytes - tick_bytes - 8}", 8),
    }  # fmt: skip
    return np.dtype(
        {
            "names": ["tick", *fields],
            "formats": [f"<u{tick_bytes}", *(kind for kind, _ in fields.values())],
            "offsets": [0, *(at + tick_bytes for _, at in fields.values())],
            "itemsize": packet_bytes,
        }
    )


def _noted(path: Path, table: _Table, day_s: int, repairs: list[str]) -> list[Stream]:
    """The units and events of a .nev, in order of time."""
    kept = slice(_after_reset(path, table, repairs), None)
    packets, continues = table.packets[kept], table.continues[kept]
    ids = packets["id"].copy()
    ids[continues & (ids != _COMMENT)] = _CONTINUED
    times_s = _seconds(table.ticks[kept], table.resolution, day_s)
    electrodes = (ids >= 1) & (ids < _SYSTEM)
    stimulation = electrodes & table.is_trellis & np.isin(ids, _TRELLIS_STIMULATION)
    streams = _inputs(packets, ids == 0, times_s, table.has_analog)
    if stimulation.any():
        labels = [str(i - _TRELLIS_STIMULATION[0] + 1) for i in ids[stimulation].tolist()]
        streams.append(_events("stimulation", "events", times_s[stimulation], labels))
    streams += _comments(packets, ids == _COMMENT, continues, times_s)
    streams += _frames(packets, ids == _FRAME, times_s)
    if (ids == _BUTTON).any():
        labels = [str(kind) for kind in packets["number"][ids == _BUTTON].tolist()]
        streams.append(_events("button", "events", times_s[ids == _BUTTON], labels))
    streams += _units(packets, ids, electrodes & ~stimulation, times_s, table)
    for other in np.unique(ids[ids >= _SYSTEM]).tolist():
        if other not in (_COMMENT, _FRAME, _BUTTON):
            what = _OTHERS.get(other, "of a kind that is not known")
            repairs.append(f"{path.name}: {int((ids == other).sum())} packets {other:#06x} ({what}) left out")
    return streams


def _after_reset(path: Path, table: _Table, repairs: list[str]) -> int:
    """The first packet since the clock was last set back. Packets out of order by milliseconds are no such sign."""
    timed = np.flatnonzero((table.packets["id"] < _SYSTEM) & ~table.continues)
    ticks = table.ticks[timed]
    back = np.flatnonzero(np.diff(ticks) < -int(_DISORDER_S * table.resolution)) + 1
    if not back.size:
        return 0
    edges = [0, *back.tolist(), ticks.size]
    spans_s = [float(np.ptp(ticks[a:b])) / table.resolution for a, b in pairwise(edges)]
    _last_part(path, spans_s, repairs)
    return int(timed[back[-1]])


def _events(
    name: str, modality: str, times_s: FloatArray, labels: Sequence[str], table: Mapping[str, Any] | None = None
) -> Events:
    order = np.argsort(times_s, kind="stable")
    columns = {key: tuple(np.asarray(values)[order].tolist()) for key, values in (table or {}).items()}
    return Events(
        name=name,
        modality=modality,
        times_s=times_s[order],
        labels=tuple(labels[i] for i in order.tolist()),
        table=columns,
    )


def _inputs(packets: NDArray[Any], here: NDArray[np.bool_], times_s: FloatArray, has_analog: bool) -> list[Stream]:
    """Digital and serial input, analog inputs that crossed a threshold, periodic samples: labelled by their value."""
    reasons = packets["code"]
    lines = {
        "digital input": here & (reasons & 0x81 == 0x01),
        "serial input": here & (reasons & 0x81 == 0x81),
        **{f"analog input {k}": here & (reasons & (1 << k) != 0) for k in range(1, 6)},
        "periodic input": here & (reasons & 0x40 != 0),
    }
    lines["other input"] = here & ~np.any(list(lines.values()), axis=0)
    streams: list[Stream] = []
    for name, chosen in lines.items():
        if chosen.any():
            analog = has_analog and name.startswith("analog")
            values = packets["analog"][chosen, int(name[-1]) - 1] if analog else packets["value"][chosen]
            streams.append(_events(name, "sync", times_s[chosen], [str(value) for value in values.tolist()]))
    return streams


def _comments(
    packets: NDArray[Any], here: NDArray[np.bool_], continues: NDArray[np.bool_], times_s: FloatArray
) -> list[Stream]:
    """Comments, those of several packets joined."""
    at: list[int] = []
    texts: list[str] = []
    for k in np.flatnonzero(here).tolist():
        raw = packets["text"][k].tobytes()
        text = raw.decode("utf-16-le", "replace") if packets["code"][k] == 1 else raw.decode("latin-1")
        text = text.partition("\x00")[0]
        if continues[k] and texts:
            texts[-1] += text
        elif not continues[k]:
            at.append(k)
            texts.append(text)
    return [_events("comments", "events", times_s[at], [text.strip() for text in texts])] if at else []


def _frames(packets: NDArray[Any], here: NDArray[np.bool_], times_s: FloatArray) -> list[Stream]:
    """Video frames as they were taken, labelled by their number."""
    found = packets[here]
    if not found.size:
        return []
    labels = [str(frame) for frame in found["frame"].tolist()]
    table = {"file": found["number"], "source": found["source"], "elapsed_ms": found["elapsed"]}
    return [_events("video frames", "sync", times_s[here], labels, table)]


def _units(
    packets: NDArray[Any], ids: NDArray[Any], here: NDArray[np.bool_], times_s: FloatArray, table: _Table
) -> list[Stream]:
    """Spikes sorted while recording: one unit per electrode and class."""
    spikes = np.flatnonzero(here)
    if not spikes.size:
        return []
    classes = packets["code"][spikes]
    order = np.lexsort((times_s[spikes], classes, ids[spikes]))
    spikes, classes = spikes[order], classes[order]
    cuts = np.flatnonzero((np.diff(ids[spikes].astype(np.int64)) != 0) | (np.diff(classes.astype(np.int64)) != 0)) + 1
    trains = np.split(times_s[spikes], cuts)
    firsts = [0, *cuts.tolist()]
    electrode_ids, unit_classes = ids[spikes][firsts].tolist(), classes[firsts].tolist()
    return [
        Units(
            name="units",
            unit_names=tuple(f"ch{i}#{c}" for i, c in zip(electrode_ids, unit_classes, strict=True)),
            spike_times_s=tuple(trains),
            table={
                "channel": tuple(table.labels.get(i) or f"chan{i}" for i in electrode_ids),
                "electrode_id": tuple(electrode_ids),
                "kind": tuple(_KINDS.get(c, "reserved") for c in unit_classes),
            },
        )
    ]
