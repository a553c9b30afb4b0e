"""Networks beside their peers on recordings whose truth is known: bits per spike of units that were never heard.

    python benchmarks/models.py [--sets chaotic lorenz areas] [--steps 300] [--seeds 3] [--ways ...]
                                [--draw N]

Three sets are made on the spot (`model_parts/sets.py`). Every way hears the held-in units of a trial, all of it, learns
on the training trials, chooses on validation trials, and is scored by nlb_tools on held-out units of held-out trials.
Where there are several seeds, the mean of what they say is scored, too ("together").
On `areas`, whose pathways, delays and currents are known, networks of the true topology, of rewired ones and of all
pathways are trained from the same seeds; what they say of pathways is set beside the truth.

Peers (CEBRA, elephant's GPFA, nlb_tools) are installed once into `benchmarks/.peers-models`, without their
requirements, which are neuroloom's. CEBRA and GPFA give latents: a Poisson regression on them gives rates. The
LFADS-style model is written here from the papers (`model_parts/lfads_style.py`). POYO decodes behaviour and predicts no
spikes, so it has no row here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model_parts import lfads_style, neighbours, ranking, sets
from model_parts.heads import poisson_head
from model_parts.installing import install
from model_parts.sets import BIN_S, TEST, TRAIN, VALIDATION, Matrix, Trials
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.stats import spearmanr

from neuroloom.models import Area, ModularNetwork, Pathway, Port, Topology
from neuroloom.models.currents import currents
from neuroloom.pipeline.runs.features import Features, PortFeatures
from neuroloom.pipeline.runs.functional import FunctionalConfig, functional_topology_of
from neuroloom.pipeline.runs.lagged import lagged_power
from neuroloom.pipeline.runs.past import regressions
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.splitting import WindowConfig
from neuroloom.pipeline.runs.training import attach, train
from neuroloom.pipeline.runs.windowing import Windows
from neuroloom.pipeline.scores.baselines import ridge_baseline
from neuroloom.pipeline.scores.kalman import kalman_baseline

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".peers-models"
PACKAGES = ("cebra", "literate-dataclasses", "nlb-tools", "elephant", "quantities")
AHEAD_BINS = 10  # a network hears that far beyond the bin it predicts; bidirectional peers hear the whole trial
SMOOTHING_BINS = 5.0
SPEED_M_PER_S = 1.0
N_LAGS = 8
HEARD, ASKED, SESSION = "units", "units held out", "sub-benchmark_ses-01"


# Ways --------------------------------------------------------------------------------------------------------------


def mean(trials: Trials, seed: int, steps: int) -> Matrix:
    """Each unit's mean over training trials."""
    rates = trials.counts[trials.of(TRAIN)].mean(axis=(0, 1))[trials.held_out]
    return np.broadcast_to(rates, trials.counts[:, :, trials.held_out].shape)


def truth(trials: Trials, seed: int, steps: int) -> Matrix:
    """The rates that drew the spikes: nothing can be better but by chance."""
    return trials.rates[:, :, trials.held_out]


def smoothing(trials: Trials, seed: int, steps: int) -> Matrix:
    """Held-in counts, smoothed by 50 ms, and a Poisson regression on them."""
    heard = trials.counts[:, :, ~trials.held_out]
    return on_latents(trials, gaussian_filter1d(heard, SMOOTHING_BINS, axis=1, mode="nearest"))


def gpfa(trials: Trials, seed: int, steps: int) -> Matrix:
    """GPFA's latents, and a Poisson regression on them."""
    return on_latents(trials, _peer("gpfa", heard=trials.counts[:, :, ~trials.held_out], part=trials.part)["latents"])


def cebra(trials: Trials, seed: int, steps: int) -> Matrix:
    """CEBRA's latents, and a Poisson regression on them."""
    return on_latents(trials, _peer("cebra", heard=trials.counts[:, :, ~trials.held_out], part=trials.part)["latents"])


def lfads(trials: Trials, seed: int, steps: int) -> Matrix:
    """The LFADS-style model."""
    heard = trials.counts[:, :, ~trials.held_out]
    return lfads_style.fitted(heard, trials.counts, trials.part, steps=2 * steps, seed=seed)[:, :, trials.held_out]


def most_alike(trials: Trials, seed: int, steps: int) -> Matrix:
    """The training trials in which the heard units did most alike; no model."""
    return neighbours.neighbours(trials, neighbours.of_heard(trials))


def ridge(trials: Trials, seed: int, steps: int) -> Matrix:
    """neuroloom's ridge regression on counts of 10 bins to either side."""
    return _predicted(trials, ridge_baseline(windows_of(trials), n_lags=2 * AHEAD_BINS + 1))


