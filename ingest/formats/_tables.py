"""Tables of timed rows: text read in bounded memory, what column names say of time and place, rows cut into segments.

    find_table(path, wanted)      where the header is, what separates the columns, how the text is encoded
    whole(table, max_bytes)       the same for the whole file, and how many lines it has; refused where too large
    numbers(table, columns)       blocks of numbers, shape (N, K); a damaged row is refused by its line
    texts(table)                  the cells of each row, for tables of events
    time_unit, place              what a name states: "time_ms" -> "ms", "x_left_pix" -> ("x_left", "px")
    runs(times_s)                 unbroken runs of rows, and their times
    sidecar, validated            what a lab states in `<stem>.toml` beside its table

Design rationale: a header is found by the names a format looks for, not by a guess from the statistics of the text
(as csv.Sniffer makes it): a preamble, a decimal comma or a quoted cell then cannot mislead.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.streams import Samples, Segment
from neuroloom.ingest.timebase import FloatArray, Times, times_of

HEAD_BYTES = 1 << 16  # the header lies within these
HEAD_LINES = 200
BLOCK_BYTES = 1 << 20
_BLOCK_ROWS = 1 << 20
MAX_LINE_BYTES = 1 << 20
MAX_SIDECAR_BYTES = 1 << 20
PAUSE_S, PAUSE_INTERVALS = 1.0, 10  # a longer wait than both is a pause: a new segment begins after it

NOT_KNOWN = frozenset({"", ".", "-", "na", "n/a", "nan", "none", "null"})  # cells that hold nothing, in any case
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

Row = tuple[int, list[str]]  # number of the line, from 1, and its cells


# Where a table lies in a text --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A header and what follows it.

    delimiter: "" stands for blanks. n_cells: per row, unnamed ones at the end included. first_line: of the first row.
    """

    path: Path
    encoding: str
    delimiter: str
    names: tuple[str, ...]
    n_cells: int
    first_line: int

    def column(self, name: str) -> int:
        """Where the column of that name is. Raises FormatError where there is none or more than one."""
        if self.names.count(name) != 1:
            times = "more than once" if name in self.names else "nowhere"
            raise FormatError(f"{self.path}: column {name!r} is {times} in {shown(self.names)}; once is wanted")
        return self.names.index(name)


def find_table(
    path: Path,
    wanted: Callable[[tuple[str, ...]], bool],
    *,
    header: tuple[str, ...] = (),
    declared: bool = False,
) -> TextTable | None:
    """The first line whose names are wanted and that rows of as many cells follow; None where there is none.

    header: names for a text without any; then the first line of as many cells is the first row.
    declared: a lab says that it is a table, so a single good row will do; else prose and code must not pass for one.
    """
    found = _head_lines(path)
    if found is None:
        return None
    lines, encoding = found
    for number, line in enumerate(lines[:HEAD_LINES], start=1):
        for delimiter in ("\t", ";", ",", ""):
            cells = _cells(line, delimiter)
            if header:
                is_it = len(cells) == len(header) and _has_number(cells)
            else:
                is_it = wanted(_named(cells)) and _rows_follow(lines[number:], delimiter, len(cells), declared=declared)
            if is_it:
                return TextTable(
                    path=path,
                    encoding=encoding,
                    delimiter=delimiter,
                    names=header or _named(cells),
                    n_cells=len(cells),
                    first_line=number if header else number + 1,
                )
    return None


def is_text(head: bytes) -> bool:
    """False for the first bytes of a binary file, quickly; a NUL is text only in UTF-16."""
    return bool(head) and (b"\0" not in head or _encoding(head) == "utf-16")


