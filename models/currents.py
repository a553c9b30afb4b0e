"""What flows along every pathway of a network, and what happens when a pathway is cut or an area is pushed.

    total input of an area = drive (inputs, bias) + messages of its pathways + what its own units send each other

**A good fit can have wrong currents.** Many networks produce the same activity: what an area gets from another and what
it makes by itself, or gets from a third that is correlated with it, cannot be told apart by activity alone. Currents
are a hypothesis about a recording, not a measurement; `tests/models/test_currents.py` has two networks of equal
activity and different currents. Perturbations (a lesion, a stimulation that was really made) can decide between them.

Shapes: B batch, T bins, A areas, E pathways in the topology's order, H units, N nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ._checks import listed
from .network import ModularNetwork

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Currents:
    """Inputs to the units of the target area, bin by bin.

    messages: (E, B, T, H). local: (A, B, T, H), 0 for kinds whose units do not hear each other. drive: (A, B, T, H).
    global_modules: (A, B, T, H), all of their messages together. sources, targets: area numbers, (E,).
    """

    messages: Tensor
    local: Tensor
    drive: Tensor
    global_modules: Tensor
    sources: Tensor
    targets: Tensor

    def power(self) -> tuple[Tensor, Tensor]:
        """Mean square of the messages (E,) and of the local currents (A,)."""
        return self.messages.square().mean(dim=(1, 2, 3)), self.local.square().mean(dim=(1, 2, 3))

    def shares(self) -> tuple[Tensor, Tensor]:
        """What each pathway (E,), and each area by itself (A,), is of the power of all recurrent input to its target.

        They need not add up to what the sum of all currents has: currents may cancel.
        """
        messages_E, local_A = self.power()
        other_A = self.global_modules.square().mean(dim=(1, 2, 3))
        total_A = (local_A + other_A).index_add(0, self.targets, messages_E).clamp_min(1e-30)
        return messages_E / total_A[self.targets], local_A / total_A


@torch.no_grad()
def currents(network: ModularNetwork, session: str, inputs: Inputs, masks: Inputs | None = None) -> Currents:
    """All currents of a network under its inputs; arguments as `network.forward`."""
    with network.as_it_was():
        network.eval()
        drive_NTBH, gain = network.drive(session, inputs, masks)
        states_NTBH = network.run(drive_NTBH, gain_N11H=gain)
    n_areas, messages = len(network.areas), network.messages
    sent = torch.zeros(len(messages.edges), *states_NTBH.shape[1:], device=states_NTBH.device)
    for e, (edge, weight) in enumerate(zip(messages.edges, messages.weights(), strict=True)):
        sent[e] = _late(states_NTBH[edge.source], edge.delay_bins) @ weight
    n_pathways = len(network.topology.pathways)
    position = {edge: e for e, edge in enumerate(messages.order)}
    index = torch.tensor([position[e] for e in range(n_pathways)], dtype=torch.long, device=sent.device)
    global_ATBH = torch.zeros_like(states_NTBH[:n_areas])
    for e, edge in enumerate(messages.edges):
        if edge.source >= n_areas and edge.target < n_areas:
            global_ATBH[edge.target] += sent[e]
    return Currents(
        messages=sent[index].transpose(1, 2),
        local=_local(network, states_NTBH)[:n_areas].transpose(1, 2),
        drive=drive_NTBH[:n_areas].transpose(1, 2),
        global_modules=global_ATBH.transpose(1, 2),
        sources=messages.sources[index],
        targets=messages.targets[index],
    )


def _local(network: ModularNetwork, states_NTBH: Tensor) -> Tensor:
    local = torch.zeros_like(states_NTBH)
    before = _late(states_NTBH.transpose(0, 1), 1).transpose(0, 1)
    for group in network.groups:
        weight_GHH = group.packed.constants()[0]
        local[group.nodes] = torch.einsum("ntbh,nhk->ntbk", before[group.nodes], weight_GHH)
    return local


def _late(state_T: Tensor, n_bins: int) -> Tensor:
    """The same, that many bins later along the first dimension, from rest."""
    return torch.cat([torch.zeros_like(state_T[:n_bins]), state_T[: len(state_T) - n_bins]])[: len(state_T)]


@torch.no_grad()
def lesioned(
    network: ModularNetwork,
    pathways: Sequence[tuple[str, str]],
    session: str,
    inputs: Inputs,
    masks: Inputs | None = None,
) -> dict[str, Tensor]:
    """Expected outputs (B, T, C) per port with these pathways silenced, as (source, target).

    The network is left as it was. Raises ValueError for a pathway that is not there.
    """
    for pair in pathways:
        if isinstance(pair, str) or len(pair) != 2:
            raise ValueError(f"pathway {pair!r}; pairs of areas are wanted, like [('V1', 'M1')]")
    with network.as_it_was():
        network.eval()
        for source, target in pathways:
            network.lesion(source, target)
        return _means(network, session, network(session, inputs, masks))


@torch.no_grad()
def stimulated(
    network: ModularNetwork,
    pulses: Mapping[str, Tensor | float],
    session: str,
    inputs: Inputs,
    masks: Inputs | None = None,
    *,
    bins: tuple[int, int] | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """What a push into areas changes: expected outputs (B, T, C) per port, and states (B, T, A, H), less those without.

    pulses: area -> what is added to the drive of its units, a number or (H,), in the bins `[first, last)`; all bins
        where they are not given. Outputs change as they are predicted: spikes in counts per bin, numbers in standard
        deviations of training time, answers in chance. The network is left as it was. Raises ValueError for an area
        that is not there, for bins that are not, and for pulses of another shape.
    """
    with network.as_it_was():
        network.eval()
        drive, gain = network.drive(session, inputs, masks)
        pushed = _pushed(network, drive, pulses, bins or (0, drive.shape[1]))
        changed = []
        for one in (pushed, drive):
            state = network.run(one, gain_N11H=gain)[: len(network.areas)].permute(2, 1, 0, 3)
            outputs = {port.name: network.readout(session, port.name)(state) for port in network.ports(session)[1]}
            changed.append((_means(network, session, outputs), state))
    (with_push, states), (without, rest) = changed
    return {name: with_push[name] - without[name] for name in without}, states - rest


def _pushed(
    network: ModularNetwork, drive_NTBH: Tensor, pulses: Mapping[str, Tensor | float], bins: tuple[int, int]
) -> Tensor:
    (first, last), n_bins, size = bins, drive_NTBH.shape[1], drive_NTBH.shape[3]
    if not 0 <= first < last <= n_bins:
        raise ValueError(f"bins {first} to {last} of {n_bins}; the first below the last, from 0 to {n_bins}, is wanted")
    pushed = drive_NTBH.clone()
    for area, value in pulses.items():
        if area not in network.areas:
            raise ValueError(f"no area {area!r} to stimulate; {listed(network.areas)}")
        pulse = torch.as_tensor(value, dtype=pushed.dtype, device=pushed.device)
        if pulse.shape not in ((), (size,)):
            raise ValueError(f"pulse of shape {tuple(pulse.shape)} into {area}; a number, or one per unit ({size}), "
                             "is wanted")  # fmt: skip
        node = network.areas.index(area)
        pushed[node, first:last] += pulse * network.exists[node]
    return pushed


def _means(network: ModularNetwork, session: str, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    means = {}
    for port in network.ports(session)[1]:
        mean: Tensor = network.readout(session, port.name).mean(outputs[port.name])  # type: ignore[operator]
        means[port.name] = mean
    return means
