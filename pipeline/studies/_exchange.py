"""The exchange rate: how many plain samples one recorded sample is worth.

    M = N_eq / N      N_eq: the plain samples with which behaviour alone reaches the same loss
    G = (hard - loss) / (hard - full)      gain recovered, between behaviour alone and the full clean state

N_eq is read off the curve of behaviour alone, straight between its points over log N. It is never read off beyond the
curve: a loss below its last point is worth "more than" that, one above its first "less than" that.
Intervals come from drawing the seeds anew with replacement, curve and arm together. With three seeds that is a range
over few draws, and no more than that; reports say how many seeds there were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its interval; bound says where the value itself lies beyond what could be measured."""

    value: float
    low: float
    high: float
    bound: Literal["", ">", "<"] = ""

    def __str__(self) -> str:
        return f"{self.bound}{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def times(self, factor: float) -> Estimate:
        """In another unit."""
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor)

    def cells(self, name: str) -> dict[str, Any]:
        """As columns of a table."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high, f"{name}_bound": self.bound}


Curve = Mapping[int, Sequence[float]]


def equivalent(curve: Mapping[int, float], loss: float) -> tuple[float, Literal["", ">", "<"]]:
    """Plain samples with which the curve (samples -> loss) reaches a loss, and whether that is a bound only.

    A curve that rises somewhere counts as flat there: more samples never cost anything to somebody who may leave some
    out.
    """
    sizes = sorted(curve)
    losses = np.minimum.accumulate([curve[n] for n in sizes])
    if loss > losses[0]:
        return float(sizes[0]), "<"
    if loss < losses[-1]:
        return float(sizes[-1]), ">"
    after = int(np.argmax(losses <= loss))
    if after == 0 or losses[after - 1] == losses[after]:
        return float(sizes[after]), ""
    share = (losses[after - 1] - loss) / (losses[after - 1] - losses[after])
    low, high = math.log(sizes[after - 1]), math.log(sizes[after])
    return float(math.exp(low + share * (high - low))), ""


def exchange_rate(curve: Curve, losses: Sequence[float], n: int, *, seed: int = 0) -> Estimate:
    """M of an arm with `n` samples. curve, losses: a loss per seed, in the same order of seeds.

    Raises ValueError where their numbers of seeds differ.
    """
    whole, bound = equivalent({size: float(np.mean(values)) for size, values in curve.items()}, float(np.mean(losses)))

    def drawn(rows: NDArray[np.intp]) -> float:
        means = {size: float(np.mean(np.asarray(values)[rows])) for size, values in curve.items()}
        return equivalent(means, float(np.mean(np.asarray(losses)[rows])))[0] / n

    low, high = interval(drawn, _n_seeds([*curve.values(), losses]), seed=seed)
    return Estimate(value=whole / n, low=low, high=high, bound=bound)


def gain_recovered(hard: Sequence[float], losses: Sequence[float], full: Sequence[float], *, seed: int = 0) -> Estimate:
    """G of an arm; each a loss per seed, in the same order of seeds."""
    parts = [np.asarray(part, dtype=np.float64) for part in (hard, losses, full)]

    def drawn(rows: NDArray[np.intp]) -> float:
        a, b, c = (float(part[rows].mean()) for part in parts)
        return (a - b) / (a - c) if a != c else math.nan

    n_seeds = _n_seeds(parts)
    low, high = interval(drawn, n_seeds, seed=seed)
    return Estimate(value=drawn(np.arange(n_seeds)), low=low, high=high)


def mean_of(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """A mean over seeds."""
    found = np.asarray(values, dtype=np.float64)
    low, high = interval(lambda rows: float(found[rows].mean()), len(found), seed=seed)
    return Estimate(value=float(found.mean()), low=low, high=high)


def interval(statistic: Callable[[NDArray[np.intp]], float], n_seeds: int, *, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap (Efron 1979) over seeds; of one seed both ends are its value."""
    rng = np.random.default_rng([seed, 6])
    drawn = [statistic(rng.integers(0, n_seeds, n_seeds)) for _ in range(DRAWS if n_seeds > 1 else 1)]
    known = [value for value in drawn if math.isfinite(value)]
    if not known:
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _n_seeds(parts: Sequence[Sequence[float] | Doubles]) -> int:
    sizes = {len(part) for part in parts}
    if len(sizes) != 1:
        raise ValueError(f"losses of {', '.join(map(str, sorted(sizes)))} seeds; the same seeds everywhere are wanted")
    return sizes.pop()
