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

    def products(self, way: str, shape_NTBH: torch.Size, first: int, last: int, since: int = 0) -> Products:
        """Between what is heard in the bins from `first` to before `last` and what was said for it at or after `since`.

        way: FORWARD, said x weights into heard; BACKWARD, heard x turned weights into said; OF_WEIGHTS, turned said x
        heard into weights.
        """
        _, n_bins, n_batch, size = shape_NTBH
        begin = np.maximum(first, since + self.delay)
        rows = np.maximum(last - begin, 0) * n_batch
        heard = (self.target * n_bins + begin) * (n_batch * size)
        said = (self.source * n_bins + begin - self.delay) * (n_batch * size)
        weight = self.edge * size**2
        places = {FORWARD: (said, weight, heard), BACKWARD: (heard, weight, said), OF_WEIGHTS: (said, heard, weight)}
        return Products(size, way == OF_WEIGHTS, *places[way], rows, self.parts)


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
        before = torch.zeros_like(alpha_NBH)
        for first, last in routes.blocks(drive.shape[1], every):
            if routes.far:
                routes.far[0].products(FORWARD, heard.shape, first, last).add(states, weights, heard)
            for t in range(first, last):
                routes.near[0].products(FORWARD, heard.shape, t, t + 1).add(states, weights, heard)
                target = _drawn_to(heard[:, t], dale)
                before = torch.lerp(before, target, alpha_NBH, out=states[:, t])
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
        rest = torch.zeros_like(alpha)
        carried, of_alpha = rest, torch.zeros_like(alpha)
        for first, last in reversed(routes.blocks(shape[1], every)):
            since = first // every * every if every else 0
            for t in range(last - 1, first - 1, -1):
                now, target = gradient[:, t].add_(carried), targets[:, t]
                of_alpha.addcmul_(now, target - (states[:, t - 1] if t else rest))
                drawn = now * alpha
                carried = rest if every and t == since else now - drawn
                torch.mul(drawn, _slope(target, ctx.dale), out=now)
                routes.near[1].products(BACKWARD, shape, t, t + 1, since).add(gradient, back, gradient)
            if routes.far:
                routes.far[1].products(BACKWARD, shape, first, last, since).add(gradient, back, gradient)
        of_weights = torch.zeros_like(weights)
        routes.each.products(OF_WEIGHTS, shape, 0, shape[1]).add(states, gradient, of_weights)
        return gradient, of_weights, of_alpha.sum(dim=1, keepdim=True), None, None, None


def _drawn_to(heard: Tensor, dale: bool) -> Tensor:
    """tanh, or by Dale's law tanh of softplus, in place; by the logistic function, which torch has a quick one of."""
    if dale:
        heard.copy_(torch.nn.functional.softplus(heard))
    return heard.mul_(2).sigmoid_().mul_(2).sub_(1)


def _slope(target: Tensor, dale: bool) -> Tensor:
    """Of `_drawn_to`, by its value."""
    slope = 1 - target.square()
    return slope * (1 - ((1 - target) / (1 + target)).sqrt()) if dale else slope
