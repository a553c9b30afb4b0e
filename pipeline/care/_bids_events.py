"""Events and intervals of a session as BIDS has them: one table for all that happened, beside the main recording.

    marks_of(session)                    which streams go into the table, which as markers into the recording's own file
    write_events(folder, stem, ...)      X_events.tsv and X_events.json

A session whose only stream is that of an `events.tsv` gives that table again, column by column. Where several streams
share the table, a column `stream` says which row is whose, and the JSON what kind of stream that is, so that `ingest`
parts them again. What was computed here is left out: BIDS keeps it among derivatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats._bids_streams import COLUMN, STREAMS
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream
from neuroloom.ingest.timebase import Timebase
from neuroloom.pipeline.care._bids_text import cell, write_json, write_table

TABLE = "event_table"  # the format of what came from an events.tsv
ON_THE_GRID = 1e-3  # of a sample: a moment this near to a sample is that sample's
_OURS = ("onset", "duration", COLUMN)  # columns of the table that no stream's own can be
_ABOUT = {
    "onset": {"Description": "from the first sample of the recording of this name", "Units": "s"},
    "duration": {"Description": "n/a where it is not known", "Units": "s"},
    "trial_type": {"Description": "what happened"},
}


@dataclass(frozen=True, kw_only=True)
class Marks:
    """rows: streams of the table. markers: those of the recording's own file. left_out: why the rest is not there."""

    rows: tuple[Events | Intervals, ...] = ()
    markers: tuple[Events, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def marks_of(session: Session, main: Signal | None) -> Marks:
    """Where each stream of events and intervals goes. main: the signal whose first sample onsets count from.

    Markers that its own file had beside an `events.tsv` stay apart from that table: they tell the same events again.
    """
    found = [stream for stream in session.streams if isinstance(stream, Events | Intervals)]
    made = {s.name: f"computed here of {s.provenance.get('source', 'others')}" for s in found if _is_made_here(s)}
    told = [stream for stream in found if not _is_made_here(stream)]
    tables = {str(source.get("clock")) for source in session.sources if source.get("format") == TABLE}
    markers: tuple[Events, ...] = ()
    if main is not None and any(stream.device in tables for stream in told):
        markers = tuple(s for s in told if isinstance(s, Events) and s.device not in tables and _fits(s, main))
    return Marks(
        rows=tuple(stream for stream in told if not any(stream is one for one in markers)),
        markers=markers[:1],
        left_out={name: f"{why}; BIDS keeps that among derivatives; it is in sourcedata" for name, why in made.items()},
    )


def _is_made_here(stream: Stream) -> bool:
    return "made_by" in stream.provenance


def _fits(events: Events, main: Signal) -> bool:
    """Whether a marker file of BrainVision holds all that is known of them: kind, sample, number of samples."""
    base = main.segments[0].timebase
    if events.device != main.device or len(main.segments) > 1 or not isinstance(base, Timebase):
        return False
    if set(events.table) != {"kind", "duration_s"} or events.name != "markers":
        return False
    samples = (events.times_s - base.start_s) * base.rate_hz
    lasting = np.array(events.table["duration_s"], dtype=np.float64) * base.rate_hz
    inside = (samples > -0.5) & (samples < base.n_samples)
    return bool(inside.all() and (np.abs(np.stack([samples, lasting]) % 1 - 0.5) > 0.5 - ON_THE_GRID).all())


def write_events(
    folder: Path, stem: str, rows: Sequence[Events | Intervals], *, from_s: float, about: Mapping[str, Any]
) -> None:
    """`STEM_events.tsv` and its JSON; nothing where there is no event. about: more of the JSON.

    from_s: the moment onsets count from, on the session clock.
    """
    if not any(len(stream.labels) for stream in rows):
        return
    (only, *others) = rows
    is_plain = not others and isinstance(only, Events) and (only.name, only.modality) == ("events", "events")
    led_by = _led_by(rows)
    streams = {} if is_plain else {stream.name: _described(stream, led_by[stream.name]) for stream in rows}
    lines = [row for stream in rows for row in _rows(stream, from_s, None if is_plain else led_by[stream.name])]
    lines.sort(key=lambda row: row[0])
    names = list(dict.fromkeys(["onset", "duration", *(name for _, row in lines for name in row)]))
    write_table(folder / f"{stem}_events.tsv", names, [[row.get(name, "n/a") for name in names] for _, row in lines])
    said: dict[str, Any] = {name: words for name, words in _ABOUT.items() if name in names}
    if streams:
        said[COLUMN] = {"Description": "the stream of the session", STREAMS: streams}
    write_json(folder / f"{stem}_events.json", {**said, **about})


def _led_by(rows: Sequence[Events | Intervals]) -> dict[str, str]:
    """Stream -> what its labels are led by: its name, where a stream before it has such labels, too.

    Else whoever cuts epochs at a label would get those of a trial and those of the marker that it begins with.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    for stream in rows:
        is_apart = seen.isdisjoint(stream.labels) or "trial_type" in stream.table
        found[stream.name] = "" if is_apart else f"{stream.name}/"
        seen |= set(stream.labels)
    return found


def _rows(stream: Events | Intervals, from_s: float, led_by: str | None) -> list[tuple[float, dict[str, str]]]:
    """Time and cells of each row of a stream. led_by: of its labels; None for a stream that is alone in its table."""
    columns = {key: column for key, column in stream.table.items() if key not in _OURS}
    if isinstance(stream, Intervals):
        starts, lasting = stream.bounds_s[:, 0], np.diff(stream.bounds_s, axis=1)[:, 0].tolist()
    else:
        starts, lasting = stream.times_s, columns.pop("duration_s", (None,) * len(stream.labels))
    if led_by is not None or not _tells_labels(stream):
        columns = {"trial_type": tuple(f"{led_by or ''}{label}" for label in stream.labels), **columns}
    made = []
    for k, start_s in enumerate(starts.tolist()):
        row = {"onset": cell(start_s - from_s), "duration": cell(lasting[k])}
        row |= {} if led_by is None else {COLUMN: stream.name}
        made.append((start_s, row | {key: cell(column[k]) for key, column in columns.items()}))
    return made


def _tells_labels(stream: Events | Intervals) -> bool:
    """Whether the columns of a table tell its labels by themselves, as those of an `events.tsv` do."""
    n = len(stream.labels)
    pairs = zip(*(stream.table.get(key, ("",) * n) for key in ("trial_type", "value")), stream.labels, strict=True)
    return all(label == next((c for c in map(cell, (kind, value)) if c != "n/a"), "") for kind, value, label in pairs)


def _described(stream: Events | Intervals, led_by: str) -> dict[str, Any]:
    """What makes the stream of its rows again."""
    columns = {key: _type_of(column) for key, column in stream.table.items() if key not in _OURS}
    return {
        "kind": "events" if isinstance(stream, Events) else "intervals",
        "modality": stream.modality,
        **({"led_by": led_by} if led_by else {}),
        "columns": columns,
    }


def _type_of(column: Sequence[Any]) -> str:
    if all(isinstance(value, bool | np.bool_) for value in column):
        return "bool"
    return "number" if all(isinstance(value, int | float | np.number) for value in column) else "text"


def screen_of(tables: Sequence[Sequence[Signal]]) -> dict[str, Any]:
    """`StimulusPresentation` of gaze whose screen is known, in metres and from the top left."""
    screen = next((s.provenance["screen"] for signals in tables for s in signals if s.provenance.get("screen")), None)
    if screen is None:
        return {}
    said: dict[str, Any] = {"ScreenOrigin": ["top", "left"]}
    for key, names, scale in (
        ("ScreenResolution", ("width_px", "height_px"), 1.0),
        ("ScreenSize", ("width_cm", "height_cm"), 0.01),
    ):
        if all(name in screen for name in names):
            said[key] = [screen[name] * scale for name in names]
    if "distance_cm" in screen:
        said["ScreenDistance"] = screen["distance_cm"] * 0.01
    return {"StimulusPresentation": said}
