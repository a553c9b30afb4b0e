"""A person withdraws: everything in a store that comes from their recordings is found, and removed when told.

    runs         trained on a session of theirs, or gone on from such a run; whole, whoever else was in them: what a
                 network has learned cannot be taken out of it
    predictions  of their sessions, by runs that were not trained on them
    studies      whose teacher is a session of theirs
    derived      features of their sessions
    pages        of their sessions and of those runs
    originals    drops that hold nobody else
    sessions     every version, also under a name that was amended

Consent is marked withdrawn first, so that nothing new is derived meanwhile; of the person's entry in `subjects.json`
only the code and that are kept, and digests of what was removed (`removed.py`): the same recordings are refused when
they come in again, under whatever code. Sessions go last: whoever is interrupted and starts again still finds what came
from them. Every deletion is a line in `deleted.jsonl`, see `retention.py`.

What cannot be removed from here is told: drops that hold others, too; files that were ingested where they lay; what was
handed on with `neuroloom export`; Prefect's own history, which knows sessions by code.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from neuroloom.ingest import durable
from neuroloom.pipeline import removed, studying
from neuroloom.pipeline.care import retention
from neuroloom.pipeline.care.retention import Entry
from neuroloom.pipeline.catalog import DONE, Catalog, digests_in
from neuroloom.pipeline.documents import readable_document_of
from neuroloom.pipeline.drops.custody import DROP_RECORD
from neuroloom.pipeline.drops.origins import ORIGIN_RECORD
from neuroloom.pipeline.noting import note_new
from neuroloom.pipeline.review.text import file_stem
from neuroloom.pipeline.runs import preparing, running
from neuroloom.pipeline.store import AMENDED, Store, StoreError
from neuroloom.pipeline.subjects import Consent, Subject, Subjects


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
    if not sessions and subject not in Subjects.of(store).root:
        known = sorted({_subject_of(one) for one in store.session_ids(amended=True)} | set(Subjects.of(store).root))
        raise StoreError(f"{subject}: no such subject in {store.root}; there are: {', '.join(known[:20]) or 'none'}")
    runs = tuple(name for name in store.run_names() if _rests_on(store, name, set(sessions)))
    entries, left = list(_entries(store, subject, set(sessions), runs)), list(_left(store, set(sessions)))
    return Found(subject=subject, sessions=sessions, runs=runs, entries=tuple(entries), left=tuple(left))


def withdraw(store: Store, catalog: Catalog, subject: str, *, who: str = "") -> Found:
    """Remove what `derived_from` finds, and forget it in the catalog; gives what was removed."""
    found = derived_from(store, subject)
    removed.remember(store, subject, _contents(store, found.sessions), _mark(store, subject))
    # First: whoever is interrupted and starts again may find no session any more that tells which drops were theirs.
    for drop in catalog.drops(DONE):
        if drop.sessions and all(s in found.sessions or _subject_of(s) == subject for s in drop.sessions):
            catalog.forget_drop(drop.id)
    retention.clean(store, catalog, [entry for _, entry in found.entries], who=who)
    for name in found.runs:
        catalog.forget_run(name)
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


def _mark(store: Store, subject: str) -> date:
    """Of the person only this is kept: that there was a consent, and that it ended; gives when."""
    known, today = Subjects.of(store), date.today()
    consent = known[subject].consent
    withdrawn = min((consent and consent.withdrawn) or today, today)
    kept = Subject(consent=Consent(given=consent.given if consent else today, withdrawn=withdrawn))
    both = Subjects({**known.root, subject: kept})
    durable.write_json(store.subjects_file, both.model_dump(mode="json", exclude_defaults=True))
    store.subjects_file.chmod(0o600)
    return withdrawn


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


def _entries(store: Store, subject: str, sessions: set[str], runs: tuple[str, ...]) -> Iterator[tuple[str, Entry]]:
    why = f"withdrawn by {subject}"
    for name in (f"run-{file_stem(name)}" for name in runs):
        yield from _page(store, name, why)
    # A run that went on from others goes before them: what it rests on is told by them.
    for name in sorted(runs, key=lambda run: -len(preparing.runs_behind(store, run))):
        yield "run", retention.entry_of(store.run_folder(name), _age_s(store.run_folder(name)), why)
    for run in store.run_names():
        for session in sorted(sessions) if run not in runs else ():
            path = store.run_folder(run) / running.PREDICTED.format(session=session)
            if path.is_file():
                yield "prediction", retention.entry_of(path, _age_s(path), why)
    for path in sorted(store.derived.iterdir()) if store.derived.is_dir() else ():
        if path.name.rpartition("_")[0] in sessions:
            yield "features", retention.entry_of(path, _age_s(path), why)
    for session in sorted(sessions):
        yield from _page(store, file_stem(session), why)
    for path in sorted(store.staging.glob(f"{retention.DELETING}*")):  # of a removal that was cut short
        yield "half removed", retention.entry_of(path, _age_s(path), why)
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
            yield from (f"{path}: was ingested where it lies, outside of the store" for path in paths)
    if sessions:
        yield "what was handed on with `neuroloom export` is not known to the store"


def _drops(store: Store) -> Iterator[tuple[Path, set[str]]]:
    """Every folder of originals, and the sessions that came from it."""
    for folder in sorted(store.originals.iterdir()) if store.originals.is_dir() else ():
        said = readable_document_of(folder / DROP_RECORD) or readable_document_of(folder / ORIGIN_RECORD)
        yield folder, {str(session) for session in said.get("sessions", ())}


def _age_s(path: Path) -> float:
    return max(0.0, time.time() - path.stat().st_mtime)
