"""Gaze as Tobii's Pro SDK gives it, written row by row into a CSV: 4C, Pro Nano, Spectrum and others.

    device_time_stamp;left_gaze_point_on_display_area;left_gaze_point_validity;...
    491999899;(0.1099, 0.6441);1;...                      or a column per coordinate: left_gaze_point_on_display_area_x

Names, units and meanings are those of the SDK's documentation: microseconds, a share of the display area (origin at the
top left), millimetres in the user's coordinates and of the pupil; validity 1 where a value was measured, 0 where not.

The file has two clocks. Samples are on the tracker's (`device_time_stamp`); the computer's (`system_time_stamp`) is
kept as the signal "system time", since programs round it when they write it as floating point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._column_names import SECONDS
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._sampled import Group, SampleRows, signals
from neuroloom.ingest.formats._tables import TextTable, is_text, number, number_in, texts, whole
from neuroloom.ingest.formats._vendor_tables import is_of, vendor_table
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording

TITLE = "Tobii Pro SDK (CSV)"
MODALITY = "gaze"
KEEPS = "gaze on the display and in space, where the eyes are, pupil, validity, both time stamps"
TESTED_ON = "a real file of EMDAT (Tobii 4C)"

MAX_BYTES = 1 << 29  # of text: its samples are held in memory
_TIME, _SYSTEM = "device_time_stamp", "system_time_stamp"
# What follows "left_" or "right_": name of the signal, modality, unit, axes, and which validity is about it.
_FIELDS = {
    "gaze_point_on_display_area": ("gaze", "gaze", "norm", "xy", "gaze_point_validity"),
    "gaze_point_in_user_coordinate_system": ("gaze point", "aux", "mm", "xyz", "gaze_point_validity"),
    "gaze_origin_in_user_coordinate_system": ("gaze origin", "aux", "mm", "xyz", "gaze_origin_validity"),
    "gaze_origin_in_trackbox_coordinate_system": ("gaze origin in box", "aux", "norm", "xyz", "gaze_origin_validity"),
    "pupil_diameter": ("pupil", "pupil", "mm", "", "pupil_validity"),
}  # fmt: skip
_EYES = ("left", "right")


@dataclass(frozen=True)
class _Field:
    """A field of an eye: its columns (one with a tuple, or one per coordinate) and the column of its validity."""

    name: str
    eye: str
    axes: str
    columns: tuple[int, ...]
    validity: int | None

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(f"{axis}_{self.eye}" for axis in self.axes) or (f"{self.name}_{self.eye}",)


def sniff(path: Path, head: bytes) -> bool:
    """True for a table with the SDK's names."""
    return is_text(head) and is_of(path, "tobii_sdk")


def files(path: Path) -> tuple[Path, ...]:
    """The table itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError, naming the line, where a row is damaged; a last row cut short is left out."""
    found = vendor_table(path)
    if found is None:
        raise FormatError(f"{path}: no line names the fields of Tobii's SDK above rows of as many cells; one is wanted")
    table = whole(found[1], max_bytes=MAX_BYTES)[0]
    fields = _fields(table)
    repairs: list[str] = []
    samples, system = _rows(table, fields, repairs)
    streams = signals(_groups(fields), *samples.in_order(path, "samples", repairs))
    clock = Group(name="system time", modality="aux", unit="s", channels=("system_time",), columns=(0,))
    streams += signals([clock], *system.in_order(path, "system times", []))
    used = {column for field in fields for column in (*field.columns, field.validity)}
    left_out = [n for k, n in enumerate(table.names) if k not in used and n not in (_TIME, _SYSTEM)]
    repairs += [f"columns left out: {shown(left_out, most=60)}"] if left_out else []
    return [
        Recording(clock=path.stem, format="tobii_sdk", files=(path,), streams=tuple(streams), repairs=tuple(repairs))
    ]


def _fields(table: TextTable) -> list[_Field]:
    """The fields that are there, signal by signal, left before right, then their validities."""
    at = {name: k for k, name in enumerate(table.names)}
    found = []
    for field, (name, _, _, axes, validity) in _FIELDS.items():
        for eye in _EYES:
            whole_name = f"{eye}_{field}"
            apart = [f"{whole_name}_{axis}" for axis in axes]
            columns = [at[whole_name]] if whole_name in at else [at[n] for n in apart if n in at]
            if columns and len(columns) in (1, len(axes)):
                found.append(_Field(name, eye, axes, tuple(columns), at.get(f"{eye}_{validity}")))
    for validity in dict.fromkeys(spec[4] for spec in _FIELDS.values()):
        name = validity.replace("_", " ")
        found += [_Field(name, eye, "", (at[f"{eye}_{validity}"],), None) for eye in _EYES if f"{eye}_{validity}" in at]
    return found


def _rows(table: TextTable, fields: Sequence[_Field], repairs: list[str]) -> tuple[SampleRows, SampleRows]:
    """The samples, and what the computer's clock showed at each, in seconds since the first."""
    samples, system = SampleRows(sum(len(field.channels) for field in fields)), SampleRows(1, exact=True)
    first_us: float | None = None
    try:
        for line, cells in texts(table):
            time_s = number_in(table, line, cells, table.column(_TIME)) * SECONDS["us"]
            at_us = number_in(table, line, cells, table.column(_SYSTEM))
            first_us = at_us if first_us is None else first_us
            samples.add(time_s, [value for field in fields for value in _values(table, line, cells, field)])
            system.add(time_s, [(at_us - first_us) * SECONDS["us"]])
    except FormatError as error:
        if not _is_cut_short(table, str(error)):
            raise
        said = str(error).partition(": ")[2].partition(";")[0]
        repairs.append(Defect(f"the last row is cut short, {said}", "left out"))
    return samples, system


def _is_cut_short(table: TextTable, error: str) -> bool:
    """True where an error is about the very last line, and that ends without a newline."""
    with table.path.open("r", encoding=table.encoding, newline=None) as file:
        n_lines, last = 0, ""
        for last in file:  # noqa: B007
            n_lines += 1
    return not last.endswith("\n") and f"line {n_lines} has" in error


def _values(table: TextTable, line: int, cells: Sequence[str], field: _Field) -> list[float]:
    """Its numbers, NaN where the tracker says that they are not valid."""
    if len(field.columns) == 1 and field.axes:
        parts = [number(part) for part in cells[field.columns[0]].strip("()[] ").split(",")]
        if len(parts) != len(field.axes) or None in parts:
            name = table.names[field.columns[0]]
            wanted = f"{len(field.axes)} numbers in brackets are wanted"
            raise FormatError(f"{table.path}: line {line}: {name} is {cells[field.columns[0]][:40]!r}; {wanted}")
        values = [float(part) for part in parts if part is not None]
    else:
        values = [number_in(table, line, cells, column) for column in field.columns]
    is_lost = field.validity is not None and number_in(table, line, cells, field.validity) == 0
    return [float("nan")] * len(values) if is_lost else values


def _groups(fields: Sequence[_Field]) -> list[Group]:
    """A signal per name, over both eyes."""
    told = {name: (modality, unit) for name, modality, unit, _, _ in _FIELDS.values()}
    groups, first = [], 0
    for name in dict.fromkeys(field.name for field in fields):
        channels = tuple(channel for field in fields if field.name == name for channel in field.channels)
        modality, unit = told.get(name, ("aux", "a.u."))
        columns = tuple(range(first, first + len(channels)))
        groups.append(Group(name=name, modality=modality, unit=unit, channels=channels, columns=columns))
        first += len(channels)
    return groups
