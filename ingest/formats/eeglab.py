"""EEGLAB: a MATLAB file `X.set`, as of MATLAB 5 or 7.3 (HDF5), that holds a struct EEG or its fields side by side.

    data        numbers (channels, samples, epochs), or the name of a file of float32 beside it: X.fdt, all channels of
                a sample together (X.dat: all samples of a channel together)
    event       latency counts samples from 1 and may lie between two; duration is in samples
    boundary    an event where samples were taken out: as many as its duration says, else an unknown number
    urevent     the same events where they were before anything was taken out: they tell when an epoch was recorded

Samples are in microvolts by EEGLAB's definition. X, Y and Z of an electrode have no stated unit: kept as stored.

Design rationale: a boundary with a duration is a gap of that length, so that later events keep the time they happened
at; stock readers close it. Compressed numbers inside a MATLAB 5 file cannot be read piece by piece, hence a limit on
their size; others and those of an .fdt are mapped, those of a 7.3 file are read from HDF5 when sliced.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import ChannelSubset, Events, Samples, Segment, Signal, Stream
from neuroloom.ingest.timebase import FloatArray, Timebase

TITLE = "EEGLAB"
MODALITY = "eeg"
TESTED_ON = (
    "real files of MNE-Python's testing data, MATLAB 5 with and without .fdt; MATLAB 7.3, gaps and epochs that do not "
    "overlap on files written by this project only"
)

MAX_UNPACKED_BYTES = 1 << 28  # of what a MATLAB 5 file holds compressed: it is held in memory as long as the samples
MAX_FIELD_BYTES = 1 << 26  # of a field of a 7.3 file other than the samples, and of a chunk of those
MAX_ROWS = 1_000_000  # events
MAX_VARIABLES = 1000
MAX_DEPTH = 20  # of structs within structs
_ADVICE = "save it with the samples in a separate .fdt (EEGLAB: Preferences, 'save two files')"

_FIELDS = (
    "data",
    "history",
    "setname",
    "nbchan",
    "pnts",
    "trials",
    "srate",
    "chanlocs",
    "chaninfo",
    "ref",
    "event",
    "urevent",
)
_ESSENTIAL = {"data", "nbchan", "pnts", "srate", "chanlocs"}
_MATRIX, _COMPRESSED, _I4, _U4 = 14, 15, 5, 6  # kinds of elements of MATLAB 5
_CELL, _STRUCT, _CHAR, _NUMERIC, _OPAQUE = 1, 2, 4, range(6, 16), 17  # classes of its matrices
_COMPLEX = 0x800
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", _I4: "i4", _U4: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_KINDS = ("eog", "ecg", "emg", "eeg")
_STEP_BYTES = 1 << 20


def sniff(path: Path, head: bytes) -> bool:
    """True for a MATLAB file with a struct EEG that has the fields of EEGLAB, or with those fields side by side."""
    try:
        if head[:6] == b"MATLAB" and head[512:520] != _HDF5:
            return _is_v5(path)
        return head[512:520] == _HDF5 and _is_h5(path)
    except (OSError, ValueError, KeyError, RuntimeError):
        return False


def files(path: Path) -> tuple[Path, ...]:
    """The .set and, where its samples are elsewhere, their file. Raises FormatError where that is not beside it."""
    data = _data_file(path, _header(path), [])
    return (path,) if data is None else (path, data)


def read(path: Path) -> list[Recording]:
    """One Recording: EEG (and what else has volts) in microvolts, other channels apart, and the events."""
    eeg = _header(path)
    repairs: list[str] = []
    shape = _Shape(
        n_channels=_count(path, eeg, "nbchan"),
        n_samples=_count(path, eeg, "pnts"),
        n_epochs=_count(path, eeg, "trials", absent=1),
        rate_hz=_rate(path, eeg),
    )
    data = _data_file(path, eeg, repairs)
    samples = _mapped(path, data, shape) if data is not None else _embedded(path, eeg["data"], shape)
    events, urevents = _rows(eeg.get("event")), _rows(eeg.get("urevent"))
    if shape.n_epochs == 1:
        pieces = _continuous(events, shape, _was_resampled(eeg), repairs)
    else:
        pieces = _epochs(path, events, urevents, shape, _was_resampled(eeg))
    try:
        segments = [Segment(samples=samples.rows(p.first, p.n), timebase=p.timebase(shape.rate_hz)) for p in pieces]
        streams: list[Stream] = [*_signals(eeg, segments, shape, repairs), *_events(events, pieces, shape, repairs)]
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return [
        Recording(
            clock=path.stem,
            format="eeglab",
            files=(path,) if data is None else (path, data),
            streams=tuple(streams),
            repairs=tuple(repairs),
        )
    ]


@dataclass(frozen=True, kw_only=True)
class _Shape:
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
class _Piece:
    """An unbroken run: its first sample as the file counts, how many, and when the first was taken, in samples."""

    first: int
    n: int
    at: float

    def timebase(self, rate_hz: float) -> Timebase:
        """Its times in seconds."""
        return Timebase(rate_hz=rate_hz, start_s=self.at / rate_hz, n_samples=self.n)


# ---- MATLAB 5


@dataclass(frozen=True, eq=False)
class _Matlab5:
    """Elements of a MATLAB 5 file within some bytes, which may be a map of the file: nothing is copied.

    Design rationale: `scipy.io.loadmat` takes the process down on some damaged files, loads what nobody asked for, and
    its `whosmat` does not name the fields of a struct, which alone tell an EEG of EEGLAB from a variable of that name.
    """

    path: Path
    data: memoryview
    order: str

    def element(self, at: int, end: int) -> tuple[int, int, int, int]:
        """Kind, first byte, number of bytes and place of the next; up to four bytes lie within the tag itself."""
        if at + 8 > end:
            raise self.damaged(at)
        word, n_bytes = struct.unpack_from(f"{self.order}II", self.data, at)
        kind, first, following = word, at + 8, at + 8 + -(-n_bytes // 8) * 8
        if word >> 16:
            kind, first, n_bytes, following = word & 0xFFFF, at + 4, min(word >> 16, 4), at + 8
        if first + n_bytes > end:
            raise self.damaged(at)
        return kind, first, n_bytes, following

    def head(self, at: int, end: int) -> tuple[str, int, tuple[int, ...], list[str], int]:
        """Name, class, shape and fields of a matrix, and where its values begin."""
        _, first, n_bytes, at = self.element(at, end)
        flags = int(self.numbers(_U4, first, n_bytes)[0]) if n_bytes >= 4 else 0
        class_ = 0 if flags & _COMPLEX else flags & 0xFF
        if class_ == _OPAQUE:
            return "", class_, (), [], at
        _, first, n_bytes, at = self.element(at, end)
        shape = tuple(self.numbers(_I4, first, n_bytes).tolist())
        if len(shape) < 2 or min(shape) < 0:
            raise self.damaged(first)
        _, first, n_bytes, at = self.element(at, end)
        name = bytes(self.data[first : first + n_bytes]).decode("latin-1")
        if class_ != _STRUCT:
            return name, class_, shape, [], at
        _, first, n_bytes, at = self.element(at, end)
        width = int(self.numbers(_I4, first, n_bytes)[0]) if n_bytes >= 4 else 0
        _, first, n_bytes, at = self.element(at, end)
        texts = bytes(self.data[first : first + n_bytes])
        if width < 1:
            raise self.damaged(first)
        fields = [texts[k : k + width].split(b"\x00")[0].decode("latin-1") for k in range(0, len(texts), width)]
        return name, class_, shape, fields, at

    def value(self, at: int, end: int, wanted: Sequence[str] = (), depth: int = 0) -> tuple[Any, int]:
        """Numbers as an array, text, a struct as a dict (only `wanted` fields, if any), more of them as a list."""
        kind, first, n_bytes, following = self.element(at, end)
        if kind != _MATRIX or depth > MAX_DEPTH:
            raise self.damaged(at)
        if n_bytes == 0:
            return np.zeros(0), following
        last = first + n_bytes
        _, class_, shape, fields, at = self.head(first, last)
        count = math.prod(shape)
        if class_ in (_CELL, _STRUCT):
            if count * max(len(fields), 1) * 8 > n_bytes:
                raise self.damaged(first)
            return self.members(at, last, count, fields, wanted, depth), following
        if class_ == _CHAR:
            return self.text(at, last, shape), following
        if class_ not in _NUMERIC:
            return None, following  # sparse, complex, an object, a function: nothing of EEGLAB's is
        kind, first, n_bytes, _ = self.element(at, last)
        values = self.numbers(kind, first, n_bytes)
        return (values.reshape(shape, order="F") if values.size == count else values), following

    def members(
        self, at: int, end: int, count: int, fields: Sequence[str], wanted: Sequence[str], depth: int
    ) -> list[Any] | dict[str, Any]:
        """What a cell or an array of structs holds; one struct is a dict."""
        if not fields:
            found = []
            for _ in range(count):
                value, at = self.value(at, end, depth=depth + 1)
                found.append(value)
            return found
        rows: list[dict[str, Any]] = []
        for _ in range(count):
            rows.append({})
            for name in fields:
                if wanted and name not in wanted:
                    at = self.element(at, end)[3]
                    continue
                rows[-1][name], at = self.value(at, end, depth=depth + 1)
        return rows[0] if count == 1 else rows

    def text(self, at: int, end: int, shape: tuple[int, ...]) -> str:
        """Characters; the rows of a matrix of them joined by blanks."""
        if 0 in shape:
            return ""
        kind, first, n_bytes, _ = self.element(at, end)
        raw = bytes(self.data[first : first + n_bytes])
        little = "le" if self.order == "<" else "be"
        codec = {4: f"utf-16-{little}", 17: f"utf-16-{little}", 18: f"utf-32-{little}", 16: "utf-8"}.get(
            kind, "latin-1"
        )
        text = raw.decode(codec, "replace")
        n_rows = shape[0]
        return " ".join(text[k::n_rows].strip() for k in range(n_rows)) if 1 < n_rows <= len(text) else text

    def numbers(self, kind: int, first: int, n_bytes: int) -> NDArray[Any]:
        """An array that shares these bytes."""
        if kind not in _TYPES:
            raise self.damaged(first)
        dtype = np.dtype(f"{self.order}{_TYPES[kind]}")
        return np.frombuffer(self.data, dtype, n_bytes // dtype.itemsize, first)

    def damaged(self, at: int) -> FormatError:
        return FormatError(f"{self.path}: the MATLAB data around byte {at} contradict themselves; the file is damaged")


def _v5_variables(path: Path) -> Iterator[tuple[str, list[str], tuple[int, int, int]]]:
    """Per variable its name, the fields where it is a struct, and its element: kind, first byte, number of bytes."""
    with path.open("rb") as file:
        order = _order(file.read(128))
        for _ in range(MAX_VARIABLES):
            tag = file.read(8)
            if len(tag) < 8:
                return
            kind, n_bytes = struct.unpack(f"{order}II", tag)
            at = file.tell()
            body = file.read(min(n_bytes, _STEP_BYTES))
            body = _inflated(body)[8:] if kind == _COMPRESSED else body  # less the tag of the matrix
            if kind in (_COMPRESSED, _MATRIX):
                name, _, _, fields, _ = _Matlab5(path, memoryview(body), order).head(0, len(body))
                yield name, fields, (kind, at, n_bytes)
            file.seek(at + n_bytes)


def _order(head: bytes) -> str:
    return ">" if head[126:128] == b"MI" else "<"


def _inflated(body: bytes) -> bytes:
    """The first bytes, unpacked; without the checksum, which is looked at when the samples are read."""
    try:
        return zlib.decompressobj().decompress(body[:-4], _STEP_BYTES)
    except zlib.error:
        return b""


def _is_v5(path: Path) -> bool:
    names = set()
    for name, fields, _ in _v5_variables(path):
        if name == "EEG" and set(fields) >= _ESSENTIAL:
            return True
        names.add(name)
    return names >= _ESSENTIAL


def _v5_header(path: Path) -> dict[str, Any]:
    """The wanted fields as numbers, texts, dicts and lists. What is compressed is unpacked as a whole."""
    found: dict[str, Any] = {}
    mapped: Any = np.memmap(path, np.uint8, mode="r")
    whole = memoryview(mapped)
    order = _order(bytes(whole[:128]))
    left = MAX_UNPACKED_BYTES
    for name, fields, (kind, at, n_bytes) in _v5_variables(path):
        is_eeg = name == "EEG" and set(fields) >= _ESSENTIAL
        if not is_eeg and name not in _FIELDS:
            continue
        if kind == _COMPRESSED:
            data = memoryview(_unpacked(path, whole[at : at + n_bytes], left))
            left -= len(data)
            value, _ = _Matlab5(path, data, order).value(0, len(data), _FIELDS if is_eeg else ())
        else:
            value, _ = _Matlab5(path, whole, order).value(at - 8, len(whole), _FIELDS if is_eeg else ())
        if is_eeg and not isinstance(value, dict):
            raise FormatError(f"{path}: EEG is an array of several recordings; one is wanted")
        found |= value if is_eeg else {name: value}
    return found


def _unpacked(path: Path, packed: memoryview, limit: int) -> bytearray:
    """Raises FormatError where it would take more memory than stated, however few the bytes are, or is damaged."""
    stream = zlib.decompressobj()
    found = bytearray()
    at, rest = 0, b""
    try:
        while not stream.eof and len(found) <= limit:
            if not rest:
                rest = bytes(packed[at : at + _STEP_BYTES])
                at += len(rest)
                if not rest:
                    raise zlib.error("its end is missing")
            found += stream.decompress(rest, _STEP_BYTES)
            rest = stream.unconsumed_tail
    except zlib.error as error:
        raise FormatError(
            f"{path}: its packed data are damaged or cut off ({error}); a whole file is wanted"
        ) from error
    if len(found) > limit:
        shown = MAX_UNPACKED_BYTES >> 20
        raise FormatError(f"{path}: more than {shown} MB once unpacked; up to {shown} are wanted: {_ADVICE}")
    return found


# ---- MATLAB 7.3


def _is_h5(path: Path) -> bool:
    import h5py

    with h5py.File(path, "r") as file:
        eeg = file.get("EEG") if "EEG" in file and isinstance(file.get("EEG", getlink=True), h5py.HardLink) else None
        return set(file) >= _ESSENTIAL or (isinstance(eeg, h5py.Group) and set(eeg) >= _ESSENTIAL)


def _h5_header(path: Path) -> dict[str, Any]:
    """The wanted fields as numbers, texts, dicts and lists; samples as an `_H5Data`, not read yet."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            home = _own(path, file, "EEG") if "EEG" in file else file
            found = {
                name: _h5_value(path, _own(path, home, name)) for name in _FIELDS if name in home and name != "data"
            }
            data = _own(path, home, "data")
            is_text = data.attrs.get("MATLAB_class", b"") in (b"char", "char")
            return found | {"data": _h5_value(path, data) if is_text else _h5_data(path, data)}
    except FormatError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path}: cannot be read as a MATLAB 7.3 file ({reason})") from error


