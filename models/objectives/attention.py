"""Attention transfer: where the network is busy, it is to be busy where attention is said to be.

As Zagoruyko and Komodakis (2017) use activations as attention: the energy of every area, its mean squared state, is
turned into shares that sum to 1, and so is the target (how much each area is attended to, never negative). The number
is the Kullback-Leibler divergence from the target's shares to the network's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._shared import Example, clean, valid_mean

EPSILON = 1e-8


class Objective(nn.Module):
    """prediction (..., A) energies, target (..., A) attention, neither negative; mask (..., 1)."""

    detach_every = 0
    takes = "energies"

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean nats per bin; a bin in which nothing is attended to counts as even attention."""
        network, wanted = (_shares(part) for part in (prediction.abs(), clean(target, mask).clamp_min(0)))
        divergence = (wanted * (wanted.log() - network.log())).sum(dim=-1, keepdim=True)
        return valid_mean(divergence, mask)


def _shares(value: Tensor) -> Tensor:
    """Parts of the sum over the last dimension, none of them quite 0."""
    value = value + EPSILON
    return value / value.sum(dim=-1, keepdim=True)


def example(generator: torch.Generator) -> Example:
    """Four areas."""
    prediction, target = torch.rand(2, 2, 5, 4, generator=generator).unbind(0)
    mask = torch.rand(2, 5, 1, generator=generator) < 0.7
    return Objective(), prediction, target, mask
