"""What `lagged` is set beside: the size of the weights of one ridge regression on the past of all channels.

    strength of a -> b = root of the mean square of W from channels of a to channels of b, summed over lags

One penalty for all the time, the one that foretells its last fifth best from the rest.

Shapes: T bins, C channels, A areas, L lags.
"""

from __future__ import annotations

import numpy as np

from .sets import Matrix

PENALTIES = (1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # per row, of standardised activity
SEEN = 0.8


def weight_size(blocks: list[Matrix], areas: tuple[str, ...], names: list[str], n_lags: int) -> Matrix:
    """Of every pathway, (A, A), source first."""
    whole = np.concatenate(blocks)
    scaled = [(block - whole.mean(axis=0)) / whole.std(axis=0) for block in blocks]
    past = np.concatenate([_past(block, n_lags) for block in scaled])
    now = np.concatenate([block[n_lags:] for block in scaled])
    n_seen = round(SEEN * len(past))
    part = past[:n_seen].T @ past[:n_seen], past[:n_seen].T @ now[:n_seen]
    errors = [np.sum((now[n_seen:] - past[n_seen:] @ _ridge(*part, n_seen * one)) ** 2) for one in PENALTIES]
    penalty = len(past) * PENALTIES[int(np.argmin(errors))]
    weight = _ridge(past.T @ past, past.T @ now, penalty).reshape(n_lags, len(areas), len(areas))
    member = np.array([[area == name for area in areas] for name in names], dtype=np.float64)
    member /= member.sum(axis=1, keepdims=True)
    return np.asarray(np.sqrt(member @ (weight**2).sum(axis=0) @ member.T))


def _past(block: Matrix, n_lags: int) -> Matrix:
    return np.concatenate([block[n_lags - lag : len(block) - lag] for lag in range(1, n_lags + 1)], axis=1)


def _ridge(of_past: Matrix, with_next: Matrix, penalty: float) -> Matrix:
    return np.asarray(np.linalg.solve(of_past + penalty * np.eye(len(of_past)), with_next))
