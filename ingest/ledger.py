"""The ledger of a recording: what was not taken as it stands in its files.

    a line                    a remark: something of the file is left out, or is not known
    Defect("found", "used")   a fault of the file that was mended in the reading; refused where `strict` asks for it

Lines are kept in the provenance of a session, so that every number can be traced to what the file has. Originals are
never altered: reading them again without the mending, or with another, takes nothing but another reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_noted: ContextVar[list[str] | None] = ContextVar("noted", default=None)


LEFT_OUT = " left out"


class Defect(str):
    """A line that tells of a fault: what was found and what was used instead, with the values of both.

    found: what the file has. used: what was taken instead. In one line they are "found: used", or "found left out".
    Where the line is all that is given, used is what stands behind its last ": ", or "left out" at its end.
    """

    __slots__ = ("found", "used")
    found: str
    used: str

    def __new__(cls, found: str, used: str | None = None) -> Defect:
        if used is None:
            return cls(*_parts(found))
        line = super().__new__(cls, f"{found}{LEFT_OUT}" if used == LEFT_OUT.strip() else f"{found}: {used}")
        line.found, line.used = found, used
        return line

    def __reduce__(self) -> tuple[type[Defect], tuple[str, str]]:
        return Defect, (self.found, self.used)


def _parts(line: str) -> tuple[str, str]:
    found, _, used = line.rpartition(": ")
    if not found or used.endswith(LEFT_OUT):  # "run.eeg: 3 bytes after the last whole sample left out"
        return line.removesuffix(LEFT_OUT), LEFT_OUT.strip()
    return found, used


def not_utf8(error: UnicodeDecodeError, where: str = "a text") -> Defect:
    """Of a text that is read as Latin-1 since it is no UTF-8: the first byte that shows it, and the letter taken."""
    byte = error.object[error.start : error.start + 1]
    return Defect(f"{where} has byte 0x{byte.hex().upper()}, no UTF-8", f"{byte.decode('latin-1')!r}, read as Latin-1")


@contextmanager
def collecting() -> Iterator[list[str]]:
    """A list of what `note` is told within the block."""
    lines: list[str] = []
    token = _noted.set(lines)
    try:
        yield lines
    finally:
        _noted.reset(token)


def note(line: str) -> None:
    """Add a line from where no recording is at hand yet: the decoding of a text, a sidecar."""
    lines = _noted.get()
    if lines is not None and line not in lines:
        lines.append(line)


def entries(lines: Iterable[str]) -> list[dict[str, str]]:
    """As provenance keeps them: {"found", "used"} of a defect, {"remark"} of any other line."""
    return [
        {"found": line.found, "used": line.used} if isinstance(line, Defect) else {"remark": line} for line in lines
    ]


def is_defect(entry: Mapping[str, Any] | str) -> bool:
    """Whether an entry tells of a fault that was mended; of those of older sessions nobody knows."""
    return not isinstance(entry, str) and "found" in entry


def told(entry: Mapping[str, Any] | str) -> str:
    """An entry in one line; those of older sessions are lines."""
    if isinstance(entry, str):
        return entry
    return f"{entry['found']}: {entry['used']}" if is_defect(entry) else str(entry["remark"])


def changed(line: str, words: Callable[[str], str]) -> str:
    """Another wording of a line, of the same kind."""
    return Defect(words(line.found), words(line.used)) if isinstance(line, Defect) else words(line)
