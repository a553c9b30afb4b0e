"""Sessions of one person follow each other: what a session has of its own moves little from one to the next.

The negative logarithm of a random walk's density, up to a constant: the mean over pairs of neighbours of their squared
distance over the time between them. A week apart may differ by as much again as seven times a day (variances add up).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._shared import Example, clean

SHORTEST_DAYS = 1 / 24


class Objective(nn.Module):
    """prediction (S, E): what is a session's own, sessions in order of time; target (S,): days since the one before.

    mask (S,): False for the first session of each person, which follows none.
    of: for whoever trains, what is meant: "vector", the session's vector, or "ports", its encoders and readouts.
    """

    detach_every = 0
    takes = "own"

    def __init__(self, *, of: str = "vector") -> None:
        super().__init__()
        if of not in ("vector", "ports"):
            raise ValueError(f"walk of {of!r}; 'vector' or 'ports' is needed")
        self.of = of

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean squared step per day; 0 where no session follows another."""
        follows = torch.ones_like(target, dtype=torch.bool) if mask is None else mask
        steps = prediction[1:] - prediction[:-1]
        days = clean(target, mask)[1:].clamp_min(SHORTEST_DAYS)
        each = torch.where(follows[1:], steps.square().sum(dim=1) / days, 0.0)
        return each.sum() / follows[1:].sum().clamp_min(1)


def example(generator: torch.Generator) -> Example:
    """Two people with three and two sessions."""
    prediction = torch.randn(5, 4, generator=generator)
    target = torch.tensor([1.0, 2.0, 1.0, 1.0, 7.0])
    return Objective(), prediction, target, torch.tensor([False, True, True, False, True])