def _own(path: Path, group: Any, name: str) -> Any:
    """A member that lies in this very file. Raises FormatError for a link or storage that leads elsewhere."""
    import h5py

    if not isinstance(group, h5py.Group) or not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise FormatError(f"{path}: {name} is a link; data within the file are wanted")
    return _in_file(path, group[name])


def _in_file(path: Path, item: Any) -> Any:
    import h5py

    if isinstance(item, h5py.Dataset):
        if item.is_virtual or item.external:
            raise FormatError(f"{path}: {item.name} keeps its data in another file; data within the file are wanted")
        chunk = item.dtype.itemsize * int(np.prod(item.chunks or (0,), dtype=object))
        if chunk > MAX_FIELD_BYTES:
            raise FormatError(f"{path}: {item.name} has chunks of {chunk} bytes; up to {MAX_FIELD_BYTES} are wanted")
    return item


def _h5_value(path: Path, item: Any, depth: int = 0) -> Any:
    """A field as MATLAB 7.3 has it: text in UTF-16, a struct as a group, cells and arrays of structs as references.

    None for what lies deeper than EEGLAB puts anything that is kept.
    """
    import h5py

    if isinstance(item, h5py.Group):
        return _h5_struct(path, item) if depth == 0 else None
    if item.nbytes > MAX_FIELD_BYTES:
        raise FormatError(f"{path}: {item.name} has {item.nbytes} bytes; up to {MAX_FIELD_BYTES} are wanted")
    if "MATLAB_empty" in item.attrs:
        return np.zeros(0)
    if h5py.check_ref_dtype(item.dtype) is h5py.Reference:  # a cell
        is_one = item.size == 1 and depth < 2
        return _h5_value(path, _in_file(path, item.file[item[()].ravel()[0]]), depth + 1) if is_one else None
    values = np.asarray(item[()])
    if item.attrs.get("MATLAB_class") in (b"char", "char"):
        return values.astype("<u2").tobytes().decode("utf-16-le", "replace")
    return values.ravel()


