"""Each pathway's product adds up where it arrives: the way through time on a CPU.

States lie as (N, T, B, H), so what an area was in D bins in a row is one matrix of (D B, H), and so is what an area
hears in D bins: whatever the delay, a pathway reads the one and adds to the other where they lie. Nothing is gathered
or scattered. The gradient of a pathway's weights is one product over all bins.

Shapes: N nodes, T bins, B batch, H units, E pathways, D bins of a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import leaks
from .small_products import Places, Products, alone

if TYPE_CHECKING:
    from ..messages import Messages

FORWARD, BACKWARD, OF_WEIGHTS = "forward", "backward", "of weights"


def walk(
    drive_NTBH: Tensor,
    weight_EHH: Tensor,
    local_NHH: Tensor,
    alpha_N1H: Tensor,
    messages: Messages,
    dale: bool,
    every: int,
) -> Tensor:
    """States, (N, T, B, H). every: bins after which the gradient is cut, 0 for never."""
    routes = Routes.of(messages, len(local_NHH))
    weights = torch.cat([weight_EHH, local_NHH]).index_select(0, routes.by_target)
    states: Tensor = _Walk.apply(drive_NTBH, weights, alpha_N1H, routes, dale, every)  # type: ignore[no-untyped-call]
    return states


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

    def products(self, way: str, shape_NTBH: torch.Size) -> Products:
        """Between what is heard in a bin and what was said for it.

        way: FORWARD, said x weights into heard; BACKWARD, heard x turned weights into said; OF_WEIGHTS, turned said x
        heard into weights.
        """
        _, n_bins, n_batch, size = shape_NTBH
        heard = self.target * (n_bins * n_batch * size)
        said = (self.source * n_bins - self.delay) * (n_batch * size)
        weight = self.weight * size**2
        places = {FORWARD: (said, weight, heard), BACKWARD: (heard, weight, said), OF_WEIGHTS: (said, heard, weight)}
        return Products(size, n_batch, way == OF_WEIGHTS, *places[way], self.delay, self.parts)


@dataclass(frozen=True, eq=False)
class Routes:
    """Who hears whom, after how long. What an area sends to itself is a pathway of one bin, numbered after the others.

    ahead: D, the shortest delay between areas. near: what is done bin by bin. far: what is done for D bins at once,
    where D is more than 1. Both by target, for the way forward, and by source, for the way back. by_target: numbers of
    the pathways as their weights lie for the way forward, and by_source: which of these come after which for the way
    back, so that each way reads its weights from the first to the last: they are more than a cache holds.
    """

    ahead: int
    near: tuple[Paths, Paths]
    far: tuple[Paths, Paths] | None
    each: Paths
    by_target: Tensor
    by_source: Tensor

    @classmethod
    def of(cls, messages: Messages, n_nodes: int) -> Routes:
        """Of a network; made once for it."""
        kept: Routes | None = messages.__dict__.get("_routes")
        if kept is None:
            kept = messages.__dict__["_routes"] = cls._made(messages, n_nodes)
        return kept

    @classmethod
    def _made(cls, messages: Messages, n_nodes: int) -> Routes:
        ends = [(e.source, e.target, e.delay_bins) for e in messages.edges] + [(n, n, 1) for n in range(n_nodes)]
        source, target, delay = np.array(ends, np.int64).T
        n_edges, apart = len(messages.edges), bool(messages.edges) and messages.min_delay > 1
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
            messages.min_delay if apart else 1,
            both_ways(n_edges if apart else 0, None),
            both_ways(0, n_edges) if apart else None,
            Paths.sorted_by("weight", {"source": source, "target": target, "delay": delay, "weight": forward}),
            torch.from_numpy(by_target),
            torch.from_numpy(by_source),
        )

    def products(self, way: str, shape_NTBH: torch.Size) -> tuple[Products, Products | None]:
        """What is done bin by bin, and what for D bins at once."""
        side = int(way == BACKWARD)
        return self.near[side].products(way, shape_NTBH), self.far and self.far[side].products(way, shape_NTBH)

    def blocks(self, n_bins: int, every: int) -> list[tuple[int, int]]:
        """First bin and the bin after the last of stretches in which nothing far arrives, and no gradient is cut."""
        steps = {*range(0, n_bins, self.ahead), *(range(0, n_bins, every) if every else ())}
        return list(pairwise([*sorted(steps), n_bins]))


class _Walk(torch.autograd.Function):
    """drive (N, T, B, H), weights (E + N, H, H), alpha (N, 1, H) -> states (N, T, B, H)."""

    @staticmethod
    @alone
    def forward(
        ctx: Any, drive: Tensor, weights: Tensor, alpha: Tensor, routes: Routes, dale: bool, every: int
    ) -> Tensor:
        heard = drive.clone(memory_format=torch.contiguous_format)  # what each unit hears, and then where that draws it
        states = torch.empty_like(heard)
        alpha_NBH = alpha.expand(heard[:, 0].shape).contiguous()
        near, far = routes.products(FORWARD, heard.shape)
        arrays = leaks.flat(heard, states, alpha_NBH)
        for first, last in routes.blocks(drive.shape[1], every):
            if far:
                far.add(states, weights, heard, first, last)
            for t in range(first, last):
                near.add(states, weights, heard, t, t + 1)
                leaks.onward(heard[:, t], arrays, t, dale=dale)
        ctx.save_for_backward(states, heard, weights, alpha_NBH)
        ctx.routes, ctx.dale, ctx.every = routes, dale, every
        return states

    @staticmethod
    @once_differentiable
    @alone
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, targets, weights, alpha = ctx.saved_tensors
        routes, every, shape = ctx.routes, ctx.every, states.shape
        back = weights.index_select(0, routes.by_source).transpose(1, 2).contiguous()
        # Of each bin first the gradient of its states, and once nothing more comes to it, that of what was heard.
        gradient = grad.clone(memory_format=torch.contiguous_format)
        carried, of_alpha = torch.zeros_like(alpha), torch.zeros_like(alpha)
        near, far = routes.products(BACKWARD, shape)
        arrays = leaks.flat(gradient, targets, states, alpha, carried, of_alpha)
        for first, last in reversed(routes.blocks(shape[1], every)):
            since = first // every * every if every else 0
            for t in range(last - 1, first - 1, -1):
                is_cut = bool(every) and t == since
                leaks.back(carried, arrays, t, dale=ctx.dale, is_cut=is_cut)
                near.add(gradient, back, gradient, t, t + 1, beginning=since)
            if far:
                far.add(gradient, back, gradient, first, last, beginning=since)
        of_weights = torch.zeros_like(weights)
        routes.each.products(OF_WEIGHTS, shape).add(states, gradient, of_weights, 0, shape[1])
        return gradient, of_weights, of_alpha.sum(dim=1, keepdim=True), None, None, None, None
