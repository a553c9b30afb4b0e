"""Gaze as a table of text, one row per sample: CSV, TSV, semicolons or blanks; UTF-8, UTF-16 or Latin-1.

    time_ms,x_left_px,y_left_px,pupil_left      read as it is: the names state what, of which eye and in which unit
    time,x,y                                    refused: units are never guessed; `<stem>.toml` beside it states them

    format = "gaze_table"                       the sidecar; whatever the names state may be left out
    time = "time"                               column of the times, with
    time_unit = "ms"                            s, ms, us or ns; or, for a table without times,
    # rate_hz = 60
    unit = "px"                                 of x and y: px, deg, norm, mm, cm
    # pupil_unit = "mm"                         "a.u." where none is stated: trackers count pupils in units of their own
    # lost_value = 0                            x and y both equal to it, or a pupil, is a lost sample: NaN
    # channels = { x_left = "L POR X [px]" }    where names are not understood; x, y and pupil, alone or _left, _right
    # header = ["x", "y"]                       names for a table without any
    # where = { Type = "SMP" }                  only the rows in which that column holds it
    # modality = "position"                     of a tracked animal instead of an eye
    # clock = "rig"
    # start = 2024-05-01T10:00:00               when the first sample was taken

A BIDS `<stem>.json` that gives columns their "Units" serves as well; a column `confidence` is kept as a signal.
A cell that is blank, ".", "-", NA, n/a, NaN, none or null is a lost sample; no number is, unless `lost_value` says so.

Design rationale: a table has no layout of its own, so its names are the only evidence there is. What they do not state
is asked for once, in a file that stays beside the data, rather than guessed at every reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._column_names import (
    SECONDS,
    is_gaze,
    place,
    tells_gaze,
    time_unit,
    unit_of_place,
    unit_of_time,
)
from neuroloom.ingest.formats._json import parsed
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._row_runs import runs
from neuroloom.ingest.formats._sampled import FloatBlock, Group, signal_of
from neuroloom.ingest.formats._sidecars import Stated, Text, TimeUnit, read_toml, sidecar, small_file, validated
from neuroloom.ingest.formats._tables import TextTable, find_table, is_text, numbers, whole
from neuroloom.ingest.formats._vendor_tables import vendor_table
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.timebase import FloatArray, Timebase, Times

TITLE = "gaze table (CSV, TSV)"
MODALITY = "gaze"
KEEPS = "gaze, pupil and confidence as float32, gaps; not other columns"
TESTED_ON = "real files of pymovements, GlassesTestCodeData and EMDAT"

MAX_BYTES = 1 << 29  # of text: its samples are held in memory
_FORM = "gaze_table"
_ChannelName = Annotated[str, Field(pattern=r"^(x|y|pupil)(_left|_right)?$")]

Lacking = list[tuple[str, str]]  # what is stated nowhere, and the line of a sidecar that states it


class _Sidecar(Stated):
    """What `<stem>.toml` states of the table beside it."""

    format: Literal["gaze_table"] = "gaze_table"
    time: str | None = None
    time_unit: TimeUnit | None = None
    rate_hz: PositiveFloat | None = None
    unit: Text | None = None
    pupil_unit: Text | None = None
    lost_value: float | tuple[float, ...] = ()
    channels: dict[_ChannelName, str] = Field(default_factory=dict)
    header: tuple[str, ...] = ()
    where: dict[str, str | float] = Field(default_factory=dict)
    modality: Literal["gaze", "position"] = "gaze"

    @model_validator(mode="after")
    def _one_source_of_time(self) -> _Sidecar:
        if self.rate_hz is not None and (self.time is not None or self.time_unit is not None):
            raise ValueError("times and a rate exclude each other")
        return self

    @property
    def columns(self) -> set[str]:
        """Every column of the table that is named here."""
        return {*([self.time] if self.time else []), *self.channels.values(), *self.where}


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Which columns are what. time: the column of times and seconds per unit of it; None where a rate is stated."""

    table: TextTable
    side: _Sidecar
    time: tuple[int, float] | None
    groups: tuple[Group, ...]

    @property
    def left_out(self) -> list[str]:
        """Names of the columns that are not read."""
        read = {column for group in self.groups for column in group.columns} | ({self.time[0]} if self.time else set())
        return [name for i, name in enumerate(self.table.names) if i not in read and name not in self.side.where]


def sniff(path: Path, head: bytes) -> bool:
    """True for a text with columns of time and place of gaze, or beside a sidecar that says it is a gaze table."""
    if not is_text(head) or path.name.endswith("_events.tsv") or sidecar(path, "event_table") is not None:
        return False
    if sidecar(path, _FORM) is not None:
        return True
    return find_table(path, is_gaze) is not None and vendor_table(path) is None


def files(path: Path) -> tuple[Path, ...]:
    """The table, and the sidecars that are beside it."""
    return (path, *(file for file in (sidecar(path, _FORM), small_file(path, ".json")) if file is not None))


