"""Do pathways of a network matter where only pathways can tell? Areas of which no unit is heard, and lesions.

    python benchmarks/pathways.py [--systems 5] [--steps 100] [--questions smoothing forecast] [--trials 300]
    python benchmarks/pathways.py --delays [--systems 5] [--trials 300]
    python benchmarks/pathways.py --existence [--systems 5] [--trials 300]

Systems of six areas are drawn (`model_parts/pathway_systems.py`): three chaotic sources, three followers that are quiet
by themselves and driven by one source each, and weak pathways back; delays of 1 to 5 bins. Sixteen units of each of
four areas are heard. Asked for are twenty units of each of two followers that nobody hears, and four more units of each
area that is heard.

    smoothing   inputs are heard until 10 bins after the bin that is asked for
    forecast    until 5 bins before it
    lesion      the source of an unheard follower is cut off in the system, and in the network: its pathways are
                silenced, nothing is trained. A network that has learned the right pathways falls silent where the
                system does

Networks of the true topology, of other delays, of rewired pathways (degrees, and which lengths there are, kept), of
all, of none, and of pathways estimated from the training trials are trained alike, one seed per system, and compared in
pairs over systems. Every network is the one of the best validation loss; settings were chosen on validation trials of
systems that are not scored here.

Two train nothing: `--delays`, how far estimated delays are from the true ones (`model_parts/delay_table.py`), and
`--existence`, how well `lagged` tells which pathways exist (`model_parts/existence_table.py`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from model_parts import delay_table, existence_table
from model_parts import pathway_systems as systems
from model_parts.intervals import interval
from model_parts.sets import BIN_S, TEST, TRAIN, Matrix, Trials

from models import ASKED, SESSION, auroc, gpfa, lagged_pathways, peers, ranged, smoothing, topology_of, windows_of
from neuroloom.models import ModularNetwork, Pathway, Topology
from neuroloom.models.currents import currents
from neuroloom.pipeline.runs.training import attach, train
from neuroloom.pipeline.scores.baselines import ridge_baseline

AHEAD_BINS = {"smoothing": 10, "forecast": -5}
SIZE, TAU_S, LEARNING_RATE, WEIGHT_DECAY = 24, 0.08, 1e-2, 1e-2
FIRST_SYSTEM = 10  # those before were looked at while settings were chosen
Scores = dict[str, dict[str, list[float]]]  # which units -> way -> one per system


# Topologies --------------------------------------------------------------------------------------------------------


def other_delays(topology: Topology) -> Topology:
    """The true pathways; the longest delays where the shortest were."""
    pathways = topology.pathways
    longest = max(p.length_mm for p in pathways) + min(p.length_mm for p in pathways)
    return replace(topology, pathways=tuple(replace(p, length_mm=longest - p.length_mm) for p in pathways))


def wrongly_rewired(trials: Trials, true: Topology, seed: int) -> Topology:
    """Rewired so that no area of which nothing is heard keeps a pathway that it truly has: swaps may give it back."""
    heard = {area for area, held_out in zip(trials.area, trials.held_out, strict=True) if not held_out}
    needed = {(p.source, p.target) for p in true.pathways if p.target not in heard}
    for other in range(seed, seed + 10_000, 100):
        found = true.rewired(seed=other)
        if not needed & {(p.source, p.target) for p in found.pathways}:
            return found
    raise ValueError(f"{trials.name}: every rewiring keeps a pathway into an unheard area")


def estimated(trials: Trials, true: Topology) -> Topology:
    """As many pathways as there truly are, by what each area's past tells of another's in training; a mean delay."""
    found = strengths(trials)
    kept = sorted(found, key=lambda pair: -found[pair])[: len(true.pathways)]
    mean_mm = float(np.mean([p.length_mm for p in true.pathways]))
    return replace(true, pathways=tuple(Pathway(source=s, target=t, length_mm=mean_mm) for s, t in kept))


def strengths(trials: Trials) -> dict[tuple[str, str], float]:
    """Of every pair of areas, from all units of the training trials, those that are only asked for included."""
    return lagged_pathways(trials, np.ones(len(trials.area), dtype=np.bool_))


TOPOLOGIES: Mapping[str, Callable[[Trials, Topology, int], Topology]] = {
    "true": lambda trials, true, seed: true,
    "true, other delays": lambda trials, true, seed: other_delays(true),
    "rewired": wrongly_rewired,
    "all pathways": lambda trials, true, seed: true.dense(),
    "none": lambda trials, true, seed: true.none(),
    "estimated": lambda trials, true, seed: estimated(trials, true),
}


def sized(topology: Topology) -> Topology:
    """All areas of the size that these networks have."""
    return replace(topology, areas=tuple(replace(area, size=SIZE) for area in topology.areas))


def trained(trials: Trials, topology: Topology, seed: int, steps: int, ahead_bins: int) -> Any:
    """A run."""
    data = windows_of(trials, ahead_bins)
    network = ModularNetwork(sized(topology), bin_s=BIN_S, tau_s=TAU_S, seed=seed)
    attach(network, data)
    return train(
        network, data, steps=steps, batch_size=32, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY,
        warm_up_s=0.0, validate_every=25, patience=4, seed=seed,
    )  # fmt: skip


# Scores ------------------------------------------------------------------------------------------------------------


def said_of(predictor: Any, trials: Trials, ahead_bins: int) -> Matrix:
    """Rates of the test trials, (K, T, C)."""
    said = predictor.predict(windows_of(trials, ahead_bins).held_out)[SESSION][ASKED]
    return np.asarray(said.reshape(int((trials.part == TEST).sum()), -1, int(trials.held_out.sum())))


def bits(rates: Matrix, counts: Matrix, reference: Matrix) -> float:
    """Per spike, over each unit's mean rate (C,) of training time."""
    rates = np.maximum(rates, 1e-9)
    gain = counts * np.log(rates / reference) - rates + reference
    return float(gain.sum() / np.log(2) / counts.sum())


