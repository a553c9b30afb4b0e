"""Relational: 1 - linear centred kernel alignment (Kornblith et al. 2019) of states and electrodes.

It asks that samples alike in one are alike in the other; rotation and scale of either do not matter, so no projector
is needed and the two may have different numbers of features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._shared import Example, example_of_states, valid_rows

EPSILON = 1e-12


class Objective(nn.Module):
    """prediction (..., P), target (..., Q), mask (..., 1): whole samples are valid or not. From 0 (alike) to 1."""

    detach_every = 0
    takes = "states"

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """1 - CKA over all valid samples; 0 where there are fewer than two."""
        x, y = valid_rows(prediction, mask), valid_rows(target, mask)
        if len(x) < 2:
            return prediction.sum() * 0.0
        x, y = x - x.mean(dim=0), y - y.mean(dim=0)
        shared = (x.T @ y).square().sum()
        own = (x.T @ x).norm() * (y.T @ y).norm()
        distance: Tensor = 1 - shared / (own + EPSILON)
        return distance


def example(generator: torch.Generator) -> Example:
    """Six states, three electrodes."""
    return example_of_states(Objective(), generator)
