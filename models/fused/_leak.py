"""The compiled passes over one bin of leaky units. Imported when first needed, as `_gemm.py` is.

Design rationale: a bin of all nodes fits a core's cache; done one after the other, torch's operations read and write it
eight times and take as long as the products.

Shapes: N nodes, T bins, M batch times units.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._gemm import compiled
from .passes import Array


def _onward(heard_NTM: Array, states_NTM: Array, alpha_NM: Array, bin_: int, first: int, last: int) -> None:
    """Of nodes from `first` to before `last`, from the logistic function of what they heard: where that draws them, and
    the states.
    """
    one = heard_NTM.dtype.type(1)
    for n in range(first, last):
        heard, alpha, now = heard_NTM[n, bin_], alpha_NM[n], states_NTM[n, bin_]
        before = states_NTM[n, max(bin_ - 1, 0)]
        if bin_ == 0:
            now[:] = 0
        for m in range(len(now)):
            target = heard[m] + heard[m] - one
            heard[m] = target
            now[m] = before[m] + alpha[m] * (target - before[m])


def _back(
    gradient_NTM: Array,
    targets_NTM: Array,
    states_NTM: Array,
    alpha_NM: Array,
    carried_NM: Array,
    of_alpha_NM: Array,
    is_dale: bool,
    is_cut: bool,
    bin_: int,
    first: int,
    last: int,
) -> None:
    """Likewise of the gradient, from that of a bin's states to that of what was heard, and what it says of the rest.

    See `leaks.py`.
    """
    one = gradient_NTM.dtype.type(1)
    for n in range(first, last):
        gradient, target, alpha = gradient_NTM[n, bin_], targets_NTM[n, bin_], alpha_NM[n]
        carried, of_alpha = carried_NM[n], of_alpha_NM[n]
        before = states_NTM[n, max(bin_ - 1, 0)]
        there = gradient_NTM.dtype.type(bin_ > 0)
        for m in range(len(gradient)):
            now = gradient[m] + carried[m]
            of_alpha[m] += now * (target[m] - there * before[m])
            drawn = now * alpha[m]
            carried[m] = now - drawn
            gradient[m] = drawn * (one - target[m] * target[m])
        if is_dale:
            for m in range(len(gradient)):
                gradient[m] *= one - np.sqrt((one - target[m]) / (one + target[m]))
        if is_cut:
            carried[:] = 0


def onward() -> Callable[..., None]:
    """`_onward`, compiled."""
    return compiled(_onward)


def back() -> Callable[..., None]:
    """`_back`, compiled."""
    return compiled(_back)
