"""The objectives of a training at work: what each is given, what it costs, how much it weighs.

Shapes: B batch, T bins, C channels of a port, A areas, H units of an area, S sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from neuroloom.models import ModularNetwork
from neuroloom.models.objectives import kinds
from neuroloom.models.ports import Port
from neuroloom.models.recurrence import Cut
from neuroloom.pipeline.runs.objectives import UNCERTAINTY, ObjectiveConfig, Schedule
from neuroloom.pipeline.runs.windowing import Batch, Windows

DAY_S = 86_400.0
Outputs = Mapping[str, Tensor]


class Terms(nn.Module):
    """All objectives, with the weights that some of them learn; trained with the network and dropped with it.

    Raises ValueError where an objective names a port, an area or a session's part that there is not.
    """

    def __init__(
        self, network: ModularNetwork, data: Windows, configs: Sequence[ObjectiveConfig], *, seed: int = 0
    ) -> None:
        super().__init__()
        self.data, self.configs = data, tuple(configs)
        self.network = (network,)  # held in a tuple: its parameters are not these
        self.takes = tuple(config.takes for config in self.configs)
        self.order = {session: number for number, session in enumerate(data.sessions)}
        self.parts = nn.ModuleDict()
        for i, config in enumerate(self.configs):
            self._check(config)
            for session in data.sessions if _is_sized(config) else ("",):
                generator = torch.Generator().manual_seed(seed * 1000 + 7 * i + self.order.get(session, 0))
                made = self._made(config, session, generator)
                if made is not None:
                    self.parts[self._name(i, session)] = made
        self.log_variance = nn.Parameter(torch.zeros(len(self.configs)))

    def cut(self, i: int) -> Cut:
        """Where the gradient of an objective ends."""
        config, one = self.configs[i], kinds(self.configs[i].kind).Objective
        objective: Any = next((part for name, part in self.parts.items() if name.startswith(f"{i}_")), one)
        every = config.detach_every or int(getattr(objective, "detach_every", 0)) or self.network[0].detach_every
        return Cut(every_bins=every, between_areas=config.between_areas or getattr(objective, "between_areas", False))

    def cut_of_port(self, port: str) -> Cut:
        """Where the gradient of a target's own likelihood ends."""
        return next((self.cut(i) for i in self._own(port)), Cut(every_bins=self.network[0].detach_every))

    def weight_of_port(self, port: str, done: float) -> float:
        """The factor on a target's own likelihood, from the objectives of kind nll."""
        weight = 1.0
        for i in self._own(port):
            given = self.configs[i].weight
            weight *= given.at(done) if isinstance(given, Schedule) else float(given)
        return weight

    def active(self, done: float) -> list[int]:
        """Objectives besides the likelihoods that count now."""
        return [i for i, takes in enumerate(self.takes) if takes != "outputs" and self._number(i, done) != 0]

    def weighed(self, i: int, value: Tensor, done: float) -> Tensor:
        """What an objective adds to the loss."""
        if self.configs[i].weight == UNCERTAINTY:
            return value * torch.exp(-self.log_variance[i]) + self.log_variance[i]
        return value * self._number(i, done)

    def value(self, i: int, batch: Batch, outputs: Outputs, scored_1T1: Tensor) -> Tensor | None:
        """One objective on one batch; None where the session has nothing for it.

        outputs: of the network, with its states. scored_1T1: bins that count.
        """
        config = self.configs[i]
        objective = (
            self.parts[self._name(i, batch.session if _is_sized(config) else "")] if self._has(i, batch) else None
        )
        if objective is None:
            return None
        prediction, target, mask = self._given(config, objective, batch, outputs, scored_1T1)
        value: Tensor = objective(prediction.float(), target, mask)
        return value

    # What each kind is given ---------------------------------------------------------------------------------------

    def _given(
        self, config: ObjectiveConfig, objective: nn.Module, batch: Batch, outputs: Outputs, scored: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        network, device = self.network[0], scored.device
        match config.takes:
            case "pathways":
                return *network.pathway_strengths(), None
            case "time_constants":
                return network.time_constants_s()[0], *self._prior(objective, device)
            case "own":
                return self._own_parts(objective), *self._days(device)
        target, mask = (part.to(device) for part in self._recorded(config, batch))
        mask = mask & scored
        if config.takes == "states":
            whole = config.kind in ("cka", "similarity")  # these compare whole samples
            mask = mask.all(dim=2, keepdim=True) if whole else mask
            return outputs["state_BTAH"][:, :, self._areas(config)].flatten(2), target, mask
        mask = mask.all(dim=2, keepdim=True)
        if config.takes == "energies":
            port = self._port(batch.session, config.target)
            named = self._named_areas(port)
            index = [network.areas.index(named[c]) for c in self._channels(config, port)]
            return outputs["state_BTAH"][:, :, index].square().mean(dim=3), target, mask
        readout: Any = network.readout(batch.session, config.output)
        return readout.logits(outputs[config.output]), target, mask

    def _recorded(self, config: ObjectiveConfig, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the target port recorded, in units that fit the objective, and where it is known."""
        one, port = self.data.sessions[batch.session], self._port(batch.session, config.target)
        values, scaler = batch.targets[config.target], self.data.sessions[batch.session].scalers[config.target]
        mean, std = (torch.from_numpy(part.copy()) for part in (scaler.mean, scaler.std))
        if port.is_counts:
            values = (values - mean) / std
        elif config.takes in ("logits", "energies") and one.is_scaled(config.target):
            values = values * std + mean
        channels = self._channels(config, port)
        return values[:, :, channels], batch.masks[config.target][:, :, channels]

    def _prior(self, objective: Any, device: torch.device) -> tuple[Tensor, Tensor]:
        """The time constants that are expected, s (A, H), and where any is."""
        network = self.network[0]
        given = objective.tau_s if isinstance(objective.tau_s, dict) else dict.fromkeys(network.areas, objective.tau_s)
        tau = torch.tensor([given.get(area, 1.0) for area in network.areas], device=device)
        has_prior = torch.tensor([area in given for area in network.areas], device=device)
        exists = network.time_constants_s()[1]
        return tau[:, None].expand_as(exists), exists & has_prior[:, None]

    def _own_parts(self, objective: Any) -> Tensor:
        """What every session has of its own, in order of person and time, (S, E)."""
        network = self.network[0]
        if objective.of == "vector":
            return torch.stack([network.session_vector(session) for session in self._in_time()])
        rows = [torch.cat([p.flatten() for p in network.port_parameters(session)]) for session in self._in_time()]
        return torch.stack(rows)

    def _in_time(self) -> list[str]:
        features = {session: one.features for session, one in self.data.sessions.items()}
        return sorted(features, key=lambda s: (features[s].subject, features[s].recorded, self.order[s]))

    def _days(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Days since the session before, 1 where dates are not known, and whether it was the same person's."""
        features = [self.data.sessions[session].features for session in self._in_time()]
        days, follows = [1.0], [False]
        for before, after in pairwise(features):
            follows.append(before.subject == after.subject)
            dated = bool(before.recorded and after.recorded)
            apart = datetime.fromisoformat(after.recorded) - datetime.fromisoformat(before.recorded) if dated else None
            days.append(1.0 if apart is None else apart.total_seconds() / DAY_S)
        return torch.tensor(days, device=device), torch.tensor(follows, device=device)

    # Ports, areas and sizes ----------------------------------------------------------------------------------------

    def _made(self, config: ObjectiveConfig, session: str, generator: torch.Generator) -> nn.Module | None:
        make = kinds(config.kind).Objective
        if config.takes == "outputs":
            return None
        if not _is_sized(config):
            made: nn.Module = make(**config.options)
            return made
        if config.target not in self.data.sessions[session].target_names:
            return None
        n_states = len(self._areas(config)) * self.network[0].size
        n_channels = len(self._channels(config, self._port(session, config.target)))
        sized: nn.Module = make(n_states, n_channels, **config.options, generator=generator)
        return sized

    def _has(self, i: int, batch: Batch) -> bool:
        config = self.configs[i]
        return (not config.target or config.target in batch.targets) and (
            not config.output or config.output in batch.targets
        )

    def _own(self, port: str) -> list[int]:
        return [i for i, c in enumerate(self.configs) if self.takes[i] == "outputs" and c.target == port]

    def _number(self, i: int, done: float) -> float:
        weight = self.configs[i].weight
        if weight == UNCERTAINTY:
            return 1.0
        return weight.at(done) if isinstance(weight, Schedule) else float(weight)

    def _port(self, session: str, name: str) -> Port:
        return self.data.sessions[session].features[name].port

    def _areas(self, config: ObjectiveConfig) -> list[int]:
        areas = self.network[0].areas
        return [areas.index(area) for area in config.areas] if config.areas else list(range(len(areas)))

    def _channels(self, config: ObjectiveConfig, port: Port) -> list[int]:
        """The target's channels, less those that are known to sit in areas which were not asked for."""
        named = self._named_areas(port) if config.takes == "energies" else port.areas or ("",) * port.n_channels
        wanted = set(config.areas) or set(self.network[0].areas)
        return [c for c, area in enumerate(named) if not config.areas or not area or area in wanted]

    def _named_areas(self, port: Port) -> tuple[str, ...]:
        return port.areas if any(port.areas) else port.channel_names

    def _name(self, i: int, session: str) -> str:
        return f"{i}_{self.order[session] if session else 'all'}"

    def _check(self, config: ObjectiveConfig) -> None:
        areas, targets = self.network[0].areas, {n for one in self.data.sessions.values() for n in one.target_names}
        for area in config.areas:
            if area not in areas:
                raise ValueError(f"{config.label()}: no area {area!r}; there are {', '.join(areas[:12])}")
        for what, name in (("target", config.target), ("output", config.output)):
            if name and name not in targets:
                raise ValueError(
                    f"{config.label()}: {what} {name!r} is no target; there are {', '.join(sorted(targets))}"
                )
        for session, one in self.data.sessions.items():
            if config.target in one.target_names:
                self._check_port(config, session)
        if config.takes == "own":
            self._check_own(config)
        if config.takes == "time_constants":
            given = config.options.get("tau_s", {})
            unknown = sorted(set(given) - set(areas)) if isinstance(given, Mapping) else []
            if unknown:
                raise ValueError(f"{config.label()}: no area {unknown[0]!r}; there are {', '.join(areas[:12])}")

    def _check_port(self, config: ObjectiveConfig, session: str) -> None:
        port, areas = self._port(session, config.target), self.network[0].areas
        if config.takes in ("states", "energies") and port.is_classes:
            raise ValueError(f"{config.label()}: {port.kind} holds classes; a recording in numbers is wanted")
        if not self._channels(config, port):
            raise ValueError(f"{config.label()}: no channel of {session} sits in {', '.join(config.areas)}")
        if config.takes == "energies":
            unknown = [name for name in self._named_areas(port) if name not in areas]
            if unknown:
                raise ValueError(f"{config.label()}: channel {unknown[0]!r} is no area; each must be named after one")
        if config.takes == "logits" and config.output in self.data.sessions[session].target_names:
            output = self._port(session, config.output)
            if not output.is_classes or output.n_classes != port.n_channels:
                raise ValueError(
                    f"{config.label()}: {port.n_channels} log odds for {output.n_classes} classes of {output.name!r}; "
                    "they must match"
                )

    def _check_own(self, config: ObjectiveConfig) -> None:
        network = self.network[0]
        if config.options.get("of", "vector") == "vector":
            if not network.session_size:
                raise ValueError("walk: sessions have no vector; session_size of the network must be above 0")
            return
        shapes = {tuple(tuple(p.shape) for p in network.port_parameters(session)) for session in self.data.sessions}
        if len(shapes) > 1:
            raise ValueError("walk of ports: sessions have other ports or channels; all must have the same")


def _is_sized(config: ObjectiveConfig) -> bool:
    return bool(getattr(kinds(config.kind).Objective, "is_sized", False))
