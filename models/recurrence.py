"""A network's way through time: blocks of bins in which no message can arrive, every group at once in each.

    past states -> messages of the next D bins -> every group advances D bins -> past states ...

D is the shortest delay, and 1 where states are nudged from outside; without any pathway it is the whole sequence.

Shapes: N nodes, T bins, B batch, H units of a node, D bins of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import fused
from .groups import Group, Held
from .messages import Messages

Nudge = Callable[[Tensor, int], Tensor]  # state (N, B, H) as it would be, bin -> as it is from here on


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where the gradient ends. every_bins: in time, 0 for never. between_areas: messages count as given from outside,
    so that an area learns from its own errors alone; the weights of pathways into it still do.
    """

    every_bins: int = 0
    between_areas: bool = False


def run(
    groups: Sequence[Group],
    messages: Messages,
    drive_NTBH: Tensor,
    *,
    gain_N11H: Tensor | None = None,
    cut: Cut | None = None,
    nudge: Nudge | None = None,
) -> Tensor:
    """States of all nodes in all bins, (N, T, B, H), from rest."""
    cut = cut or Cut()
    if fused.can_run(groups, messages, cut, nudge is not None):
        return fused.run(groups, messages, drive_NTBH, gain_N11H, cut)
    return step_by_step(groups, messages, drive_NTBH, gain_N11H=gain_N11H, cut=cut, nudge=nudge)


def step_by_step(
    groups: Sequence[Group],
    messages: Messages,
    drive_NTBH: Tensor,
    *,
    gain_N11H: Tensor | None = None,
    cut: Cut | None = None,
    nudge: Nudge | None = None,
) -> Tensor:
    """`run` for any network, its gradients by autograd."""
    walk = _Walk(groups, messages, drive_NTBH, gain_N11H, cut or Cut(), nudge)
    while walk.bin < drive_NTBH.shape[1]:
        walk.advance()
    return torch.cat(walk.blocks, dim=1)


class _Walk:
    """Where a run stands."""

    def __init__(
        self,
        groups: Sequence[Group],
        messages: Messages,
        drive: Tensor,
        gain: Tensor | None,
        cut: Cut,
        nudge: Nudge | None,
    ) -> None:
        self.groups, self.messages, self.cut, self.nudge, self.n_bins = groups, messages, cut, nudge, drive.shape[1]
        self.constants = [group.packed.constants() for group in groups]
        self.message_constants = messages.constants()
        single = len(groups) == 1
        self.order = None if single else torch.cat([group.nodes for group in groups]).argsort()
        self.drives = [drive] if single else [drive.index_select(0, group.nodes) for group in groups]
        self.gains = [None if gain is None else gain.index_select(0, group.nodes) for group in groups]
        self.held = [Held()] * len(groups)
        self.state = torch.zeros_like(drive[:, 0])
        self.sent = [self.state] * messages.max_delay  # what may still arrive, the latest last
        self.blocks: list[Tensor] = []
        self.bin = 0
        self.early = [self._alone(g) if group.is_alone and nudge is None else None for g, group in enumerate(groups)]

    def advance(self) -> None:
        """The next block."""
        every = self.cut.every_bins
        if every and self.bin and self.bin % every == 0:
            self.state, self.sent = self.state.detach(), [state.detach() for state in self.sent]
            self.held = [held.detached() for held in self.held]
        n_ahead = self._n_ahead()
        received = self.messages(self.sent, n_ahead, self.message_constants) if self.messages.edges else None
        parts = [self._part(g, n_ahead, received) for g in range(len(self.groups))]
        block = parts[0] if self.order is None else torch.cat(parts).index_select(0, self.order)
        states = list(block.unbind(1))
        if self.nudge is not None:  # what is said of a bin is said before the nudge; what comes of it, after
            states = [self.nudge(states[0], self.bin)]
        self.state = states[-1]
        new = [state.detach() for state in states] if self.cut.between_areas else states
        self.sent = (self.sent + new)[-self.messages.max_delay :]
        self.blocks.append(block)
        self.bin += n_ahead

    def _n_ahead(self) -> int:
        if self.nudge is not None:
            return 1
        every = self.cut.every_bins
        shortest = self.messages.min_delay if self.messages.edges else self.n_bins
        return min(shortest, self.n_bins - self.bin, every - self.bin % every if every else self.n_bins)

    def _part(self, g: int, n_ahead: int, received_DNBH: Tensor | None) -> Tensor:
        """One group's states of the block."""
        group, found = self.groups[g], self.early[g]
        bins = slice(self.bin, self.bin + n_ahead)
        if found is not None:
            return found[:, bins]
        state, received = self.state, received_DNBH
        if self.order is not None:
            state = state.index_select(0, group.nodes)
            received = None if received is None else received.index_select(1, group.nodes)
        states, self.held[g] = group.advance(
            state,
            self.drives[g][:, bins],
            None if received is None else received.transpose(0, 1),
            self.gains[g],
            self.bin,
            self.constants[g],
            self.held[g],
        )
        return states

    def _alone(self, g: int) -> Tensor:
        """All states of a group that hears nobody, as many bins at once as the cut allows."""
        group, drive = self.groups[g], self.drives[g]
        state, held = torch.zeros_like(drive[:, 0]), Held()
        parts = []
        for first in range(0, self.n_bins, self.cut.every_bins or self.n_bins):
            bins = slice(first, first + (self.cut.every_bins or self.n_bins))
            state, held = state.detach(), held.detached()
            states, held = group.advance(state, drive[:, bins], None, self.gains[g], first, self.constants[g], held)
            state = states[:, -1]
            parts.append(states)
        return torch.cat(parts, dim=1)
