"""Gated units (`modules/gru.py`) on a CPU, their backward pass written by hand.

    forward     per block of D bins (the shortest delay): all messages, and what is heard to the gates; then bin by bin
                the states to the gates, what these let through to the candidates, and the new states
    backward    the same, from the end; the gradient of any weight is one product over all bins

A node's own weights are five matrices, and what they join are pathways of no or one bin between five tensors that lie
alike: of heard, states, kept (what the reset gates let through), candidates and gates, each (N, T, B, H), but two
gates to a node: all that reset, then all that update.

Shapes: N nodes, T bins, B batch, H units, E pathways, D bins of a block.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import passes
from .routes import BACKWARD, FORWARD, OF_WEIGHTS, Paths, Routes
from .small_products import Sums, alone, share

if TYPE_CHECKING:
    from ..messages import Messages

STATE, HEARD, KEPT = 0, 2, 4  # whose weights begin after so many matrices of each node


def walk(
    drive_NTBH: Tensor,
    weight_EHH: Tensor,
    own: tuple[Tensor, Tensor, Tensor],
    rate_N1H: Tensor,
    exists_N1H: Tensor | None,
    messages: Messages,
    every: int,
) -> Tensor:
    """States, (N, T, B, H). every: bins after which the gradient is cut, 0 for never.

    own: weights to candidates (N, H, H) and to gates (N, 2 H, 2 H), from state, then heard, to reset, then update; and
    what gates begin with (N, 1, 2 H).
    """
    routes = Routes.of(messages, 0)
    weights = weight_EHH.index_select(0, routes.by_target)
    weight, gate_weight, gate_bias = own
    n_nodes, size = weight.shape[:2]
    to_gates = gate_weight.view(n_nodes, 2, size, 2, size).permute(1, 3, 0, 2, 4).reshape(-1, size, size)
    bias = gate_bias.view(n_nodes, 1, 2, size).permute(2, 0, 1, 3).reshape(-1, 1, size)
    asked = (drive_NTBH, weights, torch.cat([to_gates, weight]), bias, rate_N1H, exists_N1H, routes, every)
    states: Tensor = _Walk.apply(*asked)  # type: ignore[no-untyped-call]
    return states


def _own(way: str, said: Tensor, weights: Tensor, heard: Tensor, *, which: int) -> Sums:
    """What a node's own weights join: states or what is heard to gates, or what is kept to candidates."""
    nodes = np.arange(len(said))
    source = nodes if which == KEPT else np.tile(nodes, 2)
    target = np.arange(len(source))
    table = {
        "source": source,
        "target": target,
        "weight": which * len(nodes) + target,
        "delay": np.full(len(source), int(which == STATE)),
    }
    key = {FORWARD: "target", BACKWARD: "source", OF_WEIGHTS: "weight"}[way]
    return Paths.sorted_by(key, table).sums(way, said, weights, heard)