def kalman(trials: Trials, seed: int, steps: int) -> Matrix:
    """neuroloom's Kalman filter."""
    return _predicted(trials, kalman_baseline(windows_of(trials)))


def one_area(kind: str, size: int = 96, **settings: float) -> Callable[[Trials, int, int], Matrix]:
    """neuroloom, all units in one area."""

    def way(trials: Trials, seed: int, steps: int) -> Matrix:
        return _network(trials, undivided(size), seed, steps, kind, **settings)[0]

    return way


def undivided(size: int) -> Topology:
    """One area of so many units."""
    return Topology(name="one", areas=(Area(name="all", size=size),))


def and_most_alike(trials: Trials, seed: int, steps: int) -> Matrix:
    """A network, and the training trials of which it says what it says of this one."""
    _, run = _network(trials, undivided(256), seed, steps, "gru", **LARGE)
    said = _predicted(replace(trials, part=np.full_like(trials.part, TEST)), run)  # of every trial
    return neighbours.mixed(trials, neighbours.neighbours(trials, np.sqrt(said).reshape(len(said), -1)), said)


Way = Callable[[Trials, int, int], Matrix]
LARGE: dict[str, Any] = {"learning_rate": 3e-3, "weight_decay": 1.0}
WAYS: dict[str, tuple[Way, bool]] = {  # and whether it depends on the seed
    "mean": (mean, False),
    "smoothing 50 ms, Poisson regression": (smoothing, False),
    "training trials most alike": (most_alike, False),
    "ridge, lagged": (ridge, False),
    "Kalman filter": (kalman, False),
    "GPFA, Poisson regression": (gpfa, False),
    "CEBRA, Poisson regression": (cebra, False),
    "LFADS-style": (lfads, True),
    "neuroloom, one area, leaky": (one_area("leaky"), True),
    "neuroloom, one area, gru": (one_area("gru"), True),
    "neuroloom, one area, gru of 256": (one_area("gru", 256, **LARGE), True),
    "neuroloom, gru of 256, trials most alike": (and_most_alike, True),
    "true rates": (truth, False),
}


def on_latents(trials: Trials, latents: Matrix) -> Matrix:
    out = trials.counts[:, :, trials.held_out]

    def flat(values: Matrix, *parts: int) -> Matrix:
        return values[trials.of(*parts)].reshape(-1, values.shape[2]).astype(np.float64)

    fit, check = ((flat(latents, part), flat(out, part)) for part in (TRAIN, VALIDATION))
    found = poisson_head(fit, check, latents.reshape(-1, latents.shape[2]).astype(np.float64))
    return found.reshape(out.shape)


# neuroloom ---------------------------------------------------------------------------------------------------------


def windows_of(trials: Trials, ahead_bins: int = AHEAD_BINS) -> Windows:
    """Every trial a block of time, with as long a silence between two as a window: nothing reaches across.

    ahead_bins: what is heard ends that many bins after the bin it is to tell of, before it where negative.
    """
    n_trials, length, _ = trials.counts.shape
    config = WindowConfig(length_s=length * BIN_S, bin_s=BIN_S, lag_bins=-ahead_bins, inputs=(HEARD,), targets=(ASKED,))
    n_bins = 2 * n_trials * length + length
    known = np.zeros(n_bins, dtype=np.bool_)
    starts = length + 2 * length * np.arange(n_trials)
    for start in starts:
        known[start : start + length] = True
    ports = {HEARD: _port(trials, HEARD, ~trials.held_out, known), ASKED: _port(trials, ASKED, trials.held_out, known)}
    features = Features(session_id=SESSION, bin_s=BIN_S, start_s=0.0, n_bins=n_bins, ports=ports)
    names = {TRAIN: "train", VALIDATION: "validation", TEST: "held_out"}
    blocks: dict[Any, Any] = {
        name: [(int(s), int(s) + length) for s in starts[trials.part == part]] for part, name in names.items()
    }
    return Windows(sessions={SESSION: SessionData(features=features, config=config, blocks=blocks)}, config=config)


