"""A network whose parts are the areas of a topology.

    inputs (per session) -> encoders -> drive of every area
    drive + messages of other areas, each after its pathway's delay -> modules -> state of every area
    state -> readouts (per session) -> predicted parameters of every output

Everything between encoders and readouts is shared by all sessions; a session's vector, where it has one, sets bias and
gain of every unit (`sessions.py`). The way through time lies in `recurrence.py`.

Shapes: B batch, T bins, C channels of a port, P parameters per channel, A areas, N nodes (areas, then global modules),
H units of a node, E pathways between nodes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote, unquote

import torch
from torch import Tensor, nn

from ._checks import check_inputs, check_options, check_port, check_whole, listed
from .encoders import EVERYWHERE, Encoder
from .groups import Group, packed
from .messages import Messages
from .ports import Port
from .readouts import kinds as readout_kinds
from .readouts._shared import Site
from .recurrence import Cut, Nudge, run
from .sessions import Modulation, SessionParts
from .spectral import spectral_radius
from .topology import Topology
from .wiring import edges_of, nodes_of

INPUT_ONLY = ("stimulus",)
KindOptions = Mapping[str, Mapping[str, Any]]


class ModularNetwork(nn.Module):
    """One recurrent module per area, joined by pathways with delays, and global modules on their own time scale.

    topology: areas, pathways, global modules.
    area_size: units of every area and global module whose topology states no size.
    kind: a file of `models/modules/`, or one per area or global module by name ("" for those not named).
    kind_options: kind -> settings of that kind alone, {"transformer": {"window_bins": 25}}.
    bin_s: length of a time bin, seconds. A pathway takes delay / bin_s bins, rounded, at least one.
    rank: rank of the message of each pathway, 0 for full.
    tau_s: time constant that areas start with, seconds.
    gain: spectral radius of all recurrent weights together at the start; below 1 the silent network is stable.
    coupling: share of the variance of a unit's recurrent input that comes from other areas at the start.
    dale: units excite or inhibit, never both; pathways start from excitatory units unless their sign is -1.
    density: share of the connections between units that all pathways start with, at random; `prune` removes more.
    session_size: numbers in the vector of each session that modulates the shared network; 0 for none.
    noise: standard deviation of noise in the drive of every unit, in training only; one number or one per area by name.
    detach_every: cut the gradient every so many bins, 0 for never (local objectives).
    recompute_bins: keep of so many bins at a time only their states and compute the rest again for the gradient: long
        sequences in less memory, the same numbers in more time; 0 keeps everything. Where the leaky kind alone makes
        up the network, nothing more than that is kept anyway (`fused/`).
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
        kind_options: KindOptions | None = None,
        bin_s: float = 0.02,
        rank: int = 0,
        tau_s: float = 0.05,
        gain: float = 0.9,
        coupling: float = 0.5,
        dale: bool = False,
        density: float = 1.0,
        session_size: int = 0,
        noise: float | Mapping[str, float] = 0.0,
        detach_every: int = 0,
        recompute_bins: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_whole(area_size=area_size, rank=rank, session_size=session_size, recompute_bins=recompute_bins)
        if area_size < 1 or bin_s <= 0 or tau_s <= 0 or gain <= 0 or not 0 <= coupling < 1 or rank < 0:
            raise ValueError(
                f"area_size {area_size}, bin_s {bin_s}, tau_s {tau_s}, gain {gain}, coupling {coupling}, rank {rank}: "
                "the first four must be above 0, coupling from 0 to below 1, rank 0 (full) or more"
            )
        if not 0 < density <= 1 or session_size < 0 or recompute_bins < 0:
            raise ValueError(
                f"density {density}, session_size {session_size}, recompute_bins {recompute_bins}: density must be "
                "above 0 and at most 1, the others 0 or more"
            )
        self.topology, self.bin_s, self.seed, self.detach_every = topology, bin_s, seed, detach_every
        self.recompute_bins = recompute_bins
        self.kind_options, self.session_size = dict(kind_options or {}), session_size
        self.areas = topology.area_names
        self.node_names = topology.node_names
        stated = [area.size for area in topology.areas] + [module.size for module in topology.global_modules]
        sizes = [size or area_size for size in stated]
        self.size = max(sizes)
        self.register_buffer("exists", (torch.arange(self.size) < torch.tensor(sizes)[:, None])[:, None].float())
        generator = torch.Generator().manual_seed(seed)
        edges = edges_of(topology, bin_s, coupling)
        nodes = nodes_of(topology, self._kinds(kind), edges, bin_s=bin_s, tau_s=tau_s)
        within = gain * (1 - coupling) ** 0.5
        self._groups = nn.ModuleList(
            packed(nodes, self.exists, self.kind_options, gain=within, dale=dale, generator=generator)
        )
        self.messages = Messages(
            edges, self.size, rank=min(rank, self.size), gain=gain, dale=dale, density=density, generator=generator
        )
        self.register_buffer("noise_scale", self._noise_scale(noise), persistent=False)
        self.modulation = self._make_modulation()
        self.sessions = nn.ModuleDict()
        self._scale_recurrence(gain)

    @property
    def groups(self) -> list[Group]:
        """The nodes of each kind, packed."""
        return [cast(Group, group) for group in self._groups]

    @property
    def session_names(self) -> tuple[str, ...]:
        """The sessions that are attached, in alphabetical order."""
        return tuple(sorted(unquote(key[2:]) for key in self.sessions))

    def attach(
        self,
        session: str,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        *,
        lead_fields: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Give a session its own encoders and readouts, by port name.

        lead_fields: per output port of kind "eeg" or "meg" a tensor (C, A), areas in the order of `areas`.
        Raises ValueError where the session is attached already or a port contradicts itself or the network.
        """
        if _key(session) in self.sessions:
            raise ValueError(f"session {session!r} is attached already; attach each once")
        parts = SessionParts(inputs, outputs, self.session_size)
        unknown = sorted(set(lead_fields or {}) - set(parts.outputs))
        if unknown:
            raise ValueError(f"session {session!r}: lead field for {unknown[0]!r}, which is no output port")
        for port in inputs:
            check_port(f"session {session!r}: port {port.name!r}", port, inputs, self.areas, self.bin_s)
            entering = port.within or self.topology.entering(port.name, port.kind)
            parts.encoders[_key(port.name)] = Encoder(
                replace(port, within=entering), self.areas, self.size, self._generator(session, port, "in")
            )
        for port in outputs:
            check_port(f"session {session!r}: port {port.name!r}", port, outputs, self.areas, self.bin_s)
            if port.kind in INPUT_ONLY:
                raise ValueError(f"session {session!r}: port {port.name!r} of kind {port.kind!r} cannot be an output")
            leaving = port.within or self.topology.leaving(port.name, port.kind)
            site = Site(
                port=replace(port, within=leaving),
                area_names=self.areas,
                size=self.size,
                generator=self._generator(session, port, "out"),
                lead_field_CA=(lead_fields or {}).get(port.name),
            )
            parts.readouts[_key(port.name)] = readout_kinds(port.kind).Readout(site)
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
        cut: Cut | None = None,
        nudge: Nudge | None = None,
    ) -> dict[str, Tensor]:
        """Predicted parameters per output port, (B, T, C, P), as its readout defines them.

        inputs: per input port (B, T, C); a port may be left out. Output at bin t rests on inputs at bins up to and
            including t: whoever predicts what also comes in must lag the input.
        masks: per input port (B, T, C) or (B, T, 1), True where the input is valid; elsewhere it may hold NaN.
        with_states: add "state_BTAH", the states of all areas.
        cut: where the gradient ends; by default every `detach_every` bins.
        nudge: what moves the states from outside, bin by bin; see `recurrence.py` and `forcing.py`.
        Raises ValueError for an unknown session or port and for shapes that do not match.
        """
        parts = self._parts(session)
        state_BTAH = self.states(session, inputs, masks, cut=cut, nudge=nudge)
        outputs = {name: parts.readouts[_key(name)](state_BTAH) for name in parts.outputs}
        return outputs | {"state_BTAH": state_BTAH} if with_states else outputs

    def states(
        self,
        session: str,
        inputs: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        *,
        cut: Cut | None = None,
        nudge: Nudge | None = None,
    ) -> Tensor:
        """States of all areas, (B, T, A, H); arguments as `forward`. Units that an area does not have stay 0."""
        drive, gain = self.drive(session, inputs, masks)
        states = self.run(drive, gain_N11H=gain, cut=cut, nudge=nudge)
        return states[: len(self.areas)].permute(2, 1, 0, 3)

    def run(
        self,
        drive_NTBH: Tensor,
        *,
        gain_N11H: Tensor | None = None,
        cut: Cut | None = None,
        nudge: Nudge | None = None,
    ) -> Tensor:
        """States of all nodes under a given drive (inputs, bias, noise), (N, T, B, H)."""
        cut = cut or Cut(every_bins=self.detach_every)
        return run(
            self.groups,
            self.messages,
            drive_NTBH,
            gain_N11H=gain_N11H,
            cut=cut,
            nudge=nudge,
            recompute_bins=self.recompute_bins,
        )

    def session_vector(self, session: str) -> Tensor:
        """The vector (E,) of a session that modulates the shared network; E is 0 where the network has none."""
        vector = self._parts(session).vector
        return self.exists.new_zeros(0) if vector is None else vector

    def own_parameters(self, session: str) -> list[nn.Parameter]:
        """All that a session has of its own and that is learned: encoders, readouts, its vector."""
        return list(self._parts(session).parameters())

    def port_parameters(self, session: str) -> list[nn.Parameter]:
        """What the session's encoders and readouts learn, in an order that depends on its ports alone."""
        parts = self._parts(session)
        both = (
            (parts.encoders[_key(name)] for name in parts.inputs),
            (parts.readouts[_key(name)] for name in parts.outputs),
        )
        return [parameter for side in both for module in side for parameter in module.parameters()]

    def freeze_shared(self, frozen: bool = True) -> None:
        """Keep what all sessions share as it is, so that training changes only what each session has of its own."""
        for name, parameter in self.named_parameters():
            if not name.startswith("sessions."):
                parameter.requires_grad_(not frozen)

    def lesion(self, source: str, target: str, *, intact: bool = False) -> None:
        """Silence the pathway between two nodes, or restore it. Raises ValueError where there is none."""
        wanted = (self._node(source), self._node(target))
        edges = [e for e, edge in enumerate(self.messages.edges) if (edge.source, edge.target) == wanted]
        if not edges:
            leads_to = [self.node_names[edge.target] for edge in self.messages.edges if edge.source == wanted[0]]
            raise ValueError(
                f"no pathway {source} -> {target} in {self.topology.name!r}; {listed(leads_to, f'from {source} to')}"
            )
        self.messages.intact[edges[0]] = float(intact)

    @contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Ends with the pathways that were silent before, and as ready for training as before."""
        was_training, intact = self.training, self.messages.intact.clone()
        try:
            yield
        finally:
            self.train(was_training)
            self.messages.intact.copy_(intact)

    def pathway_strengths(self) -> tuple[Tensor, Tensor]:
        """Per pathway of the topology, in its order, the norm of its weights and its length in mm, both (E,)."""
        norms = self.messages.weights().flatten(1).norm(dim=1)
        back = {edge: position for position, edge in enumerate(self.messages.order)}
        n_pathways = len(self.topology.pathways)
        lengths_mm = norms.new_tensor([pathway.length_mm for pathway in self.topology.pathways])
        index = torch.tensor([back[e] for e in range(n_pathways)], dtype=torch.long, device=norms.device)
        return norms[index], lengths_mm

    def time_constants_s(self) -> tuple[Tensor, Tensor]:
        """Time constant of every unit of every area, seconds, (A, H), and which of them exist, (A, H)."""
        tau_NH = self.exists.new_zeros(len(self.node_names), self.size)
        for group in self.groups:
            tau_NH = tau_NH.index_copy(0, group.nodes, group.packed.tau_bins() * self.bin_s * group.period_bins)
        return tau_NH[: len(self.areas)], self.exists[: len(self.areas), 0] > 0

    def prune(self, share: float, *, scale_mm: float | None = None) -> float:
        """Remove the weakest connections between areas, until `share` of all are gone; gives the share that is.

        scale_mm: a connection counts as weaker the longer it is, by 1 + length / scale_mm: what it costs in axon. Of
        messages of low rank, whole components go. What is removed never comes back.
        """
        lengths_mm = [p.length_mm for p in self.topology.pathways]
        lengths_mm += [0.0] * (len(self.messages.edges) - len(lengths_mm))  # global modules have no place
        lengths = self.exists.new_tensor([lengths_mm[e] for e in self.messages.order])
        return self.messages.prune(share, 1.0 if scale_mm is None else (1 + lengths / scale_mm)[:, None, None])

    def spectral_radius(self) -> float:
        """Spectral radius of local and long-range weights as one matrix, delays left out; good to a few per cent."""
        return spectral_radius(self.groups, self.messages, self.exists)

    def _scale_recurrence(self, gain: float) -> None:
        radius = self.spectral_radius()
        factor = gain / radius if radius > 0 else 1.0
        self.messages.scale(factor)
        with torch.no_grad():
            for group in self.groups:
                group.packed.weight.mul_(factor)

    def drive(
        self, session: str, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What every node gets besides messages, (N, T, B, H): inputs, biases, noise; and its gain, (N, 1, 1, H)."""
        parts, masks = self._parts(session), masks or {}
        check_inputs(session, inputs, masks, parts.inputs)
        total_ATBH = sum(
            (parts.encoders[_key(name)](value, masks.get(name)) for name, value in inputs.items()),
            start=torch.zeros((), device=self.exists.device),
        )
        n_global, gain = len(self.node_names) - len(self.areas), None
        if self.modulation is not None:
            bias, gain_A11H = self.modulation(parts.vector)
            total_ATBH = total_ATBH + bias
            gain = torch.cat([gain_A11H, gain_A11H.new_ones(n_global, *gain_A11H.shape[1:])])
        drive = torch.cat([total_ATBH, total_ATBH.new_zeros(n_global, *total_ATBH.shape[1:])]) + self.bias()[:, None]
        if self.training and bool(self.noise_scale.any()):
            drive = drive + torch.randn_like(drive) * self.noise_scale
        return drive, gain

    def bias(self) -> Tensor:
        """Biases of all nodes, (N, 1, H)."""
        bias = self.exists.new_zeros(len(self.node_names), 1, self.size)
        for group in self.groups:
            bias = bias.index_copy(0, group.nodes, group.packed.bias)
        return bias

    def _kinds(self, kind: str | Mapping[str, str]) -> list[str]:
        """The kind of every node. Raises ValueError for a name that is no node or no kind."""
        named = {} if isinstance(kind, str) else dict(kind)
        default = kind if isinstance(kind, str) else named.pop("", "leaky")
        for name in named:
            self._node(name)
        for name, options in self.kind_options.items():
            check_options(name, options)
        return [named.get(name, default) for name in self.node_names]

    def _make_modulation(self) -> Modulation | None:
        if not self.session_size:
            return None
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed}/modulation".encode()))
        return Modulation(self.session_size, len(self.areas), self.size, generator)

    def _noise_scale(self, noise: float | Mapping[str, float]) -> Tensor:
        """Standard deviation of the noise per node, (N, 1, 1, 1); named areas only, where names are given."""
        given = dict.fromkeys(self.areas, noise) if isinstance(noise, float | int) else dict(noise)
        scale = torch.zeros(len(self.node_names), 1, 1, 1)
        for name, value in given.items():
            scale[self._node(name)] = value
        return scale

    def _node(self, name: str) -> int:
        if name not in self.node_names:
            raise ValueError(f"no area or global module {name!r} in {self.topology.name!r}; {listed(self.node_names)}")
        return self.node_names.index(name)

    def _parts(self, session: str) -> SessionParts:
        if _key(session) not in self.sessions:
            raise ValueError(
                f"session {session!r} is not attached; attached: {', '.join(self.session_names) or 'none'}"
            )
        parts = self.sessions[_key(session)]
        if not isinstance(parts, SessionParts):
            raise TypeError(f"session {session!r} holds a {type(parts).__name__} instead of its parts")
        return parts

    def _generator(self, session: str, port: Port, side: str) -> torch.Generator:
        text = f"{self.seed}/{session}/{port.name}/{side}"
        return torch.Generator().manual_seed(zlib.crc32(text.encode()))


def _key(name: str) -> str:
    """A name as a module dictionary takes it: without dots, and never one of its own method's names."""
    return "n_" + quote(name, safe=" ").replace(".", "%2E")
