"""What comes long after the last sample: kept as it is, and told.

Moments are held against the signals of their own device; those of a device without any, against all of the session.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Units
from neuroloom.ingest.timebase import FloatArray

LATE_S = 1.0  # a marker of the end may follow the last sample


def late(streams: Iterable[Stream]) -> dict[str, str]:
    """Per stream name that some moments of it (events, starts of intervals, spikes) lie after the end."""
    streams = tuple(streams)
    ends_s: dict[str, float] = {}
    for stream in streams:
        if isinstance(stream, Signal) and stream.segments:
            ends_s[stream.device] = max(stream.stop_s, ends_s.get(stream.device, stream.stop_s))
    if not ends_s:
        return {}
    last_s = max(ends_s.values())
    said = {stream.name: _told(_moments(stream), ends_s.get(stream.device, last_s)) for stream in streams}
    return {name: words for name, words in said.items() if words}


def _told(times_s: FloatArray, stop_s: float) -> str:
    after_s = times_s[times_s > stop_s + LATE_S] - stop_s
    if not after_s.size:
        return ""
    return f"{after_s.size} of {times_s.size} lie after the last sample, up to {after_s.max():.6g} s: kept as they are"


def _moments(stream: Stream) -> FloatArray:
    """When each event or spike is and each interval begins, seconds; of a signal nothing."""
    if isinstance(stream, Events):
        return stream.times_s
    if isinstance(stream, Intervals):
        return stream.bounds_s[:, 0]
    return np.concatenate([*stream.spike_times_s, []]) if isinstance(stream, Units) else np.empty(0)
