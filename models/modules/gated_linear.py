"""Gated linear recurrence: s' = f s + (1 - f) tanh(drive), with f from the drive alone, so that many bins run at once.

As QRNN (Bradbury et al. 2017) and the minimal GRU (Feng et al. 2024), many side by side. Within an area units keep
what they hold or take up what comes in, and do not hear each other; what they say to each other goes by way of other
areas, whose messages arrive after their delay. So the network as a whole is a nonlinear recurrent one, while each area
is linear over the bins in which nothing new arrives.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._scan import linear_scan
from ._start import Start, gaussian, tau_of_share

GATE_SCALE = 0.2  # small, so that units start near their time constant whatever comes in
Memory = tuple[Tensor, ...]


class Module(nn.Module):
    """See the head of `modules/__init__.py`. The state lies in (-1, 1).

    A fixed time constant is a lower bound, as in `gru`: the gate is scaled by alpha, and learns within it.
    """

    rate: Tensor
    weight: Tensor

    def __init__(self, start: Start) -> None:
        super().__init__()
        start.refuse_dale("gated_linear")
        n_modules, size, generator = start.n_modules, start.size, start.generator
        self.register_buffer("weight", torch.zeros(n_modules, size, size), persistent=False)
        self.gate_weight = nn.Parameter(gaussian((n_modules, size, size), GATE_SCALE * size**-0.5, generator))
        self.gate_bias = nn.Parameter(start.gate_N[:, None, None].repeat(1, 1, size))
        self.bias = nn.Parameter(torch.zeros(n_modules, 1, size))
        self.register_buffer("rate", start.gate_scale_N[:, None, None])

    def constants(self) -> tuple[Tensor, ...]:
        """What does not change within a run: no recurrent weights, and those of the gate."""
        return self.weight, self.gate_weight

    def tau_bins(self) -> Tensor:
        """The time constant at a drive of 0, bins, (N, H)."""
        return tau_of_share((self.rate * torch.sigmoid(self.gate_bias))[:, 0])

    def forward(self, state_NBH: Tensor, drive_NBH: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """The state one bin later, (N, B, H)."""
        share = self.rate * torch.sigmoid(torch.baddbmm(self.gate_bias, drive_NBH, constants[1]))
        return torch.lerp(state_NBH, torch.tanh(drive_NBH), share)

    def run(
        self, state_NBH: Tensor, drive_NDBH: Tensor, constants: tuple[Tensor, ...], memory: Memory | None = None
    ) -> tuple[Tensor, Memory | None]:
        """The states of D bins, (N, D, B, H); nothing but the state is remembered."""
        n_bins = drive_NDBH.shape[1]
        if n_bins == 1:
            return self(state_NBH, drive_NDBH[:, 0], constants)[:, None], None
        gate = torch.baddbmm(self.gate_bias, drive_NDBH.flatten(1, 2), constants[1]).view_as(drive_NDBH)
        share = self.rate[:, None] * torch.sigmoid(gate)
        return linear_scan(1 - share, share * torch.tanh(drive_NDBH), state_NBH), None
