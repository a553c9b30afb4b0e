"""A state-space layer: a diagonal linear recurrence whose decay the input sets, s[t] = a[t] s[t-1] + b[t].

Of the family of Mamba (Gu and Dao 2023) and of gated linear recurrences (De et al. 2024), without a convolution. The
decay lies between -1 and 1: with negative values a diagonal recurrence can flip a bit, with positive ones alone it
cannot (Grazzi et al. 2025). All steps of a sequence are one scan.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..modules._scan import linear_scan
from . import State

EXPANSION = 2
MEMORY = 2.0  # before the tanh: decays begin near 0.96


class Mixer(nn.Module):
    """EXPANSION times as many states as features, gated by the input on the way out."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.units = EXPANSION * width
        self.into = nn.Linear(width, 3 * self.units)
        self.out = nn.Linear(self.units, width, bias=False)
        with torch.no_grad():
            self.into.bias[: self.units] = MEMORY

    def forward(self, x_BTD: Tensor) -> Tensor:
        decay, added, gate = self._parts(x_BTD)
        start = x_BTD.new_zeros(1, len(x_BTD), self.units)
        states = linear_scan(decay.transpose(0, 1)[None], added.transpose(0, 1)[None], start)[0].transpose(0, 1)
        found: Tensor = self.out(states * gate)
        return found

    def start(self, batch: int) -> State:
        return (self.out.weight.new_zeros(batch, self.units),)

    def step(self, x_BD: Tensor, state: State) -> tuple[Tensor, State]:
        decay, added, gate = self._parts(x_BD)
        after = decay * state[0] + added
        return self.out(after * gate), (after,)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decay, what is added (less of it the longer it stays), and the gate of what comes out."""
        decay, added, gate = self.into(x).chunk(3, dim=-1)
        decay = decay.tanh()
        return decay, (1 - decay.square()).clamp_min(1e-6).sqrt() * added, nn.functional.silu(gate)