def _head_lines(path: Path) -> tuple[list[str], str] | None:
    """The whole lines at the start of a text and its encoding; None for what is no text, or a file of sections."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        raw = file.read(HEAD_BYTES)
    if not is_text(raw):
        return None
    cut = len(raw) == HEAD_BYTES
    encoding = _encoding(raw)
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(raw, not cut)
    except UnicodeDecodeError:
        encoding = "latin-1"
        text = raw.decode(encoding)
    if re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text):
        return None
    lines = io.StringIO(text, newline=None).readlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    if re.match(r"\[.*\]$|[{<]", first):  # an INI file or SMI's BeGaze, JSON, XML: files of other readers
        return None
    return (lines[:-1] if cut else lines), encoding


def _encoding(raw: bytes) -> str:
    if raw.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    return "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"


def _cells(line: str, delimiter: str) -> list[str]:
    text = line.rstrip("\r\n")
    if not delimiter:
        return text.split()
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:  # a cell too long, a quote not closed
        return []


def _named(cells: list[str]) -> tuple[str, ...]:
    """Names without blanks around them; unnamed columns at the end are none."""
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _rows_follow(lines: Sequence[str], delimiter: str, n_cells: int, *, declared: bool) -> bool:
    rows = [line for line in lines if not line.isspace()]
    if declared:
        return not rows or any(len(_cells(row, delimiter)) == n_cells for row in rows)
    near = [_cells(row, delimiter) for row in rows[:10]]
    return n_cells > 1 and sum(len(row) == n_cells and _has_number(row) for row in near) > len(near) / 2


def _has_number(cells: Sequence[str]) -> bool:
    return any(np.isfinite(value) for cell in cells if (value := number(cell, comma=True)) is not None)


def whole(table: TextTable, *, max_bytes: int) -> tuple[TextTable, int]:
    """The table with the encoding that holds to its end, and how many lines the file has at most.

    Raises FormatError for a file or a line that is too large to be read.
    """
    size = table.path.stat().st_size
    if size > max_bytes:
        raise FormatError(f"{table.path}: {size} bytes of text; at most {max_bytes} are read, split it")
    decoder = codecs.getincrementaldecoder(table.encoding)()
    encoding, n_lines, since_newline = table.encoding, 1, 0
    with table.path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            n_lines += block.count(b"\n") + block.count(b"\r")
            newline = b"\n" if b"\n" in block else b"\r"
            first, last = block.find(newline), block.rfind(newline)
            since_newline += len(block) if first < 0 else first
            if since_newline > MAX_LINE_BYTES:
                raise FormatError(f"{table.path}: a line of more than {MAX_LINE_BYTES} bytes; rows are wanted")
            since_newline = since_newline if first < 0 else len(block) - last
            if encoding == "utf-8":
                try:
                    decoder.decode(block)
                except UnicodeDecodeError:
                    encoding = "latin-1"
    return replace(table, encoding=encoding), n_lines


# Its rows ----------------------------------------------------------------------------------------------------------


def numbers(
    table: TextTable, columns: Sequence[int], *, where: Mapping[int, str | float] | None = None
) -> Iterator[tuple[FloatArray, NDArray[np.int64], int]]:
    """Blocks of some columns, shape (N, K), NaN where a cell holds nothing; the line of each row; rows left out.

    where: column -> what it must hold; other rows are left out.
    Raises FormatError, naming the line, for a row of another number of cells or a cell that is no number.
    """
    for first, lines in _blocks(table):
        kept = [k for k, line in enumerate(lines) if not line.isspace()]
        rows = lines if len(kept) == len(lines) else [lines[k] for k in kept]
        at = first + np.array(kept, dtype=np.int64)
        quick = None if where else _quickly(table, rows, columns)
        yield (quick, at, 0) if quick is not None else _one_by_one(table, rows, at, columns, where or {})


def _blocks(table: TextTable) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and the lines, about a megabyte at a time."""
    with table.path.open("r", encoding=table.encoding, newline=None) as file:
        at = 1
        try:
            while at < table.first_line:
                file.readline()
                at += 1
            while lines := file.readlines(BLOCK_BYTES):
                yield at, lines
                at += len(lines)
        except UnicodeDecodeError as error:
            raise FormatError(f"{table.path}: after line {at}: {error}; {table.encoding} is wanted") from error


def _quickly(table: TextTable, rows: list[str], columns: Sequence[int]) -> FloatArray | None:
    """All cells at once where every row is whole, unquoted and holds plain numbers; None else."""
    if not rows or any('"' in row for row in rows):
        return None
    if table.delimiter:
        whole_rows = all(row.count(table.delimiter) == table.n_cells - 1 for row in rows)
    else:
        whole_rows = all(len(row.split()) == table.n_cells for row in rows)
    if not whole_rows:
        return None
    try:
        return np.loadtxt(rows, delimiter=table.delimiter or None, usecols=columns, comments=None, ndmin=2)
    except ValueError:
        return None


def _one_by_one(
    table: TextTable,
    rows: list[str],
    at: NDArray[np.int64],
    columns: Sequence[int],
    where: Mapping[int, str | float],
) -> tuple[FloatArray, NDArray[np.int64], int]:
    values, lines = [], []
    for line, row in zip(at.tolist(), rows, strict=True):
        cells = _cells(row, table.delimiter)
        if not all(column < len(cells) and _holds(cells[column], value) for column, value in where.items()):
            continue
        _check_whole(table, line, cells)
        values.append([_cell(table, line, cells, column) for column in columns])
        lines.append(line)
    block = np.array(values, dtype=np.float64).reshape(-1, len(columns))
    return block, np.array(lines, dtype=np.int64), len(rows) - len(lines)


def _holds(cell: str, value: str | float) -> bool:
    return cell.strip() == value if isinstance(value, str) else number(cell) == value


