"""Relational: samples alike in the recording are to be alike in the network (Tung and Mori 2019).

Each side becomes the matrix of inner products between its samples, rows of length 1; the number is the mean squared
difference of the two, times the number of samples. As `cka` it needs no projector; unlike `cka` it sees scale within a
row only, and every sample counts alike, however far from the mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._shared import Example, flat_rows

MOST_SAMPLES = 512  # the matrices have that many rows and columns


class Objective(nn.Module):
    """prediction (..., P), target (..., Q), mask (..., 1): whole samples are valid or not. At most 512 are taken."""

    detach_every = 0
    takes = "states"

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean squared difference of the two similarity matrices, times samples; 0 where there are fewer than two."""
        x, y = flat_rows(prediction), flat_rows(target)
        if mask is not None:
            valid = mask.reshape(-1)
            x, y = x[valid], y[valid]
        if len(x) < 2:
            return prediction.sum() * 0.0
        every = -(-len(x) // MOST_SAMPLES)
        alike = [functional.normalize(part @ part.T, dim=1) for part in (x[::every], y[::every])]
        return (alike[0] - alike[1]).square().mean() * len(alike[0])


def example(generator: torch.Generator) -> Example:
    """Six states, three electrodes."""
    prediction = torch.randn(2, 5, 6, generator=generator)
    target = torch.randn(2, 5, 3, generator=generator)
    mask = torch.rand(2, 5, 1, generator=generator) < 0.7
    return Objective(), prediction, target, mask
