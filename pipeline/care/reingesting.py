"""A session made anew from its originals, with today's readers and settings; published where it differs or broke.

originals -> recordings -> session -> compared with the newest version -> a new version, or nothing
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuroloom.ingest import manifest
from neuroloom.ingest.folders import dataset_root
from neuroloom.ingest.session import Session
from neuroloom.pipeline.boxed.box import Inside, Unboxed
from neuroloom.pipeline.care.amending import current
from neuroloom.pipeline.care.originals import Originals
from neuroloom.pipeline.drops import making
from neuroloom.pipeline.drops.ingesting import adopt, next_version, publish_after
from neuroloom.pipeline.drops.origins import origins_of
from neuroloom.pipeline.settings import AS_SET
from neuroloom.pipeline.store import Store, StoreError

Progress = Callable[[str], None]


def reingest(
    store: Store,
    session_id: str,
    *,
    why: str,
    sorter: str | None = AS_SET,
    inside: Inside | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """{"session", "state": "reingested" | "unchanged", "version", "changed": datasets and quality that differ}.

    inside: where files are read. Raises StoreError where the originals are not there, and what a first ingest raises
    where they cannot be read.
    """
    inside = inside or Unboxed()
    before = current(store, session_id)
    for row in Originals(store).damage(session_id):
        raise StoreError(f"{session_id}: {row['file']} {row['problem']}; what was dropped is wanted")
    paths = [origin.paths for origin in origins_of(store, session_id)]
    readable = {path if path.is_dir() else path.parent for several in paths for path in several}
    roots = {root for folder in readable if (root := dataset_root(folder)) is not None}
    with inside.workplace(store) as folder:
        arguments = {
            "origins": [[str(path) for path in several] for several in paths],
            "session": session_id,
            "store": str(store.root),
            "folder": str(folder),
            "sorter": sorter,
        }
        made = inside.call(making.remade, arguments, readable=readable | roots, progress=progress)
        staged = folder / making.STAGED
        adopt(staged, store)
        # A version that has gone bad on its disk is replaced also by one that holds what it once held.
        changed = (
            _changed(before, staged)
            or _judged(before, staged)
            or [f"{d.file} {d.dataset}: damaged" for d in manifest.verify(before)]
        )
        if not changed:
            return {"session": session_id, "state": "unchanged", "version": before.name, "changed": []}
        version = next_version(store, made["session"])
        publish_after(store, before, staged, version, why=why)
    return {"session": made["session"], "state": "reingested", "version": version.name, "changed": changed}


def _changed(before: Path, after: Path) -> list[str]:
    """Datasets whose content, shape or type differs, and those that only one version has; not the index's own text."""
    old, new = (_datasets(folder) for folder in (before, after))
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _judged(before: Path, after: Path) -> list[str]:
    """Streams of which other channels are bad, or for other reasons: training masks by that, and it is the index's."""
    found = []
    for folder in (before, after):
        with Session.open(folder) as session:
            found.append({name: dict(of.get("reasons", {})) for name, of in session.quality.items()})
    old, new = found
    return sorted(f"quality of {name}" for name in old.keys() & new.keys() if old[name] != new[name])


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
