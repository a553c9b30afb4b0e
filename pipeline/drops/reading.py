"""From the files of a drop to recordings, and from recordings to a session: only headers are read, nothing is written.

drop (a folder, or loose files of one session)
  -> parts                               of a BIDS tree: one per subject, session, task and run
  -> recordings, each on its own clock
  -> sortings put into what was sorted, probes where the files have none           (`beside.py`)
  -> aligned session                     `session.toml` says whose it is, which devices share a clock, where they lie
  -> trials                              `task.toml` says what the event codes mean
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from neuroloom.ingest import naming_files, read
from neuroloom.ingest.folders import recordings_at
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._bids import is_root
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Signal, Stream, Units
from neuroloom.pipeline import subjects
from neuroloom.pipeline.drops.assembly import align
from neuroloom.pipeline.drops.beside import PROBE_FILE, with_probes, with_sortings
from neuroloom.pipeline.drops.identity import by_session, identity
from neuroloom.pipeline.drops.sidecar import FILE_NAME, SessionNotes

Progress = Callable[[str], None]
Areas = str | tuple[str, ...] | Mapping[str, tuple[float, float]]
TASK_FILE = "task.toml"
SIDECARS = (FILE_NAME, TASK_FILE, PROBE_FILE, *subjects.FILE_NAMES)


@dataclass(frozen=True, kw_only=True)
class Drop:
    """What was dropped together and is one session: a folder, or loose files.

    folder: where sidecars are looked for; None for loose files, beside which anything may lie.
    within: the folder that was dropped, where this is the part of it that is one session. strict: files with faults
        are refused instead of mended.

    Design rationale: in a BIDS dataset every run is a recording on a clock of its own, and nothing relates two of them.
    So each subject, session, task and run is a session here; that of a folder without BIDS's levels stays one.
    """

    paths: tuple[Path, ...]
    within: Path | None = None
    strict: bool = False

    @property
    def name(self) -> str:
        """The name it goes by in messages."""
        return self.paths[0].name

    @property
    def folder(self) -> Path | None:
        """The folder, where it is one."""
        return self.paths[0] if len(self.paths) == 1 and self.within is None and self.paths[0].is_dir() else None

    @property
    def home(self) -> Path | None:
        """Where sidecars lie that hold for all of what was dropped together: what codes mean, who was recorded."""
        return self.folder or self.within

    @property
    def root(self) -> Path:
        """What the files' names are relative to."""
        return self.home or self.paths[0].parent

    def parts(self) -> list[Drop]:
        """The sessions that a BIDS tree holds, else this alone. Raises FormatError."""
        if self.folder is None:
            return [self]
        named = naming_files(self.folder)
        found = by_session(self.folder, named)
        if len(found) < 2:
            return [self]
        if (self.folder / FILE_NAME).is_file():
            said = f"says what one session is, but {len(found)} lie in its folder"
            raise FormatError(f"{self.folder / FILE_NAME}: {said}; take it away, or drop the folder of each")
        return [Drop(paths=tuple(files), within=self.folder) for files in found]

    def files(self) -> tuple[Path, ...]:
        """Every file of its recordings, sidecars included. Raises FormatError."""
        return tuple(dict.fromkeys([*(file for files in self.recording_files() for file in files), *self.sidecars()]))

    def recording_files(self) -> list[tuple[Path, ...]]:
        """The files of each of its recordings. Raises FormatError."""
        return [files for path in self.paths for files in recordings_at(path)]

    def sidecars(self) -> list[Path]:
        """What says more of it than its recordings do. Raises FormatError."""
        if self.home is None:
            return []
        probe = self.notes().probe
        names = (*SIDECARS, *([probe.file] if probe is not None and probe.file else []))
        return [self.home / name for name in names if is_there(self.home / name)]

    def unread(self) -> list[str]:
        """Of a dropped folder, the files that belong to no recording and say nothing of one. Raises FormatError."""
        if self.folder is None or is_root(self.folder):  # a BIDS dataset has much besides
            return []
        known = set(self.files())
        inside = (path for path in self.folder.rglob("*") if path.is_file() and path not in known)
        names = (path.relative_to(self.folder) for path in inside)
        return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))

    def recordings(self, progress: Progress = lambda _: None) -> list[Recording]:
        """One per clock and file. Raises FormatError."""
        found: list[Recording] = []
        for file in dict.fromkeys(file for path in self.paths for file in naming_files(path)):
            progress(f"{self.name}: reading {file.name}")
            found += read(file, strict=self.strict)
        notes = self.notes()
        return with_sortings(with_probes(found, self.folder, notes.probe), notes.sortings)

    def notes(self) -> SessionNotes:
        """What its `session.toml` says."""
        return SessionNotes.beside(self.folder) if self.folder is not None else SessionNotes()


def named_from(file: Path, root: Path) -> Path:
    """A file's name within what was dropped; what BIDS keeps above a subject's folder goes by its own name."""
    return file.relative_to(root) if file.is_relative_to(root) else Path(file.name)