def _check_whole(table: TextTable, line: int, cells: Sequence[str]) -> None:
    n = len(table.names)
    if len(cells) < n or any(cell.strip() for cell in cells[n:]):
        raise FormatError(f"{table.path}: line {line} has {len(cells)} cells; {n} are wanted, as in its header")


def _cell(table: TextTable, line: int, cells: Sequence[str], column: int) -> float:
    value = number(cells[column], comma=table.delimiter != ",")
    if value is None:
        name = shown([table.names[column]])
        raise FormatError(f"{table.path}: line {line}: {name} is {cells[column].strip()[:40]!r}; a number is wanted")
    return value


def number(text: str, *, comma: bool = False) -> float | None:
    """What a cell holds, NaN for nothing, None for what is no number. comma: a decimal comma is one too."""
    cell = text.strip()
    if cell.lower() in NOT_KNOWN:
        return float("nan")
    if comma and re.fullmatch(r"[+-]?\d*,\d+", cell):
        cell = cell.replace(",", ".")
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def texts(table: TextTable) -> Iterator[Row]:
    """Every row, its cells without blanks around them. Raises FormatError, naming the line, for one not whole."""
    for first, lines in _blocks(table):
        for line, text in enumerate(lines, start=first):
            if not text.isspace():
                cells = _cells(text, table.delimiter)
                _check_whole(table, line, cells)
                yield line, [cell.strip() for cell in cells[: len(table.names)]]


def is_known(cell: str) -> bool:
    """False for a cell that holds nothing."""
    return cell.strip().lower() not in NOT_KNOWN


