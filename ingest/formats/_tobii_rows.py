"""The rows of a Tobii export of all data: samples, events between them; fixations and stimuli as runs of samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._column_names import SECONDS
from neuroloom.ingest.formats._dates import written_date
from neuroloom.ingest.formats._eye_events import eye_intervals, runs_of
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._people import stated_subject
from neuroloom.ingest.formats._sampled import SampleRows, signals
from neuroloom.ingest.formats._tables import TextTable, is_known, number, number_in, texts, typed
from neuroloom.ingest.formats._tobii_columns import Column, columns_of, groups_of
from neuroloom.ingest.streams import Events, Intervals, Stream
from neuroloom.ingest.timebase import FloatArray

_NOT_FOUND = 4  # Studio's validity of an eye that was not found
_WORDS = {"valid": 1.0, "invalid": 0.0}  # Pro Lab's
_RECORDING = re.compile(r"Recording ?[Tt]imestamp(?: \[(ms|[µμ]s|us)\])?")
_COMPUTER = re.compile(r"Computer timestamp(?: \[[µμu]s\])?")
_TYPE = ("Eye movement type", "GazeEventType")
_DURATION = re.compile(r"(Gaze|Eye movement) ?(event )?duration(?: \[ms\])?|GazeEventDuration", re.IGNORECASE)
_PLACE = r"Fixation ?[Pp]oint ?{axis}(?: [\[(].*[\])])?"
_ABOUT = ("Event value", "StudioEventData", "EventKey", "Data1", "Data2", "Descriptor")
# Columns that are looked up in every row, by what they say; the first that holds something counts.
_ASKED = {
    "participants": ("Participant name", "ParticipantName"),
    "recordings": ("Recording name", "RecordingName"),
    "sensor": ("Sensor",),
    "event": ("Event", "StudioEvent", "KeyPressEvent", "MouseEvent", "ExternalEvent"),
    "type": _TYPE,
    "index": ("Eye movement type index", "FixationIndex", "SaccadeIndex"),
    "stimulus": ("Presented Stimulus name", "Presented Media name", "MediaName", "StimuliName"),
    "day UTC": ("Recording date UTC",),
    "time UTC": ("Recording start time UTC",),
    "day": ("Recording date", "RecordingDate"),
    "time": ("Recording start time",),
}


@dataclass
class _Movements:
    """Per sample what it is of: "Fixation" 3, say; and of each its duration (ms) and where it was."""

    said: list[tuple[str, str]] = field(default_factory=list)
    about: list[tuple[float, ...]] = field(default_factory=list)


class Export:
    """All of an export, read in one pass. started: the date of time 0."""

    def __init__(self, table: TextTable, time_unit: str | None, repairs: list[str]) -> None:
        self.table, self.repairs = table, repairs
        self.started: datetime | None = None
        self.subject: dict[str, str] = {}
        self.recording = ""
        self._columns = columns_of(table.names)
        self._asked = {
            what: tuple(table.names.index(n) for n in names if n in table.names) for what, names in _ASKED.items()
        }
        if not self._columns and not self._asked["type"] and not self._asked["event"]:
            raise FormatError(f"{table.path}: none of {shown(table.names)} is gaze, an eye movement or an event")
        self._clock = _Clock(table, time_unit)
        self._rows = SampleRows(len(self._columns))
        self._telling = tuple(c.at for c in self._columns if c.what in ("gaze", "pupil", "validity"))
        self._movement = _movement_columns(table.names)
        self._movements = _Movements()
        self._stimuli: list[str] = []
        self._events: list[tuple[float, str, list[str]]] = []
        self._seen: dict[str, set[str]] = {"participants": set(), "recordings": set()}
        self._other_sensors: set[str] = set()

    def streams(self) -> list[Stream]:
        """Everything the file holds. Raises FormatError, naming the line, for a damaged row."""
        for line, cells in texts(self.table):
            self._take(line, cells)
        self._check_one()
        made: list[Stream] = []
        if len(self._rows):
            made += self._samples()
        if self._events:
            made.append(self._event_stream())
        if not made:
            raise FormatError(f"{self.table.path}: neither samples nor events below its header; some are wanted")
        if self._other_sensors:
            self.repairs.append(f"rows of other sensors left out: {shown(sorted(self._other_sensors))}")
        return made

    def _take(self, line: int, cells: list[str]) -> None:
        if not self._seen["recordings"]:
            self._note_start(cells)
        for what, found in self._seen.items():
            found.update([said] if (said := self._says(cells, what)) else [])
        sensor = self._says(cells, "sensor")
        time_s = self._clock.seconds(line, cells)
        event = self._says(cells, "event")
        if event:
            self._events.append((time_s, event, list(cells)))
        if sensor not in ("", "Eye Tracker") and not event:
            self._other_sensors.add(sensor)
        elif (sensor == "Eye Tracker" or not sensor) and self._is_sample(cells, sensor):
            self._sample(line, cells, time_s)

    def _says(self, cells: Sequence[str], what: str) -> str:
        """What the first of the columns that are asked for it holds, "" where none does."""
        return next((cells[at] for at in self._asked[what] if is_known(cells[at])), "")

    def _is_sample(self, cells: Sequence[str], sensor: str) -> bool:
        return bool(sensor) or any(is_known(cells[at]) for at in self._telling)

    def _sample(self, line: int, cells: list[str], time_s: float) -> None:
        values = [self._value(line, cells, column) for column in self._columns]
        validity = {c.eye: v for c, v in zip(self._columns, values, strict=True) if c.what == "validity"}
        lost = {eye for eye, value in validity.items() if value == _NOT_FOUND}
        if lost:
            gone = lost | ({""} if lost == set(validity) else set())
            for k, column in enumerate(self._columns):
                if column.what != "validity" and column.eye in gone:
                    values[k] = float("nan")
        self._rows.add(time_s, values)
        self._movements.said.append((self._says(cells, "type"), self._says(cells, "index")))
        self._movements.about.append(self._about(cells))
        self._stimuli.append(self._says(cells, "stimulus"))

    def _value(self, line: int, cells: Sequence[str], column: Column) -> float:
        if column.what == "validity" and cells[column.at].lower() in _WORDS:
            return _WORDS[cells[column.at].lower()]
        return number_in(self.table, line, cells, column.at)

    def _about(self, cells: Sequence[str]) -> tuple[float, ...]:
        """Duration (ms), x and y of the fixation, amplitude of the saccade (deg); NaN where not told."""
        comma = self.table.delimiter != ","
        told = (number(cells[at], comma=comma) if at is not None else None for at in self._movement)
        return tuple(float("nan") if value is None else value for value in told)

    def _note_start(self, cells: Sequence[str]) -> None:
        for zone, suffix in ((UTC, " UTC"), (None, "")):
            when = written_date(self._says(cells, f"day{suffix}"), self._says(cells, f"time{suffix}"))
            if when is not None and self.started is None:
                self.started = when.replace(tzinfo=zone)

    def _check_one(self) -> None:
        for what, found in self._seen.items():
            if len(found) > 1:
                names = shown(sorted(found))
                raise FormatError(f"{self.table.path}: holds {len(found)} {what}, {names}; export each alone")
        self.subject = stated_subject(min(self._seen["participants"], default=""))
        self.recording = min(self._seen["recordings"], default="")

    # Streams

    def _samples(self) -> list[Stream]:
        path = self.table.path
        times_s, values = self._rows.in_order(path, "samples", self.repairs)
        made: list[Stream] = []
        for group, members in groups_of(self._columns):
            at = [self._columns.index(column) for column in members]
            made += signals([group], times_s, values[:, at])
        raw_s = self._rows.times_s
        made += self._movement_streams(raw_s)
        made += self._stimulus_stream(raw_s)
        return made

    def _movement_streams(self, times_s: FloatArray) -> list[Stream]:
        found: dict[str, list[tuple[float, float, tuple[float, ...]]]] = {}
        for first, stop, (kind, _) in runs_of(self._movements.said):
            name = {"fixation": "fixations", "saccade": "saccades"}.get(kind.lower())
            if name is None:
                continue
            about = self._movements.about[first]
            stop_s = (
                float(times_s[stop - 1]) if np.isnan(about[0]) else float(times_s[first]) + about[0] * SECONDS["ms"]
            )
            found.setdefault(name, []).append((float(times_s[first]), max(stop_s, float(times_s[first])), about))
        made: list[Stream] = []
        for name, rows in found.items():
            kept = {"fixations": {"x_mean": 1, "y_mean": 2}, "saccades": {"amplitude_deg": 3}}[name]
            columns = {key: [row[2][k] for row in rows] for key, k in kept.items()}
            table = {key: column for key, column in columns.items() if np.isfinite(column).any()}
            made.append(
                eye_intervals(name, [row[:2] for row in rows], ["both"] * len(rows), table, path=self.table.path)
            )
        return made

    def _stimulus_stream(self, times_s: FloatArray) -> list[Stream]:
        shown_ones = [
            (float(times_s[first]), float(times_s[stop - 1]), name)
            for first, stop, name in runs_of(self._stimuli)
            if is_known(name)
        ]
        if not shown_ones:
            return []
        bounds_s = np.array([row[:2] for row in shown_ones])
        return [Intervals(name="stimuli", bounds_s=bounds_s, labels=tuple(row[2] for row in shown_ones))]

    def _event_stream(self) -> Events:
        rows = sorted(self._events, key=lambda row: row[0])
        there = [(name, self.table.names.index(name)) for name in _ABOUT if name in self.table.names]
        columns = {name: [row[2][at] for row in rows] for name, at in there}
        table: dict[str, tuple[Any, ...]] = {name: typed(column) for name, column in columns.items() if any(column)}
        times_s = np.array([row[0] for row in rows])
        return Events(name="events", times_s=times_s, labels=tuple(row[1] for row in rows), table=table)


class _Clock:
    """Seconds of the recording, of a row. Raises FormatError where its unit is stated nowhere."""

    def __init__(self, table: TextTable, time_unit: str | None) -> None:
        self._table = table
        named = [(name, said) for name in table.names if (said := _RECORDING.fullmatch(name))]
        old = "Timestamp" in table.names
        if not named and not old:
            raise FormatError(f"{table.path}: none of {shown(table.names)} is a recording timestamp; one is wanted")
        name, said = min(named, key=lambda one: one[1][1] in (None, "ms")) if named else ("Timestamp", None)
        stated = (said[1] or "").replace("µ", "u").replace("μ", "u") if said else ""
        is_studio = name in ("RecordingTimestamp", "Timestamp")
        unit = stated or ("ms" if is_studio else time_unit or "")
        if not unit:
            raise FormatError(
                f"{table.path}: column {name!r} does not state its unit; wanted is a {table.path.stem}.toml beside it "
                'with `format = "tobii"` and `time_unit = "us"` or "ms", whichever is true'
            )
        self._at, self._scale = table.column(name), SECONDS[unit]
        finer = "MicroSecondTimestamp" if old else next((n for n in table.names if _COMPUTER.fullmatch(n)), None)
        self._finer = table.column(finer) if finer in table.names and unit == "ms" else None
        self._ahead_s: float | None = 0.0 if old else None

    def seconds(self, line: int, cells: Sequence[str]) -> float:
        time_s = number_in(self._table, line, cells, self._at) * self._scale
        fine = number_in(self._table, line, cells, self._finer) if self._finer is not None else float("nan")
        if np.isnan(fine):
            return time_s
        if self._ahead_s is None:  # the two count from different moments: the first row with both tells which
            self._ahead_s = time_s - fine * SECONDS["us"]
        return fine * SECONDS["us"] + self._ahead_s


def _movement_columns(names: Sequence[str]) -> tuple[int | None, ...]:
    """Where the duration, x, y and amplitude of a movement are."""
    patterns = (_DURATION, *(re.compile(_PLACE.format(axis=axis)) for axis in "XY"), re.compile("SaccadicAmplitude"))
    return tuple(next((k for k, name in enumerate(names) if p.fullmatch(name)), None) for p in patterns)
