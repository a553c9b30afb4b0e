"""Pathways that end in the same area (backward: that start in it) laid side by side, a batched product per delay.

Design rationale: on an accelerator small products wait for their launch. Of W pathways a product of (B, H) and (H, H)
becomes one of (B, W H) and (W H, H), and the sum over pathways happens inside it. Weight gradients bin by bin, as
autograd computes them, would cost as much again.

Shapes: N nodes, T bins, B batch, H units, E pathways, K far ends, W pathways that end in each, D bins of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from ..messages import Messages

SLAB_ROWS = 1024  # bins times batch that a weight gradient is computed of at once: bounds the memory it takes


@dataclass(frozen=True, eq=False)
class Bundle:
    """The pathways of one delay to all far ends that have equally many of them.

    near: (K * W,) nodes that are read. far: (K,) nodes that are added to. edges: (K * W,) numbers of pathways.
    """

    delay: int
    near: Tensor
    far: Tensor
    edges: Tensor

    @classmethod
    def all_of(cls, ends: Sequence[tuple[int, int, int]], delay: int, device: torch.device) -> list[Bundle]:
        """ends: (number of the pathway, node that is read, node that is added to)."""
        by_far: dict[int, list[tuple[int, int]]] = {}
        for edge, near, far in ends:
            by_far.setdefault(far, []).append((edge, near))
        found = []
        for width in sorted({len(those) for those in by_far.values()}):
            alike = {node: those for node, those in by_far.items() if len(those) == width}
            columns = [pair for those in alike.values() for pair in those]
            parts = ([node for _, node in columns], list(alike), [edge for edge, _ in columns])
            found.append(cls(delay, *(torch.tensor(part, device=device) for part in parts)))
        return found

    def weights(self, weight_EHH: Tensor) -> Tensor:
        """(K, W H, H)."""
        return weight_EHH.index_select(0, self.edges).view(len(self.far), -1, weight_EHH.shape[2])

    def gathered(self, state_RNH: Tensor) -> Tensor:
        """What is read, laid side by side, (K, R, W H), of R rows."""
        picked = state_RNH.index_select(1, self.near)
        return picked.view(len(state_RNH), len(self.far), -1).transpose(0, 1)


@dataclass(frozen=True, eq=False)
class Plan:
    """How messages are packed. n_ahead: bins of a block. with_local: an area's own weights are among the pathways."""

    forward: tuple[Bundle, ...]
    backward: tuple[Bundle, ...]
    n_ahead: int
    max_delay: int
    with_local: bool

    @classmethod
    def of(cls, messages: Messages, n_nodes: int, device: torch.device) -> Plan:
        """Where a message may arrive in the next bin already, what an area sends itself is one more pathway."""
        n_edges, with_local = len(messages.edges), bool(messages.edges) and messages.min_delay == 1
        ends = [(e, edge.source, edge.target, edge.delay_bins) for e, edge in enumerate(messages.edges)]
        ends += [(n_edges + n, n, n, 1) for n in range(n_nodes)] if with_local else []
        delays = sorted({delay for *_, delay in ends})
        to_target = {delay: [(e, s, t) for e, s, t, d in ends if d == delay] for delay in delays}
        to_source = {delay: [(e, t, s) for e, s, t, d in ends if d == delay] for delay in delays}
        return cls(
            tuple(one for d, those in to_target.items() for one in Bundle.all_of(those, d, device)),
            tuple(one for d, those in to_source.items() for one in Bundle.all_of(those, d, device)),
            messages.min_delay if messages.edges else 0,
            messages.max_delay,
            with_local,
        )


def walk(
    drive_NTBH: Tensor,
    weight_EHH: Tensor,
    local_NHH: Tensor,
    alpha_N1H: Tensor,
    messages: Messages,
    dale: bool,
    every: int,
    dtype: torch.dtype,
) -> Tensor:
    """States, (N, T, B, H). every: bins after which the gradient is cut, 0 for never. dtype: that of the products."""
    plan = _plan_of(messages, len(local_NHH), drive_NTBH.device)
    states: Tensor = _Walk.apply(drive_NTBH, weight_EHH, local_NHH, alpha_N1H, plan, dale, every, dtype)  # type: ignore[no-untyped-call]
    return states


def _plan_of(messages: Messages, n_nodes: int, device: torch.device) -> Plan:
    """Made once for each network and device."""
    kept: tuple[torch.device, Plan] | None = messages.__dict__.get("_plan")
    if kept is None or kept[0] != device:
        kept = (device, Plan.of(messages, n_nodes, device))
        messages.__dict__["_plan"] = kept
    return kept[1]


