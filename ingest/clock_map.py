"""Seconds of one clock to seconds of another (`ClockMap`), with the evidence, and what else was asked about it.

    target = source + offset_s + drift_ppm * 1e-6 * (source - anchor_s) + extra(source)

    offset      drift_ppm is 0 and there are no knots
    linear      no knots: extra is 0
    piecewise   extra is a broken line through `knots`, (source_s, extra_s) each; its end pieces go on beyond them

Design rationale: the bends lie on top of the straight line instead of replacing it. A map is still shifted by changing
its offset, its drift is still the number people compare devices by, and a map without knots costs what it always did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Knots = tuple[tuple[float, float], ...]
Verdict = Literal["confirms", "contradicts", "cannot tell"]

JUMP = 1e-3  # of a second per second: no clock drifts so fast, so it jumped
END_PIECE_S = 1e5  # rounding of times, 1e-11 s, does not tilt a piece of that length
NEIGHBOURS = 15  # pulses on each side whose residuals say how well a time between them is known
PRIOR_PULSES = 10  # weight of the whole map's residual in that, in pulses


@dataclass(frozen=True, kw_only=True)
class CrossCheck:
    """What something other than the pulses says of a clock map.

    kind: "pulse edges", "blinks", "saccadic spikes", "mains hum", "start times".
    against: the clock that it was compared with.
    lag_ms: by how much the map's times come out too late by this evidence, None where it found no lag; for the mains
        hum by how much the two run apart from the first to the last moment compared.
    words: the evidence, in a sentence.
    """

    kind: str
    against: str
    verdict: Verdict
    lag_ms: float | None = None
    uncertainty_ms: float | None = None
    words: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class ClockMap:
    """From seconds on one clock to seconds on another, with the evidence for it, known within `span_s` of the source.

    Design rationale: the drift is anchored in the middle of the evidence, so that offset and drift are
    uncorrelated and the offset is the one people can check by eye; an intercept at source time 0 may lie
    hours away from any pulse.

    n_lost, n_extra: pulses of the target that the source lacks, and the other way round, where both were running.
    evidence: source time in seconds and residual in ms of matched pulses, thinned to what a picture can show.
    knots: see the head of this file; increasing, at least two, and time must not stand still between them.
    wander_ppm: by how much the rate may be off where no pulse tells: what makes `uncertainty_ms` grow.
    tried: drift models that were compared, each with its held-out residual in ms.
    notes: what a reviewer should know, one sentence each. checks: what other evidence says.
    Raises ValueError for knots that do not increase or make time stand still.
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
    knots: Knots = ()
    wander_ppm: float = 0.0
    tried: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()
    checks: tuple[CrossCheck, ...] = ()

    def __post_init__(self) -> None:
        if not self.knots:
            return
        at_s = np.array([at for at, _ in self.knots])
        if len(self.knots) < 2 or not np.isfinite(self.knots).all() or (np.diff(at_s) <= 0).any():
            raise ValueError(
                f"{self.source} -> {self.target}: {len(self.knots)} knots; two or more, increasing, wanted"
            )
        if (np.diff(self.seconds(at_s)) <= 0).any():
            raise ValueError(f"{self.source} -> {self.target}: time stands still or goes back between two knots")

    @property
    def model(self) -> str:
        """ "offset", "linear" or "piecewise"."""
        return "piecewise" if self.knots else "linear" if self.drift_ppm else "offset"

    @property
    def slope(self) -> float:
        """Seconds of the target per second of the source, along the straight line."""
        return 1 + self.drift_ppm * 1e-6

    def slope_at(self, source_s: float) -> float:
        """Seconds of the target per second of the source just after a time."""
        if not self.knots:
            return self.slope
        at_s, extra_s = np.array(self.knots).T
        piece = int(np.clip(np.searchsorted(at_s, source_s, side="right") - 1, 0, at_s.size - 2))
        return self.slope + float((extra_s[piece + 1] - extra_s[piece]) / (at_s[piece + 1] - at_s[piece]))

    def bends_between(self, start_s: float, stop_s: float) -> FloatArray:
        """Source times strictly inside the two where the rate changes, shape (K,); none for a straight map."""
        inner = np.array([at for at, _ in self.knots[1:-1]], dtype=np.float64)
        return inner[(inner > start_s) & (inner < stop_s)]

    def seconds(self, source_s: ArrayLike) -> FloatArray:
        """Times on the target clock, seconds, same shape as `source_s`. See `covers` for where it is known."""
        times = np.asarray(source_s, dtype=np.float64)
        on_line = times + self.offset_s + self.drift_ppm * 1e-6 * (times - self.anchor_s)
        return on_line if not self.knots else np.asarray(on_line + broken_line(times, self.knots))

    def inverse_seconds(self, target_s: ArrayLike) -> FloatArray:
        """Times on the source clock, seconds: the exact inverse of `seconds`."""
        times = np.asarray(target_s, dtype=np.float64)
        if not self.knots:
            return (times - self.offset_s + (self.slope - 1) * self.anchor_s) / self.slope
        # By the slopes of the forward pieces: those between rounded times lead away beyond knots that nearly meet.
        at_s, extra_s = np.array(self.knots).T
        there_s = self.seconds(at_s)
        piece = np.clip(np.searchsorted(there_s, times, side="right") - 1, 0, at_s.size - 2)
        slopes = self.slope + np.diff(extra_s) / np.diff(at_s)
        return np.asarray(at_s[piece] + (times - there_s[piece]) / slopes[piece])

    def inverse(self) -> ClockMap:
        """The same map read the other way: from the target's seconds to the source's. Lost pulses become extra ones."""
        straight = replace(
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
            knots=(),
        )
        if not self.knots:
            return straight
        at_s = self._far_knots()
        return straight.through_points(self.seconds(at_s), at_s)

    def _far_knots(self) -> FloatArray:
        """Where knots lie, shape (K,), the ends moved outward along pieces that go on beyond them anyway.

        Another map through these points has the same end pieces: between two that nearly meet, rounding would tilt it.
        """
        at_s = np.array([at for at, _ in self.knots], dtype=np.float64)
        if at_s.size:
            jumps = self._jump_s((at_s[:-1] + at_s[1:]) / 2) > 0
            first_s, last_s = at_s[1] - END_PIECE_S, at_s[-2] + END_PIECE_S
            at_s[0] = at_s[0] if jumps[0] else min(at_s[0], first_s)
            at_s[-1] = at_s[-1] if jumps[-1] else max(at_s[-1], last_s)
        return at_s

    def through_points(self, source_s: FloatArray, target_s: FloatArray) -> ClockMap:
        """This map bent so that it leads from these times, shape (K,), increasing, to those."""
        extra_s = target_s - replace(self, knots=()).seconds(source_s)
        return replace(self, knots=tuple(zip(source_s.tolist(), extra_s.tolist(), strict=True)))

    def covers(self, source_s: ArrayLike) -> NDArray[np.bool_]:
        """True where a time lies between the first and the last pulse the map rests on: beyond is extrapolation.

        False also between two pulses where the clock jumps: nobody knows just when.
        """
        times = np.asarray(source_s, dtype=np.float64)
        return np.asarray((times >= self.span_s[0]) & (times <= self.span_s[1]) & (self._jump_s(times) == 0))

    def _jump_s(self, times_s: FloatArray) -> FloatArray:
        """By how much the clock jumps somewhere between the two knots around each time; 0 nearly everywhere."""
        if not self.knots:
            return np.zeros(times_s.shape)
        at_s, extra_s = np.array(self.knots).T
        rise_s = np.diff(extra_s)
        jump_s = np.where(np.abs(rise_s) > JUMP * np.diff(at_s), np.abs(rise_s), 0.0)
        piece = np.clip(np.searchsorted(at_s, times_s, side="right") - 1, 0, at_s.size - 2)
        return np.asarray(jump_s[piece])

    def uncertainty_ms(self, source_s: ArrayLike) -> FloatArray:
        """How well a time is known on the target clock, one standard deviation in ms, same shape as `source_s`.

        The residual of the pulses around it, drawn towards that of the whole map where they are few, and on top of it
        `wander_ppm` times the distance to the nearest pulse: it grows beyond the evidence, and in long gaps of it.
        """
        times = np.asarray(source_s, dtype=np.float64)
        away_s = np.maximum(np.maximum(self.span_s[0] - times, times - self.span_s[1]), 0.0)
        local_ms = np.full(times.shape, self.residual_ms)
        if self.evidence:
            at_s, residuals_ms = np.array(sorted(self.evidence)).T
            local_ms = self.residual_ms * _local_level(at_s, residuals_ms, times)
            away_s = np.maximum(away_s, _from_nearest(at_s, times))
        return np.asarray(np.hypot(np.hypot(local_ms, self.wander_ppm * 1e-3 * away_s), 1e3 * self._jump_s(times)))

    def __repr__(self) -> str:
        return f"<ClockMap {self}>"

    def _repr_html_(self) -> str:
        from neuroloom.ingest.shown import clock_html

        return clock_html(self)

    def __str__(self) -> str:
        return (
            f"{self.source} -> {self.target}: {self.residual_ms:.2f} ms, {self.drift_ppm:.1f} ppm, "
            f"{self.n_matched} pulses matched, {self.n_lost} lost, {self.n_extra} extra"
        )


