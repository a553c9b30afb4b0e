"""Control topologies: what a network does without this connectome, or with another that shares some of its numbers.

rewired             kept: in- and out-degree, all weights, all lengths; lost: which weight and length lie where
rewired_by_length   kept: in- and out-degree, all weights, lengths to within a bin, weight by length; lost: the rest
dense               kept: total weight
distance_only       kept: number of pathways
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from math import exp
from statistics import fmean, median

from .topology import Pathway, Topology, TopologyError

SWAPS_PER_PATHWAY = 20
TRIES_PER_PATHWAY = 600  # most swaps would change the lengths and are refused
MOST_BINS = 15
LINKS_PER_BIN = 8

Bundle = tuple[Pathway, ...]  # one pathway, or the two directions of a link


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
    ends = {(p.source, p.target) for p in topology.pathways}
    kept = len(ends & taken) / len(ends) if ends else 0.0
    note = (f"rewired: {kept:.0%} of the pairs of areas stay joined",) if ends else ()
    return replace(
        topology,
        name=f"{topology.name}, rewired {seed}",
        pathways=tuple(pathways),
        notes=(*topology.notes, *note),
    )


def rewired_by_length(topology: Topology, *, seed: int = 0) -> Topology:
    """As `rewired`, but only swaps that keep the distribution of lengths are made (Betzel and Bassett 2018).

    A swap is made where the two new pathways lie in the same bins of length as the two old ones; bins hold about
    equally many pathways, at most 15. Then the n-th shortest pathway takes over weight, sign and kind of the n-th
    shortest before, so that long pathways stay as weak as they were (the relation that Roberts et al. 2016 keep by
    resampling). Where all pathways come in pairs, forth and back, pairs are swapped, so that loops stay loops.

    The length of a pathway that was not there is its straight distance times the median detour (length over distance)
    of those that were. Degrees are kept exactly, lengths to within a bin; `notes` says by how much they moved.
    Raises TopologyError where an area has no position.
    """
    bundles = _bundles(topology)
    length_mm = _lengths(topology)
    ends = [(bundle[0].source, bundle[0].target) for bundle in bundles]
    old = sorted(zip((length_mm(*pair) for pair in ends), range(len(ends)), strict=True))
    edges = _bin_edges([mm for mm, _ in old])
    moved = _swapped(ends, lambda a, b: bisect_right(edges, length_mm(a, b)), _is_paired(bundles), random.Random(seed))
    new = sorted(zip((length_mm(*pair) for pair in moved), range(len(moved)), strict=True))
    pathways: list[Pathway] = []
    for (mm, n), (_, before) in zip(new, old, strict=True):
        a, b = moved[n]
        turns = ((a, b), (b, a))
        pathways += [replace(p, source=s, target=t, length_mm=mm) for p, (s, t) in zip(bundles[before], turns)]  # noqa: B905
    return replace(
        topology,
        name=f"{topology.name}, rewired by length {seed}",
        pathways=tuple(pathways),
        notes=(*topology.notes, *_moved_note(ends, moved, [m[0] for m in old], [m[0] for m in new])),
    )


def _bundles(topology: Topology) -> list[Bundle]:
    """The two directions of each link where every pathway has its way back, else every pathway by itself."""
    by_ends = {(p.source, p.target): p for p in topology.pathways}
    if any((target, source) not in by_ends for source, target in by_ends):
        return [(pathway,) for pathway in topology.pathways]
    return [(p, by_ends[p.target, p.source]) for p in topology.pathways if p.source < p.target]


def _is_paired(bundles: Sequence[Bundle]) -> bool:
    return bool(bundles) and len(bundles[0]) == 2


def _lengths(topology: Topology) -> Callable[[str, str], float]:
    """The length of a pathway between any two areas, mm: its own where it exists, else distance times detour."""
    known = {(p.source, p.target): p.length_mm for p in topology.pathways}
    distances = {ends: topology.distance_mm(*ends) for ends in known}
    detours = [known[ends] / distances[ends] for ends in known if distances[ends] > 0 and known[ends] > 0]
    detour = median(detours) if detours else 1.0

    def length_mm(source: str, target: str) -> float:
        if (source, target) not in known:
            known[source, target] = topology.distance_mm(source, target) * detour
        return known[source, target]

    return length_mm


def _bin_edges(sorted_mm: Sequence[float]) -> list[float]:
    """Inner edges of bins that hold about equally many."""
    n_bins = max(1, min(MOST_BINS, len(sorted_mm) // LINKS_PER_BIN))
    return [sorted_mm[len(sorted_mm) * k // n_bins] for k in range(1, n_bins)]


def _swapped(
    ends: Sequence[tuple[str, str]], bin_of: Callable[[str, str], int], paired: bool, draw: random.Random
) -> list[tuple[str, str]]:
    """Ends after swaps that keep every degree and how many lie in each bin."""
    moved, taken = list(ends), {frozenset(pair) if paired else pair for pair in ends}
    done, wanted = 0, SWAPS_PER_PATHWAY * len(moved) // 2
    for _ in range(TRIES_PER_PATHWAY * len(moved) if len(moved) > 1 else 0):
        if done == wanted:
            break
        i, j = draw.sample(range(len(moved)), 2)
        (a, b), (c, d) = moved[i], moved[j][::-1] if paired and draw.random() < 0.5 else moved[j]
        new = [(a, d), (c, b)]
        keys = {frozenset(pair) if paired else pair for pair in new}
        if a == d or c == b or len(keys) < 2 or keys & taken:
            continue
        if sorted(bin_of(*pair) for pair in new) != sorted((bin_of(a, b), bin_of(c, d))):
            continue
        taken = (taken - {frozenset(pair) if paired else pair for pair in ((a, b), (c, d))}) | keys
        moved[i], moved[j] = new
        done += 1
    return moved


def _moved_note(
    ends: Sequence[tuple[str, str]], moved: Sequence[tuple[str, str]], old_mm: Sequence[float], new_mm: Sequence[float]
) -> tuple[str, ...]:
    if not ends:
        return ()
    kept = len({frozenset(pair) for pair in ends} & {frozenset(pair) for pair in moved}) / len(ends)
    apart_mm = fmean(abs(a - b) for a, b in zip(old_mm, new_mm, strict=True))
    return (
        f"rewired by length: {kept:.0%} of the pairs of areas stay joined; sorted lengths moved by {apart_mm:.1f} mm",
    )


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
