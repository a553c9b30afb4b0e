"""Publish a session: companions first, then the small file that names them, then the manifest, then the rename."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from neuroloom.ingest import durable, manifest
from neuroloom.ingest._nwb_layout import (
    INDEX_VERSION,
    MAIN_FILE,
    clock_map_entry,
    encoded,
    safe_names,
    series_of,
    signal_entry,
)
from neuroloom.ingest._nwb_read import SessionFile, SessionFileError, StoredSamples, read_index
from neuroloom.ingest._nwb_write import FileHead, write_nwb
from neuroloom.ingest.digest import digest_of_file, digests_of_datasets
from neuroloom.ingest.streams import Signal

if TYPE_CHECKING:
    from neuroloom.ingest.session import Progress, Session

SUBJECT_FIELDS = ("species", "sex", "age", "strain", "genotype")
# NWB wants both; these say that they are not known: sex "U", zero years of age or more.
UNKNOWN_SUBJECT = {"sex": "U", "age": "P0Y/"}


def write_session(session: Session, folder: Path, progress: Progress | None, *, point: bool = False) -> None:
    """Write, verify and publish; see `Session.save`."""
    names = session.stream_names
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"{session.id}: two streams are named {doubled[0]!r}; each needs a name of its own")
    counter = _Counter(session, progress)
    wideband = [s for s in session.streams if isinstance(s, Signal) and s.modality == "wideband"]
    with durable.new_folder(folder) as staging:
        files: dict[str, dict[str, Any]] = {}
        elsewhere: dict[str, dict[str, Any]] = {}
        for stream, stem in zip(wideband, safe_names(["session", *(s.name for s in wideband)])[1:], strict=True):
            file_name = f"{stem}.nwb"
            entry, files[file_name] = _companion(session, stream, staging / file_name, counter, point)
            elsewhere[stream.name] = {**entry, "file": file_name, "digest": files[file_name]["digest"]}
        path = staging / MAIN_FILE
        written = write_nwb(path, head_of(session), tuple(session.streams), elsewhere=elsewhere, on_bytes=counter.add)
        files[MAIN_FILE] = _verified(path, written.digests)
        manifest.write(staging, _manifest_fields(session), files)


def _companion(
    session: Session, stream: Signal, path: Path, counter: _Counter, point: bool
) -> tuple[Any, dict[str, Any]]:
    """Write a wideband stream, or take over the companion it was opened from where that says the same of it.

    Returns its index entry and its manifest entry.
    """
    head = head_of(session, stream.name)
    older = _older_companion(stream)
    if older is not None and older[0]["streams"] == encoded([signal_entry(stream, series_of(stream, path.stem))]):
        index, older_path, files_entry = older
        if {key: value for key, value in index.items() if key != "streams"} == encoded(head.index):
            if point:
                path.symlink_to(older_path.resolve())
            else:
                durable.link_or_copy(older_path, path)
            if digest_of_file(path) != files_entry["digest"]:
                raise SessionFileError(f"{older_path}: its digest does not fit the manifest; the file is damaged")
            counter.add(
                sum(s.samples.shape[0] * s.samples.shape[1] * s.samples.dtype.itemsize for s in stream.segments)
            )
            return index["streams"][0], files_entry
    written = write_nwb(path, head, [stream], fast=True, on_bytes=counter.add)
    return written.entries[stream.name], _verified(path, written.digests)


def _older_companion(stream: Signal) -> tuple[dict[str, Any], Path, dict[str, Any]] | None:
    """The index, path and manifest entry of the published companion that holds all of a stream, None without one."""
    held = {s.samples.file.path if isinstance(s.samples, StoredSamples) else None for s in stream.segments}
    path = held.pop() if len(held) == 1 else None
    if path is None or path.name == MAIN_FILE:
        return None
    entry = manifest.read(path.parent)["files"].get(path.name)
    return (read_index(SessionFile(path)), path, entry) if entry is not None else None


class _Counter:
    """Adds up the bytes written and tells the caller."""

    def __init__(self, session: Session, progress: Progress | None) -> None:
        self.total = sum(
            s.samples.shape[0] * s.samples.shape[1] * s.samples.dtype.itemsize
            for stream in session.streams
            if isinstance(stream, Signal)
            for s in stream.segments
        )
        self.done = 0
        self._progress = progress

    def add(self, n_bytes: int) -> None:
        self.done += n_bytes
        if self._progress is not None:
            self._progress(self.done, self.total)


def head_of(session: Session, companion_of: str | None = None) -> FileHead:
    """What a file says of the session. A companion leaves out what a later version may add or mend."""
    index: dict[str, Any] = {
        "version": INDEX_VERSION,
        "subject": session.subject,
        "session": session.session,
        "task": session.task,
        "run": session.run,
        "clock": session.clock,
        "start": session.start,
        "clock_maps": [],
        "sources": [],
        "quality": {},
    }
    if companion_of is None:
        maps = [clock_map_entry(clock) for clock in session.clock_maps]
        index |= {"clock_maps": maps, "sources": session.sources, "quality": session.quality}
    title = session.id if companion_of is None else f"{session.id} {companion_of}"
    note = "" if session.start is not None else "; when it began is not known, so it is given as 1970-01-01"
    return FileHead(
        identifier=str(uuid.uuid4()),
        session_id=session.session,
        subject=_subject(session),
        description=f"{title}, times in seconds on the clock of {session.clock}{note}",
        start=session.start,
        index=index,
    )


def _subject(session: Session) -> dict[str, str]:
    """What NWB says of the subject: the id, and what a source states; nothing is guessed."""
    stated: dict[str, str] = {}
    for source in session.sources:
        about = source.get("subject")
        if isinstance(about, Mapping):
            stated |= {key: str(about[key]) for key in SUBJECT_FIELDS if about.get(key)}
    return {**UNKNOWN_SUBJECT, **stated, "subject_id": session.subject}


def _verified(path: Path, digests: Mapping[str, str]) -> dict[str, Any]:
    """The manifest entry of a file just written, read back from the file and compared with what was meant.

    It is read from the disk, and not from what the system still keeps of it in memory. Raises OSError where it reads
    back otherwise: a disk that lost a write is no fault of the recording.
    """
    digest = digest_of_file(path)
    durable.sync_file(path)
    durable.forget_cached(path)
    try:
        problems = _nwb_problems(path)
        with h5py.File(path, "r") as file:
            found = digests_of_datasets(file)
    except Exception as error:
        raise _unlike(path, f"it cannot be read back ({' '.join(str(error).split())[:200]})") from error
    unlike = next((dataset for dataset, meant in digests.items() if found.get(dataset) != meant), "")
    if unlike or digest_of_file(path) != digest:
        raise _unlike(path, f"{unlike or 'the file'} reads back other than it was written")
    if problems:
        raise SessionFileError(f"{path.name}: written, but not valid NWB: {problems[0]}")
    return {"digest": digest, "n_bytes": path.stat().st_size, "datasets": found}


def _unlike(path: Path, found: str) -> OSError:
    return OSError(errno.EIO, f"{found}; nothing is published, the disk may be failing", path.name)


def _nwb_problems(path: Path) -> list[str]:
    """As `pynwb.validate` finds them by the schema of pynwb itself."""
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(path), "r", load_namespaces=False) as io:
        return [str(problem) for problem in _schema().validate(io.read_builder())]


@cache
def _schema() -> Any:
    """Validators of all types of NWB; they keep nothing of a file, and to make them takes longer than to check it."""
    from hdmf.validate import ValidatorMap
    from pynwb import CORE_NAMESPACE, get_manager

    return ValidatorMap(get_manager().namespace_catalog.get_namespace(name=CORE_NAMESPACE))


def _manifest_fields(session: Session) -> dict[str, Any]:
    return {
        "session": session.id,
        "subject": session.subject,
        "clock": session.clock,
        "start": session.start.isoformat() if session.start else None,
        "streams": encoded(session.summary()["streams"]),
        "sources": encoded(session.sources),
        "clock_maps": [encoded(clock_map_entry(replace(clock, evidence=()))) for clock in session.clock_maps],
        "quality": encoded(session.quality),
    }