def through(first: ClockMap, second: ClockMap) -> ClockMap:
    """One map for two in a row; their residuals add as independent errors, and it is known where both are."""
    inverse_s = first.inverse_seconds(np.array(second.span_s))
    start_s, stop_s = max(first.span_s[0], float(inverse_s[0])), min(first.span_s[1], float(inverse_s[1]))
    straight = replace(
        first,
        target=second.target,
        offset_s=float(second.seconds(first.seconds(first.anchor_s))) - first.anchor_s,
        drift_ppm=(first.slope * second.slope - 1) * 1e6,
        span_s=(start_s, max(start_s, stop_s)),
        residual_ms=(first.residual_ms**2 + second.residual_ms**2) ** 0.5,
        wander_ppm=(first.wander_ppm**2 + second.wander_ppm**2) ** 0.5,
        method=f"{first.method}, by way of {first.target}",
        notes=(*first.notes, *second.notes),
        knots=(),
    )
    if not (first.knots or second.knots):
        return straight
    at_s = distinct([*first._far_knots(), *first.inverse_seconds(second._far_knots())], 1e-3)
    return straight.through_points(at_s, second.seconds(first.seconds(at_s)))


def broken_line(x: FloatArray, knots: Knots) -> FloatArray:
    """The line through the knots, (x, y) each, at every `x`, same shape; its end pieces go on beyond the knots."""
    at, value = np.array(knots).T
    piece = np.clip(np.searchsorted(at, x, side="right") - 1, 0, at.size - 2)
    slope = np.diff(value) / np.diff(at)
    return np.asarray(value[piece] + slope[piece] * (x - at[piece]))


