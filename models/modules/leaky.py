"""Leaky rate units: x' = x + alpha (-x + phi(W x + drive + b)), alpha = 1 - exp(-bin / tau) learned per unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._start import MIN_TAU_BINS, Start, balance, gaussian, unit_signs


class Module(nn.Module):
    """See the head of `modules/__init__.py`. The state is a rate in (-1, 1), or in (0, 1) under Dale's law."""

    fixed_log_tau: Tensor
    fixed: Tensor
    signs: Tensor

    def __init__(self, start: Start) -> None:
        super().__init__()
        n_modules, size, generator = start.n_modules, start.size, start.generator
        self.dale = start.dale
        signs_H = unit_signs(size)
        weight = gaussian((n_modules, size, size), start.gain / size**0.5, generator)
        self.weight = nn.Parameter(weight * balance(signs_H)[:, None] if start.dale else weight)
        self.bias = nn.Parameter(torch.zeros(n_modules, 1, size))
        log_tau = start.tau_bins.clamp_min(MIN_TAU_BINS).log()[:, None, None]
        self.log_tau = nn.Parameter(log_tau.expand(-1, 1, size).clone())
        self.register_buffer("fixed_log_tau", log_tau.clone())
        self.register_buffer("fixed", start.fixed_tau[:, None, None])
        self.register_buffer("signs", signs_H[:, None])

    def constants(self) -> tuple[Tensor, Tensor]:
        """What does not change within a run: recurrent weights (N, H, H) and alpha (N, 1, H), between 0 and 1."""
        alpha = -torch.expm1(-1 / self.tau_bins())[:, None]
        return (self.weight.abs() * self.signs if self.dale else self.weight), alpha

    def tau_bins(self) -> Tensor:
        """The time constants, bins, (N, H)."""
        return torch.where(self.fixed, self.fixed_log_tau, self.log_tau).exp().clamp_min(MIN_TAU_BINS)[:, 0]

    def forward(self, state_NBH: Tensor, drive_NBH: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """The state one bin later, (N, B, H)."""
        weight, alpha = constants
        total_NBH = torch.baddbmm(drive_NBH, state_NBH, weight)
        return torch.lerp(state_NBH, torch.tanh(functional.softplus(total_NBH) if self.dale else total_NBH), alpha)
