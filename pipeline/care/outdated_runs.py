"""Models trained on versions of sessions that a newer one has replaced, and the same trainings on the newer ones.

A run is never overwritten: what is trained again is a run of its own, `reach-2` after `reach`.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from typing import Any

from neuroloom.pipeline.runs import preparing
from neuroloom.pipeline.store import Store

# What is looked up at each training.
AS_FOUND: dict[str, Any] = {key: {} for key in ("versions", "bad_channels", "good_channels", "left_out")}


def outdated(store: Store, sessions: Collection[str]) -> list[str]:
    """Runs trained on an older version of one of these sessions, where the same on the newest is not there yet."""
    behind = [name for name in store.run_names() if _lags(store, name, sessions)]
    done = [_asked(store, name) for name in store.run_names() if _is_up_to_date(store, name)]
    return [name for name in behind if _asked(store, name) not in done]


def prepare_again(store: Store, name: str) -> str:
    """The same training on the newest versions of its sessions, prepared under the next free name, which is given.

    Raises StoreError where a session may not be trained on any more.
    """
    new = next(f"{name}-{n}" for n in count(2) if not store.run_folder(f"{name}-{n}").exists())
    preparing.prepare_run(preparing.requested(store, name).model_copy(update={"name": new, **AS_FOUND}), store)
    return new


def _lags(store: Store, name: str, sessions: Collection[str]) -> bool:
    used = preparing.session_versions(store, name)
    return any(store.latest(session).name != version for session, version in used.items() if session in sessions)


def _is_up_to_date(store: Store, name: str) -> bool:
    used = preparing.session_versions(store, name)
    there = set(store.session_ids(amended=True))
    return bool(used) and all(s in there and store.latest(s).name == version for s, version in used.items())


def _asked(store: Store, name: str) -> dict[str, Any]:
    """What decides the numbers."""
    return preparing.requested(store, name).model_copy(update={"name": "", **AS_FOUND}).model_dump()
