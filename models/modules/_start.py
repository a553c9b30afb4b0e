"""Where learning starts, shared by the kinds of module."""

from __future__ import annotations

import torch
from torch import Tensor

MIN_TAU_BINS = 0.3
EXCITATORY_SHARE = 0.8


def gaussian(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> Tensor:
    """Independent normal numbers of standard deviation `scale`."""
    return torch.randn(shape, generator=generator) * scale


def tau_of_share(share: Tensor) -> Tensor:
    """The time constant, in bins, of a unit that takes up this share of something new in every bin."""
    return -1 / torch.log1p(-share.clamp(1e-6, 1 - 1e-6))


def unit_signs(size: int) -> Tensor:
    """1 for the excitatory units, which come first, and -1 for the others, (H,)."""
    n_excitatory = max(1, round(EXCITATORY_SHARE * size))
    return torch.where(torch.arange(size) < n_excitatory, 1.0, -1.0)


def balance(signs_H: Tensor) -> Tensor:
    """Per unit the factor at which inhibition as a whole is as strong as excitation at the start, (H,)."""
    n_inhibitory = (signs_H < 0).sum().clamp_min(1)
    return torch.where(signs_H < 0, (signs_H > 0).sum() / n_inhibitory, 1.0)
