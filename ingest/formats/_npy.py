"""Arrays in `.npy` files that others wrote: memory-mapped, never unpickled, of the shape and kind that is wanted."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._messages import one_line

# What numpy and h5py raise on files that lie, found with some ten thousand mutated ones.
LIES = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, NameError, OSError, EOFError, SyntaxError,
    MemoryError, RuntimeError, BufferError, TokenError, zlib.error, struct.error,
)  # fmt: skip


def array_of(path: Path, *, kinds: str = "iuf", dims: tuple[int, ...] = (1,)) -> NDArray[Any]:
    """A memory map. kinds: of numpy's types that are wanted ("iuf": numbers, "SU": text); dims: numbers of axes.

    A column of shape (N, 1) is taken for one of (N,). Raises FormatError where it is missing, a link, holds objects
    (which would have to be unpickled), or is of another kind or shape.
    """
    if not is_there(path):
        raise FormatError(f"{path}: is not there; an array is wanted")
    try:
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except LIES as error:
        raise FormatError(f"{path}: no array of numbers ({one_line(error)[:200]})") from error
    if not isinstance(found, np.ndarray):
        raise FormatError(f"{path}: an archive of several arrays; one array is wanted")
    if found.ndim == 2 and found.shape[1] == 1 and 1 in dims:
        found = found[:, 0]
    if found.dtype.kind not in kinds or found.ndim not in dims:
        raise FormatError(
            f"{path}: {found.dtype} of shape {found.shape}; one of kind {kinds} with {dims} axes is wanted"
        )
    array: NDArray[Any] = found
    return array


def same_length(path: Path, *arrays: NDArray[Any]) -> None:
    """Raise FormatError, naming the folder, where arrays that belong together differ in length."""
    lengths = sorted({len(array) for array in arrays})
    if len(lengths) > 1:
        raise FormatError(f"{path}: arrays of {' and '.join(map(str, lengths))} entries; they must match")
