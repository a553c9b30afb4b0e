"""Several files of one kind in a folder that are one recording: the first of them names the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from neuroloom.ingest.formats._companions import is_there

MAX_FILES = 20_000


def members(path: Path, suffixes: Iterable[str], is_one: Callable[[Path], bool]) -> tuple[Path, ...]:
    """The whole set for the file that names it, `path` first; for any other file only itself.

    suffixes: of the files that may belong to it, in lower case, those that name the set before others first.
    is_one: tells from its content whether a file does. Links are left out.

    Design rationale: were every file of a set to name all the others, dropping them loosely would leave none that names
    the drop. So one is chosen, the first by kind and name, and only for it the others are looked into.
    """
    candidates = _candidates(path.parent, tuple(suffixes))
    if next((file for file in candidates if file == path or is_one(file)), path) != path:
        return (path,)
    return (path, *(file for file in candidates if file != path and is_one(file)))


def _candidates(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    found = sorted(_files(folder, suffixes), key=lambda file: (suffixes.index(file.suffix.lower()), file.name))
    return found[:MAX_FILES]


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    try:
        yield from (f for f in folder.iterdir() if f.suffix.lower() in suffixes and is_there(f))
    except OSError:
        return


def head(path: Path, n_bytes: int) -> bytes:
    """The first bytes of a file, none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(n_bytes)
    except OSError:
        return b""
