"""The compiled passes over one bin of gated units. Imported when first needed, as `_gemm.py` is.

Gates: those that reset of all nodes, then those that update. Shapes: N nodes, T bins, M batch times units.
"""

from __future__ import annotations

from collections.abc import Callable

from ._gemm import compiled
from .passes import Array


def _reset(gates_GTM: Array, states_NTM: Array, kept_NTM: Array, bin_: int, first: int, last: int) -> None:
    """Of nodes from `first` to before `last`, what their reset gates let through of the state before."""
    for n in range(first, last):
        gate, before, kept = gates_GTM[n, bin_], states_NTM[n, max(bin_ - 1, 0)], kept_NTM[n, bin_]
        if bin_ == 0:
            kept[:] = 0
            continue
        for m in range(len(kept)):
            kept[m] = gate[m] * before[m]


def _onward(
    gates_GTM: Array, states_NTM: Array, candidates_NTM: Array, rate_NM: Array, bin_: int, first: int, last: int
) -> None:
    """Candidates, from the logistic function of twice what draws them, and the states."""
    one = states_NTM.dtype.type(1)
    for n in range(first, last):
        gate, rate, candidate = gates_GTM[len(states_NTM) + n, bin_], rate_NM[n], candidates_NTM[n, bin_]
        now, before = states_NTM[n, bin_], states_NTM[n, max(bin_ - 1, 0)]
        if bin_ == 0:
            now[:] = 0
        for m in range(len(now)):
            drawn = candidate[m] + candidate[m] - one
            candidate[m] = drawn
            now[m] = before[m] + rate[m] * gate[m] * (drawn - before[m])


def _back(
    gates_GTM: Array,
    states_NTM: Array,
    candidates_NTM: Array,
    rate_NM: Array,
    gradient_NTM: Array,
    of_gates_GTM: Array,
    of_candidates_NTM: Array,
    bin_: int,
    is_cut: bool,
    first: int,
    last: int,
) -> None:
    """From the gradient of a bin's states, in place, to that of what drew the candidates; and what it says to the gates
    that update, and to the states before unless it is cut there.
    """
    one, there = gradient_NTM.dtype.type(1), gradient_NTM.dtype.type(bin_ > 0)
    goes_on = bin_ > 0 and not is_cut
    for n in range(first, last):
        gradient, gate, rate = gradient_NTM[n, bin_], gates_GTM[len(states_NTM) + n, bin_], rate_NM[n]
        candidate, before = candidates_NTM[n, bin_], states_NTM[n, max(bin_ - 1, 0)]
        of_gate, of_candidate = of_gates_GTM[len(states_NTM) + n, bin_], of_candidates_NTM[n, bin_]
        earlier = gradient_NTM[n, max(bin_ - 1, 0)]
        for m in range(len(gradient)):
            now, share = gradient[m], rate[m] * gate[m]
            of_gate[m] = now * (candidate[m] - there * before[m]) * share * (one - gate[m])
            drawn = now * share
            if goes_on:
                earlier[m] += now - drawn
            of_candidate[m] = drawn * (one - candidate[m] * candidate[m])
            gradient[m] = of_candidate[m]


def _back_of_reset(
    gates_GTM: Array,
    states_NTM: Array,
    of_kept_NTM: Array,
    gradient_NTM: Array,
    of_gates_GTM: Array,
    bin_: int,
    is_cut: bool,
    first: int,
    last: int,
) -> None:
    """From the gradient of what the reset gates let through to that of these gates, and of the states before."""
    one, there = gradient_NTM.dtype.type(1), gradient_NTM.dtype.type(bin_ > 0)
    goes_on = bin_ > 0 and not is_cut
    for n in range(first, last):
        gate, of_gate, of_kept = gates_GTM[n, bin_], of_gates_GTM[n, bin_], of_kept_NTM[n, bin_]
        before, earlier = states_NTM[n, max(bin_ - 1, 0)], gradient_NTM[n, max(bin_ - 1, 0)]
        for m in range(len(gate)):
            let_through = of_kept[m] * gate[m]
            of_gate[m] = let_through * there * before[m] * (one - gate[m])
            if goes_on:
                earlier[m] += let_through


def reset() -> Callable[..., None]:
    """`_reset`, compiled."""
    return compiled(_reset)


def onward() -> Callable[..., None]:
    """`_onward`, compiled."""
    return compiled(_onward)


def back() -> Callable[..., None]:
    """`_back`, compiled."""
    return compiled(_back)


def back_of_reset() -> Callable[..., None]:
    """`_back_of_reset`, compiled."""
    return compiled(_back_of_reset)