def _port(trials: Trials, name: str, chosen: np.ndarray, known: np.ndarray) -> PortFeatures:
    values = np.zeros((len(known), int(chosen.sum())), dtype=np.float32)
    values[known] = trials.counts[:, :, chosen].reshape(-1, values.shape[1])
    units = tuple(f"u{i}" for i in np.flatnonzero(chosen))
    areas = tuple(trials.area[i] for i in np.flatnonzero(chosen))
    return PortFeatures(
        port=Port(name=name, kind="spikes", channel_names=units, areas=areas, bin_s=BIN_S),
        values=values,
        valid=np.repeat(known[:, None], values.shape[1], axis=1),
        extrapolated=np.zeros(len(known), dtype=np.bool_),
        uncertainty_ms=0.0,
        uncertainty_T_ms=np.zeros(len(known), dtype=np.float32),
        target_only=name == ASKED,
    )


def _predicted(trials: Trials, predictor: Any) -> Matrix:
    """What a predictor says of the test trials; the others are not asked for."""
    found = np.zeros(trials.counts[:, :, trials.held_out].shape)
    said = predictor.predict(windows_of(trials).held_out)[SESSION][ASKED]
    found[trials.part == TEST] = said.reshape(-1, *found.shape[1:])
    return found


def _network(
    trials: Trials, topology: Topology, seed: int, steps: int, kind: str, **settings: float
) -> tuple[Matrix, Any]:
    data = windows_of(trials)
    network = ModularNetwork(topology, kind=kind, bin_s=BIN_S, tau_s=0.04, seed=seed)
    attach(network, data)
    chosen: dict[str, Any] = {"learning_rate": 1e-2, **settings}
    run = train(network, data, steps=steps, batch_size=32, warm_up_s=0.0, validate_every=25, seed=seed, **chosen)
    return _predicted(trials, run), run


# Several areas -----------------------------------------------------------------------------------------------------


def topology_of(trials: Trials) -> Topology:
    """The true one: lengths that give the true delays. No places, so that all pathways have the mean delay."""
    return Topology(
        name="true",
        speed_m_per_s=SPEED_M_PER_S,
        areas=tuple(Area(name=name, size=24) for name in dict.fromkeys(trials.area)),
        pathways=tuple(
            Pathway(source=s, target=t, length_mm=1e3 * SPEED_M_PER_S * d * BIN_S) for s, t, d, _ in trials.pathways
        ),
    )


TOPOLOGIES: dict[str, Callable[[Trials, int], Topology]] = {
    "true": lambda trials, seed: topology_of(trials),
    "estimated": lambda trials, seed: estimated(trials),
    "rewired": lambda trials, seed: topology_of(trials).rewired(seed=seed),
    "all pathways": lambda trials, seed: topology_of(trials).dense(),
    "none": lambda trials, seed: topology_of(trials).none(),
}


def pathways_found(trials: Trials, run: Any) -> dict[tuple[str, str], float]:
    """Each pathway's share of the power of recurrent input to its target, on test trials."""
    data = windows_of(trials)
    batch = data.held_out.batch(SESSION, data.held_out.tiles(SESSION)[:40])
    shares, _ = currents(run.network, SESSION, batch.inputs, batch.input_masks).shares()
    ends = [(p.source, p.target) for p in run.network.topology.pathways]
    return dict(zip(ends, shares.tolist(), strict=True))


def lagged_pathways(trials: Trials, units: NDArray[np.bool_] | None = None) -> dict[tuple[str, str], float]:
    """What the past of each area's units tells of another's, without any network: `pipeline/runs/lagged.py`.

    units: which, (N,); those that are heard where it is None.
    """
    chosen = ~trials.held_out if units is None else units
    names = list(dict.fromkeys(trials.area))
    areas = [area for area, is_chosen in zip(trials.area, chosen, strict=True) if is_chosen]
    told = regressions(list(np.sqrt(trials.counts[trials.of(TRAIN)][:, :, chosen])), N_LAGS)
    power = lagged_power(told, areas, names).value
    return {(s, t): float(power[i, j]) for i, s in enumerate(names) for j, t in enumerate(names) if i != j}


def estimated(trials: Trials) -> Topology:
    """As many pathways as there truly are, those that the heard units' past tells of."""
    there = len(trials.pathways) / len(lagged_pathways(trials))
    config = FunctionalConfig(method="lagged", lags_s=N_LAGS * BIN_S, density=there)
    return functional_topology_of(windows_of(trials), HEARD, config=config, like=topology_of(trials))


def auroc(found: dict[tuple[str, str], float], trials: Trials) -> float:
    """How well the numbers tell pathways that exist from those that do not: 1 for all, 0.5 for none."""
    there = {(s, t) for s, t, _, _ in trials.pathways}
    return ranking.auroc(np.array(list(found.values())), np.array([pair in there for pair in found]))


