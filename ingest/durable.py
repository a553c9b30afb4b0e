"""Files and folders that are whole or absent, also after a power cut: the one place that writes for good.

    write to a temporary name beside the target -> flush -> (verify) -> fsync -> rename -> fsync the folder

A failed fsync is never tried again: the kernel may have dropped the data and would then report success.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from neuroloom.ingest.digest import digest_of_file

STAGING_PREFIX = ".staging-"
_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE}
)
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


def write_bytes(path: Path, data: bytes, *, verify: Callable[[Path], None] | None = None) -> None:
    """Write a file, replacing an older one at once or not at all.

    verify: called with the temporary file; what it raises leaves the target as it was.
    """
    with new_file(path) as temporary:
        with temporary.open("xb") as file:
            file.write(data)
        if temporary.read_bytes() != data:
            raise OSError(errno.EIO, "reads back other than it was written; the disk may be failing", str(path))
        if verify is not None:
            verify(temporary)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A name beside `path` for a file that takes its place, durably, where the block ends well, and goes otherwise."""
    temporary = _temporary_beside(path)
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """`write_bytes` of a JSON document; see `json_bytes`."""
    write_bytes(path, json_bytes(document))


def copy_file(source: Path, target: Path) -> str:
    """Copy a file, read the copy back and compare, then give it its name; returns the digest of both.

    Folders on the way are made. A target that is there already is kept where it holds the same, and raises
    FileExistsError where it does not.
    """
    digest = digest_of_file(source)
    if os.path.lexists(target):
        if digest_of_file(target) == digest:
            return digest
        raise FileExistsError(f"{target}: is there already with other content; it is never replaced")
    make_folder(target.parent)
    with new_file(target) as temporary:
        shutil.copyfile(source, temporary)
        if digest_of_file(temporary) != digest:
            found = f"the copy differs from {source}; the file changed meanwhile or a disk is failing"
            raise OSError(errno.EIO, found, str(target))
    return digest


def new_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """A new .npy file of zeros, mapped into memory. Raises OSError where there is no room for all of it.

    Its room is taken first: where a map finds the disk full later, the kernel ends the process.
    """
    made: NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate") and (size := path.stat().st_size):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    return made


def link_or_copy(source: Path, target: Path) -> None:
    """One file under two names where the file system can, so that it takes no space twice."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """JSON in one fixed spelling (sorted keys, ASCII, indented), so that equal documents are equal bytes.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()


def is_of_disk(error: BaseException) -> bool:
    """True where the machine is at fault, full or failing, and not what was read: the same may succeed later.

    Also where a reader says it in words of its own, raised from what the disk said.
    """
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and at.errno in _DISK:
            return True
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return False


def sync_file(path: Path) -> None:
    """Make a closed file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(place: Path, *, wait: bool = True) -> Iterator[None]:
    """One process at a time. A lock on a folder itself, which leaves no file behind, or on a file, made where it is not
    there; it ends with its holder.

    Raises BlockingIOError where another process holds it and nobody is to wait.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY if place.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(place, flags, 0o666)
    try:
        lock(descriptor, wait=wait)
        yield
    finally:
        os.close(descriptor)


def lock(descriptor: int, *, wait: bool = True) -> None:
    """Hold an open file or folder for this process until it is closed; a file system without locks gives none.

    Raises BlockingIOError where another process holds it and nobody is to wait.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def forget_cached(path: Path) -> None:
    """What is read of a file next comes from the disk, where the system allows that; the file must be durable."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, and their names durable."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A staging folder beside `target` that becomes `target` when the block ends well, and is removed otherwise.

    The block writes and verifies its files; they are then made durable and the folder is renamed.
    Raises FileExistsError where `target` is there already, before the block runs.
    """
    _refuse_existing(target)
    make_folder(target.parent)
    staging = target.parent / f"{STAGING_PREFIX}{target.name[:100]}-{secrets.token_hex(6)}"
    staging.mkdir()
    try:
        yield staging
        publish(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def publish(staging: Path, target: Path) -> None:
    """Make every file of a finished folder durable and give the folder its name; same file system.

    Raises FileExistsError where `target` is there already.
    """
    for path in sorted(staging.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            sync_file(path)
    sync_folder(staging)
    _refuse_existing(target)
    # A folder that came in between is never replaced: rename refuses one that is not empty.
    staging.rename(target)
    sync_folder(target.parent)


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise FileExistsError(f"{target}: is there already; a published folder never changes, a new one is wanted")


def _temporary_beside(path: Path) -> Path:
    return path.parent / f".{path.name[:100]}.{secrets.token_hex(6)}.tmp"
