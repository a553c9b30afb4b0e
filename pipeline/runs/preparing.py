"""What a run is asked for, written down before it is trained: which sessions, in which version, by whose leave.

It lies in `runs/NAME/request.json`, and a run that goes on goes on with what lies there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.pipeline import verdicts
from neuroloom.pipeline.catalog.tables import RUNNING
from neuroloom.pipeline.config import ConfigError, fitted
from neuroloom.pipeline.documents import document_of, readable_document_of
from neuroloom.pipeline.noting import RUN_RECORD
from neuroloom.pipeline.runs.run_config import RunConfig, training_of
from neuroloom.pipeline.store import Store, StoreError
from neuroloom.pipeline.subjects import Subjects

REQUEST = "request.json"
BEGUN = ("config.json", "checkpoint.pt", "candidates", "search.json")  # one of them is there from the first step on


def prepare_run(config: RunConfig, store: Store) -> Path:
    """Make the run's folder and write down what was asked for; gives the folder.

    Raises ConfigError where the folder holds a run of another config that has begun: it is never overwritten; what was
    refused before its first step is replaced. Raises StoreError where a session is named whose subject's consent has
    ended or that reviewers have rejected; where none is named, such sessions are left out, and those that are too
    short.
    """
    from neuroloom.models import Topology

    training_of(config)
    if config.start_from:
        permitted(store, config.start_from)
    else:
        Topology.read(config.topology)  # a name that is none is refused before there is a folder
    chosen, left_out = trainable(config, store)
    if not chosen:
        why = "; ".join(f"{name}: {said}" for name, said in left_out.items()) or "ingest recordings first"
        raise StoreError(f"{store.root}: no session to train on; {why}")
    bad = {session_id: verdicts.bad_channels_of(store, session_id) for session_id in chosen}
    good = {session_id: verdicts.good_channels_of(store, session_id) for session_id in chosen}
    now: dict[str, Any] = {"versions": {session_id: store.latest(session_id).name for session_id in chosen}}
    now |= {
        "bad_channels": {name: found for name, found in bad.items() if found},
        "good_channels": {name: found for name, found in good.items() if found},
        "left_out": {**config.left_out, **left_out},
    }
    folder = store.run_folder(config.name)
    asked = json.loads(config.model_copy(update={"sessions": chosen, **now}).model_dump_json())
    there = document_of(folder / REQUEST)
    if there:  # a run goes on with what it began with
        there = json.loads(RunConfig.model_validate(there).model_dump_json())
        fresh, asked = asked, asked | {key: there[key] for key in now}
    differing = sorted(key for key in asked if there and _deciding(asked, key) != _deciding(there, key))
    if differing and not has_begun(folder):
        asked = fresh
    elif differing:
        raise ConfigError(
            f"{folder}: holds a run with another {', '.join(differing)}; give this one another name, or delete that one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    durable.write_json(folder / REQUEST, asked)
    return folder


def has_begun(folder: Path, signs: Sequence[str] = BEGUN) -> bool:
    """Whether there is anything of a run to overwrite. What was refused before its first step may be mended."""
    if any(any(folder.glob(sign)) for sign in signs):
        return True
    return bool(readable_document_of(folder / RUN_RECORD).get("state") == RUNNING)


def _deciding(asked: dict[str, Any], key: str) -> Any:
    """What a request says under `key` that decides the numbers: not how many processes share the work."""
    said = asked.get(key)
    return {name: value for name, value in said.items() if name != "processes"} if key == "training" and said else said


def trainable(config: RunConfig, store: Store) -> tuple[tuple[str, ...], dict[str, str]]:
    """The sessions to train on, and those left out of all there are, each with the reason.

    Raises StoreError where one that the config names may not be trained on.
    """
    refuse_withdrawn(config.sessions, store)
    known, today = Subjects.of(store), date.today()
    found = {
        one: known.objection(one, today) or verdicts.objection(store, one)
        for one in config.sessions or store.session_ids()
    }
    if not config.sessions:
        found = {one: why or _too_short(one, config, store) for one, why in found.items()}
    left_out = {session_id: why for session_id, why in found.items() if why}
    for session_id, why in left_out.items() if config.sessions else ():
        raise StoreError(f"{session_id}: {why}; it cannot be trained on")
    return tuple(session_id for session_id in found if session_id not in left_out), left_out


def _too_short(session_id: str, config: RunConfig, store: Store) -> str:
    """Why a session has no windows of this length in every split; empty where it has."""
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.runs._binning import grid_of
    from neuroloom.pipeline.runs.splitting import WindowConfig, time_blocks

    asked = {name: getattr(config, name) for name in ("length_s", "bin_s", "held_out", "validation")}
    with Session.open(store.latest(session_id)) as session:
        try:
            time_blocks(grid_of(session, config.bin_s).n_bins, WindowConfig(**asked))
        except ValueError as error:
            return str(error).removeprefix(f"{session_id}: ")
    return ""


def permitted(store: Store, name: str) -> RunConfig:
    """What was asked for under `name`, where whoever was recorded for it still agrees to what is done with it.

    Raises StoreError naming a session behind the run, or behind one that it went on from, whose consent has ended; and
    the runs there are.
    """
    config = requested(store, name)
    refuse_withdrawn(sorted(sessions_behind(store, name)), store)
    return config


def refuse_withdrawn(sessions: Iterable[str], store: Store) -> None:
    """Raise StoreError where a person does not agree to it any more."""
    known, today = Subjects.of(store), date.today()
    for session_id in sessions:
        if why := known.objection(session_id, today):
            raise StoreError(f"{session_id}: {why}; neither it nor a network that learned from it can be used")


def sessions_behind(store: Store, name: str) -> set[str]:
    """Every session that a run was trained on, those of the runs it went on from included."""
    said = [document_of(store.run_folder(one) / REQUEST) for one in runs_behind(store, name)]
    return {str(session) for one in said for session in one.get("sessions", ())}


def runs_behind(store: Store, name: str) -> list[str]:
    """A run, the one it went on from, the one that went on from, ..."""
    found: list[str] = []
    while name and name not in found:
        found.append(name)
        name = str(document_of(store.run_folder(name) / REQUEST).get("start_from") or "")
    return found


def requested(store: Store, name: str) -> RunConfig:
    """What was asked for under `name`. Raises StoreError naming the runs there are."""
    folder = store.run_folder(name)
    found = document_of(folder / REQUEST)
    if not found:
        trained = [run for run in store.run_names() if (store.run_folder(run) / REQUEST).is_file()]
        missing = "a run in which no network was trained" if folder.is_dir() else f"no such run in {store.root}"
        raise StoreError(f"{name}: {missing}; there are: {', '.join(trained) or 'none'}")
    try:
        return fitted(found, RunConfig)
    except ValueError as error:
        raise StoreError(f"{folder / REQUEST}: {error}") from error


def session_versions(store: Store, name: str) -> dict[str, str]:
    """The sessions a run is trained on, each with its version; empty for a folder that is no training run."""
    found = document_of(store.run_folder(name) / REQUEST)
    return dict(RunConfig.model_validate(found).versions) if found else {}