def several_areas(trials: Trials, steps: int, seeds: int) -> Iterator[tuple[str, list[float], list[Matrix], str]]:
    """Per topology its name, seconds, predictions, and what its currents say beside the truth."""
    true_share = {(s, t): share for s, t, _, share in trials.pathways}
    for name, make in TOPOLOGIES.items():
        seconds, said, marks = [], [], []
        for seed in range(seeds):
            began = time.perf_counter()
            predicted, run = _network(trials, make(trials, seed), seed, steps, "leaky")
            seconds.append(time.perf_counter() - began)
            said.append(predicted)
            found = pathways_found(trials, run) if name in ("true", "all pathways") else {}
            if name == "all pathways":
                marks.append(auroc(found, trials))
            elif name == "true":
                marks.append(float(spearmanr([found[e] for e in true_share], list(true_share.values()))[0]))
        what = {"true": "rank correlation of currents", "all pathways": "AUROC of pathways"}.get(name, "")
        yield name, seconds, said, f"{what} {ranged(marks)}" if what else ""
    print(f"AUROC of pathways by what the past of each area tells: {auroc(lagged_pathways(trials), trials):.2f}")
    print(estimated(trials).notes[-1])


# All together ------------------------------------------------------------------------------------------------------


def _peer(what: str, **arrays: Any) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, **arrays)
        command = [sys.executable, str(HERE / "model_parts" / "peers.py"), what, str(source), str(out)]
        path = os.pathsep.join(filter(None, [str(PEERS), os.environ.get("PYTHONPATH", "")]))
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)
        return dict(np.load(out))


def peers() -> None:
    """Install them, once."""
    install(PACKAGES, PEERS)


def scored(trials: Trials, said: list[Matrix]) -> list[float]:
    """Bits per spike of each prediction, by nlb_tools."""
    test = trials.of(TEST)
    arrays = {str(i): one[test] for i, one in enumerate(said)}
    found = _peer("score", counts=trials.counts[test][:, :, trials.held_out], **arrays)
    return [float(found[str(i)]) for i in range(len(said))]


def tell(way: str, trials: Trials, said: list[Matrix], seconds: float, words: str = "") -> list[float]:
    """A line of the scores of every seed, and where there are several one of the mean of what they say; the former."""
    *alone, together = scored(trials, [*said, np.mean(said, axis=0)])
    print(f"{way:38s}{ranged(alone):>34s}{seconds:9.0f}  {words}".rstrip(), flush=True)
    if len(said) > 1:
        print(f"{f'  all {len(said)} together':38s}{ranged([together]):>34s}{len(said) * seconds:9.0f}", flush=True)
    return alone


def ranged(values: list[float]) -> str:
    """The mean, and lowest to highest where there are several."""
    middle = f"{np.mean(values):.3f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3f} to {max(values):.3f})"


def compare(name: str, ways: list[str], steps: int, seeds: int, draw: int | None) -> None:
    """A line for every way on one set."""
    trials: Trials = sets.SETS[name]() if draw is None else sets.SETS[name](seed=draw)
    n_spikes = int(trials.counts[trials.of(TEST)][:, :, trials.held_out].sum())
    print(f"\n{name}: {trials.counts.shape[0]} trials, {int((~trials.held_out).sum())} units heard, "
          f"{int(trials.held_out.sum())} held out, {n_spikes} spikes scored")  # fmt: skip
    print(f"{'':38s}{'bits per spike (over seeds)':>34s}{'seconds':>9s}")
    for way in ways:
        make, by_seed = WAYS[way]
        began = time.perf_counter()
        said = [make(trials, seed, steps) for seed in range(seeds if by_seed else 1)]
        tell(way, trials, said, (time.perf_counter() - began) / len(said))
    if not trials.pathways:
        return
    results = {}
    for topology, took, said, words in several_areas(trials, steps, seeds):
        results[topology] = tell(f"neuroloom, {topology} topology", trials, said, float(np.mean(took)), words)
    for other in [one for one in results if one != "true"]:
        lead = np.subtract(results["true"], results[other])
        error = lead.std(ddof=1) / np.sqrt(len(lead)) if len(lead) > 1 else float("nan")
        print(
            f"lead of the true topology over {other}: {lead.mean():+.4f}, standard error {error:.4f}, {len(lead)} seeds"
        )


def main() -> None:
    """Every set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sets", nargs="+", default=list(sets.SETS), choices=list(sets.SETS))
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draw", type=int, help="the seed that the sets themselves are drawn with, instead of theirs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    peers()
    for name in args.sets:
        compare(name, args.ways, args.steps, args.seeds, args.draw)


if __name__ == "__main__":
    main()
