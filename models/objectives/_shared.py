"""What the objectives share: means over what is valid."""

from __future__ import annotations

import torch
from torch import Tensor

Example = tuple[torch.nn.Module, Tensor, Tensor, Tensor]


def valid_mean(value: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the elements where the mask (of size 1 in the last dimension, or full) is True; 0 where none is."""
    if mask is None:
        return value.mean()
    mask = mask.expand_as(value)
    return torch.where(mask, value, 0.0).sum() / mask.sum().clamp_min(1)


def clean(target: Tensor, mask: Tensor | None) -> Tensor:
    """The target with 0 wherever the mask is False: NaN would reach the gradient even where it is masked afterwards."""
    return target if mask is None else torch.where(mask, target, 0.0)


def valid_rows(value: Tensor, mask: Tensor | None) -> Tensor:
    """Everything but the last dimension as one, samples by features; only samples that the mask (..., 1) has."""
    rows = value.reshape(-1, value.shape[-1])
    return rows if mask is None else rows[mask.reshape(-1)]


def example_of_states(objective: torch.nn.Module, generator: torch.Generator) -> Example:
    """Six states, three electrodes, samples whole or masked."""
    prediction = torch.randn(2, 5, 6, generator=generator)
    target = torch.randn(2, 5, 3, generator=generator)
    mask = torch.rand(2, 5, 1, generator=generator) < 0.7
    return objective, prediction, target, mask
