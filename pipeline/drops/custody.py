"""Where a drop's files go when its story ends: to `originals/` or to `quarantine/`, and back.

A record is written first, then the files are renamed one by one, then the record says `moved`. Stopped in between,
`finish_moves` goes on where it was: a file is either still here or already there, never both, never neither.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.ingest.digest import digest_of_bytes
from neuroloom.pipeline.catalog.tables import Drop
from neuroloom.pipeline.documents import readable_document_of
from neuroloom.pipeline.store import Store, StoreError, slug

DROP_RECORD = "drop.json"
REASON_RECORD = "reason.json"
FILES = "files"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """One entry of the quarantine, as its reason file tells it.

    path: where it lay. since: when it was refused, seconds since 1970.
    kept: True where its files lie here (dropped in the inbox), False where they were left alone.
    """

    id: str
    path: str
    reason: str
    kept: bool
    since: float = 0.0


def archive(store: Store, drop: Drop, sessions: Sequence[str]) -> Path:
    """Move a drop's files from the inbox to `originals/`; gives the folder. May be repeated."""
    folder = archive_folder(store, drop)
    _move(drop, folder, DROP_RECORD, {**_record(drop), "sessions": list(sessions)})
    return folder


def archive_folder(store: Store, drop: Drop) -> Path:
    """Where a drop's originals go: named after its content, so that the same content has one place."""
    return store.originals / f"{drop.digest[:16]}-{slug(drop.name)}"


def quarantine(store: Store, drop: Drop, reason: str) -> Path:
    """Move a drop's files from the inbox to `quarantine/`, with the reason beside them; gives the folder."""
    path = str(Path(drop.folder) / drop.name)
    accepted(store, drop.name, path)
    folder = store.quarantine / slug(drop.name)
    if folder.exists() and not _is_begun(folder, path):
        folder = store.quarantine / f"{slug(drop.name)}-{drop.id}"
    _move(drop, folder, REASON_RECORD, {**_record(drop), "path": path, "reason": reason})
    return folder


def note_refused(store: Store, name: str, path: str, reason: str) -> None:
    """Say why what lies at `path` was refused, and leave it there. An entry of something else is never replaced."""
    entries = _entries(store, name, path)
    free = [one for one in entries if not one.exists()] or entries[-1:]
    folder = next((one for one in entries if _is_of(one, path)), free[0])
    durable.make_folder(folder)
    durable.write_json(folder / REASON_RECORD, {"path": path, "reason": reason})


def accepted(store: Store, name: str, path: str) -> None:
    """Forget that what lies at `path` was refused once, where its files were left alone."""
    for folder in _entries(store, name, path):
        if _is_of(folder, path):
            shutil.rmtree(folder)


def _entries(store: Store, name: str, path: str) -> list[Path]:
    """Where an entry may be: under its name, or where something else has that, under one of its own."""
    mark = digest_of_bytes(path.encode()).partition(":")[2][:8]
    return [store.quarantine / slug(name), store.quarantine / f"{slug(name)}-{mark}"]


def _is_of(folder: Path, path: str) -> bool:
    """Whether it is an entry of what lies at `path`, and no more than that."""
    return not (folder / FILES).exists() and readable_document_of(folder / REASON_RECORD).get("path") == path


def _is_begun(folder: Path, path: str) -> bool:
    """True where a move of what lies at `path` was cut short before its first file."""
    is_empty = all(inner.is_dir() for inner in (folder / FILES).rglob("*"))
    return is_empty and readable_document_of(folder / REASON_RECORD).get("path") == path


def ended(store: Store, drop: Drop) -> dict[str, Any]:
    """The record of a drop whose files have left the inbox already; empty where they have not.

    A run that was killed between moving the files and telling the catalog leaves exactly this. One that was killed
    while it moved them is finished first: what is left of it in the inbox would be taken for another drop.
    """
    paths = [*store.quarantine.glob(f"{slug(drop.name)}*/{REASON_RECORD}")]
    if drop.digest:
        paths.insert(0, archive_folder(store, drop) / DROP_RECORD)
    for path in paths:
        record = readable_document_of(path)
        if "moved" in record and all(record.get(key) == getattr(drop, key) for key in ("name", "files", "digest")):
            _finish(path, record)
            if not any(os.path.lexists(Path(drop.folder) / file) for file in drop.files or [drop.name]):
                return record
    return {}


