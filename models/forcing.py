"""Forced coupling: while it trains, a network's states are drawn towards what the recording says they must be.

    state' = state + strength K (observed - W state - offset)      W, offset: the readout, linear at its working point

As generalised teacher forcing (Hess et al. 2023): with `strength` from 1 down to 0 the network first follows the
recording and then runs by itself; since part of the state is replaced in every bin, gradients shrink by that part and
cannot explode. K is the inverse of the readout that changes the state least, regularised by the readout's noise:
K = V W' (V W W' + R)^-1, with R the noise variance of every channel and V that of a state. What a recording does not
see of the state stays the network's own.

What a network predicts for a bin is read before the state is drawn to that bin's observation, so nothing is given away.

Shapes: B batch, T bins, C channels of all ports together, A areas, H units, N nodes (areas first).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .network import ModularNetwork
from .ports import Port
from .readouts import kinds as readout_kinds
from .recurrence import Nudge

STATE_VARIANCE = 0.25  # states lie between -1 and 1


def can_force(port: Port) -> bool:
    """Whether the readout of a port has an inverse: see `linearised` in `readouts/__init__.py`."""
    return hasattr(readout_kinds(port.kind).Readout, "linearised")


def forcing(
    network: ModularNetwork,
    session: str,
    targets: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    *,
    strength: float,
) -> Nudge:
    """What draws the states of a batch towards its targets, to be given to `network(..., nudge=...)`.

    targets, masks: per output port (B, T, C); a masked value draws nothing. strength: 0 (not at all) to 1.
    Raises ValueError for a strength outside of that and for a port whose readout has no inverse.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength of the coupling is {strength}; from 0 to 1 is wanted")
    maps = [_linear_map(network, session, name) for name in targets]
    weight_CX, offset_C, variance_C = (torch.cat(parts) for parts in zip(*maps, strict=True))
    observed = torch.cat([torch.where(masks[name], target, 0) for name, target in targets.items()], dim=2)
    known = torch.cat([masks[name].expand_as(target) for name, target in targets.items()], dim=2)
    seen = STATE_VARIANCE * weight_CX @ weight_CX.T + torch.diag(variance_C)
    pull_CX = strength * STATE_VARIANCE * torch.linalg.solve(seen, weight_CX)
    n_areas, size = len(network.areas), network.size

    def nudge(state_NBH: Tensor, bin_: int) -> Tensor:
        state_BX = state_NBH[:n_areas].transpose(0, 1).flatten(1)
        surprise = torch.where(known[:, bin_], observed[:, bin_] - offset_C - state_BX @ weight_CX.T, 0)
        drawn = (state_BX + surprise @ pull_CX).view(-1, n_areas, size).transpose(0, 1)
        return torch.cat([drawn, state_NBH[n_areas:]])

    return nudge


@torch.no_grad()
def _linear_map(network: ModularNetwork, session: str, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Weight (C, A * H), offset (C,) and noise variance (C,) of one port's readout; the coupling teaches it nothing."""
    readout: Any = network.readout(session, name)
    if not hasattr(readout, "linearised"):
        ports = {port.name: port for port in network.ports(session)[1]}
        able = [n for n, port in ports.items() if can_force(port)]
        raise ValueError(
            f"the readout of {name!r} ({ports[name].kind}) has no inverse to force states with; "
            f"those that have: {', '.join(able) or 'none'}"
        )
    weight_CAH, offset_C, variance_C = readout.linearised()
    there = network.exists[: len(network.areas), 0]
    return (weight_CAH * there).flatten(1), offset_C, variance_C
