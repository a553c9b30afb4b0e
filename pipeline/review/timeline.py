"""When each stream of a session begins and ends, where it has gaps, how much it holds, how well its times are known."""

from __future__ import annotations

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Units
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.text import count


def extent(session: Session) -> tuple[float, float]:
    """First and last time of the session clock at which anything was recorded; (0, 1) where nothing was."""
    bounds = [bound for bound in (bounds_of(stream) for stream in session.streams) if bound is not None]
    if not bounds:
        return 0.0, 1.0
    start_s, stop_s = min(b[0] for b in bounds), max(b[1] for b in bounds)
    return (start_s, stop_s) if stop_s > start_s else (start_s, start_s + 1.0)


def bounds_of(stream: Stream) -> tuple[float, float] | None:
    """When a stream begins and ends, or None where it holds nothing."""
    if isinstance(stream, Signal):
        return (stream.start_s, stream.stop_s) if stream.segments else None
    times_s = moments(stream)
    return (float(times_s.min()), float(times_s.max())) if times_s.size else None


def moments(stream: Stream) -> FloatArray:
    """Every time a stream names, seconds, shape (N,), in no order: of a signal the bounds of its segments."""
    if isinstance(stream, Signal):
        return np.array([t for s in stream.segments for t in (s.timebase.start_s, s.timebase.stop_s)], dtype=np.float64)
    if isinstance(stream, Events):
        return stream.times_s
    if isinstance(stream, Intervals):
        return stream.bounds_s.ravel()
    return np.concatenate(stream.spike_times_s) if stream.spike_times_s else np.empty(0)


def gaps(signal: Signal) -> list[tuple[float, float]]:
    """Between the segments: start and stop of every stretch of more than one sample in which nothing was recorded."""
    pairs = zip(signal.segments, signal.segments[1:], strict=False)
    between = [(a.timebase.stop_s, b.timebase.start_s) for a, b in pairs]
    return [(start_s, stop_s) for start_s, stop_s in between if stop_s - start_s > 1 / signal.rate_hz]


def certainty(session: Session, stream: Stream) -> str:
    """How well a stream's times are known, in words: `± 0.42 ms`, or that there is nothing to carry over."""
    if any(clock_map.source == stream.device for clock_map in session.clock_maps):
        return f"± {session.uncertainty_ms(stream):.2f} ms"
    return "own clock" if stream.device in ("", session.clock) else "unknown"


def amount(stream: Stream) -> str:
    """How much a stream holds, in words."""
    if isinstance(stream, Signal):
        return f"{count(len(stream.channel_names), 'channel')}, {count(stream.n_samples, 'sample')}"
    if isinstance(stream, Units):
        n_spikes = sum(times_s.size for times_s in stream.spike_times_s)
        return f"{count(len(stream.unit_names), 'unit')}, {count(n_spikes, 'spike')}"
    return count(len(stream.labels), "event" if isinstance(stream, Events) else "interval")
