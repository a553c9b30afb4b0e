"""Files of one recording whose times count from the same moment on the same clock, as they themselves say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuroloom.ingest.streams import Events, Intervals, Signal, Stream
from neuroloom.ingest.timebase import ClockMap


def same_as(clock: str, shared: str, streams: Sequence[Stream], method: str) -> ClockMap:
    """The map from a file's clock to that which it shares with others: times stay what they are."""
    return ClockMap(
        source=clock,
        target=shared,
        offset_s=0.0,
        span_s=span_s(streams),
        residual_ms=0.0,
        n_matched=0,
        n_lost=0,
        n_extra=0,
        method=method,
    )


def span_s(streams: Sequence[Stream]) -> tuple[float, float]:
    """The first and last moment of these streams, seconds; (0, 0) where there is none."""
    ends: list[float] = []
    for stream in streams:
        if isinstance(stream, Signal) and stream.segments:
            ends += [stream.start_s, stream.stop_s]
        elif isinstance(stream, Events):
            ends += stream.times_s.tolist()
        elif isinstance(stream, Intervals):
            ends += np.ravel(stream.bounds_s).tolist()
    return (min(ends), max(ends)) if ends else (0.0, 0.0)
