"""Each pathway's product adds up where it arrives: the way through time on a CPU.

States lie as (N, T, B, H), so what an area was in D bins in a row is one matrix of (D B, H), and so is what an area
hears in D bins: whatever the delay, a pathway reads the one and adds to the other where they lie. Nothing is gathered
or scattered. The gradient of a pathway's weights is one product over all bins.

Shapes: N nodes, T bins, B batch, H units, E pathways, D bins of a block.
"""

from __future__ import annotations

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
    weights = torch.cat([weight_EHH, local_NHH])
    states: Tensor = _Walk.apply(drive_NTBH, weights, alpha_N1H, routes, dale, every)  # type: ignore[no-untyped-call]
    return states


@dataclass(frozen=True, eq=False)
class Paths:
    """Pathways, sorted by the node at one end. parts: where another node begins, from 0 to their number."""

    edge: Places
    source: Places
    target: Places
    delay: Places
    parts: Places

    @classmethod
    def sorted_by(cls, key: str, table: dict[str, Places]) -> Paths:
        """table: `edge`, `source`, `target` and `delay` of each, (E,)."""
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
        weight = self.edge * size**2
        places = {FORWARD: (said, weight, heard), BACKWARD: (heard, weight, said), OF_WEIGHTS: (said, heard, weight)}
        return Products(size, n_batch, way == OF_WEIGHTS, *places[way], self.delay, self.parts)


@dataclass(frozen=True, eq=False)
class Routes:
    """Who hears whom, after how long. What an area sends to itself is a pathway of one bin, numbered after the others.

    ahead: D, the shortest delay between areas. near: what is done bin by bin. far: what is done for D bins at once,
    where D is more than 1. Both by target, for the way forward, and by source, for the way back.
    """

    ahead: int
    near: tuple[Paths, Paths]
    far: tuple[Paths, Paths] | None
    each: Paths

    @classmethod
    def of(cls, messages: Messages, n_nodes: int) -> Routes:
        """Of a network; made once for it."""
        kept: Routes | None = messages.__dict__.get("_routes")
        if kept is None:
            kept = messages.__dict__["_routes"] = cls._made(messages, n_nodes)
        return kept

    @classmethod
    def _made(cls, messages: Messages, n_nodes: int) -> Routes:
        n_edges, nodes = len(messages.edges), np.arange(n_nodes)
        ends = np.array([(e.source, e.target, e.delay_bins) for e in messages.edges], np.int64).reshape(-1, 3)
        between = {"edge": np.arange(n_edges), "source": ends[:, 0], "target": ends[:, 1], "delay": ends[:, 2]}
        own = {"edge": n_edges + nodes, "source": nodes, "target": nodes, "delay": np.ones_like(nodes)}
        both = {name: np.concatenate([between[name], own[name]]) for name in own}
        apart = bool(n_edges) and messages.min_delay > 1
        each = Paths.sorted_by("edge", both)
        return cls(
            messages.min_delay if apart else 1,
            _both_ways(own if apart else both),
            _both_ways(between) if apart else None,
            each,
        )

    def products(self, way: str, shape_NTBH: torch.Size) -> tuple[Products, Products | None]:
        """What is done bin by bin, and what for D bins at once."""
        side = int(way == BACKWARD)
        return self.near[side].products(way, shape_NTBH), self.far and self.far[side].products(way, shape_NTBH)

    def blocks(self, n_bins: int, every: int) -> list[tuple[int, int]]:
        """First bin and the bin after the last of stretches in which nothing far arrives, and no gradient is cut."""
        steps = {*range(0, n_bins, self.ahead), *(range(0, n_bins, every) if every else ())}
        return list(pairwise([*sorted(steps), n_bins]))


def _both_ways(table: dict[str, Places]) -> tuple[Paths, Paths]:
    return Paths.sorted_by("target", table), Paths.sorted_by("source", table)


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
        for first, last in routes.blocks(drive.shape[1], every):
            if far:
                far.add(states, weights, heard, first, last)
            for t in range(first, last):
                near.add(states, weights, heard, t, t + 1)
                leaks.onward(heard, states, alpha_NBH, t, dale=dale)
        ctx.save_for_backward(states, heard, weights, alpha_NBH)
        ctx.routes, ctx.dale, ctx.every = routes, dale, every
        return states

    @staticmethod
    @once_differentiable
    @alone
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, targets, weights, alpha = ctx.saved_tensors
        routes, every, shape = ctx.routes, ctx.every, states.shape
        back = weights.transpose(1, 2).contiguous()
        # Of each bin first the gradient of its states, and once nothing more comes to it, that of what was heard.
        gradient = grad.clone(memory_format=torch.contiguous_format)
        carried, of_alpha = torch.zeros_like(alpha), torch.zeros_like(alpha)
        near, far = routes.products(BACKWARD, shape)
        for first, last in reversed(routes.blocks(shape[1], every)):
            since = first // every * every if every else 0
            for t in range(last - 1, first - 1, -1):
                is_cut = bool(every) and t == since
                leaks.back(gradient, targets, states, alpha, carried, of_alpha, t, dale=ctx.dale, is_cut=is_cut)
                near.add(gradient, back, gradient, t, t + 1, beginning=since)
            if far:
                far.add(gradient, back, gradient, first, last, beginning=since)
        of_weights = torch.zeros_like(weights)
        routes.each.products(OF_WEIGHTS, shape).add(states, gradient, of_weights, 0, shape[1])
        return gradient, of_weights, of_alpha.sum(dim=1, keepdim=True), None, None, None, None
