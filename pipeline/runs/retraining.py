"""The weekly training: the same config on everything there is now, as a run of its own.

Design rationale: the run is named after the config and the sessions and versions it is trained on. Asked twice with the
same data it is the same run: stopped, it goes on; done, there is nothing new. What was trained before stays, to be
compared with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from neuroloom.ingest.digest import digest_of_bytes
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE
from neuroloom.pipeline.runs import preparing, run_config
from neuroloom.pipeline.scores import judging
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.verdicts import bad_channels_of, good_channels_of


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """run: what is to be trained, "" for nothing; why: in words."""

    run: str
    why: str


def prepare_retraining(store: Store, config: str) -> Prepared:
    """Prepare the run of a config file (relative to the store) on what is there now.

    Raises ConfigError where the file is not as wanted, StoreError where it names a session that may not be trained on.
    """
    if not config:
        return Prepared(run="", why="[schedules.retrain] config names no file: nothing is trained")
    asked = run_config.read_run_config(store.root / config)
    sessions, left_out = preparing.trainable(asked, store)
    versions = {session: store.latest(session).name for session in sessions}
    if not versions:
        return Prepared(run="", why="there is no session to train on yet")
    bad = {session: found for session in sessions if (found := bad_channels_of(store, session))}
    good = {session: found for session in sessions if (found := good_channels_of(store, session))}
    of = {"versions": versions, "asked": json.loads(asked.model_dump_json(exclude={"good_channels"}))}
    of |= ({"bad_channels": bad} if bad else {}) | ({"good_channels": good} if good else {})
    name = f"{asked.name}-{_digest(of)}"
    if _is_done(store, name):
        return Prepared(run="", why=f"nothing is new since {name}")
    before = _seen_before(store, asked.name)
    new = [session for session, version in versions.items() if (session, version) not in before]
    now = {"name": name, "sessions": tuple(versions), "left_out": left_out}
    preparing.prepare_run(asked.model_copy(update=now), store)
    why = f"{len(new)} of {len(versions)} sessions are new or have a new version"
    return Prepared(run=name, why=f"{why}; {len(left_out)} left out" if left_out else why)


def _digest(of: dict[str, Any]) -> str:
    return digest_of_bytes(json.dumps(of, sort_keys=True).encode()).partition(":")[2][:8]


def _is_done(store: Store, name: str) -> bool:
    catalog = Catalog.of(store)
    done = any(run.name == name and run.state == DONE for run in catalog.runs.every())
    catalog.close()
    return done and (store.run_folder(name) / judging.SCORES).is_file()


def _seen_before(store: Store, stem: str) -> set[tuple[str, str]]:
    """The (session, version) that runs of this config were trained on."""
    seen: set[tuple[str, str]] = set()
    for name in store.run_names():
        if name.startswith(f"{stem}-") and (store.run_folder(name) / preparing.REQUEST).is_file():
            seen |= set(preparing.requested(store, name).versions.items())
    return seen
