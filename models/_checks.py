"""What a network refuses, each in one line that says what was found and what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from numbers import Integral
from typing import Any

from torch import Tensor

from .modules import kinds as module_kinds
from .ports import Port


def check_port(where: str, port: Port, others: Sequence[Port], areas: Sequence[str], bin_s: float) -> None:
    """Raise ValueError where a port contradicts itself, another port or the network."""
    if sum(other.name == port.name for other in others) > 1:
        raise ValueError(f"{where} is there twice; names must differ")
    if port.n_channels == 0:
        raise ValueError(f"{where} has no channels; at least one is needed")
    if port.areas and len(port.areas) != port.n_channels:
        raise ValueError(f"{where}: {port.n_channels} channels but {len(port.areas)} areas; they must match")
    for area in port.within:
        if area not in areas:
            raise ValueError(f"{where} is within {area!r}, which is no area here; there are {', '.join(areas[:12])}")
    if abs(port.bin_s - bin_s) > 1e-9:
        raise ValueError(f"{where} has bins of {port.bin_s} s, the network of {bin_s} s; they must match")


def listed(names: Sequence[str], there_are: str = "there are", most: int = 12) -> str:
    """`there are V1, M1`, the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{there_are} {', '.join(names[:most]) or 'none'}{more}"


def check_whole(**settings: int) -> None:
    """Raise ValueError where a number of units, bins or ranks is not a whole number."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ValueError(f"{name} is {value!r}; a whole number is needed")


def check_options(kind: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for a kind of module that there is not, or a setting that it has not."""
    known = set(signature(module_kinds(kind).Module).parameters) - {"start"}
    wrong = sorted(set(options) - known)
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no setting of kind {kind!r}; it has: {', '.join(sorted(known)) or 'none'}")


def check_inputs(
    session: str, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor], ports: Mapping[str, Port]
) -> None:
    """Raise ValueError for an input that a session has not, or inputs of different shapes."""
    for name in (*inputs, *masks):
        if name not in ports:
            raise ValueError(f"session {session!r} has no input {name!r}; it has: {', '.join(ports) or 'none'}")
    for name, value in (*inputs.items(), *masks.items()):
        if not isinstance(value, Tensor):
            raise ValueError(f"input {name!r} is a {type(value).__name__}; a torch.Tensor is needed")
    lengths = {tuple(value.shape[:2]) for value in inputs.values()}
    if len(lengths) != 1:
        raise ValueError(
            f"session {session!r}: inputs of (batch, bins) {sorted(lengths)}; all must be the same, one at least"
        )
