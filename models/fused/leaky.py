"""Leaky units on a CPU: each pathway's product adds up where it arrives (`routes.py`), what an area sends itself, too.

Shapes: N nodes, T bins, B batch, H units, E pathways, D bins of a block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import leaks, passes
from .routes import BACKWARD, FORWARD, OF_WEIGHTS, Routes
from .small_products import alone

if TYPE_CHECKING:
    from ..messages import Messages


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
        near, far = routes.sums(FORWARD, states, weights, heard)
        assert near is not None
        arrays = passes.flat(heard, states, alpha_NBH)
        for first, last in routes.blocks(drive.shape[1], every):
            if far:
                far.add(first, last)
            for t in range(first, last):
                near.add(t, t + 1)
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
        near, far = routes.sums(BACKWARD, gradient, back, gradient)
        assert near is not None
        arrays = passes.flat(gradient, targets, states, alpha, carried, of_alpha)
        for first, last in reversed(routes.blocks(shape[1], every)):
            since = first // every * every if every else 0
            for t in range(last - 1, first - 1, -1):
                is_cut = bool(every) and t == since
                leaks.back(carried, arrays, t, dale=ctx.dale, is_cut=is_cut)
                near.add(t, t + 1, beginning=since)
            if far:
                far.add(first, last, beginning=since)
        of_weights = torch.zeros_like(weights)
        routes.each.sums(OF_WEIGHTS, states, of_weights, gradient).add(0, shape[1])
        return gradient, of_weights, of_alpha.sum(dim=1, keepdim=True), None, None, None, None
