"""BLAKE3 digests of files, folders and HDF5 datasets, streamed: memory does not grow with what is digested.

A digest is written `blake3:<64 hexadecimal digits>`. That of a dataset covers its type, its shape and its decoded
content, so it stays the same when only filters or chunks change, and it names the dataset in which a byte went bad.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from neuroloom.ingest.chunks import codec_of, parts_of_rows

BLOCK_BYTES = 1 << 22  # 16 MiB take a quarter more memory to ingest a wide probe, and are no faster
FILE_BLOCK_BYTES = 1 << 20
PREFIX = "blake3:"


class Digester:
    """A digest that grows as bytes come by."""

    def __init__(self, *, every_core: bool = False) -> None:
        self._hash = blake3(max_threads=blake3.AUTO if every_core else 1)

    def update(self, data: bytes | memoryview | NDArray[Any]) -> None:
        """Add bytes, or the content of an array in C order."""
        if isinstance(data, np.ndarray):
            data = np.ascontiguousarray(data).data.cast("B") if data.size else b""
        self._hash.update(data)

    def digest(self) -> str:
        """`blake3:` and the digest so far in hexadecimal."""
        return PREFIX + str(self._hash.hexdigest())


def digest_of_bytes(data: bytes) -> str:
    """The digest of some bytes."""
    return PREFIX + str(blake3(data).hexdigest())


def digest_of_file(path: Path, *, every_core: bool = False) -> str:
    """The digest of a file's bytes; every_core: as fast as the machine can. Raises OSError where it cannot be read."""
    # Read, not mapped: a bad disk block then raises OSError, where a memory map would kill the process.
    # A block that stays in a core's cache is digested about 1.4 times as fast as one of 16 MiB.
    digester = Digester(every_core=every_core)
    buffer = bytearray(min(FILE_BLOCK_BYTES, max(path.stat().st_size, 1)))
    with path.open("rb", buffering=0) as file:
        while n_read := file.readinto(buffer):
            digester.update(memoryview(buffer)[:n_read])
    return digester.digest()


def digest_of_folder(folder: Path) -> str:
    """One digest over the names and contents of all files below a folder, whatever the folder itself is called."""
    digester = Digester()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digester.update(f"{path.relative_to(folder).as_posix()}\0{digest_of_file(path)}\n".encode())
    return digester.digest()


def header_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What a dataset's digest begins with: its type and shape."""
    return f"{dtype.newbyteorder('<').str}{list(shape)}\n".encode()


def rows_per_block(shape: tuple[int, ...], itemsize: int, multiple_of: int = 1) -> int:
    """How many rows fit into a block of memory; whole chunks where that many rows are a chunk."""
    row_bytes = max(int(np.prod(shape[1:], dtype=np.int64)) * itemsize, 1)
    return max(BLOCK_BYTES // row_bytes // multiple_of, 1) * multiple_of


def digest_of_dataset(dataset: Any) -> str:
    """The digest of an h5py dataset's type, shape and content.

    Raises OSError where a checksum of HDF5 does not hold.
    """
    digester = Digester()
    kind = dataset.dtype.kind
    digester.update(header_of(dataset.shape, dataset.dtype if kind != "O" else np.dtype("V")))
    for block in _blocks(dataset):
        digester.update(_texts(dataset, block) if kind == "O" else _little_endian(block))
    return digester.digest()


def digests_of_datasets(file: Any) -> dict[str, str]:
    """The digest of every dataset of an open h5py file, by its path; links to elsewhere are not followed."""
    return {path: digest_of_dataset(file[path]) for path in dataset_paths(file)}


def dataset_paths(file: Any) -> list[str]:
    """The paths of all datasets of an open h5py file; links to elsewhere are not followed."""
    import h5py

    found: list[str] = []
    file.visititems(lambda path, item: found.append(f"/{path}") if isinstance(item, h5py.Dataset) else None)
    return sorted(found)


def _blocks(dataset: Any) -> Iterator[Any]:
    if dataset.shape is None or dataset.size == 0:
        return
    if dataset.shape == ():
        yield np.asarray([dataset[()]], dtype=dataset.dtype)
        return
    codec = codec_of(dataset)
    if codec is not None:
        for _, rows in parts_of_rows(dataset, codec, 0, dataset.shape[0]):
            yield rows
        return
    n_rows = rows_per_block(dataset.shape, max(dataset.dtype.itemsize, 1), dataset.chunks[0] if dataset.chunks else 1)
    for first in range(0, dataset.shape[0], n_rows):
        yield dataset[first : first + n_rows]


def _little_endian(block: NDArray[Any]) -> NDArray[Any]:
    return block.astype(block.dtype.newbyteorder("<"), copy=False)


def _texts(dataset: Any, block: NDArray[Any]) -> bytes:
    """Strings and references as bytes: strings with their lengths, references as the path they point to."""
    parts = []
    for item in block.ravel():
        if isinstance(item, str | bytes):
            text = item.encode() if isinstance(item, str) else item
        else:
            text = str(dataset.file[item].name).encode() if item else b""
        parts.append(f"{len(text)}:".encode() + text)
    return b"".join(parts)
