"""Two devices saw the same pulses: find which is which, and from that how their clocks relate.

Pulses are matched by the pattern of their intervals, so lost and extra ones do no harm:

    pulse times of both clocks
      -> votes: differences target - source over short stretches, where drift cannot smear them
      -> candidates: one line of offset and drift through the winning votes
      -> matches: pulses that are each other's nearest, with a tolerance that shrinks with the residual
      -> ClockMap, or AlignmentError with the reason
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroloom.ingest.timebase import ClockMap, FloatArray

STRETCH = 40  # pulses that vote together
MAX_STRETCHES = 24
PEAKS_PER_STRETCH = 3
MOST_EVIDENCE = 400  # matched pulses kept with the map


class AlignmentError(ValueError):
    """The pulses do not prove how the two clocks relate; the message says why."""


@dataclass(frozen=True, kw_only=True)
class PulseMatching:
    """What a match must satisfy.

    max_drift_ppm: clocks further apart than this are not considered.
    jitter_s: how far a pulse may lie from the fitted line when the search begins.
    min_matched: fewer matched pulses than this prove nothing.
    min_fraction: of the shorter train's pulses within the common span, this share must match.
    max_rival: refuse when another offset explains more than this share of what the best one does.
    prior_offset_s, prior_uncertainty_s: where the offset is expected (from start times), if known.
    """

    max_drift_ppm: float = 300.0
    jitter_s: float = 0.004
    min_matched: int = 8
    min_fraction: float = 0.4
    max_rival: float = 0.6
    prior_offset_s: float | None = None
    prior_uncertainty_s: float = np.inf


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
    Raises AlignmentError where the evidence is not there: too few pulses, no common pattern, or several
    offsets that explain them equally well (as strictly periodic pulses do without a prior).
    """
    rule = rule or PulseMatching()
    a, b = _pulse_train(source_s, source, rule), _pulse_train(target_s, target, rule)
    offset_s, slope = _best_candidate(a, b, rule, f"{source} -> {target}")
    pairs, anchor_s, offset_s, slope = _refine(a, b, offset_s, slope, rule)
    _check_evidence(a, b, pairs, offset_s, slope, anchor_s, rule, f"{source} -> {target}")
    i, j = pairs
    residual_s = b[j] - (a[i] + offset_s + slope * (a[i] - anchor_s))
    n_a, n_b = _common_counts(a, b, offset_s, slope, anchor_s)
    return ClockMap(
        source=source,
        target=target,
        offset_s=offset_s,
        drift_ppm=slope * 1e6,
        anchor_s=anchor_s,
        span_s=(float(a[i[0]]), float(a[i[-1]])),
        residual_ms=float(np.sqrt(np.mean(residual_s**2)) * 1e3),
        n_matched=int(i.size),
        n_lost=int(n_b - i.size),
        n_extra=int(n_a - i.size),
        method="pulses, linear" if slope else "pulses, offset",
        evidence=_thinned(a[i], residual_s * 1e3),
    )


def _thinned(times_s: FloatArray, residuals_ms: FloatArray) -> tuple[tuple[float, float], ...]:
    """Evenly spread pairs, with the worst residual among them, rounded to what they mean: 1 µs and 0.1 µs."""
    kept = np.linspace(0, times_s.size - 1, min(times_s.size, MOST_EVIDENCE)).round().astype(int)
    kept = np.unique([*kept, int(np.abs(residuals_ms).argmax())])
    return tuple((round(float(times_s[k]), 6), round(float(residuals_ms[k]), 4)) for k in kept)


def _pulse_train(times_s: ArrayLike, name: str, rule: PulseMatching) -> FloatArray:
    times = np.unique(np.asarray(times_s, dtype=np.float64).ravel())
    if not np.isfinite(times).all():
        raise AlignmentError(f"{name}: pulse times hold NaN or infinity; finite seconds are needed")
    if times.size < rule.min_matched:
        raise AlignmentError(f"{name}: {times.size} distinct pulses; at least {rule.min_matched} are needed")
    return times