def _h5_struct(path: Path, group: Any) -> list[dict[str, Any]] | dict[str, Any]:
    """One struct as a dict; an array of them, whose fields are references without a class, as a list."""
    import h5py

    fields = {name: _own(path, group, name) for name in group}
    columns = {}
    for name, field in fields.items():
        is_refs = isinstance(field, h5py.Dataset) and h5py.check_ref_dtype(field.dtype) is h5py.Reference
        if is_refs and "MATLAB_class" not in field.attrs:
            if field.size > MAX_ROWS:
                raise FormatError(f"{path}: {field.name} has {field.size} entries; up to {MAX_ROWS} are wanted")
            columns[name] = [_in_file(path, group.file[reference]) for reference in field[()].ravel()]
    if not columns:
        return {name: _h5_value(path, field, 1) for name, field in fields.items()}
    n_rows = min(len(column) for column in columns.values())
    return [{name: _h5_value(path, column[k], 1) for name, column in columns.items()} for k in range(n_rows)]


@dataclass(frozen=True)
class _H5Data:
    """Where the samples lie: (T, C), or (epochs, T, C), the reverse of MATLAB's order."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def _h5_data(path: Path, item: Any) -> _H5Data:
    return _H5Data(path, item.name, item.shape, item.dtype)


@dataclass(frozen=True)
class _H5Rows:
    """Samples (T, C) of one epoch from `first` on; the file is opened when sliced."""

    data: _H5Data
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
        import h5py

        start, stop, step = part.indices(self.n)
        rows = slice(self.first + start, self.first + max(stop, start))
        with h5py.File(self.data.path, "r") as file:
            item = file[self.data.name]
            return np.asarray(item[rows] if item.ndim == 2 else item[self.epoch, rows])[::step]


# ---- either of them


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(520)
    if len(head) < 136:
        raise FormatError(f"{path}: {len(head)} bytes; a MATLAB file starts with a header of 128 and a variable")
    found = _h5_header(path) if head[512:520] == _HDF5 else _v5_header(path)
    missing = sorted(_ESSENTIAL - {"chanlocs"} - found.keys())
    if missing:
        raise FormatError(f"{path}: has no {', '.join(missing)}; EEGLAB writes it")
    return found


def _text(value: Any) -> str:
    """Text, or a number as text; empty where there is none."""
    if isinstance(value, list) and len(value) == 1:  # a cell around it
        return _text(value[0])
    if isinstance(value, str):
        return value.strip()
    number = _number(value)
    return "" if np.isnan(number) else f"{number:.15g}"


def _number(value: Any) -> float:
    """One number, NaN where there is none, or more than one."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf":
        return float(value.ravel()[0])
    return float(value) if isinstance(value, int | float) else float("nan")


