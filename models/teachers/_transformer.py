"""A small decoder-only transformer that shows its residual stream and its attention.

Shapes: B sequences, T steps, D width, H heads, V symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ._teacher import Watched

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """width must be a multiple of heads; context is the most steps it can read."""

    n_symbols: int
    width: int = 128
    blocks: int = 4
    heads: int = 4
    context: int = 64


class Block(nn.Module):
    """Pre-norm attention and feed-forward, both added to the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, self.heads = shape.width, shape.heads
        self.before_attention, self.before_mixing = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x_BTD: Tensor, *, with_attention: bool) -> tuple[Tensor, Tensor | None]:
        B, T, D = x_BTD.shape
        mixed = self.query_key_value(self.before_attention(x_BTD)).view(B, T, 3, self.heads, D // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        attention = None
        if with_attention:
            scores = query @ key.transpose(-1, -2) * (D // self.heads) ** -0.5
            later = torch.ones(T, T, dtype=torch.bool, device=x_BTD.device).triu(1)
            attention = scores.masked_fill(later, float("-inf")).softmax(dim=-1)
            read = attention @ value
        else:
            read = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x_BTD = x_BTD + self.out(read.transpose(1, 2).reshape(B, T, D))
        return x_BTD + self.down(nn.functional.gelu(self.up(self.before_mixing(x_BTD)))), attention


class Transformer(nn.Module):
    """Symbols (B, T) in, logits of the next symbol (B, T, V) out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.symbols = nn.Embedding(shape.n_symbols, shape.width)
        self.places = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.blocks))
        self.last_norm = nn.LayerNorm(shape.width)
        self.logits = nn.Linear(shape.width, shape.n_symbols, bias=False)
        for table in (self.symbols, self.places):
            nn.init.normal_(table.weight, std=0.02 if table is self.places else 1.0)

    def forward(self, symbols_BT: Tensor) -> Tensor:
        return self.watched(symbols_BT, with_attention=False)[0]

    def watched(self, symbols_BT: Tensor, *, with_attention: bool = True) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, the residual stream after each block (B, T, D), and each block's attention (B, H, T, T)."""
        places = torch.arange(symbols_BT.shape[1], device=symbols_BT.device)
        x = self.symbols(symbols_BT) + self.places(places)
        states: list[Tensor] = []
        attentions: list[Tensor] = []
        for block in self.blocks:
            x, attention = block(x, with_attention=with_attention)
            states.append(x)
            if attention is not None:
                attentions.append(attention)
        return self.logits(self.last_norm(x)), states, attentions

    def look(self, symbols_BT: Tensor) -> Watched:
        """As teachers are watched; layers are named "block0", "block1", ..."""
        logits, states, attentions = self.watched(symbols_BT)
        return Watched(
            states={f"block{i}": state for i, state in enumerate(states)},
            attention={f"block{i}": attention for i, attention in enumerate(attentions)},
            log_prob_BTV=logits.log_softmax(dim=-1),
        )


@dataclass(frozen=True, kw_only=True)
class Schooling:
    """How a transformer is trained: steps of `batch` sequences, learning rate up, level, then down to nothing."""

    steps: int = 600
    batch: int = 64
    learning_rate: float = 2e-3
    matrix_rate: float = 0.02
    weight_decay: float = 0.01


class Schoolable(Protocol):
    """What can be schooled: symbols (B, T) in, logits (B, T, V) out, matrices in its blocks, a context in its shape."""

    blocks: nn.ModuleList

    @property
    def shape(self) -> HasContext: ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...

    def __call__(self, symbols_BT: Tensor) -> Tensor: ...


class HasContext(Protocol):
    """Anything with a longest length."""

    @property
    def context(self) -> int: ...


def school(
    network: Schoolable, sequences: Callable[[int, int], Tensor], schooling: Schooling, progress: Progress | None
) -> float:
    """Train on next symbols; returns the mean loss of the last tenth, nats.

    sequences: (batch, length) -> (batch, length) symbols, fresh at every call.
    Design rationale: Muon (Jordan et al. 2024) for the blocks' matrices, AdamW for the rest: it reached the loss of
    AdamW alone in about half the steps here, and a teacher has to be ready in two minutes.
    """
    matrices = [p for p in network.blocks.parameters() if p.ndim == 2]
    rest = [p for p in network.parameters() if not any(p is m for m in matrices)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=schooling.matrix_rate, weight_decay=schooling.weight_decay),
        torch.optim.AdamW(rest, lr=schooling.learning_rate, weight_decay=schooling.weight_decay, betas=(0.9, 0.95)),
    ]
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    losses: list[float] = []
    for step in range(schooling.steps):
        symbols = sequences(schooling.batch, network.shape.context + 1)
        loss = nn.functional.cross_entropy(network(symbols[:, :-1]).flatten(0, 1), symbols[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        factor = min(1.0, (step + 1) / 20, (schooling.steps - step) / (0.4 * schooling.steps))
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if progress is not None:
            progress(step + 1, schooling.steps, losses[-1])
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)
