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
    older = {name: _older(store, name) for name in store.run_names() if preparing.session_versions(store, name)}
    done = [_asked(store, name) for name, behind in older.items() if not behind]
    return [name for name, behind in older.items() if behind & set(sessions) and _asked(store, name) not in done]


def prepare_again(store: Store, name: str) -> str:
    """The same training on the newest versions of its sessions, prepared under the next free name, which is given.

    Raises StoreError where a session may not be trained on any more.
    """
    new = next(f"{name}-{n}" for n in count(2) if not store.run_folder(f"{name}-{n}").exists())
    preparing.prepare_run(preparing.requested(store, name).model_copy(update={"name": new, **AS_FOUND}), store)
    return new


def _older(store: Store, name: str) -> set[str]:
    """The sessions of a run of whose newest version it knows nothing, or of which there is none any more."""
    used = preparing.session_versions(store, name)
    return {session for session, version in used.items() if [f.name for f in store.versions(session)[-1:]] != [version]}


def _asked(store: Store, name: str) -> dict[str, Any]:
    """What decides the numbers."""
    return preparing.requested(store, name).model_copy(update={"name": "", **AS_FOUND}).model_dump()