def groups_of(trials: Trials, unheard: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Which of the units that are asked for sit in areas that nobody hears, and which in the others."""
    area = np.array(trials.area)[trials.held_out]
    return {"unheard areas": np.isin(area, unheard), "heard areas": ~np.isin(area, unheard)}


def means_of(trials: Trials) -> Matrix:
    """Each asked unit's mean over training, (C,)."""
    return np.asarray(trials.counts[trials.of(TRAIN)].mean(axis=(0, 1))[trials.held_out])


def add(scores: Scores, way: str, said: Matrix, trials: Trials, unheard: tuple[str, ...], reference: Matrix) -> None:
    """Both groups' bits per spike, of the test trials."""
    counts = trials.counts[trials.of(TEST)][:, :, trials.held_out]
    for group, chosen in groups_of(trials, unheard).items():
        found = bits(said[..., chosen], counts[..., chosen], reference[chosen])
        scores.setdefault(group, {}).setdefault(way, []).append(found)


def peers_scored(scores: Scores, trials: Trials, unheard: tuple[str, ...], ahead_bins: int) -> None:
    """Rows without a topology."""
    test, reference = trials.of(TEST), means_of(trials)
    ways = {"mean": np.broadcast_to(reference, trials.counts[test][:, :, trials.held_out].shape)}
    ways["ridge on lagged counts"] = said_of(ridge_baseline(windows_of(trials, ahead_bins)), trials, ahead_bins)
    if ahead_bins > 0:  # these hear the whole trial
        ways["smoothing, Poisson regression"] = smoothing(trials, 0, 0)[test]
        ways["GPFA, Poisson regression"] = gpfa(trials, 0, 0)[test]
    ways["true rates"] = trials.rates[test][:, :, trials.held_out]
    for way, said in ways.items():
        add(scores, way, said, trials, unheard, reference)


# Lesions -----------------------------------------------------------------------------------------------------------


def cut_of(system: systems.System) -> tuple[int, tuple[int, ...]]:
    """The source of the first unheard follower, and all pathways that leave it."""
    source = next(s for s, t in system.ends if t == system.unheard[0])
    return source, tuple(e for e, (s, _) in enumerate(system.ends) if s == source)


def lesion_scored(
    scores: Scores, name: str, run: Any, trials: Trials, system: systems.System, reference: Matrix
) -> None:
    """Bits per spike of lesioned trials in the unheard areas that the cut source drove, by the network with its own
    pathways from there silenced, and as it was."""
    source, cut = cut_of(system)
    driven = tuple(system.names[t] for e, (_, t) in enumerate(system.ends) if e in cut and t in system.unheard)
    asked = groups_of(trials, driven)["unheard areas"]
    counts = trials.counts[:, :, trials.held_out][..., asked]
    gone = [p for p in run.network.topology.pathways if p.source == system.names[source]]
    for label, pathways in (("as trained", []), ("lesioned", gone)):
        for p in pathways:
            run.network.lesion(p.source, p.target)
        said = said_of(run, trials, AHEAD_BINS["smoothing"])[..., asked]
        for p in pathways:
            run.network.lesion(p.source, p.target, intact=True)
        scores.setdefault(label, {}).setdefault(name, []).append(bits(said, counts, reference[asked]))


# Currents ----------------------------------------------------------------------------------------------------------


def currents_told(run: Any, trials: Trials, system: systems.System) -> dict[str, list[float]]:
    """Per pathway into an unheard follower: R2 of its current over time, and its share of the power of currents, true
    and the network's.

    A network's units are not the system's. A ridge regression of the system's states on the network's, area by area,
    on half of the test trials, says which is which; currents are told through that map, with one gain for all
    currents of an area, and scored on the other half.
    """
    data, tests = windows_of(trials, AHEAD_BINS["smoothing"]), np.flatnonzero(trials.part == TEST)
    batch = data.held_out.batch(SESSION, data.held_out.tiles(SESSION))
    with torch.no_grad():
        states = run.network.states(SESSION, batch.inputs, batch.input_masks).double().numpy()
    found = currents(run.network, SESSION, batch.inputs, batch.input_masks)
    shares = found.shares()[0].tolist()
    truth = systems.course(system, len(trials.part), seed=1)
    fit, check = slice(0, len(tests) // 2), slice(len(tests) // 2, None)
    told: dict[str, list[float]] = {"R2 of currents": [], "share, true": [], "share, network": []}
    ends = [(p.source, p.target) for p in run.network.topology.pathways]
    for e, (source, target) in enumerate(system.ends):
        if target not in system.unheard:
            continue
        n = ends.index((system.names[source], system.names[target]))
        to_true = _ridge(states[fit][:, :, target], truth.x[tests][fit][:, :, target])
        said = {
            "local": (found.local[target].double().numpy() @ to_true, truth.local[tests][:, :, target]),
            "sent": (found.messages[n].double().numpy() @ to_true, truth.sent[e][tests]),
        }
        centred = {k: [v - v[fit].mean(axis=(0, 1)) for v in pair] for k, pair in said.items()}
        gain = sum((a[fit] * b[fit]).sum() for a, b in centred.values()) / sum(
            (a[fit] ** 2).sum() for a, _ in centred.values()
        )
        a, b = centred["sent"]
        told["R2 of currents"].append(float(1 - ((b[check] - gain * a[check]) ** 2).sum() / (b[check] ** 2).sum()))
        told["share, true"].append(trials.pathways[e][3])
        told["share, network"].append(shares[n])
    return told


def _ridge(x: Matrix, y: Matrix) -> Matrix:
    """Weights from (K, T, D) to (K, T, C), both centred."""
    x, y = (part.reshape(-1, part.shape[-1]) - part.mean(axis=(0, 1)) for part in (x, y))
    return np.asarray(np.linalg.solve(x.T @ x + 1e-3 * len(x) * x.var() * np.eye(x.shape[1]), x.T @ y))


# All together ------------------------------------------------------------------------------------------------------


def show(title: str, scores: Scores) -> None:
    """A table of every group of units, then the leads of the true topology."""
    print(f"\n{title}; bits per spike, mean (95 % interval)")
    for group, ways in scores.items():
        print(f"  {group}")
        for way, values in ways.items():
            print(f"    {way:32s}{interval(values, '+.4f')}")
        for way, values in ways.items():
            if way in TOPOLOGIES and way != "true":
                lead = [a - b for a, b in zip(ways["true"], values, strict=True)]
                print(f"    {f'lead of true over {way}':42s}{interval(lead, '+.4f')}")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """All that is printed in the end. scores: by question. told: of currents. losses: validation, by question."""

    scores: dict[str, Scores]
    lesions: Scores = field(default_factory=dict)
    told: dict[str, list[float]] = field(default_factory=dict)
    losses: Scores = field(default_factory=dict)
    aurocs: list[float] = field(default_factory=list)

    def print(self) -> None:
        """All tables."""
        for question, found in self.scores.items():
            show(question, found)
        if self.lesions:
            show("lesion, unheard areas that lost their source", self.lesions)
        for question, by_name in self.losses.items():
            for name, values in ((n, v) for n, v in by_name.items() if n != "true"):
                better = sum(a < b for a, b in zip(by_name["true"], values, strict=True))
                print(f"{question}: validation loss of true is below that of {name} in {better} of {len(values)}")
        for what, values in self.told.items():
            print(f"pathways into unheard areas, {what}: {ranged(values)}")
        print(f"AUROC of pathways by what the past of each area tells: {ranged(self.aurocs)}")


def add_system(tally: Tally, number: int, seed: int, *, n_trials: int, steps: int) -> None:
    """Draw a system and train every network on it."""
    system = systems.drawn(number)
    trials = systems.recorded(system, n_trials)
    cut = systems.lesioned(system, 200, cut_of(system)[1], trials)
    unheard = tuple(system.names[a] for a in system.unheard)
    reference, true = means_of(trials), topology_of(trials)
    words = ", ".join(f"{s}>{t} {d} bins {share:.2f}" for s, t, d, share in trials.pathways)
    print(f"{trials.name}: unheard {', '.join(unheard)}; {words}", flush=True)
    tally.aurocs.append(auroc(strengths(trials), trials))
    for question, scores in tally.scores.items():
        ahead = AHEAD_BINS[question]
        peers_scored(scores, trials, unheard, ahead)
        for name, make in TOPOLOGIES.items():
            began = time.process_time()
            run = trained(trials, make(trials, true, seed), seed, steps, ahead)
            add(scores, name, said_of(run, trials, ahead), trials, unheard, reference)
            tally.losses.setdefault(question, {}).setdefault(name, []).append(run.best_loss)
            if question == "smoothing":
                lesion_scored(tally.lesions, name, run, cut, system, reference)
            if question == "smoothing" and name == "true":
                for what, values in currents_told(run, trials, system).items():
                    tally.told.setdefault(what, []).extend(values)
            last = ", ".join(f"{group} {ways[name][-1]:.4f}" for group, ways in scores.items())
            took = time.process_time() - began
            print(f"  {question}, {name}: {last}, best step {run.best_step}, {took:.0f} s", flush=True)


def main() -> None:
    """Every question, system by system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--systems", type=int, default=5)
    parser.add_argument("--first", type=int, default=FIRST_SYSTEM, help="number of the first system")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--questions", nargs="+", default=list(AHEAD_BINS), choices=list(AHEAD_BINS))
    untrained = parser.add_mutually_exclusive_group()
    untrained.add_argument("--delays", action="store_true", help="only how far estimated delays are from the true ones")
    untrained.add_argument("--existence", action="store_true", help="only how well it is told which pathways exist")
    args = parser.parse_args()
    torch.set_num_threads(1)
    numbers = [args.first + n for n in range(args.systems)]
    if args.delays:
        delay_table.show(numbers, args.trials)
        return
    if args.existence:
        existence_table.show(numbers, args.trials)
        return
    peers()
    tally = Tally(scores={question: {} for question in args.questions})
    for n, number in enumerate(numbers):
        add_system(tally, number, n, n_trials=args.trials, steps=args.steps)
    tally.print()


if __name__ == "__main__":
    main()
