"""One bin of leaky units, forward and backward, each in one compiled pass over all that it takes.

Shapes: N nodes, T bins, B batch, H units.
"""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from .small_products import Places, most_threads, share

WORTH_A_THREAD = 200_000  # units; below that handing over costs more than it saves


def onward(heard_NTBH: Tensor, states_NTBH: Tensor, alpha_NBH: Tensor, bin_: int, *, dale: bool) -> None:
    """From what the units hear in that bin, in place, where it draws them: tanh, or tanh of softplus; and the states.

    By the logistic function, which torch has a quick one of: tanh(x) = 2 s(2 x) - 1.
    """
    heard_NBH = heard_NTBH[:, bin_]
    if dale:
        heard_NBH.copy_(torch.nn.functional.softplus(heard_NBH))
    heard_NBH.mul_(2).sigmoid_()
    arrays = [one.flatten(-2).numpy() for one in (heard_NTBH, states_NTBH, alpha_NBH)]
    share(_cuts(alpha_NBH), lambda *cut: _compiled().onward()(*arrays, bin_, *cut))


def back(
    gradient_NTBH: Tensor,
    targets_NTBH: Tensor,
    states_NTBH: Tensor,
    alpha_NBH: Tensor,
    carried_NBH: Tensor,
    of_alpha_NBH: Tensor,
    bin_: int,
    *,
    dale: bool,
    is_cut: bool,
) -> None:
    """From the gradient of that bin's states, in place, to that of what the units heard, and of alpha, added up.

    targets: where that drew them. carried: the part of the gradient that comes from the bin after, and then the one
    that goes to the bin before; none where it is cut.
    """
    tensors = (gradient_NTBH, targets_NTBH, states_NTBH, alpha_NBH, carried_NBH, of_alpha_NBH)
    arrays = [one.flatten(-2).numpy() for one in tensors]
    share(_cuts(alpha_NBH), lambda *cut: _compiled().back()(*arrays, dale, is_cut, bin_, *cut))


def _cuts(one_NBH: Tensor) -> list[tuple[int, int]]:
    """Nodes for each thread."""
    n_parts = max(1, min(most_threads(), len(one_NBH), one_NBH.numel() // WORTH_A_THREAD))
    ends: Places = np.linspace(0, len(one_NBH), n_parts + 1).astype(np.int64)
    return [(int(first), int(last)) for first, last in pairwise(ends)]


def _compiled() -> ModuleType:
    from . import _leak

    return _leak
