"""What Lightning's Fabric is asked for: a device, a precision, and the other processes of the same training."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from torch import nn

from neuroloom.pipeline.runs.train_config import TrainConfig

if TYPE_CHECKING:
    from lightning.fabric import Fabric


def fabric_of(config: TrainConfig) -> Fabric:
    """Fabric for this process, joined with the others where there are any.

    Raises ValueError where so many were not started.
    """
    from lightning.fabric import Fabric

    if config.processes == 1:
        return Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
    check_started(config)
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=config.processes,
        precision=config.precision,
        strategy=_unwrapped(),
    )
    fabric.launch()
    return fabric


def check_started(config: TrainConfig) -> None:
    """Raise ValueError where this is not one of the processes that are asked for."""
    there = int(os.environ.get("WORLD_SIZE", "1"))
    if config.processes not in (1, there):
        raise ValueError(
            f"processes is {config.processes}, but this is one of {there}; `neuroloom train` starts them, and a script "
            f"is started by `torchrun --nproc-per-node {config.processes}`"
        )


def _unwrapped() -> Any:
    """Lightning's strategy for processes that hold a network each, without torch's wrapper around the network.

    Design rationale: the wrapper averages gradients of means, as if all processes had counted the same. Here masks
    decide how much a window counts, a step may go through the network twice, and sessions have parameters of their
    own; sums over what was counted are exact, and need one call after the gradient is there.
    """
    from lightning.fabric.plugins.environments import TorchElasticEnvironment
    from lightning.fabric.strategies import DDPStrategy

    class Unwrapped(DDPStrategy):  # type: ignore[misc]
        def setup_module(self, module: nn.Module) -> nn.Module:
            return module

    return Unwrapped(cluster_environment=TorchElasticEnvironment())
