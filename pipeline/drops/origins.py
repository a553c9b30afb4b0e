"""Where the files of a session lie: in `originals/` what was dropped into the inbox, else where they were ingested.

    originals/<drop>/drop.json      of the inbox: {"sessions", "paths", "files", ...}, the files below `files/`
    originals/<drop>/origin.json    of `neuroloom ingest`: {"sessions", "paths", "digests"}, the files where they lay

Never published: paths may name people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuroloom.ingest import durable
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.drops.custody import DROP_RECORD, FILES
from neuroloom.pipeline.store import Store, StoreError, slug

ORIGIN_RECORD = "origin.json"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One drop that went into a session. paths: what names its recordings, where it lies now."""

    sessions: tuple[str, ...]
    paths: tuple[Path, ...]


def note(store: Store, paths: Sequence[Path], digests: Mapping[str, str], session: str, *, name: str = "") -> None:
    """Remember where the files of an ingest lie, for those that are left where they are. name: of the record."""
    name = f"{min(digests.values()).partition(':')[2][:16]}-{slug(name or paths[0].name)}"
    folder = store.originals / name
    folder.mkdir(parents=True, exist_ok=True)
    record = {"sessions": [session], "paths": [str(path.absolute()) for path in paths], "digests": dict(digests)}
    durable.write_json(folder / ORIGIN_RECORD, record)


def origins_of(store: Store, session: str) -> list[Origin]:
    """Every drop that went into a session, in the order they came. Raises StoreError where files of one are gone."""
    found = [origin for _, origin in sorted(_origins(store), key=lambda pair: pair[0]) if session in origin.sessions]
    for origin in found:
        missing = [path for path in origin.paths if not path.exists()]
        if missing:
            raise StoreError(f"{session}: {missing[0]} is not there any more; it is wanted to read the session again")
    if not found:
        raise StoreError(f"{session}: where its files lie is not known; drop them again")
    return found


def _origins(store: Store) -> Iterator[tuple[float, Origin]]:
    """Each with the time it was noted. A place that both know is told by the inbox: it has moved the files there."""
    for folder in sorted(store.originals.iterdir()) if store.originals.is_dir() else ():
        moved, left = folder / DROP_RECORD, folder / ORIGIN_RECORD
        if moved.is_file():
            said = document_of(moved)
            paths = tuple(folder / FILES / path for path in said.get("paths", ()))
            yield moved.stat().st_mtime, Origin(sessions=tuple(said.get("sessions", ())), paths=paths)
        elif left.is_file():
            said = document_of(left)
            paths = tuple(Path(path) for path in said.get("paths", ()))
            yield left.stat().st_mtime, Origin(sessions=tuple(said.get("sessions", ())), paths=paths)
