"""Promises 1 to 4 of a store after a fault, and after the restart that follows it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from sqlalchemy import text

from neuroloom.ingest import manifest
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.noting import rebuild
from neuroloom.pipeline.store import Store

from .scenes import WORK, Scene, originals_of, story

LATER_S = 100_000.0  # every lease has run out


def broken_at_once(store: Store, scene: Scene, originals: Counter[str]) -> list[str]:
    """What does not hold right after a fault, before anybody mends anything."""
    lie = originals_of(store)
    found = [f"an original lies there {lie[d]} times and not {n}" for d, n in originals.items()
             if lie[d] != n and not (scene.gone and lie[d] < n)]  # fmt: skip
    for name in store.session_ids(amended=True):
        for folder in store.versions(name):
            found += [f"{name} {folder.name}: {damage}" for damage in manifest.verify(folder)]
    return found


def broken_after_restart(
    store: Store, scene: Scene, originals: Counter[str], undisturbed: Mapping[str, object]
) -> list[str]:
    """What does not hold after the work was taken up again; undisturbed: the story it comes to without a fault."""
    WORK[scene.work](store, clock=lambda: time.time() + LATER_S)
    found = broken_at_once(store, scene, originals)
    told = story(store)
    for what in sorted(told.keys() | undisturbed.keys()):
        if told.get(what) != undisturbed.get(what):
            found.append(f"{what} is {told.get(what)!r:.300} and not {undisturbed.get(what)!r:.300}")
    catalog = Catalog.of(store)
    found += _not_rebuilt(store, catalog)
    if found:
        found += [f"{drop.name} is {drop.state} {drop.reason}" for drop in catalog.drops.every()]
    catalog.close()
    return found


def _not_rebuilt(store: Store, catalog: Catalog) -> list[str]:
    anew = Catalog.at(f"sqlite:///{store.root / 'anew.sqlite'}")
    rebuild(store, anew)
    found, kept = noted(anew), noted(catalog)
    anew.close()
    return [] if found == kept else [f"the catalog that is rebuilt differs: {found!r:.400} and not {kept!r:.400}"]


def noted(catalog: Catalog) -> tuple[object, ...]:
    """What a catalog says of each drop's last story and of sessions, leases and counters left out."""
    newest = {drop.name: drop for drop in catalog.drops.every()}.values()
    drops = sorted((d.name, d.state, d.digest, tuple(d.files), tuple(d.sessions)) for d in newest)
    sessions = [(row.id, row.version, row.manifest) for row in catalog.sessions.every()]
    with catalog.engine.connect() as connection:
        days = sorted(tuple(row) for row in connection.execute(text("SELECT day, id, version FROM days")))
    return drops, sessions, sorted(catalog.sessions.announced()), days
