"""Spike counts per bin: Poisson, with a softplus rate read from the area the unit sits in.

Design rationale: softplus instead of exp, because one large state then costs a linear and not an exponential error,
which is what makes early training with exp explode; both describe the low rates of cortex equally well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._shared import FromAreas, Site, masked, seen

MIN_RATE = 1e-6  # spikes per bin: a spike where none was thought possible costs 14 nats, not infinitely many


class Readout(nn.Module):
    """Parameters per channel: the rate, spikes per bin."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.linear = FromAreas(site, n_parameters=1, everywhere=False)

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """Rates, spikes per bin, (B, T, C, 1)."""
        return functional.softplus(self.linear(state_BTAH)) + MIN_RATE

    def nll(self, parameters_BTCP: Tensor, target_BTC: Tensor, mask_BTC: Tensor | None = None) -> Tensor:
        """Nats per count, (B, T, C)."""
        rate, count = parameters_BTCP[..., 0], seen(target_BTC, mask_BTC)
        return masked(rate - count * rate.log() + torch.lgamma(count + 1), mask_BTC)

    def mean(self, parameters_BTCP: Tensor) -> Tensor:
        """The expected count, spikes per bin, (B, T, C)."""
        return parameters_BTCP[..., 0]

    def linearised(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weight (C, A, H), offset (C,) and noise variance (C,) around the rate at a state of 0."""
        rate_C, slope_C = functional.softplus(self.linear.bias[:, 0]), torch.sigmoid(self.linear.bias[:, 0])
        return self.linear.whole_weight()[:, 0] * slope_C[:, None, None], rate_C, self.variance(rate_C + MIN_RATE)

    def variance(self, rate_C: Tensor) -> Tensor:
        """Of the counts at a rate."""
        return rate_C

    def start_at(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Start from the mean count per bin; a Poisson count has no spread of its own."""
        with torch.no_grad():
            rate_C = mean_C.clamp_min(1e-3)
            self.linear.bias.copy_((rate_C + torch.log(-torch.expm1(-rate_C)))[:, None])
