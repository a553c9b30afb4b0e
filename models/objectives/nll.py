"""Negative log-likelihood of neural recordings and behaviour together: a weighted sum over output ports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..ports import Port
from ..readouts import kinds as readout_kinds
from ..readouts._shared import Site
from ._shared import valid_mean

Example = tuple[nn.Module, Mapping[str, Tensor], Mapping[str, Tensor], Mapping[str, Tensor]]


class Objective(nn.Module):
    """Sum over ports of weight times mean nll, nats per valid element.

    readouts: per port its observation model, `network.readout(session, name)`.
    weights: per port; 1 where not named. A port of weight 0 costs nothing and is not computed.
    """

    detach_every = 0
    takes = "outputs"

    def __init__(self, readouts: Mapping[str, Any], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        unknown = sorted(set(weights or {}) - set(readouts))
        if unknown:
            raise ValueError(f"weight for {unknown[0]!r}, which is no output; there are: {', '.join(readouts)}")
        # Held in a plain mapping: the readouts belong to the network, whose parameters they are.
        self.models = (dict(readouts),)
        self.weights = {name: (weights or {}).get(name, 1.0) for name in readouts}

    def by_port(
        self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor], mask: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Mean nll per port, unweighted, of the ports that have a target."""
        masks, losses = mask or {}, {}
        for name, model in self.models[0].items():
            if name in target and self.weights[name] != 0:
                nll = model.nll(prediction[name], target[name], masks.get(name))
                losses[name] = valid_mean(nll, masks.get(name))
        return losses

    def forward(
        self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor], mask: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The weighted sum. Raises ValueError where no port has both a target and a weight."""
        losses = self.by_port(prediction, target, mask)
        if not losses:
            raise ValueError(f"targets for {sorted(target)}, weights for {self.weights}; one port must have both")
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()


def example(generator: torch.Generator) -> Example:
    """One continuous port of two channels."""
    port = Port(name="hand", kind="continuous", channel_names=("x", "y"))
    readout = readout_kinds("continuous").Readout(Site(port=port, area_names=("A",), size=3, generator=generator))
    parameters = readout(torch.randn(2, 5, 1, 3, generator=generator)).detach()
    target = torch.randn(2, 5, 2, generator=generator)
    mask = torch.rand(2, 5, 2, generator=generator) < 0.7
    return Objective({"hand": readout}), {"hand": parameters}, {"hand": target}, {"hand": mask}
