"""How long one area takes to tell in another: at which lag the regressions of `past.py` find the pathway.

    W(l)        weights of the past at lag l, the sharp ones
    P(l)        sum of products of W(l) between areas a and b as estimated from one part of the time and from another;
                over all pairs of parts: 0 in the mean where nothing is sent at lag l, however noisy W is
    delay       the lag at which P is greatest, between bins by the parabola through it and its neighbours
    told        where P leads at that lag by `ERRORS` standard errors (jackknife over parts) over 0 and over all lags
                but the neighbours; else there is no delay

Design rationale: the size of W itself has a floor of noise that differs from lag to lag, so its peak is somewhere even
where nothing is sent; products of independent estimates have none. Rejected, as further from known delays: the gain of
a model with a single lag, which autocorrelation of the source smears, and the fit of filters with an onset, which
dynamics of the target pull early. A delay at the last lag may be longer, and is not told. What it cannot do: noise of
the *measurement* (counts of few spikes) hides which of the source's last bins was heard, and then no delay is told;
`docs/networks.md` has the errors.

Shapes: T bins, C channels, A areas, L lags, K parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuroloom.pipeline.runs.jackknife import Jackknifed, Matrix, of_pairs
from neuroloom.pipeline.runs.past import Regressions, membership

ERRORS = 3.0
FEWEST_LAGS = 3  # with less there is none beside the peak and its neighbours


def lag_profile(found: Regressions, areas: Sequence[str], names: Sequence[str]) -> Jackknifed:
    """P of every pair of areas, (L, A, A), source first; arguments as those of `lagged.lagged_power`."""
    member = membership(areas, names)
    return of_pairs(np.stack([member @ (one * found.sharp) @ member.T for one in found.sharp]))


def delays_of(profile: Jackknifed) -> Matrix:
    """Delay of every pathway in bins, NaN where it is not told, (A, A)."""
    n_lags, n_areas, _ = profile.value.shape
    delays = np.full((n_areas, n_areas), np.nan)
    if n_lags >= FEWEST_LAGS:
        for a, b in np.argwhere(~np.eye(n_areas, dtype=np.bool_)):
            delays[a, b] = _told(profile.value[:, a, b], profile.spread[:, :, a, b])
    return delays


def share_at(delay_bins: Matrix, profile: Jackknifed) -> Matrix:
    """How much of P lies within half a bin of these delays, (A, A): 1 where all does, NaN without a delay."""
    positive = np.maximum(profile.value, 0)
    lags = np.arange(1, len(positive) + 1)[:, None, None]
    near = np.where(np.abs(lags - delay_bins) <= 0.5, positive, 0).sum(axis=0)
    return np.where(np.isnan(delay_bins), np.nan, near / np.maximum(positive.sum(axis=0), 1e-30))


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
