"""How long one area takes to tell in another: at which lag the regression of `lagged.py` finds the pathway.

    W(l)        weights of the past at lag l, with hardly a penalty: one that smooths smears lags into each other
    P(l)        sum of products of W(l) between areas a and b as estimated from one part of the time and from another;
                over all pairs of parts: 0 in the mean where nothing is sent at lag l, however noisy W is
    delay       the lag at which P is greatest, between bins by the parabola through it and its neighbours
    told        where P leads at that lag by `ERRORS` standard errors (jackknife over parts) over 0 and over all lags
                but the neighbours; else there is no delay

Design rationale: the size of W itself has a floor of noise that differs from lag to lag, so its peak is somewhere even
where nothing is sent; products of independent estimates have none (as in the cross-validated Mahalanobis distance of
Walther et al. 2016). Rejected, as further from known delays: the gain of a model with a single lag, which
autocorrelation of the source smears, and the fit of filters with an onset, which dynamics of the target pull early.
A delay at the last lag may be longer, and is not told. What it cannot do: noise of the *measurement* (counts of few
spikes) hides which of the source's last bins was heard, and then no delay is told; `docs/networks.md` has the errors.

Shapes: T bins, C channels, A areas, L lags, K parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroloom.pipeline.runs.lagged import Matrix, Rows, membership, products, rows_of, solved

PARTS = 8
PENALTY = 1e-4  # per row, of standardised activity: enough to solve, too little to smooth
ERRORS = 3.0
FEWEST_LAGS = 3  # with less there is none beside the peak and its neighbours


@dataclass(frozen=True, kw_only=True, eq=False)
class LagProfile:
    """P of every pair of areas, source first. power: (L, A, A). spread: (K, L, A, A), its jackknife deviations: their
    sums of squares over K are squared standard errors."""

    power: Matrix
    spread: Matrix

    def delay_bins(self) -> Matrix:
        """Delay of every pathway in bins, NaN where it is not told, (A, A)."""
        n_lags, n_areas, _ = self.power.shape
        delays = np.full((n_areas, n_areas), np.nan)
        if n_lags >= FEWEST_LAGS:
            for a, b in np.argwhere(~np.eye(n_areas, dtype=np.bool_)):
                delays[a, b] = _told(self.power[:, a, b], self.spread[:, :, a, b])
        return delays

    def share(self, delay_bins: Matrix) -> Matrix:
        """How much of P lies within half a bin of these delays, (A, A): 1 where all does, NaN without a delay."""
        positive = np.maximum(self.power, 0)
        lags = np.arange(1, len(positive) + 1)[:, None, None]
        near = np.where(np.abs(lags - delay_bins) <= 0.5, positive, 0).sum(axis=0)
        return np.where(np.isnan(delay_bins), np.nan, near / np.maximum(positive.sum(axis=0), 1e-30))


def lag_profile(blocks: Sequence[Matrix], areas: Sequence[str], names: Sequence[str], n_lags: int) -> LagProfile:
    """At which lags each area tells of each other; arguments and errors as those of `lagged.lagged_strength`."""
    rows = rows_of(blocks, n_lags)
    weight_KLCC = [
        solved(products(part), sum(len(past) for past, _ in part) * PENALTY).reshape(n_lags, len(areas), -1)
        for part in _parts(rows)
    ]
    member = membership(areas, names)
    power = member @ _products_of_pairs(weight_KLCC) @ member.T
    without = [member @ _products_of_pairs(weight_KLCC[:k] + weight_KLCC[k + 1 :]) @ member.T for k in range(PARTS)]
    spread = np.stack(without) - np.mean(without, axis=0)
    return LagProfile(power=np.asarray(power), spread=np.asarray(spread * np.sqrt((PARTS - 1) / PARTS)))


def together(profiles: Sequence[LagProfile], weights: Sequence[float]) -> LagProfile:
    """Their mean, one weight each: of sessions, which may have other channels in the same areas."""
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    return LagProfile(
        power=np.asarray(sum(w * one.power for w, one in zip(share, profiles, strict=True))),
        spread=np.concatenate([w * one.spread for w, one in zip(share, profiles, strict=True)]),
    )


def delays_note(delay_bins: Matrix, share: Matrix, bin_s: float) -> str:
    """What was told of the delays of pathways, (E,), and how sure it is."""
    told = ~np.isnan(delay_bins)
    if not told.any():
        return (
            f"delays told of none of {told.size} pathways: no lag leads all others by {ERRORS:g} standard errors; "
            "lengths are straight distances, or 0 where places are not known"
        )
    ms = delay_bins[told] * bin_s * 1000
    sure = f"{share[told].mean():.0%} of what is sent, in the mean, is sent at it"
    return (
        f"delays told of {int(told.sum())} of {told.size} pathways, {ms.min():.3g} to {ms.max():.3g} ms, where one lag "
        f"leads all others by {ERRORS:g} standard errors ({sure}); the others have the straight distance, or the mean "
        f"of these, {ms.mean():.3g} ms, where places are not known"
    )


def _parts(rows: Sequence[Rows]) -> list[list[Rows]]:
    """As many rows in each, in order of time."""
    n_rows = sum(len(past) for past, _ in rows)
    parts: list[list[Rows]] = [[] for _ in range(PARTS)]
    first = 0
    for past, now in rows:
        part_of_row = (first + np.arange(len(past))) * PARTS // n_rows
        for part in np.unique(part_of_row):
            parts[part].append((past[part_of_row == part], now[part_of_row == part]))
        first += len(past)
    return parts


def _products_of_pairs(weights: Sequence[Matrix]) -> Matrix:
    """The mean over pairs of different parts of the product of their weights, in the shape of one of them."""
    total, squares = sum(weights), sum(weight**2 for weight in weights)
    return np.asarray((total**2 - squares) / (len(weights) * (len(weights) - 1)))


def _told(power_L: Matrix, spread_KL: Matrix) -> float:
    """The delay of one pathway in bins, or NaN."""
    best = int(np.argmax(power_L))
    if best == len(power_L) - 1:
        return float("nan")
    rivals = np.abs(np.arange(len(power_L)) - best) > 1
    lead = power_L[best] - np.append(power_L[rivals], 0)
    of_rivals = np.pad(spread_KL[:, rivals], ((0, 0), (0, 1)))
    error = np.sqrt(((spread_KL[:, [best]] - of_rivals) ** 2).sum(axis=0))
    if not (lead > ERRORS * error).all():
        return float("nan")
    before = power_L[best - 1] if best else 0.0
    after, bend = power_L[best + 1], before - 2 * power_L[best] + power_L[best + 1]
    return float(best + 1 + (0.5 * (before - after) / bend if best and bend < 0 else 0.0))
