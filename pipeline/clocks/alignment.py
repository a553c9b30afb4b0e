"""Two devices saw the same pulses: find which is which, and from that how their clocks relate.

Pulses are matched by the pattern of their intervals, so lost and extra ones do no harm:

    pulse times of both clocks
      -> votes and a path through them (`_pulse_matching.py`)
      -> matches: pulses that are each other's nearest, with a tolerance that shrinks with the residual
      -> the drift model that predicts held-out pulses best: offset, line, or broken line (`ingest/clock_fit.py`)
      -> runs of pulses that fit at another lag only: a clock that jumped (`_clock_jumps.py`)
      -> ClockMap, or AlignmentError with the reason
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from neuroloom.ingest.clock_fit import ClockFit, evidence_of, fit_clock
from neuroloom.ingest.timebase import ClockMap, FloatArray
from neuroloom.pipeline.clocks._clock_jumps import fit_pairs, with_jumps
from neuroloom.pipeline.clocks._pulse_matching import (
    Pairs,
    Search,
    along,
    followed,
    path,
    rival,
    votes,
)

DENSEST_IN_JITTERS = 4.0  # pulses nearer to each other than this on average match whatever the lag


class AlignmentError(ValueError):
    """The pulses do not prove how the two clocks relate; the message says why."""


class AmbiguousError(AlignmentError):
    """Several lags explain the pulses equally well: start times may tell which, the pulses do not."""


@dataclass(frozen=True, kw_only=True)
class PulseMatching:
    """What a match must satisfy.

    max_drift_ppm: clocks further apart than this are not considered.
    jitter_s: how far a pulse may lie from the fitted line when the search begins.
    min_matched: fewer matched pulses than this prove nothing.
    min_fraction: of the shorter train's pulses within the common span, this share must match.
    max_rival: refuse when another offset explains more than this share of what the best one does.
    prior_offset_s, prior_uncertainty_s: where target - source is expected (from start times) and how far off that may
        be, at source time `prior_at_s` (by default that of its first pulse).
    """

    max_drift_ppm: float = 300.0
    jitter_s: float = 0.004
    min_matched: int = 8
    min_fraction: float = 0.4
    max_rival: float = 0.6
    prior_offset_s: float | None = None
    prior_uncertainty_s: float = np.inf
    prior_at_s: float | None = None

    def turned(self, first_s: float) -> PulseMatching:
        """The rule for the map from target to source; `first_s`: of the source's pulses."""
        if self.prior_offset_s is None:
            return self
        at_s = (first_s if self.prior_at_s is None else self.prior_at_s) + self.prior_offset_s
        return replace(self, prior_offset_s=-self.prior_offset_s, prior_at_s=at_s)

    def search(self, first_s: float) -> Search:
        """These limits, as the search wants them; `first_s`: of the source's pulses."""
        return Search(
            max_drift=self.max_drift_ppm * 1e-6,
            jitter_s=self.jitter_s,
            prior_s=self.prior_offset_s,
            prior_width_s=self.prior_uncertainty_s,
            prior_at_s=first_s if self.prior_at_s is None else self.prior_at_s,
        )


def align_pulses(
    source_s: ArrayLike,
    target_s: ArrayLike,
    *,
    source: str = "source",
    target: str = "target",
    rule: PulseMatching | None = None,
) -> ClockMap:
    """The map from one clock to another, from the pulses both recorded.

    source_s, target_s: pulse times, shapes (P,) and (Q,), seconds on their own clocks; any order.
    Raises AlignmentError where the evidence is not there (too few pulses, no common pattern), and AmbiguousError where
    several offsets explain them equally well (as strictly periodic pulses do without a prior).
    """
    rule, name = rule or PulseMatching(), f"{source} -> {target}"
    a, b = pulse_train(source_s, source, rule), pulse_train(target_s, target, rule)
    if a.size > b.size:  # the pattern of the fewer is looked for among the more
        return _aligned(b, a, rule.turned(float(a[0])), target, source, name).inverse()
    return _aligned(a, b, rule, source, target, name)


def _aligned(a: FloatArray, b: FloatArray, rule: PulseMatching, source: str, target: str, name: str) -> ClockMap:
    search = rule.search(float(a[0]))
    found = votes(a, b, search)
    if not found.counts.size:
        raise AlignmentError(f"{name}: no offset within the expected range; check start times or widen the prior")
    at_s, lag_s = path(found, search)
    pairs = followed(a, b, along(a, at_s, lag_s), search)
    if pairs[0].size < rule.min_matched:
        raise AlignmentError(
            f"{name}: no common pattern, {pairs[0].size} pulses matched; {rule.min_matched} are needed"
        )
    pairs, fit = fit_pairs(a, b, pairs, rule.jitter_s, rule.min_matched)
    clock = _clock(fit, source, target, a)
    pairs, clock = with_jumps(a, b, pairs, clock, search, rule.min_matched)
    _check_evidence(a, b, pairs, clock, rule, name)
    return _with_evidence(a, b, pairs, clock)


