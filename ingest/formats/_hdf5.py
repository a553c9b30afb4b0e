"""HDF5 files that others wrote: what lies in the file itself, and none of the ways that lead out of it.

    links       soft and external ones lead elsewhere; a hard link is what lies there
    storage     a dataset may be virtual or external: its values then lie in other files
    chunks      are unpacked whole, for the smallest slice too, so their size is looked at first

MATLAB 7.3 is HDF5 behind 512 bytes; it holds matrices transposed, text as numbers, cells and structs by reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._messages import one_line, shown

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MATLAB_AT = 512


def is_own(group: Any, name: str) -> bool:
    """True for what lies in this group, False for a link to elsewhere and where there is nothing."""
    return isinstance(group, h5py.Group) and isinstance(group.get(name, getlink=True), h5py.HardLink)


def own(path: Path, group: Any, name: str) -> Any:
    """What lies in this group under a name. Raises FormatError where there is nothing, or a link to elsewhere."""
    if "/" not in name and is_own(group, name):
        return group[name]
    there = [key for key in group if not key.startswith("#")] if isinstance(group, h5py.Group) else []
    if name in there:
        raise FormatError(f"{path}: {name} is a link; data within the file are wanted")
    raise FormatError(f"{path}: no variable or field {name!r}; there are {shown(there)}")


def is_stored_elsewhere(dataset: h5py.Dataset) -> bool:
    """True where its values lie in other files."""
    return bool(dataset.is_virtual or dataset.external)


def chunk_bytes(dataset: h5py.Dataset) -> int:
    """What one of its chunks takes in memory, 0 where it has none."""
    return math.prod(dataset.chunks or (0,)) * int(dataset.dtype.itemsize)


def check_stored(path: Path, name: str, dataset: h5py.Dataset, *, most: int) -> None:
    """Raise FormatError for a dataset of values in other files, or of chunks of more than `most` bytes."""
    if is_stored_elsewhere(dataset):
        raise FormatError(f"{path}: {name} is stored in another file; data within the file are wanted")
    if chunk_bytes(dataset) > most:
        raise FormatError(f"{path}: {name} is in chunks of {chunk_bytes(dataset)} bytes; up to {most} are wanted")


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """Samples (T, C) of datasets side by side, in rows as they lie there; the file is opened when sliced.

    names: of datasets of shape (T, C), or (T,), that were looked at before. first: their row that is the first here.
    """

    path: Path
    names: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    first: int = 0

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        stop = max(start, stop)
        rows = slice(self.first + start, self.first + stop)
        try:
            with h5py.File(self.path, "r") as file:
                parts = [np.asarray(file[name][rows]) for name in self.names]
        except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
            what = f"samples {start} to {stop} cannot be read ({one_line(error)})"
            raise FormatError(f"{self.path}: {what}; the file is damaged or has changed") from error
        columns = [found if found.ndim == 2 else found[:, np.newaxis] for found in parts]
        return np.concatenate(columns, axis=1).astype(self.dtype, copy=False)[::step]


# MATLAB 7.3 --------------------------------------------------------------------------------------------------------


def is_text(dataset: h5py.Dataset) -> bool:
    """True for letters as numbers."""
    return dataset.attrs.get("MATLAB_class") in (b"char", "char")


def text_rows(values: Any) -> list[str]:
    """A matrix of letters as HDF5 holds it, turned: the text of each of its rows. Half a character becomes U+FFFD."""
    letters = np.atleast_2d(np.asarray(values).T).astype("<u2")
    rows = letters.reshape(-1, letters.shape[-1]) if letters.size else letters[:0]
    return [row.tobytes().decode("utf-16-le", "replace") for row in rows]


def is_empty(dataset: h5py.Dataset) -> bool:
    """True for the shape of an empty matrix in place of its values."""
    return bool(dataset.attrs.get("MATLAB_empty", 0))


def is_references(dataset: h5py.Dataset) -> bool:
    """True for cells, and for a field of an array of structs."""
    return h5py.check_ref_dtype(dataset.dtype) is h5py.Reference
