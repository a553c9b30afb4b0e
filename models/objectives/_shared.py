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


def flat_rows(value: Tensor) -> Tensor:
    """Everything but the last dimension as one: samples by features."""
    return value.reshape(-1, value.shape[-1])
