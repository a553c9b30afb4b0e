"""Numbers in MATLAB, NumPy and text files, which state neither time nor unit: a TOML beside them, of any name, does.

    format = "neuroloom arrays"             what it is recognised by
    clock = "rig"                           the device's clock; the TOML's stem where left out
    start = 2009-04-12T10:00:00             when the first sample, spike or event was; may be left out

    [[units]]
    name = "ca1"
    spike_times = "spikes.mat:spikes.time"  one train per unit; or one for all, with
    # unit_ids = "spikes.mat:clu"           the unit of each spike; or a matrix padded with NaN, with
    # one_unit_per = "row"                  or "column"
    time_unit = "s"                         s, ms, us, ns, or samples with rate_hz
    # rate_hz = 30000
    table = { area = "CA1" }                columns: one value for all, or a list of one per unit
    # columns = { depth_um = "spikes.mat:depth" }    or a variable of one per unit

    [[signals]]
    name = "position"
    modality = "position"
    samples = "position.npz:xy"             (T, C); or (C, T) with
    # channels_first = true
    channels = ["x", "y"]
    unit = "cm"
    times = "position.npz:t"                with time_unit; or rate_hz, and start_s where it is not 0
    time_unit = "s"
    # gain = 0.195                          value in unit = gain * number + offset; one for all, or one per channel

    [[events]]                              or [[intervals]], with bounds (N, 2) instead of times
    name = "licks"
    times = "log.csv:lick_s"
    time_unit = "s"
    label = "lick"                          of all, or labels = "log.csv:what", one each

`"FILE:VARIABLE"` is a variable of a `.mat`, an array of a `.npz`, a column of a `.csv` or `.tsv`; a `.npy` has no
variables. After a dot come fields of a struct, looked for in every cell of a cell array, however deep: `spikes.time`.
A list of them lies side by side as columns. Files are plain names in the TOML's folder.

Only numbers and text are read: no pickled object, no link, no MATLAB class. A `.npy` is read by the slice, and so is a
matrix in a `.mat` of version 7.3 or one that is not packed; anything else is held in memory, and refused if too large.
Times that are NaN (paddings) are left out and times out of order are sorted, for spikes, events and intervals; both are
said in `repairs`. Samples are not: a signal whose times do not increase is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._arrays_declaration import (
    Declaration,
    Entry,
    EventsEntry,
    IntervalsEntry,
    LabelledEntry,
    SignalEntry,
    UnitsEntry,
)
from neuroloom.ingest.formats._companions import beside
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._row_runs import runs, segments
from neuroloom.ingest.formats._sidecars import read_toml, validated
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.formats._variables import as_text, column_of, leaves, rows_of, texts_of
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Samples, Signal, Stream, Units
from neuroloom.ingest.timebase import FloatArray, Timebase, Times

TITLE = "declared arrays (.mat, .npy, .npz, .csv)"
MODALITY = "units"
KEEPS = "units, signals in their own type with gain and unit, events, intervals, further columns, as declared"
TESTED_ON = "real .mat files, one of them of spikes (nelpy); all other layouts on files written by this project only"

Item = TypeVar("Item")


def sniff(path: Path, head: bytes) -> bool:
    """True for a text that says so before its first table."""
    for line in head.removeprefix(b"\xef\xbb\xbf").splitlines():
        if re.match(rb"""\s*format\s*=\s*["']neuroloom arrays["']""", line):
            return True
        if not re.match(rb"\s*(#|$|[\w-]+\s*=)", line):
            return False
    return False


def files(path: Path) -> tuple[Path, ...]:
    """The TOML, and every file that it names. Raises FormatError where one is missing or lies elsewhere."""
    named = [_split(path, reference)[0] for entry in _declared(path).entries for reference in entry.references]
    return tuple(dict.fromkeys((path, *named)))


def read(path: Path) -> list[Recording]:
    """One Recording with the declared streams. Raises FormatError naming the TOML, the stream and what is wrong."""
    declared = _declared(path)
    repairs: list[str] = []
    streams: list[Stream] = []
    for entry in declared.entries:
        try:
            streams.append(_stream(path, entry, repairs))
        except FormatError:
            raise
        except ValueError as error:  # ours below, and what the streams say of their parts
            raise FormatError(f"{path}: {one_line(error)}") from error
    return [
        Recording(
            clock=declared.clock or path.stem,
            format="arrays",
            files=files(path),
            streams=tuple(streams),
            start=declared.start,
            repairs=tuple(repairs),
        )
    ]


def _declared(path: Path) -> Declaration:
    return validated(path, Declaration, read_toml(path))


def _split(path: Path, reference: str) -> tuple[Path, str]:
    """The file in the TOML's own folder, and the variable."""
    name, _, variable = reference.partition(":")
    return beside(path, name, "the named file"), variable


# Streams -----------------------------------------------------------------------------------------------------------


def _stream(path: Path, entry: UnitsEntry | SignalEntry | EventsEntry | IntervalsEntry, repairs: list[str]) -> Stream:
    match entry:
        case UnitsEntry():
            return _units(path, entry, repairs)
        case SignalEntry():
            return _signal(path, entry)
        case EventsEntry():
            return _events(path, entry, repairs)
        case IntervalsEntry():
            return _intervals(path, entry, repairs)


def _units(path: Path, entry: UnitsEntry, repairs: list[str]) -> Units:
    trains = [(name, times[~np.isnan(times)], times.size) for name, times in _trains(path, entry, repairs)]
    n_padded = sum(size - times.size for _, times, size in trains)
    n_back = sum(bool((np.diff(times) < 0).any()) for _, times, _ in trains)
    if n_padded:
        repairs.append(Defect(f"{entry.name}: {n_padded} spike times that are NaN left out"))
    if n_back:
        repairs.append(Defect(f"{entry.name}: spike times not in order in {n_back} of {len(trains)} units: sorted"))
    return Units(
        name=entry.name,
        unit_names=tuple(name for name, _, _ in trains),
        spike_times_s=tuple(np.sort(times) * entry.seconds for _, times, _ in trains),
        table=_table(path, entry, len(trains), "units"),
    )


def _trains(path: Path, entry: UnitsEntry, repairs: list[str]) -> list[tuple[str, FloatArray]]:
    """Name and times, in the unit they are in, of each unit: of its cells, of one array by ids, or of a matrix."""
    found = leaves(*_split(path, entry.spike_times))
    if len(found) > 1 and (entry.unit_ids is not None or entry.one_unit_per is not None):
        raise ValueError(f"{entry.name}: {len(found)} trains in cells; unit_ids and one_unit_per are for one array")
    if len(found) > 1:
        return [("-".join(map(str, place)), _row(entry, times)) for place, times in found]
    times = found[0][1]
    if entry.one_unit_per is not None:
        rows = _numeric(entry, np.atleast_2d(times if entry.one_unit_per == "row" else times.T))
        return [(str(k), row) for k, row in enumerate(rows.astype(np.float64), start=1)]
    train = _row(entry, times)
    if entry.unit_ids is None:
        return [("1", train)]
    return _by_id(entry, train, _one(path, entry.unit_ids).ravel(), repairs)


def _by_id(entry: UnitsEntry, train: FloatArray, ids: NDArray[Any], repairs: list[str]) -> list[tuple[str, FloatArray]]:
    """The times of each unit, in the order they came in."""
    if ids.size != train.size:
        raise ValueError(f"{entry.name}: {train.size} spike times but {ids.size} unit_ids; they must match")
    nobody = np.isnan(ids) if ids.dtype.kind == "f" else np.zeros(ids.size, dtype=np.bool_)
    if np.isfinite(train[nobody]).any():
        raise ValueError(f"{entry.name}: spike times whose unit_id is NaN; a unit for each spike is wanted")
    if nobody.any():
        repairs.append(Defect(f"{entry.name}: {int(nobody.sum())} spikes without time and unit left out"))
    order = np.flatnonzero(~nobody)[np.argsort(ids[~nobody], kind="stable")]
    units, starts = np.unique(ids[order], return_index=True)
    parts = np.split(train[order], starts[1:])
    return [(as_text(unit), part) for unit, part in zip(units, parts, strict=True)]


def _signal(path: Path, entry: SignalEntry) -> Signal:
    samples = _samples(path, entry)
    n_samples, n_channels = samples.shape
    unit, factor = kept_unit(entry.unit)
    return Signal(
        name=entry.name,
        modality=entry.modality,
        segments=segments(samples, _runs(path, entry, n_samples)),
        channel_names=entry.channels or tuple(f"{entry.name}-{k + 1}" for k in range(n_channels)),
        unit=unit,
        gain=_per_channel(entry.gain, n_channels) * factor,
        offset=_per_channel(entry.offset, n_channels) * factor,
        table=_table(path, entry, n_channels, "channels"),
    )


def _per_channel(given: float | Sequence[float], n_channels: int) -> FloatArray:
    """One for all, or one per channel (which Signal checks)."""
    return np.array(given if isinstance(given, Sequence) else [given] * n_channels, dtype=np.float64)


def _samples(path: Path, entry: SignalEntry) -> Samples:
    """Shape (T, C), read by the slice where the file allows it."""
    if isinstance(entry.samples, str):
        found = rows_of(*_split(path, entry.samples))
        array = found if found is not None else _one(path, entry.samples)
    else:
        array = _side_by_side(path, entry, entry.samples)
    if len(array.shape) > 2:
        raise ValueError(f"{entry.name}: samples of shape {array.shape}; (T, C) is wanted")
    samples = array.reshape(-1, 1) if len(array.shape) < 2 else array.T if entry.channels_first else array
    if entry.channels and samples.shape[1] != len(entry.channels):
        hint = (
            f", which channels_first = {str(not entry.channels_first).lower()} turns" if len(array.shape) == 2 else ""
        )
        raise ValueError(
            f"{entry.name}: samples of shape {samples.shape} for {len(entry.channels)} channels; (T, C){hint} is wanted"
        )
    return samples if not isinstance(samples, np.ndarray) else _numeric(entry, samples)


def _runs(path: Path, entry: SignalEntry, n_samples: int) -> Sequence[tuple[slice, Times]]:
    if entry.times is None:
        rate_hz = entry.rate_hz or 0.0
        return [(slice(0, n_samples), Timebase(rate_hz=rate_hz, start_s=entry.start_s, n_samples=n_samples))]
    times_s = _row(entry, _one(path, entry.times)) * entry.seconds
    if times_s.size != n_samples:
        raise ValueError(f"{entry.name}: {times_s.size} times for {n_samples} samples; they must match")
    wrong = ~(np.isfinite(times_s) & (np.diff(times_s, prepend=-np.inf) > 0))
    if wrong.any():
        k = int(wrong.argmax())
        before = f"after {times_s[k - 1]:.9g} s" if k else "at the start"
        raise ValueError(f"{entry.name}: time {k + 1} is {times_s[k]:.9g} s {before}; times that increase are wanted")
    return runs(times_s)


def _events(path: Path, entry: EventsEntry, repairs: list[str]) -> Events:
    times_s = _row(entry, _one(path, entry.times)) * entry.seconds
    kept = _ordered(entry, times_s.reshape(-1, 1), repairs)
    return Events(
        name=entry.name,
        modality=entry.modality,
        times_s=times_s[kept],
        labels=_taken(_labels(path, entry, times_s.size), kept),
        table={key: _taken(column, kept) for key, column in _table(path, entry, times_s.size, "events").items()},
    )


def _intervals(path: Path, entry: IntervalsEntry, repairs: list[str]) -> Intervals:
    if isinstance(entry.bounds, str):
        bounds = _numeric(entry, _one(path, entry.bounds))
    else:
        bounds = _side_by_side(path, entry, entry.bounds)
    if bounds.ndim != 2 or bounds.shape[1] != 2:
        raise ValueError(f"{entry.name}: bounds of shape {bounds.shape}; (N, 2), start and stop, is wanted")
    bounds_s = bounds.astype(np.float64) * entry.seconds
    kept = _ordered(entry, bounds_s, repairs)
    return Intervals(
        name=entry.name,
        modality=entry.modality,
        bounds_s=bounds_s[kept],
        labels=_taken(_labels(path, entry, len(bounds_s)), kept),
        table={key: _taken(column, kept) for key, column in _table(path, entry, len(bounds_s), "intervals").items()},
    )


def _ordered(entry: Entry, times_s: FloatArray, repairs: list[str]) -> NDArray[np.int64]:
    """Rows of (N, K) times to keep, in order of their first: those with a NaN are left out."""
    known = np.flatnonzero(~np.isnan(times_s).any(axis=1))
    if known.size < len(times_s):
        repairs.append(Defect(f"{entry.name}: {len(times_s) - known.size} rows whose time is NaN left out"))
    order = np.argsort(times_s[known, 0], kind="stable")
    if (np.diff(order) < 0).any():
        repairs.append(Defect(f"{entry.name}: times not in order: sorted"))
    return known[order]


def _taken(column: Sequence[Item], rows: NDArray[np.int64]) -> tuple[Item, ...]:
    return tuple(column[row] for row in rows)


def _labels(path: Path, entry: LabelledEntry, n: int) -> tuple[str, ...]:
    if entry.labels is None:
        return (entry.label or "",) * n
    found = texts_of(*_split(path, entry.labels))
    if len(found) != n:
        raise ValueError(f"{entry.name}: {n} times but {len(found)} labels; they must match")
    return found


def _table(path: Path, entry: Entry, n: int, rows: str) -> dict[str, tuple[Any, ...]]:
    """The columns: a value for all, a list, or a variable."""
    found = {key: given if isinstance(given, tuple) else (given,) * n for key, given in entry.table.items()}
    found |= {key: column_of(*_split(path, reference)) for key, reference in entry.columns.items()}
    for key, column in found.items():
        if len(column) != n:
            raise ValueError(
                f"{entry.name}: column {key!r} has {len(column)} values for {n} {rows}; one each is wanted"
            )
    return found


# Arrays ------------------------------------------------------------------------------------------------------------


def _one(path: Path, reference: str) -> NDArray[Any]:
    """The one array that a reference names."""
    found = leaves(*_split(path, reference))
    if len(found) != 1:
        raise FormatError(f"{path}: {reference!r} holds {len(found)} arrays; one is wanted")
    return found[0][1]


def _numeric(entry: Entry, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{entry.name}: an array of {array.dtype}; numbers are wanted")
    return array.view(np.uint8) if array.dtype.kind == "b" else array


def _row(entry: Entry, array: NDArray[Any]) -> FloatArray:
    """Numbers in one row, shape (N,), whichever way MATLAB turned it."""
    if array.size and sum(n > 1 for n in array.shape) > 1:
        also = ", or one_unit_per with a matrix" if isinstance(entry, UnitsEntry) else ""
        raise ValueError(f"{entry.name}: times of shape {array.shape}; one row of them{also} is wanted")
    return _numeric(entry, array).astype(np.float64).ravel()


def _side_by_side(path: Path, entry: Entry, references: Sequence[str]) -> NDArray[Any]:
    """One array per column, shape (N, K)."""
    columns = [_numeric(entry, _one(path, reference)).ravel() for reference in references]
    sizes = [column.size for column in columns]
    if len(set(sizes)) != 1:
        raise ValueError(f"{entry.name}: columns of {sizes} values; as many in each are wanted")
    return np.stack(columns, axis=1)
