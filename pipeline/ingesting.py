"""One drop in, one published session out, or a quarantine with a reason a person can act on.

    drop -> recordings (own clocks) -> aligned session -> trials, spikes, LFP, quality -> sessions/<id>/vNNN
                                       or, where that session is there already, the same with these devices added

Nothing of a drop is altered: where it lies in the inbox, the inbox moves it, after this says "ingested".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable, manifest
from neuroloom.ingest.digest import digest_of_bytes, digest_of_file
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.pipeline.alignment import AlignmentError
from neuroloom.pipeline.assembly import length_s
from neuroloom.pipeline.identity import grouped, is_named
from neuroloom.pipeline.joining import joined
from neuroloom.pipeline.processing import process
from neuroloom.pipeline.reading import Drop, aligned, session_id, with_notes
from neuroloom.pipeline.store import Store

Progress = Callable[[str], None]
DEFAULT_SORTER = "spykingcircus2"
DROP_DIGITS = 12  # of the digest that tells which files came together


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
    sorter: str | None = DEFAULT_SORTER,
    progress: Progress | None = None,
    archive: bool = False,
) -> list[IngestResult]:
    """One result per path: a folder is a session, loose files whose names state the same session are one together.

    One that fails never stops the others.
    """
    results: dict[Path, IngestResult] = {}
    for group in grouped(paths):
        result = ingest_together(group, store, sorter=sorter, progress=progress, archive=archive)
        results |= {path: replace(result, path=str(path)) for path in group}
    return [results[path] for path in paths]


def ingest_path(path: Path, store: Store, **how: Any) -> IngestResult:
    """`ingest_together` of one file or folder."""
    return ingest_together([path], store, **how)


def ingest_together(
    paths: Sequence[Path],
    store: Store,
    *,
    sorter: str | None = DEFAULT_SORTER,
    progress: Progress | None = None,
    archive: bool = False,
) -> IngestResult:
    """A folder, or loose files of one session, published in the store.

    Where the session is published already, these devices join it in a new version. sorter: spikes are sorted where a
    device has a wideband signal and no units; None leaves that out. archive: copy the originals into the store.
    """
    say = progress or (lambda _: None)
    drop = Drop(paths=tuple(paths))
    try:
        say(f"{drop.name}: computing digests")
        digests = _digests(drop)
        known = published(store, digests.values())
        if known is not None:
            return _result(drop, "already", Session.open(known), known)
        session, before = _read(drop, store, say)
        session = process(session, sorter=sorter, progress=say)
        session = replace(session, sources=_with_digests(session.sources, digests))
        say(f"{session.id}: writing")
        folder = next_version(store, session.id)
        session.save(folder)
        if before is not None:
            lineage = {"follows": manifest.digest_of(before), "why": f"joined by {', '.join(sorted(digests))}"}
            manifest.amend(folder, lineage=lineage)
    except (AlignmentError, ValueError, OSError) as error:
        return _refuse(drop, store, str(error))
    if archive:
        _archive(drop, store, digests)
    return _result(drop, "ingested", Session.open(folder), folder)


def _read(drop: Drop, store: Store, say: Progress) -> tuple[Session, Path | None]:
    """The drop as a session of its own, or joined to the one that is published; and the version it follows."""
    recordings, notes = drop.recordings(say), drop.notes()
    say(f"{drop.name}: aligning {len(recordings)} devices")
    named = notes.subject is not None or is_named(recordings)
    versions = store.versions(session_id(drop, recordings, notes))
    if not versions and not named and (found := beside(recordings, store, notes.same_clock)) is not None:
        session, before = found
        return with_notes(session, drop), before
    if not versions:
        session = aligned(recordings, notes)
        sources = tuple({**source, "named": named} for source in session.sources)
        return with_notes(replace(session, sources=sources), drop), None
    there = Session.open(versions[-1])
    try:
        session = joined(there, recordings, same_clock=notes.same_clock)
    except AlignmentError as error:
        raise AlignmentError(
            f"{error}; {there.id} is there already, of {_told(there)}: another session needs another name, which a "
            "session.toml in a folder with it can give"
        ) from error
    return with_notes(session, drop), versions[-1]


def beside(
    recordings: Sequence[Recording], store: Store, same_clock: Sequence[Sequence[str]] = ()
) -> tuple[Session, Path] | None:
    """The session that recordings which say nothing of their subject were made beside, joined, and its version.

    Only sessions that were not named either and ran at the same time come into question, and only pulses that both
    recorded prove it: acquisition dates alone would mix two people recorded in one morning.
    """
    for folder in _running_at(recordings, store):
        try:
            session = joined(Session.open(folder), recordings, same_clock=same_clock)
        except AlignmentError:
            continue
        clocks = {recording.clock for recording in recordings}
        if all(m.method.startswith("pulses") for m in session.clock_maps if m.source in clocks):
            return session, folder
    return None


def _running_at(recordings: Sequence[Recording], store: Store) -> Iterator[Path]:
    """The newest versions of unnamed sessions whose time overlaps that of these recordings."""
    spans = [(r.start, r.start + timedelta(seconds=length_s(r))) for r in recordings if r.start is not None]
    for name in store.session_ids() if spans else ():
        folder = store.latest(name)
        said = manifest.read(folder)
        if any(source.get("named", True) for source in said["sources"]) or not said["start"]:
            continue
        start = datetime.fromisoformat(said["start"])
        stop = start + timedelta(seconds=max((s["start_s"] + s["duration_s"] for s in said["streams"]), default=0.0))
        if any((start.tzinfo is None) == (a.tzinfo is None) and a <= stop and start <= b for a, b in spans):
            yield folder


def _told(session: Session) -> str:
    files = [str(name) for source in session.sources for name in source["files"]]
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return f"{', '.join(files[:3])}{more} from {session.start or 'no date'}"


def published(store: Store, digests: Iterable[str]) -> Path | None:
    """The newest published session that holds all of these contents."""
    wanted = set(digests)
    for path in sorted(store.sessions.glob(f"*/v*/{manifest.FILE_NAME}"), reverse=True):
        held = {d for source in manifest.read(path.parent)["sources"] for d in source["digests"].values()}
        if wanted <= held:
            return path.parent
    return None


def next_version(store: Store, session_id: str) -> Path:
    """The folder of a session's next version; versions that are there stay."""
    folder = store.session_folder(session_id)
    numbers = [int(v.name[1:]) for v in folder.glob("v*") if v.name[1:].isdigit()] if folder.is_dir() else []
    return folder / f"v{max(numbers, default=0) + 1:03d}"


