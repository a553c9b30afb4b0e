"""A person withdraws: everything in a store that comes from their recordings is found, and removed when told.

    runs         trained on a session of theirs, or gone on from such a run; whole, whoever else was in them: what a
                 network has learned cannot be taken out of it
    predictions  of their sessions, by runs that were not trained on them
    studies      whose teacher is a session of theirs
    derived      features of their sessions
    pages        of their sessions and of those runs
    refused      drops in quarantine, and a `subject.toml` among the originals, that speak of nobody else: by the codes
                 and names in `session.toml`, `subject.toml` and the names of files
    originals    drops that hold nobody else
    sessions     every version, also under a name that was amended

Consent is marked withdrawn first, so that nothing new is derived meanwhile; of the person's entry in `subjects.json`
only the code and that are kept, and digests of what was removed (`removed.py`): the same recordings are refused when
they come in again, under whatever code. Sessions go last: whoever is interrupted and starts again still finds what came
from them. Every deletion is a line in `deleted.jsonl`, see `retention.py`.

What cannot be removed from here is told: drops that hold others, too; refused ones that do not say whose they are; what
lies in the inbox; files that were ingested or refused where they lay; what was handed on with `neuroloom export`;
Prefect's own history, which knows sessions by code.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.ingest.digest import digest_of_file
from neuroloom.pipeline import removed, studying
from neuroloom.pipeline.care import retention
from neuroloom.pipeline.care.retention import Entry
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.sessions import digests_in
from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED
from neuroloom.pipeline.documents import readable_document_of
from neuroloom.pipeline.drops import inbox, sidecar
from neuroloom.pipeline.drops.custody import DROP_RECORD, FILES, REASON_RECORD
from neuroloom.pipeline.drops.identity import entities
from neuroloom.pipeline.drops.origins import ORIGIN_RECORD
from neuroloom.pipeline.noting import note_new
from neuroloom.pipeline.review.text import file_stem
from neuroloom.pipeline.runs import preparing
from neuroloom.pipeline.runs.run_files import PREDICTED
from neuroloom.pipeline.store import AMENDED, Store, StoreError
from neuroloom.pipeline.subjects import FILE_NAMES, Consent, Subject, Subjects

REFUSED = "refused"
MOST_NAMED = 5
_SUBJECT = re.compile(r"""^\s*subject\s*=\s*["']([^"'\n]+)["']""", re.M)  # also of a file that is no TOML
_TABLE = re.compile(r"^\s*\[\s*([A-Za-z0-9]{1,40})\s*[\].]", re.M)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What comes from one person. entries: by kind, in the order in which they go. left: what stays, and why."""

    subject: str
    sessions: tuple[str, ...]
    runs: tuple[str, ...]
    entries: tuple[tuple[str, Entry], ...]
    left: tuple[str, ...]


def derived_from(store: Store, subject: str) -> Found:
    """Everything that comes from a subject. Raises StoreError for one that the store knows nothing of."""
    sessions = tuple(sorted(_sessions(store, subject)))
    theirs, left_refused = _refused(store, subject)
    if not (sessions or theirs) and subject not in Subjects.of(store).root:
        known = sorted({_subject_of(one) for one in store.session_ids()} | set(Subjects.of(store).root))
        raise StoreError(f"{subject}: no such subject in {store.root}; there are: {', '.join(known[:20]) or 'none'}")
    runs = tuple(name for name in store.run_names() if _rests_on(store, name, set(sessions)))
    entries = list(_entries(store, subject, set(sessions), runs, theirs))
    left = [*_left(store, set(sessions)), *left_refused, *_in_inbox(store, subject)]
    return Found(subject=subject, sessions=sessions, runs=runs, entries=tuple(entries), left=tuple(left))


def withdraw(store: Store, catalog: Catalog, subject: str, *, who: str = "") -> Found:
    """Remove what `derived_from` finds, and forget it in the catalog; gives what was removed."""
    found = derived_from(store, subject)
    refused = [entry for kind, entry in found.entries if kind == REFUSED]
    contents = _contents(store, found.sessions) | {
        digest_of_file(path) for entry in refused for path in _files_below(entry.path / FILES)
    }
    removed.remember(store, subject, contents, _ended_on(store, subject))
    # Before the person's names go, by which they may have been found.
    for entry in refused:
        for drop_id in _told_of(catalog, entry.path):
            catalog.drops.forget(drop_id)
    retention.clean(store, catalog, refused, who=who)
    _mark(store, subject)
    # First: whoever is interrupted and starts again may find no session any more that tells which drops were theirs.
    for drop in catalog.drops.every(DONE):
        if drop.sessions and all(s in found.sessions or _subject_of(s) == subject for s in drop.sessions):
            catalog.drops.forget(drop.id)
    retention.clean(store, catalog, [entry for _, entry in found.entries], who=who)
    for name in found.runs:
        catalog.runs.forget(name)
    for session in found.sessions:
        folder = store.session_folder(session)
        (folder / AMENDED).unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    note_new(store, catalog)  # forgets what an interrupted one removed and could not say
    return found


