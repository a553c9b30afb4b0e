"""Pupil Labs Neon and Invisible, as Pupil Cloud and Neon Player export them: a folder of CSV files, units in the names.

    gaze.csv              names the recording: gaze in pixels of the scene image, direction in degrees, whether worn
    3d_eye_states.csv     pupil (mm), eyes in space, eyelids
    imu.csv               gyroscope, acceleration, orientation
    blinks.csv, fixations.csv, saccades.csv, events.csv

All of them beside the first are one recording; any of them without it is one of its own. Times are nanoseconds since
1970 (UTC): the recording's clock counts seconds from the first sample, which `start` dates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._eye_events import eye_intervals
from neuroloom.ingest.formats._fixed_names import named_by
from neuroloom.ingest.formats._json import parsed
from neuroloom.ingest.formats._people import stated_subject
from neuroloom.ingest.formats._sampled import Group, SampleRows, signals
from neuroloom.ingest.formats._sidecars import small_file
from neuroloom.ingest.formats._tables import TextTable, is_text, number_in, texts, whole
from neuroloom.ingest.formats._vendor_tables import is_of, vendor_table
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream

TITLE = "Pupil Labs Neon and Invisible (Pupil Cloud, CSV export)"
MODALITY = "gaze"
KEEPS = (
    "gaze, direction, worn, pupil, eyes, eyelids, IMU, blinks, fixations, saccades, events; not mappings onto surfaces"
)
TESTED_ON = "files written by this project to Pupil Labs' documentation"

MAX_BYTES = 1 << 29  # of text: its samples are held in memory
_MAIN = "gaze.csv"
_BESIDE = ("3d_eye_states.csv", "imu.csv", "blinks.csv", "fixations.csv", "saccades.csv", "events.csv")
_TIME = "timestamp [ns]"
_LIDS = ("top", "bottom")
# A signal per line: name, modality, unit, what its columns are called (without unit), the channels.
_SIGNALS: tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("gaze", "gaze", "px", ("gaze x", "gaze y"), ("x", "y")),
    ("gaze direction", "gaze", "deg", ("azimuth", "elevation"), ("azimuth", "elevation")),
    ("worn", "aux", "a.u.", ("worn",), ("worn",)),
    ("pupil", "pupil", "mm", ("pupil diameter left", "pupil diameter right"), ("pupil_left", "pupil_right")),
    *(
        (f"{what} {eye}", "aux", unit, tuple(f"{what} {eye} {axis}" for axis in "xyz"), ("x", "y", "z"))
        for eye in ("left", "right")
        for what, unit in (("eyeball center", "mm"), ("optical axis", "a.u."))
    ),
    *(
        (f"eyelid angle {eye}", "aux", "rad", tuple(f"eyelid angle {lid} {eye}" for lid in _LIDS), _LIDS)
        for eye in ("left", "right")
    ),
    ("eyelid aperture", "aux", "mm", ("eyelid aperture left", "eyelid aperture right"), ("left", "right")),
    ("gyroscope", "behaviour", "deg/s", ("gyro x", "gyro y", "gyro z"), ("x", "y", "z")),
    ("acceleration", "behaviour", "g", ("acceleration x", "acceleration y", "acceleration z"), ("x", "y", "z")),
    ("orientation", "behaviour", "deg", ("roll", "pitch", "yaw"), ("roll", "pitch", "yaw")),
    ("quaternion", "behaviour", "a.u.", tuple(f"quaternion {k}" for k in "wxyz"), ("w", "x", "y", "z")),
)  # fmt: skip
_INTERVALS = {
    "blinks": {},
    "fixations": {"fixation x [px]": "x_mean", "fixation y [px]": "y_mean"},
    "saccades": {
        "amplitude [deg]": "amplitude_deg",
        "amplitude [px]": "amplitude_px",
        "peak velocity [px/s]": "peak_velocity_px_s",
        "mean velocity [px/s]": "mean_velocity_px_s",
    },
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sniff(path: Path, head: bytes) -> bool:
    """True for a table with Pupil Cloud's columns."""
    return is_text(head) and is_of(path, "pupil_cloud")


