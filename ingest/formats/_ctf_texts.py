"""Small texts in a CTF folder: bad channels, bad segments, markers, classes of trials; nothing where one is absent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._header_text import text_of

MAX_BYTES = 1 << 25


def _lines(folder: Path, name: str) -> list[str]:
    file = folder / name
    return text_of(file, most=MAX_BYTES).splitlines() if is_there(file) else []


def bad_channels(folder: Path) -> list[str]:
    """Their names, without what follows the dash."""
    return [line.strip() for line in _lines(folder, "BadChannels") if line.strip()]


def bad_segments(folder: Path) -> list[tuple[int, float, float]]:
    """Trial from 1, start and stop in seconds of the trial."""
    rows = [line.split() for line in _lines(folder, "bad.segments") if line.strip()]
    try:
        return [(int(row[0]), float(row[1]), float(row[2])) for row in rows]
    except (ValueError, IndexError) as error:
        raise FormatError(f"{folder / 'bad.segments'}: a row is no trial, start and stop; those are wanted") from error


def markers(folder: Path) -> Iterator[tuple[int, float, str]]:
    """Trial from 0, seconds since its trigger, name of the marker."""
    for name, rows in _named_lists(folder, "MarkerFile.mrk"):
        for row in rows:
            try:
                trial, time_s = row.split()[:2]
                yield int(trial), float(time_s), name
            except ValueError as error:
                what = f"marker {name[:40]!r}: {row[:40]!r}; a trial and a time are wanted"
                raise FormatError(f"{folder / 'MarkerFile.mrk'}: {what}") from error


def classes(folder: Path) -> dict[int, str]:
    """Trial from 0 -> name of the class it is in, the last one that has it."""
    found: dict[int, str] = {}
    for name, rows in _named_lists(folder, "ClassFile.cls"):
        found |= {int(row): name for row in rows if re.fullmatch(r"[+-]?\d{1,9}", row)}
    return found


def _named_lists(folder: Path, file: str) -> Iterator[tuple[str, list[str]]]:
    """`NAME:` and the line below it; `LIST OF ...:`, a line of titles, and rows up to a blank line."""
    lines = [line.strip() for line in _lines(folder, file)]
    name = ""
    k = 0
    while k < len(lines):
        if lines[k] == "NAME:":
            name = lines[k + 1] if k + 1 < len(lines) else ""
            k += 1
        elif lines[k].startswith("LIST OF "):
            stop = next((j for j in range(k + 2, len(lines)) if not lines[j]), len(lines))
            yield name, lines[k + 2 : stop]
            k = stop
        k += 1
