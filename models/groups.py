"""Nodes of one kind, packed: how they go through the bins in which no message can arrive.

Nodes are put together by kind, by how often they update (clocked global modules), and, where the kind can do many bins
at once, by whether any message can reach them at all: those that hear nobody need not wait for the others.

Shapes: N nodes of the group, B batch, H units of a node, D bins of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .modules import kinds
from .modules._start import Start

Constants = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a group keeps from block to block besides its state. gathered: messages since the last update, (N, B, H)."""

    memory: tuple[Tensor, ...] | None = None
    gathered: Tensor | None = None

    def detached(self) -> Held:
        """The same numbers, with the gradient cut."""
        memory = None if self.memory is None else tuple(part.detach() for part in self.memory)
        return Held(memory=memory, gathered=None if self.gathered is None else self.gathered.detach())


@dataclass(frozen=True, kw_only=True)
class Node:
    """An area or a global module as it starts. tau_bins: its time constant, in bins in which it updates."""

    kind: str
    period_bins: int
    tau_bins: float
    has_fixed_tau: bool
    hears: bool


class Group(nn.Module):
    """Nodes of one kind: which they are, and their modules packed into one.

    exists: (N, 1, H), 1 for units that a node has, where nodes differ in size, else None.
    period_bins: they update in every so many bins, on the mean of what they were sent since.
    hears: False where no message can reach any of them.
    """

    nodes: Tensor
    exists: Tensor | None
    packed: Any  # a `Module` of models/modules/

    def __init__(
        self, nodes: Sequence[int], packed: nn.Module, *, exists: Tensor | None, period_bins: int, hears: bool
    ) -> None:
        super().__init__()
        self.register_buffer("nodes", torch.tensor(nodes, dtype=torch.long))
        self.register_buffer("exists", exists, persistent=False)
        self.packed, self.period_bins = packed, period_bins
        self.runs = hasattr(packed, "run")
        self.is_alone = self.runs and not hears and period_bins == 1

    def advance(
        self,
        state_NBH: Tensor,
        drive_NDBH: Tensor,
        received_NDBH: Tensor | None,
        gain_N11H: Tensor | None,
        first_bin: int,
        constants: Constants,
        held: Held,
    ) -> tuple[Tensor, Held]:
        """States of the next D bins, (N, D, B, H)."""
        if self.period_bins > 1:
            return self._clocked(state_NBH, drive_NDBH, received_NDBH, gain_N11H, first_bin, constants, held)
        total = drive_NDBH if received_NDBH is None else drive_NDBH + received_NDBH
        total = total if gain_N11H is None else total * gain_N11H
        if self.runs:
            states, memory = self.packed.run(state_NBH, self._there(total, 2), constants, held.memory)
            return self._there(states, 2), replace(held, memory=memory)
        return self._stepped(state_NBH, self._there(total, 2), constants), held

    def _stepped(self, state: Tensor, total_NDBH: Tensor, constants: Constants) -> Tensor:
        states = []
        for drive in total_NDBH.unbind(1):
            state = self._there(self.packed(state, drive, constants), 1)
            states.append(state)
        return state[:, None] if len(states) == 1 else torch.stack(states, dim=1)

    def _clocked(
        self,
        state: Tensor,
        drive: Tensor,
        received: Tensor | None,
        gain: Tensor | None,
        first_bin: int,
        constants: Constants,
        held: Held,
    ) -> tuple[Tensor, Held]:
        gathered = torch.zeros_like(state) if held.gathered is None else held.gathered
        states = []
        for i in range(drive.shape[1]):
            gathered = gathered if received is None else gathered + received[:, i]
            if (first_bin + i) % self.period_bins == 0:
                total = (drive[:, i] + gathered / self.period_bins) * (1.0 if gain is None else gain[:, 0])
                total, gathered = self._there(total, 1), torch.zeros_like(gathered)
                if self.runs:
                    found, memory = self.packed.run(state, total[:, None], constants, held.memory)
                    state, held = self._there(found[:, 0], 1), replace(held, memory=memory)
                else:
                    state = self._there(self.packed(state, total, constants), 1)
            states.append(state)
        return torch.stack(states, dim=1), replace(held, gathered=gathered)

    def _there(self, value: Tensor, units_dim: int) -> Tensor:
        """0 for units that a node does not have; `units_dim` batch-like dimensions lie between nodes and units."""
        if self.exists is None:
            return value
        return value * (self.exists if units_dim == 1 else self.exists[:, None])


def packed(
    nodes: Sequence[Node],
    exists_N1H: Tensor,
    options: Mapping[str, Mapping[str, Any]],
    *,
    gain: float,
    dale: bool,
    generator: torch.Generator,
) -> Iterator[Group]:
    """The nodes of a network in groups of those that are alike. options: of a kind alone, by its name.

    gain, dale: of the weights within a node.
    """
    is_ragged = bool((exists_N1H == 0).any())
    alike: dict[tuple[str, int, bool], list[int]] = {}
    for number, node in enumerate(nodes):
        # Only kinds that do many bins at once gain by being apart from nodes that must wait for messages.
        hears = node.hears or not hasattr(kinds(node.kind).Module, "run")
        alike.setdefault((node.kind, node.period_bins, hears), []).append(number)
    for (kind, period_bins, hears), numbers in sorted(alike.items()):
        start = Start(
            n_modules=len(numbers),
            size=exists_N1H.shape[2],
            tau_bins=torch.tensor([nodes[number].tau_bins for number in numbers]),
            fixed_tau=torch.tensor([nodes[number].has_fixed_tau for number in numbers]),
            gain=gain,
            dale=dale,
            generator=generator,
        )
        module = kinds(kind).Module(start, **options.get(kind, {}))
        exists = exists_N1H[numbers] if is_ragged else None
        yield Group(numbers, module, exists=exists, period_bins=period_bins, hears=hears)
