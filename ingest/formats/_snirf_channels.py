"""Channels of a SNIRF file: which light, from where to where, and what kind of number.

Probe             wavelengths in nm, places and labels of sources and detectors
channels_of       a Channel per column, called as MNE calls them: "S1_D2 760", "S1_D2 hbo"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel
from neuroloom.ingest.formats._hdf5 import check_stored, is_own, own
from neuroloom.ingest.formats._units import kept_unit

MAX_BYTES = 1 << 24
MAX_CHANNELS = 100_000
_MM = {"m": 1e3, "dm": 1e2, "cm": 10.0, "mm": 1.0, "um": 1e-3}
_PROCESSED = 99999
_TYPES = {
    1: "cw amplitude", 51: "cw fluorescence", 101: "fd amplitude", 102: "fd phase", 151: "fd fluorescence amplitude",
    152: "fd fluorescence phase", 201: "td gated", 251: "td gated fluorescence", 301: "td moments",
    351: "td moments fluorescence", 401: "dcs g2", 410: "dcs blood flow",
}  # fmt: skip
_HAS_INDEX = (201, 251, 301, 351, 401, 410)
_LISTED = ("sourceIndex", "detectorIndex", "wavelengthIndex", "dataType", "dataTypeIndex")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """places_mm: (N, 2 or 3) per "source" and "detector", empty where unknown. stated: what is said of them."""

    wavelengths_nm: NDArray[np.float64]
    places_mm: dict[str, NDArray[np.float64]]
    labels: dict[str, list[str]]
    stated: dict[str, Any] = field(default_factory=dict)

    def about(self, what: str, index: int) -> dict[str, Any]:
        """Label and place of a source or detector, counted from 1."""
        labels, places = self.labels[what], self.places_mm[what]
        found: dict[str, Any] = {what: labels[index - 1] if 1 <= index <= len(labels) else f"{what[0].upper()}{index}"}
        if 1 <= index <= len(places):
            found |= {f"{what}_{axis}_mm": float(v) for axis, v in zip("xyz", places[index - 1], strict=False)}
        return found


def probe_of(path: Path, group: h5py.Group, length_unit: str, repairs: list[str]) -> Probe:
    """What the file says of its optodes; places in three dimensions where there are any."""
    factor = _MM.get(length_unit)
    places, labels = {}, {}
    for what in ("source", "detector"):
        key = next((f"{what}Pos{d}" for d in ("3D", "2D", "") if is_own(group, f"{what}Pos{d}")), None)
        found = np.atleast_2d(_array(path, group, key)) if key else np.zeros((0, 3))
        places[what] = found.astype(np.float64) * factor if factor is not None else np.zeros((0, 3))
        labels[what] = _texts(path, group, f"{what}Labels")
        if key and factor is None:
            repairs.append(f"{key}: LengthUnit is {length_unit!r}, so places are left out")
    return Probe(
        wavelengths_nm=_array(path, group, "wavelengths").astype(np.float64).ravel(),
        places_mm=places,
        labels=labels,
        stated={"positions": "sources and detectors as stated, in mm"} if len(places["source"]) else {},
    )


def channels_of(path: Path, group: h5py.Group, probe: Probe, n_channels: int, repairs: list[str]) -> list[Channel]:
    """One per column of the block. Raises FormatError where it does not list as many."""
    rows = _rows(path, group, n_channels)
    offsets = _array(path, group, "dataOffset").ravel() if is_own(group, "dataOffset") else np.zeros(n_channels)
    if len(offsets) != n_channels:
        raise FormatError(f"{path}: {group.name}: {len(offsets)} offsets for {n_channels} channels; they must match")
    return [_channel(path, row, probe, float(offset)) for row, offset in zip(rows, offsets, strict=True)]


def _rows(path: Path, group: h5py.Group, n_channels: int) -> list[dict[str, Any]]:
    if n_channels > MAX_CHANNELS:
        raise FormatError(f"{path}: {group.name} has {n_channels} channels; up to {MAX_CHANNELS} are wanted")
    if is_own(group, "measurementLists"):  # since 1.1: arrays of one per channel
        lists = own(path, group, "measurementLists")
        columns = {key: _array(path, lists, key).ravel() for key in lists if is_own(lists, key)}
        if any(len(column) != n_channels for key, column in columns.items() if key in _LISTED):
            raise FormatError(f"{path}: {lists.name} does not list {n_channels} channels; one row each is wanted")
        return [{key: column[k] for key, column in columns.items() if k < len(column)} for k in range(n_channels)]
    rows = []
    for k in range(1, n_channels + 1):
        listed = own(path, group, f"measurementList{k}")
        rows.append({key: _array(path, listed, key).ravel()[:1] for key in listed if is_own(listed, key)})
    return [{key: value[0] for key, value in row.items() if len(value)} for row in rows]


def _channel(path: Path, row: dict[str, Any], probe: Probe, offset: float) -> Channel:
    source, detector, kind = (int(row.get(key, -1)) for key in ("sourceIndex", "detectorIndex", "dataType"))
    if source < 1 or detector < 1:
        raise FormatError(f"{path}: a channel from source {source} to detector {detector}; both count from 1")
    wavelength = int(row.get("wavelengthIndex", 0))
    nm = float(probe.wavelengths_nm[wavelength - 1]) if 1 <= wavelength <= len(probe.wavelengths_nm) else float("nan")
    label = _plain(row.get("dataTypeLabel", ""))
    is_concentration = kind == _PROCESSED and label.lower() not in ("dod", "")
    suffix = f" {label.lower()}" if is_concentration else f" {nm:.0f}" if nm == nm else ""
    if kind in _HAS_INDEX:
        suffix += f" {int(row.get('dataTypeIndex', 0))}"
    unit, factor = kept_unit(_plain(row.get("dataUnit", "")))
    about = {**probe.about("source", source), **probe.about("detector", detector)}
    about |= {} if is_concentration else {"wavelength_nm": nm}
    about["data_type"] = label if kind == _PROCESSED and label else _TYPES.get(kind, f"type {kind}")
    name = f"S{source}_D{detector}{suffix}"
    return Channel(name=name, kind="fnirs", unit=unit, gain=factor, offset=offset * factor, about=about)


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace").strip("\0 ") if isinstance(value, bytes) else str(value)


def _array(path: Path, group: h5py.Group, name: str) -> NDArray[Any]:
    item = own(path, group, name)
    check_stored(path, item.name, item, most=MAX_BYTES)
    if item.size * item.dtype.itemsize > MAX_BYTES:
        raise FormatError(f"{path}: {item.name} has {item.size} values; fewer are wanted")
    return np.asarray(item[()])


def _texts(path: Path, group: h5py.Group, name: str) -> list[str]:
    return [_plain(value) for value in _array(path, group, name).ravel()] if is_own(group, name) else []