def _contents(store: Store, sessions: Iterable[str]) -> set[str]:
    versions = [folder for session in sessions for folder in store.versions(session)]
    return {digest for folder in versions for digest in digests_in(readable_document_of(folder / "manifest.json"))}


def _told_of(catalog: Catalog, folder: Path) -> list[int]:
    """The drops of the catalog that a folder of originals, or of the quarantine, is of."""
    said = _record_in(folder)
    drops = catalog.drops.every(DONE, QUARANTINED)
    return [drop.id for drop in drops if (drop.name, drop.digest) == (said.get("name"), said.get("digest"))]


def _ended_on(store: Store, subject: str) -> date:
    consent, today = Subjects.of(store)[subject].consent, date.today()
    return min((consent and consent.withdrawn) or today, today)


def _mark(store: Store, subject: str) -> None:
    """Of the person only this is kept: that there was a consent, and that it ended."""
    known, withdrawn = Subjects.of(store), _ended_on(store, subject)
    consent = known[subject].consent
    kept = Subject(consent=Consent(given=consent.given if consent else date.today(), withdrawn=withdrawn))
    both = Subjects({**known.root, subject: kept})
    durable.write_json(store.subjects_file, both.model_dump(mode="json", exclude_defaults=True))
    store.subjects_file.chmod(0o600)


def _sessions(store: Store, subject: str) -> Iterator[str]:
    """Those that are theirs by the name they have now; a name that was amended counts as what it became."""
    left = {folder.name for folder in store.sessions.glob("sub-*")}  # of a removal that was cut short
    for session in sorted({*store.session_ids(amended=True), *left}):
        name, seen = session, set[str]()
        while (store.session_folder(name) / AMENDED).is_file() and name not in seen:
            seen.add(name)
            name = str(readable_document_of(store.session_folder(name) / AMENDED).get("to", name))
        if _subject_of(name) == subject:
            yield session


def _subject_of(session: str) -> str:
    return session.partition("_")[0].removeprefix("sub-")


def _rests_on(store: Store, run: str, sessions: set[str]) -> bool:
    if preparing.sessions_behind(store, run) & sessions:
        return True
    teacher = readable_document_of(store.run_folder(run) / studying.REQUEST).get("settings", {}).get("teacher", {})
    return isinstance(teacher, dict) and teacher.get("session") in sessions


def _entries(
    store: Store, subject: str, sessions: set[str], runs: tuple[str, ...], refused: Iterable[Path]
) -> Iterator[tuple[str, Entry]]:
    why = f"withdrawn by {subject}"
    for name in (f"run-{file_stem(name)}" for name in runs):
        yield from _page(store, name, why)
    # A run that went on from others goes before them: what it rests on is told by them.
    for name in sorted(runs, key=lambda run: -len(preparing.runs_behind(store, run))):
        yield "run", retention.entry_of(store.run_folder(name), _age_s(store.run_folder(name)), why)
    for run in store.run_names():
        for session in sorted(sessions) if run not in runs else ():
            path = store.run_folder(run) / PREDICTED.format(session=session)
            if path.is_file():
                yield "prediction", retention.entry_of(path, _age_s(path), why)
    for path in sorted(store.derived.iterdir()) if store.derived.is_dir() else ():
        if path.name.rpartition("_")[0] in sessions:
            yield "features", retention.entry_of(path, _age_s(path), why)
    for session in sorted(sessions):
        yield from _page(store, file_stem(session), why)
    for path in sorted(store.staging.glob(f"{retention.DELETING}*")):  # of a removal that was cut short
        yield "half removed", retention.entry_of(path, _age_s(path), why)
    for folder in refused:
        yield REFUSED, retention.entry_of(folder, _age_s(folder), why)
    for folder, of in _drops(store):
        if of & sessions and of <= sessions:
            yield "originals", retention.entry_of(folder, _age_s(folder), why)
    for session in sorted(sessions):
        for folder in store.versions(session):
            yield "session", replace(retention.entry_of(folder, _age_s(folder), why), version=(session, folder.name))


def _page(store: Store, stem: str, why: str) -> Iterator[tuple[str, Entry]]:
    path = store.review / f"{stem}.html"
    if path.is_file():
        yield "page", retention.entry_of(path, _age_s(path), why)


def _left(store: Store, sessions: set[str]) -> Iterator[str]:
    for folder, of in _drops(store):
        if of & sessions and not of <= sessions:
            others = ", ".join(sorted(of - sessions)[:5])
            yield f"{folder}: holds recordings of {others}, too; take out by hand what is not theirs"
        if of & sessions and (folder / ORIGIN_RECORD).is_file():
            paths = readable_document_of(folder / ORIGIN_RECORD).get("paths", ())
            yield from (_lies(store, Path(path)) for path in paths if not _has_left(store, Path(path)))
    if sessions:
        yield "what was handed on with `neuroloom export` is not known to the store"


