"""How much the past of one area sends to another: the power of what the regressions of `past.py` say it adds.

    W(l)              from a to b at every lag, as estimated from one part of the time and from another
    left of a         the past of a's channels but for what the past of all others tells of it, by a ridge regression
    power of a -> b   mean product of what W of one part and W of another make of what is left of a, over the time, over
                      the channels of b, and over all pairs of parts: 0 in the mean where nothing is sent
    strength          its root, 0 where it is negative: in standard deviations of b's channels

A linear multivariate autoregression, and near what Granger (1969) calls a cause: what the target's own past and all
other recorded areas do not tell already. It has a direction, for every channel speaks for itself where an average over
an area would cancel. What it is not: proof of an axon (an area nobody recorded may drive both).

Design rationale: the size of W counts noise in directions in which the source hardly moves, and a product with the
source's covariance does not; products of different parts have no floor of noise, whichever channels are many. Of the
penalties one does for counts and for rates, but for more of it where time is short: what foretells best smooths counts
too much and rates too little. Rejected, on systems that are not in `docs/networks.md`: the size of W of all the time
(much worse where rates are known), sums of products of W without the source's covariance or with all of it (worse on
rates), over their standard error (worse on spikes), gains of held-out error (worse on short recordings), residual
variance as the unit of b (no better).

Shapes: C channels, A areas, L lags, D = L * C, K parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.jackknife import Jackknifed, Matrix, of_pairs
from neuroloom.pipeline.runs.past import PARTS, Regressions, membership

TOLD = 3.0  # penalty, per row, with which the others' past tells of the source's: what both know is mostly taken out


def lagged_power(found: Regressions, areas: Sequence[str], names: Sequence[str], *, sharp: bool = False) -> Jackknifed:
    """Power of what every area sends to every other, (A, A), source first, 0 on the diagonal.

    areas: of every channel, "" for none: such a channel explains and is not explained to any area. names: the areas, in
    the order of the result. sharp: by the weights with hardly a penalty, which `significant` wants.
    """
    weight_KLCC = found.sharp if sharp else found.smooth
    n_parts, n_lags, n_channels, _ = weight_KLCC.shape
    member, weight_KDC = membership(areas, names), weight_KLCC.reshape(n_parts, -1, n_channels)
    unknown = np.linalg.inv(found.past + TOLD * np.eye(len(found.past)))
    products = np.zeros((n_parts, n_parts, len(names), len(names)))
    for a, name in enumerate(names):
        own = np.flatnonzero(np.tile([area == name for area in areas], n_lags))
        left = np.linalg.inv(unknown[np.ix_(own, own)]) - TOLD * np.eye(len(own))  # a Schur complement
        weight = weight_KDC[:, own]
        products[:, :, a] = np.einsum("jdc,kdc->jkc", weight, left @ weight, optimize=True) @ member.T
        products[:, :, a, a] = 0
    return of_pairs(products)


def strength_of(power: Jackknifed) -> Matrix:
    """Of every pathway, (A, A), in standard deviations of the target's channels."""
    return np.asarray(np.sqrt(np.maximum(power.value, 0)))


def significant(power: Jackknifed, alpha: float) -> NDArray[np.bool_]:
    """Which pairs send more than nothing at this false discovery rate, (A, A); by the power of sharp weights.

    Student's t of each against its jackknife error, Benjamini and Hochberg (1995) over pairs. The weights that rank
    pathways best would not do: their penalty leaves some of what goes from A to B and on to C to a pathway from A to C.
    """
    from scipy.stats import false_discovery_control, t

    pairs = ~np.eye(len(power.value), dtype=np.bool_)
    freedom = len(power.spread) * (PARTS - 1) / PARTS
    p_values = t.sf((power.value / np.maximum(power.errors, 1e-30))[pairs], freedom)
    chosen = np.zeros(pairs.shape, dtype=np.bool_)
    chosen[pairs] = false_discovery_control(p_values, method="bh") <= alpha
    return chosen
