"""Files and folders that are whole or absent, also after a power cut: the one place that writes for good.

    write to a temporary name beside the target -> flush -> (verify) -> fsync -> rename -> fsync the folder

A failed fsync is never tried again: the kernel may have dropped the data and would then report success.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuroloom.ingest.digest import digest_of_file

STAGING_PREFIX = ".staging-"
_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE}
)


def write_bytes(path: Path, data: bytes, *, verify: Callable[[Path], None] | None = None) -> None:
    """Write a file, replacing an older one at once or not at all.

    verify: called with the temporary file; what it raises leaves the target as it was.
    """
    temporary = _temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if verify is not None:
            verify(temporary)
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
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_beside(target)
    try:
        shutil.copyfile(source, temporary)
        sync_file(temporary)
        if digest_of_file(temporary) != digest:
            raise OSError(f"{target}: the copy differs from {source}; the file changed meanwhile or a disk is failing")
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return digest


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
    """True where the machine is at fault, full or failing, and not what was read: the same may succeed later."""
    return isinstance(error, OSError) and error.errno in _DISK


@contextmanager
def nothing_ignored() -> Iterator[None]:
    """Raises OSError after the block where a library failed in it while it let go of something, and could not raise.

    HDF5 writes when objects are closed, h5py closes them when they are forgotten, and Python prints such an error and
    goes on: a disk that fails once left texts empty in a file that looked whole.
    """
    failed: list[str] = []
    before = sys.unraisablehook

    def hear(unraisable: Any) -> None:
        failed.append(" ".join(str(unraisable.exc_value).split()))
        before(unraisable)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = before
    if failed:
        raise OSError(errno.EIO, f"a write failed while a file was closed ({failed[0][:300]})")


def sync_file(path: Path) -> None:
    """Make a closed file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A staging folder beside `target` that becomes `target` when the block ends well, and is removed otherwise.

    The block writes and verifies its files; they are then made durable and the folder is renamed.
    Raises FileExistsError where `target` is there already, before the block runs.
    """
    _refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
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
