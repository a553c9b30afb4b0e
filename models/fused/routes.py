"""Who hears whom, after how long, as lists of products of what was said with the weights of the pathways.

States lie as (N, T, B, H), so what an area was in D bins in a row is one matrix of (D B, H), and so is what an area
hears in D bins: whatever the delay, a pathway reads the one and adds to the other where they lie. Nothing is gathered
or scattered. The gradient of a pathway's weights is one product over all bins.

Shapes: N nodes, T bins, B batch, H units, E pathways, D bins of a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .small_products import Places, Products, Sums

if TYPE_CHECKING:
    from ..messages import Messages

FORWARD, BACKWARD, OF_WEIGHTS = "forward", "backward", "of weights"


@dataclass(frozen=True, eq=False)
class Paths:
    """Pathways, sorted by the node at one end. parts: where another node begins, from 0 to their number.

    weight: which of the matrices of weights is theirs.
    """

    weight: Places
    source: Places
    target: Places
    delay: Places
    parts: Places

    @classmethod
    def sorted_by(cls, key: str, table: Mapping[str, Places]) -> Paths:
        """table: `weight`, `source`, `target` and `delay` of each, (E,)."""
        order = np.argsort(table[key], kind="stable")
        parts = np.flatnonzero(np.diff(table[key][order], prepend=-1, append=-1))
        return cls(**{name: column[order] for name, column in table.items()}, parts=parts)

    def sums(self, way: str, said: Tensor, weights: Tensor, heard: Tensor) -> Sums:
        """Between what is heard in a bin and what was said for it, both (N, T, B, H) with as many nodes as need be.

        way: FORWARD, said x weights into heard; BACKWARD, heard x turned weights into said; OF_WEIGHTS, turned said x
        heard into weights.
        """
        _, n_bins, n_batch, size = said.shape
        of_heard = (heard, self.target * (n_bins * n_batch * size))
        of_said = (said, (self.source * n_bins - self.delay) * (n_batch * size))
        of_weights = (weights, self.weight * size**2)
        order = {
            FORWARD: (of_said, of_weights, of_heard),
            BACKWARD: (of_heard, of_weights, of_said),
            OF_WEIGHTS: (of_said, of_heard, of_weights),
        }
        (left, left_at), (right, right_at), (result, result_at) = order[way]
        places = (left_at, right_at, result_at, self.delay, self.parts)
        return Products(size, n_batch, way == OF_WEIGHTS, *places).of(left, right, result)


@dataclass(frozen=True, eq=False)
class Routes:
    """Who hears whom. Where it is asked for, what an area sends to itself is a pathway of one bin, numbered last.

    ahead: D, the shortest delay between areas; 0 where nobody hears another. near: what is done bin by bin, and what
    areas send to themselves. far: what is done for D bins at once. Both by target, for the way forward, and by source,
    for the way back. each: all, by their weights.
    by_target: numbers of the pathways as their weights lie for the way forward, and by_source: which of these come
    after which for the way back, so that each way reads its weights from the first to the last: they are more than a
    cache holds.
    """

    ahead: int
    near: tuple[Paths, Paths] | None
    far: tuple[Paths, Paths] | None
    each: Paths
    by_target: Tensor
    by_source: Tensor

    @classmethod
    def of(cls, messages: Messages, n_own: int) -> Routes:
        """Of a network; made once for it. n_own: areas that send to themselves: all or none."""
        kept: Routes | None = messages.__dict__.get("_routes")
        if kept is None:
            kept = messages.__dict__["_routes"] = cls._made(messages, n_own)
        return kept

    @classmethod
    def _made(cls, messages: Messages, n_own: int) -> Routes:
        ends = [(e.source, e.target, e.delay_bins) for e in messages.edges] + [(n, n, 1) for n in range(n_own)]
        source, target, delay = np.array(ends, np.int64).reshape(-1, 3).T
        n_edges, shortest = len(messages.edges), messages.min_delay if messages.edges else 0
        apart = shortest > (1 if n_own else 0)
        by_target = np.argsort(target, kind="stable")
        by_source = np.argsort(source[by_target], kind="stable")
        forward = np.argsort(by_target)
        back = np.argsort(by_source)[forward]

        def both_ways(first: int, last: int | None) -> tuple[Paths, Paths]:
            table = {"source": source[first:last], "target": target[first:last], "delay": delay[first:last]}
            return (
                Paths.sorted_by("target", {**table, "weight": forward[first:last]}),
                Paths.sorted_by("source", {**table, "weight": back[first:last]}),
            )

        return cls(
            1 if n_own and not apart else shortest,
            both_ways(n_edges if apart else 0, None) if n_own else None,
            both_ways(0, n_edges) if apart else None,
            Paths.sorted_by("weight", {"source": source, "target": target, "delay": delay, "weight": forward}),
            torch.from_numpy(by_target),
            torch.from_numpy(by_source),
        )

    def sums(self, way: str, said: Tensor, weights: Tensor, heard: Tensor) -> tuple[Sums | None, Sums | None]:
        """What is done bin by bin, and what for D bins at once."""
        side = int(way == BACKWARD)
        near, far = (paths and paths[side].sums(way, said, weights, heard) for paths in (self.near, self.far))
        return near, far

    def blocks(self, n_bins: int, every: int) -> list[tuple[int, int]]:
        """First bin and the bin after the last of stretches in which nothing far arrives, and no gradient is cut."""
        steps = {*range(0, n_bins, self.ahead or n_bins), *(range(0, n_bins, every) if every else ())}
        return list(pairwise([*sorted(steps), n_bins]))