class _Walk(torch.autograd.Function):
    """drive (N, T, B, H), weights (E, H, H), own (5 N, H, H), bias (2 N, 1, H), rate (N, 1, H) -> states (N, T, B, H).

    rate and exists, (N, 1, H) or None, have no gradient.
    """

    @staticmethod
    @alone
    def forward(
        ctx: Any,
        drive: Tensor,
        weights: Tensor,
        own: Tensor,
        bias: Tensor,
        rate: Tensor,
        exists: Tensor | None,
        routes: Routes,
        every: int,
    ) -> Tensor:
        n_nodes, n_bins, n_batch, size = drive.shape
        heard = drive.clone(memory_format=torch.contiguous_format)
        gates = bias[:, None].expand(2 * n_nodes, n_bins, n_batch, size).contiguous()
        states, kept, candidates = (torch.empty_like(heard) for _ in range(3))
        rate_NBH = rate.expand(n_nodes, n_batch, size).contiguous()
        _, far = routes.sums(FORWARD, states, weights, heard)
        state_to_gates = _own(FORWARD, states, own, gates, which=STATE)
        heard_to_gates = _own(FORWARD, heard, own, gates, which=HEARD)
        kept_to_candidates = _own(FORWARD, kept, own, candidates, which=KEPT)
        compiled = _compiled()
        flat_gates, flat_states, flat_kept, *rest = passes.flat(gates, states, kept, candidates, rate_NBH)
        cuts = passes.of_nodes(states[:, 0])
        for first, last in routes.blocks(n_bins, every):
            if far:
                far.add(first, last)
            if exists is not None:
                heard[:, first:last].mul_(exists[:, None])
            heard_to_gates.add(first, last)
            candidates[:, first:last] = heard[:, first:last]
            for t in range(first, last):
                state_to_gates.add(t, t + 1)
                gates[:, t].sigmoid_()
                share(cuts, lambda *cut, t=t: compiled.reset()(flat_gates, flat_states, flat_kept, t, *cut))
                kept_to_candidates.add(t, t + 1)
                candidates[:, t].mul_(2).sigmoid_()
                share(cuts, lambda *cut, t=t: compiled.onward()(flat_gates, flat_states, *rest, t, *cut))
        ctx.save_for_backward(heard, states, kept, candidates, gates, weights, own, rate_NBH, exists)
        ctx.routes, ctx.every = routes, every
        return states

    @staticmethod
    @once_differentiable
    @alone
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        heard, states, kept, candidates, gates, weights, own, rate, exists = ctx.saved_tensors
        routes, every, shape = ctx.routes, ctx.every, states.shape
        back = weights.index_select(0, routes.by_source).transpose(1, 2).contiguous()
        own_back = own.transpose(1, 2).contiguous()
        # Of each bin first the gradient of its states, and once nothing more comes to it, that of what was heard.
        gradient = grad.clone(memory_format=torch.contiguous_format)
        of_gates, of_candidates, of_kept = torch.empty_like(gates), torch.empty_like(states), torch.zeros_like(states)
        _, far = routes.sums(BACKWARD, gradient, back, gradient)
        state_to_gates = _own(BACKWARD, gradient, own_back, of_gates, which=STATE)
        heard_to_gates = _own(BACKWARD, gradient, own_back, of_gates, which=HEARD)
        kept_to_candidates = _own(BACKWARD, of_kept, own_back, of_candidates, which=KEPT)
        compiled = _compiled()
        before = passes.flat(gates, states, candidates, rate, gradient, of_gates, of_candidates)
        after = passes.flat(gates, states, of_kept, gradient, of_gates)
        cuts = passes.of_nodes(states[:, 0])
        for first, last in reversed(routes.blocks(shape[1], every)):
            since = first // every * every if every else 0
            for t in range(last - 1, first - 1, -1):
                asked = (t, t == since)
                share(cuts, lambda *cut, asked=asked: compiled.back()(*before, *asked, *cut))
                kept_to_candidates.add(t, t + 1)
                share(cuts, lambda *cut, asked=asked: compiled.back_of_reset()(*after, *asked, *cut))
                state_to_gates.add(t, t + 1, beginning=since)
            heard_to_gates.add(first, last)
            if exists is not None:
                gradient[:, first:last].mul_(exists[:, None])
            if far:
                far.add(first, last, beginning=since)
        of_weights, of_own = torch.zeros_like(weights), torch.zeros_like(own)
        if far:
            routes.each.sums(OF_WEIGHTS, states, of_weights, gradient).add(0, shape[1])
        for which, said, heard_of in ((STATE, states, of_gates), (HEARD, heard, of_gates), (KEPT, kept, of_candidates)):
            _own(OF_WEIGHTS, said, of_own, heard_of, which=which).add(0, shape[1])
        return gradient, of_weights, of_own, of_gates.sum(dim=(1, 2))[:, None], None, None, None, None


def _compiled() -> ModuleType:
    from . import _gate

    return _gate
