"""A network's way through time: blocks of bins in which no message can arrive, every group at once in each.

    past states -> messages of the next D bins -> every group advances D bins -> past states ...

D is the shortest delay, and 1 where states are nudged from outside; without any pathway it is the whole sequence.

Shapes: N nodes, T bins, B batch, H units of a node, D bins of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

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
    recompute_bins: int = 0,
) -> Tensor:
    """States of all nodes in all bins, (N, T, B, H), from rest. recompute_bins: see `step_by_step`."""
    cut = cut or Cut()
    is_kept = not (recompute_bins and fused.keeps_much(groups))
    if is_kept and fused.can_run(groups, messages, drive_NTBH, cut, nudge is not None):
        return fused.run(groups, messages, drive_NTBH, gain_N11H, cut)
    return step_by_step(
        groups, messages, drive_NTBH, gain_N11H=gain_N11H, cut=cut, nudge=nudge, recompute_bins=recompute_bins
    )


def step_by_step(
    groups: Sequence[Group],
    messages: Messages,
    drive_NTBH: Tensor,
    *,
    gain_N11H: Tensor | None = None,
    cut: Cut | None = None,
    nudge: Nudge | None = None,
    recompute_bins: int = 0,
) -> Tensor:
    """`run` for any network, its gradients by autograd.

    recompute_bins: of so many bins at a time only what follows from them is kept, and the rest is computed again for
    the gradient (Chen et al. 2016); 0 keeps everything. The numbers are the same.
    """
    walk = _Walk(groups, messages, drive_NTBH, gain_N11H, cut or Cut(), nudge)
    place, blocks = walk.start(), list[Tensor]()
    while place.bin < walk.n_bins:
        go = partial(walk.until, place, min(place.bin + (recompute_bins or walk.n_bins), walk.n_bins))
        place, block = checkpoint(go, use_reentrant=False) if recompute_bins and torch.is_grad_enabled() else go()
        blocks.append(block)
    return torch.cat(blocks, dim=1)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a run stands: before `bin`, with the states of all nodes (N, B, H) and what they sent that may yet arrive,
    the latest last.
    """

    bin: int
    state: Tensor
    sent: tuple[Tensor, ...]
    held: tuple[Held, ...]

    def detached(self) -> _Place:
        """The same place, with the gradient cut."""
        sent, held = (tuple(part.detach() for part in self.sent), tuple(held.detached() for held in self.held))
        return _Place(self.bin, self.state.detach(), sent, held)


class _Walk:
    """What does not change on the way, and the steps of it. No step changes anything: each can be gone again."""

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
        self.rest = torch.zeros_like(drive[:, 0])
        self.early = [self._alone(g) if group.is_alone and nudge is None else None for g, group in enumerate(groups)]

    def start(self) -> _Place:
        """Before the first bin, at rest."""
        return _Place(0, self.rest, (self.rest,) * self.messages.max_delay, (Held(),) * len(self.groups))

    def until(self, place: _Place, last: int) -> tuple[_Place, Tensor]:
        """On from there to before bin `last`: the place, and all states on the way, (N, D, B, H)."""
        blocks = []
        while place.bin < last:
            place, block = self.advance(place, last)
            blocks.append(block)
        return place, torch.cat(blocks, dim=1)

    def advance(self, place: _Place, last: int) -> tuple[_Place, Tensor]:
        """The next block, which ends before bin `last` at the latest."""
        every = self.cut.every_bins
        if every and place.bin and place.bin % every == 0:
            place = place.detached()
        n_ahead = self._n_ahead(place.bin, last)
        received = self.messages(place.sent, n_ahead, self.message_constants) if self.messages.edges else None
        parts, held = zip(*(self._part(g, place, n_ahead, received) for g in range(len(self.groups))), strict=True)
        block = parts[0] if self.order is None else torch.cat(parts).index_select(0, self.order)
        states = block.unbind(1)
        if self.nudge is not None:  # what is said of a bin is said before the nudge; what comes of it, after
            states = (self.nudge(states[0], place.bin),)
        new = tuple(state.detach() for state in states) if self.cut.between_areas else states
        sent = (*place.sent, *new)[-self.messages.max_delay :]
        return _Place(place.bin + n_ahead, states[-1], sent, held), block

    def _n_ahead(self, first: int, last: int) -> int:
        if self.nudge is not None:
            return 1
        every = self.cut.every_bins
        shortest = self.messages.min_delay if self.messages.edges else self.n_bins
        return min(shortest, last - first, every - first % every if every else self.n_bins)

    def _part(self, g: int, place: _Place, n_ahead: int, received_DNBH: Tensor | None) -> tuple[Tensor, Held]:
        """One group's states of the block, and what it keeps."""
        group, found = self.groups[g], self.early[g]
        bins = slice(place.bin, place.bin + n_ahead)
        if found is not None:
            return found[:, bins], place.held[g]
        state, received = place.state, received_DNBH
        if self.order is not None:
            state = state.index_select(0, group.nodes)
            received = None if received is None else received.index_select(1, group.nodes)
        return group.advance(
            state,
            self.drives[g][:, bins],
            None if received is None else received.transpose(0, 1),
            self.gains[g],
            place.bin,
            self.constants[g],
            place.held[g],
        )

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
