"""What lies at a path: which files name a recording, and which only accompany one.

Of a BIDS dataset (`dataset_description.json`) the folders that hold no raw data are not looked at: code, derivatives,
sourcedata, stimuli. A file that BIDS names as a recording is listed even where no format knows it, so that it is
refused by name instead of being passed over.
"""

from __future__ import annotations

import glob
from pathlib import Path

from neuroloom.ingest.bids import sidecars
from neuroloom.ingest.formats import FormatError, format_of, formats
from neuroloom.ingest.formats._bids import is_recording, is_root

UNKNOWN = "its name says it is a recording (BIDS), but no format recognises what is in it"
DEPTH = 4  # a recording, its kind, its session, its subject
NO_RAW_DATA = frozenset({"code", "derivatives", "sourcedata", "stimuli"})


def naming_files(path: Path) -> list[Path]:
    """What names a recording at or below `path`: files, or folders that are a recording as a whole; sorted.

    In a folder a file that only accompanies another one (the `.eeg` of a `.vhdr`) is not listed; named by itself it
    leads to that one. Links, hidden files, pipes and devices are not looked at. Raises FormatError where nothing is
    there or nothing is recognised.
    """
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    if not _is_file_or_folder(path):
        raise FormatError(f"{path}: is a pipe or a device; a file or a folder is wanted")
    if format_of(path) is not None:
        return [path]
    if not path.is_dir():
        if (owner := _owner(path)) is not None:
            return [owner]
        if not path.stat().st_size:
            raise FormatError(f"{path}: is empty; a whole recording is wanted")
        if is_recording(path):
            raise FormatError(f"{path}: {UNKNOWN}")
        raise FormatError(f"{path}: none of the {len(formats())} formats known here recognises it")
    found = _within(path)
    if not found and (empty := _empty_within(path)):
        raise FormatError(f"{path}: no file in it holds anything ({empty.name} is empty); a whole recording is wanted")
    if not found:
        raise FormatError(f"{path}: no file in it is of a known format; none of {len(formats())} recognises one")
    return found


def _within(folder: Path) -> list[Path]:
    """What names a recording in a folder or below; what is damaged too, so that reading it says why."""
    named: list[Path] = []
    companions: set[Path] = set()
    for inner in sorted(folder.iterdir()):
        if inner.is_symlink() or inner.name.startswith(".") or not _is_file_or_folder(inner):
            continue
        files = _files_or_none(inner)
        if files is not None:
            named.append(inner)
            companions |= set(files[1:])
        elif inner.is_dir():
            named += [] if is_root(folder) and inner.name in NO_RAW_DATA else _within(inner)
        elif is_recording(inner) and inner.stat().st_size:
            named.append(inner)
    return [file for file in named if file not in companions]


def _is_file_or_folder(path: Path) -> bool:
    """False for what may never end, or never begin, where it is read."""
    return path.is_file() or path.is_dir()


def _empty_within(folder: Path) -> Path | None:
    """The first file in a folder or below where all are empty; None where one is not, or there is none."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    files = [path for path in files if not path.name.startswith(".") and path.suffix != ".toml"]
    return files[0] if files and not any(path.stat().st_size for path in files) else None


def _files_or_none(path: Path) -> tuple[Path, ...] | None:
    """The files of the recording that `path` names, None where it names none; of a damaged one itself alone."""
    try:
        name = format_of(path)
        return files_of(path, name) if name is not None else None
    except FormatError:
        return (path,)


def files_of(path: Path, form: str) -> tuple[Path, ...]:
    """Every file of the recording that `path` names, that one first, sidecars last. Raises FormatError."""
    return tuple(dict.fromkeys([*formats()[form].files(path), *sidecars(path)]))


def recordings_at(path: Path) -> list[tuple[Path, ...]]:
    """The files of each recording at or below `path`, the one that names it first. Raises FormatError."""
    found = []
    for file in naming_files(path):
        name = format_of(file)
        found.append(files_of(file, name) if name else (file, *sidecars(file)))
    return found


def dataset_root(path: Path) -> Path | None:
    """The BIDS dataset that a path lies in, whose files above it belong to it too; None outside of one."""
    return next((folder for folder in list(path.absolute().parents)[:DEPTH] if is_root(folder)), None)


def _owner(path: Path) -> Path | None:
    """The file beside it, of a name that begins the same, whose recording it is a part of."""
    for beside in sorted(path.parent.glob(f"{glob.escape(path.stem)}*")):
        if beside == path or beside.is_symlink() or not beside.is_file() or (name := format_of(beside)) is None:
            continue
        if path in formats()[name].files(beside):
            return beside
    return None
