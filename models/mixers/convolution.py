"""A causal convolution over a fixed stretch of the past, per feature: one pass, and what lies further back is gone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import State

REACH = 12  # steps


class Mixer(nn.Module):
    """Per-feature kernels of REACH steps between two linear maps (as depthwise-separable convolutions have them)."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.width = width
        self.into = nn.Linear(width, width, bias=False)
        self.kernel = nn.Conv1d(width, width, REACH, groups=width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self._mixed(nn.functional.pad(self.into(x_BTD).transpose(1, 2), (REACH - 1, 0)))

    def start(self, batch: int) -> State:
        return (self.out.weight.new_zeros(batch, self.width, REACH - 1),)

    def step(self, x_BD: Tensor, state: State) -> tuple[Tensor, State]:
        seen = torch.cat([state[0], self.into(x_BD)[..., None]], dim=-1)
        return self._mixed(seen)[:, 0], (seen[..., 1:],)

    def _mixed(self, seen_BDT: Tensor) -> Tensor:
        found: Tensor = self.out(nn.functional.gelu(self.kernel(seen_BDT)).transpose(1, 2))
        return found