def refused(store: Store) -> list[Refused]:
    """What lies in quarantine, by name."""
    entries = []
    for path in sorted(store.quarantine.glob(f"*/{REASON_RECORD}")):
        record = readable_document_of(path)
        entries.append(
            Refused(
                id=path.parent.name,
                path=str(record.get("path", "")),
                reason=str(record.get("reason", "no reason was written")).removeprefix(f"{record.get('path')}: "),
                kept=(path.parent / FILES).is_dir(),
                since=path.stat().st_mtime,
            )
        )
    return entries


def refused_lies_at(store: Store, was: Path, now: Path) -> None:
    """What was refused out of a drop whose other sessions were published lies with them: say where."""
    for path in store.quarantine.glob(f"*/{REASON_RECORD}"):
        record = readable_document_of(path)
        if record.get("path") == str(was) and not (path.parent / FILES).exists():
            durable.write_json(path, {**record, "path": str(now)})


def release(store: Store, entry_id: str) -> Refused:
    """Put refused files back into the inbox.

    Raises StoreError for an id or a file that is not there, or a name that is taken.

    Where the files were left alone (`neuroloom ingest`), only the entry goes; the caller ingests `path` again.
    """
    known = {entry.id: entry for entry in refused(store)}
    if entry_id not in known:
        raise StoreError(f"{entry_id}: not in quarantine; there are: {', '.join(known) or 'none'}")
    entry = known[entry_id]
    if not (entry.kept or os.path.lexists(entry.path)):
        raise StoreError(f"{entry.path}: is not there any more; what {entry_id} refused lay there, and is wanted back")
    folder = store.quarantine / entry_id
    if entry.kept:
        names = sorted(path.name for path in (folder / FILES).iterdir())
        taken = [name for name in names if os.path.lexists(store.inbox / name)]
        if taken:
            raise StoreError(f"{taken[0]}: lies in the inbox already; move it away before the retry")
        for name in names:
            os.rename(folder / FILES / name, store.inbox / name)
    shutil.rmtree(folder)
    return entry


def finish_moves(store: Store) -> int:
    """Go on with every move that was cut short; gives how many there were."""
    records = [*store.originals.glob(f"*/{DROP_RECORD}"), *store.quarantine.glob(f"*/{REASON_RECORD}")]
    return sum(_finish(path, readable_document_of(path)) for path in sorted(records))


def _finish(path: Path, record: Mapping[str, Any]) -> bool:
    """Go on with a move, if it was cut short; True where it was."""
    if record.get("moved") is not False:
        return False
    _move_files(Path(record["folder"]), record["name"], record["files"], path.parent / FILES)
    durable.write_json(path, {**record, "moved": True})
    return True


def _record(drop: Drop) -> dict[str, Any]:
    keys = ("name", "folder", "paths", "files", "format", "n_bytes", "digest", "attempts")
    return {key: getattr(drop, key) for key in keys}


def _move(drop: Drop, folder: Path, name: str, record: Mapping[str, Any]) -> None:
    durable.make_folder(folder)
    durable.write_json(folder / name, {**record, "moved": False})
    _move_files(Path(drop.folder), drop.name, drop.files, folder / FILES)
    durable.write_json(folder / name, {**record, "moved": True})


def _move_files(source: Path, name: str, files: Sequence[str], target: Path) -> None:
    for file in files or [name]:
        if os.path.lexists(source / file):
            durable.make_folder((target / file).parent)
            with suppress(FileNotFoundError):  # another watcher moved it just now, to the same place
                os.rename(source / file, target / file)
    for folder in sorted({target, *((target / file).parent for file in files)}):
        if folder.is_dir():
            durable.sync_folder(folder)
    with suppress(FileNotFoundError):
        os.unlink(source / f"{name}.done")
    _remove_empty_folders(source / name)


def _remove_empty_folders(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        return
    for inner, _, _ in os.walk(folder, topdown=False, onerror=_raise_of_disk):
        try:
            os.rmdir(inner)
        except OSError as error:
            _raise_of_disk(error)


def _raise_of_disk(error: OSError) -> None:
    """Raise what the disk refused, so that it is asked again: an empty folder that stays would be a new drop.

    A folder that is not empty holds files that came later: they stay, and are a new drop. One that is gone is gone.
    """
    if durable.is_of_disk(error):
        raise error