def _best_candidate(a: FloatArray, b: FloatArray, rule: PulseMatching, name: str) -> tuple[float, float]:
    """Offset at source time 0 and slope of the line that most pulses agree with."""
    centres_s, offsets_s, counts = _votes(a, b, rule)
    if not counts.size:
        raise AlignmentError(f"{name}: no offset within the expected range; check start times or widen the prior")
    max_slope = rule.max_drift_ppm * 1e-6
    best, best_score = (0.0, 0.0), -1.0
    order = np.argsort(-counts, kind="stable")[:24]
    for k, first in enumerate(order):
        for second in order[k:]:
            apart_s = centres_s[second] - centres_s[first]
            slope = (offsets_s[second] - offsets_s[first]) / apart_s if apart_s else 0.0
            if abs(slope) > max_slope:
                continue
            intercept = offsets_s[first] - slope * centres_s[first]
            near = np.abs(offsets_s - (intercept + slope * centres_s)) < 4 * rule.jitter_s
            score = float(counts[near].sum())
            if score > best_score:
                best, best_score = (float(intercept), float(slope)), score
    return best


def _votes(a: FloatArray, b: FloatArray, rule: PulseMatching) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Per stretch of source pulses its commonest differences: centre time, offset, count; each shape (V,)."""
    n_stretches = min(MAX_STRETCHES, max(1, a.size // (STRETCH // 2)))
    starts = np.linspace(0, max(a.size - STRETCH, 0), n_stretches).astype(int)
    votes: list[tuple[float, float, float]] = []
    for start in np.unique(starts):
        part = a[start : start + STRETCH]
        centre_s = float(part.mean())
        width_s = rule.max_drift_ppm * 1e-6 * float(part[-1] - part[0]) + 2 * rule.jitter_s
        lags = np.sort((b[None, :] - part[:, None]).ravel())
        if rule.prior_offset_s is not None:
            drift_s = rule.max_drift_ppm * 1e-6 * float(a[-1] - a[0])
            lags = lags[np.abs(lags - rule.prior_offset_s) <= rule.prior_uncertainty_s + drift_s]
        votes += [(centre_s, offset_s, count) for offset_s, count in _peaks(lags, width_s)]
    columns = np.array(votes, dtype=np.float64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]


def _peaks(lags: FloatArray, width_s: float) -> list[tuple[float, float]]:
    """The densest windows of sorted lags: (median lag, count), densest first, none overlapping."""
    counts = np.searchsorted(lags, lags + width_s, side="right") - np.arange(lags.size)
    found: list[tuple[float, float]] = []
    for k in np.argsort(-counts, kind="stable"):
        offset_s = float(np.median(lags[k : k + counts[k]]))
        if all(abs(offset_s - other) > width_s for other, _ in found):
            found.append((offset_s, float(counts[k])))
        if len(found) == PEAKS_PER_STRETCH:
            break
    return found


def _refine(
    a: FloatArray, b: FloatArray, offset_s: float, slope: float, rule: PulseMatching
) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], float, float, float]:
    """Match, fit, tighten, until nothing changes; offset at the anchor (mean of the matched source times)."""
    anchor_s, tolerance_s = 0.0, 6 * rule.jitter_s
    pairs = _mutual_nearest(a + offset_s + slope * a, b, tolerance_s)
    for _ in range(12):
        i, j = pairs
        if i.size < rule.min_matched:
            break
        anchor_s = float(a[i].mean())
        slope, offset_s = _fit(a[i] - anchor_s, b[j] - a[i])
        residual_s = b[j] - a[i] - offset_s - slope * (a[i] - anchor_s)
        spread_s = 1.4826 * float(np.median(np.abs(residual_s)))
        tolerance_s = min(tolerance_s, max(5 * spread_s, 1e-5))
        matched = _mutual_nearest(a + offset_s + slope * (a - anchor_s), b, tolerance_s)
        if np.array_equal(matched[0], i) and np.array_equal(matched[1], j):
            break
        pairs = matched
    return pairs, anchor_s, offset_s, slope


def _fit(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Slope and offset of y over x; slope 0 where a held-out half is predicted as well without it."""
    even, odd = slice(0, None, 2), slice(1, None, 2)
    linear_error = flat_error = 0.0
    for fit, test in ((even, odd), (odd, even)):
        slope, offset = np.polyfit(x[fit], y[fit], 1)
        linear_error += float(np.abs(y[test] - offset - slope * x[test]).sum())
        flat_error += float(np.abs(y[test] - y[fit].mean()).sum())
    if flat_error <= linear_error:
        return 0.0, float(y.mean())
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(offset)


