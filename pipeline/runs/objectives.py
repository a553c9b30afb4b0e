"""What a training asks for besides the likelihood of its targets: objectives, their weights, forced coupling.

    [[objectives]]                  # one table per objective
    kind = "features"               # a file of models/objectives/
    target = "lfp"                  # the port whose recording is to be matched; it must be among the targets
    areas = ["V1", "M1"]            # whose states; all where it is left out
    weights = [0.1, 1.0, 10.0]      # candidates: the best for behaviour on validation time is taken, 0 is among them

    [[objectives]]
    kind = "local"
    target = "lfp"
    every = 8                       # further settings of that kind
    between_areas = true            # of any kind: no gradient leaves its area; detach_every = 8: nor 8 bins
    weight = { start = 1.0, end = 0.0, until = 0.5 }    # a schedule over the share of steps done

    [[objectives]]
    kind = "soft_targets"
    output = "choice"               # whose answers
    target = "teacher"              # a port with a teacher's log odds
    weight = "uncertainty"          # learned: exp(-s) * value + s (Kendall et al. 2018)

    [[objectives]]
    kind = "nll"                    # the weight of a target's own likelihood: here may neural data be weighed, too
    target = "units"
    weights = [0.3, 1.0]

    [[objectives]]
    kind = "wiring"                 # no target: wiring, time_scales, walk
    weight = 0.01

    [forcing]                       # states are drawn to a recording while training; see models/forcing.py
    ports = ["lfp"]
    start = 1.0
    end = 0.0
    until = 0.7

A single `weight` is a decision of yours: nothing is compared with it. `weights` costs a training per candidate (or as
many steps as `choose_steps` of `[training]` says) and writes what it found to `choice.json` in the run's folder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from inspect import signature
from typing import Any, Literal

from neuroloom.models.objectives import kinds

UNCERTAINTY = "uncertainty"
MADE_WITH = {"n_prediction", "n_target", "generator", "readouts", "weights"}  # not for a config to say
NEEDS_TARGET = ("outputs", "states", "energies", "logits")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A number that goes from `start` to `end` while the share of steps done goes from 0 to `until`, and stays."""

    start: float = 1.0
    end: float = 0.0
    until: float = 1.0
    shape: Literal["linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        if not (0 < self.until <= 1) or self.shape not in ("linear", "cosine"):
            raise ValueError(
                f"a schedule until {self.until} of shape {self.shape!r}; above 0 and at most 1, and one of linear, "
                "cosine, are wanted"
            )

    def at(self, done: float) -> float:
        """The number when a share `done` of all steps is done."""
        share = min(1.0, done / self.until)
        share = share if self.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * share)
        return self.start + (self.end - self.start) * share


Weight = float | str | Schedule


@dataclass(frozen=True, kw_only=True)
class ForcingConfig:
    """Which recordings the states are drawn to while training, and how strongly, from `start` to `end`."""

    ports: tuple[str, ...]
    start: float = 1.0
    end: float = 0.0
    until: float = 1.0
    shape: Literal["linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        if not self.ports or not (0 <= self.start <= 1 and 0 <= self.end <= 1):
            raise ValueError(
                f"forcing by {list(self.ports)} from {self.start} to {self.end}; at least one port and strengths from "
                "0 to 1 are wanted"
            )
        self.schedule()

    def schedule(self) -> Schedule:
        """The strength over the share of steps done."""
        return Schedule(start=self.start, end=self.end, until=self.until, shape=self.shape)


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """One objective; see the head of the file. options: settings of its kind."""

    kind: str
    target: str = ""
    output: str = ""
    areas: tuple[str, ...] = ()
    weight: Weight = 1.0
    weights: tuple[Weight, ...] = ()
    detach_every: int = 0
    between_areas: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        takes = self.takes
        if takes in NEEDS_TARGET and not self.target:
            raise ValueError(f"{self.kind} needs a target: the port with the recording that is to be matched")
        if takes not in NEEDS_TARGET and self.target:
            raise ValueError(f"{self.kind} takes no target, found {self.target!r}")
        if (takes == "logits") != bool(self.output):
            raise ValueError(f"{self.kind} with output {self.output!r}; soft_targets alone needs one: whose answers")
        wrong = sorted(set(self.options) - self._known())
        if wrong:
            known = ", ".join(sorted(self._known() | {f.name for f in fields(self)} - {"options"}))
            raise ValueError(f"{self.kind} has no setting {wrong[0]!r}; it has: {known}")
        for weight in (self.weight, *self.weights):
            self._check_weight(weight)
        if self.detach_every < 0:
            raise ValueError(f"{self.kind}: detach_every is {self.detach_every}; 0 (never) or more bins are wanted")

    @property
    def takes(self) -> str:
        """What its prediction is; see `models/objectives/__init__.py`."""
        return str(getattr(kinds(self.kind).Objective, "takes", "states"))

    @property
    def candidates(self) -> tuple[Weight, ...]:
        """The weights to choose among, 0 first wherever there is a choice."""
        if not self.weights:
            return (self.weight,)
        return (0.0, *(weight for weight in dict.fromkeys(self.weights) if weight != 0.0))

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> ObjectiveConfig:
        """As TOML or JSON has it; what is no field of this class is an option. Raises ValueError or TypeError."""
        own = {f.name for f in fields(cls)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        options = dict(given.pop("options", {})) | {key: given.pop(key) for key in set(given) - own}
        if "weight" in given:
            given["weight"] = _weight(given["weight"])
        if "weights" in given:
            given["weights"] = tuple(_weight(weight) for weight in given["weights"])
        return cls(**given, options=options)

    def label(self) -> str:
        """What it is called in logs: its kind and target."""
        return f"{self.kind} {self.target}".strip()

    def _known(self) -> set[str]:
        return set(signature(kinds(self.kind).Objective.__init__).parameters) - MADE_WITH - {"self", "args", "kwargs"}

    def _check_weight(self, weight: Weight) -> None:
        if weight == UNCERTAINTY and self.takes == "outputs":
            raise ValueError(
                "nll weighs itself by the spread it learns; a number or a schedule is wanted as its weight"
            )
        if isinstance(weight, str) and weight != UNCERTAINTY:
            raise ValueError(f"{self.kind} with weight {weight!r}; a number, a schedule or {UNCERTAINTY!r} is wanted")
        numbers = (weight.start, weight.end) if isinstance(weight, Schedule) else (weight,)
        if any(isinstance(number, float | int) and not 0 <= number < math.inf for number in numbers):
            raise ValueError(f"{self.kind} with weight {weight}; 0 or more is wanted")


def said_weight(weight: Weight) -> Any:
    """A weight as JSON has it."""
    return asdict(weight) if isinstance(weight, Schedule) else weight


def _weight(value: Any) -> Weight:
    if isinstance(value, Mapping):
        return Schedule(**value)
    if isinstance(value, Schedule | str):
        return value
    return float(value)
