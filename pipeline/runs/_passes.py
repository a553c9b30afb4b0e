"""A batch through the network that trains: what it is shown, what it says, and how likely that makes the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroloom.models import ModularNetwork
from neuroloom.models.forcing import forcing
from neuroloom.models.recurrence import Cut, Nudge
from neuroloom.pipeline.runs._several import Several
from neuroloom.pipeline.runs._terms import Terms
from neuroloom.pipeline.runs.run import hidden
from neuroloom.pipeline.runs.train_config import TrainConfig
from neuroloom.pipeline.runs.windowing import Batch, Windows, known_targets


@dataclass(frozen=True, kw_only=True, eq=False)
class Passes:
    """Passes of one training. wrapped: the network as Fabric has it, for forward calls. done: share of the steps."""

    network: ModularNetwork
    wrapped: Any
    data: Windows
    config: TrainConfig
    terms: Terms
    several: Several

    def cuts(self, batch: Batch, active: list[int]) -> set[Cut]:
        """Every way in which the gradient of this step is cut. active: objectives besides the likelihoods."""
        ports = {self.terms.cut_of_port(name) for name in batch.targets}
        return ports | {self.terms.cut(i) for i in active}

    def nudge(self, batch: Batch, done: float) -> Nudge | None:
        """What draws the states to the recording at this step."""
        asked = self.config.forcing
        strength = 0.0 if asked is None else asked.schedule().at(done)
        names = [] if asked is None else [name for name in asked.ports if name in batch.targets]
        if strength == 0 or not names:
            return None
        device = self.several.fabric.device
        targets = {name: batch.targets[name].to(device) for name in names}
        masks = {name: batch.masks[name].to(device) for name in names}
        return forcing(self.network, batch.session, targets, masks, strength=strength)

    def outputs(
        self, batch: Batch, kept: list[str], cuts: set[Cut], nudge: Nudge | None = None, n_hidden: int = 0
    ) -> dict[Cut, dict[str, Tensor]]:
        """What the network says, once for every way in which the gradient is cut."""
        device = self.several.fabric.device
        inputs = {name: batch.inputs[name].to(device) for name in kept}
        seen = hidden(batch.input_masks, n_hidden)
        masks = {name: seen[name].to(device) for name in kept}
        in_order = sorted(cuts, key=lambda cut: (cut.every_bins, cut.between_areas))
        return {
            cut: self.wrapped(batch.session, inputs, masks, with_states=True, cut=cut, nudge=nudge) for cut in in_order
        }

    def losses(
        self, batch: Batch, outputs: Mapping[Cut, Mapping[str, Tensor]], scored: NDArray[np.bool_], done: float
    ) -> dict[str, Tensor]:
        """Mean nats per known element of each target, in bins that are scored.

        In a step of several processes: this one's part of the mean over the whole batch.
        """
        device, losses = self.several.fabric.device, {}
        for name, target in batch.targets.items():
            readout: Any = self.network.readout(batch.session, name)
            mask = known_targets(batch, name, scored, readout).to(device)
            n_known = self.several.summed(mask.sum()) if self.network.training else mask.sum()
            if n_known > 0 and self._port_weight(name, done) != 0:
                said = outputs[self.terms.cut_of_port(name)][name].float()
                losses[name] = readout.nll(said, target.to(device), mask).sum() / n_known
        return losses

    def _port_weight(self, name: str, done: float) -> float:
        return self.config.port_weights.get(name, 1.0) * self.terms.weight_of_port(name, done)

    def total(self, losses: Mapping[str, Tensor], session: str, done: float, only: tuple[str, ...] = ()) -> Tensor:
        """Targets as one number, weighed by their channels and by what was asked for. only: these count, () for all."""
        total, weights = torch.zeros((), device=self.several.fabric.device), 0.0
        for name, loss in losses.items():
            n_channels = self.data.sessions[session].features[name].port.n_channels
            weight = self._port_weight(name, done) * n_channels**0.5
            if not only or name in only:
                total, weights = total + weight * loss, weights + weight
        return total / max(weights, 1e-12)

    def n_hidden(self, step: int) -> int:
        """Bins at the end of this step's windows whose inputs it does not see."""
        return round(self.config.forward_s / self.data.config.bin_s) if step % 2 else 0

    def kept(self, batch: Batch, step: int) -> list[str]:
        """The inputs of this step, after whole ports have been dropped."""
        names = list(batch.inputs)
        if self.config.input_dropout == 0:
            return names
        rng = np.random.default_rng([self.config.seed, 1, step])
        kept = [name for name in names if rng.random() >= self.config.input_dropout]
        return kept or [names[int(rng.integers(len(names)))]]
