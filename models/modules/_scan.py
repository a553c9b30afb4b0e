"""A linear recurrence over many bins at once: s[t] = decay[t] * s[t - 1] + added[t].

Design rationale: forward and backward are the same recurrence, the latter run from the end, so only the states are kept
for it. On a CPU the bins are gone through in order: a multiplication and an addition each are all there is to do, and
nothing is recorded for the gradient. On an accelerator, where a bin costs a launch, partial recurrences are doubled in
length (Hillis and Steele 1986): log2(D) launches for D bins, at log2(D) times the arithmetic.

Shapes: N modules, D bins, B batch, H units.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def linear_scan(decay_NDBH: Tensor, added_NDBH: Tensor, start_NBH: Tensor) -> Tensor:
    """The states of all bins, (N, D, B, H); `decay` and `added` of the same shape."""
    states: Tensor = _Scan.apply(decay_NDBH, added_NDBH, start_NBH)  # type: ignore[no-untyped-call]
    return states


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, decay: Tensor, added: Tensor, start: Tensor) -> Tensor:
        states = _solved(decay, added, start)
        ctx.save_for_backward(decay, states, start)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, states, start = ctx.saved_tensors
        # d loss / d s[t] = gradient[t] + decay[t + 1] * d loss / d s[t + 1]
        later = torch.cat([decay[:, 1:], torch.zeros_like(decay[:, :1])], dim=1)
        total = _solved(later.flip(1), gradients[0].flip(1), torch.zeros_like(start)).flip(1)
        before = torch.cat([start[:, None], states[:, :-1]], dim=1)
        return total * before, total, total[:, 0] * decay[:, 0]


def _solved(decay: Tensor, added: Tensor, start: Tensor) -> Tensor:
    return in_order(decay, added, start) if added.device.type == "cpu" else by_doubling(decay, added, start)


def in_order(decay: Tensor, added: Tensor, start: Tensor) -> Tensor:
    """Bin after bin."""
    states, state = torch.empty_like(added), start
    for t in range(added.shape[1]):
        state = torch.addcmul(added[:, t], decay[:, t], state)
        states[:, t] = state
    return states


def by_doubling(decay: Tensor, added: Tensor, start: Tensor) -> Tensor:
    """All bins at once, in log2(D) rounds."""
    states = torch.cat([torch.addcmul(added[:, :1], decay[:, :1], start[:, None]), added[:, 1:]], dim=1)
    reach = 1
    while reach < added.shape[1]:
        kept, kept_decay = states[:, :reach], decay[:, :reach]
        states = torch.cat([kept, torch.addcmul(states[:, reach:], decay[:, reach:], states[:, :-reach])], dim=1)
        decay = torch.cat([kept_decay, decay[:, reach:] * decay[:, :-reach]], dim=1)
        reach *= 2
    return states
