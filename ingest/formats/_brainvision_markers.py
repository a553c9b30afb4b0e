"""BrainVision's text file of markers: `Mk<number>=<type>,<description>,<sample from 1>,<samples it lasts>,...,<date>`.

A line that states no sample is left out, a number that is missing among them is told: the others are as they were.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from datetime import datetime
from typing import NamedTuple

from neuroloom.ingest.ledger import Defect

MOST_TOLD = 20  # lines of one file that are shown; of more only how many
_LATEST = 1 << 53  # samples: beyond it a float holds no whole numbers
_TITLE = "marker infos"
_LINE = re.compile(r"(Mk(\d{1,9}))=(.*)", re.I)


class Marker(NamedTuple):
    """at: its first sample, from 0. lasts: in samples. when: the date of a new segment."""

    at: int
    kind: str
    text: str
    lasts: int
    when: datetime | None

    @property
    def is_new_segment(self) -> bool:
        return self.kind.startswith("New Segment")


def markers_of(name: str, text: str, repairs: list[str]) -> list[Marker]:
    """The markers in order of time; name: of their file, for what is told of it."""
    section = _section(text)
    if section is None:
        repairs.append(Defect(f"{name}: no [Marker Infos] section: read without markers"))
        return []
    lines = [line.strip() for line in section.splitlines() if re.match(r"\s*Mk", line, re.I)]
    found: list[Marker] = []
    lost: list[str] = []
    for line in lines:
        match = _LINE.match(line)
        marker = _marker(match[3]) if match else None
        if marker is None:
            lost.append(line)
            continue
        if marker.at < 0:
            repairs.append(Defect(f"{name}: {line[:80]!r} is at sample {marker.at + 1}: taken to be at 1, the first"))
        found.append(marker._replace(at=max(marker.at, 0)))
    repairs += _told(name, lost, {int(match[2]) for line in lines if (match := _LINE.match(line))} - {0})
    return sorted(found, key=lambda marker: marker.at)


def _section(text: str) -> str | None:
    """What stands under [Marker Infos], None where there is no such section."""
    parts = re.split(r"^[ \t]*\[([^\]\n]*)\][ \t\r]*$", text, flags=re.M)
    bodies = [body for title, body in zip(parts[1::2], parts[2::2], strict=True) if title.strip().lower() == _TITLE]
    return "\n".join(bodies) if bodies else None


def _marker(value: str) -> Marker | None:
    """What a line states after its number; None where it states no sample."""
    parts = [part.replace("\\1", ",") for part in value.split(",")] + [""] * 6
    try:
        at, lasts = int(parts[2]) - 1, int(parts[3] or 1)
    except ValueError:
        return None
    if not (abs(at) < _LATEST and 0 <= lasts < _LATEST):
        return None
    return Marker(at, parts[0], parts[1], lasts, _date(parts[5]))


def _told(name: str, lost: Sequence[str], numbers: Set[int]) -> list[str]:
    """The lines that were left out, and the numbers that no line has."""
    told: list[str] = [Defect(f"{name}: {line[:80]!r} states no sample: left out") for line in lost[:MOST_TOLD]]
    if len(lost) > MOST_TOLD:
        told.append(Defect(f"{name}: {len(lost) - MOST_TOLD} more lines that state no sample: left out"))
    n_missing = max(numbers, default=0) - len(numbers)
    if n_missing > 0:
        first = next(number for number in range(1, max(numbers)) if number not in numbers)
        lines = f"the line of Mk{first} is" if n_missing == 1 else f"{n_missing} lines, the first of Mk{first}, are"
        told.append(Defect(f"{name}: {lines} missing: read without"))
    return told


def _date(text: str) -> datetime | None:
    """`20131113161403794232`: year to microseconds, local time without a zone."""
    digits = text.strip()
    if len(digits) != 20 or not digits.isdigit() or digits[:4] == "0000":
        return None
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S%f")
    except ValueError:
        return None
