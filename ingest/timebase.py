"""Samples to seconds on one clock (`Timebase`), and seconds of one clock to seconds of another (`ClockMap`).

Times move, samples never: a map is a few numbers stored beside the data, with the evidence it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

MAX_SHIFT_S = 1e-6  # a rate replaces timestamps only if no sample moves by more than this


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
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise ValueError("timestamps repeat, jump back or are not finite; they must increase")
        rate_hz = (times.size - 1) / (times[-1] - times[0])
        base = cls(rate_hz=float(rate_hz), start_s=float(times[0]), n_samples=times.size)
        moved_s = np.abs(base.seconds(np.arange(times.size)) - times).max()
        return base if moved_s <= MAX_SHIFT_S else None

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
        first, last = (int(np.ceil((t - self.start_s) * self.rate_hz - 1e-6)) for t in (start_s, stop_s))
        first = min(max(first, 0), self.n_samples)
        return slice(first, min(max(last, first), self.n_samples))


@dataclass(frozen=True, kw_only=True)
class ClockMap:
    """From seconds on one clock to seconds on another, with the evidence for it.

    `target = source + offset_s + drift_ppm * 1e-6 * (source - anchor_s)`, known within `span_s` of the source.

    Design rationale: the drift is anchored in the middle of the evidence, so that offset and drift are
    uncorrelated and the offset is the one people can check by eye; an intercept at source time 0 may lie
    hours away from any pulse.
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

    def seconds(self, source_s: ArrayLike) -> FloatArray:
        """Times on the target clock, seconds, same shape as `source_s`. See `covers` for where it is known."""
        times = np.asarray(source_s, dtype=np.float64)
        return times + self.offset_s + self.drift_ppm * 1e-6 * (times - self.anchor_s)

    def inverse_seconds(self, target_s: ArrayLike) -> FloatArray:
        """Times on the source clock, seconds: the exact inverse of `seconds`."""
        slope = self.drift_ppm * 1e-6
        times = np.asarray(target_s, dtype=np.float64)
        return (times - self.offset_s + slope * self.anchor_s) / (1 + slope)

    def covers(self, source_s: ArrayLike) -> NDArray[np.bool_]:
        """True where a time lies between the first and the last pulse the map rests on: beyond is extrapolation."""
        times = np.asarray(source_s, dtype=np.float64)
        return np.asarray((times >= self.span_s[0]) & (times <= self.span_s[1]))

    def __str__(self) -> str:
        return (
            f"{self.source} -> {self.target}: {self.residual_ms:.2f} ms, {self.drift_ppm:.1f} ppm, "
            f"{self.n_matched} pulses matched, {self.n_lost} lost, {self.n_extra} extra"
        )
