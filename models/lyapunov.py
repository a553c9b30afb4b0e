"""Lyapunov exponents of any map from state to state: how fast small differences grow.

Differences are followed beside one trajectory and made orthonormal again every few steps (Benettin et al. 1980).
Shapes: B states side by side, F numbers of a state, K exponents.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SMALL = 1e-6  # length of the differences that are followed
Step = Callable[[Tensor], Tensor]  # states (B, F) in double precision -> the next ones


@torch.no_grad()
def exponents(
    step: Step, start_F: Tensor, differences_KF: Tensor, *, steps: int = 2000, settle: int = 500, every: int = 10
) -> Tensor:
    """The K largest exponents, per step, from a start and any K independent differences, in double precision.

    settle: steps before anything is measured. every: steps after which differences are made orthonormal.
    """
    state, (differences, _) = start_F, _orthonormal(differences_KF)
    total, n_counted = torch.zeros(len(differences), dtype=torch.float64), 0
    for t in range(settle + steps):
        state, differences = _together(step, state, differences)
        if (t + 1) % every == 0:
            differences, log_growth = _orthonormal(differences)
            if t >= settle:
                total, n_counted = total + log_growth, n_counted + every
    return total / max(n_counted, 1)


def _together(step: Step, state_F: Tensor, differences_KF: Tensor) -> tuple[Tensor, Tensor]:
    """State and differences one step later: central differences in double precision, good to ten digits."""
    small, n = SMALL * differences_KF, len(differences_KF)
    stepped = step(torch.cat([state_F[None], state_F + small, state_F - small]))
    return stepped[0], (stepped[1 : n + 1] - stepped[n + 1 :]) / (2 * SMALL)


def _orthonormal(differences_KF: Tensor) -> tuple[Tensor, Tensor]:
    """The same span, orthonormal, and the logarithm of the lengths there were."""
    q, r = torch.linalg.qr(differences_KF.T)
    return q.T, r.diagonal().abs().clamp_min(1e-300).log()
