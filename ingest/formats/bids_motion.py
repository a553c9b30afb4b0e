"""BIDS motion: `X_motion.tsv`, packed with gzip or not, a row of numbers per sample; what they are is said beside it.

    X_motion.json       SamplingFrequency; SamplingFrequencyEffective, where it is a number, is the measured rate
    X_channels.tsv      name, type and units of each column, and where stated tracked_point, component and placement
                        (both may lie in a folder above, with fewer entities in their names)

Columns of type LATENCY hold the time of each sample, in seconds. BIDS has no line of names in the table; one that is
there all the same is left out, and said. `n/a` is NaN.

Design rationale: a packed table cannot be read by the slice, so its numbers are held in memory, within a limit; it is
unpacked step by step, so that a small file that swells to gigabytes is refused and not tried.
"""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError, _gzip
from neuroloom.ingest.formats._bids import applicable
from neuroloom.ingest.formats._channel_list import KINDS, Channel, signals_of
from neuroloom.ingest.formats._channels import columns_of
from neuroloom.ingest.formats._companions import beside
from neuroloom.ingest.formats._dates import iso_date
from neuroloom.ingest.formats._header_text import decoded, text_of
from neuroloom.ingest.formats._json import read_object
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._row_runs import runs, segments
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment
from neuroloom.ingest.timebase import FloatArray, Timebase

TITLE = "BIDS motion (_motion.tsv, .tsv.gz)"
MODALITY = "position"
KEEPS = "numbers as float64, names, units, tracked points, times (LATENCY)"
TESTED_ON = "a real file of MNE-Python's testing data (packed); LATENCY and plain tables on files of this project only"

MAX_TEXT_BYTES = 1 << 29  # unpacked
MAX_NUMBERS = 1 << 25
_MAX_SIDE_BYTES = 1 << 20
_STEP_BYTES = 1 << 20
_NAME = re.compile(r"_motion\.tsv(\.gz)?$")
_ABOUT = ("tracked_point", "component", "placement", "reference_frame")


def sniff(path: Path, head: bytes) -> bool:
    """True for rows of numbers between tabs, packed or not, in a file that BIDS names so."""
    if not _NAME.search(path.name):
        return False
    text = _gzip.unpacked_head(head, 1 << 14) if head.startswith(_gzip.SIGNATURE) else head
    lines = decoded(text).splitlines()[:3]
    return any(_is_row(line) for line in lines[:2])


