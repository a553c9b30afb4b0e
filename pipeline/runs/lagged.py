"""Which areas tell what another does next: a regression of every channel on the past of all channels of all areas.

    y(t) = sum over lags l of W(l) y(t - l)        ridge; its penalty chosen on the last part of the time
    strength of a -> b = root of the mean square of W from channels of a to channels of b, summed over lags

A linear multivariate autoregression, and what Granger (1969) calls a cause: what the target's own past and all other
recorded areas do not tell already. It has a direction, for every channel speaks for itself where an average over an
area would cancel. What it is not: proof of an axon (an area nobody recorded may drive both). At which lag a pathway
tells most, where that can be told, is `delays.py`.

Shapes: T bins, C channels, A areas, L lags.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Rows = tuple[Matrix, Matrix]
PENALTIES = (1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # per row, of standardised activity
HELD_OUT = 0.2
FEWEST_ROWS = 50


def lagged_strength(blocks: Sequence[Matrix], areas: Sequence[str], names: Sequence[str], n_lags: int) -> Matrix:
    """Strength of every pathway between areas, (A, A), source first, 0 on the diagonal.

    blocks: stretches of activity without gaps, (T, C), in any unit. areas: of every channel, "" for none: such a
    channel explains and is not explained to any area. names: the areas, in the order of the result.
    Raises ValueError where less than `FEWEST_ROWS` bins have all of their past.
    """
    weight_LCC = _ridge(rows_of(blocks, n_lags)).reshape(n_lags, len(areas), len(areas))
    member = membership(areas, names)
    strength = np.sqrt(member @ (weight_LCC**2).sum(axis=0) @ member.T)
    np.fill_diagonal(strength, 0)
    return np.asarray(strength)


def membership(areas: Sequence[str], names: Sequence[str]) -> Matrix:
    """What averages over the channels of each area, (A, C)."""
    member = np.array([[area == name for area in areas] for name in names], dtype=np.float64)
    return np.asarray(member / np.maximum(member.sum(axis=1, keepdims=True), 1))


def rows_of(blocks: Sequence[Matrix], n_lags: int) -> list[Rows]:
    """Standardised, of every block the past of each bin that has one, (T - L, L * C), and the bin itself, (T - L, C).

    Raises ValueError where less than `FEWEST_ROWS` bins have all of their past.
    """
    whole = np.concatenate(blocks)
    mean, spread = whole.mean(axis=0), whole.std(axis=0)
    scale = np.where(spread > 1e-9, spread, np.inf)  # what never changes says nothing
    rows = [_rows((block - mean) / scale, n_lags) for block in blocks if len(block) > n_lags]
    n_rows = sum(len(past) for past, _ in rows)
    if n_rows < FEWEST_ROWS:
        raise ValueError(f"{n_rows} bins with {n_lags} bins before them; {FEWEST_ROWS} or more are wanted")
    return rows


def _rows(block: Matrix, n_lags: int) -> Rows:
    past = [block[n_lags - lag : len(block) - lag] for lag in range(1, n_lags + 1)]
    return np.concatenate(past, axis=1), block[n_lags:]


def _ridge(rows: Sequence[Rows]) -> Matrix:
    """Weights (L * C, C) with the penalty that foretells the last part of the time best."""
    n_rows = sum(len(past) for past, _ in rows)
    seen, n_seen, unseen = [], 0, []
    for past, now in rows:
        n = min(len(past), max(0, round((1 - HELD_OUT) * n_rows) - n_seen))
        n_seen += n
        seen.append((past[:n], now[:n]))
        unseen.append((past[n:], now[n:]))
    part, rest = products(seen), products(unseen)
    errors = []
    for penalty in PENALTIES:
        weight = solved(part, n_seen * penalty)
        errors.append(float(np.sum(weight * (rest[0] @ weight - 2 * rest[1]))))  # but for what no weight changes
    return solved((part[0] + rest[0], part[1] + rest[1]), n_rows * PENALTIES[int(np.argmin(errors))])


def products(rows: Sequence[Rows]) -> tuple[Matrix, Matrix]:
    """Of the past with itself, (L * C, L * C), and with what came next, (L * C, C)."""
    both = sum(past.T @ past for past, _ in rows), sum(past.T @ now for past, now in rows)
    return np.asarray(both[0]), np.asarray(both[1])


def solved(products: tuple[Matrix, Matrix], penalty: float) -> Matrix:
    """Weights of a ridge regression, (L * C, C)."""
    return np.asarray(np.linalg.solve(products[0] + penalty * np.eye(len(products[0])), products[1]))
