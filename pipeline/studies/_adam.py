"""AdamW (Loshchilov and Hutter 2019) for a group: the gradient is clipped per student, and students can leave.

Design rationale: `torch.optim` would clip over the whole group, and its state cannot lose a student. A gradient that is
not finite moves nobody: its student stands still for that step, the others go on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WARM_UP = 20  # steps


class Adam:
    """Of a network all of whose parameters have the group in front."""

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float, clip_norm: float) -> None:
        self.network, self.count = network, 0
        self.learning_rate, self.weight_decay, self.clip_norm = learning_rate, weight_decay, clip_norm
        self.first = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
        self.second = {name: torch.zeros_like(p) for name, p in network.named_parameters()}

    def norms(self) -> Tensor:
        """Of the gradients, per student (G,), before they are clipped."""
        grads = [p.grad for p in self.network.parameters() if p.grad is not None]
        return torch.stack([grad.flatten(1).double().square().sum(dim=1) for grad in grads]).sum(dim=0).sqrt()

    @torch.no_grad()
    def step(self) -> None:
        """One step of every student."""
        self.count += 1
        norms = self.norms()
        factor = torch.where(norms.isfinite(), self.clip_norm / norms.clamp_min(self.clip_norm), 0.0).float()
        rate = self.learning_rate * min(1.0, self.count / WARM_UP)
        for name, p in self.network.named_parameters():
            shape = (-1, *[1] * (p.ndim - 1))
            known = torch.zeros_like(p) if p.grad is None else torch.nan_to_num(p.grad, nan=0.0, posinf=0.0, neginf=0.0)
            first = self.first[name].lerp_(known * factor.view(shape), 0.1)
            second = self.second[name].lerp_((known * factor.view(shape)).square(), 0.01)
            size = (second / (1 - 0.99**self.count)).sqrt_().add_(1e-8)
            p.mul_(1 - rate * self.weight_decay).addcdiv_(first, size, value=-rate / (1 - 0.9**self.count))

    def keep(self, index: Tensor) -> None:
        """Only these students from now on."""
        self.first = {name: value[index] for name, value in self.first.items()}
        self.second = {name: value[index] for name, value in self.second.items()}
