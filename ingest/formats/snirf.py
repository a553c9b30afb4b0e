"""SNIRF 1.x: light that went through the head, in HDF5. `/nirs` or `/nirs1`, `/nirs2` ...: a Recording each.

    data1, data2 ...      samples (T, C) and their times, or (start, interval); a Signal per unit, read when sliced
    measurementList1 ...  per channel source, detector, wavelength and what kind of number it is; or measurementLists
    probe                 wavelengths, and places of sources and detectors
    stim1, stim2 ...      onset, duration, amplitude: events, labelled by the name of the stimulus
    aux1, aux2 ...        accelerometers and the like, at a rate of their own

Design rationale: MNE takes the mean of all intervals for the rate and leaves out what is in `aux`, later data blocks
and later recordings; here times that are not even are kept. Links, and values in other files, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._dates import iso_date, later
from neuroloom.ingest.formats._hdf5 import SIGNATURE, StoredRows, check_stored, is_own, own
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._row_runs import runs, segments
from neuroloom.ingest.formats._snirf_channels import Probe, channels_of, probe_of
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import FloatArray, Timebase

TITLE = "SNIRF"
MODALITY = "fnirs"
KEEPS = "samples as stored, wavelengths, places of sources and detectors, stimuli, aux, the subject; not landmarks"
TESTED_ON = (
    "real files of MNE-Python's testing data (NIRx and MNE-NIRS, continuous wave); several recordings, data blocks and "
    "processed data on files written by this project only"
)

MAX_CHUNK_BYTES = 1 << 26
MAX_SMALL_BYTES = 1 << 24  # of times, stimuli, places
MAX_TIMES_BYTES = 1 << 28
_PERSON = {"subjectname", "patientname", "name", "dateofbirth", "birthdate", "sex", "gender", "subjectid"}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "unknown": 1.0}
_READ_ERRORS = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


def sniff(path: Path, head: bytes) -> bool:
    """True for HDF5 with a format version and a group `nirs` or `nirs1`."""
    if head[:8] != SIGNATURE:
        return False
    try:
        with h5py.File(path, "r") as file:
            return is_own(file, "formatVersion") and bool(_numbered(file, "nirs"))
    except _READ_ERRORS:
        return False


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """A Recording per `nirs`: a Signal per data block and unit, one per group of aux with the same times, stimuli."""
    with _refusals(path, "it"), h5py.File(path, "r") as file:
        groups = _numbered(file, "nirs")
        if not groups:
            raise FormatError(f"{path}: no group nirs; a SNIRF file has one")
        return [
            _recording(path, own(path, file, name), path.stem if len(groups) == 1 else f"{path.stem} {name}")
            for name in groups
        ]


@contextmanager
def _refusals(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except FormatError:
        raise
    except _READ_ERRORS as error:
        raise FormatError(f"{path}: {what} cannot be read ({one_line(error)}); whole SNIRF is wanted") from error


def _recording(path: Path, nirs: h5py.Group, clock: str) -> Recording:
    repairs: list[str] = []
    tags = own(path, nirs, "metaDataTags") if is_own(nirs, "metaDataTags") else {}
    unit = _text(path, tags, "TimeUnit") or "s"
    if unit not in _SECONDS:
        raise FormatError(f"{path}: TimeUnit is {unit!r}; one of {', '.join(_SECONDS)} is wanted")
    probe = probe_of(path, own(path, nirs, "probe"), _text(path, tags, "LengthUnit"), repairs)
    streams: list[Stream] = []
    for name in _numbered(nirs, "data"):
        streams += _block(path, own(path, nirs, name), probe, _SECONDS[unit], repairs)
    streams += _aux(path, nirs, _SECONDS[unit], repairs)
    streams = _apart(streams)
    signals = [stream for stream in streams if isinstance(stream, Signal)]
    if not signals:
        raise FormatError(f"{path}: {clock} holds no samples; a block of data is wanted")
    streams += _stimuli(path, nirs, _SECONDS[unit], repairs)
    return Recording(
        clock=clock,
        format="snirf",
        files=(path,),
        streams=tuple(streams),
        start=later(_date(path, tags), min(signal.start_s for signal in signals)),
        repairs=tuple(repairs),
        subject=_subject(path, tags),
    )


def _numbered(group: Any, name: str) -> list[str]:
    """`name`, `name1`, `name2` ... of a group, in order of their numbers."""
    found = [(int(m[1] or 0), key) for key in group if (m := re.fullmatch(rf"{name}(\d{{0,6}})", key))]
    return [key for _, key in sorted(found)]


def _small(path: Path, group: Any, name: str, *, most: int = MAX_SMALL_BYTES) -> NDArray[Any]:
    """Numbers in one row or several. Raises FormatError where they lie elsewhere or are too many."""
    item = own(path, group, name)
    check_stored(path, item.name, item, most=MAX_CHUNK_BYTES)
    if item.size * item.dtype.itemsize > most:
        raise FormatError(f"{path}: {item.name} has {item.size} numbers; fewer are wanted")
    return np.asarray(item[()])


def _text(path: Path, group: Any, name: str) -> str:
    """Text, of one letter array or one in a list; "" where there is none."""
    if not is_own(group, name):
        return ""
    found = _small(path, group, name).ravel()
    value = found[0] if found.size else ""
    return value.decode("utf-8", "replace").strip("\0 ") if isinstance(value, bytes) else str(value)


# Samples ------------------------------------------------------------------------------------------------------------


def _dataset(path: Path, group: h5py.Group) -> h5py.Dataset:
    item = own(path, group, "dataTimeSeries")
    check_stored(path, item.name, item, most=MAX_CHUNK_BYTES)
    if item.dtype.kind not in "iuf" or item.ndim not in (1, 2) or not item.size:
        raise FormatError(f"{path}: {item.name} has {item.shape} of {item.dtype}; numbers of (T, C) are wanted")
    return item


def _times(path: Path, group: h5py.Group, n: int, seconds: float) -> FloatArray | Timebase:
    """A time per sample, or the rate where only the first and the interval are stated."""
    times = _small(path, group, "time", most=MAX_TIMES_BYTES).astype(np.float64).ravel() * seconds
    if times.size == 2 and n != 2:
        if not (np.isfinite(times).all() and times[1] > 0):
            raise FormatError(f"{path}: {group.name}/time: an interval of {times[1]} s; more than 0 is wanted")
        return Timebase(rate_hz=1 / float(times[1]), start_s=float(times[0]), n_samples=n)
    if times.size != n:
        raise FormatError(f"{path}: {group.name}: {times.size} times for {n} samples; they must match")
    return times


def _segments(samples: StoredRows, times: FloatArray | Timebase) -> tuple[Segment, ...]:
    if isinstance(times, Timebase):
        return (Segment(samples=samples, timebase=times),)
    return segments(samples, runs(times))


def _block(path: Path, group: h5py.Group, probe: Probe, seconds: float, repairs: list[str]) -> list[Signal]:
    item = _dataset(path, group)
    shape = (int(item.shape[0]), int(item.shape[1]) if item.ndim == 2 else 1)
    rows = StoredRows(path=path, names=(item.name,), shape=shape, dtype=item.dtype)
    found = _segments(rows, _times(path, group, shape[0], seconds))
    channels = channels_of(path, group, probe, shape[1], repairs)
    return signals_of(found, channels, repairs, stated=probe.stated)


def _aux(path: Path, nirs: h5py.Group, seconds: float, repairs: list[str]) -> list[Signal]:
    """Those with the same times and type of number together."""
    groups: list[tuple[FloatArray | Timebase, np.dtype[Any], list[tuple[str, Channel]]]] = []
    for key in _numbered(nirs, "aux"):
        group = own(path, nirs, key)
        item = _dataset(path, group)
        if item.ndim == 2 and item.shape[1] != 1:
            repairs.append(f"{key}: {item.shape[1]} columns; left out, one is wanted")
            continue
        times = _times(path, group, int(item.shape[0]), seconds)
        unit, gain = kept_unit(_text(path, group, "dataUnit"))
        channel = Channel(name=_text(path, group, "name") or key, kind="misc", unit=unit, gain=gain)
        for known, dtype, members in groups:
            if dtype == item.dtype and _equal(known, times):
                members.append((item.name, channel))
                break
        else:
            groups.append((times, item.dtype, [(item.name, channel)]))
    signals: list[Signal] = []
    for times, dtype, members in groups:
        n = times.n_samples if isinstance(times, Timebase) else times.size
        names = tuple(name for name, _ in members)
        rows = StoredRows(path=path, names=names, shape=(n, len(members)), dtype=dtype)
        signals += signals_of(_segments(rows, times), [channel for _, channel in members], repairs)
    return signals


def _equal(one: FloatArray | Timebase, other: FloatArray | Timebase) -> bool:
    if isinstance(one, Timebase) or isinstance(other, Timebase):
        return one is other or (isinstance(one, Timebase) and isinstance(other, Timebase) and one == other)
    return np.array_equal(one, other)


def _apart(streams: Sequence[Stream]) -> list[Stream]:
    """Names of their own, the second of a name numbered."""
    counts: dict[str, int] = {}
    found = []
    for stream in streams:
        counts[stream.name] = counts.get(stream.name, 0) + 1
        n = counts[stream.name]
        found.append(replace(stream, name=f"{stream.name} {n}") if n > 1 else stream)
    return found


# Stimuli ------------------------------------------------------------------------------------------------------------


def _stimuli(path: Path, nirs: h5py.Group, seconds: float, repairs: list[str]) -> list[Events]:
    """All stimuli in order of time, with their durations and amplitudes."""
    rows: list[tuple[float, float, float, str]] = []
    for key in _numbered(nirs, "stim"):
        group = own(path, nirs, key)
        if "data" not in group:
            continue
        name = _text(path, group, "name") or key
        data = np.atleast_2d(_small(path, group, "data").astype(np.float64))
        for row in data if data.shape[-1] >= 2 else []:
            value = float(row[2]) if row.size > 2 else float("nan")
            rows.append((float(row[0]) * seconds, float(row[1]) * seconds, value, name))
    known = sorted((row for row in rows if np.isfinite(row[0])), key=lambda row: row[0])
    if len(known) < len(rows):
        repairs.append(Defect(f"{len(rows) - len(known)} stimuli without an onset left out"))
    if not known:
        return []
    onsets_s, lasts_s, values, labels = zip(*known, strict=True)
    table = {"duration_s": lasts_s, "amplitude": values}
    return [Events(name="stimuli", modality="sync", times_s=np.array(onsets_s), labels=labels, table=table)]


def _subject(path: Path, tags: Any) -> dict[str, str]:
    """SubjectID is the one tag of these that the format asks for; the others are those that programs write."""
    said = {key.lower(): _text(path, tags, key) for key in tags if key.lower() in _PERSON}
    name = said.get("subjectname") or said.get("patientname") or said.get("name", "")
    born = said.get("dateofbirth") or said.get("birthdate", "")
    sex = said.get("sex") or said.get("gender", "")
    return subject_of(name=name, born=born, sex=sex, code=said.get("subjectid", ""))


def _date(path: Path, tags: Any) -> datetime | None:
    return iso_date(f"{_text(path, tags, 'MeasurementDate')}T{_text(path, tags, 'MeasurementTime')}")
