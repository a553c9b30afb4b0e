"""The chunks of a session's datasets, packed and unpacked outside HDF5: faster, and on every core.

HDF5 runs its filters one chunk at a time under one lock, with the zlib and the bitshuffle it was built with. Here the
same bytes come from ISA-L's deflate (igzip) and from bitshuffle's own package, in threads, and go to HDF5 as they are.
What is written is what HDF5's own filters read, and the other way round; a dataset with other filters, a chunk that
was stored without them, or a machine without the packages goes through HDF5.

Fletcher-32 as HDF5 has it: over 16 bit words, appended to the chunk, least significant byte first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._threads import in_threads

DEFLATE, SHUFFLE, FLETCHER32, BITSHUFFLE = 1, 2, 3, 32008  # HDF5's numbers
LZ4 = 2  # bitshuffle's
GZIP_LEVEL = 1
FEW_BYTES = 1 << 22  # for which threads do not pay
WORDS = 256  # in a row of the checksum's sums
ZLIB_HEAD = b"\x78\x01"  # deflate, a window of 32 KiB, the fastest level (RFC 1950)
LAST_BLOCK = b"\x01\x00\x00\xff\xff"  # an empty one
MOST_STORED = 65535  # bytes of a stored block
NOISE = 0.8  # of its size, and a plane of bytes is stored as it is
PROBE = 4096  # bytes that tell of it

Bytes = bytes | memoryview | NDArray[np.uint8]


class ChunkError(OSError):
    """A chunk that its checksum or its filter refuses."""


@dataclass(frozen=True)
class Codec:
    """How one dataset's chunks are packed. Row chunks only: shape is (rows, *row shape), all columns in one chunk."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pack: Callable[[NDArray[Any]], Bytes]
    unpack: Callable[[Bytes, tuple[int, ...], np.dtype[Any]], NDArray[Any]]

    def packed(self, rows: NDArray[Any]) -> bytes:
        """A chunk's bytes from its rows, which at the end of a dataset may be fewer than a chunk has."""
        if len(rows) < self.shape[0]:
            rows = np.concatenate([rows, np.zeros((self.shape[0] - len(rows), *self.shape[1:]), self.dtype)])
        body = bytes(self.pack(np.ascontiguousarray(rows, dtype=self.dtype)))
        return body + fletcher32(body).to_bytes(4, "little")

    def unpacked(self, raw: bytes) -> NDArray[Any]:
        """A chunk's rows from its bytes. Raises ChunkError where they are not what was written."""
        body, kept = memoryview(raw)[:-4], int.from_bytes(raw[-4:], "little")
        if len(raw) < 4 or fletcher32(body) != kept:
            raise ChunkError("a chunk does not fit its checksum")
        return self.unpack(body, self.shape, self.dtype)


def codec_of(dataset: Any) -> Codec | None:
    """How an open h5py dataset's chunks are packed, None where only HDF5 knows."""
    chunks, kind = dataset.chunks, dataset.dtype.kind
    if chunks is None or kind not in "iuf" or dataset.dtype.byteorder == ">" or chunks[1:] != dataset.shape[1:]:
        return None
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    numbers = [number for number, *_ in filters]
    if numbers == [SHUFFLE, DEFLATE, FLETCHER32]:
        return Codec(chunks, dataset.dtype, _deflated, _inflated)
    if numbers == [BITSHUFFLE, FLETCHER32] and tuple(filters[0][2][3:]) == (0, LZ4) and _has_bitshuffle():
        return Codec(chunks, dataset.dtype, _bitshuffled, _unbitshuffled)
    return None


def write_rows(dataset: Any, codec: Codec | None, blocks: Iterable[tuple[int, NDArray[Any]]]) -> None:
    """Write blocks of rows (first row, rows); each but the last a whole number of chunks; one is in memory."""
    if codec is None:
        for first, block in blocks:
            dataset[first : first + len(block)] = block
        return
    n = codec.shape[0]
    chunks = ((first + at, block[at : at + n]) for first, block in blocks for at in range(0, len(block), n))
    for first, packed in in_threads(lambda chunk: (chunk[0], codec.packed(chunk[1])), chunks):
        dataset.id.write_direct_chunk((first, *(0 for _ in codec.shape[1:])), packed)


