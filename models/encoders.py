"""How a port's channels drive the areas.

    "spikes"              square root of the count, into the area the unit sits in
    "choice"              one-hot class, into every area or the stated ones
    "stimulus" and behaviour ("continuous", "gaze")     into every area or the stated ones
    "lfp", "eeg", others  into the area the channel sits in; learned where unknown

Values are expected to be of about unit size, except counts and class numbers. A masked value drives nothing.

Shapes: B batch, T bins, C channels, A areas, H units.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .placement import Placement
from .ports import Port

EVERYWHERE = ("choice", "stimulus", "continuous", "gaze")


class Encoder(nn.Module):
    """The drive that a port's channels give to each area."""

    def __init__(self, port: Port, area_names: Sequence[str], size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.port = port
        self.n_inputs = port.n_classes if port.kind == "choice" else port.n_channels
        areas = port.areas or ("",) * port.n_channels
        spread = port.kind in EVERYWHERE and not any(area in area_names for area in areas)
        areas = areas * port.n_classes if port.kind == "choice" else areas
        self.placement = None if spread else Placement(areas, area_names, generator)
        shape = (len(area_names) if spread else 1, self.n_inputs, size)
        self.weight = nn.Parameter(torch.randn(shape, generator=generator) * self._scale(spread, areas))

    def _scale(self, spread: bool, areas: Sequence[str]) -> float:
        """So that all channels that enter an area together drive its units by about 1."""
        together = self.n_inputs if spread else max(areas.count(area) for area in areas)
        return 1.0 if self.port.kind == "choice" else together**-0.5

    def forward(self, input_BTC: Tensor, mask_BTC: Tensor | None) -> Tensor:
        """The drive of every area, (A, T, B, H)."""
        self._check(input_BTC)
        value = input_BTC if mask_BTC is None else torch.where(mask_BTC, input_BTC, 0)
        value_BTC = self._transform(value.to(self.weight.dtype) if self.port.kind != "choice" else value)
        if self.port.kind == "choice" and mask_BTC is not None:
            value_BTC = value_BTC * mask_BTC
        weight_ACH = self.weight
        if self.placement is not None:
            weight_ACH = self.weight * self.placement().T[:, :, None]
        n_batch, n_bins, n_inputs = value_BTC.shape
        flat = value_BTC.transpose(0, 1).reshape(n_bins * n_batch, n_inputs)
        return torch.matmul(flat, weight_ACH).view(-1, n_bins, n_batch, weight_ACH.shape[2])

    def _transform(self, value_BTC: Tensor) -> Tensor:
        if self.port.kind == "spikes":
            return value_BTC.clamp_min(0).sqrt()
        if self.port.kind == "choice":
            return functional.one_hot(value_BTC[..., 0].long(), self.n_inputs).to(self.weight.dtype)
        return value_BTC

    def _check(self, input_BTC: Tensor) -> None:
        if input_BTC.ndim != 3 or input_BTC.shape[2] != self.port.n_channels:
            raise ValueError(
                f"input {self.port.name!r} has shape {tuple(input_BTC.shape)}; "
                f"(batch, bins, {self.port.n_channels} channels) is needed"
            )