def _digests(drop: Drop) -> dict[str, str]:
    return {file.relative_to(drop.root).as_posix(): digest_of_file(file) for file in drop.files()}


def _with_digests(sources: Sequence[Mapping[str, Any]], digests: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    """Each new source with the digests of its files, which several clocks may share, and which drop it came with.

    Sidecars go with the first. Sources that have their digests already came with an earlier drop.
    """
    drop = digest_of_bytes("\n".join(sorted(digests.values())).encode()).partition(":")[2][:DROP_DIGITS]
    named = [
        dict(source)
        if "digests" in source
        else {
            **source,
            "drop": drop,
            "digests": {key: d for key, d in digests.items() if key.rpartition("/")[2] in source["files"]},
        }
        for source in sources
    ]
    new = [source for source in named if source["drop"] == drop]
    told = {key for source in new for key in source["digests"]}
    new[0]["digests"] |= {key: digest for key, digest in digests.items() if key not in told}
    return tuple(named)


def _refuse(drop: Drop, store: Store, reason: str) -> IngestResult:
    line = " ".join(reason.split())
    folder = store.quarantine / drop.name
    folder.mkdir(parents=True, exist_ok=True)
    path = str(drop.paths[0])
    durable.write_json(folder / "reason.json", {"path": path, "reason": line})
    return IngestResult(path=path, state="quarantined", reason=line)


def _archive(drop: Drop, store: Store, digests: Mapping[str, str]) -> None:
    for name in digests:
        durable.copy_file(drop.root / name, store.originals / drop.paths[0].stem / name)


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
