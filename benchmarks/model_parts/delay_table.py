"""How far estimated delays are from the true ones, system by system; nothing is trained.

    linear     six areas of four channels, a memory and noise of their own, nine pathways; every channel is recorded
    areas      `sets.areas`      systems    `pathway_systems`

The chaotic ones are estimated from the rates that draw the spikes, and from the spikes. Errors are in bins, over true
pathways: of those whose delay is told ("told") and of the lag that tells most, told or not ("peak"). Beside them, what
needs no estimate: the system's mean delay for every pathway ("mean"; "mean of those" that are told), and its delays
dealt out to its pathways by chance ("by chance", the mean over all ways to deal). Intervals are over systems that have
such a pathway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.delays import lag_profile
from neuroloom.pipeline.runs.lagged import lagged_strength

from . import pathway_systems, sets
from .intervals import interval
from .sets import TRAIN, Matrix, Trials

N_LAGS = 8
WAYS = ("told", "mean of those", "peak", "mean", "by chance")
Delays = dict[tuple[str, str], int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """blocks: of (T, C). areas: (C,). true: delays in bins."""

    kind: str
    blocks: list[Matrix]
    areas: tuple[str, ...]
    true: Delays


def recordings(numbers: list[int], n_trials: int) -> Iterator[Recorded]:
    """Every kind, for every number of a system."""
    for number in numbers:
        for noise in (0.0, 0.3, 1.0):
            yield _linear(number, noise)
        yield from _of_trials("areas", sets.areas(seed=number))
        yield from _of_trials("systems", pathway_systems.recorded(pathway_systems.drawn(number), n_trials))


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Of one system, of every pair of areas (A * (A - 1),): delay told (NaN: none), lag of the peak, true delay (NaN:
    there is no pathway), whether it is among the strongest, of which as many are kept as truly exist."""

    told: Matrix
    peak: Matrix
    true: Matrix
    kept: NDArray[np.bool_]

    def errors(self, *, kept_only: bool) -> dict[str, Matrix]:
        """In bins, of every true pathway or of each that is kept, too; (E,), of those told fewer."""
        chosen = ~np.isnan(self.true) & (self.kept | (not kept_only))
        true, all_true = self.true[chosen], self.true[~np.isnan(self.true)]
        is_told, of_mean = ~np.isnan(self.told[chosen]), np.abs(all_true.mean() - true)
        return {
            "told": np.abs(self.told[chosen] - true)[is_told],
            "mean of those": of_mean[is_told],
            "peak": np.abs(self.peak[chosen] - true),
            "mean": of_mean,
            "by chance": np.abs(all_true - true[:, None]).mean(axis=1),
        }


def found_in(recorded: Recorded) -> Found:
    """Estimated from all channels, with lags that reach beyond the longest delay."""
    names = list(dict.fromkeys(recorded.areas))
    profile = lag_profile(recorded.blocks, recorded.areas, names, N_LAGS)
    pairs = ~np.eye(len(names), dtype=np.bool_)
    strength = lagged_strength(recorded.blocks, recorded.areas, names, N_LAGS)[pairs]
    kept = np.zeros(strength.size, dtype=np.bool_)
    kept[np.argsort(-strength)[: len(recorded.true)]] = True
    true = np.array([[recorded.true.get((s, t), np.nan) for t in names] for s in names])[pairs]
    peak = profile.power.argmax(axis=0)[pairs] + 1.0
    return Found(told=profile.delay_bins()[pairs], peak=peak, true=true, kept=kept)


def show(numbers: list[int], n_trials: int) -> None:
    """A table for all true pathways, one for those that are kept."""
    found: dict[str, list[Found]] = {}
    for recorded in recordings(numbers, n_trials):
        found.setdefault(recorded.kind, []).append(found_in(recorded))
    for kept_only, title in ((False, "all true pathways"), (True, "true pathways that are kept")):
        print(f"\n{title}; error in bins, mean (95 % interval over systems)")
        print(f"{'':20s}{'told':>12s}" + "".join(f"{way:>23s}" for way in WAYS))
        for kind, systems in found.items():
            errors = [one.errors(kept_only=kept_only) for one in systems]
            told, there = (sum(len(one[what]) for one in errors) for what in ("told", "mean"))
            cells = "".join(f"{interval([e[way].mean() for e in errors if len(e[way])], '.2f'):>23s}" for way in WAYS)
            print(f"{kind:20s}{f'{told} of {there}':>12s}{cells}", flush=True)
    absent = [~np.isnan(one.told[np.isnan(one.true)]) for systems in found.values() for one in systems]
    wrong, n_pairs = sum(map(np.count_nonzero, absent)), sum(map(len, absent))
    print(f"\npairs without a pathway, all kinds together: a delay is told of {wrong} of {n_pairs}")
