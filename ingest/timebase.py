"""Samples to seconds on one clock; how seconds of one clock become those of another is in `clock_map.py`.

    Timebase            a rate
    PiecewiseTimebase   a rate that changes a little from piece to piece, on a clock that drifts unevenly
    Timestamps          a time for every sample

Times move, samples never: a map between clocks is a few numbers stored beside the data, with the evidence it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroloom.ingest.clock_map import ClockMap, CrossCheck, FloatArray, Knots, broken_line, distinct

BLOCK_TIMES = 1 << 20
MAX_SHIFT_S = 1e-6  # a rate replaces timestamps only if no sample moves by more than this


def check_increasing(times_s: FloatArray) -> None:
    """Raise ValueError for timestamps, shape (T,), that repeat, jump back or are not finite."""
    rise = times_s.ndim == 1 and all(
        np.isfinite(times_s[rows]).all() and (np.diff(times_s[max(rows.start - 1, 0) : rows.stop]) > 0).all()
        for rows in _rows(times_s.size)
    )
    if not rise:
        raise ValueError("timestamps repeat, jump back or are not finite; they must increase")


def _rows(n: int) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK_TIMES, n)) for first in range(0, n, BLOCK_TIMES))


@dataclass(frozen=True, kw_only=True)
class Timebase:
    """Regularly spaced samples on one clock: sample `i` was taken at `start_s + i / rate_hz`."""

    rate_hz: float
    start_s: float = 0.0
    n_samples: int = 0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise ValueError(f"rate is {self.rate_hz} Hz; a finite rate above 0 is needed")
        if not np.isfinite(self.start_s):
            raise ValueError(f"start is {self.start_s} s; a finite time is needed")
        if self.n_samples < 0:
            raise ValueError(f"{self.n_samples} samples; a count of 0 or more is needed")

    @classmethod
    def measured(cls, times_s: ArrayLike) -> Timebase | None:
        """The rate measured over a whole series of timestamps, shape (T,), seconds.

        Returns None where any sample would move by more than 1 µs: then the timestamps themselves must be
        kept. Raises ValueError for fewer than two timestamps, or for any that are not finite or do not increase.
        """
        times = np.asarray(times_s, dtype=np.float64)
        if times.ndim != 1 or times.size < 2:
            raise ValueError(f"timestamps of shape {times.shape}; at least two in one row are needed")
        check_increasing(times)
        rate_hz = (times.size - 1) / (times[-1] - times[0])
        base = cls(rate_hz=float(rate_hz), start_s=float(times[0]), n_samples=times.size)
        for rows in _rows(times.size):  # in blocks: the times of a long recording are large themselves
            if np.abs(base.seconds(np.arange(rows.start, rows.stop)) - times[rows]).max() > MAX_SHIFT_S:
                return None
        return base

    @property
    def stop_s(self) -> float:
        """Time just after the last sample, seconds."""
        return self.start_s + self.n_samples / self.rate_hz

    def seconds(self, samples: ArrayLike) -> FloatArray:
        """Times in seconds of sample indices, same shape."""
        return self.start_s + np.asarray(samples, dtype=np.float64) / self.rate_hz

    def samples_between(self, start_s: float, stop_s: float) -> slice:
        """The samples taken at `start_s <= t < stop_s`, clipped to those that exist."""
        # A time computed from an index must find that index again, hence the slack of a millionth of a sample.
        # Clipped before it becomes an integer: an infinite bound means "as far as there is".
        bounds = [
            np.clip(np.ceil((t - self.start_s) * self.rate_hz - 1e-6), 0, self.n_samples) for t in (start_s, stop_s)
        ]
        first, last = int(bounds[0]), int(bounds[1])
        return slice(first, max(last, first))

    def part(self, samples: slice) -> Timebase:
        """The times of a run of samples, `slice(first, last)` as `samples_between` gives it."""
        return replace(self, start_s=float(self.seconds(samples.start)), n_samples=samples.stop - samples.start)

    def nearest(self, times_s: ArrayLike) -> NDArray[np.int64]:
        """The sample nearest to each time, same shape; may lie outside those that exist."""
        return np.rint((np.asarray(times_s, dtype=np.float64) - self.start_s) * self.rate_hz).astype(np.int64)

    def on(self, clock: ClockMap) -> Timebase | PiecewiseTimebase:
        """The same samples on another clock; piecewise where the map bends within them."""
        bends_s = clock.bends_between(self.start_s, self.stop_s)
        if not bends_s.size:
            slope = clock.slope_at(self.start_s)
            return replace(self, start_s=float(clock.seconds(self.start_s)), rate_hz=self.rate_hz / slope)
        samples = _knot_samples([0.0, *((bends_s - self.start_s) * self.rate_hz), self.n_samples])
        return PiecewiseTimebase(knots=_pairs(samples, clock.seconds(self.seconds(samples))), n_samples=self.n_samples)

    def resampled(self, ratio: float, n_samples: int) -> Timebase:
        """The times of `n_samples` samples of which number `k` lies at sample `k / ratio` of these."""
        return Timebase(rate_hz=self.rate_hz * ratio, start_s=self.start_s, n_samples=n_samples)


@dataclass(frozen=True, kw_only=True, repr=False)
class PiecewiseTimebase:
    """Regularly taken samples on a clock that does not run evenly: straight lines between knots.

    knots: (sample, seconds), increasing in both, at least two; samples need not be whole. The end pieces go on.

    Design rationale: a Signal's segment stays one unbroken run of samples. Cutting it at each bend would turn bends
    into gaps for every filter and sorter, and timestamps of an hour at 30 kHz are 864 MB; these are a few numbers, and
    `seconds` of any sample is exact. Within a piece the rate is constant, and from piece to piece it changes by parts
    per million, so filters may take `rate_hz` for it.
    """

    knots: Knots
    n_samples: int

    def __repr__(self) -> str:
        pieces = f"{len(self.knots) - 1} pieces at {self.rate_hz:.6g} Hz"
        return f"<PiecewiseTimebase {self.n_samples:,} samples, {self.start_s:.3f} to {self.stop_s:.3f} s, {pieces}>"

    def __post_init__(self) -> None:
        if len(self.knots) < 2 or not np.isfinite(self.knots).all() or (np.diff(self.knots, axis=0) <= 0).any():
            raise ValueError(f"{len(self.knots)} knots of (sample, seconds); two or more, rising in both, are wanted")
        if self.n_samples < 0:
            raise ValueError(f"{self.n_samples} samples; a count of 0 or more is needed")

    @property
    def start_s(self) -> float:
        """Time of the first sample, seconds."""
        return float(self.seconds(0))

    @property
    def stop_s(self) -> float:
        """Time just after the last sample, seconds."""
        return float(self.seconds(self.n_samples))

    @property
    def rate_hz(self) -> float:
        """The mean rate."""
        n = max(self.n_samples, 1)
        return n / float(self.seconds(n) - self.seconds(0))

    def seconds(self, samples: ArrayLike) -> FloatArray:
        """Times in seconds of sample indices, same shape."""
        return broken_line(np.asarray(samples, dtype=np.float64), self.knots)

    def samples_between(self, start_s: float, stop_s: float) -> slice:
        """The samples taken at `start_s <= t < stop_s`, clipped to those that exist."""
        bounds = np.clip([start_s, stop_s], self.start_s - 1.0, self.stop_s + 1.0)  # an infinite bound has no sample
        first, last = np.clip(np.ceil(self._samples_at(bounds) - 1e-6), 0, self.n_samples).astype(int)
        return slice(int(first), int(max(first, last)))

    def nearest(self, times_s: ArrayLike) -> NDArray[np.int64]:
        """The sample nearest to each time, same shape; may lie outside those that exist."""
        return np.rint(self._samples_at(np.asarray(times_s, dtype=np.float64))).astype(np.int64)

    def part(self, samples: slice) -> Timebase | PiecewiseTimebase:
        """The times of a run of samples: with one rate where that lies within one piece."""
        n = samples.stop - samples.start
        inner = [(at, time_s) for at, time_s in self.knots[1:-1] if samples.start < at < samples.stop]
        ends = self.seconds([samples.start, max(samples.stop, samples.start + 1)])
        if not inner:
            rate_hz = max(n, 1) / float(ends[1] - ends[0])
            return Timebase(rate_hz=rate_hz, start_s=float(ends[0]), n_samples=n)
        knots = [(samples.start, float(ends[0])), *inner, (samples.stop, float(ends[1]))]
        return PiecewiseTimebase(knots=tuple((at - samples.start, time_s) for at, time_s in knots), n_samples=n)

    def on(self, clock: ClockMap) -> PiecewiseTimebase:
        """The same samples on another clock."""
        samples = [at for at, _ in self.knots]
        every = _knot_samples([*samples, *self._samples_at(clock.bends_between(self.start_s, self.stop_s))])
        return replace(self, knots=_pairs(every, clock.seconds(self.seconds(every))))

    def resampled(self, ratio: float, n_samples: int) -> PiecewiseTimebase:
        """The times of `n_samples` samples of which number `k` lies at sample `k / ratio` of these."""
        return PiecewiseTimebase(knots=tuple((at * ratio, time_s) for at, time_s in self.knots), n_samples=n_samples)

    def _samples_at(self, times_s: FloatArray) -> FloatArray:
        return broken_line(times_s, tuple((time_s, at) for at, time_s in self.knots))


def _knot_samples(samples: ArrayLike) -> FloatArray:
    """Knots less than a hundredth of a sample apart are one: between them no time moves that a number can hold."""
    return distinct(samples, 0.01)


def _pairs(samples: FloatArray, times_s: FloatArray) -> Knots:
    return tuple(zip(samples.tolist(), times_s.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Timestamps:
    """Samples that came when they came (gaze, tracked position, network streams): their times, shape (T,), increasing.

    Use `times_of` to build one from a device's timestamps: it keeps a rate instead wherever that loses nothing.
    """

    times_s: FloatArray

    def __post_init__(self) -> None:
        check_increasing(self.times_s)

    def __repr__(self) -> str:
        return f"<Timestamps {self.n_samples:,} samples, {self.start_s:.3f} to {self.stop_s:.3f} s>"

    @property
    def n_samples(self) -> int:
        """How many samples."""
        return int(self.times_s.size)

    @property
    def rate_hz(self) -> float:
        """The mean rate; for one sample or none it is not known and is given as 1 Hz."""
        if self.n_samples < 2:
            return 1.0
        return float((self.n_samples - 1) / (self.times_s[-1] - self.times_s[0]))

    @property
    def start_s(self) -> float:
        """Time of the first sample, seconds."""
        return float(self.times_s[0]) if self.n_samples else 0.0

    @property
    def stop_s(self) -> float:
        """Time just after the last sample: it lasts as long as a sample does on average."""
        return float(self.times_s[-1]) + 1 / self.rate_hz if self.n_samples else 0.0

    def seconds(self, samples: ArrayLike) -> FloatArray:
        """Times in seconds of sample indices, same shape."""
        return self.times_s[np.asarray(samples, dtype=np.int64)]

    def samples_between(self, start_s: float, stop_s: float) -> slice:
        """The samples taken at `start_s <= t < stop_s`."""
        first, last = np.searchsorted(self.times_s, [start_s, stop_s])
        return slice(int(first), int(max(last, first)))

    def part(self, samples: slice) -> Timestamps:
        """The times of a run of samples."""
        return Timestamps(times_s=self.times_s[samples])

    def nearest(self, times_s: ArrayLike) -> NDArray[np.int64]:
        """The sample nearest to each time, same shape."""
        times = np.asarray(times_s, dtype=np.float64)
        right = np.clip(np.searchsorted(self.times_s, times), 1, max(self.n_samples - 1, 1))
        earlier = self.times_s[right] - times > times - self.times_s[right - 1]
        return np.asarray(right - earlier, dtype=np.int64)

    def on(self, clock: ClockMap) -> Timestamps:
        """The same samples on another clock."""
        return Timestamps(times_s=clock.seconds(self.times_s))


Times = Timebase | PiecewiseTimebase | Timestamps


def times_of(timestamps_s: ArrayLike) -> Timebase | Timestamps:
    """A rate where no sample moves by more than 1 µs, else the timestamps themselves, shape (T,), seconds."""
    times = np.asarray(timestamps_s, dtype=np.float64)
    measured = Timebase.measured(times) if times.size > 1 else None
    return measured if measured is not None else Timestamps(times_s=times)


__all__ = [
    "MAX_SHIFT_S", "ClockMap", "CrossCheck", "FloatArray", "PiecewiseTimebase", "Timebase", "Times", "Timestamps",
    "check_increasing", "times_of",
]  # fmt: skip
