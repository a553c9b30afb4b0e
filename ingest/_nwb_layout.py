"""Which stream goes where in the NWB files of a session, and how its exact description is spelled as JSON.

NWB has no place for everything a Stream knows (a gain and an offset per channel, the exact device clock, why a
segment ends), so each file carries one JSON text, `/scratch/neuroloom`, the *index*. Stock readers do not need it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Stream, Table, Units
from neuroloom.ingest.timebase import ClockMap, CrossCheck, PiecewiseTimebase, Timebase

INDEX_PATH = "/scratch/neuroloom"
INDEX_VERSION = 2  # see `_nwb_older.py` for those before
MAIN_FILE = "session.nwb"

ELECTRIC = ("eeg", "ieeg", "wideband", "lfp", "emg", "eog", "ecg")
VOLTS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "µV": 1e-6, "μV": 1e-6, "nV": 1e-9}
SPATIAL = {"gaze": "EyeTracking", "position": "Position"}
SPATIAL_COLUMNS = 3  # a SpatialSeries has three columns at most
NONFINITE = "$float"


@dataclass(frozen=True, kw_only=True)
class Series:
    """One NWB time series: some columns of one segment of a Signal."""

    path: str
    signal: Signal
    segment: Segment
    columns: tuple[int, ...]

    @property
    def is_electrical(self) -> bool:
        """True where NWB has it as an ElectricalSeries: an electric modality in some kind of volts."""
        return is_electrical(self.signal)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, C) of its dataset."""
        return (self.segment.timebase.n_samples, len(self.columns))

    @property
    def is_whole(self) -> bool:
        """True where it has all the Signal's channels."""
        return len(self.columns) == len(self.signal.channel_names)


def is_electrical(signal: Signal) -> bool:
    """True for an electric modality in some kind of volts."""
    return signal.modality in ELECTRIC and signal.unit in VOLTS


def safe_names(names: Sequence[str]) -> list[str]:
    """Names that HDF5, NWB and every file system take, in order, no two alike even where case does not count."""
    taken: set[str] = {"neuroloom"}
    safe = []
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("._-")[:80] or "stream"
        unique, n = base, 2
        while unique.lower() in taken:
            unique, n = f"{base}_{n}", n + 1
        taken.add(unique.lower())
        safe.append(unique)
    return safe


def series_of(signal: Signal, safe_name: str) -> list[Series]:
    """The NWB series that hold a Signal: one per segment and per group of channels that can share a series."""
    groups = _column_groups(signal)
    found = []
    for i_segment, segment in enumerate(signal.segments):
        for i_group, columns in enumerate(groups):
            name = safe_name
            name += f"_segment{i_segment:03d}" if len(signal.segments) > 1 else ""
            name += f"_part{i_group:02d}" if len(groups) > 1 else ""
            path = f"{_home(signal)}/{name}"
            found.append(Series(path=path, signal=signal, segment=segment, columns=columns))
    return found


def _home(signal: Signal) -> str:
    if signal.modality in SPATIAL:
        return f"/processing/behavior/{SPATIAL[signal.modality]}"
    if signal.modality == "pupil":
        return "/processing/behavior/PupilTracking"
    if signal.modality == "behaviour":
        return "/processing/behavior/BehavioralTimeSeries"
    if "made_by" in signal.provenance:
        return (
            "/processing/ecephys/LFP" if signal.modality == "lfp" and is_electrical(signal) else "/processing/ecephys"
        )
    return "/acquisition"


def _column_groups(signal: Signal) -> list[tuple[int, ...]]:
    """Channels that one series can hold: an ElectricalSeries has one offset, any other one gain and one offset."""
    groups: dict[Any, list[int]] = {}
    for i, name in enumerate(signal.channel_names):
        key: tuple[Any, ...] = (float(signal.offset[i]),)
        if not is_electrical(signal):
            key += (float(signal.gain[i]),)
        if signal.modality in SPATIAL and len(signal.channel_names) > SPATIAL_COLUMNS:
            key += (re.sub(r"[_ .-]?[xyzXYZ]$|^[xyzXYZ][_ .-]?", "", name),)
        groups.setdefault(key, []).append(i)
    width = SPATIAL_COLUMNS if signal.modality in SPATIAL else max(len(signal.channel_names), 1)
    return [tuple(group[i : i + width]) for group in groups.values() for i in range(0, len(group), width)]


