"""Two devices wrote down the same codes: the lag at which the codes agree, where their moments alone cannot tell.

A task with a fixed pace repeats itself at every trial; what it shows does not. Codes may be equal ("S 11" and "11") or
stand for each other ("S 11" and "LEFT"): then one must tell the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.clocks._pulse_matching import Search, mutual_nearest

PART = 150  # coded moments that are laid over the others at once
N_PARTS = 4
MOST_LAGS = 400
LEAST_SCORE = 8.0  # moments beyond what chance agrees on
MAX_RIVAL = 0.6
PER_MAPPED_CODE = 5  # moments for each code, before one device's code may be said to stand for the other's


@dataclass(frozen=True, kw_only=True)
class CodeLag:
    """At source time `at_s` the target is `lag_s` later, known to `width_s`."""

    at_s: float
    lag_s: float
    width_s: float


def lag_by_codes(
    a_s: FloatArray, a_codes: Sequence[str], b_s: FloatArray, b_codes: Sequence[str], search: Search
) -> CodeLag | None:
    """Where the codes of two devices agree best, None where no lag stands out."""
    names = sorted({*a_codes, *b_codes})
    a, b = (np.array([names.index(code) for code in codes]) for codes in (a_codes, b_codes))
    best: tuple[float, CodeLag] | None = None
    for first in np.unique(np.linspace(0, max(a_s.size - PART, 0), N_PARTS).astype(int)):
        part = slice(first, first + PART)
        found = _of_part(a_s[part], a[part], b_s, b, search)
        if found is not None and (best is None or found[0] > best[0]):
            best = found
    return best[1] if best is not None else None


def agreement(a_codes: Sequence[str], b_codes: Sequence[str]) -> tuple[float, float] | None:
    """Share of matched moments whose codes agree, and what chance would give; None where codes cannot be compared.

    Equal codes, or the best translation of one device's codes into the other's.
    """
    names = sorted({*a_codes, *b_codes})
    if len(set(a_codes)) < 2 or len(set(b_codes)) < 2 or len(a_codes) < PER_MAPPED_CODE:
        return None
    a, b = (np.array([names.index(code) for code in codes]) for codes in (a_codes, b_codes))
    options = []
    if len(set(a_codes) & set(b_codes)) > 1:
        options.append((float((a == b).mean()), _chance(a, b, len(names))))
    for one, other in ((a, b), (b, a)):
        n_codes = np.unique(one).size
        if a.size >= PER_MAPPED_CODE * n_codes:
            table = _table(one, other, len(names))
            options.append((float(table.max(axis=1).sum() / a.size), float(table.sum(axis=0).max() / a.size)))
    return max(options, key=lambda option: option[0] - option[1]) if options else None


def _of_part(
    a_s: FloatArray, a: NDArray[np.intp], b_s: FloatArray, b: NDArray[np.intp], search: Search
) -> tuple[float, CodeLag] | None:
    at_s = float(a_s.mean())
    width_s = search.max_drift * float(a_s[-1] - a_s[0]) + 2 * search.jitter_s
    n_codes = int(max(a.max(), b.max())) + 1
    equal = np.intersect1d(a, b).size > 1
    lags = _lags(a_s, a, b_s, b, width_s, equal=equal)
    bounds_s = search.bounds_s(at_s)
    if bounds_s is not None:
        lags = lags[(lags >= bounds_s[0]) & (lags <= bounds_s[1])]
    scored = []
    for lag_s in lags:
        i, j = mutual_nearest(a_s + lag_s, b_s, width_s)
        if i.size:
            scored.append((_score(a[i], b[j], n_codes, equal=equal), float(np.median(b_s[j] - a_s[i]))))
    scored.sort(reverse=True)
    if not scored or scored[0][0] < LEAST_SCORE:
        return None
    score, lag_s = scored[0]
    rivals = [other for other, at in scored[1:] if abs(at - lag_s) > 2 * width_s]
    if rivals and rivals[0] > MAX_RIVAL * score:
        return None
    return score, CodeLag(at_s=at_s, lag_s=lag_s, width_s=width_s)


def _lags(
    a_s: FloatArray, a: NDArray[np.intp], b_s: FloatArray, b: NDArray[np.intp], width_s: float, *, equal: bool
) -> FloatArray:
    """Lags at which most pairs lie (of one code, where the codes are equal; rare ones count more), best first."""
    weight = -np.log2(np.bincount(b, minlength=int(max(a.max(), b.max())) + 1) / b.size + 1e-9)
    parts, weights = [], []
    for k in range(a_s.size):
        mine = b_s[b == a[k]] if equal else b_s
        parts.append(mine - a_s[k])
        weights.append(np.full(mine.size, max(weight[a[k]], 0.1) if equal else 1.0))
    lags = np.concatenate(parts)
    order = np.argsort(lags, kind="stable")
    lags, summed = lags[order], np.concatenate([[0.0], np.cumsum(np.concatenate(weights)[order])])
    last = np.searchsorted(lags, lags + width_s, side="right")
    totals = summed[last] - summed[:-1]
    found: list[float] = []
    for k in np.argsort(-totals, kind="stable")[: 40 * MOST_LAGS]:
        lag_s = float(np.median(lags[k : last[k]]))
        if all(abs(lag_s - other) > width_s for other in found):
            found.append(lag_s)
        if len(found) == MOST_LAGS:
            break
    return np.array(found)


def _score(a: NDArray[np.intp], b: NDArray[np.intp], n_codes: int, *, equal: bool) -> float:
    """How many moments agree beyond chance: of equal codes, else by what one code tells of the other."""
    if equal:
        return float((a == b).sum() - a.size * _chance(a, b, n_codes))
    table = _table(a, b, n_codes) / a.size
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    known = table > 0
    bits = float((table[known] * np.log2(table[known] / expected[known])).sum())
    rows, columns = (table.sum(axis=axis) > 0 for axis in (1, 0))
    bias = (rows.sum() - 1) * (columns.sum() - 1) / (2 * np.log(2) * a.size)  # Miller 1955
    return float(a.size * (bits - bias))


def _chance(a: NDArray[np.intp], b: NDArray[np.intp], n_codes: int) -> float:
    shares = [np.bincount(codes, minlength=n_codes) / codes.size for codes in (a, b)]
    return float(shares[0] @ shares[1])


def _table(a: NDArray[np.intp], b: NDArray[np.intp], n_codes: int) -> FloatArray:
    return np.bincount(a * n_codes + b, minlength=n_codes**2).reshape(n_codes, n_codes).astype(np.float64)
