"""Inside the box: from the files of a drop to a staged session. Reads drop and store, writes one folder.

    surveyed   which sessions a drop holds, which files each has, and their digests
    made       one of them, whole, in a folder of its own; where its session is published already, joined to that
    remade     a session anew from all of its originals

Nothing here is published, moved or noted: that is done outside, of what is found in the folder. What goes in and what
comes out is JSON, so that it can pass through the wall of `box.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable, manifest
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.pipeline.clocks.alignment import AlignmentError
from neuroloom.pipeline.clocks.discovery import proves_together
from neuroloom.pipeline.dates import days_of, shift_in, span_in
from neuroloom.pipeline.drops.again import objection
from neuroloom.pipeline.drops.assembly import length_s
from neuroloom.pipeline.drops.identity import entities
from neuroloom.pipeline.drops.joining import joined
from neuroloom.pipeline.drops.preparing import completed, digests_of, opened, part_of, prepared, said_named
from neuroloom.pipeline.drops.privacy import Privacy
from neuroloom.pipeline.drops.reading import Drop, aligned, clocks_of, named_from, session_id, with_notes
from neuroloom.pipeline.drops.sidecar import SessionNotes
from neuroloom.pipeline.store import Store

Progress = Callable[[str], None]
STAGED = "session"  # the folder that a session is written to, below the one it is given


def surveyed(paths: Sequence[str], progress: Progress) -> list[dict[str, Any]]:
    """Per session of a drop {"paths", "within", "files", "recordings": names of each one's files, "digests": by name};
    {..., "refused": why} for a faulty one.

    Raises FormatError where the drop as a whole is at fault.
    """
    found = []
    for part in Drop(paths=tuple(Path(path) for path in paths)).parts():
        progress(f"{part.name}: computing digests")
        try:
            each = part.recording_files()
            files = dict.fromkeys([*chain.from_iterable(each), *part.sidecars()])
            names = [[named_from(file, part.root).as_posix() for file in of] for of in each]
            told = {"files": [str(file) for file in files], "recordings": names}
            found.append({**written(part), **told, "digests": digests_of(files, part.root)})
        except (ValueError, OSError) as error:
            if durable.is_of_disk(error):
                raise
            found.append({**written(part), "refused": str(error)})
    return found


def made(
    part: Mapping[str, Any],
    digests: Mapping[str, str],
    store: str,
    folder: str,
    sorter: str | None,
    beside: Sequence[str] | None,
    progress: Progress,
) -> dict[str, Any]:
    """One session of a drop in `folder`/session; gives {"session", "subject", "follows", "why"}.

    beside: sessions to which recordings that name nobody may belong. Where it is None and they could belong to one,
    nothing is made and {"days"} says when they ran, by the marks of `dates.py`: which sessions did, too, is asked
    outside.
    follows: the version it was joined to, None for a new session. Raises FormatError, AlignmentError and what writing
    raises, in words that a person can act on.
    """
    drop, place = drop_of(part), Store(Path(store))
    found = opened(drop, place, progress)
    if beside is None and (days := _days_of(drop, place, *found)):
        return {"days": days}
    session, before, private = _joined(drop, place, *found, beside or (), progress)
    session = completed(session, drop, place, private, digests, sorter, progress)
    progress(f"{session.id}: writing")
    session.save(Path(folder) / STAGED, point=True)
    follows = None if before is None else before.name
    why = "" if before is None else f"joined by {private.text(drop.name)}"
    return {"session": session.id, "subject": session.subject, "follows": follows, "why": why}


def remade(
    origins: Sequence[Sequence[str]],
    session: str,
    store: str,
    folder: str,
    sorter: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """A session anew from the paths of its drops, in their order, in `folder`/session; gives {"session"}."""
    place = Store(Path(store))
    there: Session | None = None
    for paths in origins:
        drop = part_of(Drop(paths=tuple(Path(path) for path in paths)), place, session)
        there = prepared(drop, place, sorter=sorter, progress=progress, there=there)
    if there is None:
        raise ValueError(f"{session}: no originals")
    there.save(Path(folder) / STAGED, point=True)
    return {"session": there.id}


def written(drop: Drop) -> dict[str, Any]:
    """A drop as JSON has it."""
    within = None if drop.within is None else str(drop.within)
    return {"paths": [str(p) for p in drop.paths], "within": within, "strict": drop.strict}


def drop_of(part: Mapping[str, Any]) -> Drop:
    """What `written` says."""
    within = part["within"]
    paths = tuple(Path(p) for p in part["paths"])
    return Drop(paths=paths, within=None if within is None else Path(within), strict=part["strict"])


def _days_of(
    drop: Drop, store: Store, recordings: Sequence[Recording], notes: SessionNotes, private: Privacy, named: bool
) -> list[str]:
    """The days on which recordings ran that say nothing of their subject, and whose session is not there by name."""
    if named or store.versions(session_id(drop, recordings, notes)):
        return []
    return sorted({day for span in _spans(recordings, private) for day in days_of(store, *span)})


def _joined(
    drop: Drop,
    store: Store,
    recordings: Sequence[Recording],
    notes: SessionNotes,
    private: Privacy,
    named: bool,
    beside: Sequence[str],
    say: Progress,
) -> tuple[Session, Path | None, Privacy]:
    """The drop as a session of its own, or joined to a published one; the version it follows; whose it is."""
    say(f"{drop.name}: {clocks_of(recordings)}")
    versions = store.versions(session_id(drop, recordings, notes))
    if not versions and not named and (found := _beside(recordings, store, private, beside, notes)) is not None:
        session, before = found
        return with_notes(said_named(session, named), drop), before, private
    if not versions:
        return with_notes(said_named(aligned(recordings, notes), named), drop), None, private
    there = Session.open(versions[-1])
    another = f"{there.id} is there already, of {_told(there)}: another session needs another name, which a"
    ses_told = notes.session is not None or any(entities(recording.files[0])["ses"] for recording in recordings)
    if what := objection(there, recordings, subject_told=named, session_told=ses_told):
        raise AlignmentError(f"{drop.name}: {what}; {another} session.toml in a folder with it can give")
    try:
        session = joined(there, recordings, same_clock=notes.same_clock, start_uncertainty_s=notes.start_uncertainty_s)
    except AlignmentError as error:
        raise AlignmentError(f"{error}; {another} session.toml in a folder with it can give") from error
    return with_notes(session, drop), versions[-1], private


def _beside(
    recordings: Sequence[Recording], store: Store, private: Privacy, sessions: Sequence[str], notes: SessionNotes
) -> tuple[Session, Path] | None:
    """The session that recordings which say nothing of their subject were made beside, joined, and its version.

    Of these sessions only those that were not named either and ran at the same time come into question, and only pulses
    that both recorded prove it: acquisition dates alone would mix two people recorded in one morning.
    """
    spans = _spans(recordings, private)
    for folder, shift in _running_at(spans, sessions, store):
        true = (private.true_date(r.start) for r in recordings)
        moved = [replace(r, start=at and at + shift) for r, at in zip(recordings, true, strict=True)]
        try:
            session = joined(Session.open(folder), moved, same_clock=notes.same_clock)
        except AlignmentError:
            continue
        clocks = {recording.clock for recording in recordings}
        maps = [m for m in session.clock_maps if m.source in clocks]
        if len(maps) == len(clocks) and all(proves_together(m) for m in maps):
            return session, folder
    return None


def _spans(recordings: Sequence[Recording], private: Privacy) -> list[tuple[datetime, datetime]]:
    """When they truly began and ended, of those with a date."""
    starts = [(private.true_date(recording.start), recording) for recording in recordings]
    return [(at, at + timedelta(seconds=length_s(recording))) for at, recording in starts if at is not None]


def _running_at(
    spans: Sequence[tuple[datetime, datetime]], sessions: Sequence[str], store: Store
) -> Iterator[tuple[Path, timedelta]]:
    """The newest versions of unnamed sessions whose true time overlaps one of these, and how their dates are moved."""
    for folder in (versions[-1] for name in sessions if (versions := store.versions(name))):
        said = manifest.read(folder)
        named = any(source.get("named", True) for source in said["sources"])
        span = None if named else span_in(store, said)
        if span is not None and any(_overlap(span, other) for other in spans):
            yield folder, shift_in(store, said)


def _overlap(one: tuple[datetime, datetime], other: tuple[datetime, datetime]) -> bool:
    """Whether two spans meet; one with a zone and one without are never known to."""
    alike = (one[0].tzinfo is None) == (other[0].tzinfo is None)
    return alike and other[0] <= one[1] and one[0] <= other[1]


def _told(session: Session) -> str:
    files = [str(name) for source in session.sources for name in source["files"]]
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return f"{', '.join(files[:3])}{more} from {session.start or 'no date'}"
