"""What the past tells of the next bin: regressions of every channel on the past of all, one for each part of the time.

    y(t) = sum over lags l of W(l) y(t - l)        a linear autoregression of all channels, with a ridge penalty

    smooth    W with a penalty that keeps noise out, more of it where a part is short: how much is sent (`lagged.py`)
    sharp     W with hardly one, for a penalty smears lags into each other: when it is sent (`delays.py`)

Parts of the time are estimated by themselves, so that their products are free of noise (`jackknife.py`). Rows of the
past are never laid out whole: products are summed a stretch at a time, one part after the other.

Shapes: T bins, C channels, L lags, D = L * C what the past has, K parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neuroloom.pipeline.runs.jackknife import Matrix

PARTS = 8
SMOOTH, SHARP = 0.3, 1e-4  # penalties per row, of standardised activity; the latter is just enough to solve
STEEPNESS = 2  # power of D over the rows of a part by which the smooth penalty grows where there are fewer rows than D
FEWEST_ROWS = 50
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Regressions:
    """smooth, sharp: weights of each part, (K, L, C, C), the source first. past: mean product of the past with itself,
    (D, D), over all the time."""

    smooth: Matrix
    sharp: Matrix
    past: Matrix


def regressions(blocks: Sequence[Matrix], n_lags: int) -> Regressions:
    """Of standardised activity; no lag reaches across from one block to the next.

    blocks: stretches of activity without gaps, (T, C), in any unit.
    Raises ValueError where less than `FEWEST_ROWS` bins have all of their past.
    """
    n_rows = sum(max(0, len(block) - n_lags) for block in blocks)
    if n_rows < FEWEST_ROWS:
        raise ValueError(f"{n_rows} bins with {n_lags} bins before them; {FEWEST_ROWS} or more are wanted")
    scaled = _standardised(blocks)
    n_channels = scaled[0].shape[1]
    past = np.zeros((n_lags * n_channels,) * 2)
    smoothing = SMOOTH * max(1.0, len(past) * PARTS / n_rows) ** STEEPNESS
    smooth: list[Matrix] = []
    sharp: list[Matrix] = []
    for first, last in pairwise(-(-n_rows * part // PARTS) for part in range(PARTS + 1)):
        of_past, with_next = _products(scaled, n_lags, first, last)
        past += of_past / n_rows
        for weights, penalty in ((smooth, smoothing), (sharp, SHARP)):
            solved = np.linalg.solve(of_past + (last - first) * penalty * np.eye(len(of_past)), with_next)
            weights.append(np.asarray(solved.reshape(n_lags, n_channels, n_channels), dtype=np.float64))
    return Regressions(smooth=np.stack(smooth), sharp=np.stack(sharp), past=past)


def membership(areas: Sequence[str], names: Sequence[str]) -> Matrix:
    """What averages over the channels of each area, (A, C)."""
    member = np.array([[area == name for area in areas] for name in names], dtype=np.float64)
    return np.asarray(member / np.maximum(member.sum(axis=1, keepdims=True), 1))


def _standardised(blocks: Sequence[Matrix]) -> list[Matrix]:
    n_bins = sum(map(len, blocks))
    mean = sum(block.sum(axis=0) for block in blocks) / n_bins
    spread = np.sqrt(sum(((block - mean) ** 2).sum(axis=0) for block in blocks) / n_bins)
    scale = np.where(spread > 1e-9, spread, np.inf)  # what never changes says nothing
    return [(block - mean) / scale for block in blocks]


def _products(blocks: Sequence[Matrix], n_lags: int, first: int, last: int) -> tuple[Matrix, Matrix]:
    """Of the past with itself, (D, D), and with what came next, (D, C), over these rows of all that have a past."""
    n_channels = blocks[0].shape[1]
    of_past, with_next = np.zeros((n_lags * n_channels,) * 2), np.zeros((n_lags * n_channels, n_channels))
    before = 0
    for block in blocks:
        n_rows = max(0, len(block) - n_lags)
        for start in range(max(first - before, 0), min(last - before, n_rows), ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, last - before, n_rows)
            lags = range(1, n_lags + 1)
            past = np.concatenate([block[n_lags - lag + start : n_lags - lag + stop] for lag in lags], axis=1)
            of_past += past.T @ past
            with_next += past.T @ block[n_lags + start : n_lags + stop]
        before += n_rows
    return of_past, with_next
