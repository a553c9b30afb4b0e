"""Channels whose samples lie in blocks, each with a time of its own: Neuralynx, Open Ephys, Plexon, Spike2, TDT.

    Blocks      where the samples of one channel lie, and when each block began
    runs_of     blocks that follow one another without a gap, lazily as one column, with their times
    stacked     channels with the same runs, side by side as segments (T, C)
    Columns     channels that lie apart (a file each), as samples (T, C)

A block that begins more than half a sample from where the one before it ended begins a new run at its own time. What is
less is how the device rounds its times. Blocks that overlap, or go back, have no order: see `runs_of`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Samples, Segment
from neuroloom.ingest.timebase import MAX_SHIFT_S, FloatArray, Timebase, Times, Timestamps

MAX_RUNS = 100_000
MAX_DRIFT = 1e-3


@dataclass(frozen=True, eq=False)
class Blocks:
    """One channel: block `k` holds `counts[k]` samples from byte `at[k]` of `raw` on, taken from tick `ticks[k]` on.

    tick_hz: ticks per second. rate_hz: as the device states it.
    """

    raw: NDArray[np.uint8]
    dtype: np.dtype[Any]
    at: NDArray[np.int64]
    counts: NDArray[np.int64]
    ticks: NDArray[Any]
    tick_hz: float
    rate_hz: float


@dataclass(frozen=True, eq=False)
class Column:
    """Samples of one channel in some blocks, shape (T,), read only when sliced."""

    blocks: Blocks
    first: int
    ends: NDArray[np.int64]  # samples up to and with each block

    @property
    def n_samples(self) -> int:
        return int(self.ends[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.blocks.dtype

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.n_samples)
        if stop <= start:
            return np.zeros(0, self.dtype)
        first, last = np.searchsorted(self.ends, [start, stop - 1], side="right")
        before = int(self.ends[first - 1]) if first else 0
        return self._rows(int(first), int(last) + 1)[start - before : stop - before : step]

    def _rows(self, first: int, last: int) -> NDArray[Any]:
        at, counts = (a[self.first + first : self.first + last] for a in (self.blocks.at, self.blocks.counts))
        itemsize, raw = self.dtype.itemsize, self.blocks.raw
        strides = np.diff(at)
        if strides.size and (strides == strides[0]).all() and (counts == counts[0]).all() and strides[0] > 0:
            stride, n = int(strides[0]), int(counts[0]) * itemsize  # all alike: one view of the file instead of many
            view = np.lib.stride_tricks.as_strided(raw[at[0] :], (at.size, n), (stride, 1), writeable=False)
            return np.ascontiguousarray(view).view(self.dtype).ravel()
        parts = [raw[a : a + n * itemsize].view(self.dtype) for a, n in zip(at.tolist(), counts.tolist(), strict=True)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class Run:
    """An unbroken stretch of one channel. start: in ticks of the device, exact, so that channels can be compared."""

    samples: Column
    times: Times
    start: Any


def runs_of(blocks: Blocks, *, zero: int = 0) -> list[Run]:
    """The unbroken stretches of a channel, in order of time; empty blocks are none.

    zero: the tick that second 0 is at. Raises ValueError where a block goes back or overlaps the one before it.
    """
    blocks = _filled(blocks)
    if not blocks.at.size:
        return []
    sample_ticks = _sample_ticks(blocks)
    due = blocks.ticks[:-1] + blocks.counts[:-1] * sample_ticks
    late, slack = blocks.ticks[1:] - due, _slack(sample_ticks)
    if (late < -slack).any():
        k = int((late < -slack).argmax()) + 1
        raise ValueError(
            f"the block at {(blocks.ticks[k] - zero) / blocks.tick_hz:.6f} s begins before the one before it has "
            "ended; times in order are wanted"
        )
    cuts = np.flatnonzero(late > slack) + 1
    if cuts.size >= MAX_RUNS:
        raise ValueError(f"{cuts.size} gaps; fewer than {MAX_RUNS} are wanted")
    return [_run(blocks, first, last, zero) for first, last in pairwise([0, *cuts.tolist(), blocks.at.size])]


def _slack(sample_ticks: float) -> float:
    """Half a sample; a whole tick where samples are no whole number of ticks, so that ticks are rounded."""
    return sample_ticks / 2 if abs(sample_ticks - round(sample_ticks)) < 1e-9 else max(sample_ticks / 2, 1.0)


def _sample_ticks(blocks: Blocks) -> float:
    """Ticks per sample: as stated, or as most blocks lie apart where a device's clock is off by up to 0.1 %.

    Long blocks add up what a clock drifts: 30,000 samples at 20 ppm are more than half a sample.
    """
    stated = blocks.tick_hz / blocks.rate_hz
    if blocks.at.size < 3:
        return stated
    usual = float(np.median(np.diff(blocks.ticks) / blocks.counts[:-1]))
    return usual if abs(usual / stated - 1) < MAX_DRIFT else stated


def _filled(blocks: Blocks) -> Blocks:
    keep = blocks.counts > 0
    return blocks if keep.all() else _rows_of(blocks, keep)


def _rows_of(blocks: Blocks, rows: Any) -> Blocks:
    return Blocks(
        blocks.raw, blocks.dtype, blocks.at[rows], blocks.counts[rows], blocks.ticks[rows], blocks.tick_hz,
        blocks.rate_hz,
    )  # fmt: skip


def _run(blocks: Blocks, first: int, last: int, zero: int) -> Run:
    counts = blocks.counts[first:last]
    column = Column(blocks, first, np.cumsum(counts))
    starts_s = (blocks.ticks[first:last] - zero) / blocks.tick_hz
    return Run(column, times_of_blocks(starts_s, counts, blocks.rate_hz, 1 / blocks.tick_hz), blocks.ticks[first])


def times_of_blocks(starts_s: FloatArray, counts: NDArray[np.int64], rate_hz: float, resolution_s: float) -> Times:
    """Times of all samples from those of the first sample of each block, shape (N,).

    The stated rate where no block moves by more than 1 µs or what the device's clock can tell apart (`resolution_s`);
    else the rate measured from the first block to the last, with the same limit; else a time per sample, evenly spread
    within each block.
    """
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    n, most_s = int(counts.sum()), max(MAX_SHIFT_S, resolution_s)
    rates = [rate_hz]
    if starts_s.size > 1 and starts_s[-1] > starts_s[0]:
        rates.append(float(firsts[-1] / (starts_s[-1] - starts_s[0])))
    for rate in rates:
        base = Timebase(rate_hz=rate, start_s=float(starts_s[0]), n_samples=n)
        if np.abs(base.seconds(firsts) - starts_s).max() <= most_s * (1 + 1e-6):
            return base
    ends_s = np.append(starts_s[1:], starts_s[-1] + counts[-1] / rates[-1])
    return Timestamps(times_s=np.interp(np.arange(n), np.append(firsts, n), np.append(starts_s, ends_s[-1])))


@dataclass(frozen=True, eq=False)
class Columns:
    """Channels that lie apart, each of shape (T,), side by side as samples (T, C); read only when sliced."""

    columns: Sequence[Any]
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        return np.stack([np.asarray(column[part]) for column in self.columns], axis=1)


def side_by_side(columns: Sequence[Any], n_samples: int, dtype: np.dtype[Any]) -> Samples:
    """Channels of one length as samples (T, C)."""
    return Columns(tuple(columns), (n_samples, len(columns)), dtype)


def alike(runs: Sequence[Run], rate_hz: float) -> Hashable:
    """What channels that can lie in one Signal have in common: rate, type, and every run's start and length."""
    return rate_hz, tuple((r.start, r.samples.n_samples, r.samples.dtype.str) for r in runs)


def stacked(channels: Sequence[Sequence[Run]]) -> tuple[Segment, ...]:
    """Channels that are `alike`, side by side."""
    return tuple(
        Segment(
            samples=side_by_side([run.samples for run in runs], runs[0].samples.n_samples, runs[0].samples.dtype),
            timebase=runs[0].times,
        )
        for runs in zip(*channels, strict=True)
    )
