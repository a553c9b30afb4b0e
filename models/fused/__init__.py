"""The way through time of leaky units with full messages, with a backward pass written by hand.

    forward     per block of D bins (the shortest delay): the messages of all pathways, then tanh and leak bin by bin
    backward    the same, from the end; the gradient of a pathway's weights is one product over many bins at once

    products.py    float32 and float64 on a CPU: each pathway's product adds up where it arrives
    bundles.py     elsewhere, and in bf16: pathways that end in one area side by side, a batched product per delay

The numbers are those of `recurrence.py`, up to rounding; `tests/models/test_fused.py` checks states and all gradients
of both against plain autograd. They are used wherever they can be: one group of leaky units that update in every bin,
messages of full rank (between small areas on a CPU also of low rank, multiplied out), nothing nudged, gradients not
cut between areas. Under autocast products are in bf16 and sums in float32.

Shapes: N nodes, T bins, B batch, H units, E pathways.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import bundles, products
from .small_products import are_there

if TYPE_CHECKING:
    from ..groups import Group
    from ..messages import Messages
    from ..recurrence import Cut

WORTH_MULTIPLYING_OUT = 64  # units of an area; 128 and rank 8 are level, 256 take half as long again


def can_run(groups: Sequence[Group], messages: Messages, cut: Cut, is_nudged: bool) -> bool:
    """Whether this folder has that way through time."""
    alone = len(groups) == 1 and groups[0].period_bins == 1
    leaky = alone and type(groups[0].packed).__module__.endswith(".modules.leaky")
    return leaky and not (is_nudged or cut.between_areas or _is_thin_quicker(messages))


def _is_thin_quicker(messages: Messages) -> bool:
    """Whether messages are of low rank and not worth multiplying out to full matrices, once per run."""
    is_small = messages.size <= WORTH_MULTIPLYING_OUT and messages.sources.device.type == "cpu"
    return messages.rank > 0 and not is_small


def run(groups: Sequence[Group], messages: Messages, drive_NTBH: Tensor, gain_N11H: Tensor | None, cut: Cut) -> Tensor:
    """States of all nodes in all bins, (N, T, B, H), from rest."""
    group = groups[0]
    local, alpha = group.packed.constants()
    weight = messages.weights()
    alpha = alpha if group.exists is None else alpha * group.exists  # units that are not there stay at rest
    if gain_N11H is not None:
        drive_NTBH = drive_NTBH * gain_N11H
        weight = weight * gain_N11H[:, 0].index_select(0, messages.targets)
    kind = drive_NTBH.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else drive_NTBH.dtype
    asked = (drive_NTBH, weight, local, alpha, messages, group.packed.dale, cut.every_bins)
    if kind == "cpu" and dtype == drive_NTBH.dtype and are_there(dtype):
        return products.walk(*asked)
    return bundles.walk(*asked, dtype)