def signal_entry(signal: Signal, series: Sequence[Series]) -> dict[str, Any]:
    """What the index says of a Signal."""
    segments = []
    for segment in signal.segments:
        mine = [s for s in series if s.segment is segment]
        base = segment.timebase
        entry: dict[str, Any] = {"n_samples": base.n_samples, "dtype": segment.samples.dtype.newbyteorder("<").str}
        if isinstance(base, Timebase):
            entry |= {"start_s": base.start_s, "rate_hz": base.rate_hz}
        else:
            entry |= {"timestamps": f"{mine[0].path}/timestamps" if mine else None}
        if isinstance(base, PiecewiseTimebase):
            entry |= {"knots": base.knots}
        entry["parts"] = [
            {"path": f"{s.path}/data"} | ({} if s.is_whole else {"columns": list(s.columns)}) for s in mine
        ]
        segments.append(entry)
    return _common(signal, "signal") | {
        "unit": signal.unit,
        "channel_names": list(signal.channel_names),
        "gain": [float(g) for g in signal.gain],
        "offset": [float(o) for o in signal.offset],
        "table": {key: list(column) for key, column in signal.table.items()},
        "segments": segments,
    }


def table_entry(stream: Events | Intervals | Units, path: str) -> dict[str, Any]:
    """What the index says of Events, Intervals or Units, whose rows lie at `path`."""
    kind, labels = {
        Events: ("events", getattr(stream, "labels", ())),
        Intervals: ("intervals", getattr(stream, "labels", ())),
        Units: ("units", getattr(stream, "unit_names", ())),
    }[type(stream)]
    columns = dict(zip(column_names(stream.table), stream.table, strict=True))
    return _common(stream, kind) | {
        "path": path,
        "n_rows": len(labels),
        "labels": kind_of(labels) if labels else "str",
        "columns": [
            {"name": name, "stored_as": stored, "kind": kind_of(stream.table[name])} for stored, name in columns.items()
        ],
    }


def column_names(table: Table) -> list[str]:
    """Under which names the columns of a table are stored."""
    reserved = ("id", "label", "start_time", "stop_time", "spike_times", "event_times", "unit_name", "timeseries")
    return safe_names([f"{name}_column" if name.lower() in reserved else name for name in table])


def kind_of(values: Sequence[Any]) -> str:
    """How a column is stored: "bool", "int", "float", "str", or "json" for anything mixed."""
    if all(isinstance(v, bool | np.bool_) for v in values):
        return "bool"
    if all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values):
        return "int" if all(-(2**63) <= v < 2**63 for v in values) else "json"
    if all(isinstance(v, float | np.floating) for v in values):
        return "float"
    return "str" if all(isinstance(v, str) and _is_plain(v) for v in values) else "json"


def _is_plain(text: str) -> bool:
    """False for what HDF5 text cannot hold: a NUL, or half of a surrogate pair from a badly decoded file."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _common(stream: Stream, kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": stream.name,
        "modality": stream.modality,
        "device": stream.device,
        "provenance": stream.provenance,
    }


def clock_map_of(entry: Mapping[str, Any]) -> ClockMap:
    """A ClockMap from its entry in the index."""
    pairs = {name: tuple((a, b) for a, b in entry.get(name, ())) for name in ("evidence", "knots", "tried")}
    first_s, last_s = entry["span_s"]
    texts = {"notes": tuple(entry.get("notes", ())), "checks": tuple(CrossCheck(**c) for c in entry.get("checks", ()))}
    return ClockMap(**{**entry, **pairs, **texts, "span_s": (first_s, last_s)})


def clock_map_entry(clock: ClockMap) -> dict[str, Any]:
    """A ClockMap as the index and the manifest spell it."""
    return asdict(clock)


def encoded(value: Any) -> Any:
    """As JSON can hold it: paths and dates as text, arrays and tuples as lists, NaN and Inf as {"$float": "nan"}.

    Raises ValueError for an object of any other type.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else {NONFINITE: str(float(value))}
    if isinstance(value, np.generic | np.ndarray):
        return encoded(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): encoded(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [encoded(item) for item in value]
    if isinstance(value, set | frozenset):
        return [encoded(item) for item in sorted(value)]
    if isinstance(value, Path | datetime):
        return value.isoformat() if isinstance(value, datetime) else str(value)
    raise ValueError(f"{value!r} of type {type(value).__name__} cannot be stored; text, numbers, lists and dicts can")


def decoded(value: Any) -> Any:
    """The inverse of `encoded`, for what JSON can tell apart: tuples come back as lists."""
    if isinstance(value, dict):
        if value.keys() == {NONFINITE}:
            return float(value[NONFINITE])
        return {key: decoded(item) for key, item in value.items()}
    return [decoded(item) for item in value] if isinstance(value, list) else value
