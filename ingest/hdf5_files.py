"""New HDF5 files, written so that a disk that fails or is full ends in an OSError and in nothing else.

HDF5 cannot let go of a file whose last writes failed: it keeps it half open, crashes when it closes it or opens another
in its place, and what it writes while objects are forgotten fails unheard, so that texts were empty and chunks zeros in
files that looked whole. So it is given a file that never fails. The first error of the disk is kept, nothing is
written after it, and it is raised when HDF5 is done. What was written is read again at once: a write that did nothing
and said it had is an error, too, also where it was of a text or a table whose digest nobody knows before.

    with new_hdf5(path, libver=...) as (file, disk):        file: an h5py.File
        ...
        disk.check()                                        raises at once, where much is still to come
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np


@contextmanager
def new_hdf5(path: Path, **how: Any) -> Iterator[tuple[h5py.File, Disk]]:
    """A new file; how: as for h5py.File. Raises FileExistsError where it is there, OSError for what the disk said."""
    disk = Disk(path)
    try:
        with h5py.File(disk, "w", **how) as file:
            yield file, disk
    except Exception:
        disk.check()
        raise
    finally:
        disk.close()
    disk.check()


class Disk:
    """A new file as h5py wants one; see the head of this file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._at = self._end = 0
        self._failed: OSError | None = None

    def check(self) -> None:
        """Raises what the disk said first, if it has failed."""
        if self._failed is not None:
            raise OSError(self._failed.errno, self._failed.strerror, str(self._path)) from self._failed

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def seek(self, to: int, whence: int = os.SEEK_SET) -> int:
        """Where the next read or write is, in bytes."""
        self._at = to + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        """Where that is."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        """All of the buffer; zeros where nothing was written."""
        at, n_read = self._at, 0
        while self._failed is None and n_read < len(buffer):
            try:
                n = os.preadv(self._descriptor, [buffer[n_read:]], at + n_read)
            except OSError as error:
                self._failed = error
                break
            if n == 0:
                break
            n_read += n
        buffer[n_read:] = bytes(len(buffer) - n_read)
        self._at += len(buffer)
        return len(buffer)

    def read(self, n_bytes: int) -> bytes:
        """So many bytes; as `readinto`."""
        buffer = bytearray(n_bytes)
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def write(self, data: memoryview) -> int:
        """All of it, or after an error nothing."""
        if self._failed is None:
            try:
                self._write(data)
            except OSError as error:
                self._failed = error
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def _write(self, data: memoryview) -> None:
        n_written = 0
        while n_written < len(data):
            n_written += os.pwrite(self._descriptor, data[n_written:], self._at + n_written)
        found = os.pread(self._descriptor, len(data), self._at)
        if not np.array_equal(np.frombuffer(found, np.uint8), np.frombuffer(data, np.uint8)):
            raise OSError(errno.EIO, "reads back other than it was written; the disk may be failing")

    def truncate(self, size: int) -> int:
        """Make it that long."""
        self._end = size
        if self._failed is None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                self._failed = error
        return size

    def flush(self) -> None:
        """Nothing waits here."""
