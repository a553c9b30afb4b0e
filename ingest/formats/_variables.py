"""Variables of MATLAB, NumPy and text files by name, with nothing in them executed or followed.

    leaves(file, variable)      every array of numbers or text under a name, and its place in nested cells
    texts_of(file, variable)    the same as text
    column_of(file, variable)   numbers where they are, else text
    rows_of(file, variable)     a matrix that is read by the slice, where the file allows it

`.npy` has no variables (""); `.npz` and `.csv` have flat names; in `.mat`, fields of structs come after a dot.
Every error is a FormatError of one line that names the file. Pickled objects, links to other files and MATLAB classes
are refused; so is a variable of more than MAX_BYTES after decompression, where it cannot be read by the slice.

Design rationale: stock readers believe what a variable says of its size. Here it is counted before or while it is
unpacked, so that a small file that swells to gigabytes is refused and not tried.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._hdf5 import (
    MATLAB_AT,
    SIGNATURE,
    check_stored,
    is_empty,
    is_references,
    is_text,
    own,
    text_rows,
)
from neuroloom.ingest.formats._matlab5 import MAX_CELLS, MAX_DEPTH, Matrix, is_matlab5, variables
from neuroloom.ingest.formats._messages import one_line, shown
from neuroloom.ingest.formats._npy import LIES
from neuroloom.ingest.formats._tables import TextTable, find_table, numbers, texts, typed, whole

MAX_BYTES = 1 << 28

Leaf = tuple[tuple[int, ...], NDArray[Any]]  # place, counted from 1, with no number for a level of one; the array

_TEXT_FILES = (".csv", ".tsv", ".txt")


def leaves(file: Path, variable: str) -> list[Leaf]:
    """At least one array. Those of a `.npy`, and of a `.mat` of version 5 that are not packed, come memory-mapped."""
    kind = file.suffix.lower()
    readers = {".npy": _npy, ".npz": _npz, ".mat": _mat} | dict.fromkeys(_TEXT_FILES, _csv_numbers)
    if kind not in readers:
        raise FormatError(f"{file}: arrays are read from {', '.join(readers)}; one of them is wanted")
    if (kind == ".npy") == bool(variable):
        raise FormatError(
            f"{file}: variable {variable!r}; {'none' if variable else 'the name of one'} is wanted of a {kind}"
        )
    found = readers[kind](file, variable)
    if not found:
        raise FormatError(f"{file}: {variable} holds no array; one at least is wanted")
    for _, array in found:
        if array.dtype.kind not in "biufUS":
            raise FormatError(f"{file}: {variable or 'its array'} is of {array.dtype}; numbers or text are wanted")
    return found


def texts_of(file: Path, variable: str) -> tuple[str, ...]:
    """Text, or numbers written as text: of an array, or of one in each cell."""
    if file.suffix.lower() in _TEXT_FILES:
        table = _csv(file, variable, max_bytes=MAX_BYTES // 8)  # a text takes several times its letters
        column = table.column(variable)
        return tuple(cells[column] for _, cells in texts(table))
    return tuple(as_text(value) for _, array in leaves(file, variable) for value in array.ravel())


def column_of(file: Path, variable: str) -> tuple[Any, ...]:
    """Numbers where all are, else text."""
    if file.suffix.lower() in _TEXT_FILES:
        return typed(texts_of(file, variable))
    found = leaves(file, variable)
    is_text = len(found) > 1 or found[0][1].dtype.kind in "US"
    return texts_of(file, variable) if is_text else tuple(found[0][1].ravel().tolist())


def rows_of(file: Path, variable: str) -> Any:
    """A matrix that can be sliced and turned (`.T`) unread: of a `.npy`, or a `.mat` of version 7.3; else None."""
    kind = file.suffix.lower()
    if kind == ".npy":
        return leaves(file, variable)[0][1]
    return _hdf5_rows(file, variable) if kind == ".mat" and _is_hdf5(file) else None


def as_text(value: Any) -> str:
    """A label, a name or a number as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, np.floating | float) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _too_large(file: Path, variable: str, n_bytes: int) -> FormatError:
    return FormatError(
        f"{file}: {variable} takes {n_bytes} bytes or more in memory; at most {MAX_BYTES} are read at once, any number "
        "from a .npy"
    )


