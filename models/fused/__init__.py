"""The way through time of leaky and of gated units with full messages, with a backward pass written by hand.

    forward     per block of D bins (the shortest delay): the messages of all pathways, then the units bin by bin
    backward    the same, from the end; the gradient of a pathway's weights is one product over many bins at once

    leaky.py, gated.py  float32 and float64 on a CPU: each pathway's product adds up where it arrives (`routes.py`)
    bundles.py          leaky units elsewhere, and in bf16: pathways that end in one area side by side, a batched
                        product per delay

The numbers are those of `recurrence.py`, up to rounding; `tests/models/test_fused.py` checks states and all gradients
of all three against plain autograd. They are used wherever they can be: one group of such units that update in every
bin, messages of full rank (between small areas on a CPU also of low rank, multiplied out), nothing nudged, gradients
not cut between areas. Under autocast products are in bf16 and sums in float32.

Shapes: N nodes, T bins, B batch, H units, E pathways.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import bundles, gated, leaky
from .small_products import are_there

if TYPE_CHECKING:
    from ..groups import Group
    from ..messages import Messages
    from ..recurrence import Cut

WORTH_MULTIPLYING_OUT = 64  # units of an area; 128 and rank 8 are level, 256 take half as long again


def can_run(groups: Sequence[Group], messages: Messages, drive: Tensor, cut: Cut, is_nudged: bool) -> bool:
    """Whether this folder has that way through time."""
    if len(groups) > 1 or groups[0].period_bins > 1 or is_nudged or cut.between_areas or _is_thin_quicker(messages):
        return False
    return _is("leaky", groups[0]) or (_is("gru", groups[0]) and _is_of_products(drive))


def keeps_much(groups: Sequence[Group]) -> bool:
    """Whether the way of this folder keeps more of each bin than its states and what was heard."""
    return any(_is("gru", group) for group in groups)


def _is(kind: str, group: Group) -> bool:
    return type(group.packed).__module__.endswith(f".modules.{kind}")


def _dtype(drive: Tensor) -> torch.dtype:
    """That of products."""
    kind = drive.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else drive.dtype


def _is_of_products(drive: Tensor) -> bool:
    """Whether each product is added up where it arrives."""
    dtype = _dtype(drive)
    return drive.device.type == "cpu" and dtype == drive.dtype and are_there(dtype)


def _is_thin_quicker(messages: Messages) -> bool:
    """Whether messages are of low rank and not worth multiplying out to full matrices, once per run."""
    is_small = messages.size <= WORTH_MULTIPLYING_OUT and messages.sources.device.type == "cpu"
    return messages.rank > 0 and not is_small


def run(groups: Sequence[Group], messages: Messages, drive_NTBH: Tensor, gain_N11H: Tensor | None, cut: Cut) -> Tensor:
    """States of all nodes in all bins, (N, T, B, H), from rest."""
    group, weight = groups[0], messages.weights()
    if gain_N11H is not None:
        drive_NTBH = drive_NTBH * gain_N11H
        weight = weight * gain_N11H[:, 0].index_select(0, messages.targets)
    there = 1.0 if group.exists is None else group.exists  # units that are not there stay at rest
    if _is("gru", group):
        own = (*group.packed.constants(), group.packed.gate_bias)
        rate = group.packed.rate * there
        return gated.walk(drive_NTBH, weight, own, rate, group.exists, messages, cut.every_bins)
    local, alpha = group.packed.constants()
    asked = (drive_NTBH, weight, local, alpha * there, messages, group.packed.dale, cut.every_bins)
    return leaky.walk(*asked) if _is_of_products(drive_NTBH) else bundles.walk(*asked, _dtype(drive_NTBH))
