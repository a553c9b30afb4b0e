"""Series of an NWB file as Signals: samples that stay in it, gains, channels, electrodes, and times in unbroken runs.

signal_of     the Signal of a series
Rows          the samples of one dataset, or of several side by side
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._nwb_read import SessionFile
from neuroloom.ingest.formats._channels import unique_names
from neuroloom.ingest.formats._nwb_objects import (
    Object,
    UnfitError,
    Walk,
    common_of,
    dataset_at,
    has,
    number_of,
    numbers_at,
    text_of,
    values_at,
)
from neuroloom.ingest.formats._nwb_tables import columns_at, table_of
from neuroloom.ingest.formats._row_runs import measured
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.streams import MODALITIES, Segment, Signal
from neuroloom.ingest.timebase import FloatArray, Timebase, Times

_MAX_CHANNELS = 100_000
_MAX_GAPS = 1_000
_BLOCK = 1 << 20
_WIDEBAND_HZ = 5000.0

CONTAINERS = {
    "LFP": "lfp", "EyeTracking": "gaze", "PupilTracking": "pupil", "Position": "position",
    "CompassDirection": "behaviour", "BehavioralTimeSeries": "behaviour", "BehavioralEvents": "behaviour",
}  # fmt: skip
_ELECTRIC = re.compile(r"(?<![a-z])(ieeg|seeg|ecog|eeg|emg|eog|ecg|lfp)(?![a-z])")
_STATED = re.compile(r"\((\w+)\), channels: (.*)$")  # how a session of ours describes its series
_NAMES = ("channel_name", "label", "electrode_name")
_UNITS = {
    "V": ("v", "volt", "volts"), "A": ("a", "ampere", "amperes"), "deg": ("degree", "degrees"),
    "rad": ("radian", "radians"), "px": ("pixel", "pixels"), "m": ("meter", "meters", "metre", "metres"),
    "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"), "s": ("second", "seconds"),
    "W": ("watt", "watts"), "a.u.": ("", "n.a.", "n/a", "na", "none", "unknown", "no unit", "arbitrary units"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rows:
    """Samples (T, C): the same rows of one or more datasets, side by side, from row `first` on."""

    file: SessionFile
    paths: tuple[str, ...]
    first: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        rows = slice(self.first + start, self.first + max(start, stop), step)
        blocks = [self.file.read(path, rows) for path in self.paths]
        columns = [block[:, None] if block.ndim == 1 else block for block in blocks]
        return columns[0] if len(columns) == 1 else np.hstack(columns)


def signal_of(walk: Walk, here: Object) -> Signal:
    """The samples of a series, still in the file. Raises UnfitError with the reason where they make no Signal."""
    if here.kind == "SpikeEventSeries":
        raise UnfitError("holds waveforms of spikes, not samples that follow one another")
    if "external_file" in here.item:
        raise UnfitError("its pictures lie in other files, which are not opened")
    path, data = dataset_at(walk, f"{here.path}/data")
    shape = _shape(data)
    _note_missing(walk, here, data)
    segments = tuple(
        Segment(samples=Rows(walk.file, (path,), a, (b - a, shape[1]), data.dtype), timebase=times)
        for a, b, times in _runs(walk, here, shape[0])
    )
    is_electric = here.kind == "ElectricalSeries" or has(here.item, "electrodes")
    electrodes = _electrodes(walk, here, shape[1]) if is_electric else None
    common = common_of(here)
    said = str(common["provenance"].get("description", ""))
    unit, factor = kept_unit(_unit(data)) if is_electric else (_unit(data), 1.0)
    gain = _gain(walk, here, data, shape[1]) * factor
    if not np.isfinite(gain).all():
        raise UnfitError("its gains are not finite")
    names = _channel_names(walk, here, shape[1], said) if electrodes is None else electrodes.names
    return Signal(
        **common,
        modality=_modality(here, said, electrodes, max(segments, key=lambda s: s.timebase.n_samples).timebase.rate_hz),
        segments=segments,
        channel_names=_unique(walk, here, names),
        unit=unit,
        gain=gain,
        offset=np.full(shape[1], number_of(data.attrs.get("offset"), 0.0) * factor),
        table=electrodes.table if electrodes is not None else {},
    )


def _shape(data: h5py.Dataset) -> tuple[int, int]:
    """(T, C) of the samples. Raises UnfitError where they are none."""
    if data.dtype.kind not in "biuf" or data.ndim not in (1, 2):
        raise UnfitError(f"values of type {data.dtype} in {data.ndim} dimensions; numbers in 1 or 2 are wanted")
    n_samples, n_channels = data.shape[0], data.shape[1] if data.ndim == 2 else 1
    if n_samples == 0 or not 1 <= n_channels <= _MAX_CHANNELS:
        raise UnfitError(f"{n_samples} samples of {n_channels} channels; some of 1 to {_MAX_CHANNELS} are wanted")
    return n_samples, n_channels


def _note_missing(walk: Walk, here: Object, data: h5py.Dataset) -> None:
    """Note samples that were never written: HDF5 makes them up without a word."""
    if data.chunks:
        n_chunks = math.prod(-(-n // c) for n, c in zip(data.shape, data.chunks, strict=True))
        missing = n_chunks - data.id.get_num_chunks()
        if missing:
            walk.notes.append(f"{here.path}: {missing} of {n_chunks} chunks never written: read as {data.fillvalue}")


def _unit(data: h5py.Dataset) -> str:
    """The unit as it is kept: "V" for "volts"; "a.u." where none is stated; others as they are spelled."""
    spelled = text_of(data.attrs["unit"]).strip() if "unit" in data.attrs else ""
    return next((unit for unit, names in _UNITS.items() if spelled.lower() in names), spelled)


def _gain(walk: Walk, here: Object, data: h5py.Dataset, n_channels: int) -> FloatArray:
    gain = np.full(n_channels, number_of(data.attrs.get("conversion"), 1.0))
    if has(here.item, "channel_conversion"):
        each = numbers_at(walk, f"{here.path}/channel_conversion")
        if each.size != n_channels:
            raise UnfitError(f"{n_channels} channels but {each.size} gains; they must match")
        gain = gain * each
    return gain


def _channel_names(walk: Walk, here: Object, n_channels: int, said: str) -> list[str]:
    """Names of channels that are no electrodes: as a session of ours says, features, coordinates, else numbers."""
    stated = _STATED.search(said)
    if stated is not None and len(listed := stated[2].split(", ")) == n_channels:
        return listed
    features = values_at(walk, f"{here.path}/features") if has(here.item, "features") else None
    if features is not None and len(features) == n_channels:
        return [str(feature) for feature in features]
    if n_channels == 1:
        return [here.name]
    return list("xyz"[:n_channels]) if here.kind == "SpatialSeries" and n_channels <= 3 else _numbered(n_channels)


def _numbered(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def _unique(walk: Walk, here: Object, names: list[str]) -> tuple[str, ...]:
    """Two channels of one name get a number each, and that is noted."""
    unique, repeated = unique_names(names)
    if repeated:
        own = next(new for old, new in zip(names, unique, strict=True) if old == repeated[0])
        walk.notes.append(f"{here.path}: channel name {repeated[0]!r} occurs more than once: numbered from {own!r} on")
    return tuple(unique)


def _modality(here: Object, said: str, electrodes: _Electrodes | None, rate_hz: float) -> str:
    """What a series measures, as far as the file says so: by a session of ours, its folders, its names, its rate."""
    stated = _STATED.search(said)
    if stated is not None and stated[1] in MODALITIES:
        return stated[1]
    if electrodes is None:
        inside = next((CONTAINERS[kind] for kind in here.inside if kind in CONTAINERS), "aux")
        return "position" if inside == "aux" and here.kind == "SpatialSeries" else inside
    by_rate = "wideband" if rate_hz > _WIDEBAND_HZ else "lfp"
    if "LFP" in here.inside:
        return "lfp"
    for text in (here.name, *here.inside, *electrodes.said, said):
        named = set(_ELECTRIC.findall(text.lower()))
        if len(named) == 1:
            kind = str(named.pop())
            return {"seeg": "ieeg", "ecog": "ieeg", "lfp": by_rate}.get(kind, kind)
    return by_rate


# Electrodes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Electrodes:
    """The electrodes of a series. said: names and descriptions of their groups."""

    names: list[str]
    table: dict[str, tuple[Any, ...]]
    said: tuple[str, ...]


def _electrodes(walk: Walk, here: Object, n_channels: int) -> _Electrodes:
    if not has(here.item, "electrodes"):
        return _Electrodes(names=_numbered(n_channels), table={}, said=())
    rows = numbers_at(walk, f"{here.path}/electrodes").astype(np.int64)
    if rows.size != n_channels:
        raise UnfitError(f"samples of {n_channels} channels but {rows.size} electrodes; they must match")
    path = table_of(walk, here.item["electrodes"]) or "/general/extracellular_ephys/electrodes"
    columns, _ = columns_at(walk, path)
    if rows.size and not 0 <= rows.min() <= rows.max() < len(columns["id"]):
        raise UnfitError(f"names electrode {rows.max()} of {len(columns['id'])}; one that is there is wanted")
    chosen = {name: [values[i] for i in rows] for name, values in columns.items()}
    names = next((chosen[name] for name in _NAMES if name in chosen), chosen["id"])
    table: dict[str, tuple[Any, ...]] = {"electrode_id": tuple(chosen["id"])}
    areas = ["" if str(a).lower() in ("unknown", "n/a", "none") else str(a) for a in chosen.get("location", [])]
    groups = [str(name) for name in chosen.get("group_name", [])]
    table |= {name: tuple(texts) for name, texts in (("area", areas), ("group", groups)) if any(texts)}
    return _Electrodes(
        names=[str(name) for name in names],
        table=table | _sites(walk, path, chosen),
        said=tuple(said for name in dict.fromkeys(groups) for said in (name, _group_description(walk, name))),
    )


def _group_description(walk: Walk, name: str) -> str:
    folder = walk.file.handle.get(f"/general/extracellular_ephys/{name}")
    return text_of(folder.attrs["description"]) if folder is not None and "description" in folder.attrs else ""


def _sites(walk: Walk, path: str, chosen: Mapping[str, list[Any]]) -> dict[str, tuple[float, ...]]:
    """Where the electrodes are, on their probe or else in the brain, if the file says that it is in micrometers."""
    for prefix in ("rel_", ""):
        sites: dict[str, tuple[float, ...]] = {}
        for axis in "xyz":
            values = chosen.get(f"{prefix}{axis}", [])
            if all(isinstance(v, float) for v in values) and any(math.isfinite(v) for v in values):
                about = text_of(walk.file.handle[f"{path}/{prefix}{axis}"].attrs.get("description", ""))
                if re.search(r"micron|micromet|\b[uµμ]m\b", about.lower()):
                    sites[f"{axis}_um"] = tuple(values)
        if sites:
            return sites
    return {}


# Times ---------------------------------------------------------------------------------------------------------------


def _runs(walk: Walk, here: Object, n: int) -> list[tuple[int, int, Times]]:
    """The unbroken stretches of a series: first row, past the last, times."""
    if has(here.item, "starting_time"):
        _, start = dataset_at(walk, f"{here.path}/starting_time")
        rate_hz = number_of(start.attrs.get("rate"), 0.0)
        if rate_hz <= 0:
            raise UnfitError(f"states a rate of {rate_hz} Hz; more than 0 is wanted")
        return [(0, n, Timebase(rate_hz=rate_hz, start_s=number_of(start[()], 0.0), n_samples=n))]
    if not has(here.item, "timestamps"):
        raise UnfitError("states neither a rate nor timestamps")
    path, times = dataset_at(walk, f"{here.path}/timestamps")
    if times.shape != (n,) or times.dtype.kind not in "iuf":
        raise UnfitError(f"{n} samples but timestamps of shape {times.shape}; they must match")
    cuts, step_s = _gaps(walk.file, path, n)
    if len(cuts) > _MAX_GAPS:
        walk.notes.append(f"{here.path}: {len(cuts)} gaps, too many for a segment each: its timestamps were kept")
        cuts = []
    return [(a, b, _measured(walk.file, path, a, b, step_s)) for a, b in pairwise([0, *cuts, n])]


def _measured(file: SessionFile, path: str, first: int, last: int, step_s: float) -> Times:
    def times_s(start: int, stop: int) -> FloatArray:
        return _seconds(file, path, first + start, first + stop)

    return measured(times_s, last - first, 1 / step_s, block=_BLOCK)


def _seconds(file: SessionFile, path: str, first: int, last: int) -> FloatArray:
    return np.asarray(file.read(path, slice(first, last)), dtype=np.float64)


def _gaps(file: SessionFile, path: str, n: int) -> tuple[list[int], float]:
    """Rows before which an otherwise even series has a gap, and its usual interval; read block by block.

    Raises UnfitError where timestamps do not increase.
    """
    usual_s = float(np.median(np.diff(_seconds(file, path, 0, min(n, _BLOCK))))) if n > 1 else 1.0
    cuts: list[int] = []
    n_even = 0
    for start in range(0, max(n - 1, 1), _BLOCK):
        times_s = _seconds(file, path, start, min(start + _BLOCK + 1, n))
        steps_s = np.diff(times_s)
        wrong = np.flatnonzero(~np.isfinite(times_s[1:]) | ~(steps_s > 0))
        if wrong.size or not np.isfinite(times_s[0]):
            at = start + int(wrong[0]) + 1 if wrong.size else start
            raise UnfitError(f"its timestamps repeat, jump back or are not finite (at sample {at})")
        cuts += (np.flatnonzero(steps_s > 1.5 * usual_s) + start + 1).tolist()
        n_even += int((np.abs(steps_s - usual_s) <= 0.05 * usual_s).sum())
    # Even means: hardly any interval is neither the usual one nor a gap, and gaps are few.
    is_even = n_even >= 0.99 * (n - 1 - len(cuts)) and len(cuts) <= max(1, n // 4)
    return (cuts if is_even else []), usual_s
