"""Two devices saw the same pulses: find which is which, and from that how their clocks relate.

Pulses are matched by the pattern of their intervals, so lost and extra ones do no harm:

    pulse times of both clocks
      -> votes and a path through them (`_pulse_matching.py`)
      -> matches: pulses that are each other's nearest, with a tolerance that shrinks with the residual
      -> the drift model that predicts held-out pulses best: offset, line, or broken line (`ingest/clock_fit.py`)
      -> ClockMap, or AlignmentError with the reason
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neuroloom.ingest.clock_fit import ClockFit, evidence_of, fit_clock
from neuroloom.ingest.timebase import ClockMap, FloatArray
from neuroloom.pipeline._pulse_matching import (
    STRETCH,
    Pairs,
    Search,
    along,
    followed,
    mutual_nearest,
    path,
    rival,
    running_median,
    votes,
)

ROUNDS = 6
DENSEST_IN_JITTERS = 4.0  # pulses nearer to each other than this on average match whatever the lag
JUMP_SHARE = 0.5  # of a stretch's pulses that fit elsewhere: the clock has jumped


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
    Raises AlignmentError where the evidence is not there: too few pulses, no common pattern, a clock that jumps; and
    AmbiguousError where several offsets explain them equally well (as strictly periodic pulses do without a prior).
    """
    rule, name = rule or PulseMatching(), f"{source} -> {target}"
    a, b = pulse_train(source_s, source, rule), pulse_train(target_s, target, rule)
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
    pairs, fit = _fitted(a, b, pairs, rule)
    _check_evidence(a, b, pairs, fit, rule, name)
    _check_jumps(a, b, pairs, fit, rule, name)
    return _map(a, b, pairs, fit, source, target)


def map_of_pairs(source_s: FloatArray, target_s: FloatArray, *, source: str, target: str, method: str) -> ClockMap:
    """The map through moments known to be the same, shapes (P,), at least two, in order of time."""
    fit = fit_clock(source_s, target_s - source_s)
    same = np.arange(source_s.size)
    found = _map(source_s, target_s, (same, same), fit, source, target)
    return ClockMap(**{**vars(found), "method": f"{method}, {found.model}"})


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


def _fitted(a: FloatArray, b: FloatArray, pairs: Pairs, rule: PulseMatching) -> tuple[Pairs, ClockFit]:
    """Fit, match along the fit, tighten, until nothing changes."""
    i, j = pairs
    fit, tolerance_s = fit_clock(a[i], b[j] - a[i]), 6 * rule.jitter_s
    for _ in range(ROUNDS):
        spread_s = 1.4826 * float(np.median(np.abs(b[j] - a[i] - fit.lag(a[i]))))
        tolerance_s = min(tolerance_s, max(5 * spread_s, 1e-5))
        matched = mutual_nearest(a + fit.lag(a), b, tolerance_s)
        if matched[0].size < rule.min_matched or (np.array_equal(matched[0], i) and np.array_equal(matched[1], j)):
            break
        i, j = matched
        fit = fit_clock(a[i], b[j] - a[i])
    return (i, j), fit


def _map(a: FloatArray, b: FloatArray, pairs: Pairs, fit: ClockFit, source: str, target: str) -> ClockMap:
    i, j = pairs
    residual_s = b[j] - a[i] - fit.lag(a[i])
    n_a, n_b = _common_counts(a + fit.lag(a), b)
    made = ClockMap(
        source=source,
        target=target,
        offset_s=fit.offset_s,
        drift_ppm=fit.drift_ppm,
        anchor_s=fit.anchor_s,
        knots=fit.knots,
        span_s=(float(a[i[0]]), float(a[i[-1]])),
        residual_ms=float(np.sqrt(np.mean(residual_s**2)) * 1e3),
        n_matched=int(i.size),
        n_lost=int(n_b - i.size),
        n_extra=int(n_a - i.size),
        method="",
        evidence=evidence_of(a[i], residual_s * 1e3),
        wander_ppm=fit.wander_ppm,
        tried=fit.tried,
    )
    return ClockMap(**{**vars(made), "method": f"pulses, {made.model}"})


def _common_counts(mapped: FloatArray, b: FloatArray) -> tuple[int, int]:
    """How many pulses of each train lie in the time that both cover."""
    margin_s = 0.05
    start_s, stop_s = max(mapped[0], b[0]) - margin_s, min(mapped[-1], b[-1]) + margin_s
    n_a, n_b = (int(((t >= start_s) & (t <= stop_s)).sum()) for t in (mapped, b))
    return n_a, n_b


def _check_evidence(a: FloatArray, b: FloatArray, pairs: Pairs, fit: ClockFit, rule: PulseMatching, name: str) -> None:
    matched, mapped = pairs[0].size, a + fit.lag(a)
    if matched < rule.min_matched:
        raise AlignmentError(f"{name}: no common pattern, {matched} pulses matched; {rule.min_matched} are needed")
    shorter = min(_common_counts(mapped, b))
    if matched < rule.min_fraction * shorter:
        raise AlignmentError(f"{name}: only {matched} of {shorter} pulses match; {rule.min_fraction:.0%} are needed")
    if abs(fit.drift_ppm) > rule.max_drift_ppm:
        raise AlignmentError(f"{name}: drift is {fit.drift_ppm:.0f} ppm; at most {rule.max_drift_ppm:.0f} is plausible")
    # Two lags that the prior allows lie at most twice its uncertainty apart.
    within_s = np.inf if rule.prior_offset_s is None else 2 * rule.prior_uncertainty_s
    other, own = rival(mapped, b, rule.jitter_s, within_s)
    if other > rule.max_rival * own:
        raise AmbiguousError(
            f"{name}: ambiguous, another offset explains {other} pulses where the best explains {own}; "
            "give start times as a prior, or send pulses with an irregular pattern"
        )


def _check_jumps(a: FloatArray, b: FloatArray, pairs: Pairs, fit: ClockFit, rule: PulseMatching, name: str) -> None:
    """Raise where a long run of pulses fits not here but at another lag: a device lost samples, or was reset."""
    matched = np.zeros(a.size, dtype=np.bool_)
    matched[pairs[0]] = True
    mapped = a + fit.lag(a)
    common = (mapped >= b[0]) & (mapped <= b[-1])
    missing = np.where(common, ~matched, False).astype(np.float64)
    half = STRETCH // 4
    if a.size < 2 * STRETCH:
        return
    alone = running_median(missing, half) > 0
    for first, last in _runs(alone):
        if last - first < STRETCH // 2:
            continue
        part = a[first:last] + fit.lag(a[first:last])
        found = votes(part, b, rule.search(float(a[0])))
        if found.counts.size and found.counts.max() > JUMP_SHARE * min(part.size, STRETCH):
            lag_s = float(found.lag_s[found.counts.argmax()])
            raise AlignmentError(
                f"{name}: the clocks jump by {lag_s:+.3f} s near {a[first]:.1f} s of {name.split(' -> ')[0]}: "
                f"{part.size} pulses from there on fit at another offset; samples were lost, or a clock was reset"
            )


def _runs(flags: FloatArray) -> list[tuple[int, int]]:
    """First and last + 1 of every run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]
