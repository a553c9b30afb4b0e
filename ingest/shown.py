"""What a notebook shows of streams, recordings, sessions and clock maps: tables whose words are escaped.

stream_html, recording_html, session_html, clock_html      what their `_repr_html_` gives
html_table                                                 for whoever else has a table to show
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

from neuroloom.ingest.clock_map import ClockMap
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream
from neuroloom.ingest.words import visible

if TYPE_CHECKING:
    from neuroloom.ingest.recording import Recording
    from neuroloom.ingest.session import Session

MOST_ROWS = 60
STREAM_HEAD = ("stream", "modality", "channels", "samples", "rate (Hz)", "unit", "start (s)", "length (s)")
_STREAM_KEYS = ("name", "modality", "n_channels", "n_samples", "rate_hz", "unit", "start_s", "duration_s")
CLOCK_HEAD = ("from", "to", "method", "offset (s)", "drift (ppm)", "residual (ms)", "matched", "lost", "extra")


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], n_rows: int) -> str:
    """An HTML table without style; of `n_rows` rows the first `MOST_ROWS`, and how many more there are."""
    body = [_row(row) for row in islice(rows, MOST_ROWS)]
    if n_rows > MOST_ROWS:
        body.append(f'<tr><td colspan="{len(head)}">and {n_rows - MOST_ROWS:,} more</td></tr>')
    titles = "".join(f"<th>{_cell(title)}</th>" for title in head)
    caption = f"<caption>{_cell(caption)}</caption>"
    return f"<table>{caption}<thead><tr>{titles}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def stream_html(stream: Stream) -> str:
    """A row per channel, event, interval or unit, with its further columns."""
    head, rows, n_rows = _rows_of(stream)
    names = [name for name in stream.table if len(stream.table[name]) == n_rows]
    wide = ((*row, *(stream.table[name][i] for name in names)) for i, row in enumerate(rows))
    return html_table(repr(stream), (*head, *names), wide, n_rows)


def recording_html(recording: Recording) -> str:
    """A row per stream, and what was mended in the reading."""
    said = [("repair", line) for line in recording.repairs]
    streams = html_table(repr(recording), STREAM_HEAD, _stream_rows(recording.streams), len(recording.streams))
    return streams + (html_table("Mended in the reading", ("", "what"), said, len(said)) if said else "")


def session_html(session: Session) -> str:
    """A row per stream, a row per clock map, and what is still missing."""
    from neuroloom.ingest.session import clock_summary

    html = html_table(repr(session), STREAM_HEAD, _stream_rows(session.streams), len(session.streams))
    if session.clock_maps:
        rows = [tuple(clock_summary(clock).values()) for clock in session.clock_maps]
        html += html_table("Clocks", CLOCK_HEAD, rows, len(rows))
    if session.missing:
        html += f"<p>still missing: {_cell(', '.join(session.missing))}</p>"
    return html


def clock_html(clock: ClockMap) -> str:
    """A row per number of the map, its notes and checks; its evidence only counted."""
    rows: list[tuple[str, object]] = []
    for field in fields(clock):
        value: Any = getattr(clock, field.name)
        if field.name in ("evidence", "knots"):
            value = len(value)
        elif field.name == "checks":
            value = "; ".join(f"{check.kind} {check.verdict}: {check.words}" for check in value)
        elif isinstance(value, tuple):
            value = ", ".join(" ".join(map(_plain, one)) if isinstance(one, tuple) else _plain(one) for one in value)
        rows.append((field.name, value))
    return html_table(repr(clock), ("", ""), rows, len(rows))


def _rows_of(stream: Stream) -> tuple[tuple[str, ...], Iterable[tuple[object, ...]], int]:
    if isinstance(stream, Signal):
        rows: Iterable[tuple[object, ...]] = zip(
            stream.channel_names, map(float, stream.gain), map(float, stream.offset), strict=True
        )
        return ("channel", f"gain ({stream.unit})", "offset"), rows, len(stream.channel_names)
    if isinstance(stream, Events):
        return ("time (s)", "label"), zip(map(float, stream.times_s), stream.labels, strict=True), len(stream.labels)
    if isinstance(stream, Intervals):
        bounds = ((float(start_s), float(stop_s)) for start_s, stop_s in stream.bounds_s)
        labelled = ((*pair, label) for pair, label in zip(bounds, stream.labels, strict=True))
        return ("start (s)", "stop (s)", "label"), labelled, len(stream.labels)
    counts = map(len, stream.spike_times_s)
    return ("unit", "spikes"), zip(stream.unit_names, counts, strict=True), len(stream.unit_names)


def _stream_rows(streams: Iterable[Stream]) -> Iterable[tuple[object, ...]]:
    from neuroloom.ingest.session import stream_summary

    for stream in islice(streams, MOST_ROWS):
        said: Mapping[str, object] = stream_summary(stream)
        yield tuple(said[key] for key in _STREAM_KEYS)


def _row(values: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in values)}</tr>"


def _cell(value: object) -> str:
    return escape(visible("" if value is None else _plain(value)))


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
