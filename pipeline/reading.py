"""From the files of a drop to recordings, and from recordings to a session: only headers are read, nothing is written.

drop (a folder, or loose files of one session)
  -> recordings, each on its own clock
  -> aligned session                     `session.toml` says whose it is, which devices share a clock, where they lie
  -> trials                              `task.toml` says what the event codes mean
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from neuroloom.ingest import naming_files, read
from neuroloom.ingest.folders import companions_of
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Signal, Stream, Units
from neuroloom.pipeline import subjects
from neuroloom.pipeline.assembly import align
from neuroloom.pipeline.identity import identity
from neuroloom.pipeline.sidecar import FILE_NAME, SessionNotes

Progress = Callable[[str], None]
TASK_FILE = "task.toml"
SIDECARS = (FILE_NAME, TASK_FILE, *subjects.FILE_NAMES)


@dataclass(frozen=True, kw_only=True)
class Drop:
    """What was dropped together and is one session: a folder, or loose files.

    folder: where sidecars are looked for; None for loose files, beside which anything may lie.
    """

    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The name it goes by in messages."""
        return self.paths[0].name

    @property
    def folder(self) -> Path | None:
        """The folder, where it is one."""
        return self.paths[0] if len(self.paths) == 1 and self.paths[0].is_dir() else None

    @property
    def root(self) -> Path:
        """What the files' names are relative to."""
        return self.folder or self.paths[0].parent

    def files(self) -> tuple[Path, ...]:
        """Every file of its recordings, sidecars included. Raises FormatError."""
        found = [file for path in self.paths for file in companions_of(path)]
        if self.folder is not None:
            found += [self.folder / name for name in SIDECARS if (self.folder / name).is_file()]
        return tuple(dict.fromkeys(found))

    def recordings(self, progress: Progress = lambda _: None) -> list[Recording]:
        """One per clock and file. Raises FormatError."""
        found: list[Recording] = []
        for path in self.paths:
            for file in naming_files(path):
                progress(f"{self.name}: reading {file.name}")
                found += read(file)
        return found

    def notes(self) -> SessionNotes:
        """What its `session.toml` says."""
        return SessionNotes.beside(self.folder) if self.folder is not None else SessionNotes()


def session_id(drop: Drop, recordings: Sequence[Recording], notes: SessionNotes) -> str:
    """The id of the session that a drop belongs to, before anything is aligned. Raises AlignmentError."""
    named = identity(recordings)
    return Session(
        subject=notes.subject or named["sub"],
        session=notes.session or named["ses"],
        task=named["task"] if notes.task is None else notes.task,
        run=named["run"] if notes.run is None else notes.run,
        clock=drop.name,
        streams=(),
    ).id


def read_session(path: Path, progress: Progress | None = None) -> Session:
    """The recordings at `path`, a file or a folder, as one session on one clock; lazy, nothing is written."""
    drop = Drop(paths=(path,))
    say = progress or (lambda _: None)
    recordings = drop.recordings(say)
    say(f"{drop.name}: aligning {len(recordings)} devices")
    return with_notes(aligned(recordings, drop.notes()), drop)


def aligned(recordings: Sequence[Recording], notes: SessionNotes) -> Session:
    """One session of these recordings, as the notes say. Raises AlignmentError."""
    return align(
        recordings,
        subject=notes.subject,
        session=notes.session,
        task=notes.task,
        run=notes.run,
        reference=notes.reference,
        same_clock=notes.same_clock,
        start_uncertainty_s=notes.start_uncertainty_s,
    )


def with_notes(session: Session, drop: Drop) -> Session:
    """With the areas, trials and expectations that the drop's sidecars tell of. Raises FormatError naming the file."""
    if drop.folder is None:
        return session
    notes = drop.notes()
    session = _with_areas(session, notes.areas, drop.folder / FILE_NAME)
    if said := notes.for_sources():
        session = replace(session, sources=tuple(dict(source) | said for source in session.sources))
    task = drop.folder / TASK_FILE
    return _with_trials(session, task) if task.is_file() else session


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
