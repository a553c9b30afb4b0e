"""Every stream of a session on one time axis: where it was recorded, where it has gaps, what happened when."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroloom.ingest.envelopes import COLUMNS
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Units
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import GREY, MODALITY_COLOURS, MUTED, Picture, drawing, label, picture, time_axis
from neuroloom.pipeline.review.text import count

MOST_ROWS = 60
MOST_SHADES = 400


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


def trials_of(session: Session) -> Intervals | None:
    """The session's trials, or None."""
    for stream in session.streams:
        if isinstance(stream, Intervals) and stream.modality == "trials" and len(stream.labels):
            return stream
    return None


def shade_trials(axes: Any, session: Session, factor: float) -> None:
    """Lays every other trial's stretch as a faint band behind a plot over time."""
    trials = trials_of(session)
    if trials is None or len(trials.labels) > MOST_SHADES:
        return
    for start_s, stop_s in trials.bounds_s:
        axes.axvspan(start_s / factor, stop_s / factor, color=GREY, alpha=0.13, linewidth=0)


def timeline(session: Session) -> Picture:
    """The picture: a row per stream, trials shaded across all rows."""
    start_s, stop_s = extent(session)
    streams = tuple(session.streams)[:MOST_ROWS]
    with drawing(1120, 90 + 30 * len(streams)) as figure:
        axes = figure.add_subplot()
        factor, _ = time_axis(axes, start_s, stop_s)
        shade_trials(axes, session, factor)
        for row, stream in enumerate(streams):
            _draw_row(axes, row, stream, (start_s, stop_s), factor)
        _label_rows(axes, session, streams)
        return picture(
            figure,
            title="Timeline",
            alt=f"Timeline of {len(session.streams)} streams. " + " ".join(_in_words(s) for s in streams),
            caption=_caption(session),
        )


def _draw_row(axes: Any, row: int, stream: Stream, extent_s: tuple[float, float], factor: float) -> None:
    colour = MODALITY_COLOURS.get(stream.modality, GREY)
    if isinstance(stream, Signal):
        bars = [(s.timebase.start_s, s.timebase.stop_s - s.timebase.start_s) for s in stream.segments]
        axes.broken_barh([(a / factor, b / factor) for a, b in bars], (row - 0.28, 0.56), color=colour, linewidth=0)
    elif isinstance(stream, Intervals):
        bars = [(a / factor, max(b - a, 0.0) / factor) for a, b in stream.bounds_s]
        axes.broken_barh(bars, (row - 0.28, 0.56), color=colour, alpha=0.7, linewidth=0.4, rasterized=len(bars) > 300)
    else:
        edges = np.linspace(*extent_s, COLUMNS + 1)
        counts, _ = np.histogram(moments(stream), edges)
        hit = np.flatnonzero(counts)
        # A tick per column that holds something: as many as can be seen, however many there are.
        centres = (edges[hit] + edges[hit + 1]) / 2 / factor
        axes.vlines(centres, row - 0.28, row + 0.28, color=colour, linewidth=0.9, rasterized=len(hit) > 300)


def _label_rows(axes: Any, session: Session, streams: tuple[Stream, ...]) -> None:
    axes.set_yticks(range(len(streams)), [label(stream.name) for stream in streams])
    axes.set_ylim(len(streams) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(streams)), [certainty(session, stream) for stream in streams])
    right.tick_params(length=0, labelcolor=MUTED)
    right.spines["right"].set_visible(False)


def certainty(session: Session, stream: Stream) -> str:
    """How well a stream's times are known, in words: `± 0.42 ms`, or that there is nothing to carry over."""
    if any(clock_map.source == stream.device for clock_map in session.clock_maps):
        return f"± {session.uncertainty_ms(stream):.2f} ms"
    return "own clock" if stream.device in ("", session.clock) else "unknown"


def _in_words(stream: Stream) -> str:
    if not isinstance(stream, Signal):
        return f"{label(stream.name)}: {amount(stream)}."
    n_gaps = len(gaps(stream))
    return f"{label(stream.name)}: {count(n_gaps, 'gap')}."


def amount(stream: Stream) -> str:
    """How much a stream holds, in words."""
    if isinstance(stream, Signal):
        return f"{count(len(stream.channel_names), 'channel')}, {count(stream.n_samples, 'sample')}"
    if isinstance(stream, Units):
        n_spikes = sum(times_s.size for times_s in stream.spike_times_s)
        return f"{count(len(stream.unit_names), 'unit')}, {count(n_spikes, 'spike')}"
    return count(len(stream.labels), "event" if isinstance(stream, Events) else "interval")


def _caption(session: Session) -> str:
    words = (
        "Bars: recorded samples, broken at gaps. Ticks: events, and spikes of all units together. "
        "Right: how well a stream's times are known on the session clock (own clock: they are its own)."
    )
    trials = trials_of(session)
    if trials is not None and len(trials.labels) <= MOST_SHADES:
        words += " Shaded: trials."
    if len(session.streams) > MOST_ROWS:
        words += f" The first {MOST_ROWS} of {len(session.streams)} streams are drawn."
    return words
