"""Where the samples of an EEGLAB file lie, and epochs of them, read only when sliced.

X.fdt, X.dat     float32 beside the .set, memory-mapped: all channels of a sample together, or all samples of a channel
MATLAB 5         in the .set, mapped or unpacked
MATLAB 7.3       in the .set, a dataset of HDF5: (T, C), or (epochs, T, C), the reverse of MATLAB's order
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import beside, is_there, plainly_named
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Samples


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the file states about its samples; n_samples is that of one epoch, or of all where there is one."""

    n_channels: int
    n_samples: int
    n_epochs: int
    rate_hz: float

    @property
    def total(self) -> int:
        """Samples per channel over all epochs."""
        return self.n_samples * self.n_epochs


@dataclass(frozen=True)
class Stored:
    """Samples in a dataset of a 7.3 file."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _StoredRows:
    """Samples (T, C) of one epoch from `first` on; the file is opened when sliced."""

    data: Stored
    epoch: int
    first: int
    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n, self.data.shape[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.n)
        rows = slice(self.first + start, self.first + max(stop, start))
        try:
            with h5py.File(self.data.path, "r") as file:
                item = file[self.data.name]
                return np.asarray(item[rows] if item.ndim == 2 else item[self.epoch, rows])[::step]
        except (OSError, RuntimeError, LookupError) as error:
            what = f"samples {rows.start} to {rows.stop} cannot be read ({one_line(error)})"
            raise FormatError(f"{self.data.path}: {what}; the file is damaged or has changed") from error


@dataclass(frozen=True)
class Store:
    """Samples of all epochs in a row: an array or memory map (T, C), or a dataset."""

    source: NDArray[Any] | Stored
    shape: Shape

    def rows(self, first: int, n: int) -> Samples:
        """Samples (n, C) from the one numbered `first`, within one epoch."""
        if isinstance(self.source, Stored):
            epoch, start = divmod(first, self.shape.n_samples)
            return _StoredRows(self.source, epoch, start, n)
        return self.source[first : first + n]


def data_file(path: Path, data: Any, repairs: list[str]) -> Path | None:
    """The file that the field `data` names, in the same folder; None where the samples are inside."""
    if not isinstance(data, str):
        return None
    what, name, renamed = "the file of its samples", data.strip(), path.with_suffix(".fdt")
    if not is_there(plainly_named(path, name, what)) and is_there(renamed):
        repairs.append(Defect(f"names {name!r} for its samples, which is not beside it", repr(renamed.name)))
        return renamed
    return beside(path, name, what)


def mapped(path: Path, data: Path, shape: Shape) -> Store:
    """Samples beside the .set. Raises FormatError where their file is not as large as it should be."""
    wanted, found = 4 * shape.n_channels * shape.total, data.stat().st_size
    if found != wanted:
        raise FormatError(
            f"{data}: {found} bytes; {path.name} states {shape.n_channels} channels x {shape.total} samples, so "
            f"{wanted} are wanted: still being copied, cut off, or of another recording"
        )
    if data.suffix.lower() == ".dat":  # EEGLAB writes the transpose under this name
        return Store(np.memmap(data, "<f4", mode="r", shape=(shape.n_channels, shape.total)).T, shape)
    return Store(np.memmap(data, "<f4", mode="r", shape=(shape.total, shape.n_channels)), shape)


def embedded(path: Path, data: Any, shape: Shape) -> Store:
    """Samples inside the file, as they are stored. Raises FormatError where they are not as many as it states."""
    sizes = (shape.n_epochs, shape.n_samples, shape.n_channels)
    wanted = sizes if shape.n_epochs > 1 else sizes[1:]
    if isinstance(data, Stored):
        source: NDArray[Any] | Stored = data
        fits = data.shape == wanted
    else:
        source = np.asarray(data)
        fits = source.size == int(np.prod(sizes, dtype=object))
    if not fits or source.dtype.kind not in "iuf":
        found = " x ".join(map(str, source.shape)) or "no"
        raise FormatError(
            f"{path}: data are {found} values of type {source.dtype}; numbers of {shape.n_channels} channels x "
            f"{shape.n_samples} samples x {shape.n_epochs} epochs are wanted"
        )
    if isinstance(source, np.ndarray):
        source = source.reshape((shape.n_channels, shape.total), order="F").T
    return Store(source, shape)
