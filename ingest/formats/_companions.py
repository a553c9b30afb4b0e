"""Files that a recording names beside its own: in the same folder, by a plain name, never by a path or a link."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from neuroloom.ingest.formats import FormatError

MAX_NAME_BYTES = 255  # what file systems take
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, invisible characters, half characters, breaks of lines


def hides(name: str) -> bool:
    """True for a name with characters that nobody sees or types."""
    return any(unicodedata.category(char) in HIDDEN for char in name)


def is_there(path: Path) -> bool:
    """True for a file, False for a link to one."""
    return path.is_file() and not path.is_symlink()


def plainly_named(path: Path, name: str, what: str) -> Path:
    """The place in the folder of `path` that a name says, whether a file is there or not.

    what: it is said to be, for the message. Raises FormatError for a name that leads elsewhere, hides characters, or
    is longer than a file's can be.
    """
    is_plain = name not in ("", ".", "..") and Path(name).name == name and "\\" not in name
    if not is_plain or hides(name):
        raise FormatError(f"{path}: {what} is {name[:80]!r}; a plain file name in the same folder is wanted")
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise FormatError(f"{path}: {what} is {name[:40]!r}...; a name of at most {MAX_NAME_BYTES} bytes is wanted")
    return path.parent / name


def beside(path: Path, name: str, what: str) -> Path:
    """The file of that name in the folder of `path`. Raises FormatError where there is none, or the name leads away."""
    found = plainly_named(path, name, what)
    if not is_there(found):
        raise FormatError(f"{path}: {what} {name!r} is not beside it; a file is wanted")
    return found
