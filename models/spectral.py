"""How strongly a network feeds back on itself, before it has learned anything.

Shapes: N nodes, H units of a node.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .groups import Group
from .messages import Messages

N_PRODUCTS = 200


@torch.no_grad()
def spectral_radius(groups: Sequence[Group], messages: Messages, exists_N1H: Tensor) -> float:
    """Spectral radius of local and long-range weights as one matrix, delays left out.

    Estimated from how fast a random state grows under repeated products (the last 100 of 200); good to a few per cent.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (exists_N1H.shape[0], 4, exists_N1H.shape[2])
    state = torch.randn(shape, generator=generator).to(exists_N1H) * exists_N1H
    local = [group.packed.constants()[0] for group in groups]
    message_constants = messages.constants()
    log_growth = 0.0
    for step in range(N_PRODUCTS):
        received: Tensor = messages([state] * messages.max_delay, 1, message_constants)[0]
        for group, weight in zip(groups, local, strict=True):
            received[group.nodes] += torch.bmm(state[group.nodes], weight)
        state = received * exists_N1H
        norm = state.norm()
        if norm == 0:
            return 0.0
        log_growth += float(norm.log()) if step >= N_PRODUCTS // 2 else 0.0
        state = state / norm
    return float(torch.tensor(log_growth / (N_PRODUCTS // 2)).exp())
