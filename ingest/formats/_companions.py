"""Files that a recording names beside its own: in the same folder, by a plain name, never by a path or a link."""

from __future__ import annotations

from pathlib import Path

from neuroloom.ingest.formats import FormatError


def is_there(path: Path) -> bool:
    """True for a file, False for a link to one."""
    return path.is_file() and not path.is_symlink()


def plainly_named(path: Path, name: str, what: str, *, printable: bool = False) -> Path:
    """The place in the folder of `path` that a name says, whether a file is there or not.

    what: it is said to be, for the message. printable: no other name is wanted.
    Raises FormatError for a name that leads elsewhere.
    """
    is_plain = name not in ("", ".", "..") and Path(name).name == name and "\\" not in name
    if not is_plain or (printable and not name.isprintable()):
        raise FormatError(f"{path}: {what} is {name!r}; a plain file name in the same folder is wanted")
    return path.parent / name


def beside(path: Path, name: str, what: str, *, printable: bool = False) -> Path:
    """The file of that name in the folder of `path`. Raises FormatError where there is none, or the name leads away."""
    found = plainly_named(path, name, what, printable=printable)
    if not is_there(found):
        raise FormatError(f"{path}: {what} {name!r} is not beside it; a file is wanted")
    return found
