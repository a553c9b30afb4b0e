"""Who is joined to whom in a network: the edges and the nodes of a topology, in bins of time.

Nodes are areas, then global modules, by number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .groups import Node
from .messages import Edge
from .topology import Topology


def edges_of(topology: Topology, bin_s: float, coupling: float) -> list[Edge]:
    """Pathways, then the two directions of every global module, each with its share of its target's variance.

    coupling: share of the variance of what a node gets that comes from others. A pathway takes a bin at least.
    """
    node = {name: number for number, name in enumerate(topology.node_names)}
    ends = [
        (node[p.source], node[p.target], max(1, round(delay_s / bin_s)), p.weight, p.sign)
        for p, delay_s in zip(topology.pathways, topology.delays_s(), strict=True)
    ]
    ends += _of_global_modules(topology, node, ends)
    power = [0.0] * len(node)
    for _, target, _, weight, _ in ends:
        power[target] += weight**2
    return [
        Edge(source=s, target=t, delay_bins=d, share=coupling * w**2 / power[t], sign=sign) for s, t, d, w, sign in ends
    ]


Ends = tuple[int, int, int, float, int]  # source, target, delay in bins, weight, sign


def _of_global_modules(topology: Topology, node: Mapping[str, int], pathways: Sequence[Ends]) -> Iterator[Ends]:
    """What joins them to their areas and back: into an area as strong as its mean pathway."""
    weights_in: dict[int, list[float]] = {}
    for _, target, _, weight, _ in pathways:
        weights_in.setdefault(target, []).append(weight)
    for module in topology.global_modules:
        for area in module.areas or topology.area_names:
            weights = weights_in.get(node[area], [1.0])
            yield node[module.name], node[area], 1, sum(weights) / len(weights), 0
            yield node[area], node[module.name], 1, 1.0, 0


def nodes_of(
    topology: Topology, kinds: Sequence[str], edges: Sequence[Edge], *, bin_s: float, tau_s: float
) -> list[Node]:
    """Every node: areas, whose time constant begins at `tau_s`, and global modules, whose own stays as it is."""
    heard = {edge.target for edge in edges}
    n_areas = len(topology.areas)
    clocks = [(tau_s, 1)] * n_areas
    clocks += [(module.time_scale_s, max(1, round(module.every_s / bin_s))) for module in topology.global_modules]
    return [
        Node(
            kind=kind,
            period_bins=period_bins,
            tau_bins=tau_s / bin_s / period_bins,
            has_fixed_tau=number >= n_areas,
            hears=number in heard,
        )
        for number, (kind, (tau_s, period_bins)) in enumerate(zip(kinds, clocks, strict=True))
    ]
