"""Recordings of several kinds together or each alone, while more and more of them are missing.

    python benchmarks/joint.py [--seeds 3] [--steps 150] [--people 3] [--dropped 0 0.25 0.5 0.75]

A joint teacher: three noisy rotations of different speed. Spikes see the first two, EEG the last two (mixed, in
coloured noise), gaze the first and the last in one number each. Behaviour is a position, bent from all three, and one
of three choices every half second. Every person has electrodes of their own and moves a little in their own way; a seed
draws a teacher and its people.

In every second each kind of recording is missing with the chance asked for, in training and test; behaviour too, in
training. Scored are position and choices of all held-out time, whatever is missing there, as the mean over people. All
ways get the same seconds, those of what they may hear; the networks train for as many steps, on all people together,
and have their readouts shrunk; ridge and Kalman filter are neuroloom's baselines, fitted for each person.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import ranged
from neuroloom.models import Area, GlobalModule, ModularNetwork, Pathway, Port, Topology
from neuroloom.pipeline.runs.features import Features, PortFeatures
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.splitting import WindowConfig
from neuroloom.pipeline.runs.training import attach, train
from neuroloom.pipeline.runs.windowing import Windows
from neuroloom.pipeline.scores.evaluation import evaluate

Matrix = NDArray[np.float64]
BIN_S, WINDOW, SECOND = 0.05, 40, 20  # a bin; bins of a window and of a second
N_BINS, GAP, N_CLASSES, ANSWER_EVERY = 6000, 40, 3, 10
HZ, STAY = (0.3, 0.7, 1.5), 0.985  # of the rotations; what is left of a state after a bin
HEARD, ASKED = ("spikes", "eeg", "gaze"), ("position", "choice")
KINDS = {"spikes": "spikes", "eeg": "lfp", "gaze": "continuous", "position": "continuous", "choice": "choice"}
SCORES = {"position": "R2", "choice": "bits per answer"}
BASELINES = ("ridge", "kalman")


# The teacher and its people ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """Of every kind its values (T, C), and which of them are there (T,)."""

    values: dict[str, Matrix]
    valid: dict[str, NDArray[np.bool_]]


def latents(rng: np.random.Generator) -> Matrix:
    """Three rotations with noise, (T, 6), each coordinate of unit variance."""
    state, course = rng.normal(size=3) + 1j * rng.normal(size=3), np.empty((N_BINS, 6))
    turn = STAY * np.exp(2j * np.pi * np.array(HZ) * BIN_S)
    spread = np.sqrt(1 - STAY**2)
    for at in range(N_BINS):
        state = turn * state + spread * (rng.normal(size=3) + 1j * rng.normal(size=3))
        course[at] = np.concatenate([state.real, state.imag])
    return course


def person(behaviour: Matrix, dropped: float, rng: np.random.Generator) -> Person:
    """behaviour: (6, 2 + K), what the teacher makes of its state. Everyone lives through a course of their own."""
    course = latents(rng)
    first, last = course[:, [0, 1, 3, 4]], course[:, [1, 2, 4, 5]]
    own = behaviour + 0.2 * rng.normal(size=behaviour.shape)
    rate = np.minimum(0.3 * np.exp(first @ rng.normal(0, 0.45, (4, 20))), 5.0)
    noise = rng.normal(size=(N_BINS, 16))
    noise = noise + 0.7 * np.roll(noise, 1, axis=0)
    moved, leaning = np.tanh(course @ own[:, :2]), course @ own[:, 2:]
    values = {
        "spikes": rng.poisson(rate).astype(np.float64),
        "eeg": last @ rng.normal(0, 1, (4, 16)) + 3.0 * noise,
        "gaze": course[:, [0, 2]] + 0.7 * rng.normal(size=(N_BINS, 2)),
        "position": moved + 0.1 * rng.normal(size=moved.shape),
        "choice": (leaning + rng.gumbel(0, 0.5, leaning.shape)).argmax(axis=1)[:, None].astype(np.float64),
    }
    seconds = -(-N_BINS // SECOND)
    valid = {name: np.repeat(rng.random(seconds) >= dropped, SECOND)[:N_BINS] for name in values}
    for name in ASKED:
        valid[name][parts()["train"][0][1] :] = True  # what is scored is all there
    valid["choice"] &= np.arange(N_BINS) % ANSWER_EVERY == 0
    return Person(values=values, valid=valid)


def people(n_people: int, dropped: float, seed: int) -> list[Person]:
    """Of one teacher. The same seed gives the same lives; only what is missing of them differs."""
    behaviour = np.random.default_rng(seed).normal(0, 0.6, (6, 2 + N_CLASSES))
    return [person(behaviour, dropped, np.random.default_rng([seed, number])) for number in range(n_people)]


def parts() -> dict[Any, Any]:
    """First and last bin of training, validation and test."""
    first, second = round(0.5 * N_BINS), round(0.65 * N_BINS)
    return {"train": [(0, first)], "validation": [(first + GAP, second)], "held_out": [(second + GAP, N_BINS)]}


def windows_of(everyone: Sequence[Person], heard: Sequence[str]) -> Windows:
    """Windows over all people in which these kinds come in, up to and with the bin that is asked about."""
    config = WindowConfig(length_s=WINDOW * BIN_S, bin_s=BIN_S, lag_bins=0, inputs=tuple(heard), targets=ASKED)
    sessions = {}
    for number, one in enumerate(everyone):
        name = f"person-{number}"
        ports = {what: _port(one, what) for what in (*heard, *ASKED)}
        features = Features(session_id=name, bin_s=BIN_S, start_s=0.0, n_bins=N_BINS, ports=ports)
        sessions[name] = SessionData(features=features, config=config, blocks=parts())
    return Windows(sessions=sessions, config=config)


def _port(one: Person, what: str) -> PortFeatures:
    values = one.values[what]
    names = tuple(f"{what}{c}" for c in range(values.shape[1]))
    n_classes = N_CLASSES if KINDS[what] == "choice" else 0
    return PortFeatures(
        port=Port(name=what, kind=KINDS[what], channel_names=names, n_classes=n_classes, bin_s=BIN_S),
        values=values.astype(np.float32),
        valid=np.repeat(one.valid[what][:, None], values.shape[1], axis=1),
        extrapolated=np.zeros(N_BINS, dtype=np.bool_),
        uncertainty_ms=0.0,
        uncertainty_T_ms=np.zeros(N_BINS, dtype=np.float32),
        target_only=what in ASKED,
    )


# Ways --------------------------------------------------------------------------------------------------------------


def topology() -> Topology:
    """Three areas, all joined, and a slow global module."""
    names = ("A", "B", "C")
    return Topology(
        name="joint",
        areas=tuple(Area(name=name, size=24) for name in names),
        pathways=tuple(Pathway(source=a, target=b) for a in names for b in names if a != b),
        global_modules=(GlobalModule(name="slow", size=12, time_scale_s=1.0),),
    )


def scores(everyone: Sequence[Person], heard: Sequence[str], seed: int, steps: int) -> dict[tuple[str, str], float]:
    """(model, what is asked for) -> its score, the mean over people."""
    data = windows_of(everyone, heard)
    network = ModularNetwork(topology(), kind="gru", bin_s=BIN_S, tau_s=0.2, session_size=2, seed=seed)
    attach(network, data)
    run = train(
        network, data, steps=steps, batch_size=24, learning_rate=1e-2, warm_up_s=0.0, validate_every=25,
        patience=4, seed=seed, shrink_readouts=True,
    )  # fmt: skip
    found: dict[tuple[str, str], list[float]] = {}
    for row in evaluate(run, data.held_out, baselines=BASELINES).rows:
        if not row.area and not row.channel and row.metric == SCORES.get(row.port):
            model = row.model if row.model in BASELINES else "network"
            found.setdefault((model, row.port), []).append(row.value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def compare(dropped: float, n_people: int, seeds: int, steps: int) -> None:
    """The table of one share of missing recordings."""
    ways = {"joint": HEARD, **{f"{one} alone": (one,) for one in HEARD}}
    found: dict[str, list[dict[tuple[str, str], float]]] = {way: [] for way in ways}
    for seed in range(seeds):
        everyone = people(n_people, dropped, seed)
        for way, heard in ways.items():
            found[way].append(scores(everyone, heard, seed, steps))
            print(f"  dropped {dropped:g}, seed {seed}, {way}: {found[way][-1]}", file=sys.stderr, flush=True)
    print(f"\n{100 * dropped:.0f} % of seconds missing of each kind; mean, lowest to highest of {seeds} teachers")
    print(f"{'':30s}" + "".join(f"{what + ', ' + SCORES[what]:>30s}" for what in ASKED))
    for way in ways:
        for model in ("network", *BASELINES):
            line = [ranged([one[model, what] for one in found[way]]) for what in ASKED]
            print(f"{way + ', ' + model:30s}" + "".join(f"{cell:>30s}" for cell in line), flush=True)
    for model in ("network", *BASELINES):
        line = [ranged(_leads(found, model, what)) for what in ASKED]
        print(f"{'joint over best alone, ' + model:30s}" + "".join(f"{cell:>30s}" for cell in line), flush=True)
    line = [
        ranged([one["network", what] - one["ridge", what] for one in found["joint"]]) for what in ASKED
    ]  # fmt: skip
    print(f"{'joint, network over ridge':30s}" + "".join(f"{cell:>30s}" for cell in line), flush=True)


def _leads(found: dict[str, list[dict[tuple[str, str], float]]], model: str, what: str) -> list[float]:
    """Per teacher, over whichever kind alone scored best there, which is to the disadvantage of the joint one."""
    alone = [[one[model, what] for one in each] for way, each in found.items() if way != "joint"]
    return [one[model, what] - max(rest) for one, *rest in zip(found["joint"], *alone, strict=True)]


def main() -> None:
    """A table for every share of missing recordings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dropped", nargs="+", type=float, default=[0.0, 0.25, 0.5, 0.75])
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    args = parser.parse_args()
    if wrong := [share for share in args.dropped if not 0 <= share < 1]:
        parser.error(f"--dropped {wrong[0]}: shares from 0 to below 1 are wanted")
    torch.set_num_threads(1)
    for dropped in args.dropped:
        compare(dropped, args.people, args.seeds, args.steps)


if __name__ == "__main__":
    main()
