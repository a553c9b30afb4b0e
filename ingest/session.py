"""What happened, on one clock: the published session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from neuroloom.ingest._nwb_read import StoredStreams, session_fields
from neuroloom.ingest.streams import Stream
from neuroloom.ingest.timebase import ClockMap

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, repr=False)
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
    streams: Sequence[Stream]
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
        names = self.stream_names
        if name not in names:
            raise KeyError(f"{self.id} has no stream {name!r}; it has {names}")
        return self.streams[names.index(name)]

    @property
    def stream_names(self) -> list[str]:
        """The names of its streams; reads nothing."""
        return self.streams.names if isinstance(self.streams, StoredStreams) else [s.name for s in self.streams]

    def between(self, start_s: float, stop_s: float) -> Session:
        """Every stream between two times of the session clock; still lazy until values are asked for."""
        return replace(self, streams=tuple(stream.between(start_s, stop_s) for stream in self.streams))

    def uncertainty_ms(self, stream: Stream) -> float:
        """How well the times of a stream are known on the session clock: the residual of its device's clock map."""
        return max((m.residual_ms for m in self.clock_maps if m.source == stream.device), default=0.0)

    @classmethod
    def open(cls, path: Path | str) -> Session:
        """The session of a published folder, or what one of its NWB files holds; reads the index and nothing else.

        Raises SessionFileError where there is no session file, and FileNotFoundError where there is nothing.
        """
        return cls(**session_fields(Path(path)))

    def save(self, folder: Path | str, *, progress: Progress | None = None) -> Session:
        """Publish: write everything into a new folder, verify it, make it durable; the folder is whole or absent.

        progress: called with the bytes of samples written and their total.
        Returns the session as it now lies in `folder`. Raises FileExistsError where `folder` is there already.
        """
        from neuroloom.ingest._session_write import write_session

        write_session(self, Path(folder), progress)
        return Session.open(folder)
