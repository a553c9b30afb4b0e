"""MATLAB 5, as MATLAB 5 to 7.2 write: variables by name, unpacked within a limit, parsed within their own bytes.

    128 bytes      text; the last two are "IM" where numbers are little-endian, "MI" where they are big-endian
    elements       kind and size (4 bytes each), so many bytes, blanks up to a multiple of 8
                   or, all in 8 bytes: size and kind (2 bytes each), up to 4 bytes
      packed       a matrix, by zlib
      matrix       elements of its class, its shape and its name; then
        cell       a matrix each
        struct     elements of the names of fields; a matrix for each field of the first struct, of the second, ...
        numbers    an element, of a smaller type where all of them fit
        text       an element of letters

    variables(path)                       every variable; only the beginning of each is read
    Variable.matrix(most)                 its content: mapped, or unpacked where that takes no more than so many bytes
    Matrix.cells(), rows(wanted)          the matrices in it
    Matrix.numbers(), letters()           what it holds itself

Design rationale: `scipy.io.loadmat` takes the process down on some damaged files and loads what nobody asked for, and
its `whosmat` does not name the fields of a struct. This little of the format is enough, and what is not packed stays
mapped: nothing is copied.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError

MAX_DEPTH = 16  # of cells and structs within one another
MAX_CELLS = 1_000_000  # of an array of them
MAX_DIMENSIONS = 32

Kind = Literal["empty", "cell", "struct", "text", "numbers", "other"]  # other: sparse, complex, an object, a function
Order = Literal["<", ">"]

_MATRIX, _PACKED = 14, 15  # kinds of elements
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_INTEGERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 12: "q", 13: "Q"}
_DTYPES = {order: {kind: np.dtype(order + code) for kind, code in _STORED.items()} for order in "<>"}
_CLASSES: dict[int, Kind] = {1: "cell", 2: "struct", 4: "text", **{class_: "numbers" for class_ in range(6, 16)}}
_OPAQUE, _COMPLEX = 17, 0x800  # a class, and a flag beside the class
_CODECS = {4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}  # of letters; Latin-1 for all other kinds
_FEW_BYTES, _STEP_BYTES = 1 << 11, 1 << 20


def is_matlab5(path: Path) -> bool:
    """True for a file that begins as these do."""
    with path.open("rb") as file:
        head = file.read(128)
    return head.startswith(b"MATLAB 5.0") and head[126:] in (b"IM", b"MI")


@dataclass(frozen=True, kw_only=True)
class Variable:
    """What a file says of a variable, and where it lies. fields: of a struct."""

    path: Path
    order: Order
    name: str
    fields: tuple[str, ...]
    is_packed: bool
    first: int
    n_bytes: int

    def matrix(self, most: int) -> Matrix | None:
        """Its content, None where that takes more than `most` bytes once unpacked. Raises FormatError where damaged."""
        mapped: Any = np.memmap(self.path, np.uint8, mode="r")
        whole = memoryview(mapped)
        if not self.is_packed:
            return _Elements(self.path, self.name, whole, self.order).matrix(self.first - 8, len(whole), 0)[0]
        content = self._unpacked(whole[self.first : self.first + self.n_bytes], most)
        if len(content) > most:
            return None
        return _Elements(self.path, self.name, memoryview(content), self.order).matrix(0, len(content), 0)[0]

    def _unpacked(self, packed: memoryview, most: int) -> bytearray:
        """All of it, its checksum looked at; or somewhat more than `most` bytes, however few they come from."""
        stream = zlib.decompressobj()
        found = bytearray()
        at, rest = 0, b""
        try:
            while not stream.eof and len(found) <= most:
                if not rest:
                    rest = bytes(packed[at : at + _STEP_BYTES])
                    at += len(rest)
                    if not rest:
                        raise zlib.error("its end is missing")
                found += stream.decompress(rest, _STEP_BYTES)
                rest = stream.unconsumed_tail
        except zlib.error as error:
            raise FormatError(
                f"{self.path}: {self.name} is packed, and damaged or cut off ({error}); a whole variable is wanted"
            ) from error
        return found


def variables(path: Path) -> Iterator[Variable]:
    """Every variable, in order. Raises FormatError where the beginning of one is damaged."""
    with path.open("rb") as file:
        order: Order = ">" if file.read(128)[126:] == b"MI" else "<"
        while len(tag := file.read(8)) == 8:
            kind, n_bytes = struct.unpack(f"{order}II", tag)
            first = file.tell()
            if kind in (_MATRIX, _PACKED):
                yield _variable(path, file, order, kind == _PACKED, n_bytes)
            file.seek(first + n_bytes)


def _variable(path: Path, file: BinaryIO, order: Order, is_packed: bool, n_bytes: int) -> Variable:
    """The variable that begins where the file is read. Little of it is enough, but for structs of many fields."""
    first = file.tell()
    try:
        head = _beginning(path, file.read(min(n_bytes, _FEW_BYTES)), order, is_packed, _FEW_BYTES)
    except FormatError:
        file.seek(first)
        head = _beginning(path, file.read(min(n_bytes, _STEP_BYTES)), order, is_packed, _STEP_BYTES)
    return Variable(
        path=path, order=order, name=head.name, fields=head.fields, is_packed=is_packed, first=first, n_bytes=n_bytes
    )


def _beginning(path: Path, body: bytes, order: Order, is_packed: bool, most: int) -> Matrix:
    """What the first bytes of a variable say; packed ones give up to `most`, with no checksum looked at."""
    if is_packed:
        try:
            body = zlib.decompressobj().decompress(body[:-4], most)[8:]  # less the tag of the matrix
        except zlib.error:
            body = b""
    return _Elements(path, "a variable", memoryview(body), order).head(0, len(body), 0)


class Matrix(NamedTuple):
    """A matrix whose values, from byte `at` on, are not looked at yet. fields: of a struct. depth: of nesting."""

    source: _Elements
    kind: Kind
    name: str
    shape: tuple[int, ...]
    fields: tuple[str, ...]
    at: int
    end: int
    depth: int

    @property
    def size(self) -> int:
        """How many cells, structs, letters or numbers."""
        return math.prod(self.shape)

    @property
    def held_bytes(self) -> int:
        """What the variable it is in takes in memory: nothing where that is mapped."""
        return 0 if isinstance(self.source.data.obj, np.memmap) else len(self.source.data)

    def cells(self) -> Iterator[Matrix]:
        """What is in each cell."""
        self._check_size()
        at = self.at
        for _ in range(self.size):
            cell, at = self.source.matrix(at, self.end, self.depth + 1)
            yield cell

    def rows(self, wanted: Collection[str] = ()) -> Iterator[dict[str, Matrix]]:
        """The fields of each struct; only those that are wanted, if any are."""
        self._check_size()
        at = self.at
        for _ in range(self.size):
            row: dict[str, Matrix] = {}
            for name in self.fields:
                if not wanted or name in wanted:
                    row[name], at = self.source.matrix(at, self.end, self.depth + 1)
                else:
                    at = self.source.element(at, self.end)[3]
            yield row

    def numbers(self) -> NDArray[Any]:
        """Shape as MATLAB shows it; shares the bytes they lie in."""
        values, _ = self.source.numbers(self.at, self.end)
        try:
            return values.reshape(self.shape, order="F")
        except ValueError as error:  # another number of them; or none, in a shape beyond all bounds
            raise self.source.damaged(self.at) from error

    def letters(self) -> str:
        """All of them, column by column as they lie there."""
        if 0 in self.shape:
            return ""
        kind, first, n_bytes, _ = self.source.element(self.at, self.end)
        codec = _CODECS.get(kind, "latin-1")
        if codec in ("utf-16", "utf-32"):
            codec += "-le" if self.source.order == "<" else "-be"
        return bytes(self.source.data[first : first + n_bytes]).decode(codec, "replace")

    def _check_size(self) -> None:
        """Every matrix in it has a tag, at least; a struct without fields has none in it."""
        n_each = len(self.fields) if self.kind == "struct" else 1
        if self.size * n_each * 8 > self.end - self.at:
            raise self.source.damaged(self.at)
        if self.size > MAX_CELLS:
            raise self.source.too_much()


@dataclass(frozen=True, eq=False)
class _Elements:
    """The bytes of a variable, a map of the file or what was packed there, and the elements in them."""

    path: Path
    name: str
    data: memoryview
    order: Order

    def element(self, at: int, end: int) -> tuple[int, int, int, int]:
        """Kind, first byte, number of bytes and place of the next."""
        if at + 8 > end:
            raise self.damaged(at)
        kind, n_bytes = struct.unpack_from("<II" if self.order == "<" else ">II", self.data, at)
        first, following = at + 8, at + 8 + n_bytes + -n_bytes % 8
        if kind >> 16:  # size and kind in the first half
            kind, n_bytes, first, following = kind & 0xFFFF, min(kind >> 16, 4), at + 4, at + 8
        if first + n_bytes > end:
            raise self.damaged(at)
        return kind, first, n_bytes, min(following, end)

    def matrix(self, at: int, end: int, depth: int) -> tuple[Matrix, int]:
        """The matrix that lies there, with nothing of it missing, and the place of the next."""
        kind, first, n_bytes, following = self.element(at, end)
        if kind != _MATRIX:
            raise self.damaged(at)
        if depth > MAX_DEPTH:
            raise self.too_much()
        last = first + n_bytes
        if not n_bytes:
            return Matrix(self, "empty", "", (0, 0), (), last, last, depth), following
        return self.head(first, last, depth), following

    def head(self, at: int, end: int, depth: int) -> Matrix:
        """A matrix by its first elements; what follows them may be missing."""
        flags, at = self._integers(at, end)
        class_ = flags[0] & 0xFF
        if class_ == _OPAQUE:  # no shape, and values of its own
            return Matrix(self, "other", self._text(at, end)[0], (), (), end, end, depth)
        shape, at = self._integers(at, end)
        name, at = self._text(at, end)
        if not 2 <= len(shape) <= MAX_DIMENSIONS or min(shape) < 0:
            raise self.damaged(at)
        kind = "other" if flags[0] & _COMPLEX else _CLASSES.get(class_, "other")
        fields: tuple[str, ...] = ()
        if kind == "struct":
            fields, at = self._fields(at, end)
        return Matrix(self, kind, name, shape, fields, at, end, depth)

    def numbers(self, at: int, end: int) -> tuple[NDArray[Any], int]:
        """The numbers of an element, which share its bytes, and the place of the next."""
        kind, first, n_bytes, following = self.element(at, end)
        dtype = _DTYPES[self.order].get(kind)
        if dtype is None:
            raise self.damaged(at)
        return np.frombuffer(self.data, dtype, n_bytes // dtype.itemsize, first), following

    def _integers(self, at: int, end: int) -> tuple[tuple[int, ...], int]:
        """At least one; of too many for a shape, not all."""
        kind, first, n_bytes, following = self.element(at, end)
        code = _INTEGERS.get(kind)
        n = min(n_bytes // struct.calcsize(code), MAX_DIMENSIONS + 1) if code is not None else 0
        if not n:
            raise self.damaged(at)
        return struct.unpack_from(f"{self.order}{n}{code}", self.data, first), following

    def _text(self, at: int, end: int) -> tuple[str, int]:
        _, first, n_bytes, following = self.element(at, end)
        return bytes(self.data[first : first + n_bytes]).decode("latin-1"), following

    def _fields(self, at: int, end: int) -> tuple[tuple[str, ...], int]:
        """The names of the fields of a struct: as many letters for each, a NUL behind them."""
        (width, *_), at = self._integers(at, end)
        text, at = self._text(at, end)
        if width < 1:
            raise self.damaged(at)
        return tuple(text[k : k + width].partition("\x00")[0] for k in range(0, len(text), width)), at

    def damaged(self, at: int) -> FormatError:
        return FormatError(f"{self.path}: {self.name} is damaged or cut off at byte {at}; a whole variable is wanted")

    def too_much(self) -> FormatError:
        return FormatError(f"{self.path}: {self.name} is nested too deep or has too many cells; fewer are wanted")
