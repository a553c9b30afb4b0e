"""One bin of leaky units, forward and backward, each in one compiled pass over all that it takes.

Shapes: N nodes, T bins, B batch, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .small_products import even_cuts, most_threads, share

Array = npt.NDArray[Any]
WORTH_A_THREAD = 200_000  # units; below that handing over costs more than it saves


def flat(*tensors: Tensor) -> list[Array]:
    """The same numbers with batch and units as one, as the compiled passes take them; once for all bins."""
    return [one.flatten(-2).numpy() for one in tensors]


def onward(heard_NBH: Tensor, arrays: Sequence[Array], bin_: int, *, dale: bool) -> None:
    """From what the units hear in a bin, in place, where it draws them: tanh, or tanh of softplus; and the states.

    arrays: `flat` of what is heard and of the states, (N, T, B, H), and of alpha, (N, B, H). By the logistic function,
    which torch has a quick one of: tanh(x) = 2 s(2 x) - 1.
    """
    if dale:
        heard_NBH.copy_(torch.nn.functional.softplus(heard_NBH))
    heard_NBH.mul_(2).sigmoid_()
    share(_shared(heard_NBH), lambda *cut: _compiled().onward()(*arrays, bin_, *cut))


def back(one_NBH: Tensor, arrays: Sequence[Array], bin_: int, *, dale: bool, is_cut: bool) -> None:
    """From the gradient of a bin's states, in place, to that of what the units heard, and of alpha, added up.

    one: of that shape. arrays: `flat` of that gradient, of where the units were drawn, and of the states,
    (N, T, B, H); of alpha, of the part of the gradient that comes from the bin after and then goes to the bin before,
    none where it is cut, and of the gradient of alpha, (N, B, H).
    """
    share(_shared(one_NBH), lambda *cut: _compiled().back()(*arrays, dale, is_cut, bin_, *cut))


@cache
def _cuts(n_nodes: int, n_parts: int) -> list[tuple[int, int]]:
    return even_cuts(np.arange(n_nodes + 1), np.ones(n_nodes, np.int64), n_parts)


def _shared(one_NBH: Tensor) -> list[tuple[int, int]]:
    """Nodes for each thread."""
    n_nodes = len(one_NBH)
    return _cuts(n_nodes, max(1, min(most_threads(), n_nodes, one_NBH.numel() // WORTH_A_THREAD)))


def _compiled() -> ModuleType:
    from . import _leak

    return _leak
