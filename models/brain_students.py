"""Students shaped like a brain: areas, feedback pathways with delays and a slow global module, several seeds side by
side, with the surface of `recurrent_students.py` so that the same lessons teach both.

Inputs enter one area and the answer leaves another, so that what is seen takes bins to get there: each sequence is
followed by still bins in which nothing comes but what is asked. Electrodes see all areas.
Shapes: G students, B sequences, T steps, I inputs, A areas, H units of an area, K electrodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from .network import ModularNetwork
from .ports import Port
from .recurrence import Cut, Nudge
from .topology import Topology

SESSION, PULSES, CUE = "task", "pulses", "cue"


@dataclass(frozen=True, kw_only=True)
class BrainShape:
    """n_inputs: pulses, then as many cues. entry, exit: the areas where pulses enter, and where the cue enters and the
    answer leaves. still_bins: after a sequence, for what is under way. kind: of the modules.
    """

    topology: Topology
    entry: str
    exit: str
    n_inputs: int
    n_electrodes: int
    area_size: int = 24
    gain: float = 1.5
    kind: Literal["leaky", "gru"] = "leaky"
    bin_s: float = 0.02
    tau_s: float = 0.02
    still_bins: int = 6

    def network(self, seed: int) -> ModularNetwork:
        """One student's. Raises ValueError for an area that the topology does not have."""
        known = self.topology.area_names
        for area in (self.entry, self.exit):
            if area not in known:
                raise ValueError(f"no area {area!r} in {self.topology.name!r}; there are: {', '.join(known)}")
        made = ModularNetwork(
            self.topology, area_size=self.area_size, kind=self.kind, bin_s=self.bin_s, tau_s=self.tau_s,
            gain=self.gain, seed=seed,
        )  # fmt: skip
        names = tuple(map(str, range(self.n_inputs // 2)))
        ports = [
            Port(name=name, kind="stimulus", channel_names=names, within=(area,), bin_s=self.bin_s)
            for name, area in ((PULSES, self.entry), (CUE, self.exit))
        ]
        made.attach(SESSION, ports, [])
        return made


class BrainStudents(nn.Module):
    """G students; every parameter has the group in front."""

    def __init__(self, shape: BrainShape, seeds: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.seeds = shape, seeds
        networks = [shape.network(seed) for seed in seeds]
        self.parts = [name for name, _ in networks[0].named_parameters()]
        self.learned = nn.ParameterList(
            torch.stack([dict(network.named_parameters())[name].detach() for network in networks])
            for name in self.parts
        )
        self.template = (networks[0],)  # a tuple: its weights are the group's, not parameters of their own
        self.areas, self.size = networks[0].areas, networks[0].size
        n, k = len(self.areas) * self.size, shape.n_electrodes
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.answer_weight = _normal(generators, self.size, 1)
        self.answer_bias = nn.Parameter(torch.zeros(len(seeds), 1))
        self.electrode_weight = _normal(generators, n, k)
        self.electrode_bias = nn.Parameter(torch.zeros(len(seeds), k))
        self.forcing = _normal(generators, k, n)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """What moves the students moves what they share, too."""
        self.template[0]._apply(fn)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def run(
        self, x_GBTI: Tensor, *, cut: Cut | int = 0, electrodes_GBTK: Tensor | None = None, force: float = 0.0
    ) -> Tensor:
        """States (T + still bins, G, B, A H) from rest. cut: where the gradient ends, bins or more than that."""
        still = x_GBTI[:, :, -1:].expand(-1, -1, self.shape.still_bins, -1).clone()
        n = self.shape.n_inputs // 2
        still[..., :n] = 0
        x = torch.cat([x_GBTI, still], dim=2)
        cut = cut if isinstance(cut, Cut) else Cut(every_bins=cut)
        states = [
            self._states(g, {PULSES: x[g, ..., :n], CUE: x[g, ..., n:]}, cut, self._nudge(g, electrodes_GBTK, force))
            for g in range(len(self.seeds))
        ]
        return torch.stack(states).transpose(0, 2).transpose(1, 2).flatten(3)

    def answer(self, hidden_GBH: Tensor) -> Tensor:
        """Logits from the area where the answer leaves, (G, B, 1)."""
        first = self.areas.index(self.shape.exit) * self.size
        return torch.bmm(hidden_GBH[..., first : first + self.size], self.answer_weight) + self.answer_bias[:, None]

    def electrodes(self, states_GRH: Tensor) -> Tensor:
        """What the electrodes should see of states, (G, R, K)."""
        return torch.bmm(states_GRH, self.electrode_weight) + self.electrode_bias[:, None]

    def _states(self, g: int, inputs: Mapping[str, Tensor], cut: Cut, nudge: Nudge | None) -> Tensor:
        """One student's (B, T, A, H)."""
        weights = {name: value[g] for name, value in zip(self.parts, self.learned, strict=True)}
        call = _States(self.template[0], cut, nudge)
        found: Tensor = torch.func.functional_call(
            call, {f"network.{name}": value for name, value in weights.items()}, (inputs,)
        )
        return found

    def _nudge(self, g: int, electrodes_GBTK: Tensor | None, force: float) -> Nudge | None:
        if electrodes_GBTK is None:
            return None
        push = force * electrodes_GBTK[g] @ self.forcing[g]
        push = push.view(*push.shape[:2], len(self.areas), self.size)
        n_nodes, n_bins = len(self.template[0].node_names), push.shape[1]

        def nudge(state_NBH: Tensor, t: int) -> Tensor:
            if t >= n_bins:
                return state_NBH
            areas = state_NBH[: len(self.areas)] + push[:, t].transpose(0, 1)
            return torch.cat([areas, state_NBH[len(self.areas) : n_nodes]])

        return nudge


class _States(nn.Module):
    """A network's states as a call, so that weights can be put in."""

    def __init__(self, network: ModularNetwork, cut: Cut, nudge: Nudge | None) -> None:
        super().__init__()
        self.network, self.cut, self.nudge = network, cut, nudge

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.network.states(SESSION, inputs, cut=self.cut, nudge=self.nudge)


def _normal(generators: list[torch.Generator], rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(torch.stack([torch.randn(rows, columns, generator=g) for g in generators]) * rows**-0.5)
