"""What takes how much of the disk, what may be deleted by `[retention]`, and deleting exactly that.

    kind          what may go, once it is old enough
    sessions      versions that a newer one replaced, where the newer one was read and found sound since and no run
                  rests on the older one; the newest version never, nor one that has another name now
    originals     never
    quarantine    what was refused
    derived       caches that were not used; they are made anew when needed
    checkpoints   those of the candidates among which a finished run or search chose; the run's own stays
    staging       what was being written when a machine died
    other         never: review pages, the catalog, Prefect's database

What is deleted, by whom, when, and by which rule is a line in STORE/deleted.jsonl, on disk before the deletion begins.

Design rationale: nothing is deleted by default but staging, and that only by `neuroloom clean`. A folder is renamed
into `.staging` first, so that a reader finds it whole or not at all, and a deletion that is cut short is taken up as
staging later.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from neuroloom.ingest import durable
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE
from neuroloom.pipeline.drops import custody
from neuroloom.pipeline.noting import published_at
from neuroloom.pipeline.runs import preparing
from neuroloom.pipeline.settings import RetentionSettings
from neuroloom.pipeline.store import AMENDED, Store

LOG = "deleted.jsonl"
DAY_S = 86400.0
DELETING = "deleting-"
CHOICES = (
    ("choice.json", "candidates", "a candidate of a finished choice"),
    ("trials.json", "trials", "a trial of a finished search"),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that may be deleted at once. why: the rule, in words. version: (session, version) where it is one."""

    path: Path
    n_bytes: int
    age_days: float
    why: str
    version: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of what lies in a store. rule: what `[retention]` says of it, in words."""

    name: str
    n_bytes: int
    n_entries: int
    rule: str
    may_go: tuple[Entry, ...] = ()

    @property
    def bytes_to_go(self) -> int:
        """What deleting gives back."""
        return sum(entry.n_bytes for entry in self.may_go)


def space(store: Store, catalog: Catalog, settings: RetentionSettings, now: float | None = None) -> list[Kind]:
    """What lies in the store, a row per kind, with what may be deleted now."""
    at = time.time() if now is None else now
    derived, checkpoints = list(_derived(store, at)), list(_checkpoints(store, catalog, at))
    versions, refused = list(_versions(store, catalog, at)), list(_refused(store, at))
    n_versions = sum(len(store.versions(session)) for session in store.session_ids(amended=True))
    sessions = max(0, _size(store.sessions) - _size(store.staging))
    kinds = [
        _kind("sessions", sessions, n_versions, versions, settings.old_versions_days),
        Kind(name="originals", n_bytes=_size(store.originals), n_entries=_count(store.originals), rule="never"),
        _kind("quarantine", _size(store.quarantine), _count(store.quarantine), refused, settings.quarantine_days),
        _kind("derived", _size(store.derived), len(derived), derived, settings.derived_days),
        _kind("checkpoints", sum(e.n_bytes for e in checkpoints), len(checkpoints), checkpoints,
              settings.checkpoints_days),
        _kind("staging", _size(store.staging), _count(store.staging), list(_staged(store, at)), settings.staging_days),
    ]  # fmt: skip
    known = sum(kind.n_bytes for kind in kinds)
    runs = Kind(name="runs", n_bytes=_size(store.runs) - kinds[4].n_bytes, n_entries=_count(store.runs), rule="never")
    inbox = Kind(name="inbox", n_bytes=_size(store.inbox), n_entries=_count(store.inbox), rule="never")
    rest = max(0, _size(store.root) - known - runs.n_bytes - inbox.n_bytes)
    return [inbox, *kinds, runs, Kind(name="other", n_bytes=rest, n_entries=0, rule="never")]


def clean(store: Store, catalog: Catalog, entries: Iterable[Entry], *, who: str = "") -> list[Entry]:
    """Delete these entries of `space`, each logged first; gives those that were there to be deleted.

    who: as the log names them; the user of this process if it is left out.
    """
    deleted = []
    for entry in entries:
        if not os.path.lexists(entry.path):
            continue
        _log(store, entry, who or _user())
        doomed = store.staging / f"{DELETING}{secrets.token_hex(6)}"
        os.rename(entry.path, doomed)
        durable.sync_folder(entry.path.parent)
        if entry.version is not None:
            catalog.sessions.forget(*entry.version)
        shutil.rmtree(doomed) if doomed.is_dir() else doomed.unlink()
        deleted.append(entry)
    return deleted


def deletions(store: Store) -> list[dict[str, object]]:
    """Every line of the log, oldest first; one that was cut short is left out."""
    path = store.root / LOG
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _kind(name: str, n_bytes: int, n_entries: int, found: list[Entry], days: float | None) -> Kind:
    if days is None:
        return Kind(name=name, n_bytes=n_bytes, n_entries=n_entries, rule="kept")
    going = tuple(replace(e, why=f"{e.why} for {days:g} days") for e in found if e.age_days >= days)
    return Kind(name=name, n_bytes=n_bytes, n_entries=n_entries, rule=f"after {days:g} days", may_go=going)


def _versions(store: Store, catalog: Catalog, now: float) -> Iterator[Entry]:
    checks, rested_on = catalog.checks.every(), _rested_on(store)
    for session in store.session_ids():
        *older, newest = store.versions(session)
        published = published_at(newest)
        check = checks.get((session, newest.name))
        if check is None or check.damage or check.checked_at < published or (newest.parent / AMENDED).exists():
            continue
        for folder in older:
            if (session, folder.name) not in rested_on:
                yield entry_of(folder, now - published, "replaced by a newer version", version=(session, folder.name))


def _rested_on(store: Store) -> set[tuple[str, str]]:
    """The (session, version) that runs were trained on: to go on, to be scored or to be explained they need them."""
    found: set[tuple[str, str]] = set()
    for name in store.run_names():
        if (store.run_folder(name) / preparing.REQUEST).is_file():
            found |= set(preparing.requested(store, name).versions.items())
    return found


def _refused(store: Store, now: float) -> Iterator[Entry]:
    for refused in custody.refused(store):
        yield entry_of(store.quarantine / refused.id, now - refused.since, "in quarantine")


def _derived(store: Store, now: float) -> Iterator[Entry]:
    for path in _children(store.derived):
        used = max((max(s.st_atime, s.st_mtime) for s in _stats(path)), default=path.lstat().st_mtime)
        yield entry_of(path, now - used, "a cache that was not used")


def _checkpoints(store: Store, catalog: Catalog, now: float) -> Iterator[Entry]:
    for run in catalog.runs.every():
        if run.state != DONE:
            continue
        folder = store.run_folder(run.name)
        for result, parts, why in CHOICES:
            if (folder / result).is_file() and (folder / "checkpoint.pt").is_file():
                for path in sorted((folder / parts).glob("*/checkpoint.pt")):
                    yield entry_of(path, now - path.stat().st_mtime, why)


def _staged(store: Store, now: float) -> Iterator[Entry]:
    for path in _children(store.staging):
        touched = max((s.st_mtime for s in _stats(path)), default=path.lstat().st_mtime)
        yield entry_of(path, now - touched, "not written to")


def entry_of(path: Path, age_s: float, why: str, version: tuple[str, str] | None = None) -> Entry:
    """A thing in the store, with its size."""
    return Entry(path=path, n_bytes=_size(path), age_days=age_s / DAY_S, why=why, version=version)


def _log(store: Store, entry: Entry, who: str) -> None:
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": who,
        "machine": socket.gethostname(),
        "what": entry.path.relative_to(store.root).as_posix(),
        "n_bytes": entry.n_bytes,
        "why": entry.why,
    }
    # A line begins with a new one where the one before was cut short, so that it takes no other with it.
    data = (json.dumps(line) + "\n").encode()
    descriptor = os.open(store.root / LOG, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if (size := os.fstat(descriptor).st_size) and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, f"{store.root / LOG}: the disk took a part of a line; nothing is deleted")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    durable.sync_folder(store.root)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"user {os.getuid()}"


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _count(folder: Path) -> int:
    return len(_children(folder))


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Of every file at or below a path; what goes away meanwhile is left out, links are not followed."""
    if not path.is_dir() or path.is_symlink():
        yield path.lstat()
        return
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                yield os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue


def _size(path: Path) -> int:
    """Bytes of the files at or below a path; a file with two names counts under each."""
    return sum(found.st_size for found in _stats(path)) if os.path.lexists(path) else 0
