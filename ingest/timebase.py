"""Samples to seconds on one clock (`Timebase`, `Timestamps`), and seconds of one clock to another (`ClockMap`).

Times move, samples never: a map is a few numbers stored beside the data, with the evidence it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

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

    def on(self, clock: ClockMap) -> Timebase:
        """The same samples on another clock."""
        return replace(self, start_s=float(clock.seconds(self.start_s)), rate_hz=self.rate_hz / clock.slope)


@dataclass(frozen=True, kw_only=True, eq=False)
class Timestamps:
    """Samples that came when they came (gaze, tracked position, network streams): their times, shape (T,), increasing.

    Use `times_of` to build one from a device's timestamps: it keeps a rate instead wherever that loses nothing.
    """

    times_s: FloatArray

    def __post_init__(self) -> None:
        check_increasing(self.times_s)

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

    def on(self, clock: ClockMap) -> Timestamps:
        """The same samples on another clock."""
        return Timestamps(times_s=clock.seconds(self.times_s))


Times = Timebase | Timestamps


def times_of(timestamps_s: ArrayLike) -> Times:
    """A rate where no sample moves by more than 1 µs, else the timestamps themselves, shape (T,), seconds."""
    times = np.asarray(timestamps_s, dtype=np.float64)
    measured = Timebase.measured(times) if times.size > 1 else None
    return measured if measured is not None else Timestamps(times_s=times)


@dataclass(frozen=True, kw_only=True)
class ClockMap:
    """From seconds on one clock to seconds on another, with the evidence for it.

    `target = source + offset_s + drift_ppm * 1e-6 * (source - anchor_s)`, known within `span_s` of the source.

    Design rationale: the drift is anchored in the middle of the evidence, so that offset and drift are
    uncorrelated and the offset is the one people can check by eye; an intercept at source time 0 may lie
    hours away from any pulse.

    n_lost, n_extra: pulses of the target that the source lacks, and the other way round, where both were running.
    evidence: source time in seconds and residual in ms of matched pulses, thinned to what a picture can show.
    """

    source: str
    target: str
    offset_s: float
    drift_ppm: float = 0.0
    anchor_s: float = 0.0
    span_s: tuple[float, float]
    residual_ms: float
    n_matched: int
    n_lost: int
    n_extra: int
    method: str
    evidence: tuple[tuple[float, float], ...] = ()

    @property
    def slope(self) -> float:
        """Seconds of the target per second of the source."""
        return 1 + self.drift_ppm * 1e-6

    def seconds(self, source_s: ArrayLike) -> FloatArray:
        """Times on the target clock, seconds, same shape as `source_s`. See `covers` for where it is known."""
        times = np.asarray(source_s, dtype=np.float64)
        return times + self.offset_s + self.drift_ppm * 1e-6 * (times - self.anchor_s)

    def inverse_seconds(self, target_s: ArrayLike) -> FloatArray:
        """Times on the source clock, seconds: the exact inverse of `seconds`."""
        times = np.asarray(target_s, dtype=np.float64)
        return (times - self.offset_s + (self.slope - 1) * self.anchor_s) / self.slope

    def inverse(self) -> ClockMap:
        """The same map read the other way: from the target's seconds to the source's. Lost pulses become extra ones."""
        return replace(
            self,
            source=self.target,
            target=self.source,
            offset_s=-self.offset_s,
            drift_ppm=(1 / self.slope - 1) * 1e6,
            anchor_s=self.anchor_s + self.offset_s,
            span_s=(float(self.seconds(self.span_s[0])), float(self.seconds(self.span_s[1]))),
            n_lost=self.n_extra,
            n_extra=self.n_lost,
            evidence=tuple((float(self.seconds(at_s)), -residual_ms) for at_s, residual_ms in self.evidence),
        )

    def covers(self, source_s: ArrayLike) -> NDArray[np.bool_]:
        """True where a time lies between the first and the last pulse the map rests on: beyond is extrapolation."""
        times = np.asarray(source_s, dtype=np.float64)
        return np.asarray((times >= self.span_s[0]) & (times <= self.span_s[1]))

    def __str__(self) -> str:
        return (
            f"{self.source} -> {self.target}: {self.residual_ms:.2f} ms, {self.drift_ppm:.1f} ppm, "
            f"{self.n_matched} pulses matched, {self.n_lost} lost, {self.n_extra} extra"
        )
