"""Soft targets: Kullback-Leibler divergence from a teacher's answers to the student's (Hinton et al. 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._shared import Example, clean, valid_mean


class Objective(nn.Module):
    """prediction, target: logits (..., K); mask (..., 1). Times temperature^2, so that its gradient keeps its size."""

    detach_every = 0
    takes = "logits"

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; a number above 0 is needed")
        self.temperature = temperature

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean nats per answer."""
        student = torch.log_softmax(prediction / self.temperature, dim=-1)
        teacher = torch.log_softmax(clean(target, mask) / self.temperature, dim=-1)
        divergence = (teacher.exp() * (teacher - student)).sum(dim=-1, keepdim=True)
        return valid_mean(divergence, mask) * self.temperature**2


def example(generator: torch.Generator) -> Example:
    """Three answers."""
    prediction, target = torch.randn(2, 2, 5, 3, generator=generator).unbind(0)
    mask = torch.rand(2, 5, 1, generator=generator) < 0.7
    return Objective(temperature=2.0), prediction, target, mask
