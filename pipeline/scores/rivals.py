"""Other networks under the same conditions: the same steps, batches and learning rate, from the same seeds.

    again              the same network from other seeds (what a seed is worth)
    rewired            pathways swap targets; degrees stay        rewired-lengths    lengths stay, too
    dense              every area joined to every other           distance           the nearest areas joined
    none               no pathway between areas                   gru    one GRU with about as many parameters

Every seed draws its own rewiring. What a connectome is worth is the paired lead over `rewired-lengths` and `dense`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from neuroloom.models.network import ModularNetwork
from neuroloom.models.topology import Area, Topology
from neuroloom.pipeline.runs.run import Run
from neuroloom.pipeline.runs.train_config import TrainConfig
from neuroloom.pipeline.runs.windowing import Windows

if TYPE_CHECKING:
    from neuroloom.pipeline.runs.training import Progress

Make = Callable[[Topology, int], ModularNetwork]  # topology, seed -> a network as it starts
Attach = Callable[[ModularNetwork], None]

AGAIN, GRU = "again", "gru"
TOPOLOGIES: Mapping[str, Callable[[Topology, int], Topology]] = {
    "again": lambda topology, seed: topology,
    "rewired": lambda topology, seed: topology.rewired(seed=seed),
    "rewired-lengths": lambda topology, seed: topology.rewired(seed=seed, keep_lengths=True),
    "dense": lambda topology, seed: topology.dense(),
    "distance": lambda topology, seed: topology.distance_only(),
    "none": lambda topology, seed: topology.none(),
}
NAMES = (*TOPOLOGIES, GRU)
OFFERED = tuple(name for name in NAMES if name != AGAIN)  # what another seed is worth is in every comparison
GRU_PARAMETERS = 5  # per unit squared: a GRU of n units has about 5 n^2 here


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all networks share. make: a network as it starts. attach: gives it the sessions' encoders and readouts."""

    topology: Topology
    make: Make
    attach: Attach
    data: Windows
    config: TrainConfig


def train_rivals(
    conditions: Conditions,
    names: Sequence[str],
    *,
    seeds: Sequence[int],
    folder: Path | None = None,
    progress: bool | Progress = False,
) -> dict[str, list[Run]]:
    """A run per name and seed, in `folder/NAME-SEED`, where they go on if they were stopped.

    Raises ValueError for a name that is not known, naming those that are.
    """
    check_rivals(names, NAMES)
    return {name: [_trained(conditions, name, seed, folder, progress) for seed in seeds] for name in names}


def check_rivals(names: Sequence[str], known: Sequence[str] = OFFERED) -> None:
    """Raise ValueError for a network that there is not to compare with, naming those that there are."""
    for name in names:
        if name not in known:
            raise ValueError(f"no network {name!r} to compare with; there are {', '.join(known)}")


def _trained(conditions: Conditions, name: str, seed: int, folder: Path | None, progress: bool | Progress) -> Run:
    from neuroloom.pipeline.runs.training import train

    network = rival(conditions.make, conditions.topology, name, seed)
    conditions.attach(network)
    run = train(
        network,
        conditions.data,
        folder=None if folder is None else folder / f"{name}-{seed}",
        config=replace(conditions.config, seed=seed),
        progress=progress,
    )
    return replace(run, name=name)


def rival(make: Make, topology: Topology, name: str, seed: int) -> ModularNetwork:
    """A network of that name as it starts."""
    if name != GRU:
        return make(TOPOLOGIES[name](topology, seed), seed)
    like = make(topology, seed)
    n_parameters = sum(p.numel() for key, p in like.named_parameters() if not key.startswith("sessions."))
    size = max(2, round((n_parameters / GRU_PARAMETERS) ** 0.5))
    return ModularNetwork(
        Topology(name="one area", areas=(Area(name="all", size=size),)),
        kind="gru",
        bin_s=like.bin_s,
        session_size=like.session_size,
        seed=seed,
    )
