"""What a search is asked for: a run config with a table `[search]`, read, and tried at every end of its space.

    name = "reach-search"            # a run config, see `run_config.py`, and beside it
    [search]
    trials = 20
    parallel = 2                     # trainings at once, each in a process of its own
    sampler = "tpe"                  # or "random"
    seed = 0
    [search.space]                   # settings by their whole names, and what is tried for them
    area_size = { low = 16, high = 64, step = 16 }
    "training.learning_rate" = { low = 1e-3, high = 3e-2, log = true }
    "network.kind" = ["leaky", "gru"]

Trials are compared by their best validation loss, so what changes the meaning of that loss cannot be searched over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from neuroloom.pipeline.config import Config, ConfigError, fault, read_config
from neuroloom.pipeline.runs import run_config, running
from neuroloom.pipeline.runs.run_config import RunConfig

BEGAN_WITH = ("sessions", "versions", "bad_channels", "good_channels", "left_out")  # as they were when it was prepared
# What the validation loss means depends on them: losses could not be compared.
FIXED = (
    *BEGAN_WITH, "name", "length_s", "bin_s", "targets", "kinds", "held_out", "validation", "held_out_units",
    "use_extrapolated", "max_uncertainty_ms", "loggers", "features", "shuffle_recording", "surrogate",
    "training.port_weights", "training.select_on", "training.accelerator",
)  # fmt: skip
DRAWN = ("held_out_units", "shuffle_recording", "surrogate")  # by the run's seed


class Span(Config):
    """Numbers from low to high; whole ones where both are. log: evenly over magnitudes. step: between neighbours."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if not self.low < self.high or (self.log and self.low <= 0) or (self.log and self.step is not None):
            raise ValueError(
                f"from {self.low} to {self.high}, log {self.log}, step {self.step}; low below high is wanted, above 0 "
                "and without a step where log is true"
            )
        return self


class SearchTable(Config):
    """What `[search]` says."""

    trials: int = Field(default=20, ge=1)
    parallel: int = Field(default=1, ge=1)
    sampler: Literal["tpe", "random"] = "tpe"
    seed: int = Field(default=0, ge=0)
    space: dict[str, Span | list[bool | int | float | str]]

    @field_validator("space", mode="before")
    @classmethod
    def _are_values(cls, space: Any) -> Any:
        """Said here by name; of a union pydantic tells of every kind it might have been."""
        if not space or not isinstance(space, Mapping):
            raise ValueError("holds no setting; a table of settings with what is to be tried for each is wanted")
        for name, values in space.items():
            if isinstance(values, Mapping):
                try:
                    Span.model_validate(values)
                except ValidationError as error:
                    raise ValueError(f"{name!r}: {fault(Span, error)}") from error
            elif not isinstance(values, Span) and not (
                isinstance(values, list) and all(isinstance(value, bool | int | float | str) for value in values)
            ):
                raise ValueError(f"{name!r}: {values!r}; numbers, texts or true and false in a list, or a table with "
                                 "low and high, are wanted")  # fmt: skip
        return space

    @field_validator("space")
    @classmethod
    def _can_be_compared(cls, space: dict[str, Any]) -> dict[str, Any]:
        for name, values in space.items():
            if name in FIXED or name.partition(".")[0] in FIXED:
                raise ValueError(f"{name!r} changes what the validation loss means; it cannot be searched over")
            if not isinstance(values, Span) and len(set(map(str, values))) < 2:
                raise ValueError(f"{name!r}: {values}; two values or more are wanted")
        return space


class SearchConfig(RunConfig):
    """A run config with a table `[search]`."""

    search: SearchTable

    @model_validator(mode="after")
    def _draws_alike(self) -> Self:
        """Of every seed other units are held out, and another order or surrogate is drawn: other losses."""
        drawn = next((name for name in DRAWN if getattr(self, name)), None)
        if drawn and "seed" in self.search.space:
            raise ValueError(
                f"search.space: 'seed' draws anew what {drawn} = {getattr(self, drawn)!r} takes, and with it what the "
                "validation loss means; it cannot be searched over beside it"
            )
        return self

    def base(self) -> RunConfig:
        """The run that is varied."""
        return RunConfig.model_validate(self.model_dump(exclude={"search"}))


def read_search_config(path: Path) -> SearchConfig:
    """A config file with its name and paths made definite; every end of the space is tried. Raises ConfigError."""
    try:
        asked = read_config(path, SearchConfig)
    except ConfigError as error:
        if str(error) == f"{path}: search: is missing":
            raise ConfigError(f"{path}: has no table [search]; one that says what is to be tried is wanted") from error
        raise
    base = run_config.definite(asked.base(), path)
    if "training.processes" in asked.search.space or base.training.get("processes", 1) != 1:
        raise ConfigError(f"{path}: [training] processes: trials run side by side, each in one process; leave it out")
    found = SearchConfig.model_validate({**base.model_dump(), "search": asked.search.model_dump()})
    for name, values in found.search.space.items():
        ends = (values.low, values.high) if isinstance(values, Span) else values
        for value in ends:
            _check_trial(varied(base, {name: value}, f"{path}: "), f"{path}: [search.space] {name}")
    return found


def _check_trial(config: RunConfig, where: str) -> None:
    """Raise ConfigError for settings of which no training could come, before any trial is made."""
    run_config.training_of(config, where)
    if not config.start_from:
        from neuroloom.models import Topology

        topology = run_config.checked(lambda: Topology.read(config.topology), where)
        running.made_of(config.model_copy(update={"name": where}), topology, config.seed)


def varied(base: RunConfig, values: Mapping[str, Any], where: str = "") -> RunConfig:
    """The config with settings by their whole names ("training.learning_rate") set. Raises ConfigError.

    where: what messages begin with.
    """
    said = json.loads(base.model_dump_json())
    for name, value in values.items():
        *tables, last = name.split(".")
        inner = said
        for table in tables:
            inner = inner.setdefault(table, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{where}[search.space] {name}: {table!r} is no table of a run config")
        inner[last] = value
    try:
        return RunConfig.model_validate(said)
    except ValidationError as error:
        raise ConfigError(f"{where}[search.space] {fault(RunConfig, error)}") from error
