"""A network as a run's settings tell of it, and built again from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from neuroloom.models import ModularNetwork, Port, Topology


def described(network: ModularNetwork) -> dict[str, Any]:
    """What builds the same network again, less what only sets first weights: the checkpoint has them."""
    kinds = {
        network.node_names[node]: type(group.packed).__module__.rsplit(".", 1)[-1]
        for group in network.groups
        for node in group.nodes.tolist()
    }
    noise = {name: float(value) for name, value in zip(network.node_names, network.noise_scale.flatten(), strict=True)}
    sessions = {name: _ports_said(network, name) for name in _session_names(network)}
    return {
        "settings": {
            "bin_s": network.bin_s,
            "kind": kinds,
            "kind_options": network.kind_options,
            "rank": network.messages.rank,
            "dale": network.messages.dale,
            "session_size": network.session_size,
            "noise": noise,
            "detach_every": network.detach_every,
            "recompute_bins": network.recompute_bins,
            "seed": network.seed,
        },
        "sessions": sessions,
    }


def _session_names(network: ModularNetwork) -> Iterator[str]:
    for key in network.sessions:
        yield unquote(key.removeprefix("n_"))


def _ports_said(network: ModularNetwork, session: str) -> dict[str, Any]:
    inputs, outputs = network.ports(session)
    return {"inputs": [asdict(port) for port in inputs], "outputs": [asdict(port) for port in outputs]}


def rebuilt(said: Mapping[str, Any], topology: Path) -> ModularNetwork:
    """The network that `described` told of, with first weights of its own."""
    network = ModularNetwork(Topology.read(topology), **said["settings"])
    for session, ports in said["sessions"].items():
        network.attach(session, *([Port.from_table(row) for row in ports[side]] for side in ("inputs", "outputs")))
    return network


def sized(topology: Topology, sizes: list[int]) -> Topology:
    """The topology with the number of units of every area and global module written into it."""
    n_areas = len(topology.areas)
    return replace(
        topology,
        areas=tuple(replace(a, size=n) for a, n in zip(topology.areas, sizes[:n_areas], strict=True)),
        global_modules=tuple(replace(m, size=n) for m, n in zip(topology.global_modules, sizes[n_areas:], strict=True)),
    )
