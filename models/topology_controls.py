"""Control topologies: what a network does without this connectome, or with another that shares some of its numbers."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations
from math import exp

from .topology import Pathway, Topology, TopologyError

SWAPS_PER_PATHWAY = 20


def rewired(topology: Topology, *, seed: int = 0) -> Topology:
    """Pathways swap targets pairwise (Maslov and Sneppen 2002): in- and out-degree of every area stay.

    Weight, length, sign and kind go with the pathway, so their distributions stay too; where a pathway ends does not.
    """
    draw = random.Random(seed)
    pathways = list(topology.pathways)
    taken = {(p.source, p.target) for p in pathways}
    for _ in range(SWAPS_PER_PATHWAY * len(pathways) if len(pathways) > 1 else 0):
        i, j = draw.sample(range(len(pathways)), 2)
        a, b = pathways[i], pathways[j]
        new = {(a.source, b.target), (b.source, a.target)}
        if a.source == b.target or b.source == a.target or len(new) < 2 or new & taken:
            continue
        taken = (taken - {(a.source, a.target), (b.source, b.target)}) | new
        pathways[i], pathways[j] = replace(a, target=b.target), replace(b, target=a.target)
    return replace(topology, name=f"{topology.name}, rewired {seed}", pathways=tuple(pathways))


def dense(topology: Topology) -> Topology:
    """Every area to every other with equal weight, the total weight kept; lengths by distance, or the mean length."""
    pairs = list(permutations(topology.area_names, 2))
    total = sum(pathway.weight for pathway in topology.pathways) or float(len(pairs))
    mean_mm = sum(p.length_mm for p in topology.pathways) / max(1, len(topology.pathways))
    placed = all(area.position_mm is not None for area in topology.areas)
    pathways = tuple(
        Pathway(
            source=source,
            target=target,
            weight=total / len(pairs),
            length_mm=topology.distance_mm(source, target) if placed else mean_mm,
        )
        for source, target in pairs
    )
    return replace(topology, name=f"{topology.name}, dense", pathways=pathways)


def distance_only(topology: Topology, *, scale_mm: float = 30.0) -> Topology:
    """As many pathways as before, the shortest ones, with weight exp(-distance / scale_mm).

    Raises TopologyError where an area has no position or the scale is not above 0.
    """
    if scale_mm <= 0:
        raise TopologyError(f"{topology.name}: scale_mm is {scale_mm}; a number above 0 is needed")
    distances_mm = {ends: topology.distance_mm(*ends) for ends in permutations(topology.area_names, 2)}
    shortest = sorted(distances_mm, key=lambda ends: (distances_mm[ends], ends))[: len(topology.pathways)]
    pathways = tuple(
        Pathway(source=s, target=t, weight=exp(-distances_mm[s, t] / scale_mm), length_mm=distances_mm[s, t])
        for s, t in shortest
    )
    return replace(topology, name=f"{topology.name}, distance only", pathways=pathways)
