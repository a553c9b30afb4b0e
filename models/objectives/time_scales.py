"""A prior on time scales: how fast the units of an area should be, before the data have said anything.

Log-normal: the mean over units of (ln(tau) - ln(prior))^2 / (2 width^2), so that twice too slow costs as much as twice
too fast. Cortex is ordered in time: sensory areas forget within tens of milliseconds, frontal ones within hundreds
(Murray et al. 2014).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._shared import Example, valid_mean

SHORTEST_S = 1e-6


class Objective(nn.Module):
    """prediction: time constant of every unit, s (A, H); target: the prior's, likewise; mask (A, H).

    tau_s: the prior of every area, or of areas by name (the others have none), for whoever trains.
    width: standard deviation of ln(tau); 0.7 lets a factor of two pass for half a nat.
    """

    detach_every = 0
    takes = "time_constants"

    def __init__(self, *, tau_s: float | dict[str, float] = 0.1, width: float = 0.7) -> None:
        super().__init__()
        given = tau_s.values() if isinstance(tau_s, dict) else [tau_s]
        if width <= 0 or not all(tau > 0 for tau in given):
            raise ValueError(f"tau_s is {tau_s}, width {width}; numbers above 0 are needed")
        self.tau_s, self.width = tau_s, width

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean nats per unit."""
        known = target if mask is None else torch.where(mask, target, 1.0)
        off = prediction.clamp_min(SHORTEST_S).log() - known.clamp_min(SHORTEST_S).log()
        return valid_mean(off.square() / (2 * self.width**2), mask)


def example(generator: torch.Generator) -> Example:
    """Two areas of three units."""
    prediction, target = torch.rand(2, 2, 3, generator=generator).unbind(0)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    return Objective(), prediction + 0.1, target + 0.1, mask
