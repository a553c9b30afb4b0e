"""Tobii Studio and Tobii Pro Lab, what they export as text: samples with events between them, fixations, or events.

    all data            a row per sample and per event, told apart by the column Sensor or by which cells are filled
    Fixation-Data       FixationIndex, Timestamp (ms), FixationDuration (ms), MappedFixationPointX (pixels)
    Event-Data          Timestamp (ms), Event, EventKey, Data1, Data2, Descriptor

Tabs, commas or semicolons; decimal commas; UTF-8, UTF-16 or Latin-1; a preamble above the header. The clock is that of
the recording timestamp, in which events are given too. Where that counts milliseconds and the computer's time stamp
microseconds, both of one clock, samples have the finer one. A cell that is blank is a lost sample, and so is all of an
eye whose validity Studio gives as 4 (not found).

    format = "tobii"            a `<stem>.toml` beside an export of an early Pro Lab that names no unit of time
    time_unit = "us"

Per sample the export repeats which fixation or saccade it is of, and which stimulus was shown: runs of these become the
intervals "fixations", "saccades" and "stimuli". Exports of one recording (its name and start say so) share its clock.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._column_names import SECONDS
from neuroloom.ingest.formats._dates import later, written_date
from neuroloom.ingest.formats._eye_events import eye_intervals
from neuroloom.ingest.formats._people import stated_subject
from neuroloom.ingest.formats._shared_clock import same_as
from neuroloom.ingest.formats._sidecars import Stated, TimeUnit, read_toml, sidecar, validated
from neuroloom.ingest.formats._tables import TextTable, is_text, number_in, texts, typed, whole
from neuroloom.ingest.formats._tobii_rows import Export
from neuroloom.ingest.formats._vendor_tables import is_of, vendor_table
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Signal, Stream

TITLE = "Tobii Studio and Pro Lab export (TSV, CSV)"
MODALITY = "gaze"
KEEPS = (
    "gaze in every system of coordinates, pupil, eye positions, validity, events, fixations, saccades, stimuli shown; "
    "not other sensors and areas of interest"
)
TESTED_ON = (
    "real files of EMDAT (Studio 1 and 2: fixations, events, eight samples); Studio 3 and Pro Lab on files written by "
    "this project to Tobii's manuals"
)

MAX_BYTES = 1 << 29  # of text: its samples are held in memory


class _Sidecar(Stated):
    """What `<stem>.toml` states of an export."""

    format: Literal["tobii"] = "tobii"
    time_unit: TimeUnit | None = None


def sniff(path: Path, head: bytes) -> bool:
    """True for a table with Tobii's columns."""
    return is_text(head) and is_of(path, "tobii")


def files(path: Path) -> tuple[Path, ...]:
    """The table, and its sidecar."""
    beside = sidecar(path, "tobii")
    return (path, beside) if beside is not None else (path,)


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError where it holds several people or recordings, and, by the line, for damage."""
    beside = sidecar(path, "tobii")
    side = validated(beside, _Sidecar, read_toml(beside)) if beside is not None else _Sidecar()
    found = vendor_table(path)
    if found is None:
        raise FormatError(
            f"{path}: no line names the columns of Tobii's export above rows of as many cells; one is wanted"
        )
    table = whole(found[1], max_bytes=MAX_BYTES)[0]
    said = _preamble(table)
    repairs: list[str] = []
    started = written_date(said.get("recording date", ""), said.get("recording time", ""))
    subject = stated_subject(said.get("participant") or said.get("subject") or "")
    if "EventKey" in table.names and "GazePointX" not in table.names:
        streams: list[Stream] = [_events(table)]
    elif "FixationDuration" in table.names and "GazePointX" not in table.names:
        streams = [_fixations(table, said)]
    else:
        export = Export(table, side.time_unit, repairs)
        streams = export.streams()
        started, subject = export.started or started, export.subject or subject
        said |= {"recording name": export.recording} if export.recording else {}
    clock = side.clock or path.stem
    name = said.get("recording name") or said.get("recording")
    shared = f"Tobii's {name} of {started}" if name and started else ""
    return [
        Recording(
            clock=clock,
            format="tobii",
            files=files(path),
            streams=tuple(streams),
            start=side.start or later(started, _first_s(streams)),
            repairs=tuple(repairs),
            subject=subject,
            leads_to=same_as(clock, shared, streams, "timestamps of one recording") if shared else None,
        )
    ]


def _first_s(streams: Sequence[Stream]) -> float | None:
    """Time of the first sample, else of the first event: what a date of the whole is the date of."""
    starts = [s.start_s for s in streams if isinstance(s, Signal)]
    starts = starts or [float(s.times_s[0]) for s in streams if isinstance(s, Events) and s.times_s.size]
    return min(starts, default=None)


def _preamble(table: TextTable) -> dict[str, str]:
    """`Recording date:<TAB> 27/09/2011` and the like above the header: what it says, by name in lower case."""
    said: dict[str, str] = {}
    with table.path.open("r", encoding=table.encoding, newline=None) as file:
        for _ in range(table.first_line - 1):
            name, colon, value = file.readline().partition(":")
            if colon and value.strip():
                said.setdefault(name.strip().lower(), re.sub(r"\(corresponds to time 0\)", "", value).strip())
    return said


def _fixations(table: TextTable, said: dict[str, str]) -> Stream:
    unit = said.get("coordinate unit", "Pixels")
    if unit.lower() not in ("pixels", "pixel", "px"):
        raise FormatError(f"{table.path}: coordinates in {unit}; pixels are wanted")
    asked = ("Timestamp", "FixationDuration", "MappedFixationPointX", "MappedFixationPointY")
    columns = [table.column(name) for name in asked]
    rows = [[number_in(table, line, cells, column) for column in columns] for line, cells in texts(table)]
    values = np.array(rows, dtype=np.float64).reshape(-1, len(asked))
    bounds_s = np.column_stack([values[:, 0], values[:, 0] + values[:, 1]]) * SECONDS["ms"]
    places: dict[str, Any] = {"x_mean": values[:, 2].tolist(), "y_mean": values[:, 3].tolist()}
    eye = {"left": "left", "right": "right"}.get(said.get("eye", "").lower(), "both")
    return eye_intervals("fixations", bounds_s, [eye] * len(rows), places, path=table.path)


def _events(table: TextTable) -> Events:
    at, label = table.column("Timestamp"), table.column("Event")
    rows = sorted(
        ((number_in(table, line, cells, at) * SECONDS["ms"], cells) for line, cells in texts(table)),
        key=lambda row: row[0],
    )
    others = [name for name in ("EventKey", "Data1", "Data2", "Descriptor") if name in table.names]
    return Events(
        name="events",
        times_s=np.array([time_s for time_s, _ in rows]),
        labels=tuple(cells[label] for _, cells in rows),
        table={name: typed([cells[table.column(name)] for _, cells in rows]) for name in others},
    )
