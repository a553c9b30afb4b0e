"""Tables of an NWB file, and series of events: Events, Intervals and Units, and the columns of any table.

of_table                          by its columns: spike times are Units, starts and stops Intervals, times Events
of_labels, of_interval_series     times with a text or a number each
columns_at, table_of              the columns at a path; the table that a region refers to
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats._nwb_objects import (
    Object,
    UnfitError,
    Walk,
    common_of,
    has,
    numbers_at,
    texts_of,
    type_of,
    values_at,
)
from neuroloom.ingest.streams import Events, Intervals, Stream, Units
from neuroloom.ingest.timebase import FloatArray

_PULSES = re.compile(r"(?<![a-z])(ttl|sync)(?![a-z])")
_LABELS = ("label", "event_type", "ttl_type", "event_name", "name", "value")

Columns = Mapping[str, Sequence[Any]]


def of_table(walk: Walk, here: Object) -> Stream:
    """The stream of a table, by its columns. Raises UnfitError for one without times."""
    names = texts_of(here.item.attrs["colnames"])
    if "spike_times" in names:
        return _units(walk, here)
    if {"start_time", "stop_time"} <= set(names):
        return _intervals(walk, here)
    column = next((name for name in ("timestamp", "event_times", "timestamps") if name in names), None)
    if column is None:
        raise UnfitError("is a table without times")
    return _events_of_table(walk, here, column)


def _rest(walk: Walk, here: Object, *taken: str) -> tuple[dict[str, list[Any]], dict[str, tuple[Any, ...]]]:
    """All plain columns of a table, and those of them that make the stream's own table; the others are noted."""
    plain, others = columns_at(walk, here.path)
    for name in others:
        if name not in taken:
            walk.note("a column without one plain value per row", f"{here.path}/{name}")
    return plain, {name: tuple(values) for name, values in plain.items() if name not in ("id", *taken)}


def _labels(here: Object, plain: Columns, rest: dict[str, tuple[Any, ...]]) -> list[str]:
    """What each row is, by a column that is taken out of `rest` where it is text, else by the name of the table."""
    column = next((name for name in _LABELS if name in plain), None)
    if column is None:
        return [here.name] * len(plain["id"])
    if all(isinstance(value, str) for value in plain[column]):
        rest.pop(column)
    return [str(value) for value in plain[column]]


def _events_of_table(walk: Walk, here: Object, column: str) -> Events:
    times_s = numbers_at(walk, f"{here.path}/{column}")
    plain, rest = _rest(walk, here, column)
    labels = _labels(here, plain, rest)
    rows = list(range(len(labels)))
    if has(here.item, f"{column}_index"):  # a row per kind of event, with all the times of that kind
        ends = _ends(walk, f"{here.path}/{column}_index", times_s.size, len(labels))
        rows = np.repeat(rows, np.diff(ends, prepend=0)).tolist()
    table = {name: [values[i] for i in rows] for name, values in rest.items()}
    return _events(walk, here, times_s, [labels[i] for i in rows], table)


def _ends(walk: Walk, path: str, n_values: int, n_rows: int) -> NDArray[np.int64]:
    """Where the values of each row of a ragged column end. Raises UnfitError where that cannot be."""
    ends = numbers_at(walk, path).astype(np.int64)
    if ends.size != n_rows or (np.diff(ends, prepend=0) < 0).any() or (ends.size and ends[-1] != n_values):
        raise UnfitError(f"its {path.rpartition('/')[2]!r} does not fit {n_values} values in {n_rows} rows")
    return ends


def _events(walk: Walk, here: Object, times_s: FloatArray, labels: Sequence[str], table: Columns) -> Events:
    if len(labels) != times_s.size:
        raise UnfitError(f"{times_s.size} times but {len(labels)} labels; they must match")
    order = np.argsort(times_s, kind="stable")
    order = order[np.isfinite(times_s[order])]
    if order.size < times_s.size:
        walk.notes.append(f"{here.path}: {times_s.size - order.size} events without a time left out")
    is_sync = "ttl" in here.kind.lower() or _PULSES.search(here.name.lower()) is not None
    return Events(
        **common_of(here),
        modality="sync" if is_sync else "events",
        times_s=times_s[order],
        labels=tuple(labels[i] for i in order.tolist()),
        table={name: tuple(values[i] for i in order.tolist()) for name, values in table.items()},
    )


def of_labels(walk: Walk, here: Object) -> Events:
    """Timestamps with a text each (AnnotationSeries), with a number for a text each, or with nothing (ndx-events)."""
    times_s = numbers_at(walk, f"{here.path}/timestamps")
    values = values_at(walk, f"{here.path}/data") if has(here.item, "data") else [here.name] * times_s.size
    if values is None:
        raise UnfitError("its events are neither texts nor numbers")
    names = texts_of(here.item["data"].attrs.get("labels", ())) if has(here.item, "data") else []
    known: dict[Any, str] = dict(enumerate(names))
    return _events(walk, here, times_s, [str(known.get(value, value)) for value in values], {})