def _rows(value: Any) -> list[dict[str, Any]]:
    """An array of structs, whatever its length, as dicts."""
    rows = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, dict)]


def _count(path: Path, eeg: Mapping[str, Any], key: str, *, absent: int | None = None) -> int:
    value = _number(eeg.get(key))
    if np.isnan(value) and absent is not None:
        return absent
    if not (1 <= value < 2**53 and value == int(value)):
        raise FormatError(f"{path}: {key} is {_text(eeg.get(key)) or 'empty'}; a whole number above 0 is wanted")
    return int(value)


def _rate(path: Path, eeg: Mapping[str, Any]) -> float:
    value = _number(eeg.get("srate"))
    if not (np.isfinite(value) and value > 0):
        raise FormatError(f"{path}: srate is {value}; a number above 0 is wanted")
    return value


# ---- samples


@dataclass(frozen=True)
class _Store:
    """Samples of all epochs in a row: an array or memory map (T, C), or a dataset."""

    source: NDArray[Any] | _H5Data
    shape: _Shape

    def rows(self, first: int, n: int) -> Samples:
        """Samples (n, C) from the one numbered `first`, within one epoch."""
        if isinstance(self.source, _H5Data):
            epoch, start = divmod(first, self.shape.n_samples)
            return _H5Rows(self.source, epoch, start, n)
        return self.source[first : first + n]


