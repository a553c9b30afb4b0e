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
from neuroloom.pipeline.config import Settings
from neuroloom.pipeline.drops.assembly import length_s
from neuroloom.pipeline.drops.joining import joined
from neuroloom.pipeline.drops.preparing import completed, digests_of, opened, part_of, prepared, said_named
from neuroloom.pipeline.drops.privacy import Privacy, privacy_of
from neuroloom.pipeline.drops.reading import Drop, aligned, clocks_of, named_from, session_id, with_notes
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
    part: Mapping[str, Any], digests: Mapping[str, str], store: str, folder: str, sorter: str | None, progress: Progress
) -> dict[str, Any]:
    """One session of a drop in `folder`/session; gives {"session", "subject", "follows", "why"}.

    follows: the version it was joined to, None for a new session. Raises FormatError, AlignmentError and what writing
    raises, in words that a person can act on.
    """
    drop, place = drop_of(part), Store(Path(store))
    session, before, private = _read(drop, place, progress)
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


def _read(drop: Drop, store: Store, say: Progress) -> tuple[Session, Path | None, Privacy]:
    """The drop as a session of its own, or joined to a published one; the version it follows; whose it is."""
    recordings, notes, private, named = opened(drop, store, say)
    say(f"{drop.name}: {clocks_of(recordings)}")
    versions = store.versions(session_id(drop, recordings, notes))
    if not versions and not named and (found := _beside(recordings, store, private, notes.same_clock)) is not None:
        session, before = found
        return with_notes(session, drop), before, private
    if not versions:
        return with_notes(said_named(aligned(recordings, notes), named), drop), None, private
    there = Session.open(versions[-1])
    try:
        session = joined(there, recordings, same_clock=notes.same_clock, start_uncertainty_s=notes.start_uncertainty_s)
    except AlignmentError as error:
        raise AlignmentError(
            f"{error}; {there.id} is there already, of {_told(there)}: another session needs another name, which a "
            "session.toml in a folder with it can give"
        ) from error
    return with_notes(session, drop), versions[-1], private


def _beside(
    recordings: Sequence[Recording], store: Store, private: Privacy, same_clock: Sequence[Sequence[str]] = ()
) -> tuple[Session, Path] | None:
    """The session that recordings which say nothing of their subject were made beside, joined, and its version.

    Only sessions that were not named either and ran at the same time come into question, and only pulses that both
    recorded prove it: acquisition dates alone would mix two people recorded in one morning.
    """
    for folder, theirs in _running_at([private.true_date(r.start) for r in recordings], recordings, store):
        moved = [replace(r, start=theirs.date(private.true_date(r.start))) for r in recordings]
        try:
            session = joined(Session.open(folder), moved, same_clock=same_clock)
        except AlignmentError:
            continue
        clocks = {recording.clock for recording in recordings}
        if all(proves_together(m) for m in session.clock_maps if m.source in clocks):
            return session, folder
    return None


def _running_at(
    starts: Sequence[datetime | None], recordings: Sequence[Recording], store: Store
) -> Iterator[tuple[Path, Privacy]]:
    """The newest versions of unnamed sessions whose true time overlaps that of these recordings."""
    spans = [(s, s + timedelta(seconds=length_s(r))) for s, r in zip(starts, recordings, strict=True) if s is not None]
    settings = Settings.of(store).privacy
    for name in store.session_ids() if spans else ():
        folder = store.latest(name)
        said = manifest.read(folder)
        if any(source.get("named", True) for source in said["sources"]) or not said["start"]:
            continue
        theirs = privacy_of(store, settings, said["subject"], ())
        start = theirs.true_date(datetime.fromisoformat(said["start"]))
        lasts = timedelta(seconds=max((s["start_s"] + s["duration_s"] for s in said["streams"]), default=0.0))
        if start is not None and any(
            (start.tzinfo is None) == (a.tzinfo is None) and a <= start + lasts and start <= b for a, b in spans
        ):
            yield folder, theirs


def _told(session: Session) -> str:
    files = [str(name) for source in session.sources for name in source["files"]]
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return f"{', '.join(files[:3])}{more} from {session.start or 'no date'}"
