"""Pupil Core, as Pupil Player exports it: a folder of CSV files on the clock of Pupil's own timestamps (seconds).

    gaze_positions.csv      names the recording: gaze as a share of the scene image (origin at the bottom left), the
                            tracker's confidence, the gaze point and the eyes in space (mm, scene camera)
    pupil_positions.csv     pupil per eye and method of detection: diameter in image pixels and, of a 3D model, in mm
    blinks.csv              duration in seconds
    fixations.csv           duration in milliseconds, dispersion in degrees
    annotations.csv         events

All of them beside the first are one recording; `blinks.csv` or `fixations.csv` without it is one of its own. Units are
those of Pupil Labs' documentation. Nothing is left out for its confidence: that is a signal beside the gaze, and a
matter of policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._eye_events import eye_intervals
from neuroloom.ingest.formats._fixed_names import named_by
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._sampled import Group, SampleRows, signals
from neuroloom.ingest.formats._tables import TextTable, find_table, is_text, number, number_in, numbers, texts, whole
from neuroloom.ingest.formats._vendor_tables import is_of, vendor_table
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream

TITLE = "Pupil Core (CSV export)"
MODALITY = "gaze"
KEEPS = (
    "gaze, confidence, gaze point and eyes in 3D, pupil, blinks, fixations, annotations; not base data, filter "
    "responses and surfaces"
)
TESTED_ON = (
    "a real export of Pupil Labs' tutorials (gaze, blinks, fixations); pupil and annotations to the documentation"
)

MAX_BYTES = 1 << 29  # of text: its samples are held in memory
_MAIN = "gaze_positions.csv"
_BESIDE = ("pupil_positions.csv", "blinks.csv", "fixations.csv", "annotations.csv")
_EYES = {0: "right", 1: "left"}
# name of the signal: (modality, unit, channels, columns)
_SIGNALS: Mapping[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    "gaze": ("gaze", "norm", ("x", "y"), ("norm_pos_x", "norm_pos_y")),
    "confidence": ("aux", "a.u.", ("confidence",), ("confidence",)),
    "gaze point": ("aux", "mm", ("x", "y", "z"), tuple(f"gaze_point_3d_{axis}" for axis in "xyz")),
    **{
        f"eye centre {_EYES[eye]}": (
            "aux",
            "mm",
            ("x", "y", "z"),
            tuple(f"eye_center{eye}_3d_{axis}" for axis in "xyz"),
        )
        for eye in _EYES
    },
    **{
        f"gaze normal {_EYES[eye]}": (
            "aux",
            "a.u.",
            ("x", "y", "z"),
            tuple(f"gaze_normal{eye}_{axis}" for axis in "xyz"),
        )
        for eye in _EYES
    },
}


def sniff(path: Path, head: bytes) -> bool:
    """True for a table with Pupil Player's columns."""
    return is_text(head) and is_of(path, "pupil_core")


