"""What lies at a path: which files name a recording, and which only accompany one."""

from __future__ import annotations

import glob
from pathlib import Path

from neuroloom.ingest.formats import FormatError, format_of, formats


def naming_files(path: Path) -> list[Path]:
    """What names a recording at or below `path`: files, or folders that are a recording as a whole; sorted.

    In a folder a file that only accompanies another one (the `.eeg` of a `.vhdr`) is not listed; named by itself it
    leads to that one. Links and hidden files are not looked at. Raises FormatError where nothing is there or nothing is
    recognised.
    """
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    if format_of(path) is not None:
        return [path]
    if not path.is_dir():
        if (owner := _owner(path)) is not None:
            return [owner]
        raise FormatError(f"{path}: no format recognises it; known are {', '.join(formats())}")
    named: list[Path] = []
    companions: set[Path] = set()
    for inner in sorted(path.iterdir()):
        if inner.is_symlink() or inner.name.startswith("."):
            continue
        if inner.is_dir():
            named += _naming_files_or_none(inner)
        elif (name := format_of(inner)) is not None:
            named.append(inner)
            companions |= set(formats()[name].files(inner)[1:])
    found = [file for file in named if file not in companions]
    if not found:
        raise FormatError(f"{path}: no file in it is of a known format; known are {', '.join(formats())}")
    return found


def companions_of(path: Path) -> tuple[Path, ...]:
    """Every file of the recordings at or below `path`, those that name them first. Raises FormatError."""
    found: list[Path] = []
    for file in naming_files(path):
        name = format_of(file)
        found += formats()[name].files(file) if name else (file,)
    return tuple(dict.fromkeys(found))


def _owner(path: Path) -> Path | None:
    """The file beside it, of a name that begins the same, whose recording it is a part of."""
    for beside in sorted(path.parent.glob(f"{glob.escape(path.stem)}*")):
        if beside == path or beside.is_symlink() or not beside.is_file() or (name := format_of(beside)) is None:
            continue
        if path in formats()[name].files(beside):
            return beside
    return None


def _naming_files_or_none(folder: Path) -> list[Path]:
    try:
        return naming_files(folder)
    except FormatError:
        return []
