"""Relational: samples alike in the recording are to be alike in the network (Tung and Mori 2019).

Each side becomes the matrix of inner products between its samples, rows of length 1; the number is the mean squared
difference of the two, times the number of samples. As `cka` it needs no projector; unlike `cka` it sees scale within a
row only, and every sample counts alike, however far from the mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._shared import Example, example_of_states, valid_rows

MOST_SAMPLES = 512  # the matrices have that many rows and columns


class Objective(nn.Module):
    """prediction (..., P), target (..., Q), mask (..., 1): whole samples are valid or not. At most 512 are taken."""

    detach_every = 0
    takes = "states"

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean squared difference of the two similarity matrices, times samples; 0 where there are fewer than two."""
        x, y = valid_rows(prediction, mask), valid_rows(target, mask)
        if len(x) < 2:
            return prediction.sum() * 0.0
        every = -(-len(x) // MOST_SAMPLES)
        alike = [functional.normalize(part @ part.T, dim=1) for part in (x[::every], y[::every])]
        return (alike[0] - alike[1]).square().mean() * len(alike[0])


def example(generator: torch.Generator) -> Example:
    """Six states, three electrodes."""
    return example_of_states(Objective(), generator)
