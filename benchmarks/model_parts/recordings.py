"""Recordings of areas whose pathways are known, drawn by number, for estimates that train nothing.

    linear     six areas of four channels, a memory and noise of their own, nine pathways; every channel is recorded
    areas      `sets.areas`: 16 of 40 units of each of six areas, nine pathways
    systems    `pathway_systems`: 20 of 30 units of each of six areas, six pathways

The chaotic ones are seen by the rates that draw the spikes, and by the spikes.

Shapes: T bins, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import pathway_systems, sets
from .sets import TRAIN, Matrix, Trials

N_LAGS = 8  # beyond the longest delay
Delays = dict[tuple[str, str], int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """blocks: of (T, C). areas: (C,). true: delays in bins."""

    kind: str
    blocks: list[Matrix]
    areas: tuple[str, ...]
    true: Delays


def recordings(number: int, n_trials: int) -> Iterator[Recorded]:
    """Every kind; so many trials of `systems`."""
    for noise in (0.0, 0.3, 1.0):
        yield _linear(number, noise)
    yield from _of_trials("areas", sets.areas(seed=number))
    yield from _of_trials("systems", pathway_systems.recorded(pathway_systems.drawn(number), n_trials))


def short_recordings(number: int, n_trials: int) -> Iterator[Recorded]:
    """Of the chaotic kinds, so many trials, of which 7 of 10 are seen."""
    yield from _of_trials(f"areas, {n_trials} trials", sets.areas(n_trials, seed=number))
    system = pathway_systems.drawn(number)
    yield from _of_trials(f"systems, {n_trials} trials", pathway_systems.recorded(system, n_trials))


def _of_trials(kind: str, trials: Trials) -> Iterator[Recorded]:
    true, seen = {(s, t): d for s, t, d, _ in trials.pathways}, trials.of(TRAIN)
    yield Recorded(kind=f"{kind}, rates", blocks=list(trials.rates[seen]), areas=trials.area, true=true)
    yield Recorded(kind=f"{kind}, spikes", blocks=list(np.sqrt(trials.counts[seen])), areas=trials.area, true=true)


def _linear(number: int, noise: float, n_areas: int = 6, size: int = 4, n_bins: int = 20_000) -> Recorded:
    """noise: standard deviation of what measuring adds, in those of the channels."""
    rng = np.random.default_rng([number, 23])
    pairs = [(s, t) for s in range(n_areas) for t in range(n_areas) if s < t]  # no loops: it is stable
    ends = [pairs[i] for i in rng.permutation(len(pairs))[:9]]
    delays = [int(d) for d in rng.integers(1, pathway_systems.LONGEST + 1, len(ends))]
    across = 0.3 * rng.normal(0, 1 / np.sqrt(size), (len(ends), size, size))
    x = rng.standard_normal((n_bins, n_areas, size))
    for t in range(pathway_systems.LONGEST, n_bins):
        x[t] += 0.8 * x[t - 1]
        for (source, target), delay, weight in zip(ends, delays, across, strict=True):
            x[t, target] += weight @ x[t - delay, source]
    shown = x.reshape(n_bins, -1)
    shown = shown + noise * shown.std(axis=0) * rng.standard_normal(shown.shape)
    areas = tuple(f"A{a}" for a in range(n_areas) for _ in range(size))
    true = {(f"A{s}", f"A{t}"): d for (s, t), d in zip(ends, delays, strict=True)}
    return Recorded(kind=f"linear, noise {noise:g}", blocks=[shown], areas=areas, true=true)