def distinct(values: ArrayLike, apart: float) -> FloatArray:
    """Values in order, without those that lie nearer than `apart` to one before."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return ordered[np.diff(ordered, prepend=-np.inf) >= apart]


def _local_level(at_s: FloatArray, residuals_ms: FloatArray, times_s: FloatArray) -> FloatArray:
    """Root mean square of the residuals around each time over that of them all; 1 where all are alike."""
    summed = np.concatenate([[0.0], np.cumsum(residuals_ms**2)])
    mean = float(summed[-1]) / at_s.size
    if not mean:
        return np.ones(times_s.shape)
    middle = np.searchsorted(at_s, times_s)
    first = np.clip(middle - NEIGHBOURS, 0, at_s.size)
    last = np.clip(middle + NEIGHBOURS, 0, at_s.size)
    near = (summed[last] - summed[first] + PRIOR_PULSES * mean) / (last - first + PRIOR_PULSES)
    return np.asarray(np.sqrt(near / mean))


def _from_nearest(at_s: FloatArray, times_s: FloatArray) -> FloatArray:
    """Seconds from each time to the nearest of the evidence, less its usual spacing: between pulses nothing wanders."""
    if at_s.size == 1:
        return np.asarray(np.abs(times_s - at_s[0]))
    right = np.clip(np.searchsorted(at_s, times_s), 1, at_s.size - 1)
    nearest_s = np.minimum(np.abs(times_s - at_s[right - 1]), np.abs(times_s - at_s[right]))
    return np.asarray(np.maximum(nearest_s - 2 * float(np.median(np.diff(at_s))), 0.0))
