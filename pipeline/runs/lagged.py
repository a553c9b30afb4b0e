"""Which areas tell what another does next: a regression of every channel on the past of all channels of all areas.

    y(t) = sum over lags l of W(l) y(t - l)        ridge; its penalty chosen on the last part of the time
    strength of a -> b = root of the mean square of W from channels of a to channels of b, summed over lags

A linear multivariate autoregression, and what Granger (1969) calls a cause: what the target's own past and all other
recorded areas do not tell already. It has a direction, for every channel speaks for itself where an average over an
area would cancel. What it is not: proof of an axon (an area nobody recorded may drive both), and its lags are no
conduction delays: a slow membrane smears them.

Shapes: T bins, C channels, A areas, L lags.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
PENALTIES = (1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # per row, of standardised activity
HELD_OUT = 0.2
FEWEST_ROWS = 50


def lagged_strength(blocks: Sequence[Matrix], areas: Sequence[str], names: Sequence[str], n_lags: int) -> Matrix:
    """Strength of every pathway between areas, (A, A), source first, 0 on the diagonal.

    blocks: stretches of activity without gaps, (T, C), in any unit. areas: of every channel, "" for none: such a
    channel explains and is not explained to any area. names: the areas, in the order of the result.
    Raises ValueError where less than `FEWEST_ROWS` bins have all of their past.
    """
    whole = np.concatenate(blocks)
    mean, spread = whole.mean(axis=0), whole.std(axis=0)
    scale = np.where(spread > 1e-9, spread, np.inf)  # what never changes says nothing
    rows = [_rows((block - mean) / scale, n_lags) for block in blocks if len(block) > n_lags]
    n_rows = sum(len(past) for past, _ in rows)
    if n_rows < FEWEST_ROWS:
        raise ValueError(f"{n_rows} bins with {n_lags} bins before them; {FEWEST_ROWS} or more are wanted")
    weight_LCC = _ridge(rows, n_rows).reshape(n_lags, whole.shape[1], whole.shape[1])
    member = np.array([[area == name for area in areas] for name in names], dtype=np.float64)
    member /= np.maximum(member.sum(axis=1, keepdims=True), 1)
    strength = np.sqrt(member @ (weight_LCC**2).sum(axis=0) @ member.T)
    np.fill_diagonal(strength, 0)
    return np.asarray(strength)


def _rows(block: Matrix, n_lags: int) -> tuple[Matrix, Matrix]:
    """The past of every bin that has one, (T - L, L * C), and the bin itself, (T - L, C)."""
    past = [block[n_lags - lag : len(block) - lag] for lag in range(1, n_lags + 1)]
    return np.concatenate(past, axis=1), block[n_lags:]


def _ridge(rows: Sequence[tuple[Matrix, Matrix]], n_rows: int) -> Matrix:
    """Weights (L * C, C) with the penalty that foretells the last part of the time best."""
    seen, n_seen, unseen = [], 0, []
    for past, now in rows:
        n = min(len(past), max(0, round((1 - HELD_OUT) * n_rows) - n_seen))
        n_seen += n
        seen.append((past[:n], now[:n]))
        unseen.append((past[n:], now[n:]))
    part, rest = _products(seen), _products(unseen)
    errors = []
    for penalty in PENALTIES:
        weight = _solved(part, n_seen * penalty)
        errors.append(float(np.sum(weight * (rest[0] @ weight - 2 * rest[1]))))  # but for what no weight changes
    return _solved((part[0] + rest[0], part[1] + rest[1]), n_rows * PENALTIES[int(np.argmin(errors))])


def _products(rows: Sequence[tuple[Matrix, Matrix]]) -> tuple[Matrix, Matrix]:
    both = sum(past.T @ past for past, _ in rows), sum(past.T @ now for past, now in rows)
    return np.asarray(both[0]), np.asarray(both[1])


def _solved(products: tuple[Matrix, Matrix], penalty: float) -> Matrix:
    return np.asarray(np.linalg.solve(products[0] + penalty * np.eye(len(products[0])), products[1]))
