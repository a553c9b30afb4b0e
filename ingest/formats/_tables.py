"""Tables of text, read in bounded memory: where the header is, then the rows below it.

    find_table(path, wanted)      where the header is, what separates the columns, how the text is encoded
    whole(table, max_bytes)       the same for the whole file, and how many lines it has; refused where too large
    numbers(table, columns)       blocks of numbers, shape (N, K); a damaged row is refused by its line
    texts(table)                  the cells of each row, for tables of events; number_in one of them
    number, is_known, typed       what a cell holds, and a column of them

Design rationale: a header is found by the names a format looks for, not by a guess from the statistics of the text
(as csv.Sniffer makes it): a preamble, a decimal comma or a quoted cell then cannot mislead.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.ledger import not_utf8, note
from neuroloom.ingest.timebase import FloatArray

HEAD_BYTES = 1 << 16  # the header lies within these
HEAD_LINES = 200
BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 20

NOT_KNOWN = frozenset({"", ".", "-", "na", "n/a", "nan", "none", "null"})  # cells that hold nothing, in any case

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
            if not header and not wanted(_names_of(line, delimiter)):  # nearly every line of every text
                continue
            cells = _cells(line, delimiter)
            if header:
                is_it = len(cells) == len(header) and _has_number(cells)
            else:
                is_it = _rows_follow(lines[number:], delimiter, len(cells), declared=declared)
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
    except UnicodeDecodeError as error:
        encoding = "latin-1"
        note(not_utf8(error, path.name))
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


@lru_cache(maxsize=1024)  # of the lines of one text, which every format of tables looks at
def _names_of(line: str, delimiter: str) -> tuple[str, ...]:
    return _named(_cells(line, delimiter))


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
                except UnicodeDecodeError as error:
                    encoding = "latin-1"
                    note(not_utf8(error, table.path.name))
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
        check_whole(table, line, cells)
        values.append([number_in(table, line, cells, column) for column in columns])
        lines.append(line)
    block = np.array(values, dtype=np.float64).reshape(-1, len(columns))
    return block, np.array(lines, dtype=np.int64), len(rows) - len(lines)


def _holds(cell: str, value: str | float) -> bool:
    return cell.strip() == value if isinstance(value, str) else number(cell) == value


def check_whole(table: TextTable, line: int, cells: Sequence[str]) -> None:
    """Raise FormatError, naming the line, for a row of too few cells, or with something in cells that have no name."""
    n = len(table.names)
    if len(cells) < n or any(cell.strip() for cell in cells[n:]):
        raise FormatError(f"{table.path}: line {line} has {len(cells)} cells; {n} are wanted, as in its header")


def number_in(table: TextTable, line: int, cells: Sequence[str], column: int) -> float:
    """The number in a column of a row, NaN for nothing. Raises FormatError, naming the line, for what is no number."""
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
    for line, cells in loose_texts(table):
        check_whole(table, line, cells)
        yield line, cells[: len(table.names)]


def loose_texts(table: TextTable) -> Iterator[Row]:
    """Every row, however many cells it has: some programs write messages between the samples."""
    for first, lines in _blocks(table):
        for line, text in enumerate(lines, start=first):
            if not text.isspace():
                yield line, [cell.strip() for cell in _cells(text, table.delimiter)]


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