def _has_left(store: Store, path: Path) -> bool:
    """True for a place in the store where nothing is any more: what lay there is told of where it lies now."""
    return path.is_relative_to(store.root) and not path.exists()


def _lies(store: Store, path: Path) -> str:
    if path.is_relative_to(store.root):
        return f"{path}: was ingested where it lies, and lies there still"
    return f"{path}: was ingested where it lies, outside of the store"


def _refused(store: Store, subject: str) -> tuple[list[Path], list[str]]:
    """Folders of the quarantine, and of a `subject.toml`, that are this person's alone; and what is told of others."""
    theirs, left, unsaid, known = list[Path](), list[str](), list[str](), Subjects.of(store)
    for folder in _unpublished(store):
        where, codes = folder.relative_to(store.root).as_posix(), _whom(known, folder)
        if codes == {subject}:
            theirs.append(folder)
            left += [f"{path}: was refused where it lies" for path in _outside(folder)]
        elif subject in codes:
            others = ", ".join(sorted(codes - {subject})[:MOST_NAMED])
            left.append(f"{where}: speaks of {others}, too; take out by hand what is not theirs")
        elif not codes and folder.parent == store.quarantine:
            unsaid.append(folder.name)
    if unsaid:
        some = ", ".join(unsaid[:MOST_NAMED])
        left.append(f"{len(unsaid)} in quarantine that do not say whose they are ({some}): look at them by hand")
    return theirs, left


def _unpublished(store: Store) -> Iterator[Path]:
    """Folders of what was refused, and of each `subject.toml` that was taken up: no session tells of them."""
    yield from (path.parent for path in sorted(store.quarantine.glob(f"*/{REASON_RECORD}")))
    for path in sorted(store.originals.glob(f"*/{DROP_RECORD}")):
        if readable_document_of(path).get("name") in FILE_NAMES:
            yield path.parent


def _outside(folder: Path) -> list[Path]:
    """What was refused where it lies, and is there still."""
    path = Path(str(readable_document_of(folder / REASON_RECORD).get("path", "")))
    return [path] if not (folder / FILES).is_dir() and path.is_absolute() and os.path.exists(path) else []


def _record_in(folder: Path) -> dict[str, Any]:
    """What is written of what was refused, or accepted."""
    return readable_document_of(folder / REASON_RECORD) or readable_document_of(folder / DROP_RECORD)


def _whom(known: Subjects, folder: Path) -> set[str]:
    said = _record_in(folder)
    if (folder / FILES).is_dir():
        return _codes(known, [*_files_below(folder / FILES), Path(str(said.get("name", "")))], folder)
    outside = Path(str(said.get("path", "")))
    return _codes(known, [*_files_below(outside), outside], outside.parent)


def _in_inbox(store: Store, subject: str) -> Iterator[str]:
    known = Subjects.of(store)
    for name in inbox.names(store.inbox) if store.inbox.is_dir() else ():
        if subject in _codes(known, [store.inbox / name, *_files_below(store.inbox / name)], store.inbox):
            yield f"{store.inbox / name}: waits in the inbox, and is refused or ingested like any drop; take it out"


def _files_below(path: Path) -> list[Path]:
    """The file that `path` is, or those in the folder that it is and below; no links."""
    found = sorted(path.rglob("*")) if os.path.isdir(path) and not os.path.islink(path) else [path]
    return [file for file in found if os.path.isfile(file) and not os.path.islink(file)]


def _codes(known: Subjects, files: Iterable[Path], base: Path) -> set[str]:
    """Whom files speak of: by their names below `base`, and by what the lab has written beside them."""
    found: set[str] = set()
    for file in files:
        name = file.relative_to(base) if file.is_relative_to(base) else file
        found |= entities(name)["sub"] | known.named_in(["/".join(name.parts[-MOST_NAMED:])])
        if file.name == sidecar.FILE_NAME and os.path.isfile(file):
            for told in _SUBJECT.findall(file.read_text(encoding="utf-8", errors="replace")):
                found |= {told} if told in known.root else known.named_in([told]) or {told}
        elif file.name in FILE_NAMES and os.path.isfile(file):
            found |= set(_TABLE.findall(file.read_text(encoding="utf-8", errors="replace")))
    return found


def _drops(store: Store) -> Iterator[tuple[Path, set[str]]]:
    """Every folder of originals, and the sessions that came from it."""
    for folder in sorted(store.originals.iterdir()) if store.originals.is_dir() else ():
        said = readable_document_of(folder / DROP_RECORD) or readable_document_of(folder / ORIGIN_RECORD)
        yield folder, {str(session) for session in said.get("sessions", ())}


def _age_s(path: Path) -> float:
    return max(0.0, time.time() - path.stat().st_mtime)