def _data_file(path: Path, eeg: Mapping[str, Any], repairs: list[str]) -> Path | None:
    """The file that `data` names, in the same folder; None where the samples are inside."""
    if not isinstance(eeg["data"], str):
        return None
    name = eeg["data"].strip()
    if not name or Path(name).name != name or "\\" in name or name in (".", "..") or not name.isprintable():
        raise FormatError(f"{path}: its samples are said to be in {name!r}; a plain file name beside it is wanted")
    named, renamed = path.parent / name, path.with_suffix(".fdt")
    for beside in (named, renamed):
        if beside.is_file() and not beside.is_symlink():
            if beside != named:
                repairs.append(f"names {name!r} for its samples; {renamed.name!r}, which is beside it, is taken")
            return beside
    raise FormatError(f"{path}: its samples are in {name!r}, which is not beside it; that file is wanted")


def _mapped(path: Path, data: Path, shape: _Shape) -> _Store:
    wanted, found = 4 * shape.n_channels * shape.total, data.stat().st_size
    if found != wanted:
        raise FormatError(
            f"{data}: {found} bytes; {path.name} states {shape.n_channels} channels x {shape.total} samples, so "
            f"{wanted} are wanted: still being copied, cut off, or of another recording"
        )
    if data.suffix.lower() == ".dat":  # EEGLAB writes the transpose under this name
        return _Store(np.memmap(data, "<f4", mode="r", shape=(shape.n_channels, shape.total)).T, shape)
    return _Store(np.memmap(data, "<f4", mode="r", shape=(shape.total, shape.n_channels)), shape)