def files(path: Path) -> tuple[Path, ...]:
    """The table; of `gaze_positions.csv` also the other tables of the export that are beside it."""
    if path.name != _MAIN:
        return (path,)
    return (path, *(file for name in _BESIDE if is_there(file := path.with_name(name))))


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError, naming the line, where a row is damaged."""
    repairs: list[str] = []
    streams: list[Stream] = []
    for file in files(path):
        streams += _streams(file, repairs)
    if not streams:
        raise FormatError(f"{path}: no rows below its header; some are wanted")
    return [
        Recording(
            clock=named_by(path),
            format="pupil_core",
            files=files(path),
            streams=tuple(streams),
            repairs=tuple(dict.fromkeys(repairs)),
        )
    ]


def _streams(path: Path, repairs: list[str]) -> list[Stream]:
    table = _table(path)
    names = set(table.names)
    if "gaze_timestamp" in names:
        return list(_gaze(table, repairs))
    if "pupil_timestamp" in names:
        return list(_pupil(table, repairs))
    if "dispersion" in names:
        return _intervals(table, "fixations", 1e-3)
    if "start_timestamp" in names:
        return _intervals(table, "blinks", 1.0)
    return _annotations(table)


def _table(path: Path) -> TextTable:
    found = vendor_table(path)
    table = found[1] if found else find_table(path, lambda names: {"timestamp", "label"} <= set(names), declared=True)
    if table is None:
        raise FormatError(
            f"{path}: no line names the columns of Pupil Player above rows of as many cells; one is wanted"
        )
    return whole(table, max_bytes=MAX_BYTES)[0]


# Samples ------------------------------------------------------------------------------------------------------------


def _gaze(table: TextTable, repairs: list[str]) -> list[Signal]:
    there = {name: spec for name, spec in _SIGNALS.items() if set(spec[3]) <= set(table.names)}
    asked = [column for spec in there.values() for column in spec[3]]
    rows = SampleRows(len(asked))
    for values, _, _ in numbers(table, [table.column(name) for name in ("gaze_timestamp", *asked)]):
        rows.extend(values[:, 0], values[:, 1:])
    if not len(rows):
        return []
    left_out = [name for name in table.names if name not in {"gaze_timestamp", *asked}]
    repairs.append(f"columns of {table.path.name} left out: {shown(left_out)}")
    return signals(_groups(there), *rows.in_order(table.path, "samples of gaze", repairs))


def _groups(there: Mapping[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]]) -> list[Group]:
    groups, first = [], 0
    for name, (modality, unit, channels, columns) in there.items():
        where = {"origin": "bottom left of the scene image"} if name == "gaze" else {}
        groups.append(
            Group(
                name=name,
                modality=modality,
                unit=unit,
                channels=channels,
                columns=tuple(range(first, first + len(columns))),
                provenance=where,
            )
        )
        first += len(columns)
    return groups


def _pupil(table: TextTable, repairs: list[str]) -> list[Signal]:
    """Per eye and method: diameter in px and mm, and confidence; a detector writes one row per eye image."""
    at = {name: table.column(name) for name in ("pupil_timestamp", "eye_id", "confidence", "diameter")}
    at |= {name: table.column(name) for name in ("diameter_3d", "method") if name in table.names}
    found: dict[tuple[str, str], SampleRows] = {}
    for line, cells in texts(table):
        eye = _EYES.get(int(number(cells[at["eye_id"]]) or 0), "")
        method = cells[at["method"]].split(" ")[0] if "method" in at else ""
        values = [
            number_in(table, line, cells, at[name]) if name in at else float("nan")
            for name in ("diameter", "diameter_3d", "confidence")
        ]
        rows = found.setdefault((eye, method), SampleRows(3))
        rows.add(number_in(table, line, cells, at["pupil_timestamp"]), values)
    streams: list[Signal] = []
    for (eye, method), rows in sorted(found.items()):
        what = " ".join(part for part in (eye, method) if part)
        groups = [
            Group(name=f"pupil {what} px", modality="pupil", unit="px", channels=(f"pupil_{eye}",), columns=(0,)),
            Group(name=f"pupil {what} mm", modality="pupil", unit="mm", channels=(f"pupil_{eye}",), columns=(1,)),
            Group(name=f"pupil confidence {what}", modality="aux", unit="a.u.", channels=("confidence",), columns=(2,)),
        ]
        times_s, samples = rows.in_order(table.path, f"samples of the {eye} pupil", repairs)
        told = [group for group in groups if np.isfinite(samples[:, group.columns]).any()]  # a 2D method tells no mm
        streams += signals(told, times_s, samples)
    return streams


# Events -------------------------------------------------------------------------------------------------------------


def _intervals(table: TextTable, name: str, seconds: float) -> list[Stream]:
    """seconds: per unit of the durations."""
    columns = {"blinks": ("confidence",), "fixations": ("norm_pos_x", "norm_pos_y", "dispersion", "confidence")}[name]
    told = {"norm_pos_x": "x_mean", "norm_pos_y": "y_mean", "dispersion": "dispersion_deg"}
    asked = [column for column in columns if column in table.names]
    blocks = [
        values
        for values, _, _ in numbers(table, [table.column(n) for n in ("start_timestamp", "duration", *asked)])
        if len(values)
    ]
    if not blocks:
        return []
    rows = np.concatenate(blocks)
    bounds_s = np.column_stack([rows[:, 0], rows[:, 0] + rows[:, 1] * seconds])
    values = {told.get(column, column): tuple(rows[:, k + 2].tolist()) for k, column in enumerate(asked)}
    intervals: Intervals = eye_intervals(name, bounds_s, ["both"] * len(rows), values, path=table.path)
    return [intervals]


def _annotations(table: TextTable) -> list[Stream]:
    at, label = table.column("timestamp"), table.column("label")
    rows = sorted((number_in(table, line, cells, at), cells[label]) for line, cells in texts(table))
    if not rows:
        return []
    return [Events(name="annotations", times_s=np.array([t for t, _ in rows]), labels=tuple(said for _, said in rows))]
