"""Recordings in, one-clock sessions out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from neuroloom.ingest.bids import with_sidecars
from neuroloom.ingest.folders import UNKNOWN, naming_files
from neuroloom.ingest.formats import FormatError, format_of
from neuroloom.ingest.formats import formats as _formats  # the name stays the folder's
from neuroloom.ingest.ledger import Defect, collecting
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.sense import sensible
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Stream, Units
from neuroloom.ingest.timebase import ClockMap, CrossCheck, PiecewiseTimebase, Timebase, Timestamps, times_of

__all__ = [
    "ClockMap", "CrossCheck", "Events", "FormatError", "Intervals", "PiecewiseTimebase", "Recording", "Segment",
    "Session", "Signal", "Stream", "Timebase", "Timestamps", "Units", "format_of", "naming_files", "read", "times_of",
]  # fmt: skip


def read(*paths: str | Path, strict: bool = False) -> list[Recording]:
    """One Recording per clock found in these files and folders; nothing but headers is read yet.

    Of a folder, every recording that lies in it or below, each with what its BIDS sidecars say. Raises FormatError,
    naming the file, where a format is not known or a file is not what its format says; strict: also where a fault of
    the file was mended in the reading.
    """
    recordings: list[Recording] = []
    for path in map(Path, paths):
        for file in naming_files(path):
            name = format_of(file)
            if name is None:
                raise FormatError(f"{file}: {UNKNOWN}")
            with collecting() as noted:
                found = sensible(file, _read(file, name))
            found = [replace(found[0], repairs=(*noted, *found[0].repairs)), *found[1:]]
            faults = [line for recording in found for line in recording.repairs if isinstance(line, Defect)]
            if strict and faults:
                raise FormatError(f"{file}: {faults[0]}; a file without faults is wanted, as `strict` asks")
            recordings += found
    return recordings


def _read(file: Path, name: str) -> list[Recording]:
    """What a format reads; where the types of this package refuse what it made of the file, the file is named."""
    try:
        return with_sidecars(file, _formats()[name].read(file))
    except FormatError:
        raise
    except ValueError as error:
        said = " ".join(str(error).split())
        raise FormatError(f"{file}: {said}; a file that does not contradict itself is wanted") from error
