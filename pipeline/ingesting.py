"""One drop in, one published session out, or a quarantine with a reason a person can act on.

    drop -> recordings (own clocks) -> aligned session -> trials, spikes, LFP, quality -> sessions/<id>/vNNN
                                       or, where that session is there already, the same with these devices added

Nothing of a drop is altered: where it lies in the inbox, the inbox moves it, after this says "ingested".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable, manifest
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.pipeline import origins, subjects
from neuroloom.pipeline.alignment import AlignmentError
from neuroloom.pipeline.assembly import length_s
from neuroloom.pipeline.catalog import Catalog, note_new
from neuroloom.pipeline.config import AS_SET, Settings
from neuroloom.pipeline.identity import grouped
from neuroloom.pipeline.joining import joined
from neuroloom.pipeline.preparing import completed, digests_of, opened, said_named
from neuroloom.pipeline.privacy import Privacy, privacy_of
from neuroloom.pipeline.reading import Drop, aligned, session_id, with_notes
from neuroloom.pipeline.store import Store

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """What became of one path; its fields are those of `neuroloom ingest --json`."""

    path: str
    state: str
    session: str | None = None
    file: str | None = None
    format: str | None = None
    reason: str | None = None
    streams: list[dict[str, Any]] = field(default_factory=list)
    sync: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def ingest_drop(
    paths: Sequence[Path],
    store: Store,
    *,
    sorter: str | None = AS_SET,
    progress: Progress | None = None,
    archive: bool = False,
    in_place: bool = False,
) -> list[IngestResult]:
    """One result per path: a folder is a session, loose files whose names state the same session are one together.

    One that fails never stops the others.
    """
    results = {path: _taken_up(path, store) for path in paths if path.name in subjects.FILE_NAMES}
    for group in grouped(path for path in paths if path not in results):
        result = ingest_together(group, store, sorter=sorter, progress=progress, archive=archive, in_place=in_place)
        results |= {path: replace(result, path=str(path)) for path in group}
    return [results[path] for path in paths]


def _taken_up(path: Path, store: Store) -> IngestResult:
    """What became of a `subject.toml`."""
    try:
        subjects.take_up(store, path)
    except FormatError as error:
        return _refuse(Drop(paths=(path,)), store, str(error))
    return IngestResult(path=str(path), state="ingested", format="subjects")


def ingest_path(path: Path, store: Store, **how: Any) -> IngestResult:
    """`ingest_together` of one file or folder."""
    return ingest_together([path], store, **how)


def ingest_together(
    paths: Sequence[Path],
    store: Store,
    *,
    sorter: str | None = AS_SET,
    progress: Progress | None = None,
    archive: bool = False,
    in_place: bool = False,
) -> IngestResult:
    """A folder, or loose files of one session, published in the store.

    Where the session is published already, these devices join it in a new version. sorter: spikes are sorted where a
    device has a wideband signal and no units; as the settings say, by name, or None, which leaves that out.
    archive: copy the originals into the store.
    in_place: the files stay where they are, so where that is has to be remembered.
    """
    say = progress or (lambda _: None)
    drop = Drop(paths=tuple(paths))
    try:
        say(f"{drop.name}: computing digests")
        digests = digests_of(drop)
        known = published(store, digests.values())
        if known is not None:
            return _result(drop, "already", Session.open(known), known)
        session, before, private = _read(drop, store, say)
        session = completed(session, drop, store, private, digests, sorter, say)
        say(f"{session.id}: writing")
        folder = next_version(store, session.id)
        session.save(folder)
        if before is not None:
            lineage = {"follows": manifest.digest_of(before), "why": f"joined by {private.text(drop.name)}"}
            manifest.amend(folder, lineage=lineage)
        _note_consent(folder, session.subject, store)
    except (AlignmentError, ValueError, OSError) as error:
        return _refuse(drop, store, str(error))
    if archive:
        _archive(drop, store)
    if in_place:
        origins.note(store, drop.paths, digests, session.id)
    return _result(drop, "ingested", Session.open(folder), folder)


def _read(drop: Drop, store: Store, say: Progress) -> tuple[Session, Path | None, Privacy]:
    """The drop as a session of its own, or joined to a published one; the version it follows; whose it is."""
    recordings, notes, private, named = opened(drop, store, say)
    say(f"{drop.name}: aligning {len(recordings)} devices")
    versions = store.versions(session_id(drop, recordings, notes))
    if not versions and not named and (found := beside(recordings, store, private, notes.same_clock)) is not None:
        session, before = found
        return with_notes(session, drop), before, private
    if not versions:
        return with_notes(said_named(aligned(recordings, notes), named), drop), None, private
    there = Session.open(versions[-1])
    try:
        session = joined(there, recordings, same_clock=notes.same_clock)
    except AlignmentError as error:
        raise AlignmentError(
            f"{error}; {there.id} is there already, of {_told(there)}: another session needs another name, which a "
            "session.toml in a folder with it can give"
        ) from error
    return with_notes(session, drop), versions[-1], private


def beside(
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
        if all(m.method.startswith("pulses") for m in session.clock_maps if m.source in clocks):
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


def published(store: Store, digests: Iterable[str]) -> Path | None:
    """The newest published version that holds all of these contents."""
    catalog = Catalog.of(store)
    try:
        note_new(store, catalog)
        found = catalog.holding(digests)
    finally:
        catalog.close()
    current = set(store.session_ids())  # an amended session is published under its right name
    there = [store.session_folder(name) / version for name, version in found if name in current]
    still = [folder for folder in there if folder in store.versions(folder.parent.name)]
    return still[-1] if still else None


def next_version(store: Store, session_id: str) -> Path:
    """The folder of a session's next version; versions that are there stay."""
    folder = store.session_folder(session_id)
    numbers = [int(v.name[1:]) for v in folder.glob("v*") if v.name[1:].isdigit()] if folder.is_dir() else []
    return folder / f"v{max(numbers, default=0) + 1:03d}"


def _note_consent(folder: Path, code: str, store: Store) -> None:
    """What the subject has agreed to, beside the session; dates of it stay in the store."""
    consent = subjects.Subjects.of(store)[code].consent
    if consent is not None:
        manifest.amend(folder, consent={"scope": list(consent.scope), "document": consent.document})


def _refuse(drop: Drop, store: Store, reason: str) -> IngestResult:
    line = " ".join(reason.split())
    folder = store.quarantine / drop.name
    folder.mkdir(parents=True, exist_ok=True)
    path = str(drop.paths[0])
    durable.write_json(folder / "reason.json", {"path": path, "reason": line})
    return IngestResult(path=path, state="quarantined", reason=line)


def _archive(drop: Drop, store: Store) -> None:
    for file in drop.files():
        durable.copy_file(file, store.originals / drop.paths[0].stem / file.relative_to(drop.root))


def _result(drop: Drop, state: str, session: Session, folder: Path) -> IngestResult:
    summary = session.summary()
    return IngestResult(
        path=str(drop.paths[0]),
        state=state,
        session=session.id,
        file=str(folder / "session.nwb"),
        format=", ".join(dict.fromkeys(str(source["format"]) for source in session.sources)),
        streams=summary["streams"],
        sync=summary["sync"],
    )
