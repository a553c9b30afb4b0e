"""Events as a table of text, one row per event: BIDS `*_events.tsv`, and other tables with a time and a label.

    X_events.tsv              BIDS: onset and duration in seconds, onsets from the first sample of the recording X_eeg.*
                              beside it; label: trial_type, else value, else the first column of text
    onset_s,event             others: read where the name of the time states its unit, else `<stem>.toml` states it

    format = "event_table"    the sidecar; whatever the names state may be left out
    onset = "Timestamp"       column of the times
    time_unit = "ms"          s, ms, us or ns
    label = "Event"
    # duration = "length"     in the same unit, or in that of
    # duration_unit = "s"
    # clock = "rig"
    # start = 2024-05-01T10:00:00     when the first event happened

One stream "events" holds every column (several do where the JSON of a BIDS table says so: `_bids_streams.py`): whole
numbers as int, numbers as float with NaN for what is not known, others as text as it stands. A column of durations
becomes `duration_s`; one whose unit is not stated stays what it is.
Rows are sorted by time. A row without any onset ("n/a") is no moment and is left out; both are said in `repairs`. A row
with another number of cells, or an onset that is no number, is damage: the file is refused by the line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._bids import stated
from neuroloom.ingest.formats._bids_streams import COLUMN, parted
from neuroloom.ingest.formats._column_names import SECONDS, is_gaze, time_unit, words
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._sidecars import Stated, Text, TimeUnit, read_toml, sidecar, validated
from neuroloom.ingest.formats._tables import TextTable, find_table, is_known, is_text, number, texts, typed, whole
from neuroloom.ingest.formats._vendor_tables import vendor_table
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events
from neuroloom.ingest.timebase import FloatArray

TITLE = "event table (BIDS events.tsv, CSV, TSV)"
MODALITY = "events"
KEEPS = "onset, duration, label and every other column"
TESTED_ON = "real files of bids-examples and EMDAT"

MAX_BYTES = 1 << 25  # of text: its rows are held in memory
_FORM = "event_table"
_LABELS = (
    "trial type", "label", "event", "event type", "event name", "event code", "marker", "code", "trigger", "message",
    "description", "condition",
)  # fmt: skip


class _Sidecar(Stated):
    """What `<stem>.toml` states of the table beside it."""

    format: Literal["event_table"] = "event_table"
    onset: Text | None = None
    time_unit: TimeUnit | None = None
    label: Text | None = None
    duration: Text | None = None
    duration_unit: TimeUnit | None = None

    @property
    def columns(self) -> set[str]:
        """Every column of the table that is named here."""
        return {name for name in (self.onset, self.label, self.duration) if name is not None}


def sniff(path: Path, head: bytes) -> bool:
    """True for `*_events.tsv` with onsets, for other texts with columns of time and label, or beside a sidecar."""
    if not is_text(head) or sidecar(path, "gaze_table") is not None:
        return False
    if sidecar(path, _FORM) is not None:
        return True
    return _found(path, _Sidecar()) is not None and vendor_table(path) is None


def files(path: Path) -> tuple[Path, ...]:
    """The table; its sidecar, or in BIDS the JSON that describes its columns, where one is beside it."""
    described = path.with_suffix(".json")
    beside = (sidecar(path, _FORM), described if _is_bids(path) and is_there(described) else None)
    return (path, *(file for file in beside if file is not None))


def read(path: Path) -> list[Recording]:
    """One Recording with the stream "events".

    Raises FormatError, with the sidecar to write, where the unit of time is stated nowhere, and, naming lines, where
    rows are damaged.
    """
    beside = sidecar(path, _FORM)
    side = validated(beside, _Sidecar, read_toml(beside)) if beside is not None else _Sidecar()
    found = _found(path, side)
    if found is None:
        wanted = shown(sorted(side.columns)) or "a time and a label"
        raise FormatError(f"{path}: no line names the columns {wanted} above rows of as many cells; a header is wanted")
    repairs: list[str] = []
    table, _ = whole(found, max_bytes=MAX_BYTES)
    onset, seconds = _onset(table, side)
    onsets_s, rows = _rows(table, onset, seconds, repairs)
    if beside is None and not _is_bids(path):
        _check_no_samples(table, onsets_s)
    is_several = _is_bids(path) and beside is None and COLUMN in table.names
    streams = parted(stated(path), table.names, onsets_s, rows) if is_several else ()
    events = Events(
        name="events",
        times_s=onsets_s,
        labels=_labels(table, side, onset, rows),
        table=_columns(table, side, onset, seconds, rows),
    )
    return [
        Recording(
            clock=side.clock or path.stem,
            format=_FORM,
            files=files(path),
            streams=streams or (events,),
            start=side.start,
            repairs=tuple(repairs),
        )
    ]


def _is_bids(path: Path) -> bool:
    return path.name.endswith("_events.tsv")


def _found(path: Path, side: _Sidecar) -> TextTable | None:
    if side.columns:
        return find_table(path, lambda names: side.columns <= set(names), declared=True)
    if _is_bids(path):
        return find_table(path, lambda names: "onset" in names, declared=True)
    return find_table(path, lambda names: _is_events(names) and not is_gaze(names))


def _is_events(names: Sequence[str]) -> bool:
    """True for a time and a label, or an onset."""
    times = [name for name in names if time_unit(name, onset=True) is not None]
    return bool(times) and (
        any("onset" in words(name) for name in times) or any(" ".join(words(name)) in _LABELS for name in names)
    )


def _onset(table: TextTable, side: _Sidecar) -> tuple[int, float]:
    """The column of the times, and seconds per unit of it."""
    if _is_bids(table.path) and side.onset is None:
        return table.column("onset"), 1.0
    names = [n for n in table.names if time_unit(n, onset=True) is not None] if side.onset is None else [side.onset]
    told = {name: unit for name in names if (unit := side.time_unit or time_unit(name, onset=True))}
    chosen = list(told) if len(told) == 1 else names
    lacking = [f"which of {shown(names)} is the onset"] if len(chosen) != 1 else []
    lacking += [] if told else ["the unit of time"]
    if lacking:
        lines = f'`format = "event_table"`, `onset = "{shown(names[:1])}"`, `time_unit = "ms"`'
        raise FormatError(
            f"{table.path}: columns {shown(table.names)} do not state {' and '.join(lacking)}; wanted is a "
            f"{table.path.stem}.toml beside it with lines like {lines} and what is true of these data"
        )
    return table.column(chosen[0]), SECONDS[told[chosen[0]]]


def _rows(table: TextTable, onset: int, seconds: float, repairs: list[str]) -> tuple[FloatArray, list[list[str]]]:
    """Onsets in seconds, shape (E,), in order, and the cells of their rows."""
    kept: list[tuple[float, list[str]]] = []
    without: list[int] = []
    for line, cells in texts(table):
        value = number(cells[onset], comma=table.delimiter != ",")
        if value is None or np.isinf(value):
            name = shown([table.names[onset]])
            raise FormatError(f"{table.path}: line {line}: {name} is {cells[onset][:40]!r}; a number is wanted")
        if np.isnan(value):
            without.append(line)
        else:
            kept.append((value * seconds, cells))
    if not kept:
        raise FormatError(f"{table.path}: no row with an onset; at least one event is wanted")
    if without:
        repairs.append(
            Defect(f"{len(without)} rows without an onset, lines {', '.join(map(str, without[:20]))}, left out")
        )
    onsets_s = np.array([onset_s for onset_s, _ in kept])
    back = np.flatnonzero(np.diff(onsets_s) < 0)
    if back.size:
        shown_s = f"the first at {onsets_s[back[0] + 1]:g} after {onsets_s[back[0]]:g} s"
        repairs.append(Defect(f"{back.size} rows earlier than the row before, {shown_s}", "sorted by onset"))
    order = np.argsort(onsets_s, kind="stable")
    return onsets_s[order], [kept[i][1] for i in order]


def _check_no_samples(table: TextTable, onsets_s: FloatArray) -> None:
    """Raise FormatError where rows come as regularly and as fast as samples do: a marker column beside signals."""
    steps_s = np.diff(onsets_s)
    median_s = float(np.median(steps_s)) if steps_s.size >= 100 else np.inf
    if 0 < median_s < 0.1 and (np.abs(steps_s - median_s) < 0.02 * median_s).mean() > 0.9:
        raise FormatError(
            f"{table.path}: rows come every {median_s * 1e3:.3g} ms, as samples do; events are wanted, or a "
            f'{table.path.stem}.toml beside it with `format = "event_table"` if they are'
        )


def _labels(table: TextTable, side: _Sidecar, onset: int, rows: Sequence[list[str]]) -> tuple[str, ...]:
    """Per row the first of the columns that can name an event and says something there."""
    if side.label is not None:
        columns = [table.column(side.label)]
    elif _is_bids(table.path):
        columns = [table.names.index(name) for name in ("trial_type", "value") if name in table.names]
    else:
        named = [" ".join(words(name)) for name in table.names]
        columns = [named.index(name) for name in _LABELS if name in named]
    said = [i for i in columns if any(is_known(row[i]) for row in rows)]
    if not said:
        others = (i for i in range(len(table.names)) if i != onset and any(_is_word(row[i]) for row in rows))
        said = [i for i in others if i not in columns][:1]
    return tuple(next((row[i] for i in said if is_known(row[i])), "n/a" if said else "event") for row in rows)


def _is_word(cell: str) -> bool:
    return is_known(cell) and number(cell) is None


def _columns(
    table: TextTable, side: _Sidecar, onset: int, seconds: float, rows: Sequence[list[str]]
) -> dict[str, tuple[Any, ...]]:
    """Every column but the onset; durations in seconds under a name that says so."""
    found: dict[str, tuple[Any, ...]] = {}
    doubled = {name for name, n in Counter(table.names).items() if n > 1}
    for i, name in enumerate(table.names):
        if i == onset:
            continue
        cells = [row[i] for row in rows]
        scale_s = _seconds_of_duration(table, side, name, seconds)
        if scale_s is not None and not any(_is_word(cell) for cell in cells):
            found["duration_s"] = tuple(float(number(cell) or 0.0) * scale_s for cell in cells)
        else:
            found[f"{name or 'column'} {i + 1}" if name in doubled or not name else name] = typed(cells)
    return found


def _seconds_of_duration(table: TextTable, side: _Sidecar, name: str, seconds: float) -> float | None:
    """Seconds per unit of a column of durations; None for other columns, or where its unit is stated nowhere."""
    if name == side.duration:
        return SECONDS[side.duration_unit] if side.duration_unit else seconds
    if _is_bids(table.path) and name == "duration":
        return 1.0
    if "duration" not in words(name) or len(words(name)) != 2:
        return None
    unit = time_unit(f"time {' '.join(word for word in words(name) if word != 'duration')}")
    return SECONDS[unit] if unit else None
