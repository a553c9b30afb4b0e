"""A search over settings of a run: trials, each a training, with settings that Optuna proposes; may be stopped.

What is asked for is a run config with a table `[search]` (`search_config.py`). What lies where:

    STORE/runs/NAME/search.json      what is asked for
                    search.sqlite    Optuna's storage: every trial and its state
                    trials/NNNN/     a training, with `trial.json`: the settings it is of
                    trials.json      what every trial came to
                    ...              the best trial's training: NAME is a run like any other

The search ends where as many trials are complete as were asked for; more can be asked for later.

Design rationale: one process asks Optuna and tells it, the others only train. What was under way when it was stopped is
taken up first, at its checkpoint.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.ingest.words import short
from neuroloom.pipeline.config import Config, ConfigError
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.noting import noted_run
from neuroloom.pipeline.runs import preparing, running
from neuroloom.pipeline.runs._trial_processes import train_in_processes
from neuroloom.pipeline.runs.run_config import RunConfig
from neuroloom.pipeline.runs.search_config import BEGAN_WITH, SearchConfig, Span, varied
from neuroloom.pipeline.scores.worse import WORSE
from neuroloom.pipeline.store import Store, StoreError

REQUEST, STORAGE, TRIALS, TRIAL, RESULTS = "search.json", "search.sqlite", "trials", "trial.json", "trials.json"
FAILED = "failed.json"  # of a trial: why it came to nothing
OF_THE_RUN = ("config.json", "topology.toml", "metrics.jsonl", "checkpoint.pt", running.PLACED)
OF_ANOTHER = ("scores.json", "pathways.json", "mechanism.json", "fidelity.json", "predicted-*.h5", "rivals", WORSE)
Trained = tuple[int, float]  # number of a trial, its loss (NaN where it failed)
Progress = Callable[[str], None]
Map = Callable[[Sequence[int]], Iterator[Trained]]  # trains these trials, gives each as it ends


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
