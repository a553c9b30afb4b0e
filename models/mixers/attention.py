"""Causal attention of several heads: one pass over all steps, and a memory of keys and values that grows with them.

Nearness is a slope per head on the distance (Press et al. 2022), so that it may read beyond the length it was taught.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import State

HEADS = 4


class Mixer(nn.Module):
    """Four heads, or as many as divide the width."""

    slope_H: Tensor

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.heads = next(h for h in range(HEADS, 0, -1) if width % h == 0)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        slopes = 2.0 ** (-8.0 * torch.arange(1, self.heads + 1) / self.heads)
        self.register_buffer("slope_H", slopes, persistent=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        query, key, value = self._split(x_BTD)
        return self._read(query, key, value)

    def start(self, batch: int) -> State:
        empty = self.out.weight.new_zeros(batch, self.heads, 0, self.out.in_features // self.heads)
        return empty, empty

    def step(self, x_BD: Tensor, state: State) -> tuple[Tensor, State]:
        query, key, value = self._split(x_BD[:, None])
        keys, values = torch.cat([state[0], key], dim=2), torch.cat([state[1], value], dim=2)
        return self._read(query, keys, values)[:, 0], (keys, values)

    def _split(self, x_BTD: Tensor) -> list[Tensor]:
        """Query, key and value, each (B, H, T, D / H)."""
        B, T, D = x_BTD.shape
        mixed: Tensor = self.query_key_value(x_BTD)
        return list(mixed.view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4))

    def _read(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The last steps of `key` are those of `query`."""
        B, _, T, _ = query.shape
        places = torch.arange(key.shape[2], device=key.device)
        back = places[-T:, None] - places
        bias = (-self.slope_H[:, None, None] * back).masked_fill(back < 0, float("-inf"))
        read = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        found: Tensor = self.out(read.transpose(1, 2).reshape(B, T, -1))
        return found
