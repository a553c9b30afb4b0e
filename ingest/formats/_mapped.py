"""Samples that stay in the file: (T, C) of a memory map, or of blocks in which each channel's samples lie together.

Mapped      a map of shape (T, C), in any order of bytes
Blocks      a map of shape (blocks, C, samples of a block), as many formats write what they buffered
Records     a map of records in which each channel has a stretch of its own
SampleRange some samples, one after another, of others
mapped      a map of so many samples of a file, which must be there
whole_samples   how many there are in a file that is nothing but samples
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Samples

CACHED_BYTES = 1 << 18


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


@dataclass(frozen=True, eq=False)
class Records:
    """Samples (T, C) of channels with a stretch of each in every record: bytes (R, B), and where each begins there.

    kind: of all of them; "<i3" are the 24 bits that NumPy has not, and become int32.
    """

    source: NDArray[np.uint8]
    places: tuple[int, ...]
    per_record: int
    kind: str

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.source) * self.per_record, len(self.places))

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("i4" if self.kind == "<i3" else self.kind).newbyteorder("=")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        if stop <= start:
            return np.zeros((0, self.shape[1]), self.dtype)
        first, last = start // self.per_record, -(-stop // self.per_record)
        out = np.empty((last - first, self.per_record, len(self.places)), self.dtype)
        # So many records at a time that turning them round stays within a core's own cache.
        at_once = max(CACHED_BYTES // out[:1].nbytes, 1)
        for at in range(first, last, at_once):
            turned = self._by_channel(at, min(at + at_once, last)).transpose(0, 2, 1)
            out[at - first : at - first + len(turned)] = turned
        shift = first * self.per_record
        return out.reshape(-1, len(self.places))[start - shift : stop - shift : step]

    def _by_channel(self, first: int, last: int) -> NDArray[Any]:
        """Records, (R, C, samples of a record)."""
        width = self.per_record * (3 if self.kind == "<i3" else self.dtype.itemsize)
        rows = self.source[first:last].view(np.ndarray)  # slices of a map are slow
        block = np.stack([rows[:, at : at + width] for at in self.places], axis=1)
        return int24(block) if self.kind == "<i3" else block.view(self.kind)


@dataclass(frozen=True, eq=False)
class SampleRange:
    """Samples (stop - first, C) of `source`, from sample `first` on."""

    source: Samples
    first: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.stop - self.first, self.source.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        return self.source[self.first + start : self.first + max(stop, start) : step]


def int24(block: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Little-endian numbers of three bytes each, shape (..., 3 n), as (..., n)."""
    # Four bytes at every third place, of which the lowest is that of the number before and is shifted out.
    n = block.size // 3
    padded = np.concatenate([np.zeros(1, np.uint8), block.reshape(-1)])
    value = np.ndarray((n,), "<i4", padded, 0, (3,)) >> 8
    return value.astype(np.int32, copy=False).reshape(*block.shape[:-1], block.shape[-1] // 3)


def mapped(path: Path, dtype: DTypeLike, shape: tuple[int, ...], *, offset: int = 0) -> NDArray[Any]:
    """A map of that shape. Raises FormatError where the file does not hold it, or it holds nothing."""
    kind = np.dtype(dtype)
    wanted = offset + int(np.prod(shape, dtype=object)) * kind.itemsize
    found = path.stat().st_size
    if not 0 <= offset < wanted <= found:
        what = " x ".join(map(str, shape))
        raise FormatError(f"{path}: {found} bytes; {what} numbers of {kind.name} from byte {offset} on take {wanted}")
    return np.memmap(path, kind, mode="r", offset=offset, shape=shape)


def whole_samples(path: Path, n_channels: int, itemsize: int, repairs: list[str], *, offset: int = 0) -> int:
    """How many samples of so many channels a file holds from byte `offset` on; what is left of one at its end is told.

    Raises FormatError where it holds none, or where its bytes fit one channel more and not those stated: cut off by
    chance or not, samples of the wrong width are noise, and nobody sees that from the numbers.
    """
    n_bytes = max(path.stat().st_size - offset, 0)
    n, rest = divmod(n_bytes, n_channels * itemsize)
    if n == 0:
        raise FormatError(f"{path}: {n_bytes} bytes; at least one sample of {n_channels} channels is wanted")
    if rest and n_bytes % ((n_channels + 1) * itemsize) == 0:
        raise FormatError(
            f"{path}: {n_bytes} bytes are no whole number of samples of {n_channels} channels, but one of "
            f"{n_channels + 1}; a header that lists all channels is wanted, or a file that ends with a whole sample"
        )
    if rest:
        repairs.append(Defect(f"{path.name}: {rest} bytes after the last whole sample left out"))
    return n