def _embedded(path: Path, data: Any, shape: _Shape) -> _Store:
    """Samples inside the file, as they are stored."""
    sizes = (shape.n_epochs, shape.n_samples, shape.n_channels)
    wanted = sizes if shape.n_epochs > 1 else sizes[1:]
    if isinstance(data, _H5Data):
        source: NDArray[Any] | _H5Data = data
        fits = data.shape == wanted
    else:
        source = np.asarray(data)
        fits = source.size == int(np.prod(sizes, dtype=object))
    if not fits or source.dtype.kind not in "iuf":
        shown = " x ".join(map(str, source.shape)) or "no"
        raise FormatError(
            f"{path}: data are {shown} values of type {source.dtype}; numbers of {shape.n_channels} channels x "
            f"{shape.n_samples} samples x {shape.n_epochs} epochs are wanted"
        )
    if isinstance(source, np.ndarray):
        source = source.reshape((shape.n_channels, shape.total), order="F").T
    return _Store(source, shape)


def _signals(eeg: Mapping[str, Any], segments: Sequence[Segment], shape: _Shape, repairs: list[str]) -> list[Signal]:
    """Channels in volts together, as recorded; others apart by unit."""
    places = _rows(eeg.get("chanlocs"))
    if len(places) != shape.n_channels:
        repairs.append(f"names {len(places)} of its {shape.n_channels} channels: numbered")
        places = [{} for _ in range(shape.n_channels)]
    names = _unique([_text(place.get("labels")) or f"Ch{i + 1}" for i, place in enumerate(places)], repairs)
    kinds = [_kind(_text(place.get("type")), name) for place, name in zip(places, names, strict=True)]
    units = [
        kept_unit(_text(place.get("unit")) or ("" if kind == "misc" else "uV"))
        for place, kind in zip(places, kinds, strict=True)
    ]
    groups: dict[tuple[str, str], list[int]] = {}
    for i, kind in enumerate(kinds):
        groups.setdefault(("aux" if kind == "misc" else "eeg", units[i][0]), []).append(i)
    signals = []
    for (modality, unit), members in groups.items():
        alone = sum(other == modality for other, _ in groups) == 1
        columns = np.array(members, dtype=np.int64)
        parts = [replace(s, samples=_columns(s.samples, columns)) for s in segments]
        table = _channel_table([places[i] for i in members], [kinds[i] for i in members])
        signals.append(
            Signal(
                name=modality if alone else f"{modality} {unit}",
                modality=modality,
                segments=tuple(parts),
                channel_names=tuple(names[i] for i in members),
                unit=unit,
                gain=np.array([units[i][1] for i in members]),
                offset=np.zeros(len(members)),
                table=table,
                provenance=_provenance(eeg, table),
            )
        )
    return signals


