"""Matched pulses to a fit that is their own, and clocks that jump: a device that lost samples goes on at another lag.

    matched pulses -> fit -> matched along the fit, closer -> until nothing changes
    a long run of pulses that fit nowhere along it, but together at another lag -> a part of its own, with its own fit

Design rationale: a jump lies somewhere between the last pulse before it and the first after it. Between these two the
map is a straight, steep line; `ClockMap.covers` does not vouch for it, and a note tells of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.clock_fit import ClockFit, fit_clock
from neuroloom.ingest.timebase import ClockMap, FloatArray
from neuroloom.pipeline.clocks._pulse_matching import (
    STRETCH,
    Pairs,
    Search,
    along,
    followed,
    mutual_nearest,
    path,
    running_median,
    votes,
)

ROUNDS = 6
SHORTEST_RUN = STRETCH // 2
SHARE = 0.5  # of a run's pulses must fit together at another lag
MOST_JUMPS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Matched pulses between two jumps, and their fit."""

    pairs: Pairs
    fit: ClockFit

    def points(self, a: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Source and target times of its knots, from its first to its last pulse."""
        ends_s = a[self.pairs[0][[0, -1]]]
        inner_s = [at for at, _ in self.fit.knots if ends_s[0] < at < ends_s[1]]
        at_s = np.array([ends_s[0], *inner_s, ends_s[1]])
        return at_s, at_s + self.fit.lag(at_s)


def fit_pairs(a: FloatArray, b: FloatArray, pairs: Pairs, jitter_s: float, fewest: int) -> tuple[Pairs, ClockFit]:
    """Fit, match along the fit, tighten, until nothing changes."""
    i, j = pairs
    fit, tolerance_s = fit_clock(a[i], b[j] - a[i]), 6 * jitter_s
    for _ in range(ROUNDS):
        spread_s = 1.4826 * float(np.median(np.abs(b[j] - a[i] - fit.lag(a[i]))))
        tolerance_s = min(tolerance_s, max(5 * spread_s, 1e-5))
        matched = mutual_nearest(a + fit.lag(a), b, tolerance_s)
        if matched[0].size < fewest or (np.array_equal(matched[0], i) and np.array_equal(matched[1], j)):
            break
        i, j = matched
        fit = fit_clock(a[i], b[j] - a[i])
    return (i, j), fit


def with_jumps(
    a: FloatArray, b: FloatArray, pairs: Pairs, clock: ClockMap, search: Search, fewest: int
) -> tuple[Pairs, ClockMap]:
    """The pairs and the map, with every part that fits at another lag put where it fits; as they came without any."""
    runs = _alone(a, b, pairs, clock)
    parts = [found for run in runs[:MOST_JUMPS] if (found := _elsewhere(a, b, run, search, fewest)) is not None]
    if not parts:
        return pairs, clock
    parts += _kept(a, b, pairs, parts, search, fewest)
    parts.sort(key=lambda part: int(part.pairs[0][0]))
    source_s, target_s = (np.concatenate(columns) for columns in zip(*(p.points(a) for p in parts), strict=True))
    if (np.diff(source_s) <= 0).any() or (np.diff(target_s) <= 0).any():
        return pairs, clock
    main = max(parts, key=lambda part: part.pairs[0].size).fit
    line = replace(
        clock, offset_s=main.offset_s, drift_ppm=main.drift_ppm, anchor_s=main.anchor_s, knots=(),
        tried=main.tried, wander_ppm=main.wander_ppm,
    )  # fmt: skip
    notes = tuple(_told(a, clock.source, *two) for two in pairwise(parts))
    joined = tuple(np.concatenate([part.pairs[k] for part in parts]) for k in (0, 1))
    return (joined[0], joined[1]), replace(line.through_points(source_s, target_s), notes=notes)


def _alone(a: FloatArray, b: FloatArray, pairs: Pairs, clock: ClockMap) -> list[slice]:
    """Long runs of pulses of `a`, where both were recorded, most of which fit nothing."""
    if a.size < 2 * SHORTEST_RUN:
        return []
    matched = np.zeros(a.size, dtype=np.bool_)
    matched[pairs[0]] = True
    mapped = clock.seconds(a)
    missing = (~matched & (mapped >= b[0]) & (mapped <= b[-1])).astype(np.float64)
    alone = running_median(missing, SHORTEST_RUN // 2) > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], alone.astype(int), [0]])))
    runs = [slice(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]
    return [run for run in runs if run.stop - run.start >= SHORTEST_RUN]


def _elsewhere(a: FloatArray, b: FloatArray, run: slice, search: Search, fewest: int) -> _Part | None:
    """The run's pulses at the lag where they fit together, if they do."""
    mine, anywhere = a[run], replace(search, prior_s=None)
    found = votes(mine, b, anywhere)
    if not found.counts.size or found.counts.max() < SHARE * min(mine.size, STRETCH):
        return None
    i, j = followed(mine, b, along(mine, *path(found, anywhere)), anywhere)
    if i.size < max(fewest, SHARE * mine.size):
        return None
    pairs, fit = fit_pairs(mine, b, (i, j), search.jitter_s, fewest)
    return _Part(pairs=(pairs[0] + run.start, pairs[1]), fit=fit)


def _kept(a: FloatArray, b: FloatArray, pairs: Pairs, others: list[_Part], search: Search, fewest: int) -> list[_Part]:
    """What the others leave of the first pairs: one part before, between and after them."""
    bounds = sorted((int(part.pairs[0][0]), int(part.pairs[0][-1])) for part in others)
    edges = [-1, *(edge for bound in bounds for edge in bound), a.size]
    kept = []
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        inside: NDArray[np.bool_] = (pairs[0] > low) & (pairs[0] < high)
        if inside.sum() >= fewest:
            i, j = pairs[0][inside], pairs[1][inside]
            kept.append(_Part(pairs=(i, j), fit=fit_clock(a[i], b[j] - a[i])))
    return kept


def _told(a: FloatArray, source: str, before: _Part, after: _Part) -> str:
    at_s = float(a[before.pairs[0][-1]])
    jump_s = float((after.fit.lag(np.array([at_s])) - before.fit.lag(np.array([at_s])))[0])
    return (
        f"the clock of {source} jumps by {jump_s:+.3f} s near {at_s:.1f} s of its time: samples were lost there, or a "
        "clock was reset"
    )
