"""Headers that are text: read within a limit, decoded, and their entries as numbers.

text_of         the text, in UTF-8 or else Latin-1
lines_of        its lines, without blanks around them
real, count     an entry as a number, or a FormatError that names it
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.ledger import not_utf8, note

MAX_TEXT_BYTES = 1 << 24


def text_of(path: Path, *, most: int = MAX_TEXT_BYTES) -> str:
    """The text of a file. Raises FormatError where it has more than `most` bytes."""
    size = path.stat().st_size
    if size > most:
        raise FormatError(f"{path}: {size} bytes; a header of at most {most} is wanted")
    return decoded(path.read_bytes())


def decoded(raw: bytes) -> str:
    """UTF-8, with or without a mark; what is none was written before that was usual, in Latin-1."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        note(not_utf8(error))
        return raw.decode("latin-1")


def lines_of(path: Path, *, most: int = MAX_TEXT_BYTES) -> list[str]:
    """The lines of a text that are not blank."""
    return [line.strip() for line in text_of(path, most=most).splitlines() if line.strip()]


def real(path: Path, entries: Mapping[str, str], key: str, *, above: float = -math.inf) -> float:
    """A finite number above a limit. Raises FormatError for anything else."""
    said = entries.get(key, "")
    try:
        value = float(said.replace(",", "."))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > above):
        wanted = "a number" if above == -math.inf else f"a number above {above:g}"
        raise FormatError(f"{path}: {key} is {said[:40]!r}; {wanted} is wanted")
    return value


def count(path: Path, entries: Mapping[str, str], key: str, *, least: int = 1) -> int:
    """A whole number of `least` or more. Raises FormatError for anything else."""
    said = entries.get(key, "")
    value = real(path, entries, key)
    if value != int(value) or value < least:
        raise FormatError(f"{path}: {key} is {said[:40]!r}; a whole number of {least} or more is wanted")
    return int(value)
