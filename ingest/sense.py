"""What no recording can be, whatever its file says: looked at once for every format, before anything is computed of it.

rate        beyond any converter: refused. A filter designed for it fails far from the file that claims it
date        before electrodes were recorded from: the zero of some clock, hence no date; noted as a defect
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Signal

MOST_HZ = 1e8  # the fastest converters of any laboratory
FIRST_YEAR = 1900


def sensible(file: Path, recordings: Iterable[Recording]) -> list[Recording]:
    """The recordings of a file, without dates that are none. Raises FormatError naming the file and the stream."""
    return [_dated(_timed(file, recording)) for recording in recordings]


def _timed(file: Path, recording: Recording) -> Recording:
    for stream in recording.streams:
        if isinstance(stream, Signal) and stream.is_regular and not stream.rate_hz <= MOST_HZ:
            raise FormatError(f"{file}: {stream.name} has a rate of {stream.rate_hz:g} Hz; up to {MOST_HZ:g} is wanted")
    return recording


def _dated(recording: Recording) -> Recording:
    start = recording.start
    if start is None or start.year >= FIRST_YEAR:
        return recording
    fault = Defect(f"start {start.isoformat()}", "start not known: no recording is that old")
    return replace(recording, start=None, repairs=(*recording.repairs, fault))
