"""Messages along pathways, all edges at once, each after its own delay.

Shapes: E edges, N nodes (areas, then global modules), B batch, H units of a node, R rank of a message, D bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .modules._start import gaussian, unit_signs


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A pathway by node number. `share`: its part of the variance of what its target gets, all of them at most 1."""

    source: int
    target: int
    delay_bins: int
    share: float
    sign: int = 0


class Messages(nn.Module):
    """message[n] at bin t = sum over edges e into n of state[source(e)] at bin t - delay(e), times weight(e).

    Design rationale: edges are sorted by delay, so a bin costs one gather per distinct delay, one batched product over
    all edges and one indexed sum, whatever their number. All bins nearer than the shortest delay are done in one go.
    """

    sources: Tensor
    targets: Tensor
    intact: Tensor
    kept: Tensor
    signs: Tensor
    sending: Tensor

    def __init__(
        self,
        edges: Sequence[Edge],
        size: int,
        *,
        rank: int,
        gain: float,
        dale: bool,
        density: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.order = tuple(sorted(range(len(edges)), key=lambda e: (edges[e].delay_bins, e)))
        self.edges = tuple(edges[e] for e in self.order)
        self.size, self.rank, self.dale = size, rank, dale
        self.signed = dale or any(edge.sign for edge in self.edges)
        delays = [edge.delay_bins for edge in self.edges]
        self.spans = [(d, delays.index(d), delays.index(d) + delays.count(d)) for d in sorted(set(delays))]
        self.min_delay, self.max_delay = min(delays, default=1), max(delays, default=1)
        self.register_buffer("sources", torch.tensor([edge.source for edge in self.edges], dtype=torch.long))
        self.register_buffer("targets", torch.tensor([edge.target for edge in self.edges], dtype=torch.long))
        self.register_buffer("intact", torch.ones(len(self.edges), 1, 1))
        # 1 for connections that are there; of one number per edge as long as all are.
        self.register_buffer("kept", torch.ones(len(self.edges), 1, 1))
        self._start(size, gain * density**-0.5, generator)
        if density < 1:
            self._remove(1 - density, torch.rand(self._parts(), generator=generator))

    def _start(self, size: int, gain: float, generator: torch.Generator) -> None:
        n_edges, signs_H = len(self.edges), unit_signs(size)
        signs_E = torch.tensor([edge.sign for edge in self.edges], dtype=torch.float32)[:, None]
        # Under Dale's law a pathway comes from excitatory units unless it is stated to inhibit.
        sends_EH = torch.where(signs_E < 0, signs_H < 0, signs_H > 0) if self.dale else torch.ones(n_edges, size)
        self.register_buffer("sending", sends_EH.float()[:, :, None])
        self.register_buffer("signs", torch.where(signs_E < 0, -1.0, 1.0)[:, :, None])
        self.register_buffer("free", (signs_E == 0)[:, :, None])
        scale_E = torch.tensor([edge.share for edge in self.edges]).sqrt()[:, None, None] * (gain / size**0.5)
        if self.rank:
            self.outward = nn.Parameter(gaussian((n_edges, size, self.rank), 1.0, generator) * scale_E)
            self.inward = nn.Parameter(gaussian((n_edges, self.rank, size), self.rank**-0.5, generator))
        else:
            self.weight = nn.Parameter(gaussian((n_edges, size, size), 1.0, generator) * scale_E)

    def constants(self) -> tuple[Tensor, ...]:
        """The weights as they act: (E, H, H), or (E, H, R) and (E, R, H); source unit first; lesioned edges are 0."""
        there = self.intact if self.kept.shape[1:] == (1, 1) else self.intact * self.kept
        if self.rank:
            if not self.signed:
                return self.outward * there, self.inward
            return self._constrained(self.outward) * there, self._nonnegative(self.inward)
        return ((self._constrained(self.weight) if self.signed else self.weight) * there,)

    def _nonnegative(self, weight: Tensor) -> Tensor:
        return weight.abs() if self.dale else torch.where(self.get_buffer("free"), weight, weight.abs())

    def _constrained(self, weight: Tensor) -> Tensor:
        return self._nonnegative(weight) * self.signs * self.sending

    def weights(self) -> Tensor:
        """Full weights of every edge in the order of `edges`, (E, H, H), source unit first."""
        constants = self.constants()
        return torch.bmm(*constants) if self.rank else constants[0]

    def prune(self, share: float, cost: Tensor | float = 1.0) -> float:
        """Remove what is weakest, |weight| / cost, until `share` of all connections is gone; gives the share that is.

        cost: (E, 1, 1). Of messages of low rank a connection is a component. Raises ValueError for a share below 0, or
        of 1 and more.
        """
        if not 0 <= share < 1:
            raise ValueError(f"a share of {share} of all connections; from 0 to below 1 is wanted")
        with torch.no_grad():
            if self.rank:
                strength = self.outward.norm(dim=1, keepdim=True) * self.inward.norm(dim=2)[:, None]
            else:
                strength = self.weight.abs() * (self.sending if self.signed else 1.0)
            self._remove(share, strength / cost)
        return self.share_removed()

    def share_removed(self) -> float:
        """Share of all connections that are no longer there."""
        return 1 - float(self.kept.mean()) if self.kept.numel() else 0.0

    def _parts(self) -> tuple[int, int, int]:
        """The shape of what can be removed one by one: (E, H, H), or (E, 1, R) for messages of low rank."""
        n_edges, size, width = (self.outward if self.rank else self.weight).shape
        return (n_edges, 1, width) if self.rank else (n_edges, size, width)

    def _remove(self, share: float, strength: Tensor) -> None:
        """Remove the weakest until `share` is gone; what is gone already goes first."""
        kept = self.kept.expand(self._parts())
        n_gone = round(share * kept.numel())
        if n_gone <= int((kept == 0).sum()):
            return
        order = torch.where(kept > 0, strength, -1.0).flatten().argsort(stable=True)
        left = torch.ones(kept.numel(), device=kept.device).index_fill(0, order[:n_gone], 0.0)
        self.kept = left.view(kept.shape)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """The mask of connections takes the shape in which it was saved."""
        saved = state_dict.get(f"{prefix}kept")
        if saved is not None and saved.shape in (self.kept.new_empty(len(self.edges), 1, 1).shape, self._parts()):
            self.kept = self.kept.new_ones(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def scale(self, factor: float) -> None:
        """Multiply every message by a factor."""
        with torch.no_grad():
            (self.outward if self.rank else self.weight).mul_(factor)

    def forward(self, past: tuple[Tensor, ...], n_bins: int, constants: tuple[Tensor, ...]) -> Tensor:
        """What every node receives in the next `n_bins` bins (at most `min_delay`), (n_bins, N, B, H).

        past: states (N, B, H) of all bins up to now, at least `max_delay` of them.
        """
        now = len(past)
        n_nodes, n_batch, size = past[-1].shape
        sent = [past[-1].new_zeros(0, n_bins * n_batch, size)]
        for delay, first, last in self.spans:
            states = past[now - delay : now - delay + n_bins]
            block = states[0] if n_bins == 1 else torch.cat(states, dim=1)
            sent.append(block.index_select(0, self.sources[first:last]))
        messages = sent[1] if len(sent) == 2 else torch.cat(sent)
        for weight in constants:
            messages = torch.bmm(messages, weight)
        received = messages.new_zeros(n_nodes, n_bins * n_batch, size).index_add(0, self.targets, messages)
        return received.view(n_nodes, n_bins, n_batch, size).transpose(0, 1)
