"""Tables of numbers without a header, as BIDS stores continuous recordings: plain, or packed with gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._gzip import SIGNATURE
from neuroloom.ingest.formats._tables import number
from neuroloom.ingest.timebase import FloatArray

MAX_BYTES = 1 << 30  # of text, unpacked: its numbers are held in memory
BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 20


def read_numbers(path: Path, names: list[str]) -> tuple[FloatArray, bool]:
    """Shape (T, K), NaN for n/a, and whether a header was there against the rules and left out.

    names: of its columns. Raises FormatError, naming the line, for a row of another number of cells or no number.
    """
    blocks: list[FloatArray] = []
    had_header = False
    for first, lines in _blocks(path):
        if first == 1 and [cell.strip() for cell in lines[0].split("\t")] == names:
            lines, had_header = lines[1:], True
        if lines:
            blocks.append(_numbers(path, first + had_header * (first == 1), lines, len(names)))
    if not blocks:
        raise FormatError(f"{path}: no rows; samples are wanted")
    return np.concatenate(blocks), had_header


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(len(SIGNATURE)) == SIGNATURE
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line and the lines, about a megabyte at a time; blank ones left out at the end only."""
    at, n_bytes = 1, 0
    try:
        with _opened(path) as file:
            while raw := file.readlines(BLOCK_BYTES):
                n_bytes += sum(map(len, raw))
                if n_bytes > MAX_BYTES or max(map(len, raw)) > MAX_LINE_BYTES:
                    raise FormatError(f"{path}: after line {at}: too much text; up to {MAX_BYTES} bytes are read")
                lines = [line.decode("latin-1").rstrip("\r\n") for line in raw]
                yield at, [line for line in lines if line.strip()]
                at += len(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{path}: is damaged after line {at} ({' '.join(str(error).split())})") from error


def _numbers(path: Path, first: int, lines: list[str], n_columns: int) -> FloatArray:
    if all(line.count("\t") == n_columns - 1 for line in lines):
        try:
            return np.loadtxt([line.replace("n/a", "nan") for line in lines], delimiter="\t", comments=None, ndmin=2)
        except ValueError:
            pass  # found one by one below, to name the line
    rows = []
    for line, text in enumerate(lines, start=first):
        cells = text.split("\t")
        values = [number(cell) for cell in cells]
        if len(cells) != n_columns:
            raise FormatError(f"{path}: line {line} has {len(cells)} cells; {n_columns} are wanted, as its columns say")
        if None in values:
            raise FormatError(f"{path}: line {line}: {cells[values.index(None)][:40]!r} is no number; one is wanted")
        rows.append([float(value) for value in values if value is not None])
    return np.array(rows, dtype=np.float64)
