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
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._tables import TextTable, find_table, numbers, shown, texts, typed, whole

MAX_BYTES = 1 << 28
MAX_CELLS = 1_000_000
MAX_DEPTH = 16

Leaf = tuple[tuple[int, ...], NDArray[Any]]  # place, counted from 1, with no number for a level of one; the array

_TEXT_FILES = (".csv", ".tsv", ".txt")
_MATRIX, _PACKED = 14, 15  # kinds of elements of MATLAB 5
_CELL, _STRUCT, _CHAR, _NUMBERS, _COMPLEX = 1, 2, 4, range(6, 16), -1  # classes of its matrices
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NAME_BYTES = 1 << 10  # of an unpacked variable, within which its name stands
# What numpy and h5py raise on files that lie: found with some ten thousand mutated ones.
_LIES = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, NameError, OSError, EOFError, SyntaxError,
    MemoryError, RuntimeError, BufferError, TokenError, zlib.error, struct.error,
)  # fmt: skip


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
    except _LIES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{file}: {f'{variable}: ' * bool(variable)}{reason}; numbers or text are wanted") from error


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
    matlab, at, end = _matlab5(file, name)
    return list(matlab.within(at, end, fields, (), depth=0))


def _is_hdf5(file: Path) -> bool:
    with file.open("rb") as opened:
        head = opened.read(520)
    return head.startswith((b"MATLAB 7.3", b"\x89HDF")) or head[512:] == b"\x89HDF\r\n\x1a\n"


def _matlab5(file: Path, name: str) -> tuple[_Matlab5, int, int]:
    """A variable of a file of version 5 to 7.2: where it lies in the file itself, or in what was packed there."""
    with file.open("rb") as opened:
        head = opened.read(128)
    if not head.startswith(b"MATLAB 5.0") or len(head) < 128 or head[126:] not in (b"IM", b"MI"):
        raise FormatError(f"{file}: does not begin as a MATLAB file of version 5 or 7.3 does; one of them is wanted")
    order: Literal["<", ">"] = "<" if head[126:] == b"IM" else ">"
    mapped = _Matlab5(file, name, np.memmap(file, np.uint8, mode="r"), order)
    at, end, names = 128, mapped.data.size, []
    while at < end:
        start = at
        kind, first, n_bytes, at = mapped.element(start, end)
        if kind != _PACKED:
            names.append(mapped.name_of(start, end))
            if names[-1] == name:
                return mapped, start, at
            continue
        begins = _unpacked(file, name, mapped, first, n_bytes, most=_NAME_BYTES)
        names.append(_Matlab5(file, name, begins, order).name_of(0, begins.size))
        if names[-1] == name:
            content = _unpacked(file, name, mapped, first, n_bytes, most=MAX_BYTES + 1)
            if content.size > MAX_BYTES:
                raise _too_large(file, name, content.size)
            return _Matlab5(file, name, content, order), 0, content.size
    raise FormatError(f"{file}: no variable {name!r}; it has {shown(names)}")


def _unpacked(file: Path, name: str, mapped: _Matlab5, first: int, n_bytes: int, *, most: int) -> NDArray[np.uint8]:
    """The first bytes of a packed variable, not more than `most` of them."""
    inflate, found = zlib.decompressobj(), bytearray()
    with _vendor(file, name):
        for start in range(first, first + n_bytes, 1 << 20):
            block = mapped.data[start : min(start + (1 << 20), first + n_bytes)].tobytes()
            while block and len(found) < most:
                found += inflate.decompress(block, most - len(found))
                block = inflate.unconsumed_tail
            if len(found) >= most:
                break
    return np.frombuffer(found, dtype=np.uint8)


