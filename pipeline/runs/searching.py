"""A search over settings of a run: trials, each a training, with settings that Optuna proposes; may be stopped.

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

    STORE/runs/NAME/search.json      what is asked for
                    search.sqlite    Optuna's storage: every trial and its state
                    trials/NNNN/     a training, with `trial.json`: the settings it is of
                    trials.json      what every trial came to
                    ...              the best trial's training: NAME is a run like any other

Trials are compared by their best validation loss, so what changes the meaning of that loss cannot be searched over. The
search ends where as many trials are complete as were asked for; more can be asked for later.

Design rationale: one process asks Optuna and tells it, the others only train. What was under way when it was stopped is
taken up first, at its checkpoint.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from neuroloom.ingest import durable
from neuroloom.ingest.words import short
from neuroloom.pipeline.config import Config, ConfigError, fault, read_config
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.noting import noted_run
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.runs._trial_processes import train_in_processes
from neuroloom.pipeline.runs.run_config import RunConfig
from neuroloom.pipeline.scores.worse import WORSE
from neuroloom.pipeline.store import Store, StoreError

REQUEST, STORAGE, TRIALS, TRIAL, RESULTS = "search.json", "search.sqlite", "trials", "trial.json", "trials.json"
FAILED = "failed.json"  # of a trial: why it came to nothing
OF_THE_RUN = ("config.json", "topology.toml", "metrics.jsonl", "checkpoint.pt", running.PLACED)
OF_ANOTHER = ("scores.json", "pathways.json", "mechanism.json", "fidelity.json", "predicted-*.h5", "rivals", WORSE)
BEGAN_WITH = ("sessions", "versions", "bad_channels", "good_channels", "left_out")  # as they were when it was prepared
# What the validation loss means depends on them: losses could not be compared.
FIXED = (
    *BEGAN_WITH, "name", "length_s", "bin_s", "targets", "kinds", "held_out", "validation", "held_out_units",
    "use_extrapolated", "max_uncertainty_ms", "loggers", "features", "shuffle_recording", "surrogate",
    "training.port_weights", "training.select_on", "training.accelerator",
)  # fmt: skip
DRAWN = ("held_out_units", "shuffle_recording", "surrogate")  # by the run's seed
Trained = tuple[int, float]  # number of a trial, its loss (NaN where it failed)
Progress = Callable[[str], None]
Map = Callable[[Sequence[int]], Iterator[Trained]]  # trains these trials, gives each as it ends


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


def prepare_search(config: SearchConfig, store: Store) -> Path:
    """Write down what is asked for, with the sessions and versions of now; gives the folder.

    Asked again with more trials, or others at once, it goes on. Raises ConfigError where the folder holds another
    search or a run of its own.
    """
    folder = store.create().run_folder(config.name)
    there = document_of(folder / REQUEST)
    if there:
        there = {"good_channels": {}, **there}  # of before there were any
    if not there and (folder / preparing.REQUEST).is_file() and preparing.has_begun(folder):
        raise ConfigError(f"{folder}: holds a run; give this search another name")
    if there:
        asked = {**_plain(config), **{key: there[key] for key in BEGAN_WITH}}
        if not config.sessions or list(config.sessions) == there["sessions"]:
            differing = [k for k in asked if k != "search" and asked[k] != there.get(k)]
            differing += [k for k in ("space", "sampler", "seed") if asked["search"][k] != there["search"][k]]
        else:
            differing = ["sessions"]
        if differing and not preparing.has_begun(folder, (f"{TRIALS}/*/config.json",)):
            _forget(folder, (REQUEST, STORAGE, TRIALS))  # no trial has come to its first step
            return prepare_search(config, store)
        if differing:
            raise ConfigError(
                f"{folder}: holds a search with another {differing[0]}; give this one another name, or delete that one"
            )
    else:
        preparing.prepare_run(config.base(), store)
        asked = {**document_of(folder / preparing.REQUEST), "search": _plain(config)["search"]}
    durable.write_json(folder / REQUEST, asked)
    return folder


def run_search(name: str, store: Store, trained: Map | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """All trials that are missing, then the best one made the run; gives `trials.json`; noted in the catalog.

    trained: how trials are trained, `parallel` at a time; in processes of this machine where it is left out.
    Raises StoreError where another process is at it.
    """
    asked, tell = _asked(name, store), progress or (lambda words: None)
    with noted_run(store, name, "search") as summary, _alone(store.run_folder(name)):
        study = _study(store.run_folder(name), asked)
        map_ = trained or (lambda numbers: _trained_here(name, store, numbers))
        while numbers := _next(study, asked, store.run_folder(name)):
            for number, loss in map_(numbers):
                _tell(study, number, loss)
                tell(_outcome(trial_folder(store, name, number), number, loss))
        found = _conclude(name, store, study)
        summary |= {"sessions": list(asked.sessions), "best_loss": found["best_loss"]}
    return found


def train_trial(name: str, number: int, root: str) -> Trained:
    """Train one trial in its folder, or go on where it stopped. root: of the store. A loss that explodes is NaN."""
    import torch

    store = Store.here(root)
    if multiprocessing.parent_process() is not None:  # one of several of a pool: the cores are shared
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // _asked(name, store).search.parallel))
    folder = trial_folder(store, name, number)
    config = RunConfig.model_validate(document_of(folder / TRIAL)["config"])
    try:
        run, data = running.trained(config, store, folder)
    except ValueError as error:
        note_failure(store, name, number, " ".join(str(error).split()).removeprefix(f"{name}: "))
        return number, math.nan
    running.write_findings(config, run, data, folder)
    return number, run.best_loss


def note_failure(store: Store, name: str, number: int, why: str) -> None:
    """Write down why a trial came to nothing."""
    durable.write_json(trial_folder(store, name, number) / FAILED, {"why": why})


def _trained_here(name: str, store: Store, numbers: Sequence[int]) -> Iterator[Trained]:
    """One trial in this process; several each in one of its own."""
    if len(numbers) == 1:
        yield train_trial(name, numbers[0], str(store.root))
        return
    yield from train_in_processes(name, store, numbers)


def _outcome(folder: Path, number: int, loss: float) -> str:
    """What a trial was of and what it came to: `trial 3 (area_size 16): validation loss 0.1234`."""
    values = ", ".join(f"{key} {short(value)}" for key, value in document_of(folder / TRIAL).get("values", {}).items())
    why = document_of(folder / FAILED).get("why", "no loss that is a number")
    came_to = f"validation loss {loss:.4f}" if math.isfinite(loss) else f"failed: {why}"
    return f"trial {number}{f' ({values})' if values else ''}: {came_to}"


def trial_folder(store: Store, name: str, number: int) -> Path:
    """Where a trial lies."""
    return _place(store.run_folder(name), number)


def _place(folder: Path, number: int) -> Path:
    return folder / TRIALS / f"{number:04d}"


def n_trials(name: str, store: Store) -> int:
    """How many trials are asked for. Raises StoreError for a search that is not there."""
    return _asked(name, store).search.trials


# Optuna ------------------------------------------------------------------------------------------------------------


def _study(folder: Path, asked: SearchConfig) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    n_before = len(list((folder / TRIALS).glob("*")))
    return optuna.create_study(
        storage=f"sqlite:///{folder / STORAGE}",
        study_name="search",
        direction="minimize",
        # A sampler that begins anew would propose again what it has proposed.
        sampler=kinds[asked.search.sampler](seed=asked.search.seed + n_before),
        load_if_exists=True,
    )


def _next(study: Any, asked: SearchConfig, folder: Path) -> list[int]:
    """Numbers of the next trials, at most `parallel`: those that were under way, then new ones; none at the end."""
    under_way = [t for t in study.trials if t.state.name == "RUNNING"]
    numbers = [t.number for t in under_way if (_place(folder, t.number) / TRIAL).is_file()]
    for trial in under_way:
        if trial.number not in numbers:  # stopped before it was written down
            study.tell(trial.number, state=_state("FAIL"))
    n_ended = sum(t.state.name == "COMPLETE" for t in study.trials) + sum(_failed(study, folder))
    while len(numbers) < min(asked.search.parallel, asked.search.trials - n_ended):
        numbers.append(_proposed(study, asked, folder))
    return numbers[: asked.search.parallel]


def _failed(study: Any, folder: Path) -> Iterator[bool]:
    """Trials that were trained and came to nothing count; those that were never written down do not."""
    for trial in study.trials:
        yield trial.state.name == "FAIL" and (_place(folder, trial.number) / TRIAL).is_file()


def _proposed(study: Any, asked: SearchConfig, folder: Path) -> int:
    trial = study.ask()
    values = {name: _suggested(trial, name, span) for name, span in asked.search.space.items()}
    place = _place(folder, trial.number)
    place.mkdir(parents=True, exist_ok=True)
    config = varied(asked.base(), values)
    durable.write_json(place / TRIAL, {"values": values, "config": json.loads(config.model_dump_json())})
    return int(trial.number)


def _suggested(trial: Any, name: str, span: Span | Sequence[Any]) -> Any:
    if not isinstance(span, Span):
        return trial.suggest_categorical(name, list(span))
    if all(isinstance(end, int) for end in (span.low, span.high)):
        return trial.suggest_int(name, span.low, span.high, log=span.log, step=int(span.step or 1))
    return trial.suggest_float(name, span.low, span.high, log=span.log, step=span.step)


def _tell(study: Any, number: int, loss: float) -> None:
    if math.isfinite(loss):
        study.tell(number, loss)
    else:
        study.tell(number, state=_state("FAIL"))


def _state(name: str) -> Any:
    import optuna

    return optuna.trial.TrialState[name]


def _conclude(name: str, store: Store, study: Any) -> dict[str, Any]:
    """Write what every trial came to, and make the best one the run."""
    folder = store.run_folder(name)
    rows = []
    for trial in study.trials:
        place = _place(folder, trial.number)
        said = document_of(place / TRIAL)
        if said:
            why = document_of(place / FAILED).get("why", "")
            rows.append({"trial": trial.number, "values": said["values"], "loss": trial.value, "why": why})
    done = [row for row in rows if row["loss"] is not None]
    if not done:
        raise StoreError(f"{name}: none of {len(rows)} trials came to a loss; the first: {rows[0]['why']}")
    best = min(done, key=lambda row: row["loss"])
    found = {"best": best["trial"], "best_loss": best["loss"], "trials": rows}
    place = _place(folder, best["trial"])
    if document_of(folder / RESULTS).get("best", best["trial"]) != best["trial"]:
        _forget(folder, OF_ANOTHER)
    for file in (*OF_THE_RUN, *([WORSE] if (place / WORSE).is_file() else [])):
        durable.write_bytes(folder / file, (place / file).read_bytes())
    durable.write_json(folder / preparing.REQUEST, document_of(place / TRIAL)["config"])
    durable.write_json(folder / RESULTS, found)
    return found


def _forget(folder: Path, patterns: Sequence[str]) -> None:
    """Delete what was found of the trial that was the best one before."""
    for path in (path for pattern in patterns for path in folder.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process asks and tells; the lock goes with the process."""
    with ExitStack() as held:
        try:
            held.enter_context(durable.locked(folder / ".lock", wait=False))
        except BlockingIOError as error:
            raise StoreError(f"{folder.name}: another process is at this search") from error
        yield


def _asked(name: str, store: Store) -> SearchConfig:
    found = document_of(store.run_folder(name) / REQUEST)
    if not found:
        raise StoreError(f"{name}: no such search in {store.root}")
    return SearchConfig.model_validate(found)


def _plain(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(config.model_dump_json())
    return found