def typed(cells: Sequence[str]) -> tuple[Any, ...]:
    """All int, all float (NaN where nothing is known) or the text as it stands: "007" is a name, not a number."""
    known = [cell for cell in cells if is_known(cell)]
    if known and len(known) == len(cells) and all(re.fullmatch(r"[+-]?(0|[1-9]\d{0,17})", cell) for cell in known):
        return tuple(int(cell) for cell in cells)
    if known and all(re.fullmatch(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", cell) for cell in known):
        return tuple(float(cell) if is_known(cell) else float("nan") for cell in cells)
    return tuple(cells)


# What names state --------------------------------------------------------------------------------------------------

_TIME_UNITS = {
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "ms": "ms", "msec": "ms", "msecs": "ms", "millisecond": "ms", "milliseconds": "ms",
    "us": "us", "usec": "us", "microsecond": "us", "microseconds": "us",
    "ns": "ns", "nsec": "ns", "nanosecond": "ns", "nanoseconds": "ns",
}  # fmt: skip
_PLACE_UNITS = {
    "px": "px", "pix": "px", "pixel": "px", "pixels": "px", "deg": "deg", "degree": "deg", "degrees": "deg",
    "dva": "deg", "norm": "norm", "normalized": "norm", "normalised": "norm", "mm": "mm", "cm": "cm", "m": "m",
}  # fmt: skip
_TIME_WORDS = {"time", "timestamp", "timestamps", "t", "ts"}
_TIME_FILLERS = {"stamp", "gaze", "recording", "system", "device", "sample", "tracker", "eyetracker"}
_EYES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_PLACE_FILLERS = {"gaze", "por", "pos", "position", "point", "coord", "coordinate", "coordinates", "eye", "screen"}
_PUPIL_FILLERS = {"size", "diameter", "area", "eye"}


def words(name: str) -> list[str]:
    """`GazePointXLeft [px]` -> gaze, point, x, left, px; none for what holds more than names do, as prose and code."""
    if not re.fullmatch(r"[\w\s.()\[\]/#-]*", name):
        return []
    plain = name.replace("µ", "u").replace("μ", "u")
    return [word.lower() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+", plain)]


def time_unit(name: str, *, onset: bool = False) -> str | None:
    """The unit that the name of a column of times states, "" where it states none; None where it is no time.

    onset: names of events too ("onset", "start").
    """
    left = words(name)
    telling = _TIME_WORDS | ({"onset", "onsets", "start"} if onset else set())
    units = [_TIME_UNITS[word] for word in left if word in _TIME_UNITS]
    known = telling | _TIME_FILLERS | set(_TIME_UNITS)
    if not telling & set(left) or any(word not in known for word in left) or len(units) > 1:
        return None
    return (units or [""])[0]


def place(name: str) -> tuple[str, str] | None:
    """Channel ("x", "y_left", "pupil_right") and unit ("" where not stated) of a column of gaze; None for others."""
    left = words(name)
    axes = [word for word in left if word in ("x", "y")]
    eyes = [_EYES[word] for word in left if word in _EYES]
    units = [_PLACE_UNITS[word] for word in left if word in _PLACE_UNITS]
    is_pupil = "pupil" in left
    fillers = _PUPIL_FILLERS if is_pupil else _PLACE_FILLERS
    known = {"x", "y", "pupil", *_EYES, *_PLACE_UNITS, *fillers}
    if (
        any(word not in known for word in left)
        or len(eyes) > 1
        or len(units) > 1
        or len(axes) != (0 if is_pupil else 1)
    ):
        return None
    what = "pupil" if is_pupil else axes[0]
    return "_".join([what, *eyes]), (units or [""])[0]


def tells_gaze(names: Sequence[str]) -> bool:
    """True where some column can only be of an eye: it names one, or gaze, or a pupil, or degrees."""
    telling = {"gaze", "por", "eye", "pupil", "dva", "deg", *_EYES}
    return any(telling & set(words(name)) for name in names if place(name) or time_unit(name) is not None)


def is_gaze(names: Sequence[str]) -> bool:
    """True for times, and x with y of one eye at least, one row per sample: none that lasts ("duration")."""
    if any(set(words(name)) - set(_TIME_UNITS) == {"duration"} for name in names):
        return False
    channels = {found[0] for name in names if (found := place(name)) is not None}
    has_place = any({f"x{eye}", f"y{eye}"} <= channels for eye in ("", "_left", "_right"))
    return has_place and any(time_unit(name) is not None for name in names)


def unit_of_time(text: str) -> str | None:
    """A unit of time as files spell it, as one of SECONDS; None for others."""
    return _TIME_UNITS.get("".join(words(text)))


def unit_of_place(text: str) -> str:
    """A unit of place as files spell it, in our spelling; others stay as they are."""
    return _PLACE_UNITS.get(text.strip().lower(), text.strip())


def shown(names: Sequence[str], *, most: int = 12) -> str:
    """Names for one line of text: not too many, and nothing in them that a terminal would obey."""
    few = ["".join(c if c.isprintable() else "?" for c in name[:40]) for name in names[:most]]
    return ", ".join(few) + (f" and {len(names) - most} more" if len(names) > most else "")


# Rows as segments --------------------------------------------------------------------------------------------------


def runs(times_s: FloatArray) -> list[tuple[slice, Times]]:
    """Unbroken runs of rows, from increasing times of shape (T,), and the times of each.

    Design rationale: single rows that a tracker lost leave the run whole, since its timestamps tell where they are
    missing and a series per lost row would make files of thousands; a longer wait is a pause and ends the run.
    """
    few = np.diff(times_s[:_BLOCK_ROWS])
    longest_s = max(PAUSE_S, PAUSE_INTERVALS * float(np.median(few)) if few.size else 0.0)
    cuts = [0]
    for at in range(0, times_s.size, _BLOCK_ROWS):
        cuts += (np.flatnonzero(np.diff(times_s[at : at + _BLOCK_ROWS + 1]) > longest_s) + at + 1).tolist()
    spans = [slice(first, last) for first, last in pairwise([*cuts, times_s.size])]
    return [(span, times_of(times_s[span])) for span in spans]


def segments(samples: Samples, found: Sequence[tuple[slice, Times]]) -> tuple[Segment, ...]:
    """The samples, shape (T, C), of each run; still lazy."""
    if len(found) == 1:
        return (Segment(samples=samples, timebase=found[0][1]),)
    return tuple(Segment(samples=Part(samples, span), timebase=base) for span, base in found)


@dataclass(frozen=True, eq=False)
class Part:
    """A run of lazy samples, itself lazy."""

    samples: Samples
    span: slice

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.span.stop - self.span.start, self.samples.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.samples.dtype

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        return self.samples[slice(self.span.start + start, self.span.start + max(start, stop), step)]


# What a lab states beside it ---------------------------------------------------------------------------------------

Model = TypeVar("Model", bound=BaseModel)


def sidecar(path: Path, form: str) -> Path | None:
    """`<stem>.toml` beside a table where it says `format = "<form>"`, else None. Links are not followed."""
    beside = path.with_suffix(".toml")
    if beside == path or beside.is_symlink() or not beside.is_file() or beside.stat().st_size > MAX_SIDECAR_BYTES:
        return None
    said = re.search(rb"""^\s*format\s*=\s*["']([^"']*)["']""", beside.read_bytes(), re.M)
    return beside if said and said[1] == form.encode() else None


def read_toml(path: Path) -> dict[str, Any]:
    """Raises FormatError for what is no TOML, or too large."""
    if path.stat().st_size > MAX_SIDECAR_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; at most {MAX_SIDECAR_BYTES} are read")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: {' '.join(str(error).split())}; TOML is wanted") from error


def validated(path: Path, model: type[Model], given: Mapping[str, Any]) -> Model:
    """Raises FormatError with one line that names the entry and what is wrong with it."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = shown([".".join(str(part) for part in first["loc"])]) or "it"
        raise FormatError(f"{path}: {where}: {' '.join(first['msg'].split()).removeprefix('Value error, ')}") from error
