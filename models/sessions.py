"""What a session has of its own: encoders, readouts, and a small vector that modulates the network all sessions share.

Shapes: E numbers of a session's vector, A areas, H units of an area.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .modules._start import gaussian
from .ports import Port


class SessionParts(nn.Module):
    """Ports by name, and what belongs to them. vector: (E,), 0 at the start: the network as it is shared."""

    def __init__(self, inputs: Sequence[Port], outputs: Sequence[Port], vector_size: int) -> None:
        super().__init__()
        self.inputs = {port.name: port for port in inputs}
        self.outputs = {port.name: port for port in outputs}
        self.encoders = nn.ModuleDict()
        self.readouts = nn.ModuleDict()
        self.vector = nn.Parameter(torch.zeros(vector_size)) if vector_size else None


class Modulation(nn.Module):
    """From a session's vector to a bias and a gain (0 to 2, 1 for the vector 0) on all that each unit takes in.

    Design rationale: what differs between people and days is mostly how strongly areas answer, not how they are wired;
    bias and gain per unit, spanned by few numbers, are learned from little data. The maps are shared, so that sessions
    teach each other in which ways brains differ, and a new session only has to find its place.
    """

    def __init__(self, vector_size: int, n_areas: int, size: int, generator: torch.Generator) -> None:
        super().__init__()
        shape, scale = (vector_size, n_areas * size), vector_size**-0.5
        self.n_areas = n_areas
        self.to_bias = nn.Parameter(gaussian(shape, scale, generator))
        self.to_gain = nn.Parameter(gaussian(shape, scale, generator))

    def forward(self, vector_E: Tensor) -> tuple[Tensor, Tensor]:
        """Bias and gain, (A, 1, 1, H) each."""
        bias, gain = vector_E @ self.to_bias, 2 * torch.sigmoid(vector_E @ self.to_gain)
        shape = (self.n_areas, 1, 1, -1)
        return bias.view(shape), gain.view(shape)
