"""Saccade events: a point process in bins. The chance that one begins in a bin is 1 - exp(-hazard), hazard >= 0.

Design rationale: with this link (complementary log-log) the hazard is one per time: two bins of half the length with
half the hazard each say the same, whereas a logit would mean something else at every bin length. A bin with several
events counts as one with an event. Kinds of saccades (left and right eye) are channels of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._shared import FromAreas, Site, masked, seen

MIN_HAZARD = 1e-6


class Readout(nn.Module):
    """Parameters per channel: the hazard, events per bin."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.linear = FromAreas(site, n_parameters=1, everywhere=True)

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """Hazards, events per bin, (B, T, C, 1)."""
        return functional.softplus(self.linear(state_BTAH)) + MIN_HAZARD

    def nll(self, parameters_BTCP: Tensor, target_BTC: Tensor, mask_BTC: Tensor | None = None) -> Tensor:
        """Nats per bin, (B, T, C); any target above 0 is an event."""
        hazard = parameters_BTCP[..., 0]
        happened = seen(target_BTC, mask_BTC) > 0
        return masked(torch.where(happened, -torch.log(-torch.expm1(-hazard)), hazard), mask_BTC)

    def mean(self, parameters_BTCP: Tensor) -> Tensor:
        """The chance of an event, (B, T, C)."""
        return -torch.expm1(-parameters_BTCP[..., 0])

    def start_at(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Start from the share of bins with an event; a chance has no spread of its own."""
        with torch.no_grad():
            hazard_C = -torch.log1p(-mean_C.clamp(1e-4, 0.99))
            self.linear.bias.copy_((hazard_C + torch.log(-torch.expm1(-hazard_C)))[:, None])
