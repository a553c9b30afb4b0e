"""Gated recurrent units (Cho et al. 2014), many side by side; the update gate starts at the time constant."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._start import Start, gaussian, tau_of_share


class Module(nn.Module):
    """See the head of `modules/__init__.py`. The state lies in (-1, 1).

    A fixed time constant is a lower bound here: the update gate is scaled by alpha, and learns within it.
    """

    rate: Tensor

    def __init__(self, start: Start) -> None:
        super().__init__()
        start.refuse_dale("gru")
        n_modules, size, generator = start.n_modules, start.size, start.generator
        self.weight = nn.Parameter(gaussian((n_modules, size, size), start.gain / size**0.5, generator))
        self.gate_weight = nn.Parameter(gaussian((n_modules, 2 * size, 2 * size), (2 * size) ** -0.5, generator))
        gate_N = start.gate_N
        start_N2H = torch.stack([torch.zeros_like(gate_N), gate_N], dim=1).repeat_interleave(size, dim=1)
        self.gate_bias = nn.Parameter(start_N2H[:, None])
        self.bias = nn.Parameter(torch.zeros(n_modules, 1, size))
        self.register_buffer("rate", start.gate_scale_N[:, None, None])

    def constants(self) -> tuple[Tensor, ...]:
        """What does not change within a run: recurrent and gate weights."""
        return self.weight, self.gate_weight

    def tau_bins(self) -> Tensor:
        """The time constant where state and drive are 0, bins, (N, H)."""
        update = self.gate_bias.chunk(2, dim=2)[1]
        return tau_of_share((self.rate * torch.sigmoid(update))[:, 0])

    def forward(self, state_NBH: Tensor, drive_NBH: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """The state one bin later, (N, B, H)."""
        weight, gate_weight = constants
        both = torch.cat([state_NBH, drive_NBH], dim=2)
        reset, update = torch.sigmoid(torch.baddbmm(self.gate_bias, both, gate_weight)).chunk(2, dim=2)
        target_NBH = torch.tanh(torch.baddbmm(drive_NBH, reset * state_NBH, weight))
        return torch.lerp(state_NBH, target_NBH, self.rate * update)
