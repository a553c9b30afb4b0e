"""A chaotic network of rate units, whose exponents are known: what a student may be asked to rebuild.

    x' = (1 - a) x + a g W tanh(x),  W ~ N(0, 1/n),  a = step over time constant

as in Sompolinsky, Crisanti and Sommers (1988); Sussillo et al. (2016) measured inference methods on it. Nothing enters.
What it does outwardly is a fixed random sum of its rates. Shapes: B trajectories, T steps, N units, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .lyapunov import exponents

SETTLE = 400  # steps until a trajectory lies on the attractor


@dataclass(frozen=True, kw_only=True, eq=False)
class ChaoticRates:
    """weight_NN: gain included, source first. output_NC: scaled so that outputs have about unit variance."""

    weight_NN: Tensor
    output_NC: Tensor
    share: float

    @classmethod
    def drawn(cls, *, units: int, gain: float, share: float, outputs: int, seed: int) -> ChaoticRates:
        """From its seed. share: step over time constant, from 0 to 1."""
        generator = torch.Generator().manual_seed(seed)
        weight = gain * units**-0.5 * torch.randn(units, units, generator=generator, dtype=torch.float64)
        output = torch.randn(units, outputs, generator=generator, dtype=torch.float64)
        plain = cls(weight_NN=weight, output_NC=output, share=share)
        std = (plain.run(20, 200, generator).tanh() @ output).flatten(0, 1).std(dim=0)
        return cls(weight_NN=weight, output_NC=output / std.clamp_min(1e-9), share=share)

    def step(self, x_BN: Tensor) -> Tensor:
        """The next states."""
        return torch.lerp(x_BN, x_BN.tanh() @ self.weight_NN, self.share)

    def run(self, n: int, length: int, generator: torch.Generator) -> Tensor:
        """States (n, length, N) of trajectories from random starts, once they have settled."""
        x = 2 * torch.randn(n, len(self.weight_NN), generator=generator, dtype=torch.float64)
        for _ in range(SETTLE):
            x = self.step(x)
        states = []
        for _ in range(length):
            states.append(x := self.step(x))
        return torch.stack(states, dim=1)

    def exponents(self, k: int, *, steps: int = 4000) -> Tensor:
        """The k largest Lyapunov exponents, per step, (k,)."""
        generator = torch.Generator().manual_seed(0)
        start = self.run(1, 1, generator)[0, 0]
        return exponents(self.step, start, torch.randn(k, len(start), generator=generator).double(), steps=steps)