def map_of_pairs(source_s: FloatArray, target_s: FloatArray, *, source: str, target: str, method: str) -> ClockMap:
    """The map through moments known to be the same, shapes (P,), at least two, in order of time."""
    clock = _clock(fit_clock(source_s, target_s - source_s), source, target, source_s)
    same = np.arange(source_s.size)
    return replace(_with_evidence(source_s, target_s, (same, same), clock), method=f"{method}, {clock.model}")


def pulse_train(times_s: ArrayLike, name: str, rule: PulseMatching) -> FloatArray:
    """The times in order, without repetitions. Raises AlignmentError for too few, or any that are not finite."""
    times = np.unique(np.asarray(times_s, dtype=np.float64).ravel())
    if not np.isfinite(times).all():
        raise AlignmentError(f"{name}: pulse times hold NaN or infinity; finite seconds are needed")
    if times.size < rule.min_matched:
        raise AlignmentError(f"{name}: {times.size} distinct pulses; at least {rule.min_matched} are needed")
    spacing_s = float(np.median(np.diff(times)))
    if spacing_s < DENSEST_IN_JITTERS * rule.jitter_s:
        raise AlignmentError(
            f"{name}: pulses come every {spacing_s * 1e3:.1f} ms; at a jitter of {rule.jitter_s * 1e3:.0f} ms any of "
            "them fits any other"
        )
    return times


def _clock(fit: ClockFit, source: str, target: str, a: FloatArray) -> ClockMap:
    """The fit as a map, its evidence still to come."""
    return ClockMap(
        source=source,
        target=target,
        offset_s=fit.offset_s,
        drift_ppm=fit.drift_ppm,
        anchor_s=fit.anchor_s,
        knots=fit.knots,
        span_s=(float(a[0]), float(a[-1])),
        residual_ms=0.0,
        n_matched=0,
        n_lost=0,
        n_extra=0,
        method="",
        wander_ppm=fit.wander_ppm,
        tried=fit.tried,
    )


def _with_evidence(a: FloatArray, b: FloatArray, pairs: Pairs, clock: ClockMap) -> ClockMap:
    i, j = pairs
    residual_s = b[j] - clock.seconds(a[i])
    n_a, n_b = _common_counts(clock.seconds(a), b)
    jumps = f" with {len(clock.notes)} jump{'s' * (len(clock.notes) > 1)}" if clock.notes else ""
    return replace(
        clock,
        span_s=(float(a[i[0]]), float(a[i[-1]])),
        residual_ms=float(np.sqrt(np.mean(residual_s**2)) * 1e3),
        n_matched=int(i.size),
        n_lost=int(n_b - i.size),
        n_extra=int(n_a - i.size),
        method=f"pulses, {clock.model}{jumps}",
        evidence=evidence_of(a[i], residual_s * 1e3),
    )


def _common_counts(mapped: FloatArray, b: FloatArray) -> tuple[int, int]:
    """How many pulses of each train lie in the time that both cover."""
    margin_s = 0.05
    start_s, stop_s = max(mapped[0], b[0]) - margin_s, min(mapped[-1], b[-1]) + margin_s
    n_a, n_b = (int(((t >= start_s) & (t <= stop_s)).sum()) for t in (mapped, b))
    return n_a, n_b


def _check_evidence(
    a: FloatArray, b: FloatArray, pairs: Pairs, clock: ClockMap, rule: PulseMatching, name: str
) -> None:
    matched, mapped = pairs[0].size, clock.seconds(a)
    if matched < rule.min_matched:
        raise AlignmentError(f"{name}: no common pattern, {matched} pulses matched; {rule.min_matched} are needed")
    shorter = min(_common_counts(mapped, b))
    if matched < rule.min_fraction * shorter:
        raise AlignmentError(f"{name}: only {matched} of {shorter} pulses match; {rule.min_fraction:.0%} are needed")
    if abs(clock.drift_ppm) > rule.max_drift_ppm:
        raise AlignmentError(
            f"{name}: drift is {clock.drift_ppm:.0f} ppm; at most {rule.max_drift_ppm:.0f} is plausible"
        )
    # Two lags that the prior allows lie at most twice its uncertainty apart.
    within_s = np.inf if rule.prior_offset_s is None else 2 * rule.prior_uncertainty_s
    other, own = rival(mapped, b, rule.jitter_s, within_s)
    if other > rule.max_rival * own:
        raise AmbiguousError(
            f"{name}: ambiguous, another offset explains {other} pulses where the best explains {own}; "
            "give start times as a prior, or send pulses with an irregular pattern"
        )
