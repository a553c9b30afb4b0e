"""One bin of leaky units, forward and backward, each in one compiled pass over all that it takes.

Shapes: N nodes, T bins, B batch, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from .passes import Array, of_nodes
from .small_products import share


def onward(heard_NBH: Tensor, arrays: Sequence[Array], bin_: int, *, dale: bool) -> None:
    """From what the units hear in a bin, in place, where it draws them: tanh, or tanh of softplus; and the states.

    arrays: `passes.flat` of what is heard and of the states, (N, T, B, H), and of alpha, (N, B, H). By the logistic
    function, which torch has a quick one of: tanh(x) = 2 s(2 x) - 1.
    """
    if dale:
        heard_NBH.copy_(torch.nn.functional.softplus(heard_NBH))
    heard_NBH.mul_(2).sigmoid_()
    share(of_nodes(heard_NBH), lambda *cut: _compiled().onward()(*arrays, bin_, *cut))


def back(one_NBH: Tensor, arrays: Sequence[Array], bin_: int, *, dale: bool, is_cut: bool) -> None:
    """From the gradient of a bin's states, in place, to that of what the units heard, and of alpha, added up.

    one: of that shape. arrays: `passes.flat` of that gradient, of where the units were drawn, and of the states,
    (N, T, B, H); of alpha, of the part of the gradient that comes from the bin after and then goes to the bin before,
    none where it is cut, and of the gradient of alpha, (N, B, H).
    """
    share(of_nodes(one_NBH), lambda *cut: _compiled().back()(*arrays, dale, is_cut, bin_, *cut))


def _compiled() -> ModuleType:
    from . import _leak

    return _leak
