"""What the most similar training trials did: no model at all, and beside one.

Where every condition is repeated, as in the sets of one area, a trial is told best by others of its condition, which
no label names. Everything is chosen on validation trials.

Shapes: K trials, T bins, C units, F numbers that say how a trial went.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .sets import TEST, TRAIN, VALIDATION, Matrix, Trials

HOW_MANY, SMOOTHING_BINS = (5, 10, 20, 40), (2.0, 4.0, 8.0)
SHARES = tuple(i / 10 for i in range(11))
LEAST = 1e-4  # spikes per bin


def of_heard(trials: Trials) -> Matrix:
    """How each trial went by the units that are heard, smoothed, (K, F)."""
    heard = np.sqrt(trials.counts[:, :, ~trials.held_out])
    return np.asarray(gaussian_filter1d(heard, 3.0, axis=1).reshape(len(heard), -1))


def neighbours(trials: Trials, went: Matrix) -> Matrix:
    """The mean of what held-out units did in the training trials that went most alike, (K, T, C).

    went: (K, F). How many trials, how smooth, and how much of it beside each unit's mean is chosen. Training trials
    are left as nan.
    """
    train, counts = trials.of(TRAIN), trials.counts[:, :, trials.held_out]
    asked = trials.of(VALIDATION, TEST)
    nearest = _nearest(went[asked], went[train], max(HOW_MANY))
    mean = np.broadcast_to(counts[train].mean(axis=(0, 1)), counts.shape)
    candidates = []
    for n, smoothing in product(HOW_MANY, SMOOTHING_BINS):
        found = np.full(counts.shape, np.nan)
        smooth = gaussian_filter1d(counts[train], smoothing, axis=1, mode="nearest")
        for k, rows in zip(np.flatnonzero(asked), nearest[:, :n], strict=True):
            found[k] = smooth[rows].mean(axis=0)
        candidates.append(mixed(trials, found, mean))
    return min(candidates, key=lambda one: _loss(trials, one))


def mixed(trials: Trials, one: Matrix, other: Matrix) -> Matrix:
    """Both together, each with its share."""
    return min((share * one + (1 - share) * other for share in SHARES), key=lambda both: _loss(trials, both))


def _nearest(asked: Matrix, known: Matrix, n: int) -> np.ndarray:
    """Rows of the known trials, the nearest first, (K, n)."""
    middle = known.mean(axis=0)
    a, b = asked - middle, known - middle
    distance = (b**2).sum(axis=1) - 2 * a @ b.T
    return np.argsort(distance, axis=1)[:, :n]


def _loss(trials: Trials, rates: Matrix) -> float:
    """Of Poisson, on validation trials."""
    part = trials.of(VALIDATION)
    rate = np.maximum(rates[part], LEAST)
    return float((rate - trials.counts[part][:, :, trials.held_out] * np.log(rate)).sum())