def _is_row(line: str) -> bool:
    cells = line.split("\t")
    return all(re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?|n/a|nan", cell.strip(), re.I) for cell in cells)


def files(path: Path) -> tuple[Path, ...]:
    """The table, the .json and the table of channels, beside it or above. Raises FormatError where one is missing."""
    sides, table = _about(path)
    return (path, *sides, table)


def _about(path: Path) -> tuple[tuple[Path, ...], Path]:
    """What BIDS says of it: files .json, the most general first, and the nearest table of channels."""
    stem = _NAME.sub("", path.name)
    sides = applicable(path, "motion", ".json") or (beside(path, f"{stem}_motion.json", "its sidecar"),)
    tables = applicable(path, "channels", ".tsv") or (
        beside(path, f"{stem}_channels.tsv", "the table of its channels"),
    )
    return tuple(sides), tables[-1]


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per type and unit of channel."""
    sides, table = _about(path)
    repairs: list[str] = []
    stated: dict[str, Any] = {}
    for file in sides:
        stated |= read_object(file)
    rows = _channel_rows(table)
    values = _values(path, [row["name"] for row in rows], repairs)
    found = _segments(path, values, rows, _rate(sides[-1], stated))
    kept = [k for k, row in enumerate(rows) if row.get("type", "").upper() != "LATENCY"]
    columns = np.array(kept, dtype=np.int64)
    parts = [Segment(samples=columns_of(s.samples, columns), timebase=s.timebase) for s in found]
    return [
        Recording(
            clock=_NAME.sub("", path.name),
            format="bids_motion",
            files=files(path),
            streams=tuple(signals_of(parts, [_channel(rows[k]) for k in kept], repairs)),
            start=iso_date(str(stated.get("StartTime", ""))),
            repairs=tuple(repairs),
        )
    ]


def _segments(path: Path, values: FloatArray, rows: Sequence[Mapping[str, str]], rate_hz: float) -> Sequence[Segment]:
    """By the column of times where there is one, else at the stated rate."""
    latency = [k for k, row in enumerate(rows) if row.get("type", "").upper() == "LATENCY"]
    if not latency:
        return (Segment(samples=values, timebase=Timebase(rate_hz=rate_hz, n_samples=len(values))),)
    try:
        return segments(values, runs(values[:, latency[0]]))
    except ValueError as error:
        raise FormatError(f"{path}: column {rows[latency[0]]['name']!r}: {error}") from error


def _rate(path: Path, stated: Mapping[str, Any]) -> float:
    for key in ("SamplingFrequencyEffective", "SamplingFrequency"):
        value = stated.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
            return float(value)
    raise FormatError(f"{path}: SamplingFrequency is {stated.get('SamplingFrequency')!r}; a rate above 0 is wanted")


def _channel_rows(path: Path) -> list[dict[str, str]]:
    lines = [line.split("\t") for line in text_of(path, most=_MAX_SIDE_BYTES).splitlines() if line.strip()]
    names = [name.strip() for name in lines[0]] if lines else []
    if not {"name", "type", "units"} <= set(names):
        raise FormatError(f"{path}: columns {', '.join(names)[:80]}; name, type and units are wanted")
    rows = [dict(zip(names, (cell.strip() for cell in cells), strict=False)) for cells in lines[1:]]
    if not rows or any("units" not in row for row in rows):
        raise FormatError(f"{path}: {len(rows)} channels, or a row that is cut off; whole rows are wanted")
    return rows


def _channel(row: Mapping[str, str]) -> Channel:
    kind = row["type"].lower()
    unit, gain = kept_unit("" if row["units"] == "n/a" else row["units"])
    about = {key: row[key] for key in _ABOUT if row.get(key, "n/a") != "n/a"}
    return Channel(name=row["name"], kind=kind if kind in KINDS else "misc", unit=unit, gain=gain, about=about)


# Numbers --------------------------------------------------------------------------------------------------------------


def _values(path: Path, names: Sequence[str], repairs: list[str]) -> FloatArray:
    """All rows, shape (T, C). Raises FormatError for what is no row of as many numbers, and for too many."""
    blocks: list[FloatArray] = []
    n_rows = 0
    for k, block in enumerate(_blocks(path)):
        if k == 0 and not _is_row(block.partition("\n")[0]):
            line, _, block = block.partition("\n")
            repairs.append(
                Defect(f"a line of names above the numbers, which BIDS has not, left out: {line.strip()[:60]!r}")
            )
        if not block.strip():
            continue
        try:
            rows = np.loadtxt(io.StringIO(block.replace("n/a", "nan")), delimiter="\t", ndmin=2, comments=None)
        except ValueError as error:
            raise FormatError(f"{path}: after row {n_rows}: {one_line(error)}; numbers are wanted") from error
        if rows.shape[1] != len(names):
            raise FormatError(f"{path}: rows of {rows.shape[1]} numbers for {len(names)} channels; they must match")
        n_rows += len(rows)
        blocks.append(rows)
        if n_rows * len(names) > MAX_NUMBERS:
            raise FormatError(f"{path}: more than {MAX_NUMBERS} numbers; up to as many are read of such a table")
    if not blocks:
        raise FormatError(f"{path}: holds no rows; some are wanted")
    return np.concatenate(blocks)


def _blocks(path: Path) -> Iterator[str]:
    """The text in blocks of whole lines."""
    rest = b""
    n_bytes = 0
    for piece in _pieces(path):
        n_bytes += len(piece)
        if n_bytes > MAX_TEXT_BYTES:
            raise FormatError(f"{path}: more than {MAX_TEXT_BYTES >> 20} MB of text; up to as much is read")
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if len(rest) > _STEP_BYTES:
            raise FormatError(f"{path}: a line of more than {_STEP_BYTES} bytes; rows of numbers are wanted")
        if newline:
            yield decoded(whole)
    if rest.strip():
        yield decoded(rest)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if file.read(2) != _gzip.SIGNATURE:
            file.seek(0)
            while piece := file.read(_STEP_BYTES):
                yield piece
            return
        file.seek(0)
        stream = zlib.decompressobj(wbits=31)
        packed = b""
        try:
            while not stream.eof:
                packed = packed or file.read(_STEP_BYTES)
                if not packed:
                    raise zlib.error("its end is missing")
                yield stream.decompress(packed, _STEP_BYTES)
                packed = stream.unconsumed_tail
        except zlib.error as error:
            raise FormatError(f"{path}: is packed, and damaged or cut off ({error}); a whole file is wanted") from error