@contextmanager
def _vendor(file: Path, variable: str) -> Iterator[None]:
    """What a vendor's reader raises becomes a FormatError; what it only warns of is no matter."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FormatError:
        raise
    except LIES as error:
        named = f"{variable}: " if variable else ""
        raise FormatError(f"{file}: {named}{one_line(error)}; numbers or text are wanted") from error


def _npy(file: Path, _: str) -> list[Leaf]:
    with _vendor(file, ""):
        return [((), np.load(file, mmap_mode="r", allow_pickle=False))]


def _npz(file: Path, variable: str) -> list[Leaf]:
    from zipfile import BadZipFile, ZipFile

    try:
        with _vendor(file, variable), ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if variable not in names:
                raise FormatError(f"{file}: no array {variable!r}; it has {shown(names)}")
            member = archive.infolist()[names.index(variable)]
            with archive.open(member) as stream:
                n_bytes = max(member.file_size, _claimed_bytes(stream))
            if n_bytes > MAX_BYTES:
                raise _too_large(file, variable, n_bytes)
            with archive.open(member) as stream:
                return [((), np.lib.format.read_array(stream, allow_pickle=False))]
    except BadZipFile as error:
        raise FormatError(f"{file}: {error}; an .npz is wanted") from error


def _claimed_bytes(stream: IO[bytes]) -> int:
    """What the header of an .npy claims to hold."""
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    return math.prod(shape) * dtype.itemsize


def _csv_numbers(file: Path, variable: str) -> list[Leaf]:
    table = _csv(file, variable, max_bytes=MAX_BYTES)
    blocks = [values[:, 0] for values, _, _ in numbers(table, [table.column(variable)])]
    return [((), np.concatenate(blocks) if blocks else np.zeros(0))]


def _csv(file: Path, variable: str, *, max_bytes: int) -> TextTable:
    table = find_table(file, lambda names: variable in names, declared=True)
    if table is None:
        raise FormatError(f"{file}: no header above rows of as many cells names {variable!r}; such a column is wanted")
    return whole(table, max_bytes=max_bytes)[0]


# MATLAB ------------------------------------------------------------------------------------------------------------


def _mat(file: Path, variable: str) -> list[Leaf]:
    name, *fields = variable.split(".")
    if _is_hdf5(file):
        return _hdf5(file, name, fields)
    if not is_matlab5(file):
        raise FormatError(f"{file}: does not begin as a MATLAB file of version 5 or 7.3 does; one of them is wanted")
    there = []
    for found in variables(file):
        there.append(found.name)
        if found.name == name:
            matrix = found.matrix(MAX_BYTES)
            if matrix is None:
                raise _too_large(file, name, MAX_BYTES + 1)
            return list(_within(file, name, matrix, fields, ()))
    raise FormatError(f"{file}: no variable {name!r}; it has {shown(there)}")


def _is_hdf5(file: Path) -> bool:
    with file.open("rb") as opened:
        head = opened.read(MATLAB_AT + len(SIGNATURE))
    return head.startswith((b"MATLAB 7.3", SIGNATURE[:4])) or head[MATLAB_AT:] == SIGNATURE


def _within(file: Path, name: str, matrix: Matrix, fields: Sequence[str], place: tuple[int, ...]) -> Iterator[Leaf]:
    """The arrays in nested cells and structs, in MATLAB's order; a level of one has no number in their place."""
    match matrix.kind:
        case "cell" | "struct":
            inner = matrix.cells()
            if matrix.kind == "struct":
                asked = _field(file, name, fields, matrix.fields)
                inner, fields = (row[asked] for row in matrix.rows([asked])), fields[1:]
            for k, item in enumerate(inner, start=1):
                yield from _within(file, name, item, fields, (*place, k) if matrix.size > 1 else place)
        case "other":
            what = "complex, sparse, an object or a function"
            raise FormatError(f"{file}: {name} is {what}; numbers, text, cells or structs are wanted")
        case _ if fields:
            if matrix.size:  # where structs are expected, an empty cell says that there is none
                raise _no_struct(file, name, fields)
        case "text":
            yield place, _lines(matrix)
        case "numbers":
            yield place, matrix.numbers()
        case "empty":
            yield place, np.zeros(0)