class _Matlab5:
    """Elements of MATLAB 5, each a kind, a size and that many bytes, one within another.

    Design rationale: `scipy.io.loadmat` takes the process down on some damaged files; this little of the format is
    enough, reads only what is asked for, and leaves what is not packed mapped.
    """

    def __init__(self, file: Path, name: str, data: NDArray[np.uint8], order: Literal["<", ">"]) -> None:
        self.file, self.name, self.data, self.order = file, name, data, order

    def element(self, at: int, end: int) -> tuple[int, int, int, int]:
        """Kind, first byte, number of bytes, and where the next one is."""
        if at + 8 > end:
            raise self._damaged(at)
        kind, n_bytes = struct.unpack(f"{self.order}II", self.data[at : at + 8].tobytes())
        first, after = at + 8, at + 8 + n_bytes + (0 if kind == _PACKED else -n_bytes % 8)
        if kind >> 16:  # a small one: size, kind and content in eight bytes
            kind, n_bytes, first, after = kind & 0xFFFF, min(kind >> 16, 4), at + 4, at + 8
        if first + n_bytes > end:
            raise self._damaged(at)
        return kind, first, n_bytes, min(after, end)

    def head(self, at: int, end: int) -> tuple[int, tuple[int, ...], str, int, int]:
        """Class, shape, name, where its content begins and where it ends, of a matrix; class 0 for an empty one."""
        kind, first, n_bytes, _ = self.element(at, end)
        stop = first + n_bytes
        if kind != _MATRIX:
            raise self._damaged(at)
        if n_bytes == 0:
            return 0, (0, 0), "", stop, stop
        flags, inner = self.numbers(first, stop)
        shape, inner = self.numbers(inner, stop)
        name, inner = self.numbers(inner, stop)
        if not flags.size or shape.dtype.kind != "i" or not 2 <= shape.size <= 32 or (shape < 0).any():
            raise self._damaged(at)
        is_complex = bool(int(flags[0]) & 0x0800)
        text = name.astype(np.uint8).tobytes().decode("latin-1")
        return _COMPLEX if is_complex else int(flags[0]) & 0xFF, tuple(shape.tolist()), text, inner, stop

    def name_of(self, at: int, end: int) -> str:
        """The name of a variable, of which only the beginning need be there."""
        inner = at + 8
        for _ in range(2):
            _, _, _, inner = self.element(inner, end)
        return self.numbers(inner, end)[0].astype(np.uint8).tobytes().decode("latin-1")

    def numbers(self, at: int, end: int) -> tuple[NDArray[Any], int]:
        """The numbers of an element, and where the next one is."""
        kind, first, n_bytes, after = self.element(at, end)
        if kind not in _STORED:
            raise self._damaged(at)
        dtype = np.dtype(_STORED[kind]).newbyteorder(self.order)
        return self.data[first : first + n_bytes - n_bytes % dtype.itemsize].view(dtype), after

    def within(self, at: int, end: int, fields: Sequence[str], place: tuple[int, ...], *, depth: int) -> Iterator[Leaf]:
        """The arrays in nested cells and structs, in MATLAB's order; a level of one has no number in their place."""
        kind, shape, _, inner, stop = self.head(at, end)
        n_items = math.prod(shape)
        if depth > MAX_DEPTH or kind not in (0, _CELL, _STRUCT, _CHAR, *_NUMBERS):
            what = "nested too deep" if depth > MAX_DEPTH else "complex, sparse, an object or a function"
            raise FormatError(f"{self.file}: {self.name} is {what}; numbers, text, cells or structs are wanted")
        if kind in (_CELL, _STRUCT):
            yield from self._items(kind, n_items, inner, stop, fields, place, depth)
        elif not fields:
            yield place, np.zeros(0) if kind == 0 else self._array(kind, shape, inner, stop)
        elif n_items:  # where structs are expected, an empty cell says that there is none
            raise _no_struct(self.file, self.name, fields)

    def _items(
        self, kind: int, n_items: int, at: int, stop: int, fields: Sequence[str], place: tuple[int, ...], depth: int
    ) -> Iterator[Leaf]:
        names: list[str] = []
        if kind == _STRUCT:
            width, at = self.numbers(at, stop)
            letters, at = self.numbers(at, stop)
            text = letters.astype(np.uint8).tobytes()
            size = int(width[0]) if width.size and 0 < width[0] <= 1 << 10 else len(text) or 1
            names = [text[k : k + size].partition(b"\0")[0].decode("latin-1") for k in range(0, len(text), size)]
            asked, fields = names.index(_field(self.file, self.name, fields, names)), fields[1:]
        if n_items * max(len(names), 1) * 8 > stop - at or n_items > MAX_CELLS:
            raise self._damaged(at)
        for k in range(1, n_items + 1):
            for i in range(max(len(names), 1)):
                after = self.element(at, stop)[3]
                if not names or i == asked:
                    there = (*place, k) if n_items > 1 else place
                    yield from self.within(at, after, fields, there, depth=depth + 1)
                at = after

    def _array(self, kind: int, shape: tuple[int, ...], at: int, stop: int) -> NDArray[Any]:
        if kind == _CHAR:
            return self._text(shape, at, stop)
        values, _ = self.numbers(at, stop)
        if values.size != math.prod(shape):
            raise self._damaged(at)
        return values.reshape(shape, order="F")

    def _text(self, shape: tuple[int, ...], at: int, stop: int) -> NDArray[Any]:
        kind, first, n_bytes, _ = self.element(at, stop)
        raw = self.data[first : first + n_bytes].tobytes()
        encodings = {1: "latin-1", 2: "latin-1", 16: "utf-8", 4: "utf-16", 17: "utf-16", 18: "utf-32"}
        wide = f"-{'le' if self.order == '<' else 'be'}" if kind in (4, 17, 18) else ""
        letters = np.array(list(raw.decode(encodings.get(kind, "latin-1") + wide, errors="replace")), dtype="U1")
        if letters.size != math.prod(shape) or len(shape) != 2:
            return np.array(["".join(letters)])
        return np.array(["".join(row) for row in letters.reshape(shape, order="F")], dtype=np.str_)

    def _damaged(self, at: int) -> FormatError:
        return FormatError(f"{self.file}: {self.name} is damaged or cut off at byte {at}; a whole variable is wanted")


