"""How a port's channels drive the areas.

    "spikes", "negative_binomial"     square root of the count, into the area the unit sits in
    "choice"                          one-hot class, into every area, or those that the topology or the port names
    "tokens"                          a learned vector per class, likewise
    "stimulus", "saccades", "continuous", "gaze"     likewise
    "lfp", "eeg", others              into the area the channel sits in; learned where unknown

A channel whose area is stated enters there, whatever its kind. Values are expected to be of about unit size, except
counts and class numbers. A masked value drives nothing.

Shapes: B batch, T bins, C channels, A areas, K areas that the port enters by, H units, E numbers of a class's vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .placement import Placement
from .ports import Port

EVERYWHERE = ("choice", "tokens", "stimulus", "saccades", "continuous", "gaze")
VECTOR_SIZE = 32


class Encoder(nn.Module):
    """The drive that a port's channels give to each area."""

    entered: Tensor | None

    def __init__(self, port: Port, area_names: Sequence[str], size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.port, self.n_areas = port, len(area_names)
        self.n_inputs = {"choice": port.n_classes, "tokens": VECTOR_SIZE}.get(port.kind, port.n_channels)
        areas = port.areas or ("",) * port.n_channels
        spread = port.kind in EVERYWHERE and not any(area in area_names for area in areas)
        areas = areas * self.n_inputs if port.is_classes else areas
        self.placement = None if spread else Placement(areas, area_names, generator)
        within = torch.tensor([area_names.index(area) for area in port.within]) if spread and port.within else None
        self.register_buffer("entered", within, persistent=False)
        n_entered = len(area_names) if within is None else len(within)
        shape = (n_entered if spread else 1, self.n_inputs, size)
        self.weight = nn.Parameter(torch.randn(shape, generator=generator) * self._scale(spread, areas))
        if port.kind == "tokens":
            self.vectors = nn.Parameter(torch.randn(port.n_classes, VECTOR_SIZE, generator=generator))

    def _scale(self, spread: bool, areas: Sequence[str]) -> float:
        """So that all channels that enter an area together drive its units by about 1."""
        together = self.n_inputs if spread else max(areas.count(area) for area in areas)
        return 1.0 if self.port.kind == "choice" else together**-0.5

    def forward(self, input_BTC: Tensor, mask_BTC: Tensor | None) -> Tensor:
        """The drive of every area, (A, T, B, H)."""
        self._check(input_BTC)
        value = input_BTC if mask_BTC is None else torch.where(mask_BTC, input_BTC, 0)
        value_BTC = self._transform(value if self.port.is_classes else value.to(self.weight.dtype))
        if self.port.is_classes and mask_BTC is not None:
            value_BTC = value_BTC * mask_BTC
        weight_KCH = self.weight
        if self.placement is not None:
            weight_KCH = self.weight * self.placement().T[:, :, None]
        n_batch, n_bins, n_inputs = value_BTC.shape
        flat = value_BTC.transpose(0, 1).reshape(n_bins * n_batch, n_inputs)
        drive = torch.matmul(flat, weight_KCH).view(-1, n_bins, n_batch, weight_KCH.shape[2])
        if self.entered is None:
            return drive
        return drive.new_zeros(self.n_areas, *drive.shape[1:]).index_copy(0, self.entered, drive)

    def _transform(self, value_BTC: Tensor) -> Tensor:
        if self.port.is_counts:
            return value_BTC.clamp_min(0).sqrt()
        if self.port.kind == "choice":
            return functional.one_hot(value_BTC[..., 0].long(), self.n_inputs).to(self.weight.dtype)
        if self.port.kind == "tokens":
            return functional.embedding(value_BTC[..., 0].long(), self.vectors)
        return value_BTC

    def _check(self, input_BTC: Tensor) -> None:
        if input_BTC.ndim != 3 or input_BTC.shape[2] != self.port.n_channels:
            raise ValueError(
                f"input {self.port.name!r} has shape {tuple(input_BTC.shape)}; "
                f"(batch, bins, {self.port.n_channels} channels) is needed"
            )
