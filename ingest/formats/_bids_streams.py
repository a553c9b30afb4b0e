"""Several streams in one BIDS `events.tsv`: a column `stream` says which row is whose, the JSON what each of them is.

    "stream": {"Streams": {"markers": {"kind": "events", "modality": "sync", "columns": {"kind": "text"}}, ...}}

    kind       "events", or "intervals", which last as `duration` says
    modality   one of MODALITIES
    led_by     what its labels begin with in this table, and not in the stream; may be left out
    columns    of the table, those that are the stream's own: "text", "number" or "bool"

`neuroloom export` writes such tables, so that what it hands on comes back as it was. Labels are `trial_type`, or where
that says nothing `value`. A JSON that says something else, or not all of it, is not gone by: the table is one stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroloom.ingest.formats._tables import is_known, number, typed
from neuroloom.ingest.streams import MODALITIES, Events, Intervals
from neuroloom.ingest.timebase import FloatArray

COLUMN, STREAMS = "stream", "Streams"
_KINDS = ("events", "intervals")


def parted(
    about: Mapping[str, Any], names: Sequence[str], onsets_s: FloatArray, rows: Sequence[Sequence[str]]
) -> tuple[Events | Intervals, ...]:
    """The streams of a table with these columns and rows, in order of time; () where its JSON tells of none.

    about: that JSON. onsets_s: shape (E,).
    """
    said = about.get(COLUMN)
    told = said.get(STREAMS) if isinstance(said, Mapping) else None
    if not isinstance(told, Mapping) or names.count(COLUMN) != 1 or len(set(names)) != len(names):
        return ()
    at = names.index(COLUMN)
    if {row[at] for row in rows} - set(told) or not all(_is_told(one, names) for one in told.values()):
        return ()
    made = []
    for name, one in told.items():
        mine = np.array([k for k, row in enumerate(rows) if row[at] == name], dtype=np.int64)
        cells = {column: [rows[k][i] for k in mine] for i, column in enumerate(names)}
        made.append(_stream(str(name), one, onsets_s[mine], cells))
    return tuple(made)


def _is_told(one: Any, names: Sequence[str]) -> bool:
    if not isinstance(one, Mapping) or one.get("kind") not in _KINDS or one.get("modality") not in MODALITIES:
        return False
    columns = one.get("columns")
    return isinstance(columns, Mapping) and set(columns) - {"duration_s"} <= set(names)


def _stream(
    name: str, one: Mapping[str, Any], onsets_s: FloatArray, cells: Mapping[str, Sequence[str]]
) -> Events | Intervals:
    n = len(onsets_s)
    lasting = [number(cell) for cell in cells.get("duration", ("n/a",) * n)]
    duration_s = np.array([np.nan if value is None else value for value in lasting], dtype=np.float64)
    table = {column: _values(str(kind), cells[column]) for column, kind in one["columns"].items() if column in cells}
    kinds, values = cells.get("trial_type", ("n/a",) * n), cells.get("value", ("n/a",) * n)
    kinds = [kind.removeprefix(str(one.get("led_by", ""))) for kind in kinds]
    labels = tuple(k if is_known(k) else v if is_known(v) else "n/a" for k, v in zip(kinds, values, strict=True))
    if one["kind"] == "intervals":
        bounds_s = np.column_stack([onsets_s, onsets_s + np.nan_to_num(np.maximum(duration_s, 0.0))])
        return Intervals(name=name, modality=one["modality"], bounds_s=bounds_s, labels=labels, table=table)
    if "duration_s" in one["columns"]:
        table = {column: tuple(duration_s.tolist()) if column == "duration_s" else table[column]
                 for column in one["columns"]}  # fmt: skip
    return Events(name=name, modality=one["modality"], times_s=onsets_s, labels=labels, table=table)


def _values(kind: str, cells: Sequence[str]) -> tuple[Any, ...]:
    """Values of a column; text where its cells are none of what is said of them."""
    if kind == "bool" and set(cells) <= {"true", "false"}:
        return tuple(cell == "true" for cell in cells)
    if kind == "number":
        return typed(cells) if any(map(is_known, cells)) else (float("nan"),) * len(cells)
    return tuple(cells)