def _field(file: Path, name: str, fields: Sequence[str], there: Sequence[str]) -> str:
    if not fields or fields[0] not in there:
        asked = f"{name}.{fields[0]}" if fields else name
        raise FormatError(f"{file}: {asked} is no array; {name} holds structs with the fields {shown(there)}")
    return fields[0]


def _no_struct(file: Path, name: str, fields: Sequence[str]) -> FormatError:
    return FormatError(f"{file}: {name} holds numbers in place of a struct with the field {fields[0]!r}")


def _hdf5(file: Path, name: str, fields: Sequence[str]) -> list[Leaf]:
    """The arrays of a variable of a file of version 7.3, turned as MATLAB shows them."""
    import h5py

    with _vendor(file, name), h5py.File(file, "r") as opened:
        return list(_Hdf5(file, name).within(_hdf5_member(file, opened, name), fields, (), depth=0))


def _hdf5_member(file: Path, group: Any, name: str) -> Any:
    """What lies in this file itself: no link to another one."""
    import h5py

    link = group.get(name, getlink=True) if "/" not in name else None
    if link is None:
        there = [key for key in group if not key.startswith("#")]
        raise FormatError(f"{file}: no variable or field {name!r}; there are {shown(there)}")
    if not isinstance(link, h5py.HardLink):
        raise FormatError(f"{file}: {name} is a {type(link).__name__}; links are not followed")
    return group[name]


class _Hdf5:
    """One variable of an HDF5 file: how much of it has been read so far, so that no reference leads round for ever."""

    def __init__(self, file: Path, name: str) -> None:
        self.file, self.name, self.n_bytes, self.n_items = file, name, 0, 0

    def within(self, item: Any, fields: Sequence[str], place: tuple[int, ...], *, depth: int) -> Iterator[Leaf]:
        """As `_Matlab5.within` does."""
        import h5py

        self._count(item, depth)
        if isinstance(item, h5py.Group):
            asked = _field(self.file, self.name, fields, list(item))
            yield from self.within(_hdf5_member(self.file, item, asked), fields[1:], place, depth=depth + 1)
        elif item.attrs.get("MATLAB_empty", 0):
            yield from [] if fields else [(place, np.zeros(0))]
        elif h5py.check_ref_dtype(item.dtype) is not None:
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
            _check_dataset(self.file, self.name, item)
            self.n_bytes += item.size * item.dtype.itemsize
        if self.n_bytes > MAX_BYTES:
            raise _too_large(self.file, self.name, self.n_bytes)
        if depth > MAX_DEPTH or self.n_items > MAX_CELLS:
            raise FormatError(f"{self.file}: {self.name} is nested too deep or has too many cells; fewer are wanted")

    def _array(self, item: Any) -> NDArray[Any]:
        values = np.asarray(item[()])
        if item.attrs.get("MATLAB_class") == b"char":
            rows = np.atleast_2d(values.T)
            return np.array(["".join(map(chr, row)) for row in rows])
        return values.T


def _check_dataset(file: Path, name: str, dataset: Any) -> None:
    """Raise FormatError for what lies in another file, and for chunks that do not fit into memory."""
    chunk_bytes = np.prod(dataset.chunks or (0,), dtype=float) * dataset.dtype.itemsize
    if dataset.is_virtual or dataset.external or chunk_bytes > MAX_BYTES:
        raise FormatError(
            f"{file}: {name} is virtual, lies in another file or is in chunks too large; plain data is wanted"
        )


def _hdf5_rows(file: Path, name: str) -> _Hdf5Rows | None:
    """A matrix of numbers, read by the slice; None for cells, structs and what is in them."""
    import h5py

    if "." in name:
        return None
    with _vendor(file, name), h5py.File(file, "r") as opened:
        dataset = _hdf5_member(file, opened, name)
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 2 or dataset.dtype.kind not in "iuf":
            return None
        _check_dataset(file, name, dataset)
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
        import h5py

        with _vendor(self.file, self.name), h5py.File(self.file, "r") as opened:
            dataset = opened[self.name]
            return np.asarray(dataset[part] if self.is_turned else dataset[:, part].T)
