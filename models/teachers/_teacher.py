"""What every teacher yields.

Shapes: B sequences, T steps, D features of a layer, H heads, V symbols, Z hidden topics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

BATCH = 64  # sequences watched at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """Symbols (B, T) to read, and the hidden topic that made each, None where there is none or it is not known."""

    symbols_BT: Tensor
    topic_BT: Tensor | None = None


Material = Callable[[int, int, torch.Generator], Reading]


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """What went on in a teacher while it read.

    states: per layer (B, T, D). attention: per layer (B, H, T, T), from (row) to (column); {} where it has none.
    log_prob_BTV: logarithm of its output distribution after each symbol.
    """

    states: Mapping[str, Tensor]
    attention: Mapping[str, Tensor]
    log_prob_BTV: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """What can be known of a sequence from the symbols so far, whatever the teacher makes of it.

    posterior_BTZ: chance of each hidden topic. log_prob_BTV: the best possible output distribution; its
    cross-entropy is the Bayes floor.
    """

    posterior_BTZ: Tensor
    log_prob_BTV: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """A network that reads symbols and answers with symbols, open to whoever wants to look inside.

    n_inputs, n_outputs: numbers of symbols read and answered. layers: names of the places that can be recorded.
    context: most symbols it can read at once. digest: of everything that decided its weights.
    material: (n, length, generator) -> Reading of shape (n, length), no two sequences of one call overlapping.
    forward: (B, T) symbols -> Watched. truth: (B, T) symbols -> Oracle, None where it is not known.
    remarks: what a report should say of it: sources, its loss.
    """

    name: str
    n_inputs: int
    n_outputs: int
    layers: tuple[str, ...]
    context: int
    digest: str
    material: Material
    forward: Callable[[Tensor], Watched]
    truth: Callable[[Tensor], Oracle] | None = None
    remarks: Mapping[str, str | float] = field(default_factory=dict)

    def read(self, n: int, length: int, generator: torch.Generator) -> Reading:
        """Something to read, (n, length). Raises ValueError where it is longer than the teacher's context."""
        if not 1 <= length <= self.context:
            raise ValueError(f"sequences of {length} symbols; from 1 to the {self.context} that {self.name} can read")
        return self.material(n, length, generator)

    @torch.no_grad()
    def watch(self, symbols_BT: Tensor, *, layers: tuple[str, ...] = (), attention: bool = False) -> Watched:
        """The teacher reads, and is looked at; in batches, so that memory stays bounded by what is returned.

        layers: only these; all by default. Raises ValueError for a layer it does not have.
        """
        wanted = layers or self.layers
        unknown = [name for name in wanted if name not in self.layers]
        if unknown:
            raise ValueError(f"{self.name} has no layer {unknown[0]!r}; it has {', '.join(self.layers)}")
        parts = [self.forward(part) for part in torch.split(symbols_BT, BATCH)]
        return Watched(
            states={name: torch.cat([part.states[name] for part in parts]) for name in wanted},
            attention={name: torch.cat([p.attention[name] for p in parts]) for name in parts[0].attention}
            if attention
            else {},
            log_prob_BTV=torch.cat([part.log_prob_BTV for part in parts]),
        )


def sampled(log_prob_BTV: Tensor, generator: torch.Generator) -> Tensor:
    """Behaviour: one answer per step, drawn from the output distribution; (B, T)."""
    flat = log_prob_BTV.exp().flatten(0, 1)
    return torch.multinomial(flat, 1, generator=generator).view(log_prob_BTV.shape[:2])
