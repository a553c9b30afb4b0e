"""Where learning starts, shared by the kinds of module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_TAU_BINS = 0.3
EXCITATORY_SHARE = 0.8


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """What a kind of module is made from: N modules of `size` units each.

    tau_bins: (N,) time constant of each in bins, where learning starts. fixed_tau: (N,) True where it may not be
    learned (global modules). gain: spectral radius of recurrent weights. dale: units excite or inhibit, never both.
    """

    n_modules: int
    size: int
    tau_bins: Tensor
    fixed_tau: Tensor
    gain: float
    dale: bool
    generator: torch.Generator

    @property
    def alpha_N(self) -> Tensor:  # noqa: N802 - its shape
        """The share of something new that a unit takes up in a bin, (N,)."""
        return -torch.expm1(-1 / self.tau_bins.clamp_min(MIN_TAU_BINS))

    @property
    def gate_scale_N(self) -> Tensor:  # noqa: N802
        """What a gate is scaled by, (N,): where the time constant is fixed it is a lower bound, learned within."""
        return torch.where(self.fixed_tau, self.alpha_N, 1.0)

    @property
    def gate_N(self) -> Tensor:  # noqa: N802
        """Where a gate starts, before its sigmoid, (N,): at the time constant, or nearly open within a lower bound."""
        return torch.where(self.fixed_tau, 2.0, torch.logit(self.alpha_N))

    def refuse_dale(self, kind: str) -> None:
        """Raise ValueError where Dale's law is asked of a kind that cannot."""
        if self.dale:
            raise ValueError(f"Dale's law needs units whose state is a rate: kind 'leaky', not {kind!r}")


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
