"""Feature regression: a learned linear projector from the network's states to what the electrodes saw.

As in knowledge distillation by hints (Romero et al. 2015): mean (R h - e)^2, R learned with the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._shared import Example, clean, valid_mean


class Objective(nn.Module):
    """prediction (..., P) states, target (..., Q) electrodes of about unit size, mask (..., Q) or (..., 1)."""

    detach_every = 0
    takes = "states"
    is_sized = True

    def __init__(self, n_prediction: int, n_target: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        start = torch.randn(n_prediction, n_target, generator=generator) * n_prediction**-0.5
        self.projector, self.bias = nn.Parameter(start), nn.Parameter(torch.zeros(n_target))

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean squared error."""
        return valid_mean((prediction @ self.projector + self.bias - clean(target, mask)).square(), mask)


def example(generator: torch.Generator) -> Example:
    """Six states, three electrodes."""
    prediction = torch.randn(2, 5, 6, generator=generator)
    target = torch.randn(2, 5, 3, generator=generator)
    mask = torch.rand(2, 5, 3, generator=generator) < 0.7
    return Objective(6, 3, generator=generator), prediction, target, mask
