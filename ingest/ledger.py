"""The ledger of a recording: what was not taken as it stands in its files.

    a line                    a remark: something of the file is left out, or is not known
    Defect("found: used")     a fault of the file that was mended in the reading; refused where `strict` asks for it

Lines are kept in the provenance of a session, so that every number can be traced to what the file has. Originals are
never altered: reading them again without the mending, or with another, takes nothing but another reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_noted: ContextVar[list[str] | None] = ContextVar("noted", default=None)


LEFT_OUT = " left out"


class Defect(str):
    """A line that tells of a fault: what was found, then after its last ": " what was used instead."""

    __slots__ = ()

    @property
    def found(self) -> str:
        """What the file has."""
        return self._parts[0]

    @property
    def used(self) -> str:
        """What was used instead."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str]:
        found, _, used = self.rpartition(": ")
        if not found or used.endswith(LEFT_OUT):  # "run.eeg: 3 bytes after the last whole sample left out"
            return self.removesuffix(LEFT_OUT), LEFT_OUT.strip()
        return found, used


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


def changed(line: str, words: str) -> str:
    """Another wording of a line, of the same kind."""
    return Defect(words) if isinstance(line, Defect) else words
