"""What settings of a training must be, before anything is read or made: types by their defaults, and bounds."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Integral, Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuroloom.pipeline.runs.train_config import TrainConfig

WANTED = {int: "a whole number", float: "a finite number", str: "a text"}
ABOVE_0 = ("learning_rate", "clip_norm")
FROM_0 = ("weight_decay", "warm_up_s", "forward_s", "checkpoint_s", "patience")


def check_settings(config: TrainConfig) -> None:
    """Raise ValueError naming the setting, what was found and what is wanted."""
    for one in fields(config):
        wanted = type(one.default)
        if wanted in WANTED and not _is(getattr(config, one.name), wanted):
            raise ValueError(f"{one.name} is {getattr(config, one.name)!r}; {WANTED[wanted]} is wanted")
    for name in ABOVE_0:
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} is {getattr(config, name)}; above 0 is wanted")
    for name in FROM_0:
        if getattr(config, name) < 0:
            raise ValueError(f"{name} is {getattr(config, name)}; 0 or more is wanted")


def _is(value: object, wanted: type) -> bool:
    if wanted is str:
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, Real):  # numbers of NumPy are Real and Integral, too
        return False
    return math.isfinite(value) if wanted is float else isinstance(value, Integral)