def of_interval_series(walk: Walk, here: Object) -> Intervals:
    """+k where an interval of kind k starts, -k where it stops."""
    times_s, marks = (numbers_at(walk, f"{here.path}/{name}") for name in ("timestamps", "data"))
    if times_s.size != marks.size:
        raise UnfitError(f"{times_s.size} times but {marks.size} marks; they must match")
    started: dict[float, float] = {}
    rows: list[tuple[float, float, str]] = []
    for time_s, mark in zip(times_s.tolist(), marks.tolist(), strict=True):
        if mark > 0:
            started[mark] = time_s
        elif -mark in started:
            rows.append((started.pop(-mark), time_s, f"{-mark:g}"))
    if 2 * len(rows) < marks.size:
        walk.notes.append(f"{here.path}: {marks.size - 2 * len(rows)} marks without their other end left out")
    bounds_s = np.array([row[:2] for row in rows]).reshape(-1, 2)
    return _checked(walk, here, bounds_s, [row[2] for row in rows], {})


def _intervals(walk: Walk, here: Object) -> Intervals:
    starts_s, stops_s = (numbers_at(walk, f"{here.path}/{name}") for name in ("start_time", "stop_time"))
    plain, rest = _rest(walk, here, "start_time", "stop_time")
    labels = _labels(here, plain, rest)
    if not starts_s.size == stops_s.size == len(labels):
        raise UnfitError(f"{starts_s.size} starts and {stops_s.size} stops in {len(labels)} rows; they must match")
    return _checked(walk, here, np.stack([starts_s, stops_s], axis=1), labels, rest)


def _checked(walk: Walk, here: Object, bounds_s: FloatArray, labels: Sequence[str], table: Columns) -> Intervals:
    """The intervals that have a start and, not before it, a stop; others are noted."""
    keep = np.flatnonzero(np.isfinite(bounds_s).all(axis=1) & (bounds_s[:, 1] >= bounds_s[:, 0]))
    if keep.size < len(labels):
        walk.notes.append(f"{here.path}: {len(labels) - keep.size} intervals without a start or a later stop left out")
    return Intervals(
        **common_of(here),
        modality="trials" if here.path == "/intervals/trials" else "intervals",
        bounds_s=bounds_s[keep],
        labels=tuple(labels[i] for i in keep.tolist()),
        table={name: tuple(values[i] for i in keep.tolist()) for name, values in table.items()},
    )


def _units(walk: Walk, here: Object) -> Units:
    spikes_s = numbers_at(walk, f"{here.path}/spike_times")
    plain, rest = _rest(walk, here, "spike_times", "unit_name")
    n_units = len(plain["id"])
    ends = np.array([spikes_s.size] * n_units)
    if has(here.item, "spike_times_index"):
        ends = _ends(walk, f"{here.path}/spike_times_index", spikes_s.size, n_units)
    elif n_units > 1:
        raise UnfitError("does not say which spikes are whose")
    trains = np.split(spikes_s, ends[:-1]) if n_units else []
    sound = tuple(np.sort(train[np.isfinite(train)]) for train in trains)
    changed = sum(not np.array_equal(a, b) for a, b in zip(trains, sound, strict=True))
    if changed:
        walk.notes.append(f"{here.path}: spikes of {changed} units sorted, those without a time left out")
    return Units(
        **common_of(here),
        unit_names=tuple(str(name) for name in plain.get("unit_name", plain["id"])),
        spike_times_s=sound,
        table=rest,
    )


# Columns -------------------------------------------------------------------------------------------------------------


def table_of(walk: Walk, region: h5py.Dataset) -> str:
    """Path of the table that a region refers to, "" where it does not say."""
    reference = region.attrs.get("table")
    target = walk.file.handle[reference] if isinstance(reference, h5py.Reference) and reference else None
    return str(target.name) if target is not None and target.name else ""


def columns_at(walk: Walk, path: str) -> tuple[dict[str, list[Any]], list[str]]:
    """The columns of a table that have one plain value per row, "id" among them, and the names of all others.

    A column that refers to rows of another table gives what those are called.
    """
    group = walk.file.handle[path]
    ids = values_at(walk, f"{path}/id") or []
    plain: dict[str, list[Any]] = {"id": ids}
    others: list[str] = []
    for name in texts_of(group.attrs["colnames"]):
        values = _column(walk, group, f"{path}/{name}")
        if values is None or len(values) != len(ids):
            others.append(name)
        else:
            plain[name] = values
    return plain, others


def _column(walk: Walk, group: h5py.Group, path: str) -> list[Any] | None:
    name = path.rpartition("/")[2]
    if f"{name}_index" in group or not has(group, name):
        return None
    try:
        return _referred(walk, path) if type_of(group[name]) == "DynamicTableRegion" else values_at(walk, path)
    except UnfitError:
        return None


def _referred(walk: Walk, path: str) -> list[Any] | None:
    """What the rows are called that a column refers to, None where they have no name."""
    table = walk.file.handle.get(table_of(walk, walk.file.handle[path]) or path)
    rows = values_at(walk, path)
    named = next((n for n in _LABELS if has(table, n)), None) if isinstance(table, h5py.Group) else None
    names = values_at(walk, f"{table.name}/{named}") if named is not None else None
    if rows is None or names is None or any(not 0 <= row < len(names) for row in rows):
        return None
    return [names[row] for row in rows]