class _Walk(torch.autograd.Function):
    """drive (N, T, B, H), weights (E, H, H), local (N, H, H), alpha (N, 1, H) -> states (N, T, B, H)."""

    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        weight: Tensor,
        local: Tensor,
        alpha: Tensor,
        plan: Plan,
        dale: bool,
        every: int,
        dtype: torch.dtype,
    ) -> Tensor:
        n_nodes, n_bins, n_batch, size = drive.shape
        every_weight = torch.cat([weight, local]) if plan.with_local else weight
        packed = [bundle.weights(every_weight).to(dtype) for bundle in plan.forward]
        past = plan.max_delay
        sent = torch.zeros(past + n_bins, n_batch, n_nodes, size, dtype=dtype, device=drive.device)
        states, targets = torch.empty_like(drive), torch.empty_like(drive)
        own = None if plan.with_local else local.to(dtype)
        state = drive.new_zeros(n_nodes, n_batch, size)
        for first in range(0, n_bins, plan.n_ahead or n_bins):
            last = min(first + (plan.n_ahead or n_bins), n_bins)
            total = drive[:, first:last].flatten(1, 2).clone()
            for bundle, one in zip(plan.forward, packed, strict=True):
                start = past + first - bundle.delay
                rows = sent[start : start + last - first].view(-1, n_nodes, size)
                total.index_add_(0, bundle.far, torch.bmm(bundle.gathered(rows), one).to(total.dtype))
            total = total.view(n_nodes, last - first, n_batch, size)
            for i in range(last - first):
                now = total[:, i] if own is None else total[:, i] + torch.bmm(state.to(dtype), own).to(total.dtype)
                target = torch.tanh(torch.nn.functional.softplus(now) if dale else now)
                state = torch.lerp(state, target, alpha)
                states[:, first + i], targets[:, first + i] = state, target
                sent[past + first + i] = state.transpose(0, 1)
        ctx.save_for_backward(sent, states, targets, every_weight, local, alpha)
        ctx.plan, ctx.dale, ctx.every, ctx.dtype, ctx.n_edges = plan, dale, every, dtype, len(weight)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        sent, states, targets, weight, local, alpha = ctx.saved_tensors
        plan, dtype, past = ctx.plan, ctx.dtype, ctx.plan.max_delay
        n_nodes, n_bins, n_batch, size = states.shape
        packed = [one.weights(weight.transpose(1, 2)).to(dtype) for one in plan.backward]
        own = None if plan.with_local else local.transpose(1, 2).to(dtype)
        later = torch.zeros(past + n_bins, n_batch, n_nodes, size, dtype=grad.dtype, device=grad.device)
        totals = torch.empty_like(states)  # gradient of every unit's total input
        slope = 1 - targets.square()
        if ctx.dale:
            slope = slope * (1 - ((1 - targets) / (1 + targets)).sqrt())
        carried, of_alpha = torch.zeros_like(states[:, 0]), torch.zeros_like(states[:, 0])
        kept, step = 1 - alpha, plan.n_ahead or n_bins
        for first in range((n_bins - 1) // step * step, -1, -step):
            last = min(first + step, n_bins)
            for t in range(last - 1, first - 1, -1):
                now = grad[:, t] + later[past + t].transpose(0, 1) + carried
                total = now * alpha * slope[:, t]
                totals[:, t] = total
                of_alpha.addcmul_(now, targets[:, t] - states[:, t - 1] if t else targets[:, t])
                carried = now * kept
                if own is not None:
                    carried = carried + torch.bmm(total.to(dtype), own).to(carried.dtype)
                if ctx.every and t % ctx.every == 0:
                    carried = torch.zeros_like(carried)
            block = totals[:, first:last].permute(1, 2, 0, 3).to(dtype).contiguous()
            for bundle, one in zip(plan.backward, packed, strict=True):
                _add_late(later, bundle, one, block, first, past, ctx.every)
        of_weight, of_local = _weight_gradients(plan, sent, totals, states, weight, ctx.n_edges)
        return totals, of_weight, of_local, of_alpha.sum(dim=1, keepdim=True), None, None, None, None


def _add_late(
    later: Tensor, bundle: Bundle, packed: Tensor, block_DBNH: Tensor, first: int, past: int, every: int
) -> None:
    """What a block's messages say to the states that sent them, added to these bins, unless a cut lies between."""
    n_bins, n_batch, n_nodes, size = block_DBNH.shape
    back = torch.bmm(bundle.gathered(block_DBNH.view(-1, n_nodes, size)), packed)
    back = back.view(len(bundle.far), n_bins, n_batch, size).permute(1, 2, 0, 3).to(later.dtype)
    if every:
        bins = torch.arange(first, first + n_bins, device=back.device)
        sender = torch.div(bins - bundle.delay, every, rounding_mode="floor")
        same = sender == torch.div(bins, every, rounding_mode="floor")
        back = back * same[:, None, None, None]
    start = past + first - bundle.delay
    later[start : start + n_bins].index_add_(2, bundle.far, back)


def _weight_gradients(
    plan: Plan, sent: Tensor, totals_NTBH: Tensor, states: Tensor, weight: Tensor, n_edges: int
) -> tuple[Tensor, Tensor]:
    """Of pathways (E, H, H) and of each area's own weights (N, H, H), over slabs of bins."""
    n_nodes, n_bins, n_batch, size = totals_NTBH.shape
    slab = max(1, SLAB_ROWS // n_batch)
    found, heard_NRH = torch.zeros_like(weight), totals_NTBH.flatten(1, 2).to(sent.dtype)
    for bundle in plan.forward:
        total: Tensor | None = None
        for first in range(0, n_bins, slab):
            last = min(first + slab, n_bins)
            start = plan.max_delay + first - bundle.delay
            said = bundle.gathered(sent[start : start + last - first].view(-1, n_nodes, size))
            heard = heard_NRH[:, first * n_batch : last * n_batch].index_select(0, bundle.far)
            part = torch.bmm(said.transpose(1, 2), heard).to(weight.dtype)
            total = part if total is None else total.add_(part)
        if total is not None:
            found.index_copy_(0, bundle.edges, total.view(-1, size, size))
    if plan.with_local:
        return found[:n_edges], found[n_edges:]
    before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1).flatten(1, 2).to(sent.dtype)
    own = torch.bmm(before.transpose(1, 2), heard_NRH).to(weight.dtype)
    return found, own