def _lines(matrix: Matrix) -> NDArray[Any]:
    """The rows of a matrix of letters, a text each."""
    if matrix.shape[0] > MAX_CELLS:  # of no letters, maybe
        raise matrix.source.too_much()
    letters = np.array(list(matrix.letters()), dtype="U1")
    if letters.size != matrix.size or len(matrix.shape) != 2:
        return np.array(["".join(letters)])
    return np.array(["".join(row) for row in letters.reshape(matrix.shape, order="F")], dtype=np.str_)


def _field(file: Path, name: str, fields: Sequence[str], there: Sequence[str]) -> str:
    if not fields or fields[0] not in there:
        asked = f"{name}.{fields[0]}" if fields else name
        raise FormatError(f"{file}: {asked} is no array; {name} holds structs with the fields {shown(there)}")
    return fields[0]


def _no_struct(file: Path, name: str, fields: Sequence[str]) -> FormatError:
    return FormatError(f"{file}: {name} holds numbers in place of a struct with the field {fields[0]!r}")


def _hdf5(file: Path, name: str, fields: Sequence[str]) -> list[Leaf]:
    """The arrays of a variable of a file of version 7.3, turned as MATLAB shows them."""
    with _vendor(file, name), h5py.File(file, "r") as opened:
        return list(_Hdf5(file, name).within(own(file, opened, name), fields, (), depth=0))


class _Hdf5:
    """One variable of an HDF5 file: how much of it has been read so far, so that no reference leads round for ever."""

    def __init__(self, file: Path, name: str) -> None:
        self.file, self.name, self.n_bytes, self.n_items = file, name, 0, 0

    def within(self, item: Any, fields: Sequence[str], place: tuple[int, ...], *, depth: int) -> Iterator[Leaf]:
        """As `_within` does."""
        self._count(item, depth)
        if isinstance(item, h5py.Group):
            asked = _field(self.file, self.name, fields, list(item))
            yield from self.within(own(self.file, item, asked), fields[1:], place, depth=depth + 1)
        elif is_empty(item):
            yield from [] if fields else [(place, np.zeros(0))]
        elif is_references(item):
            # HDF5 holds arrays transposed, so that this is MATLAB's order.
            for k, reference in enumerate(item[()].ravel(), start=1):
                there = (*place, k) if item.size > 1 else place
                yield from self.within(item.file[reference], fields, there, depth=depth + 1)
        elif fields:
            raise _no_struct(self.file, self.name, fields)
        else:
            yield place, self._array(item)

    def _count(self, item: Any, depth: int) -> None:
        self.n_items += 1
        if hasattr(item, "dtype"):
            check_stored(self.file, self.name, item, most=MAX_BYTES)
            self.n_bytes += item.size * item.dtype.itemsize
        if self.n_bytes > MAX_BYTES:
            raise _too_large(self.file, self.name, self.n_bytes)
        if depth > MAX_DEPTH or self.n_items > MAX_CELLS:
            raise FormatError(f"{self.file}: {self.name} is nested too deep or has too many cells; fewer are wanted")

    def _array(self, item: Any) -> NDArray[Any]:
        values = np.asarray(item[()])
        if is_text(item):
            return np.array(text_rows(values), dtype=np.str_)
        return values.T


def _hdf5_rows(file: Path, name: str) -> _Hdf5Rows | None:
    """A matrix of numbers, read by the slice; None for cells, structs and what is in them."""
    if "." in name:
        return None
    with _vendor(file, name), h5py.File(file, "r") as opened:
        dataset = own(file, opened, name)
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 2 or dataset.dtype.kind not in "iuf":
            return None
        check_stored(file, name, dataset, most=MAX_BYTES)
        return _Hdf5Rows(file=file, name=name, stored=dataset.shape, dtype=dataset.dtype)


@dataclass(frozen=True, kw_only=True)
class _Hdf5Rows:
    """A matrix of a `.mat` of version 7.3, which holds it transposed. is_turned: as it lies there, channels first."""

    file: Path
    name: str
    stored: tuple[int, int]
    dtype: np.dtype[Any]
    is_turned: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored if self.is_turned else self.stored[::-1]

    @property
    def T(self) -> _Hdf5Rows:  # noqa: N802  as arrays name it
        """Rows for columns."""
        return replace(self, is_turned=not self.is_turned)

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        with _vendor(self.file, self.name), h5py.File(self.file, "r") as opened:
            dataset = opened[self.name]
            return np.asarray(dataset[part] if self.is_turned else dataset[:, part].T)
