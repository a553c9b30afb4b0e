"""Runs of samples: first index and the one after the last, as rows of an array (R, 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Runs = NDArray[np.int64]


def runs_of(flags: NDArray[np.bool_]) -> Runs:
    """Every run of True in flags of shape (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2).astype(np.int64)


def merged(runs: Runs, apart: int = 0) -> Runs:
    """Runs in order, those that overlap, touch, or lie fewer than `apart` samples from the one before made one."""
    if not len(runs):
        return runs.reshape(-1, 2)
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    reached = np.maximum.accumulate(runs[:, 1])
    firsts = np.flatnonzero(np.concatenate([[True], runs[1:, 0] - reached[:-1] > max(apart - 1, 0)]))
    ends = np.append(firsts[1:], len(runs)) - 1
    return np.stack([runs[firsts, 0], reached[ends]], axis=1)
