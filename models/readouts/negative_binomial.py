"""Spike counts that vary more than Poisson: negative binomial, variance = rate + rate^2 / shape, shape learned.

Design rationale: counts of one neuron in cortex are usually overdispersed (Goris et al. 2014), and a Poisson model then
trusts bursts too much. The rate is read as in `spikes`; the shape belongs to the unit and does not change with time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import spikes
from ._shared import Site, masked, seen

LOG_SHAPE_RANGE = (-3.0, 5.0)  # beyond the upper end it is Poisson for all that counts can tell


class Readout(spikes.Readout):
    """Parameters per channel: the rate, spikes per bin; the shape."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.log_shape = nn.Parameter(torch.full((site.port.n_channels,), 2.0))

    def shape(self) -> Tensor:
        """The shape of every unit, (C,)."""
        return self.log_shape.clamp(*LOG_SHAPE_RANGE).exp()

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """Rates and shapes, (B, T, C, 2)."""
        rate = super().forward(state_BTAH)
        return torch.cat([rate, self.shape()[:, None].expand_as(rate)], dim=3)

    def nll(self, parameters_BTCP: Tensor, target_BTC: Tensor, mask_BTC: Tensor | None = None) -> Tensor:
        """Nats per count, (B, T, C)."""
        (rate, shape), count = parameters_BTCP.unbind(3), seen(target_BTC, mask_BTC)
        ways = torch.lgamma(count + shape) - torch.lgamma(shape) - torch.lgamma(count + 1)
        log_total = (rate + shape).log()
        return masked(-(ways + shape * (shape.log() - log_total) + count * (rate.log() - log_total)), mask_BTC)

    def variance(self, rate_C: Tensor) -> Tensor:
        """Of the counts at a rate."""
        return rate_C + rate_C.square() / self.shape()

    def start_at(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Start from the mean count per bin, and from the shape that gives the counts' spread."""
        super().start_at(mean_C, std_C)
        with torch.no_grad():
            excess_C = (std_C.square() - mean_C).clamp_min(1e-6)
            self.log_shape.copy_((mean_C.clamp_min(1e-3).square() / excess_C).log().clamp(*LOG_SHAPE_RANGE))
