"""A training of a few steps that draws random numbers at each, to be stopped anywhere: `trained(folder)`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from neuroloom.ingest import Segment, Session, Signal, Timebase
from neuroloom.models import Area, ModularNetwork, Pathway, Topology
from neuroloom.pipeline import train, windows
from neuroloom.pipeline.runs.windowing import Windows

STEPS, EVERY = 8, 2  # steps from checkpoint to checkpoint


@cache
def ready() -> Windows:
    """Windows of two signals, of which one follows the other."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    light = rng.standard_normal((500, 2))
    streams = [_signal("position", "light", light), _signal("lfp", "lfp", light @ rng.standard_normal((2, 3)))]
    return windows([Session(subject="01", clock="rig", streams=tuple(streams))], length_s=0.4)


def _signal(modality: str, name: str, samples: np.ndarray) -> Signal:
    n_channels = samples.shape[1]
    return Signal(
        name=name,
        modality=modality,
        segments=(Segment(samples=samples, timebase=Timebase(rate_hz=50.0, n_samples=len(samples))),),
        channel_names=tuple(f"{name}{i}" for i in range(n_channels)),
        unit="a.u.",
        gain=np.ones(n_channels),
        offset=np.zeros(n_channels),
    )


def trained(folder: Path) -> tuple[float, ...]:
    """The losses of every step, after going on from what lies there."""
    torch.manual_seed(7)
    areas = (Area(name="V1"), Area(name="M1"))
    topology = Topology(name="two", areas=areas, pathways=(Pathway(source="V1", target="M1"),))
    network = ModularNetwork(topology, area_size=4, bin_s=0.02, noise=0.1)
    run = train(
        network,
        ready(),
        folder=folder,
        steps=STEPS,
        batch_size=4,
        validate_every=4,
        checkpoint_every=EVERY,
        input_dropout=0.3,
    )
    return run.losses