def _provenance(eeg: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, str]:
    """What the file states about all channels."""
    reference = _text(eeg.get("ref"))
    nose = _text(next((row.get("nosedir") for row in _rows(eeg.get("chaninfo"))), ""))
    stated = {"reference": reference} if reference else {}
    if "x_as_stored" in table:
        stated["positions"] = (
            f"as stored, in a unit that the file does not state; nose towards {nose or 'an unstated side'}"
        )
    return stated


def _columns(samples: Samples, columns: NDArray[np.int64]) -> Samples:
    return samples if len(columns) == samples.shape[1] else ChannelSubset(samples, columns)


def _channel_table(places: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Kind, and what the file states of each channel; a column without any value is left out."""
    table: dict[str, tuple[Any, ...]] = {"kind": tuple(kinds)}
    for axis in ("X", "Y", "Z"):
        values = tuple(_number(place.get(axis)) for place in places)
        if not np.isnan(values).all():
            table[f"{axis.lower()}_as_stored"] = values
    references = tuple(_text(place.get("ref")) for place in places)
    return table | ({"reference": references} if any(references) else {})


def _kind(stated: str, name: str) -> str:
    """The stated type; without one, what the name tells."""
    text = (stated or name).lower().replace("ekg", "ecg")
    found = next((kind for kind in _KINDS if kind in text), None)
    return found or ("misc" if stated and stated.lower() != "ref" else "eeg")


def _unique(names: Sequence[str], repairs: list[str]) -> list[str]:
    """Channels of one name get a number each, and that is noted."""
    counts, seen, unique = Counter(names), Counter[str](), []
    if len(counts) < len(names):
        repairs.append(f"{len(names) - len(counts)} channels have the name of another: numbered")
    for name in names:
        unique.append(f"{name}-{seen[name]}" if counts[name] > 1 else name)
        seen[name] += 1
    return unique


# ---- time


def _was_resampled(eeg: Mapping[str, Any]) -> bool:
    """EEGLAB's own log says so. Older versions then leave some numbers of samples at the rate before."""
    return "resample" in (_text(eeg.get("history")) + _text(eeg.get("setname"))).lower()


def _continuous(
    events: Sequence[Mapping[str, Any]], shape: _Shape, was_resampled: bool, repairs: list[str]
) -> list[_Piece]:
    """Runs between boundaries; the samples of a boundary's duration lie between two of them."""
    gaps: dict[int, float] = {}
    unknown = 0
    for event in events:
        cut = _cut(event)
        if cut is None or not 0 < cut < shape.total:  # before the first or behind the last sample: nothing to part
            continue
        lost = _lost(event)
        unknown += lost == 0
        gaps[cut] = gaps.get(cut, 0.0) + lost
    if unknown:
        repairs.append(f"{unknown} boundaries do not say how many samples were taken out: times go on as if none were")
    if was_resampled and any(gaps.values()):
        repairs.append(
            "was resampled: gaps are as long as stated, which old versions of EEGLAB state at the rate before"
        )
    edges = [0, *sorted(gaps), shape.total]
    shifts = np.concatenate([[0.0], np.cumsum([gaps[cut] for cut in sorted(gaps)])])
    return [
        _Piece(first, stop - first, first + float(shift))
        for first, stop, shift in zip(edges, edges[1:], shifts, strict=False)
    ]


def _cut(event: Mapping[str, Any]) -> int | None:
    """Of a boundary, the first sample after it: it lies between two samples, or on the later one."""
    latency = _number(event.get("latency"))
    is_boundary = _text(event.get("type")).lower() in ("boundary", "-99")
    return int(np.ceil(latency - 1)) if is_boundary and abs(latency) < 2**53 else None


def _lost(event: Mapping[str, Any]) -> float:
    """Samples taken out at a boundary, 0 where that is not known: a marker made one of has the marker's length."""
    lost = _number(event.get("duration"))
    is_imported = _text(event.get("code")) == "New Segment"
    return lost if np.isfinite(lost) and lost > 0 and not is_imported else 0.0


def _epochs(
    path: Path,
    events: Sequence[Mapping[str, Any]],
    urevents: Sequence[Mapping[str, Any]],
    shape: _Shape,
    was_resampled: bool,
) -> list[_Piece]:
    """Each epoch at the time it was recorded, in order of time; the clock is that of the recording it was cut from.

    Raises FormatError where the file does not tell that time beyond doubt, or where two epochs share samples: one
    stretch of time would be there twice.

    Design rationale: `pop_resample` of older versions moves only as many urevents as there are events. Two events of
    an epoch show whether theirs were; without two, an epoch of resampled data may lie anywhere.
    """
    found: dict[int, list[float]] = {}
    for event in events:
        latency, epoch, number = _number(event.get("latency")), _epoch(event, shape), _number(event.get("urevent"))
        if 1 <= number <= len(urevents):
            start = _number(urevents[int(number) - 1].get("latency")) - latency + epoch * shape.n_samples
            found.setdefault(epoch, []).extend([start] if np.isfinite(start) else [])
    wanted = 2 if was_resampled else 1
    lost = [k + 1 for k in range(shape.n_epochs) if len(found.get(k, [])) < wanted]
    if lost:
        what = "two events with urevents in each, as the data were resampled," if was_resampled else "urevents in each"
        raise FormatError(
            f"{path}: {shape.n_epochs} epochs, and nothing tells when number {lost[0]} was recorded; {what} or "
            "continuous data are wanted"
        )
    for k, starts in found.items():
        if max(starts) - min(starts) > 1:
            raise FormatError(
                f"{path}: the events of epoch {k + 1} do not agree when it was recorded; continuous data are wanted"
            )
    order = sorted(range(shape.n_epochs), key=lambda k: found[k][0])
    for k, following in pairwise(order):
        if found[following][0] < found[k][0] + shape.n_samples - 0.5:
            raise FormatError(f"{path}: epochs {k + 1} and {following + 1} overlap in time; continuous data are wanted")
    return [_Piece(k * shape.n_samples, shape.n_samples, found[k][0]) for k in order]


def _epoch(event: Mapping[str, Any], shape: _Shape) -> int:
    """Which epoch an event is in, counted from 0; -1 where it is in none."""
    stated = _number(event.get("epoch"))
    if np.isnan(stated):
        stated = np.floor((_number(event.get("latency")) - 0.5) / shape.n_samples) + 1
    return int(stated) - 1 if 1 <= stated <= shape.n_epochs else -1


def _events(
    events: Sequence[Mapping[str, Any]], pieces: Sequence[_Piece], shape: _Shape, repairs: list[str]
) -> list[Events]:
    """Events at their times, in order; all their other fields are columns."""
    latencies = np.array([_number(event.get("latency")) for event in events])
    placed = np.isfinite(latencies)
    if not placed.all():
        repairs.append(f"{int((~placed).sum())} events without a latency left out")
    if not placed.any():
        return []
    rows = [event for event, is_placed in zip(events, placed, strict=True) if is_placed]
    times_s = _times(latencies[placed] - 1, pieces) / shape.rate_hz
    order = np.argsort(times_s, kind="stable")
    rows = [rows[i] for i in order]
    names = dict.fromkeys(name for row in rows for name in row)
    durations = tuple(_number(row.get("duration", 0)) / shape.rate_hz for row in rows)
    labels = tuple(_text(row.get("type")) for row in rows)
    table: dict[str, tuple[Any, ...]] = {"duration_s": durations, "type": labels}
    table |= {name: _column(rows, name) for name in names if name not in ("type", "latency", "duration", "duration_s")}
    return [Events(name="events", times_s=times_s[order], labels=labels, table=table)]


def _times(latencies: FloatArray, pieces: Sequence[_Piece]) -> FloatArray:
    """Where samples, counted from 0 as the file does, lie in time, in samples."""
    by_first = sorted(pieces, key=lambda piece: piece.first)
    which = np.searchsorted([piece.first for piece in by_first], latencies, side="right") - 1
    shifts = np.array([piece.at - piece.first for piece in by_first])
    return np.asarray(latencies + shifts[np.maximum(which, 0)])


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[Any, ...]:
    """Numbers where all of them are (NaN for none), else texts."""
    values = [row.get(name) for row in rows]
    if any(isinstance(value, str) for value in values):
        return tuple(_text(value) for value in values)
    return tuple(_number(value) for value in values)