def read(path: Path) -> list[Recording]:
    """One Recording: gaze (a signal per unit), pupil, and the tracker's confidence; held in memory as float32.

    Lost samples are NaN; a pause in the times is a gap. Raises FormatError, with the sidecar to write, where a unit is
    stated nowhere, and, naming the line, where a row is damaged or times repeat or go back.
    """
    layout = _layout(path)
    repairs = [f"columns left out: {shown(layout.left_out, most=60)}"] if layout.left_out else []
    times_s, blocks = _rows(layout, repairs)
    found = _runs(layout, times_s, len(blocks[0]))
    return [
        Recording(
            clock=layout.side.clock or path.stem,
            format=_FORM,
            files=files(path),
            streams=tuple(signal_of(group, block, found) for group, block in zip(layout.groups, blocks, strict=True)),
            start=layout.side.start,
            repairs=tuple(repairs),
        )
    ]


# Which column is what ----------------------------------------------------------------------------------------------


def _layout(path: Path) -> _Layout:
    beside = sidecar(path, _FORM)
    side = validated(beside, _Sidecar, read_toml(beside)) if beside is not None else _Sidecar()
    table = _table(path, side, declared=beside is not None)
    units = _json_units(path)
    lacking: Lacking = []
    if beside is None and not (tells_gaze(table.names) or any(word in path.stem.lower() for word in ("gaze", "eye"))):
        lacking.append(("whether they are of gaze", ""))
    time = _time(table, side, units, lacking) if side.rate_hz is None else None
    groups = _groups(table, side, units, lacking)
    if lacking:
        lines = ", ".join(f"`{line}`" for line in ('format = "gaze_table"', *(line for _, line in lacking)) if line)
        raise FormatError(
            f"{path}: columns {shown(table.names)} do not state {' and '.join(what for what, _ in lacking)}; wanted is "
            f"a {path.stem}.toml beside it with lines like {lines} and what is true of these data"
        )
    return _Layout(table=table, side=side, time=time, groups=groups)


def _table(path: Path, side: _Sidecar, *, declared: bool) -> TextTable:
    wanted = (lambda names: side.columns <= set(names)) if side.columns else is_gaze
    table = find_table(path, wanted, header=side.header, declared=declared)
    if table is None:
        asked = shown(side.header or sorted(side.columns)) or "time, x and y"
        raise FormatError(f"{path}: no line names the columns {asked} above rows of as many cells; a header is wanted")
    return table


def _json_units(path: Path) -> dict[str, str]:
    """The units that a BIDS JSON beside the table gives its columns."""
    beside = small_file(path, ".json")
    if beside is None:
        return {}
    said = parsed(beside, beside.read_bytes())
    columns = said if isinstance(said, dict) else {}
    return {
        name: str(about["Units"]) for name, about in columns.items() if isinstance(about, dict) and "Units" in about
    }


def _time(table: TextTable, side: _Sidecar, units: Mapping[str, str], lacking: Lacking) -> tuple[int, float] | None:
    """The column of times, and seconds per unit of it; where several could be it, the one whose unit is stated."""
    names = [side.time] if side.time is not None else [n for n in table.names if time_unit(n) is not None]
    told = {name: unit for name in names if (unit := _unit_of_time(table, side, units, name))}
    chosen = list(told) if len(told) == 1 else names
    if len(chosen) != 1:
        which = f"which of {shown(names)} is the time" if names else "the time or the rate"
        lacking.append((which, f'time = "{shown(names[:1])}"' if names else "rate_hz = 60"))
    if names and not told:
        lacking.append(("the unit of time", 'time_unit = "ms"'))
    return (table.column(chosen[0]), SECONDS[told[chosen[0]]]) if len(chosen) == 1 and told else None


def _unit_of_time(table: TextTable, side: _Sidecar, units: Mapping[str, str], name: str) -> str | None:
    """What the sidecar says of a column it names, else what JSON or name state, else what the sidecar says of all."""
    if side.time is not None and side.time_unit is not None:
        return side.time_unit
    return unit_of_time(units.get(name, "")) or time_unit(name) or side.time_unit


