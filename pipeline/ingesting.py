"""One drop in, one published session out, or a quarantine with a reason a person can act on.

    files -> recordings (own clocks) -> aligned session -> trials, spikes, LFP, quality -> sessions/<id>/vNNN

Nothing of a drop is altered: where it lies in the inbox, the inbox moves it, after this says "ingested".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from neuroloom.ingest import naming_files, read
from neuroloom.ingest.folders import companions_of
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Signal, Stream, Units
from neuroloom.pipeline.alignment import AlignmentError
from neuroloom.pipeline.assembly import align
from neuroloom.pipeline.sidecar import FILE_NAME, SessionNotes
from neuroloom.pipeline.store import Store

Progress = Callable[[str], None]
SIDECARS = (FILE_NAME, "task.toml")
DEFAULT_SORTER = "spykingcircus2"


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """What became of one drop; its fields are those of `neuroloom ingest --json`."""

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


def files_of(path: Path) -> tuple[Path, ...]:
    """Every file that belongs to the recordings at `path`, sidecars included."""
    sidecars = [path / name for name in SIDECARS if path.is_dir() and (path / name).is_file()]
    return (*companions_of(path), *sidecars)


def ingest_drop(
    paths: Sequence[Path],
    store: Store,
    *,
    sorter: str | None = DEFAULT_SORTER,
    progress: Progress | None = None,
    archive: bool = False,
) -> list[IngestResult]:
    """Each path becomes a session of its own; one that fails never stops the others."""
    return [ingest_path(path, store, sorter=sorter, progress=progress, archive=archive) for path in paths]


def ingest_path(
    path: Path,
    store: Store,
    *,
    sorter: str | None = DEFAULT_SORTER,
    progress: Progress | None = None,
    archive: bool = False,
) -> IngestResult:
    """A file, or a folder whose recordings are one session, published in the store.

    sorter: spikes are sorted where there is a wideband signal and no units yet; None leaves that out.
    archive: copy the originals into the store.
    """
    say = progress or (lambda _: None)
    try:
        say(f"{path.name}: computing digests")
        digests = _digests(path)
        known = published(store, digests.values())
        if known is not None:
            return _result(path, "already", Session.open(known), known)
        session = read_session(path, say)
        _not_another(session, path, store)
        session = process(session, sorter=sorter, progress=say)
        session = replace(session, sources=_with_digests(session.sources, digests))
        say(f"{session.id}: writing")
        folder = next_version(store, session.id)
        session.save(folder)
    except (FormatError, AlignmentError, ValueError, OSError) as error:
        return _refuse(path, store, str(error))
    if archive:
        _archive(path, store, digests)
    return _result(path, "ingested", Session.open(folder), folder)


def read_session(path: Path, progress: Progress | None = None) -> Session:
    """The recordings at `path`, aligned; still lazy, nothing is written.

    In a folder, `session.toml` says whose it is and where electrodes lie (see `sidecar.py`), `task.toml` what the
    event codes mean (see `ingest/task.py`).
    """
    say = progress or (lambda _: None)
    recordings: list[Recording] = []
    for file in naming_files(path):
        say(f"{path.name}: reading {file.name}")
        recordings += read(file)
    folder = path if path.is_dir() else path.parent
    notes = SessionNotes.beside(folder) if path.is_dir() else SessionNotes()
    say(f"{path.name}: aligning {len(recordings)} devices")
    session = align(
        recordings,
        subject=notes.subject,
        session=notes.session,
        task=notes.task,
        run=notes.run,
        reference=notes.reference,
        same_clock=notes.same_clock,
        start_uncertainty_s=notes.start_uncertainty_s,
    )
    session = _with_areas(session, notes.areas, folder / FILE_NAME)
    if path.is_dir() and (folder / "task.toml").is_file():
        session = _with_trials(session, folder / "task.toml")
    return session


def process(session: Session, *, sorter: str | None, progress: Progress | None = None) -> Session:
    """Spikes and LFP from every wideband signal, the quality of every stream, and what else speaks for its clocks."""
    from neuroloom.ingest.quality import quality
    from neuroloom.pipeline.crosschecks import checked

    say = progress or (lambda _: None)
    added: list[Stream] = []
    has_units = any(isinstance(s, Units) and s.is_sorted for s in session.streams)
    has_lfp = any(s.modality == "lfp" for s in session.streams)
    for stream in session.streams:
        if not (isinstance(stream, Signal) and stream.modality == "wideband" and stream.n_samples):
            continue
        if sorter is not None and not has_units:
            from neuroloom.ingest.sorting import sort

            say(f"{session.id}: sorting {stream.name} with {sorter}")
            added.append(replace(sort(stream, sorter=sorter), name=f"{stream.name} units", device=stream.device))
        if not has_lfp and stream.rate_hz > 2000:
            from neuroloom.ingest.lfp import extract_lfp

            added.append(replace(extract_lfp(stream), name=f"{stream.name} lfp", device=stream.device))
    session = replace(session, streams=(*session.streams, *added))
    say(f"{session.id}: quality")
    session = replace(session, quality=quality(session.streams))
    if not session.clock_maps:
        return session
    say(f"{session.id}: checking clocks")
    return checked(session)


def published(store: Store, digests: Iterable[str]) -> Path | None:
    """The newest published session that holds exactly these contents."""
    from neuroloom.ingest import manifest as manifests

    wanted = set(digests)
    for manifest in sorted(store.sessions.glob("*/v*/manifest.json"), reverse=True):
        held = {d for source in manifests.read(manifest.parent)["sources"] for d in source["digests"].values()}
        if held == wanted:
            return manifest.parent
    return None


def _not_another(session: Session, path: Path, store: Store) -> None:
    """Raise FormatError where other recordings are published under this name: versions are of the same ones."""
    versions = store.versions(session.id)
    if not versions:
        return
    with Session.open(versions[-1]) as there:
        held = {file for source in there.sources for file in source["files"]}
        same_start = None in (there.start, session.start) or there.start == session.start
        if same_start and held & {file for source in session.sources for file in source["files"]}:
            return
        raise FormatError(
            f"{path}: {session.id} is there already, of {', '.join(sorted(held)[:3])} from {there.start or 'no date'}; "
            "devices of one session belong in one folder; another session needs another name, in a session.toml there"
        )


def next_version(store: Store, session_id: str) -> Path:
    """The folder of a session's next version; versions that are there stay."""
    folder = store.session_folder(session_id)
    numbers = [int(v.name[1:]) for v in folder.glob("v*") if v.name[1:].isdigit()] if folder.is_dir() else []
    return folder / f"v{max(numbers, default=0) + 1:03d}"


