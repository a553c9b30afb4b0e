"""What happened, on one clock: the published session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from neuroloom.ingest.streams import Stream
from neuroloom.ingest.timebase import ClockMap


@dataclass(frozen=True, kw_only=True)
class Session:
    """Streams of one subject's session, **all on one clock**, whose zero is the first sample of the device it is of.

    clock: the device whose clock this is. clock_maps: how every other device's time was carried over to it.
    sources: per recording what it was read from: {"format", "files", "digests", "repairs", "clock"}.
    quality: findings about streams, by stream name: {"eeg": {"bad_channels": [...], ...}}.
    """

    subject: str
    session: str = "01"
    task: str = ""
    clock: str
    streams: tuple[Stream, ...]
    start: datetime | None = None
    clock_maps: tuple[ClockMap, ...] = ()
    sources: tuple[Mapping[str, Any], ...] = ()
    quality: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def id(self) -> str:
        """`sub-01_ses-02_task-reach`."""
        return f"sub-{self.subject}_ses-{self.session}" + (f"_task-{self.task}" if self.task else "")

    def __getitem__(self, name: str) -> Stream:
        """The stream of that name; KeyError lists those there are."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise KeyError(f"{self.id} has no stream {name!r}; it has {[stream.name for stream in self.streams]}")

    def between(self, start_s: float, stop_s: float) -> Session:
        """Every stream between two times of the session clock; still lazy until values are asked for."""
        return replace(self, streams=tuple(stream.between(start_s, stop_s) for stream in self.streams))

    def uncertainty_ms(self, stream: Stream) -> float:
        """How well the times of a stream are known on the session clock: the residual of its device's clock map."""
        return max((m.residual_ms for m in self.clock_maps if m.source == stream.device), default=0.0)
