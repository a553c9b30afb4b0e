"""Recordings whose truth is known, made on the spot: trials of spike counts, with the rates that drew them.

    chaotic      a chaotic rate network (Sussillo et al. 2016): x' = -x / tau + g W tanh(x) / tau, rates to 30 Hz
    lorenz       the Lorenz system through log-linear rates (Pandarinath et al. 2018)
    areas        chaotic areas of rate units, sparsely joined, each pathway with a delay of 1 to 5 bins; some units of
                 each area are recorded, and the current of every pathway is known

Shapes: K trials, T bins, N units, E pathways.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Whole = NDArray[np.int64]

BIN_S = 0.01
TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """counts, rates: (K, T, N), rates in spikes per bin. held_out: (N,), never heard. part: (K,) of TRAIN, ...

    area: (N,) names. pathways: (source, target, delay in bins, share of the power of all recurrent input).
    """

    name: str
    counts: Matrix
    rates: Matrix
    held_out: NDArray[np.bool_]
    part: Whole
    area: tuple[str, ...]
    pathways: tuple[tuple[str, str, int, float], ...] = field(default=())

    def of(self, *parts: int) -> NDArray[np.bool_]:
        """Which trials belong to these parts."""
        return np.isin(self.part, parts)


def parts_of(n_conditions: int, n_repeats: int, n_test: int) -> Whole:
    """The last repeats of every condition are the test, the one before validation."""
    repeat = np.tile(np.arange(n_repeats), n_conditions)
    return np.where(repeat >= n_repeats - n_test, TEST, np.where(repeat == n_repeats - n_test - 1, VALIDATION, TRAIN))


def to_rates(values: Matrix, top_hz: float = 30.0) -> Matrix:
    """Each unit's values in each trial from 0 to `top_hz`, in spikes per bin."""
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    return top_hz * BIN_S * (values - low) / (high - low)


def chaotic(n_conditions: int = 130, n_repeats: int = 10, seed: int = 5) -> Trials:
    """50 units, g = 1.5, tau = 25 ms, 1 s; 37 units held in, 13 held out; 2 of 10 repeats for the test."""
    rng = np.random.default_rng(seed)
    n_units, g, tau_s, n_bins = 50, 1.5, 0.025, 100
    weight = rng.normal(0, 1 / np.sqrt(n_units), (n_units, n_units))
    x = rng.normal(size=(n_conditions, n_units))
    states = np.empty((n_conditions, n_bins, n_units))
    for t in range(n_bins):
        x = (1 - BIN_S / tau_s) * x + (BIN_S / tau_s) * g * np.tanh(x) @ weight.T
        states[:, t] = np.tanh(x)
    rates = np.repeat(to_rates(states), n_repeats, axis=0)
    return _drawn("chaotic", rates, parts_of(n_conditions, n_repeats, 2), 13, rng)


def lorenz(n_conditions: int = 65, n_repeats: int = 10, seed: int = 3) -> Trials:
    """Three latents, 30 units (22 held in) of 5 Hz on average at their log-linear mean, 1 s."""
    rng = np.random.default_rng(seed)
    n_units, n_bins, inner, dt = 30, 100, 6, 0.006
    state = rng.normal(0, 10, (n_conditions, 3)) + np.array([0.0, 0.0, 25.0])
    latents = np.empty((n_conditions, n_bins, 3))
    for t in range(-50, n_bins):
        for _ in range(inner):
            x, y, z = state.T
            state = state + dt / 2 * np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=1)
        if t >= 0:
            latents[:, t] = state
    latents = (latents - latents.mean((0, 1))) / latents.std((0, 1))
    mixing = rng.uniform(1, 2, (3, n_units)) * rng.choice([-1, 1], (3, n_units)) / 2
    rates = np.minimum(5 * BIN_S * np.exp(latents @ mixing), 1.0)
    return _drawn("lorenz", np.repeat(rates, n_repeats, axis=0), parts_of(n_conditions, n_repeats, 2), 8, rng)


def areas(n_trials: int = 400, n_areas: int = 6, size: int = 40, seed: int = 7) -> Trials:
    """Nine of thirty pathways exist; 8 units of each area are held in, 8 held out; every trial is its own."""
    rng = np.random.default_rng(seed)
    n_bins, burn, alpha, g = 100, 40, 0.25, 1.4
    names = tuple(f"A{a}" for a in range(n_areas))
    pairs = [(s, t) for s in range(n_areas) for t in range(n_areas) if s != t]
    ends = [pairs[i] for i in rng.permutation(len(pairs))[: 3 * n_areas // 2]]
    delays = rng.integers(1, 6, len(ends))
    local = rng.normal(0, g / np.sqrt(size), (n_areas, size, size))
    across = rng.normal(0, 1 / np.sqrt(size), (len(ends), size, size)) * rng.uniform(0.5, 1.0, len(ends))[:, None, None]
    x = rng.normal(size=(n_trials, n_areas, size))
    past = [np.tanh(x)] * 6
    states, power = np.empty((n_trials, n_bins, n_areas, size)), np.zeros(len(ends))
    total = np.zeros(n_areas)
    for t in range(-burn, n_bins):
        drive = np.einsum("kan,amn->kam", past[-1], local)
        if t >= 0:
            total += (drive**2).mean(axis=(0, 2))
        for e, (source, target) in enumerate(ends):
            current = past[-int(delays[e])][:, source] @ across[e].T
            drive[:, target] += current
            power[e] += (current**2).mean() if t >= 0 else 0.0
        x = (1 - alpha) * x + alpha * drive + 0.05 * rng.normal(size=x.shape)
        past = [*past[1:], np.tanh(x)]
        if t >= 0:
            states[:, t] = past[-1]
    for e, (_, target) in enumerate(ends):
        total[target] += power[e]
    kept = np.stack([rng.permutation(size)[:16] for _ in names])
    shown = np.concatenate([states[:, :, a, kept[a]] for a in range(n_areas)], axis=2)
    counts_rng = np.random.default_rng(seed + 1)
    part = np.where(np.arange(n_trials) < 0.7 * n_trials, TRAIN, VALIDATION)
    part[np.arange(n_trials) >= 0.8 * n_trials] = TEST
    rates = to_rates(shown)
    return Trials(
        name="areas",
        counts=counts_rng.poisson(rates).astype(np.float64),
        rates=rates,
        held_out=np.tile(np.arange(16) >= 8, n_areas),
        part=part,
        area=tuple(name for name in names for _ in range(16)),
        pathways=tuple(
            (names[s], names[t], int(d), float(p / total[t])) for (s, t), d, p in zip(ends, delays, power, strict=True)
        ),
    )


def _drawn(name: str, rates: Matrix, part: Whole, n_out: int, rng: np.random.Generator) -> Trials:
    n_units = rates.shape[2]
    held_out = np.zeros(n_units, dtype=np.bool_)
    held_out[rng.permutation(n_units)[:n_out]] = True
    counts = rng.poisson(rates).astype(np.float64)
    return Trials(name=name, counts=counts, rates=rates, held_out=held_out, part=part, area=("all",) * n_units)


SETS = {"chaotic": chaotic, "lorenz": lorenz, "areas": areas}
