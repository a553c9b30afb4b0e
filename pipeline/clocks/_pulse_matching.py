"""Where two trains of pulses fit: differences vote stretch by stretch, and a path through the votes follows the drift.

    stretch of source pulses -> histogram of target - source -> its densest windows, the votes
    votes of all stretches   -> the path with most pulses whose offset changes no faster than two clocks can drift
    path                     -> pulses that are each other's nearest along it

Nothing here decides whether a match is proof: that is `alignment.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.timebase import FloatArray

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]

STRETCH = 40  # pulses that vote together
MAX_STRETCHES = 24
PEAKS_PER_STRETCH = 4
QUICK_STRETCHES = 8
CHANCE = 1e-3  # how often unrelated pulses may put a peak this high somewhere
MOST_BINS = 1 << 22
MOST_LAGS = 1 << 22  # differences held at once
PASSING_OVER = 0.5  # of the best vote, for each stretch left out between two that are chained
NEIGHBOURS = 7  # matched pulses on each side whose median the path is bent to


@dataclass(frozen=True, kw_only=True)
class Search:
    """How far and how closely to look.

    prior_s, prior_width_s: the lag expected at source time `prior_at_s`, and how far off it may be; None: anywhere.
    """

    max_drift: float
    jitter_s: float
    prior_s: float | None = None
    prior_width_s: float = np.inf
    prior_at_s: float = 0.0

    def bounds_s(self, at_s: float) -> tuple[float, float] | None:
        """The lags that the prior leaves at a source time; the clocks may have drifted since."""
        if self.prior_s is None or not np.isfinite(self.prior_width_s):
            return None
        width_s = self.prior_width_s + self.max_drift * abs(at_s - self.prior_at_s)
        return self.prior_s - width_s, self.prior_s + width_s


@dataclass(frozen=True, kw_only=True)
class Votes:
    """Per stretch its commonest lags: centre of the stretch, lag, pulses that agree, each of shape (V,)."""

    at_s: FloatArray
    lag_s: FloatArray
    counts: FloatArray


def votes(a: FloatArray, b: FloatArray, search: Search) -> Votes:
    """What each stretch of `a` says of the lag `b - a`."""
    found: list[tuple[float, float, float]] = []
    for part in _stretches(a, MAX_STRETCHES):
        at_s = float(part.mean())
        peaks = _peaks(part, b, _width_s(part, search), search.bounds_s(at_s))
        # What another peak of the same stretch reaches, chance reaches: it counts for nothing.
        floor = peaks[-1][1] if len(peaks) == PEAKS_PER_STRETCH else 0.0
        found += [(at_s, lag_s, count - 0.9 * floor) for lag_s, count in peaks]
    columns = np.array(found, dtype=np.float64).reshape(-1, 3).T
    return Votes(at_s=columns[0], lag_s=columns[1], counts=columns[2])


def shares_pattern(a: FloatArray, b: FloatArray, search: Search) -> bool:
    """False where no stretch of `a` finds more of itself in `b` than chance would put there: quick, for many pairs."""
    from scipy.special import pdtrik  # inverse of the Poisson distribution; scipy.stats takes seconds to import

    for part in _stretches(a, QUICK_STRETCHES):
        counted = _histogram(part, b, _width_s(part, search), search.bounds_s(float(part.mean())))
        if counted is None:
            continue
        near = counted[0]
        chance = float(pdtrik(1 - CHANCE / near.size, max(float(near.mean()), 1e-9)))
        if near.max(initial=0) > max(chance, 3.0):
            return True
    return False


def path(found: Votes, search: Search) -> tuple[FloatArray, FloatArray]:
    """Times and lags, shape (K,) each, of the chain of votes with most pulses; empty without votes.

    From one stretch to the next the lag may change by what the clocks can drift, and by the jitter of both votes.
    Passing over stretches costs: over half an hour clocks may drift by half a second, and a clock that jumped by so
    much must not look like one that drifted.
    """
    order = np.argsort(found.at_s, kind="stable")
    at_s, lag_s, counts = found.at_s[order], found.lag_s[order], found.counts[order]
    stretch = np.unique(at_s, return_inverse=True)[1]
    toll = PASSING_OVER * float(counts.max(initial=0))
    best, before = counts.copy(), np.full(at_s.size, -1)
    for k in range(at_s.size):
        apart_s = at_s[k] - at_s[:k]
        reachable = (apart_s > 0) & (np.abs(lag_s[k] - lag_s[:k]) <= search.max_drift * apart_s + 2 * search.jitter_s)
        if reachable.any():
            earlier = np.flatnonzero(reachable)
            gained = best[earlier] - toll * (stretch[k] - stretch[earlier] - 1)
            if gained.max() > 0:
                best[k] += float(gained.max())
                before[k] = earlier[gained.argmax()]
    chain = []
    k = int(best.argmax()) if best.size else -1
    while k >= 0:
        chain.append(k)
        k = int(before[k])
    chain.reverse()
    return at_s[chain], lag_s[chain]


def along(a: FloatArray, at_s: FloatArray, lag_s: FloatArray) -> FloatArray:
    """The path's lag at every time of `a`: straight between votes, and beyond them along the line through them all."""
    if at_s.size < 3:
        return np.interp(a, at_s, lag_s)
    slope, lag_at_mean_s = np.polyfit(at_s - at_s.mean(), lag_s, 1)
    line_s = lag_at_mean_s + slope * (a - at_s.mean())
    bent_s = lag_s - lag_at_mean_s - slope * (at_s - at_s.mean())
    return np.asarray(line_s + np.interp(a, at_s, bent_s))