def files(path: Path) -> tuple[Path, ...]:
    """The table; of `gaze.csv` also the other tables of the export, and its info.json, where they are beside it."""
    if path.name != _MAIN:
        return (path,)
    return (path, *(file for name in (*_BESIDE, "info.json") if is_there(file := path.with_name(name))))


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError, naming the line, where a row is damaged."""
    tables = {file.name: _table(file) for file in files(path) if file.suffix == ".csv"}
    zero_ns = min(_first_ns(table) for table in tables.values())
    repairs: list[str] = []
    streams: list[Stream] = []
    for table in tables.values():
        streams += _streams(table, zero_ns, repairs)
    return [
        Recording(
            clock=named_by(path),
            format="pupil_cloud",
            files=files(path),
            streams=tuple(streams),
            start=date_of(zero_ns + _to_first_sample_ns(streams)),
            repairs=tuple(repairs),
            subject=_subject(path),
        )
    ]


def date_of(ns: int) -> datetime | None:
    """Nanoseconds since 1970 as a date; None beyond the years that Python counts."""
    try:
        return _EPOCH + timedelta(microseconds=ns // 1000)
    except OverflowError:
        return None


def _to_first_sample_ns(streams: Sequence[Stream]) -> int:
    return int(min((s.start_s for s in streams if isinstance(s, Signal)), default=0.0) * 1e9)


def _subject(path: Path) -> dict[str, str]:
    """Whom the wearer's name in `info.json` tells of."""
    info = small_file(path.with_name("info"), ".json")
    if path.name != _MAIN or info is None:
        return {}
    said = parsed(info, info.read_bytes())
    return stated_subject(str(said.get("wearer_name") or "")) if isinstance(said, dict) else {}


# Tables -------------------------------------------------------------------------------------------------------------


def _table(path: Path) -> TextTable:
    found = vendor_table(path)
    if found is None:
        raise FormatError(
            f"{path}: no line names the columns of Pupil Cloud above rows of as many cells; one is wanted"
        )
    return whole(found[1], max_bytes=MAX_BYTES)[0]


def _streams(table: TextTable, zero_ns: int, repairs: list[str]) -> list[Stream]:
    kind = next((kind for kind in _INTERVALS if kind[:-1] + " id" in table.names and _TIME not in table.names), None)
    if kind is not None:
        return _intervals(table, kind, zero_ns)
    if "name" in table.names:
        return _events(table, zero_ns)
    return list(_signals(table, zero_ns, repairs))


def _ns(table: TextTable, line: int, cells: Sequence[str], name: str) -> int:
    """Whole nanoseconds: as floating point they would be rounded to a quarter of a microsecond."""
    text = cells[table.column(name)]
    if not re.fullmatch(r"\d{1,19}", text):
        raise FormatError(f"{table.path}: line {line}: {name} is {text[:40]!r}; whole nanoseconds are wanted")
    return int(text)


def _first_ns(table: TextTable) -> int:
    name = _TIME if _TIME in table.names else "start timestamp [ns]"
    for line, cells in texts(table):
        return _ns(table, line, cells, name)
    raise FormatError(f"{table.path}: no rows below its header; some are wanted")


def _signals(table: TextTable, zero_ns: int, repairs: list[str]) -> list[Signal]:
    plain = {re.sub(r" \[.*\]$", "", name): name for name in table.names}
    there = [spec for spec in _SIGNALS if set(spec[3]) <= plain.keys()]
    asked = [table.column(plain[name]) for spec in there for name in spec[3]]
    if not asked:
        return []
    rows = SampleRows(len(asked))
    for line, cells in texts(table):
        rows.add((_ns(table, line, cells, _TIME) - zero_ns) / 1e9, [number_in(table, line, cells, k) for k in asked])
    groups, first = [], 0
    for name, modality, unit, _, channels in there:
        columns = tuple(range(first, first + len(channels)))
        where = {"coordinates": "image of the scene camera"} if modality == "gaze" and unit == "px" else {}
        groups.append(
            Group(name=name, modality=modality, unit=unit, channels=channels, columns=columns, provenance=where)
        )
        first += len(channels)
    return signals(groups, *rows.in_order(table.path, f"samples of {table.path.name}", repairs))


def _intervals(table: TextTable, name: str, zero_ns: int) -> list[Stream]:
    asked = {column: told for column, told in _INTERVALS[name].items() if column in table.names}
    bounds_s, values = [], []
    for line, cells in texts(table):
        ends = [_ns(table, line, cells, f"{end} timestamp [ns]") - zero_ns for end in ("start", "end")]
        bounds_s.append((ends[0] / 1e9, ends[1] / 1e9))
        values.append([number_in(table, line, cells, table.column(column)) for column in asked])
    columns: NDArray[Any] = np.array(values, dtype=np.float64).reshape(len(values), len(asked))
    found = {told: tuple(columns[:, k].tolist()) for k, told in enumerate(asked.values())}
    intervals: Intervals = eye_intervals(name, bounds_s, ["both"] * len(bounds_s), found, path=table.path)
    return [intervals]


def _events(table: TextTable, zero_ns: int) -> list[Stream]:
    rows = sorted(
        ((_ns(table, line, cells, _TIME) - zero_ns) / 1e9, cells[table.column("name")])
        for line, cells in texts(table)
    )  # fmt: skip
    return [Events(name="events", times_s=np.array([t for t, _ in rows]), labels=tuple(said for _, said in rows))]
