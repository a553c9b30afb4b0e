"""What the files of a store tell, noted in its catalog; whatever it says beyond that it can do without.

note_new         versions that it does not know, the others are not read   } a session's truth is its manifest
note_published   those of some sessions, or all                            }
rebuild          these, the drops that originals and quarantine tell of, and the runs that their folders tell of
note_all         the same, once in the life of a catalog
noted_run        a run while it goes on
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import ALL, DONE, OPEN, QUARANTINED, RETRY, RUNNING, SESSIONS
from neuroloom.pipeline.dates import days_in
from neuroloom.pipeline.documents import readable_document_of
from neuroloom.pipeline.store import AMENDED, Store

AT_ONCE = 500  # sessions that are noted in one transaction
RUN_RECORD = "noted.json"  # in the folder of a run
RUN_FIELDS = ("kind", "state", "reason", "summary", "started_at")


def rebuild(store: Store, catalog: Catalog) -> int:
    """Note every published session, every accepted or refused drop and every run the files tell of; gives the number of
    sessions.

    Digests are taken from the files written at ingest and never computed anew: that would bless damage.
    """
    n_sessions = note_published(store, catalog)
    drops = catalog.drops
    still_open = {drop.name for drop in drops.every(*OPEN)}  # a run may be between moving the files and saying so
    done = {(drop.name, drop.digest) for drop in drops.every(DONE)}  # the same content may have come under two names
    for record in _records(store.originals, "drop.json"):
        if record["name"] not in still_open and (record["name"], str(record.get("digest", ""))) not in done:
            _restore(catalog, record, DONE, "")
    runs = catalog.runs.states()
    for name in store.run_names():
        said = readable_document_of(store.run_folder(name) / RUN_RECORD)
        if said and name not in runs:
            catalog.runs.put(name, **{key: said[key] for key in RUN_FIELDS if key in said})
    known = {(drop.name, drop.digest) for drop in drops.every(QUARANTINED)}
    for record in _records(store.quarantine, "reason.json"):
        if record["name"] not in still_open and (record["name"], str(record.get("digest", ""))) not in known:
            _restore(catalog, record, QUARANTINED, str(record.get("reason", "")))
    if all(folder.is_dir() for folder in store.ways):  # else what one tells that is away is still to come
        catalog.note_that_it_knows(ALL)
    return n_sessions


def note_all(store: Store, catalog: Catalog) -> None:
    """`rebuild` a catalog that is new, or was lost and made anew by whoever opened it first."""
    if not catalog.knows(ALL):
        rebuild(store, catalog)


@contextmanager
def noted_run(store: Store, name: str, kind: str) -> Iterator[dict[str, Any]]:
    """A run is RUNNING while the block lasts, then DONE with the summary that it fills in, or RETRY and why."""
    catalog, summary = Catalog.of(store), dict[str, Any]()
    note_run(store, catalog, name, kind=kind, state=RUNNING, reason="")
    try:
        yield summary
        note_run(store, catalog, name, state=DONE, summary=summary)
    except BaseException as error:
        reason = f"stopped: {' '.join(str(error).split()) or type(error).__name__}"
        note_run(store, catalog, name, state=RETRY, reason=reason)
        raise
    finally:
        catalog.close()


def note_run(store: Store, catalog: Catalog, name: str, **fields: Any) -> None:
    """Note a run, or change what is noted of it, in its folder too: a catalog can be lost."""
    catalog.runs.put(name, **fields)
    folder = store.run_folder(name)
    if folder.is_dir():
        began = {"started_at": time.time(), "summary": {}} | readable_document_of(folder / RUN_RECORD)
        durable.write_json(folder / RUN_RECORD, began | fields)


def note_published(store: Store, catalog: Catalog, session_ids: Sequence[str] | None = None) -> int:
    """Note the published versions of these sessions (all where None); gives how many versions there are.

    Where all are noted, those that were deleted, or have another name now, are forgotten.
    """
    if session_ids is None:
        _forget(store, catalog, catalog.sessions.known())
    n_versions = 0
    names = store.session_ids() if session_ids is None else session_ids
    for first in range(0, len(names), AT_ONCE):
        folders = [folder for name in names[first : first + AT_ONCE] for folder in store.versions(name)]
        catalog.sessions.add([_noted(store, folder) for folder in folders])
        n_versions += len(folders)
    if session_ids is None:
        catalog.note_that_it_knows(SESSIONS)
    return n_versions


def _noted(store: Store, folder: Path) -> tuple[str, str, dict[str, Any], float, list[str]]:
    said = readable_document_of(folder / "manifest.json")
    try:
        days = days_in(store, said)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        days = []  # the manifest is damaged, which `verify` says
    return folder.parent.name, folder.name, said, published_at(folder), days


def published_at(folder: Path) -> float:
    """When the session's file was written; what reviewers say later changes the manifest alone."""
    file = folder / "session.nwb"
    return (file if file.is_file() else folder / "manifest.json").stat().st_mtime


def note_new(store: Store, catalog: Catalog) -> None:
    """Note the published versions that the catalog does not know yet, and forget those that are listed no more.

    Reads no manifest of a version that is known.
    """
    known = catalog.sessions.known()
    there = {(session_id, name) for session_id, names in store.published().items() for name in names}
    note_published(store, catalog, sorted({name for name, _ in there - (known & catalog.sessions.announced())}))
    _forget(store, catalog, known - there)
    catalog.note_that_it_knows(SESSIONS)


def _forget(store: Store, catalog: Catalog, versions: Iterable[tuple[str, str]]) -> None:
    """Forget versions that were deleted, or whose session has another name now."""
    for session_id, version in sorted(versions):
        folder = store.session_folder(session_id)
        if not (folder / version / "manifest.json").is_file() or (folder / AMENDED).exists():
            catalog.sessions.forget(session_id, version)


def _restore(catalog: Catalog, record: Mapping[str, Any], state: str, reason: str) -> None:
    keys = ("digest", "paths", "files", "format", "n_bytes", "sessions", "attempts")
    fields = {key: record[key] for key in keys if key in record}
    catalog.drops.add(str(record["name"]), folder=Path(str(record["folder"])), state=state, reason=reason, **fields)


def _records(folder: Path, name: str) -> list[dict[str, Any]]:
    records = [readable_document_of(path) for path in sorted(folder.glob(f"*/{name}"))]
    return [record for record in records if "name" in record and "folder" in record]