def followed(a: FloatArray, b: FloatArray, lag_s: FloatArray, search: Search) -> Pairs:
    """Pairs along a rough lag at every `a`: matched, the lag bent to what neighbours say, and matched again."""
    tolerance_s = 6 * search.jitter_s
    pairs = mutual_nearest(a + lag_s, b, tolerance_s)
    for _ in range(4):
        i, j = pairs
        if i.size < 3:
            break
        away_s = b[j] - a[i] - lag_s[i]
        smooth_s = running_median(away_s, NEIGHBOURS)
        lag_s = lag_s + np.interp(a, a[i], smooth_s)
        spread_s = 1.4826 * float(np.median(np.abs(away_s - smooth_s)))
        tolerance_s = min(tolerance_s, max(6 * spread_s, search.jitter_s))
        pairs = mutual_nearest(a + lag_s, b, tolerance_s)
        if np.array_equal(pairs[0], i) and np.array_equal(pairs[1], j):
            break
    return pairs


def running_median(values: FloatArray, half: int) -> FloatArray:
    """Median of each value and `half` neighbours on either side, fewer at the ends."""
    if values.size <= 2 * half:
        return np.full_like(values, float(np.median(values)))
    windows = np.lib.stride_tricks.sliding_window_view(values, 2 * half + 1)
    middle = np.median(windows, axis=1)
    return np.concatenate([np.full(half, middle[0]), middle, np.full(half, middle[-1])])


def mutual_nearest(mapped: FloatArray, b: FloatArray, tolerance_s: float) -> Pairs:
    """Index pairs that are each other's nearest and within the tolerance; both sorted."""
    to_b, to_a = nearest(mapped, b), nearest(b, mapped)
    i = np.arange(mapped.size)
    keep = (to_a[to_b] == i) & (np.abs(b[to_b] - mapped) <= tolerance_s)
    return i[keep], to_b[keep]


def nearest(times: FloatArray, among: FloatArray) -> NDArray[np.intp]:
    """Index of the nearest of `among`, in order, at least one, for every time."""
    if among.size == 1:
        return np.zeros(times.size, dtype=np.intp)
    right = np.clip(np.searchsorted(among, times), 1, among.size - 1)
    return np.asarray(right - (times - among[right - 1] <= among[right] - times))


