"""A network whose parts are the areas of a topology.

    inputs (per session) -> encoders -> drive of every area
    drive + messages of other areas, each after its pathway's delay -> modules -> state of every area
    state -> readouts (per session) -> predicted parameters of every output

Everything between encoders and readouts is shared by all sessions.

Shapes: B batch, T bins, C channels of a port, P parameters per channel, A areas, N nodes (areas, then global modules),
H units of a node, E pathways between nodes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote, unquote

import torch
from torch import Tensor, nn

from .encoders import EVERYWHERE, Encoder
from .messages import Edge, Messages
from .modules import kinds as module_kinds
from .ports import Port
from .readouts import kinds as readout_kinds
from .topology import Topology

INPUT_ONLY = ("stimulus",)


class SessionParts(nn.Module):
    """What one session has of its own."""

    def __init__(self, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        super().__init__()
        self.inputs = {port.name: port for port in inputs}
        self.outputs = {port.name: port for port in outputs}
        self.encoders = nn.ModuleDict()
        self.readouts = nn.ModuleDict()


class Group(nn.Module):
    """Nodes of one kind: which they are, and their modules packed into one."""

    nodes: Tensor
    packed: Any  # a `Module` of models/modules/

    def __init__(self, nodes: Tensor, packed: nn.Module) -> None:
        super().__init__()
        self.register_buffer("nodes", nodes)
        self.packed = packed


class ModularNetwork(nn.Module):
    """One recurrent module per area, joined by pathways with delays, and global modules on their own time scale.

    topology: areas, pathways, global modules.
    area_size: units of every area and global module whose topology states no size.
    kind: a file of `models/modules/`, or one per area or global module by name ("" for those not named).
    bin_s: length of a time bin, seconds. A pathway takes delay / bin_s bins, rounded, at least one.
    rank: rank of the message of each pathway, 0 for full.
    tau_s: time constant that areas start with, seconds.
    gain: spectral radius of all recurrent weights together at the start; below 1 the silent network is stable.
    coupling: share of the variance of a unit's recurrent input that comes from other areas at the start.
    dale: units excite or inhibit, never both; pathways start from excitatory units unless their sign is -1.
    noise: standard deviation of noise in the drive of every unit, in training only; one number or one per area by name.
    detach_every: cut the gradient every so many bins, 0 for never (local objectives).
    seed: equal seeds give equal weights, whatever the order in which sessions are attached.
    """

    exists: Tensor
    noise_scale: Tensor

    def __init__(
        self,
        topology: Topology,
        *,
        area_size: int = 32,
        kind: str | Mapping[str, str] = "leaky",
        bin_s: float = 0.02,
        rank: int = 0,
        tau_s: float = 0.05,
        gain: float = 0.9,
        coupling: float = 0.5,
        dale: bool = False,
        noise: float | Mapping[str, float] = 0.0,
        detach_every: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if area_size < 1 or bin_s <= 0 or tau_s <= 0 or gain <= 0 or not 0 <= coupling < 1 or rank < 0:
            raise ValueError(
                f"area_size {area_size}, bin_s {bin_s}, tau_s {tau_s}, gain {gain}, coupling {coupling}, rank {rank}: "
                "the first four must be above 0, coupling from 0 to below 1, rank 0 (full) or more"
            )
        self.topology, self.bin_s, self.seed, self.detach_every = topology, bin_s, seed, detach_every
        self.areas = topology.area_names
        self.node_names = self.areas + tuple(module.name for module in topology.global_modules)
        stated = [area.size for area in topology.areas] + [module.size for module in topology.global_modules]
        sizes = [size or area_size for size in stated]
        self.size = max(sizes)
        self.ragged = min(sizes) < self.size
        self.register_buffer("exists", (torch.arange(self.size) < torch.tensor(sizes)[:, None])[:, None].float())
        generator = torch.Generator().manual_seed(seed)
        self._period_bins = [1] * len(self.areas) + [
            max(1, round(module.every_s / bin_s)) for module in topology.global_modules
        ]
        self._groups = self._make_groups(kind, tau_s, gain * (1 - coupling) ** 0.5, dale, generator)
        self.messages = Messages(
            self._edges(coupling), self.size, rank=min(rank, self.size), gain=gain, dale=dale, generator=generator
        )
        self.register_buffer("noise_scale", self._noise_scale(noise), persistent=False)
        self.sessions = nn.ModuleDict()
        self._scale_recurrence(gain)

    @property
    def groups(self) -> list[Group]:
        """The nodes of each kind, packed."""
        return [cast(Group, group) for group in self._groups]

    def attach(
        self,
        session: str,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        *,
        lead_fields: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Give a session its own encoders and readouts, by port name.

        lead_fields: per output port of kind "eeg" a tensor (C, A), areas in the order of `areas`.
        Raises ValueError where the session is attached already or a port contradicts itself or the network.
        """
        if _key(session) in self.sessions:
            raise ValueError(f"session {session!r} is attached already; attach each once")
        parts = SessionParts(inputs, outputs)
        unknown = sorted(set(lead_fields or {}) - set(parts.outputs))
        if unknown:
            raise ValueError(f"session {session!r}: lead field for {unknown[0]!r}, which is no output port")
        for port in inputs:
            self._check_port(session, port, inputs)
            parts.encoders[_key(port.name)] = Encoder(port, self.areas, self.size, self._generator(session, port, "in"))
        for port in outputs:
            self._check_port(session, port, outputs)
            if port.kind in INPUT_ONLY:
                raise ValueError(f"session {session!r}: port {port.name!r} of kind {port.kind!r} cannot be an output")
            parts.readouts[_key(port.name)] = readout_kinds(port.kind).Readout(
                port,
                self.areas,
                self.size,
                lead_field_CA=(lead_fields or {}).get(port.name),
                generator=self._generator(session, port, "out"),
            )
        self.sessions[_key(session)] = parts.to(self.exists.device)

    def readout(self, session: str, port_name: str) -> nn.Module:
        """The observation model of an output port, which has `nll` and `mean`; see `models/readouts/__init__.py`."""
        parts = self._parts(session)
        if port_name not in parts.outputs:
            raise ValueError(f"session {session!r} has no output {port_name!r}; it has: {', '.join(parts.outputs)}")
        return parts.readouts[_key(port_name)]

    def ports(self, session: str) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """Inputs and outputs of a session, as they were attached."""
        parts = self._parts(session)
        return tuple(parts.inputs.values()), tuple(parts.outputs.values())

    def unplaced(self, session: str) -> dict[str, tuple[str, ...]]:
        """Per electrode port the channels whose area the topology does not know: their place is learned."""
        found: dict[str, tuple[str, ...]] = {}
        for port in (*self.ports(session)[0], *self.ports(session)[1]):
            areas = port.areas or ("",) * port.n_channels
            names = tuple(n for n, area in zip(port.channel_names, areas, strict=True) if area not in self.areas)
            if names and port.kind not in EVERYWHERE:
                found[port.name] = names
        return found

    def forward(
        self,
        session: str,
        inputs: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        *,
        with_states: bool = False,
    ) -> dict[str, Tensor]:
        """Predicted parameters per output port, (B, T, C, P), as its readout defines them.

        inputs: per input port (B, T, C); a port may be left out. Output at bin t rests on inputs at bins up to and
            including t: whoever predicts what also comes in must lag the input.
        masks: per input port (B, T, C) or (B, T, 1), True where the input is valid; elsewhere it may hold NaN.
        with_states: add "state_BTAH", the states of all areas.
        Raises ValueError for an unknown session or port and for shapes that do not match.
        """
        parts = self._parts(session)
        state_BTAH = self.states(session, inputs, masks)
        outputs = {name: parts.readouts[_key(name)](state_BTAH) for name in parts.outputs}
        return outputs | {"state_BTAH": state_BTAH} if with_states else outputs

    def states(self, session: str, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> Tensor:
        """States of all areas, (B, T, A, H); arguments as `forward`. Units that an area does not have stay 0."""
        states = torch.stack(self._run(self._drive(session, inputs, masks or {})))
        return states[:, : len(self.areas)].permute(2, 0, 1, 3)

    def lesion(self, source: str, target: str, *, intact: bool = False) -> None:
        """Silence the pathway between two nodes, or restore it. Raises ValueError where there is none."""
        wanted = (self._node(source), self._node(target))
        edges = [e for e, edge in enumerate(self.messages.edges) if (edge.source, edge.target) == wanted]
        if not edges:
            raise ValueError(f"no pathway {source} -> {target} in {self.topology.name!r}")
        self.messages.intact[edges[0]] = float(intact)

    def pathway_strengths(self) -> tuple[Tensor, Tensor]:
        """Per pathway of the topology, in its order, the norm of its weights and its length in mm, both (E,)."""
        norms = self.messages.weights().flatten(1).norm(dim=1)
        back = {edge: position for position, edge in enumerate(self.messages.order)}
        n_pathways = len(self.topology.pathways)
        lengths_mm = norms.new_tensor([pathway.length_mm for pathway in self.topology.pathways])
        index = torch.tensor([back[e] for e in range(n_pathways)], dtype=torch.long, device=norms.device)
        return norms[index], lengths_mm

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """Spectral radius of local and long-range weights as one matrix, delays left out.

        Estimated from how fast a random state grows under repeated products (the last 100 of 200); good to a few
        per cent.
        """
        generator = torch.Generator().manual_seed(0)
        shape = (len(self.node_names), 4, self.size)
        state = torch.randn(shape, generator=generator).to(self.exists) * self.exists
        constants, message_constants = self._constants(), self.messages.constants()
        log_growth = 0.0
        for step in range(200):
            state = self._recur(state, constants, message_constants) * self.exists
            norm = state.norm()
            if norm == 0:
                return 0.0
            log_growth += float(norm.log()) if step >= 100 else 0.0
            state = state / norm
        return float(torch.tensor(log_growth / 100).exp())

    def _recur(
        self, state: Tensor, constants: list[tuple[Tensor, ...]], message_constants: tuple[Tensor, ...]
    ) -> Tensor:
        """One linear product with all recurrent weights."""
        received: Tensor = self.messages([state] * self.messages.max_delay, 1, message_constants)[0]
        for group, constant in zip(self.groups, constants, strict=True):
            received[group.nodes] += torch.bmm(state[group.nodes], constant[0])
        return received

    def _scale_recurrence(self, gain: float) -> None:
        radius = self.spectral_radius()
        factor = gain / radius if radius > 0 else 1.0
        self.messages.scale(factor)
        with torch.no_grad():
            for group in self.groups:
                group.packed.weight.mul_(factor)

    def _constants(self) -> list[tuple[Tensor, ...]]:
        return [group.packed.constants() for group in self.groups]

    def _run(self, drive_NTBH: Tensor) -> list[Tensor]:
        """States of all nodes, T of (N, B, H)."""
        n_bins = drive_NTBH.shape[1]
        constants, message_constants = self._constants(), self.messages.constants()
        past = [torch.zeros_like(drive_NTBH[:, 0])] * self.messages.max_delay
        states: list[Tensor] = []
        while (bin_ := len(states)) < n_bins:
            cut = self.detach_every
            if cut and bin_ and bin_ % cut == 0:
                past = [state.detach() for state in past]
            n_ahead = min(self.messages.min_delay, n_bins - bin_, cut - bin_ % cut if cut else n_bins)
            received = self.messages(past, n_ahead, message_constants)
            for i in range(n_ahead):
                past.append(self._step(past[-1], drive_NTBH[:, bin_ + i] + received[i], bin_ + i, constants))
                states.append(past[-1])
            past = past[-self.messages.max_delay :]
        return states

    def _step(self, state: Tensor, drive: Tensor, bin_: int, constants: list[tuple[Tensor, ...]]) -> Tensor:
        """One bin of every node, (N, B, H)."""
        new: Tensor = state
        if len(constants) == 1:
            new = self.groups[0].packed(state, drive, constants[0])
        else:
            for group, constant in zip(self.groups, constants, strict=True):
                new = new.index_copy(0, group.nodes, group.packed(state[group.nodes], drive[group.nodes], constant))
        if self.ragged:
            new = new * self.exists
        resting = [node for node, period in enumerate(self._period_bins) if bin_ % period]
        if resting:
            index = torch.tensor(resting, device=new.device)
            new = new.index_copy(0, index, state[index])
        return new

    def _drive(self, session: str, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """What every node gets besides messages, (N, T, B, H): inputs, biases, noise."""
        parts = self._parts(session)
        _check_inputs(session, inputs, masks, parts.inputs)
        total_ATBH = sum(
            (parts.encoders[_key(name)](value, masks.get(name)) for name, value in inputs.items()),
            start=torch.zeros((), device=self.exists.device),
        )
        n_global = len(self.node_names) - len(self.areas)
        drive = torch.cat([total_ATBH, total_ATBH.new_zeros(n_global, *total_ATBH.shape[1:])]) + self._bias()[:, None]
        if self.training and bool(self.noise_scale.any()):
            drive = drive + torch.randn_like(drive) * self.noise_scale
        return drive

    def _bias(self) -> Tensor:
        """Biases of all nodes, (N, 1, H)."""
        bias = self.exists.new_zeros(len(self.node_names), 1, self.size)
        for group in self.groups:
            bias = bias.index_copy(0, group.nodes, group.packed.bias)
        return bias

    def _make_groups(
        self, kind: str | Mapping[str, str], tau_s: float, gain: float, dale: bool, generator: torch.Generator
    ) -> nn.ModuleList:
        named = {} if isinstance(kind, str) else dict(kind)
        default = kind if isinstance(kind, str) else named.pop("", "leaky")
        for name in named:
            self._node(name)
        kinds = [named.get(name, default) for name in self.node_names]
        scales_s = [tau_s] * len(self.areas) + [module.time_scale_s for module in self.topology.global_modules]
        tau_bins = torch.tensor(scales_s) / self.bin_s / torch.tensor(self._period_bins)
        fixed = torch.arange(len(self.node_names)) >= len(self.areas)
        groups = nn.ModuleList()
        for one in sorted(set(kinds)):
            nodes = torch.tensor([node for node, other in enumerate(kinds) if other == one])
            packed = module_kinds(one).Module(
                len(nodes),
                self.size,
                tau_bins[nodes],
                gain=gain,
                fixed_tau=fixed[nodes],
                dale=dale,
                generator=generator,
            )
            groups.append(Group(nodes, packed))
        return groups

    def _edges(self, coupling: float) -> list[Edge]:
        """Pathways, then the two directions of every global module, each with its share of its target's variance."""
        ends = [
            (self._node(p.source), self._node(p.target), max(1, round(delay_s / self.bin_s)), p.weight, p.sign)
            for p, delay_s in zip(self.topology.pathways, self.topology.delays_s(), strict=True)
        ]
        weights_in: dict[int, list[float]] = {}
        for _, target, _, weight, _ in ends:
            weights_in.setdefault(target, []).append(weight)
        for module in self.topology.global_modules:
            node = self._node(module.name)
            for area in module.areas or self.areas:
                # As strong as that area's mean pathway.
                weights = weights_in.get(self._node(area), [1.0])
                ends.append((node, self._node(area), 1, sum(weights) / len(weights), 0))
                ends.append((self._node(area), node, 1, 1.0, 0))
        power = [0.0] * len(self.node_names)
        for _, target, _, weight, _ in ends:
            power[target] += weight**2
        return [
            Edge(source=s, target=t, delay_bins=d, share=coupling * w**2 / power[t], sign=sign)
            for s, t, d, w, sign in ends
        ]

    def _noise_scale(self, noise: float | Mapping[str, float]) -> Tensor:
        """Standard deviation of the noise per node, (N, 1, 1, 1); named areas only, where names are given."""
        given = dict.fromkeys(self.areas, noise) if isinstance(noise, float | int) else dict(noise)
        scale = torch.zeros(len(self.node_names), 1, 1, 1)
        for name, value in given.items():
            scale[self._node(name)] = value
        return scale

    def _node(self, name: str) -> int:
        if name not in self.node_names:
            raise ValueError(f"no area or global module {name!r} in {self.topology.name!r}")
        return self.node_names.index(name)

    def _parts(self, session: str) -> SessionParts:
        if _key(session) not in self.sessions:
            known = ", ".join(sorted(unquote(key[2:]) for key in self.sessions)) or "none"
            raise ValueError(f"session {session!r} is not attached; attached: {known}")
        parts = self.sessions[_key(session)]
        if not isinstance(parts, SessionParts):
            raise TypeError(f"session {session!r} holds a {type(parts).__name__} instead of its parts")
        return parts

    def _generator(self, session: str, port: Port, side: str) -> torch.Generator:
        text = f"{self.seed}/{session}/{port.name}/{side}"
        return torch.Generator().manual_seed(zlib.crc32(text.encode()))

    def _check_port(self, session: str, port: Port, others: Sequence[Port]) -> None:
        where = f"session {session!r}: port {port.name!r}"
        if sum(other.name == port.name for other in others) > 1:
            raise ValueError(f"{where} is there twice; names must differ")
        if port.n_channels == 0:
            raise ValueError(f"{where} has no channels; at least one is needed")
        if port.areas and len(port.areas) != port.n_channels:
            raise ValueError(f"{where}: {port.n_channels} channels but {len(port.areas)} areas; they must match")
        if abs(port.bin_s - self.bin_s) > 1e-9:
            raise ValueError(f"{where} has bins of {port.bin_s} s, the network of {self.bin_s} s; they must match")


def _check_inputs(
    session: str, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor], ports: Mapping[str, Port]
) -> None:
    for name in (*inputs, *masks):
        if name not in ports:
            raise ValueError(f"session {session!r} has no input {name!r}; it has: {', '.join(ports) or 'none'}")
    lengths = {tuple(value.shape[:2]) for value in inputs.values()}
    if len(lengths) != 1:
        raise ValueError(
            f"session {session!r}: inputs of (batch, bins) {sorted(lengths)}; all must be the same, one at least"
        )


def _key(name: str) -> str:
    """A name as a module dictionary takes it: without dots, and never one of its own method's names."""
    return "n_" + quote(name, safe=" ").replace(".", "%2E")
