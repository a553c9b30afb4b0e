"""How far estimated delays are from the true ones, system by system; nothing is trained.

Recordings are those of `recordings.py`. Errors are in bins, over true pathways: of those whose delay is told ("told")
and of the lag that tells most, told or not ("peak"). Beside them, what needs no estimate: the system's mean delay for
every pathway ("mean"; "mean of those" that are told), and its delays dealt out to its pathways by chance ("by chance",
the mean over all ways to deal). Intervals are over systems that have such a pathway.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.delays import delays_of, lag_profile
from neuroloom.pipeline.runs.lagged import lagged_power
from neuroloom.pipeline.runs.past import regressions

from .intervals import interval
from .recordings import N_LAGS, Recorded, recordings
from .sets import Matrix

WAYS = ("told", "mean of those", "peak", "mean", "by chance")


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
    told = regressions(recorded.blocks, N_LAGS)
    profile = lag_profile(told, recorded.areas, names)
    pairs = ~np.eye(len(names), dtype=np.bool_)
    power = lagged_power(told, recorded.areas, names).value[pairs]
    kept = np.zeros(power.size, dtype=np.bool_)
    kept[np.argsort(-power)[: len(recorded.true)]] = True
    true = np.array([[recorded.true.get((s, t), np.nan) for t in names] for s in names])[pairs]
    peak = profile.value.argmax(axis=0)[pairs] + 1.0
    return Found(told=delays_of(profile)[pairs], peak=peak, true=true, kept=kept)


def show(numbers: list[int], n_trials: int) -> None:
    """A table for all true pathways, one for those that are kept."""
    found: dict[str, list[Found]] = {}
    for recorded in (one for number in numbers for one in recordings(number, n_trials)):
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
