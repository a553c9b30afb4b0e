"""The processes of one training: each has its share of the windows of every step, and each makes the same step.

What they count, the loss and its gradient are summed over all, so the step is the one that one process would make. The
first one writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Several:
    """This process among the n of its training. share: which windows of a step are its own."""

    def __init__(self, fabric: Fabric, seed: int) -> None:
        self.fabric, self.seed = fabric, seed
        self.is_first, self.n = fabric.is_global_zero, fabric.world_size
        self.share = slice(fabric.global_rank, None, self.n)

    def summed(self, value: Tensor) -> Tensor:
        """A tensor summed over all processes; of one process, the tensor itself.

        Raises ConnectionError where another one has ended.
        """
        if self.n == 1:
            return value
        try:
            total: Tensor = self.fabric.all_reduce(value.to(self.fabric.device), reduce_op="sum")
        except RuntimeError as error:
            raise ConnectionError(f"another process of this training cannot be reached: {error}") from error
        return total

    def sum_gradients(self, learning: Sequence[nn.Parameter]) -> None:
        """Every process gets the same gradients: of the loss of the whole batch."""
        if self.n == 1:
            return
        own = [p.grad for p in learning if p.grad is not None]  # the same parameters in every process
        total = self.summed(torch.cat([grad.flatten() for grad in own]))
        for grad, part in zip(own, torch.split(total, [grad.numel() for grad in own]), strict=True):
            grad.copy_(part.view_as(grad))

    def seed_noise(self, step: int) -> None:
        """Each of several processes draws noise of its own for its windows, from the seed, the step and its number."""
        if self.n > 1:
            drawn = np.random.SeedSequence([self.seed, 2, step, self.fabric.global_rank])
            torch.manual_seed(int(drawn.generate_state(1, np.uint64)[0] >> 1))
