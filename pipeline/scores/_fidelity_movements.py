"""Measures of movements; see `_fidelity_measures.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.scores._fidelity_measures import (
    LEAST,
    N_BINS,
    Matrix,
    Measure,
    Pairs,
    Pieces,
    Whole,
    drift,
    judged,
    measured,
    ratio,
    told,
)

FEWEST_REPEATS = 3  # of a kind of event


@dataclass(frozen=True, kw_only=True, eq=False)
class Movements:
    """Bins of numbers. said, chance, variance, done: (N, C); chance: how likely a value up to the one done was.

    known: (N, C). repeats: per kind of event stretches of bins that begin with one, (K, T) bin numbers.
    """

    said: Matrix
    chance: Matrix
    variance: Matrix
    done: Matrix
    known: NDArray[np.bool_]
    piece: Whole
    time_s: Matrix
    repeats: Sequence[Whole] = ()
    channel_names: Sequence[str] = ()


def of_movements(moves: Movements, seed: int = 0) -> list[Measure]:
    """All measures of movements; values are in standard deviations of the training time."""
    pieces = Pieces(moves.piece, seed)
    error, known = moves.done - moves.said, moves.known
    expected = np.maximum(moves.variance, LEAST)
    square = np.where(known, error**2 / expected, 0.0)
    found = [told("agreement", "R2", _r2(pieces, moves))]
    off = pieces.means(square, known).mean(axis=1)
    found.append(measured("agreement", "error over the expected one, squared", off, np.ones_like(off)))
    for share in (0.5, 0.9):
        inside = np.abs(moves.chance - 0.5) <= share / 2
        covered = pieces.means(inside.astype(np.float64), known).mean(axis=1)
        name = f"falls into the middle {share:.0%} of what it expects"
        measure = measured("calibration", name, covered, np.full_like(covered, share))
        # Where all lies inside, pieces do not differ at all; an exact copy would be that far off.
        exact = float(np.sqrt(share * (1 - share) / max(1, known.sum())))
        found.append(replace(measure, error=max(measure.error, exact)))
    found += _repeats_of_movements(pieces, moves)
    found.append(_slope(pieces, moves))
    bias_RC = pieces.means(-error, known)
    for c, name in enumerate(moves.channel_names):
        found.append(measured("errors", "bias, SD", bias_RC[:, c], np.zeros(len(bias_RC)), what=name))
    any_known = known.any(axis=1)
    mean_square = ratio(square.sum(axis=1), known.sum(axis=1).astype(np.float64))
    some = Pieces(moves.piece[any_known], seed)
    name = "error over the expected one, gained over the time"
    found.append(drift(some, mean_square[any_known], moves.time_s[any_known], name))
    return judged(found, pieces.n, int(any_known.sum()))


def movements_reliability(moves: Movements) -> Matrix:
    """Share of values below each tenth of what was expected: expected, found, how many, (N_BINS - 1, 3)."""
    chance = moves.chance[moves.known]
    levels = np.linspace(0, 1, N_BINS + 1)[1:-1]
    return np.array([[level, (chance <= level).mean() if chance.size else np.nan, chance.size] for level in levels])


def _r2(pieces: Pieces, moves: Movements) -> Matrix:
    y, known = moves.done, moves.known
    n, total, squares, error = (
        pieces.sums(np.where(known, v, 0.0)) for v in (np.ones_like(y), y, y**2, (y - moves.said) ** 2)
    )
    return np.asarray(np.nanmean(1 - ratio(error, squares - ratio(total**2, n)), axis=1))


def _slope(pieces: Pieces, moves: Movements) -> Measure:
    """How far the person moves where the copy expects a move of one: below 1 it exaggerates, above it is timid."""
    x, y, known = moves.said, moves.done, moves.known
    n, sx, sy, sxy, sxx = (pieces.sums(np.where(known, v, 0.0)) for v in (np.ones_like(x), x, y, x * y, x**2))
    together, alone = (sxy - ratio(sx * sy, n)).sum(axis=1), (sxx - ratio(sx**2, n)).sum(axis=1)
    moved = ratio(together, alone)
    return measured("errors", "the person's move per move it expects", moved, np.ones_like(moved))


def _repeats_of_movements(pieces: Pieces, moves: Movements) -> Iterator[Measure]:
    """What two stretches after the same kind of event have in common, of all that happens in one."""
    pairs, power = [Pairs(pieces), Pairs(pieces)], np.zeros((2, len(pieces.weights)))
    n = np.zeros(len(pieces.weights))
    sides = [(values - _means_of(values, moves.known), own) for values, own in
             ((moves.said, moves.variance), (moves.done, np.zeros_like(moves.done)))]  # fmt: skip
    for bins in moves.repeats:
        whole = bins[moves.known[bins].all(axis=(1, 2))] if len(bins) else bins
        if len(whole) < FEWEST_REPEATS:
            continue
        n += pieces.sums(np.ones(len(whole)), whole[:, 0])
        for i, (values, own) in enumerate(sides):
            stretch = values[whole].reshape(len(whole), -1)
            pairs[i].add(stretch, whole[:, 0])
            power[i] += pieces.sums((stretch**2).sum(axis=1) + own[whole].sum(axis=(1, 2)), whole[:, 0])
    if pairs[0].any:
        copy, person = (ratio(pairs[i].mean(), ratio(power[i], n)) for i in (0, 1))
        yield measured("consistency", "what repeats of an event have in common", copy, person)


def _means_of(values: Matrix, known: NDArray[np.bool_]) -> Matrix:
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))
