"""Choices: one of K classes in every bin, read from all areas or the stated ones. The target is the class's number."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._shared import FromAreas, Site, masked, seen


class Readout(nn.Module):
    """Parameters: K logits of the one channel, (B, T, 1, K)."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        if site.port.n_channels != 1 or site.port.n_classes < 2:
            raise ValueError(
                f"port {site.port.name!r}: {site.port.n_channels} channels of {site.port.n_classes} classes; "
                "a choice has one channel and at least 2 classes"
            )
        self.linear = FromAreas(site, n_parameters=site.port.n_classes, everywhere=True)

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """Logits, (B, T, 1, K)."""
        logits: Tensor = self.linear(state_BTAH)
        return logits

    def logits(self, parameters_BTCP: Tensor) -> Tensor:
        """Log odds of the classes, (B, T, K)."""
        return parameters_BTCP[..., 0, :]

    def nll(self, parameters_BTCP: Tensor, target_BTC: Tensor, mask_BTC: Tensor | None = None) -> Tensor:
        """Nats per choice, (B, T, 1)."""
        log_probability = functional.log_softmax(parameters_BTCP, dim=3)
        chosen = seen(target_BTC, mask_BTC).long()[..., None]
        return masked(-log_probability.gather(3, chosen)[..., 0], mask_BTC)

    def mean(self, parameters_BTCP: Tensor) -> Tensor:
        """Probability of each class, (B, T, K)."""
        return torch.softmax(parameters_BTCP[..., 0, :], dim=2)

    def start_at(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Nothing to start from: the mean of class numbers means nothing."""