def _mutual_nearest(mapped: FloatArray, b: FloatArray, tolerance_s: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Index pairs that are each other's nearest and within the tolerance; both sorted."""
    to_b, to_a = _nearest(mapped, b), _nearest(b, mapped)
    i = np.arange(mapped.size)
    keep = (to_a[to_b] == i) & (np.abs(b[to_b] - mapped) <= tolerance_s)
    return i[keep], to_b[keep]


def _nearest(times: FloatArray, among: FloatArray) -> NDArray[np.intp]:
    right = np.clip(np.searchsorted(among, times), 1, among.size - 1)
    return np.asarray(right - (times - among[right - 1] <= among[right] - times))


def _common_counts(a: FloatArray, b: FloatArray, offset_s: float, slope: float, anchor_s: float) -> tuple[int, int]:
    """How many pulses of each train lie in the time that both cover."""
    mapped = a + offset_s + slope * (a - anchor_s)
    margin_s = 0.05
    start_s, stop_s = max(mapped[0], b[0]) - margin_s, min(mapped[-1], b[-1]) + margin_s
    n_a, n_b = (int(((t >= start_s) & (t <= stop_s)).sum()) for t in (mapped, b))
    return n_a, n_b


def _check_evidence(
    a: FloatArray,
    b: FloatArray,
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    offset_s: float,
    slope: float,
    anchor_s: float,
    rule: PulseMatching,
    name: str,
) -> None:
    matched = pairs[0].size
    if matched < rule.min_matched:
        raise AlignmentError(f"{name}: no common pattern, {matched} pulses matched; {rule.min_matched} are needed")
    shorter = min(_common_counts(a, b, offset_s, slope, anchor_s))
    if matched < rule.min_fraction * shorter:
        raise AlignmentError(f"{name}: only {matched} of {shorter} pulses match; {rule.min_fraction:.0%} are needed")
    if abs(slope) > rule.max_drift_ppm * 1e-6:
        raise AlignmentError(f"{name}: drift is {slope * 1e6:.0f} ppm; at most {rule.max_drift_ppm:.0f} is plausible")
    rival, own = _rival(a + offset_s + slope * (a - anchor_s), b, rule)
    if rival > rule.max_rival * own:
        raise AlignmentError(
            f"{name}: ambiguous, another offset explains {rival} pulses where the best explains {own}; "
            "give start times as a prior, or send pulses with an irregular pattern"
        )


def _rival(mapped: FloatArray, b: FloatArray, rule: PulseMatching) -> tuple[int, int]:
    """Pulses explained by the best other shift, and by no shift, over one stretch in the middle."""
    half = min(mapped.size, 400) // 2
    common = np.flatnonzero((mapped >= b[0]) & (mapped <= b[-1]))
    middle = int(common[common.size // 2]) if common.size else mapped.size // 2
    part = mapped[max(middle - half, 0) : middle + half]
    lags = np.sort((b[None, :] - part[:, None]).ravel())
    if rule.prior_offset_s is not None:
        lags = lags[np.abs(lags) <= rule.prior_uncertainty_s]
    width_s = 2 * rule.jitter_s
    counts = np.searchsorted(lags, lags + width_s, side="right") - np.arange(lags.size)
    own = int((np.abs(lags) <= rule.jitter_s).sum())
    other = np.abs(lags + rule.jitter_s) > width_s
    return int(counts[other].max(initial=0)), own
