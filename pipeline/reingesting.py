"""A session made anew from its originals, with today's readers and settings; published only where something changed.

originals -> recordings -> session -> compared with the newest version -> a new version, or nothing
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable, manifest
from neuroloom.pipeline.config import AS_SET
from neuroloom.pipeline.ingesting import next_version
from neuroloom.pipeline.origins import origins_of
from neuroloom.pipeline.preparing import prepared
from neuroloom.pipeline.reading import Drop
from neuroloom.pipeline.store import Store

Progress = Callable[[str], None]


def reingest(
    store: Store, session_id: str, *, why: str, sorter: str | None = AS_SET, progress: Progress | None = None
) -> dict[str, Any]:
    """{"session", "state": "reingested" | "unchanged", "version", "changed": datasets that differ}.

    Raises StoreError where the originals are not there, and what a first ingest raises where they cannot be read.
    """
    before = store.latest(session_id)
    staging = store.staging / f"{session_id}-{secrets.token_hex(4)}"
    session = None
    for origin in origins_of(store, session_id):
        session = prepared(Drop(paths=origin.paths), store, sorter=sorter, progress=progress, there=session)
    if session is None:
        raise ValueError(f"{session_id}: no originals")
    try:
        session.save(staging)
        changed = _changed(before, staging)
        if not changed:
            return {"session": session_id, "state": "unchanged", "version": before.name, "changed": []}
        said = manifest.read(before)
        lineage = {"follows": manifest.digest_of(before), "why": why}
        manifest.amend(staging, lineage=lineage, consent=said["consent"], verdicts=said["verdicts"])
        folder = next_version(store, session.id)
        folder.parent.mkdir(exist_ok=True)
        durable.publish(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {"session": session.id, "state": "reingested", "version": folder.name, "changed": changed}


def _changed(before: Path, after: Path) -> list[str]:
    """Datasets whose content, shape or type differs, and those that only one version has; not the index's own text."""
    old, new = (_datasets(folder) for folder in (before, after))
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _datasets(folder: Path) -> dict[str, str]:
    """Digest by file and dataset, of all that comes from the recordings."""
    return {
        f"{file} {dataset}": digest
        for file, entry in manifest.read(folder)["files"].items()
        for dataset, digest in entry["datasets"].items()
        if not dataset.startswith(OWN)
    }


# Identifiers, dates of writing, the standard's own text: another at every writing.
OWN = ("/identifier", "/file_create_date", "/specifications", "/scratch")
