"""A session drawn for a notebook: a row per stream on one time axis, in bounded memory.

Design rationale: a Figure of its own instead of pyplot's. pyplot keeps every figure until it is closed, and shows one
twice in a notebook where it is also what the cell gives. matplotlib is imported here, and this file by `Session.plot`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from neuroloom.ingest.envelopes import envelope
from neuroloom.ingest.session import Session, stream_summary
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Units
from neuroloom.ingest.timebase import FloatArray
from neuroloom.ingest.words import visible

MOST_CHANNELS = 16
MOST_LABELS = 12
COLUMNS = 1500
WIDTH_IN = 10.0
COLOURS = ("#3f86c4", "#d17f22", "#3f9a5f", "#8a6fc9", "#2a9a9a", "#c76a9a")


class NotebookFigure(Figure):
    """A matplotlib figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
        return buffer.getvalue()


def plot_session(
    session: Session, start_s: float | None, stop_s: float | None, streams: Sequence[str] | None
) -> NotebookFigure:
    """A row per stream: traces of signals, spikes of units, moments of events, bars of intervals. See `Session.plot`.

    Of a signal with more than `MOST_CHANNELS` channels as many are drawn, evenly spread. Each is drawn as its least and
    greatest value per column of the picture, about its own median.
    """
    chosen = [session[name] for name in (session.stream_names if streams is None else streams)]
    first_s, last_s = _extent(chosen)
    start_s, stop_s = first_s if start_s is None else start_s, last_s if stop_s is None else stop_s
    if not start_s < stop_s:
        raise ValueError(f"{session.id}: from {start_s} to {stop_s} s there is nothing to draw; a stretch is wanted")
    parts = [stream.between(start_s, stop_s) for stream in chosen]
    heights = [_height(part) for part in parts]
    figure = NotebookFigure(figsize=(WIDTH_IN, 0.8 + sum(heights)), layout="constrained")
    rows = figure.subplots(max(len(parts), 1), 1, sharex=True, squeeze=False, height_ratios=heights or [1.0])[:, 0]
    for i, (axes, part) in enumerate(zip(rows, parts, strict=False)):
        _draw(axes, part, (start_s, stop_s), COLOURS[i % len(COLOURS)])
        axes.set_title(_title(session, part), loc="left", fontsize=9, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1].set_xlabel("session time (s)")
    rows[-1].set_xlim(start_s, stop_s)
    return figure


def _extent(streams: Sequence[Stream]) -> tuple[float, float]:
    said = [stream_summary(stream) for stream in streams]
    spans = [(one["start_s"], one["start_s"] + one["duration_s"]) for one in said if one["n_samples"]]
    return (min(start for start, _ in spans), max(stop for _, stop in spans)) if spans else (0.0, 1.0)


def _title(session: Session, stream: Stream) -> str:
    known = any(clock.source == stream.device for clock in session.clock_maps)
    return f"{visible(stream.name, 60)}{f', ± {session.uncertainty_ms(stream):.2f} ms' if known else ''}"


def _height(stream: Stream) -> float:
    if isinstance(stream, Signal):
        return 0.5 + 0.22 * min(len(stream.channel_names), MOST_CHANNELS)
    return 0.5 + min(0.04 * len(stream.unit_names), 2.0) if isinstance(stream, Units) else 0.45


def _draw(axes: Any, stream: Stream, span_s: tuple[float, float], colour: str) -> None:
    if isinstance(stream, Signal):
        _draw_signal(axes, stream, span_s, colour)
    elif isinstance(stream, Units) and stream.unit_names:
        axes.eventplot(list(stream.spike_times_s), colors=colour, linewidths=0.6, linelengths=0.8)
        axes.set_ylabel("unit")
    elif not isinstance(stream, Units):
        _draw_labelled(axes, stream, colour)


def _draw_signal(axes: Any, signal: Signal, span_s: tuple[float, float], colour: str) -> None:
    rows = np.unique(
        np.linspace(0, len(signal.channel_names) - 1, min(len(signal.channel_names), MOST_CHANNELS)).round()
    )
    n_columns = int(np.clip((span_s[1] - span_s[0]) * signal.rate_hz / 3, 10, COLUMNS))
    shown = envelope(signal, *span_s, n_columns=n_columns)
    centres_s = (shown.edges_s[:-1] + shown.edges_s[1:]) / 2
    step = _step(shown.low_KC, shown.high_KC)
    chosen = rows.astype(int)
    for place, channel in enumerate(chosen):
        low, high = shown.low_KC[:, channel], shown.high_KC[:, channel]
        if np.isfinite(low).any():
            middle = float(np.nanmedian((low + high) / 2))
            edges = [np.clip((side - middle) / step, -1.0, 1.0) - place for side in (low, high)]
            axes.fill_between(centres_s, *edges, color=colour, linewidth=0.6, rasterized=True)
    names = [visible(signal.channel_names[channel], 16) for channel in chosen]
    axes.set_yticks([-place for place in range(len(names))], names, fontsize=7, parse_math=False)
    axes.set_ylabel(f"{step:.3g} {visible(signal.unit, 12)}\nper line", fontsize=7, parse_math=False)


def _step(low_KC: FloatArray, high_KC: FloatArray) -> float:
    """What most channels stay within, in the signal's unit: the distance between two of them in the picture."""
    with np.errstate(invalid="ignore"):
        filled = np.isfinite(low_KC).any(axis=0)
        if not filled.any():
            return 1.0
        reach = np.nanpercentile(high_KC[:, filled], 97, axis=0) - np.nanpercentile(low_KC[:, filled], 3, axis=0)
    positive = reach[reach > 0]
    return float(np.median(positive)) if positive.size else 1.0


def _draw_labelled(axes: Any, stream: Events | Intervals, colour: str) -> None:
    """Moments as lines, stretches as bars; what they are called, where that can be read."""
    if isinstance(stream, Events):
        starts_s = stream.times_s
        axes.vlines(starts_s, 0, 1, color=colour, linewidth=0.9)
    else:
        starts_s = stream.bounds_s[:, 0]
        axes.broken_barh([(start, stop - start) for start, stop in stream.bounds_s], (0, 1), color=colour, alpha=0.5)
    if len(stream.labels) <= MOST_LABELS:
        for at_s, label in zip(starts_s, stream.labels, strict=True):
            axes.text(at_s, 1.0, f" {visible(label, 16)}", fontsize=7, va="top", parse_math=False)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