def rival(mapped: FloatArray, b: FloatArray, jitter_s: float, within_s: float = np.inf) -> tuple[int, int]:
    """Pulses explained by the best other shift, and by no shift, over one stretch in the middle."""
    half = min(mapped.size, 200) // 2
    common = np.flatnonzero((mapped >= b[0]) & (mapped <= b[-1]))
    middle = int(common[common.size // 2]) if common.size else mapped.size // 2
    part = mapped[max(middle - half, 0) : middle + half]
    own = int((np.abs(b[nearest(part, b)] - part) <= jitter_s).sum())
    bounds = None if np.isinf(within_s) else (-within_s, within_s)
    peaks = _peaks(part, b, 2 * jitter_s, bounds)
    others = [count for lag_s, count in peaks if abs(lag_s) > 2 * jitter_s]
    return int(max(others, default=0)), own


def _stretches(a: FloatArray, most: int) -> Iterator[FloatArray]:
    n = min(most, max(1, a.size // (STRETCH // 2)))
    for start in np.unique(np.linspace(0, max(a.size - STRETCH, 0), n).astype(int)):
        yield a[start : start + STRETCH]


def _width_s(part: FloatArray, search: Search) -> float:
    return search.max_drift * float(part[-1] - part[0]) + 2 * search.jitter_s


def _histogram(
    part: FloatArray, b: FloatArray, width_s: float, bounds_s: tuple[float, float] | None
) -> tuple[NDArray[np.int64], float, float] | None:
    """Lags in every window of two bins that are a width each; the first window's start, and the bin's width."""
    low_s, high_s = bounds_s or (float(b[0] - part[-1]), float(b[-1] - part[0]))
    bin_s = max(width_s, (high_s - low_s) / MOST_BINS)
    if high_s <= low_s:
        return None
    n_bins = int((high_s - low_s) / bin_s) + 1
    counts = np.zeros(n_bins, dtype=np.int64)
    at_once = max(1, MOST_LAGS // b.size)
    for first in range(0, part.size, at_once):
        some = part[first : first + at_once]
        near = b if bounds_s is None else b[slice(*np.searchsorted(b, [some[0] + low_s, some[-1] + high_s]))]
        bins = ((near[None, :] - some[:, None] - low_s) * (1 / bin_s)).ravel().astype(np.int64)
        if bounds_s is not None:
            bins = bins[(bins >= 0) & (bins < n_bins)]
        counts += np.bincount(bins, minlength=n_bins)
    return np.append(counts, 0) + np.append(0, counts), low_s - bin_s, bin_s


def _peaks(
    part: FloatArray, b: FloatArray, width_s: float, bounds_s: tuple[float, float] | None
) -> list[tuple[float, float]]:
    """The densest windows of lags: (median lag, count), densest first, none overlapping."""
    counted = _histogram(part, b, width_s, bounds_s)
    if counted is None or not counted[0].any():
        return []
    near, low_s, bin_s = counted
    likely = np.flatnonzero(near >= max(0.4 * near.max(), 1))
    likely = likely[np.argsort(-near[likely], kind="stable")][: 12 * PEAKS_PER_STRETCH]
    found: list[tuple[float, float]] = []
    for k in likely:
        start_s = low_s + k * bin_s
        lag_s, count = _densest(part, b, start_s, start_s + 2 * bin_s, width_s)
        if bounds_s is not None and not bounds_s[0] <= lag_s <= bounds_s[1]:
            continue
        if count and all(abs(lag_s - other) > width_s for other, _ in found):
            found.append((lag_s, count))
    return sorted(found, key=lambda peak: -peak[1])[:PEAKS_PER_STRETCH]


def _densest(part: FloatArray, b: FloatArray, low_s: float, high_s: float, width_s: float) -> tuple[float, float]:
    """Median and number of the lags in the densest window of that width between two lags."""
    first, last = np.searchsorted(b, part + low_s), np.searchsorted(b, part + high_s)
    lags = np.sort(np.concatenate([b[i:j] - t for i, j, t in zip(first, last, part, strict=True)]))
    if not lags.size:
        return 0.0, 0.0
    counts = np.searchsorted(lags, lags + width_s, side="right") - np.arange(lags.size)
    k = int(counts.argmax())
    return float(np.median(lags[k : k + counts[k]])), float(counts[k])
