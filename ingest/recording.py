"""What one device wrote, on its own clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from neuroloom.ingest.streams import Stream
from neuroloom.ingest.timebase import ClockMap
from neuroloom.ingest.words import listed, visible

# Headers state the second; what two computers' clocks differ by is not in any file.
START_UNCERTAINTY_S = 1.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Recording:
    """What one device wrote, on **its own** clock: original integers and gains kept, gaps kept as segments.

    clock: name of the device's clock; two recordings never share one by accident of an equal name, so readers
        build it from the file's name.
    files: every file it was read from, the first being the one that names the others; of a recording that is a folder
        as a whole, that folder.
    repairs: each departure of the file from its format that was mended in the reading, one line each.
    subject: what the file states of the subject, in NWB's words: {"subject_id", "species", "sex", "age", ...}; and
        "name", "birth_date" (ISO) and "patient_id" where a header has them, which are not published unless asked for.
    leads_to: a map to a clock that other recordings of the same file share, as the device itself measured it.
    start_uncertainty_s: how far off `start` may be.
    started_with: a name that recordings started together by one program have in common, and to how many seconds their
        first samples are then of the same moment.

    Design rationale: a Recording has no `on(clock)`. Only an alignment makes a Session of recordings, so data
    whose times lie on different clocks cannot be trained on by mistake.
    """

    clock: str
    format: str
    files: tuple[Path, ...]
    streams: tuple[Stream, ...]
    start: datetime | None = None
    repairs: tuple[str, ...] = field(default=())
    subject: Mapping[str, str] = field(default_factory=dict)
    leads_to: ClockMap | None = None
    start_uncertainty_s: float = START_UNCERTAINTY_S
    started_with: tuple[str, float] | None = None

    def __post_init__(self) -> None:
        names = [stream.name for stream in self.streams]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"{self.clock}: two streams are named {doubled[0]!r}; each needs a name of its own")

    def __repr__(self) -> str:
        names = listed([stream.name for stream in self.streams])
        return f"<Recording on the clock of {visible(self.clock)} ({self.format}): {names}>"

    def _repr_html_(self) -> str:
        from neuroloom.ingest.shown import recording_html

        return recording_html(self)

    def __getitem__(self, name: str) -> Stream:
        """The stream of that name; KeyError lists those there are."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise KeyError(f"{self.clock} has no stream {name!r}; it has {[stream.name for stream in self.streams]}")