def _digests(path: Path) -> dict[str, str]:
    from neuroloom.ingest.digest import digest_of_file

    root = path if path.is_dir() else path.parent
    return {file.relative_to(root).as_posix(): digest_of_file(file) for file in files_of(path)}


def _with_digests(sources: Sequence[Mapping[str, Any]], digests: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    """Each source with the digests of its files, which several clocks may share; sidecars go with the first."""
    named = [
        dict(source) | {"digests": {key: d for key, d in digests.items() if key.rpartition("/")[2] in source["files"]}}
        for source in sources
    ]
    told = {key for source in named for key in source["digests"]}
    named[0]["digests"] |= {key: digest for key, digest in digests.items() if key not in told}
    return tuple(named)


def _with_areas(session: Session, areas: Mapping[str, str | tuple[str, ...]], path: Path) -> Session:
    """The brain area per channel or unit, from `[areas]`: stream = "V1", or stream = ["V1", "V1", "M1"]."""
    rows = {s.name: _n_rows(s) for s in session.streams if isinstance(s, Signal | Units)}
    placed: dict[str, Stream] = {}
    for stream in session.streams:
        if stream.name not in areas or stream.name not in rows:
            continue
        given, n_rows = areas[stream.name], rows[stream.name]
        each = (given,) * n_rows if isinstance(given, str) else given
        if len(each) != n_rows:
            raise FormatError(
                f"{path}: [areas] {stream.name}: {len(each)} areas for {n_rows} channels; one each is wanted"
            )
        placed[stream.name] = replace(stream, table=dict(stream.table) | {"area": each})
    unknown = sorted(set(areas) - set(rows))
    if unknown:
        raise FormatError(f"{path}: [areas] names {unknown[0]!r}; there are {', '.join(rows) or 'no signals or units'}")
    return replace(session, streams=tuple(placed.get(stream.name, stream) for stream in session.streams))


def _n_rows(stream: Signal | Units) -> int:
    return len(stream.channel_names) if isinstance(stream, Signal) else len(stream.unit_names)


def _with_trials(session: Session, path: Path) -> Session:
    from neuroloom.ingest.task import Task

    task = Task.read(path)
    for stream in session.streams:
        if isinstance(stream, Events) and stream.labels and task.knows(stream):
            return replace(session, streams=(*session.streams, replace(task.trials(stream), device=stream.device)))
    names = [s.name for s in session.streams if isinstance(s, Events)]
    raise FormatError(f"{path}: none of its codes is in the events {names}; one stream must hold them")


def _refuse(path: Path, store: Store, reason: str) -> IngestResult:
    from neuroloom.ingest.durable import write_json

    line = " ".join(reason.split())
    folder = store.quarantine / path.name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "reason.json", {"path": str(path), "reason": line})
    return IngestResult(path=str(path), state="quarantined", reason=line)


def _archive(path: Path, store: Store, digests: Mapping[str, str]) -> None:
    from neuroloom.ingest.durable import copy_file

    root = path if path.is_dir() else path.parent
    for name in digests:
        copy_file(root / name, store.originals / path.stem / name)


def _result(path: Path, state: str, session: Session, folder: Path) -> IngestResult:
    summary = session.summary()
    return IngestResult(
        path=str(path),
        state=state,
        session=session.id,
        file=str(folder / "session.nwb"),
        format=", ".join(dict.fromkeys(str(source["format"]) for source in session.sources)),
        streams=summary["streams"],
        sync=summary["sync"],
    )


__all__ = ["IngestResult", "files_of", "ingest_drop", "ingest_path", "process", "published", "read_session"]
