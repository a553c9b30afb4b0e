"""Samples that stay in the file: (T, C) of a memory map, or of blocks in which each channel's samples lie together.

Mapped      a map of shape (T, C), in any order of bytes
Blocks      a map of shape (blocks, C, samples of a block), as many formats write what they buffered
mapped      a map of so many samples of a file, which must be there
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from neuroloom.ingest.formats import FormatError


@dataclass(frozen=True, eq=False)
class Mapped:
    """Samples (T, C), in the machine's own order of bytes when sliced."""

    source: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype.newbyteorder("=")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        return np.ascontiguousarray(self.source[part], dtype=self.dtype)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Samples (n, C) of blocks (B, C, K), of which the last may hold more than there are samples."""

    source: NDArray[Any]
    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n, self.source.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype.newbyteorder("=")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.n)
        if stop <= start:
            return np.zeros((0, self.shape[1]), self.dtype)
        per_block = self.source.shape[2]
        first, last = start // per_block, -(-stop // per_block)
        rows = self.source[first:last].transpose(0, 2, 1).reshape(-1, self.shape[1])
        shift = first * per_block
        return np.ascontiguousarray(rows[start - shift : stop - shift : step], dtype=self.dtype)


def mapped(path: Path, dtype: DTypeLike, shape: tuple[int, ...], *, offset: int = 0) -> NDArray[Any]:
    """A map of that shape. Raises FormatError where the file does not hold it, or it holds nothing."""
    kind = np.dtype(dtype)
    wanted = offset + int(np.prod(shape, dtype=object)) * kind.itemsize
    found = path.stat().st_size
    if not 0 <= offset < wanted <= found:
        what = " x ".join(map(str, shape))
        raise FormatError(f"{path}: {found} bytes; {what} numbers of {kind.name} from byte {offset} on take {wanted}")
    return np.memmap(path, kind, mode="r", offset=offset, shape=shape)
