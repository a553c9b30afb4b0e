"""Whether a drop is still being written, however long it has lain still.

    being_written(folder, files)    the file that another program has open for writing, as the kernel tells
    growing(folder, drop)           the same before a drop is moved away, and whether it is what was read

Design rationale: a file that is moved while somebody has it open goes on growing where it was moved to. Linux gives a
lease on a file for reading only where nobody has it open for writing. Where there are no leases (network file systems,
files of other users, other systems) nothing is known, and lying still has to do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from neuroloom.pipeline.catalog.tables import Drop
from neuroloom.pipeline.drops.inbox import DONE_SUFFIX, fingerprint_now

F_SETSIG = 10  # Linux; not in Python's module


def being_written(folder: Path, files: Iterable[str]) -> str:
    """The first of these files that another program has open for writing; "" where none has, or nobody can tell."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return ""
    return next((file for file in files if _has_writer(folder / file)), "")


def growing(folder: Path, drop: Drop) -> str:
    """Why a drop that was read must not be moved away yet; "" where it may. A `.done` beside it has the last word."""
    if fingerprint_now(folder, drop.files) != drop.fingerprint:
        return "it is growing"
    marked = (folder / f"{drop.name}{DONE_SUFFIX}").is_file() or (folder / drop.name / DONE_SUFFIX).is_file()
    file = "" if marked else being_written(folder, drop.files)
    return waits_for(file) if file else ""


def waits_for(file: str) -> str:
    """What is said of a drop that waits for a writer."""
    return f"another program has {file} open for writing; a {DONE_SUFFIX} file beside the drop says that it is whole"


def _has_writer(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # Whoever opens it for writing meanwhile waits until the lease is gone, and we are told by a signal that by
        # itself does nothing.
        fcntl.fcntl(descriptor, F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False
