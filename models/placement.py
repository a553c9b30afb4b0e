"""Which area a channel sits in: stated by name, or learned.

Shapes: B batch, T bins, C channels, A areas, H units of an area.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Placement(nn.Module):
    """Weights (C, A) of channels over areas, each row summing to 1; one area where its name is known.

    Design rationale: a learned assignment is a softmax over areas started near even, so that every area can win it;
    a name that is no area of the topology is learned as well, and `learned` says which channels that are.
    """

    known: Tensor
    is_known: Tensor

    def __init__(self, channel_areas: Sequence[str], area_names: Sequence[str], generator: torch.Generator) -> None:
        super().__init__()
        n_areas = len(area_names)
        self.learned = tuple(c for c, area in enumerate(channel_areas) if area not in area_names)
        known = torch.zeros(len(channel_areas), n_areas)
        for channel, area in enumerate(channel_areas):
            if area in area_names:
                known[channel, area_names.index(area)] = 1.0
        self.register_buffer("known", known)
        if self.learned:
            self.register_buffer("is_known", known.sum(1, keepdim=True) > 0)
            self.logits = nn.Parameter(torch.randn(len(channel_areas), n_areas, generator=generator) * 0.1)

    def forward(self) -> Tensor:
        """The weights, (C, A)."""
        return torch.where(self.is_known, self.known, torch.softmax(self.logits, dim=1)) if self.learned else self.known