def session_id(drop: Drop, recordings: Sequence[Recording], notes: SessionNotes) -> str:
    """The id of the session that a drop belongs to, before anything is aligned. Raises AlignmentError."""
    named = identity(recordings, is_told=notes.subject is not None)
    return Session(
        subject=notes.subject or named["sub"],
        session=notes.session or named["ses"],
        task=named["task"] if notes.task is None else notes.task,
        run=named["run"] if notes.run is None else notes.run,
        clock=drop.name,
        streams=(),
    ).id


def clocks_of(recordings: Sequence[Recording]) -> str:
    """What is told while their clocks are put on one."""
    return f"aligning {len(recordings)} devices" if len(recordings) > 1 else "one device, one clock"


def read_session(path: Path, progress: Progress | None = None) -> Session:
    """The recordings at `path`, a file or a folder, as one session on one clock; lazy, nothing is written."""
    drop = Drop(paths=(path,))
    say = progress or (lambda _: None)
    recordings = drop.recordings(say)
    say(f"{drop.name}: {clocks_of(recordings)}")
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
    if drop.home is None:
        return session
    notes = drop.notes()
    session = _with_areas(session, notes.areas, drop.home / FILE_NAME)
    if said := notes.for_sources():
        session = replace(session, sources=tuple(dict(source) | said for source in session.sources))
    task = drop.home / TASK_FILE
    return _with_trials(session, task, needed=drop.within is None) if task.is_file() else session


def _with_areas(session: Session, areas: Mapping[str, Areas], path: Path) -> Session:
    """The brain area per channel or unit, from `[areas]`: for all, one each, or by place along the probe.

    Units that were sorted from a signal, and say on which of its channels, have that channel's.
    """
    rows = {s.name: s for s in session.streams if isinstance(s, Signal | Units)}
    unknown = sorted(set(areas) - set(rows))
    if unknown:
        raise FormatError(f"{path}: [areas] names {unknown[0]!r}; there are {', '.join(rows) or 'no signals or units'}")
    placed: dict[str, Stream] = {}
    for name, given in areas.items():
        stream = rows[name]
        placed[name] = replace(stream, table={**stream.table, "area": _areas_of(stream, given, path)})
    for stream in rows.values():
        source = str(stream.provenance.get("source", ""))
        signal = placed.get(source) or placed.get(f"{stream.device} {source}")
        if isinstance(stream, Units) and isinstance(signal, Signal) and stream.name not in placed:
            of = dict(zip(signal.channel_names, signal.table["area"], strict=True))
            if set(stream.table.get("channel", (None,))) <= set(of):
                column = tuple(of[channel] for channel in stream.table["channel"])
                placed[stream.name] = replace(stream, table={**stream.table, "area": column})
    return replace(session, streams=tuple(placed.get(stream.name, stream) for stream in session.streams))


def _areas_of(stream: Signal | Units, given: Areas, path: Path) -> tuple[str, ...]:
    n_rows = _n_rows(stream)
    if isinstance(given, Mapping):
        return _by_place(stream, given, path)
    each = (given,) * n_rows if isinstance(given, str) else given
    if len(each) != n_rows:
        raise FormatError(f"{path}: [areas] {stream.name}: {len(each)} areas for {n_rows} channels; one each is wanted")
    return each


def _by_place(stream: Signal | Units, given: Mapping[str, tuple[float, float]], path: Path) -> tuple[str, ...]:
    """The area whose stretch of the probe, from and up to, holds a row's `y_um`; "" where none does."""
    spans = sorted(given.items(), key=lambda item: item[1])
    for name, (low, high) in spans:
        if not low < high:
            raise FormatError(
                f"{path}: [areas] {stream.name}: {name} from {low:g} up to {high:g} µm; less to more is wanted"
            )
    for (name, (_, high)), (other, (low, _)) in pairwise(spans):
        if low < high:
            raise FormatError(
                f"{path}: [areas] {stream.name}: {name} and {other} overlap at {low:g} µm; one each is wanted"
            )
    heights = stream.table.get("y_um")
    if heights is None or any(y is None for y in heights):
        raise FormatError(
            f"{path}: [areas] {stream.name}: by place, and where its contacts lie is not known; a probe.json beside "
            "it, or [probe], can say"
        )
    return tuple(next((name for name, (low, high) in spans if low <= y < high), "") for y in heights)


def _n_rows(stream: Signal | Units) -> int:
    return len(stream.channel_names) if isinstance(stream, Signal) else len(stream.unit_names)


def _with_trials(session: Session, path: Path, *, needed: bool) -> Session:
    """needed: False where the folder holds further sessions, which may be of other tasks."""
    from neuroloom.ingest.task import Task

    task = Task.read(path)
    events = [stream for stream in session.streams if isinstance(stream, Events) and stream.labels]
    start = next((stream for stream in events if task.knows(stream)), None)
    if start is None and not needed:
        return session
    if start is None:
        raise FormatError(f"{path}: none of its codes is in the events {[s.name for s in events]}; one must hold them")
    try:
        trials = task.trials(start, events)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    name = trials.name if trials.name not in session.stream_names else f"{trials.name} {task.name}"
    return replace(session, streams=(*session.streams, replace(trials, name=name, device=start.device)))