def _groups(table: TextTable, side: _Sidecar, units: Mapping[str, str], lacking: Lacking) -> tuple[Group, ...]:
    """The signals of the table. Where some places have a unit, those without one are left out."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for channel, unit, column in _channels(table, side, units):
        members = found.setdefault(("pupil" if channel.startswith("pupil") else side.modality, unit), {})
        if channel in members:
            raise FormatError(
                f"{table.path}: two columns are {channel}, one of them {table.names[column]!r}; one is wanted"
            )
        members[channel] = column
    places = [unit for what, unit in found if what == side.modality]
    if not places and not found:
        lacking.append(("which of them are x and y", 'channels = { x = "...", y = "..." }'))
    elif places == [""]:
        lacking.append(("the unit of x and y", 'unit = "px"'))
    elif "" in places:
        del found[side.modality, ""]
    if "confidence" in table.names:
        found["confidence", ""] = {"confidence": table.column("confidence")}
    groups = []
    for (what, unit), members in found.items():
        alone = sum(other == what for other, _ in found) == 1
        groups.append(
            Group(
                name=what if alone else f"{what} {unit or 'a.u.'}",
                modality="aux" if what == "confidence" else what,
                unit=unit or "a.u.",
                channels=tuple(members),
                columns=tuple(members.values()),
            )
        )
    return tuple(groups)


def _channels(table: TextTable, side: _Sidecar, units: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """Channel, unit ("" where none is stated) and column of each."""
    if side.channels:
        named = [(channel, name) for channel, name in side.channels.items()]
    else:
        named = [(said[0], name) for name in table.names if (said := place(name)) is not None]
    found = []
    for channel, name in named:
        given = (side.pupil_unit if channel.startswith("pupil") else side.unit) or ""
        said = place(name)
        stated = units.get(name, "") or (said[1] if said else "")
        # The sidecar has the word on columns that it names; of others it says what their names leave open.
        unit = (given or stated) if side.channels else (stated or given)
        found.append((channel, unit_of_place(unit), table.column(name)))
    return found


# Its rows ----------------------------------------------------------------------------------------------------------


def _rows(layout: _Layout, repairs: list[str]) -> tuple[FloatArray, list[FloatBlock]]:
    """Times in seconds, shape (T,), empty where a rate is stated; per group its samples, shape (T, C)."""
    table, n_lines = whole(layout.table, max_bytes=MAX_BYTES)
    # Room for a row per line, taken from the system only where it is filled: no second copy at the end.
    times_s = np.empty(n_lines if layout.time else 0)
    blocks = [np.empty((n_lines, len(group.columns)), dtype=np.float32) for group in layout.groups]
    columns = [column for group in layout.groups for column in group.columns]
    where = {table.column(name): value for name, value in layout.side.where.items()}
    asked = [layout.time[0], *columns] if layout.time else columns
    n, n_left_out, n_odd = 0, 0, 0
    for values, lines, left_out in numbers(table, asked, where=where):
        stop = n + len(values)
        if layout.time:
            times_s[n:stop] = values[:, 0] * layout.time[1]
            _check_times(table, layout.time[0], times_s[max(n - 1, 0) : stop], values[:, 0], lines)
            values = values[:, 1:]
        at = 0
        for group, block in zip(layout.groups, blocks, strict=True):
            part = values[:, at : at + len(group.columns)]
            n_odd += _forget_lost(group, part, layout.side)
            block[n:stop] = part
            at += len(group.columns)
        n, n_left_out = stop, n_left_out + left_out
    if n == 0:
        raise FormatError(
            f"{table.path}: no rows below its header{' that `where` asks for' if where else ''}; some are wanted"
        )
    if n_left_out:
        repairs.append(f"{n_left_out} rows left out, as `where` asks")
    if n_odd:
        repairs.append(
            f"{n_odd} samples at exactly (0, 0) or (-1, -1) kept; if these are lost ones, `lost_value` in "
            f"{table.path.stem}.toml says so"
        )
    return times_s[: n if layout.time else 0], [block[:n] for block in blocks]


def _check_times(
    table: TextTable, column: int, times_s: FloatArray, values: FloatArray, lines: NDArray[np.int64]
) -> None:
    """Raise FormatError, naming the line, unless times increase. times_s: from the row before these on, if any."""
    before = len(times_s) - len(values)
    steps = np.diff(times_s, prepend=-np.inf) if before == 0 else np.diff(times_s)
    wrong = ~(np.isfinite(values) & (steps > 0))
    if not wrong.any():
        return
    k = int(wrong.argmax())
    what = f"line {lines[k]}: {shown([table.names[column]])} is {values[k]:.12g}"
    if not np.isfinite(values[k]):
        raise FormatError(f"{table.path}: {what}; a time is wanted in every row")
    fault = "as in the row before" if steps[k] == 0 else "less than in the row before"
    raise FormatError(
        f"{table.path}: {what}, {fault}; times that increase are wanted (`where` in {table.path.stem}.toml "
        "picks the rows of one recording)"
    )


def _forget_lost(group: Group, values: FloatArray, side: _Sidecar) -> int:
    """Make lost samples of a block NaN, in place; returns how many look lost while nobody says so."""
    if group.modality == "aux":
        return 0
    lost, n_odd = np.array(side.lost_value, ndmin=1), 0
    for columns in _eyes(group):
        of_eye = values[:, columns]
        if lost.size:
            values[np.ix_(np.flatnonzero(np.isin(of_eye, lost).all(axis=1)), np.array(columns))] = np.nan
        elif len(columns) == 2:
            n_odd += int(((of_eye == 0).all(axis=1) | (of_eye == -1).all(axis=1)).sum())
    return n_odd


def _eyes(group: Group) -> list[list[int]]:
    """Channels that are lost together: x and y of an eye; every pupil alone."""
    if group.modality == "pupil":
        return [[k] for k in range(len(group.channels))]
    eyes = [name.partition("_")[2] for name in group.channels]
    return [[k for k, eye in enumerate(eyes) if eye == one] for one in dict.fromkeys(eyes)]


def _runs(layout: _Layout, times_s: FloatArray, n_samples: int) -> Sequence[tuple[slice, Times]]:
    if layout.side.rate_hz is not None:
        return [(slice(0, n_samples), Timebase(rate_hz=layout.side.rate_hz, n_samples=n_samples))]
    return runs(times_s)
