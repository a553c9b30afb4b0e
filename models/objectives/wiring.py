"""Wiring cost: how much axon the network uses, strength times length over all pathways."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._shared import Example, clean, valid_mean


class Objective(nn.Module):
    """prediction: strength of every pathway (E,); target: its length in mm (E,).

    `network.pathway_strengths()` gives both.
    scale_mm: the length that counts as 1.
    """

    detach_every = 0
    takes = "pathways"

    def __init__(self, *, scale_mm: float = 100.0) -> None:
        super().__init__()
        if scale_mm <= 0:
            raise ValueError(f"scale_mm is {scale_mm}; a length above 0 is needed")
        self.scale_mm = scale_mm

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean cost of a pathway."""
        return valid_mean(prediction * clean(target, mask) / self.scale_mm, mask)


def example(generator: torch.Generator) -> Example:
    """Four pathways."""
    strength, length_mm = torch.rand(2, 4, generator=generator).unbind(0)
    return Objective(), strength, length_mm * 100, torch.tensor([True, True, False, True])
