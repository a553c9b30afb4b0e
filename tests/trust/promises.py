"""Promises 1 to 4 of a store after a fault, and after the restart that follows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from neuroloom.ingest import manifest
from neuroloom.ingest.digest import digest_of_file
from neuroloom.pipeline.catalog import DONE, Catalog, rebuild
from neuroloom.pipeline.store import Store

from .harness import Inbox

LATER_S = 100_000.0  # every lease has run out
NOISE = ("/identifier", "/file_create_date")


def digests_below(folder: Path) -> dict[str, str]:
    """Of the files that were dropped: by name, their digests."""
    return {str(path.relative_to(folder)): digest_of_file(path) for path in folder.rglob("*") if path.is_file()}


def datasets(folder: Path) -> dict[str, str]:
    """What a published session holds."""
    return {
        f"{file} {name}": digest
        for file, entry in manifest.read(folder)["files"].items()
        for name, digest in entry["datasets"].items()
        if not name.startswith(NOISE)
    }


def broken_at_once(store: Store, originals: Mapping[str, str]) -> list[str]:
    """What does not hold right after a fault, before anybody mends anything."""
    found = [f"original {name} is not there once" for name, digest in originals.items() if not _is_once(store, digest)]
    for name in store.session_ids():
        for folder in store.versions(name):
            found += [f"{name} {folder.name}: {damage}" for damage in manifest.verify(folder)]
    return found


def broken_after_restart(
    store: Store, originals: Mapping[str, str], session: str, holds: Mapping[str, str]
) -> list[str]:
    """What does not hold after the inbox was looked at again; session: what the drop becomes, `holds` its datasets."""
    inbox = Inbox(store)
    inbox.reconciler.clock = lambda: time.time() + LATER_S
    drops = inbox.look()
    newest = {drop.name: drop for drop in sorted(drops.values(), key=lambda drop: drop.id)}
    found = [f"{drop.name} is {drop.state} ({drop.reason})" for drop in newest.values() if drop.state != DONE]
    found += broken_at_once(store, originals)
    versions = {name: [folder.name for folder in store.versions(name)] for name in store.session_ids()}
    if versions != {session: ["v001"]}:
        found.append(f"published is {versions}")
    elif datasets(store.latest(session)) != holds:
        found.append("it holds other values than without the fault")
    found += [f"{path.name} is left in the inbox" for path in store.inbox.iterdir()]
    found += _not_rebuilt(store, inbox.catalog)
    inbox.catalog.close()
    return found


def _is_once(store: Store, digest: str) -> bool:
    lies = [path for folder in (store.inbox, store.originals, store.quarantine) for path in folder.rglob("*")]
    return sum(path.is_file() and digest_of_file(path) == digest for path in lies) == 1


def _not_rebuilt(store: Store, catalog: Catalog) -> list[str]:
    anew = Catalog.at(f"sqlite:///{store.root / 'anew.sqlite'}")
    rebuild(store, anew)
    same = noted(anew) == noted(catalog)
    anew.close()
    return [] if same else ["the catalog that is rebuilt differs"]


def noted(catalog: Catalog) -> tuple[object, ...]:
    """What a catalog says of each drop's last story and of sessions, leases and counters left out."""
    newest = {drop.name: drop for drop in catalog.drops()}.values()
    drops = sorted((d.name, d.state, d.digest, tuple(d.files), tuple(d.sessions)) for d in newest)
    sessions = [(row.id, row.version, row.manifest) for row in catalog.sessions()]
    return drops, sessions, sorted(catalog.noted_versions())