def read_rows(dataset: Any, codec: Codec, first: int, last: int) -> NDArray[Any]:
    """Rows first to last of a dataset. Raises OSError where a checksum does not hold."""
    rows = np.empty((max(last - first, 0), *codec.shape[1:]), codec.dtype)
    for at, part in parts_of_rows(dataset, codec, first, last):
        rows[at - first : at - first + len(part)] = part
    return rows


def parts_of_rows(dataset: Any, codec: Codec, first: int, last: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Rows first to last chunk by chunk (first row, rows). Raises OSError where a checksum does not hold."""
    n = codec.shape[0]
    starts = range(first - first % n, last, n) if last > first else range(0)

    def unpacked(stored: tuple[int, bytes | None]) -> tuple[int, NDArray[Any] | None]:
        return stored[0], None if stored[1] is None else codec.unpacked(stored[1])

    stored = ((start, _raw(dataset, start)) for start in starts)
    is_much = len(starts) * int(np.prod(codec.shape)) * codec.dtype.itemsize > FEW_BYTES
    for start, chunk in in_threads(unpacked, stored) if is_much else map(unpacked, stored):
        lo, hi = max(start, first), min(start + n, last)
        yield lo, np.asarray(dataset[lo:hi]) if chunk is None else chunk[lo - start : hi - start]


def _raw(dataset: Any, start: int) -> bytes | None:
    """A chunk as it is stored, None where it was never written or not through every filter."""
    try:
        left_out, raw = dataset.id.read_direct_chunk((start, *(0 for _ in dataset.shape[1:])))
    except (RuntimeError, MemoryError):  # the latter is h5py's word for a chunk that is nowhere
        return None
    return bytes(raw) if left_out == 0 else None


# Filters ------------------------------------------------------------------------------------------------------------


def fletcher32(data: Bytes) -> int:
    """The checksum that HDF5's filter of that name appends to a chunk.

    Both of its sums from row and column sums of the words as a table: sum of (n - i) w_i without a running sum.
    """
    whole = np.frombuffer(data, np.uint8)
    n = len(whole) // 2
    words = whole[: 2 * n].view("<u2")
    n_rows = n // WORDS
    table = words[: n_rows * WORDS].reshape(n_rows, WORDS)
    by_row, by_column = (table.sum(axis, dtype=np.uint32).astype(np.int64) for axis in (1, 0))
    rest = words[n_rows * WORDS :].astype(np.int64)
    one = int(by_row.sum()) + int(rest.sum())
    where = WORDS * int(np.dot(np.arange(n_rows), by_row)) + int(np.dot(np.arange(WORDS), by_column))
    where += int(np.dot(np.arange(n_rows * WORDS, n), rest))
    first, second = _folded(one), _folded(n * one - where)
    if len(whole) % 2:
        first = _folded(first + int(whole[-1]))
        second = _folded(second + first)
    return (_swapped(second) << 16) | _swapped(first)


def _folded(total: int) -> int:
    """Modulo 65535 as ones' complement sums have it: 0 only where all was 0."""
    return (total % 65535) or (65535 if total else 0)


def _swapped(word: int) -> int:
    """HDF5 takes words with the most significant byte first; swapping the bytes of the sum is the same."""
    return ((word & 0xFF) << 8) | (word >> 8)


def _deflated(rows: NDArray[Any]) -> Bytes:
    """One zlib stream of all planes of bytes, one after the other: the noisy ones stored, the others deflated.

    What is in the lowest bytes of a recording is noise: deflating it saves a tenth, and inflating it takes twenty times
    as long as copying it.
    """
    from isal import isal_zlib

    planes = _shuffled(rows)
    parts = [ZLIB_HEAD]
    for plane in planes:
        parts += _stored_blocks(plane) if _is_noise(plane) else [_deflated_blocks(plane)]
    return b"".join([*parts, LAST_BLOCK, isal_zlib.adler32(planes.data).to_bytes(4, "big")])


def _is_noise(plane: NDArray[np.uint8]) -> bool:
    """Whether deflating is worth little, told by the middle of a plane."""
    from isal import igzip_lib

    probe = plane[max(len(plane) - PROBE, 0) // 2 :][:PROBE]
    return len(igzip_lib.compress(probe.data, GZIP_LEVEL, igzip_lib.COMP_DEFLATE)) > NOISE * len(probe)


def _deflated_blocks(plane: NDArray[np.uint8]) -> bytes:
    """Blocks of a deflate stream that end with a whole byte and are not its last."""
    from isal import isal_zlib

    deflating = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    return bytes(deflating.compress(plane.data) + deflating.flush(isal_zlib.Z_SYNC_FLUSH))


def _stored_blocks(plane: NDArray[np.uint8]) -> Iterator[bytes]:
    """The same of bytes as they are (RFC 1951, 3.2.4): a zero, the length, its complement, the bytes."""
    for at in range(0, len(plane), MOST_STORED):
        part = plane[at : at + MOST_STORED]
        yield b"\0" + len(part).to_bytes(2, "little") + (MOST_STORED - len(part)).to_bytes(2, "little")
        yield part.tobytes()


def _inflated(body: Bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    from isal import igzip_lib

    n_bytes = int(np.prod(shape)) * dtype.itemsize
    inflating = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
    try:
        plain = inflating.decompress(body, max_length=n_bytes + 1)  # whatever a chunk may claim to hold
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stub has an instance for the class
        raise ChunkError(f"a chunk cannot be inflated ({error})") from error
    if len(plain) != n_bytes or not inflating.eof:
        raise ChunkError(f"a chunk does not inflate to the {n_bytes} bytes that are wanted")
    return _unshuffled(np.frombuffer(plain, np.uint8), dtype).reshape(shape)


def _shuffled(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """All lowest bytes, then all second ones, and so on. By shifts: numpy transposes bytes ten times slower."""
    words = rows.reshape(-1).view(f"<u{rows.dtype.itemsize}")
    planes = np.empty((rows.dtype.itemsize, len(words)), np.uint8)
    for place, plane in enumerate(planes):
        np.copyto(plane, words >> (8 * place), casting="unsafe")
    return planes


def _unshuffled(body: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
    planes = body.reshape(dtype.itemsize, -1)
    words = planes[-1].astype(f"<u{dtype.itemsize}")
    for plane in planes[-2::-1]:
        words <<= 8
        words |= plane
    rows: NDArray[Any] = words.view(dtype)
    return rows


def _has_bitshuffle() -> bool:
    """Whether bitshuffle's own package is here: it is where it has a wheel."""
    try:
        import bitshuffle  # noqa: F401
    except ImportError:
        return False
    return True


def _bitshuffled(rows: NDArray[Any]) -> Bytes:
    import bitshuffle

    # The filter's head: bytes of the chunk, bytes of a block, most significant byte first.
    head = rows.nbytes.to_bytes(8, "big") + (_block_size(rows.dtype) * rows.dtype.itemsize).to_bytes(4, "big")
    return head + bytes(bitshuffle.compress_lz4(rows, _block_size(rows.dtype)))


def _unbitshuffled(body: Bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    import bitshuffle

    n_bytes = int(np.prod(shape)) * dtype.itemsize
    said, block = int.from_bytes(body[:8], "big"), int.from_bytes(body[8:12], "big") // dtype.itemsize
    if said != n_bytes or block == 0 or block % 8:
        raise ChunkError(f"a chunk says that it holds {said} bytes; {n_bytes} are wanted")
    try:
        rows: NDArray[Any] = bitshuffle.decompress_lz4(np.frombuffer(body, np.uint8)[12:], shape, dtype, block)
    except ValueError as error:
        raise ChunkError(f"a chunk cannot be unpacked ({error})") from error
    return rows


def _block_size(dtype: np.dtype[Any]) -> int:
    """Elements in a block of bitshuffle: 8 KiB of them, a multiple of 8 and 128 at least, as its library chooses."""
    return max(8192 // dtype.itemsize // 8 * 8, 128)
