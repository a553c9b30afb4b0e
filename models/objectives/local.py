"""Local feature regression: the error of every bin teaches only the few bins before it.

The number is that of `features`; what is local is the gradient. Whoever trains runs the network with a `Cut` (see
`recurrence.py`) of the objective's `detach_every` and `between_areas`, so that no gradient lives longer, whatever the
length of the sequence, or leaves its area. Bounded gradients are what lets strongly recurrent networks train at all;
the price is that nothing slower than `every` bins is learned.
"""

from __future__ import annotations

import torch

from . import features
from ._shared import Example


class Objective(features.Objective):
    """As `features.Objective`. every: bins after which the gradient is cut. between_areas: no error leaves its area."""

    def __init__(
        self,
        n_prediction: int,
        n_target: int,
        *,
        every: int = 8,
        between_areas: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every is {every} bins; at least 1 is needed")
        super().__init__(n_prediction, n_target, generator=generator)
        self.detach_every, self.between_areas = every, between_areas


def example(generator: torch.Generator) -> Example:
    """Six states, three electrodes, the gradient cut every two bins."""
    _, prediction, target, mask = features.example(generator)
    return Objective(6, 3, every=2, generator=generator), prediction, target, mask
