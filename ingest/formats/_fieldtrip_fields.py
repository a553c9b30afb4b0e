"""Fields of FieldTrip's structures, the same from a file of MATLAB 5 as from one of 7.3 (HDF5).

    numbers an array, as MATLAB shows it        text a str        cells a list        a struct a dict
    samples of a 7.3 file                       where they lie, not read yet

is_fieldtrip(path, head)     whether a MATLAB file has such a structure
structures(path)             name and fields of each
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._hdf5 import (
    MATLAB_AT,
    SIGNATURE,
    StoredRows,
    check_stored,
    is_empty,
    is_own,
    is_references,
    is_text,
    own,
    text_rows,
)
from neuroloom.ingest.formats._matlab5 import MAX_CELLS, Matrix, is_matlab5, variables
from neuroloom.ingest.formats._messages import one_line

MAX_UNPACKED_BYTES = 1 << 28  # of what a MATLAB 5 file holds compressed: it is held in memory as long as the samples
MAX_FIELD_BYTES = 1 << 26  # of all that is read of a 7.3 file besides samples, and of a chunk of those
MAX_VARIABLES = 1000

WANTED = (
    "label", "time", "trial", "fsample", "sampleinfo", "trialinfo", "avg", "dof", "elec", "grad", "hdr", "chanunit",
    "chantype",
)  # fmt: skip
_WITHIN: Mapping[str, Collection[str]] = {
    "elec": ("label", "chanpos", "unit"),
    "grad": ("label", "chanpos", "unit", "chantype"),
    "hdr": ("label", "chanunit", "chantype"),
}
_SAMPLES = ("trial", "avg")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A matrix of shape (C, T) in a 7.3 file, where it lies turned."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def T(self) -> StoredRows:  # noqa: N802  as arrays name it
        """Samples (T, C), read when sliced."""
        return StoredRows(path=self.path, names=(self.name,), shape=self.shape[::-1], dtype=self.dtype)


def is_structure(fields: Collection[str]) -> bool:
    """True for the fields of raw data or averages."""
    return {"label", "time"} <= set(fields) and bool({"trial", "avg"} & set(fields))


def is_fieldtrip(path: Path, head: bytes) -> bool:
    """True for a MATLAB file with such a structure."""
    if head[MATLAB_AT : MATLAB_AT + 8] == SIGNATURE:
        with h5py.File(path, "r") as file:
            return any(is_own(file, name) and _is_group(file[name]) for name in islice(file, MAX_VARIABLES))
    if not is_matlab5(path):
        return False
    return any(is_structure(variable.fields) for variable in islice(variables(path), MAX_VARIABLES))


def _is_group(item: Any) -> bool:
    return isinstance(item, h5py.Group) and is_structure(item)


def structures(path: Path) -> dict[str, dict[str, Any]]:
    """Name -> fields. Raises FormatError where the file is damaged or holds too much at once."""
    with path.open("rb") as file:
        head = file.read(MATLAB_AT + 8)
    if head[MATLAB_AT:] != SIGNATURE:
        return _of_matlab5(path)
    try:
        with h5py.File(path, "r") as opened:
            names = [name for name in opened if is_own(opened, name) and _is_group(opened[name])]
            return {name: _Walk(path).fields(own(path, opened, name), WANTED) for name in names}
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"{path}: cannot be read as a MATLAB 7.3 file ({one_line(error)})") from error


# MATLAB 5 ------------------------------------------------------------------------------------------------------------


def _of_matlab5(path: Path) -> dict[str, dict[str, Any]]:
    if path.stat().st_size < 136 or not is_matlab5(path):
        raise FormatError(f"{path}: does not begin as a MATLAB file of version 5 or 7.3 does; one of them is wanted")
    found: dict[str, dict[str, Any]] = {}
    left = MAX_UNPACKED_BYTES
    for variable in islice(variables(path), MAX_VARIABLES):
        if not is_structure(variable.fields):
            continue
        matrix = variable.matrix(left)
        if matrix is None:
            most = MAX_UNPACKED_BYTES >> 20
            raise FormatError(
                f"{path}: {variable.name} takes more than {most} MB; up to {most} are read of a file of this version: "
                "save it with -v7.3"
            )
        left -= matrix.held_bytes
        if matrix.size != 1:
            raise FormatError(f"{path}: {variable.name} is an array of {matrix.size} structures; one is wanted")
        found[variable.name] = {key: _value(key, item) for key, item in next(matrix.rows(WANTED)).items()}
    return found


def _value(name: str, matrix: Matrix) -> Any:
    """What is in a field; None for objects and the like, and for arrays of structs."""
    match matrix.kind:
        case "struct":
            if matrix.size != 1 or name not in _WITHIN:
                return None
            return {key: _value("", item) for key, item in next(matrix.rows(_WITHIN[name])).items()}
        case "cell":
            return [_value("", cell) for cell in matrix.cells()]
        case "text":
            return matrix.letters()
        case "numbers":
            return matrix.numbers()
        case "empty":
            return np.zeros((0, 0))
        case "other":
            return None


# MATLAB 7.3 ----------------------------------------------------------------------------------------------------------


class _Walk:
    """One structure of a 7.3 file: how much of it has been read so far."""

    def __init__(self, path: Path) -> None:
        self.path, self.n_bytes, self.n_items = path, 0, 0

    def fields(self, group: h5py.Group, wanted: Collection[str]) -> dict[str, Any]:
        """Those that are wanted, and there."""
        return {name: self._field(name, own(self.path, group, name)) for name in wanted if name in group}

    def _field(self, name: str, item: Any) -> Any:
        if isinstance(item, h5py.Group):
            return self.fields(item, _WITHIN[name]) if name in _WITHIN else None
        return self._value(item, is_samples=name in _SAMPLES, depth=0)

    def _value(self, item: Any, *, is_samples: bool, depth: int) -> Any:
        self.n_items += 1
        if isinstance(item, h5py.Group) or depth > 2:
            return None
        check_stored(self.path, item.name, item, most=MAX_FIELD_BYTES)
        if self.n_items > MAX_CELLS or (is_references(item) and item.size > MAX_CELLS):
            raise FormatError(f"{self.path}: {item.name} has too many cells; fewer are wanted")
        if is_empty(item):
            return np.zeros((0, 0))
        if is_references(item):
            inner = (item.file[reference] for reference in item[()].ravel())
            return [self._value(one, is_samples=is_samples, depth=depth + 1) for one in inner]
        if is_samples and not is_text(item) and item.ndim == 2 and item.dtype.kind in "iuf":
            return Stored(path=self.path, name=item.name, shape=item.shape[::-1], dtype=item.dtype)
        self.n_bytes += item.size * item.dtype.itemsize
        if self.n_bytes > MAX_FIELD_BYTES:
            raise FormatError(f"{self.path}: {item.name} takes too much besides samples; less is wanted")
        values = np.asarray(item[()])
        return " ".join(text_rows(values)) if is_text(item) else values.T
