"""Rows with a time each, cut into the segments of a Signal, still lazy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Samples, Segment
from neuroloom.ingest.timebase import MAX_SHIFT_S, FloatArray, Timebase, Times, Timestamps, times_of

BLOCK_ROWS = 1 << 20
PAUSE_S, PAUSE_INTERVALS = 1.0, 10  # a longer wait than both is a pause: a new segment begins after it

MOST_STATED_HZ = 10_000.0  # of any eye tracker
MAX_RUNS = 1000  # of one block: more would be files of thousands of series


def runs(times_s: FloatArray) -> list[tuple[slice, Times]]:
    """Unbroken runs of rows, from increasing times of shape (T,), and the times of each.

    Design rationale: single rows that a tracker lost leave the run whole, since its timestamps tell where they are
    missing and a series per lost row would make files of thousands; a longer wait is a pause and ends the run.
    """
    few = np.diff(times_s[:BLOCK_ROWS])
    longest_s = max(PAUSE_S, PAUSE_INTERVALS * float(np.median(few)) if few.size else 0.0)
    cuts = [0]
    for at in range(0, times_s.size, BLOCK_ROWS):
        cuts += (np.flatnonzero(np.diff(times_s[at : at + BLOCK_ROWS + 1]) > longest_s) + at + 1).tolist()
    spans = [slice(first, last) for first, last in pairwise([*cuts, times_s.size])]
    return [(span, times_of(times_s[span])) for span in spans]


def stated_runs(times_s: FloatArray, rate_hz: float) -> list[tuple[slice, Times]]:
    """As `runs`, of a tracker that states its rate: every sample that is missing ends a run, which has that rate.

    As `runs` where none is stated (0 or NaN), where no two samples are that far apart, or where more than MAX_RUNS
    are left.
    """
    if not (0 < rate_hz <= MOST_STATED_HZ and times_s.size):
        return runs(times_s)
    cuts = np.flatnonzero(np.abs(np.diff(times_s) - 1 / rate_hz) > MAX_SHIFT_S) + 1
    if cuts.size > MAX_RUNS or 0 < cuts.size == times_s.size - 1 or (np.diff(times_s) < 0.5 / rate_hz).any():
        return runs(times_s)
    found: list[tuple[slice, Times]] = []
    for first, last in pairwise([0, *cuts.tolist(), times_s.size]):
        base = Timebase(rate_hz=rate_hz, start_s=float(times_s[first]), n_samples=last - first)
        if np.abs(base.seconds(np.arange(last - first)) - times_s[first:last]).max() > MAX_SHIFT_S:
            return runs(times_s)
        found.append((slice(first, last), base))
    return found


def segments(samples: Samples, found: Sequence[tuple[slice, Times]]) -> tuple[Segment, ...]:
    """The samples, shape (T, C), of each run; still lazy."""
    if len(found) == 1:
        return (Segment(samples=samples, timebase=found[0][1]),)
    return tuple(Segment(samples=Part(samples, span), timebase=base) for span, base in found)


@dataclass(frozen=True, eq=False)
class Part:
    """A run of lazy samples, itself lazy."""

    samples: Samples
    span: slice

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.span.stop - self.span.start, self.samples.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.samples.dtype

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        return self.samples[slice(self.span.start + start, self.span.start + max(start, stop), step)]


def measured(times_s: Callable[[int, int], FloatArray], n: int, lone_hz: float, *, block: int = BLOCK_ROWS) -> Times:
    """As `times_of`, but block by block: a rate where no sample moves by more than 1 µs, else every time.

    times_s: gives the times of rows `first` to `last`, in seconds. lone_hz: the rate where there is but one row.
    """
    first_s, last_s = (float(times_s(k, k + 1)[0]) for k in (0, n - 1))
    rate_hz = (n - 1) / (last_s - first_s) if n > 1 else lone_hz
    base = Timebase(rate_hz=rate_hz, start_s=first_s, n_samples=n)
    for at in range(0, n, block):
        part_s = times_s(at, min(at + block, n))
        if np.abs(base.seconds(np.arange(at, at + part_s.size)) - part_s).max() > MAX_SHIFT_S:
            return Timestamps(times_s=times_s(0, n))
    return base
