"""NWB 2 in HDF5: whatever lies in it that has a time, each under its own name, read with h5py and never by a link.

    TimeSeries of (T,) or (T, C) numbers   Signal: gain and offset as `conversion`, `channel_conversion`, `offset` state
      ElectricalSeries                     in uV; "wideband" above 5 kHz, else "lfp"; "eeg", "ieeg" where a name says so
      in EyeTracking, PupilTracking        "gaze", "pupil"
      SpatialSeries, Position              "position"; CompassDirection, BehavioralTimeSeries: "behaviour"
      any other                            "aux", in its own unit
    Units                                  Units
    TimeIntervals, IntervalSeries          Intervals; `trials` are "trials"
    AnnotationSeries, tables of events     Events; those of ndx-events too

    rate and starting_time                 as they are
    timestamps                             a rate where no sample moves by more than 1 µs, else the timestamps; an
                                           interval half as long again as the usual one, in an otherwise even series, is
                                           a gap: the Signal goes on in a new segment

A stream has the name of its object, with its folders where that is not unique or it is a stimulus. What does not fit is
left out and named in `repairs` with the reason: pictures, waveforms, columns that are no plain values. Series called
`X_segment000`, `X_part00` are one Signal X that a session of ours was stored as. `start` is when the first sample was
taken: `timestamps_reference_time`, or else `session_start_time`, and the time of that sample.

Design rationale: pynwb, which the tests compare with, follows links to other files and needs the definition of every
extension. Here a file with any link, storage or virtual dataset that leads out of it is refused as a whole, before
anything is read through it, and a series of a type not known is read all the same: data and times make it one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._nwb_layout import INDEX_PATH
from neuroloom.ingest._nwb_read import SessionFile, SessionFileError
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import MODALITIES, Events, Intervals, Segment, Signal, Stream, Units
from neuroloom.ingest.timebase import MAX_SHIFT_S, FloatArray, Timebase, Times, Timestamps

TITLE = "NWB 2"
MODALITY = "wideband"
TESTED_ON = (
    "real files of intracellular recordings, and example files of NWBShowcase, pynwb and NeuroConv; extracellular "
    "series, units, gaze and events on files that pynwb and this project wrote"
)

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# What h5py raises on a file that lies.
_READ_ERRORS = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
)  # fmt: skip
_UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)  # what a session without a date is stored with
_MAX_DEPTH = 32
_MAX_CHANNELS = 100_000
_MAX_CHUNK_BYTES = 1 << 28
_MAX_RATIO = 10_000  # bytes of samples per byte of the file: no filter packs real ones so well
_MAX_GAPS = 1_000
_BLOCK = 1 << 20
_WIDEBAND_HZ = 5000.0
_SKIPPED = ("/specifications", "/general", INDEX_PATH)

_CONTAINERS = {
    "LFP": "lfp", "EyeTracking": "gaze", "PupilTracking": "pupil", "Position": "position",
    "CompassDirection": "behaviour", "BehavioralTimeSeries": "behaviour", "BehavioralEvents": "behaviour",
}  # fmt: skip
_ELECTRIC = re.compile(r"(?<![a-z])(ieeg|seeg|ecog|eeg|emg|eog|ecg|lfp)(?![a-z])")
_STATED = re.compile(r"\((\w+)\), channels: (.*)$")  # how a session of ours describes its series
_PART = re.compile(r"(.+?)(?:_segment\d{3})?(?:_part\d{2})?", re.S)
_PULSES = re.compile(r"(?<![a-z])(ttl|sync)(?![a-z])")
_SUBJECT = ("subject_id", "species", "sex", "age", "strain", "genotype")
_NAMES = ("channel_name", "label", "electrode_name")
_LABELS = ("label", "event_type", "ttl_type", "event_name", "name", "value")
_UNITS = {
    "V": ("v", "volt", "volts"), "A": ("a", "ampere", "amperes"), "deg": ("degree", "degrees"),
    "rad": ("radian", "radians"), "px": ("pixel", "pixels"), "m": ("meter", "meters", "metre", "metres"),
    "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"), "s": ("second", "seconds"),
    "W": ("watt", "watts"), "a.u.": ("", "n.a.", "n/a", "na", "none", "unknown", "no unit", "arbitrary units"),
}  # fmt: skip


Columns = Mapping[str, Sequence[Any]]


class _UnfitError(ValueError):
    """Why something in the file cannot be a stream."""


@dataclass(frozen=True, kw_only=True)
class _Object:
    """A group or dataset: path, type as NWB has it ("" for none), types and names of what it lies in, h5py's object."""

    path: str
    kind: str = ""
    inside: tuple[str, ...] = ()
    item: Any = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


@dataclass(kw_only=True)
class _Walk:
    """A file while it is read. left_out: for each reason the paths of what was left out."""

    file: SessionFile
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, reason: str, path: str) -> None:
        """Remember why something is left out."""
        self.left_out.setdefault(reason, []).append(path)

    def repairs(self) -> tuple[str, ...]:
        """One line per note, and per reason with some of the paths."""
        lines = []
        for reason, paths in self.left_out.items():
            more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
            lines.append(f"left out {', '.join(repr(path)[1:-1] for path in paths[:5])}{more}: {reason}")
        return (*self.notes, *lines)


def sniff(path: Path, head: bytes) -> bool:
    """True for HDF5 whose root states an `nwb_version`; for one that cannot be opened (yet), if it is called `.nwb`."""
    if head[:8] != _SIGNATURE:
        return False
    try:
        with h5py.File(path, "r") as file:
            return _has_version(file)
    except OSError:
        return path.suffix.lower() == ".nwb"
    except _READ_ERRORS:
        return False


def files(path: Path) -> tuple[Path, ...]:
    """The file itself: nothing beside it is ever opened."""
    return (path,)


def incomplete(path: Path) -> str:
    """Why HDF5 cannot open the file, which states its own length; "" where it can."""
    try:
        _opened(path).close()
    except FormatError as error:
        return str(error)
    return ""


def read(path: Path) -> list[Recording]:
    """One Recording of everything in the file that has a time; samples stay in it until asked for."""
    _opened(path).close()
    file = SessionFile(path)
    try:
        handle = file.handle
        objects = list(_objects(path, handle))
        _check_version(path, handle)
        walk, subject = _Walk(file=file), _subject(handle)
        with np.errstate(all="ignore"):  # numbers that overflow are looked at
            streams = _named(_streams(walk, objects))
        start = _start(handle, streams)
    except FormatError:
        raise
    except _READ_ERRORS as error:
        raise FormatError(
            f"{path}: cannot be read as NWB ({_one_line(error)}); a file that is sound is wanted"
        ) from error
    finally:
        file.close()
    if not streams:
        why = "; ".join(walk.repairs()) or "it is empty"
        raise FormatError(f"{path}: no series, events, intervals or units in it ({why}); at least one is wanted")
    return [
        Recording(
            clock=path.stem,
            format="nwb",
            files=(path,),
            streams=tuple(streams),
            start=start,
            repairs=walk.repairs(),
            subject=subject,
        )
    ]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise FormatError(
            f"{path}: cannot be opened as HDF5 ({_one_line(error)}): still being copied, being written, or cut off"
        ) from error


def _has_version(handle: h5py.File) -> bool:
    """An attribute since NWB 2, a dataset in NWB 1."""
    return "nwb_version" in handle.attrs or isinstance(handle.get("nwb_version", getlink=True), h5py.HardLink)


def _check_version(path: Path, handle: h5py.File) -> None:
    """Raise FormatError unless the file says it is NWB 2."""
    if "nwb_version" in handle.attrs:
        version = _text(handle.attrs["nwb_version"])
    else:
        version = _text(handle["nwb_version"][()]) if _has_version(handle) else "not stated"
    number = version.removeprefix("NWB-")[:40]
    if number.startswith("1"):
        raise FormatError(f"{path}: NWB version {number!r}, which is laid out in another way; version 2 is wanted")
    if not number.startswith("2"):
        raise FormatError(f"{path}: NWB version {number!r}; version 2 is wanted")


def _text(value: Any) -> str:
    """Text of an attribute or a scalar, whichever way HDF5 holds it."""
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _kind(item: Any) -> str:
    return _text(item.attrs["neurodata_type"]) if "neurodata_type" in item.attrs else ""


def _objects(path: Path, handle: h5py.File) -> Iterator[_Object]:
    """Every group and typed dataset, parents first, what they hold right behind; each once, however many links it has.

    Raises FormatError where anything leads out of the file.
    """
    seen: set[int] = set()
    waiting = [_Object(path="")]
    while waiting:
        here = waiting.pop()
        item = handle[here.path or "/"]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        here = replace(here, kind=_kind(item))
        if isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise FormatError(f"{path}: {here.path!r} takes its samples from other files; one file is wanted")
        elif isinstance(item, h5py.Group):
            inside = (*here.inside, here.kind, here.name)
            below = [_Object(path=f"{here.path}/{name}", inside=inside) for name in item]
            waiting += [child for child in reversed(below) if _is_own(path, handle, child)]
        if here.path and not here.path.startswith(_SKIPPED) and (here.kind or isinstance(item, h5py.Group)):
            yield here


def _is_own(path: Path, handle: h5py.File, child: _Object) -> bool:
    """True for a hard link; False for a soft one, whose target is met where it lies. Raises FormatError for others."""
    link = handle.get(child.path, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise FormatError(f"{path}: {child.path!r} is a link to another file; one file is wanted")
    if child.path.count("/") > _MAX_DEPTH:
        raise FormatError(f"{path}: groups more than {_MAX_DEPTH} deep; fewer are wanted")
    return isinstance(link, h5py.HardLink)


def _streams(walk: _Walk, objects: Sequence[_Object]) -> list[Stream]:
    """The streams of a file, each named by its path."""
    found: list[Stream] = []
    inside = ""
    for here in objects:
        if inside and here.path.startswith(inside):
            continue
        try:
            made = _stream(walk, replace(here, item=walk.file.handle[here.path]))
        except SessionFileError:
            raise
        except _UnfitError as error:
            walk.note(str(error), here.path)
            made = []
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            walk.note(f"makes no sense ({_one_line(error)})", here.path)
            made = []
        if made is not None:
            found += made
            inside = here.path + "/"
    return _joined(found)


def _stream(walk: _Walk, here: _Object) -> list[Stream] | None:
    """The streams of an object, None for a folder of others. Raises _UnfitError with the reason where it has none."""
    if isinstance(here.item, h5py.Dataset):
        raise _UnfitError("holds no times")
    if not here.kind:
        return None
    if "colnames" in here.item.attrs:
        return [_of_table(walk, here)]
    if here.kind in ("Events", "LabeledEvents", "TTLs", "AnnotationSeries"):
        return [_of_labels(walk, here)]
    if here.kind == "IntervalSeries":
        return [_of_interval_series(walk, here)]
    is_series = here.kind.endswith("Series") and here.kind not in _CONTAINERS
    if is_series or any(_has(here.item, name) for name in ("data", "starting_time", "timestamps")):
        return [_signal(walk, here)]
    if not any(isinstance(here.item.get(name, getlink=True), h5py.HardLink) for name in here.item):
        raise _UnfitError("it is empty")
    return None


def _has(group: h5py.Group, name: str) -> bool:
    """True where a dataset of that name is there, or a link to one."""
    try:
        return group.get(name, getclass=True) is h5py.Dataset
    except (KeyError, RuntimeError):  # a link that leads nowhere, or in circles
        return False


def _common(here: _Object) -> dict[str, Any]:
    """Name (for now the path) and provenance of a stream."""
    about = {"nwb_path": here.path, "neurodata_type": here.kind}
    description = _text(here.item.attrs["description"]) if "description" in here.item.attrs else ""
    if description and not description.startswith("no "):
        about["description"] = description[:1000]
    return {"name": here.path, "provenance": about}


# Datasets ------------------------------------------------------------------------------------------------------------


def _dataset(walk: _Walk, path: str) -> tuple[str, h5py.Dataset]:
    """Where the dataset at `path` really lies, and it. Raises _UnfitError where it is missing or claims what cannot be.

    Links within the file are followed: no other kind is left in it by now.
    """
    real = _resolved(walk.file.handle, path)
    try:
        dataset = walk.file.dataset(real)
    except SessionFileError as error:
        raise _UnfitError(f"its {path.rpartition('/')[2]!r} is no dataset") from error
    claimed, stored = (dataset.size or 0) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if claimed and not stored:
        raise _UnfitError(f"claims values of shape {dataset.shape}, of which none is stored")
    if claimed > _MAX_RATIO * walk.file.path.stat().st_size or chunk > _MAX_CHUNK_BYTES:
        raise _UnfitError(f"claims values of shape {dataset.shape}, more than a file of this size can hold")
    return real, dataset


def _resolved(handle: h5py.File, path: str) -> str:
    """A path without soft links. Raises _UnfitError where it leads nowhere or in circles."""
    todo = [part for part in path.split("/") if part]
    real = ""
    for _ in range(_MAX_DEPTH * _MAX_DEPTH):
        if not todo:
            return real
        part = todo.pop(0)
        if part in (".", ""):
            continue
        link = handle.get(f"{real}/{part}", getlink=True)
        if isinstance(link, h5py.HardLink):
            real = f"{real}/{part}"
        elif isinstance(link, h5py.SoftLink):
            target = [p for p in link.path.split("/") if p]
            todo = [*target, *todo]
            real = "" if link.path.startswith("/") else real
        else:
            raise _UnfitError(f"has no {path.rpartition('/')[2]!r}")
    raise _UnfitError("its links lead in circles")


def _is_text(dtype: np.dtype[Any]) -> bool:
    return h5py.check_string_dtype(dtype) is not None


def _values(walk: _Walk, path: str) -> list[Any] | None:
    """A column as plain values: numbers, flags or text, one per row; None where it is anything else."""
    real, dataset = _dataset(walk, path)
    if dataset.ndim != 1 or not (dataset.dtype.kind in "biuf" or _is_text(dataset.dtype)):
        return None
    return [_text(value) for value in dataset[:]] if _is_text(dataset.dtype) else list(walk.file.read(real).tolist())


def _numbers(walk: _Walk, path: str) -> FloatArray:
    """A column of numbers, shape (N,). Raises _UnfitError where it is none."""
    real, dataset = _dataset(walk, path)
    if dataset.ndim != 1 or dataset.dtype.kind not in "iuf":
        raise _UnfitError(f"its {path.rpartition('/')[2]!r} is no row of numbers")
    return np.asarray(walk.file.read(real), dtype=np.float64)


def _number(value: Any, otherwise: float) -> float:
    """A number of an attribute, `otherwise` where it is not there. Raises _UnfitError where it is no finite number."""
    try:
        number = otherwise if value is None else float(np.asarray(value).ravel()[0])
    except (TypeError, ValueError, LookupError) as error:
        raise _UnfitError(f"states {str(value)[:40]!r} where a number is wanted") from error
    if not math.isfinite(number):
        raise _UnfitError(f"states {number} where a finite number is wanted")
    return number


# Series --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Rows:
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


def _signal(walk: _Walk, here: _Object) -> Signal:
    if here.kind == "SpikeEventSeries":
        raise _UnfitError("holds waveforms of spikes, not samples that follow one another")
    if "external_file" in here.item:
        raise _UnfitError("its pictures lie in other files, which are not opened")
    path, data = _dataset(walk, f"{here.path}/data")
    shape = _shape(data)
    _note_missing(walk, here, data)
    segments = tuple(
        Segment(samples=_Rows(walk.file, (path,), a, (b - a, shape[1]), data.dtype), timebase=times)
        for a, b, times in _runs(walk, here, shape[0])
    )
    is_electric = here.kind == "ElectricalSeries" or _has(here.item, "electrodes")
    electrodes = _electrodes(walk, here, shape[1]) if is_electric else None
    common = _common(here)
    said = str(common["provenance"].get("description", ""))
    unit, factor = kept_unit(_unit(data)) if is_electric else (_unit(data), 1.0)
    gain = _gain(walk, here, data, shape[1]) * factor
    if not np.isfinite(gain).all():
        raise _UnfitError("its gains are not finite")
    names = _channel_names(walk, here, shape[1], said) if electrodes is None else electrodes.names
    return Signal(
        **common,
        modality=_modality(here, said, electrodes, max(segments, key=lambda s: s.timebase.n_samples).timebase.rate_hz),
        segments=segments,
        channel_names=_unique(walk, here, names),
        unit=unit,
        gain=gain,
        offset=np.full(shape[1], _number(data.attrs.get("offset"), 0.0) * factor),
        table=electrodes.table if electrodes is not None else {},
    )


def _shape(data: h5py.Dataset) -> tuple[int, int]:
    """(T, C) of the samples. Raises _UnfitError where they are none."""
    if data.dtype.kind not in "biuf" or data.ndim not in (1, 2):
        raise _UnfitError(f"values of type {data.dtype} in {data.ndim} dimensions; numbers in 1 or 2 are wanted")
    n_samples, n_channels = data.shape[0], data.shape[1] if data.ndim == 2 else 1
    if n_samples == 0 or not 1 <= n_channels <= _MAX_CHANNELS:
        raise _UnfitError(f"{n_samples} samples of {n_channels} channels; some of 1 to {_MAX_CHANNELS} are wanted")
    return n_samples, n_channels


def _note_missing(walk: _Walk, here: _Object, data: h5py.Dataset) -> None:
    """Note samples that were never written: HDF5 makes them up without a word."""
    if data.chunks:
        n_chunks = math.prod(-(-n // c) for n, c in zip(data.shape, data.chunks, strict=True))
        missing = n_chunks - data.id.get_num_chunks()
        if missing:
            walk.notes.append(f"{here.path}: {missing} of {n_chunks} chunks never written: read as {data.fillvalue}")


def _unit(data: h5py.Dataset) -> str:
    """The unit as it is kept: "V" for "volts"; "a.u." where none is stated; others as they are spelled."""
    spelled = _text(data.attrs["unit"]).strip() if "unit" in data.attrs else ""
    return next((unit for unit, names in _UNITS.items() if spelled.lower() in names), spelled)


def _gain(walk: _Walk, here: _Object, data: h5py.Dataset, n_channels: int) -> FloatArray:
    gain = np.full(n_channels, _number(data.attrs.get("conversion"), 1.0))
    if _has(here.item, "channel_conversion"):
        each = _numbers(walk, f"{here.path}/channel_conversion")
        if each.size != n_channels:
            raise _UnfitError(f"{n_channels} channels but {each.size} gains; they must match")
        gain = gain * each
    return gain


def _channel_names(walk: _Walk, here: _Object, n_channels: int, said: str) -> list[str]:
    """Names of channels that are no electrodes: as a session of ours says, features, coordinates, else numbers."""
    stated = _STATED.search(said)
    if stated is not None and len(listed := stated[2].split(", ")) == n_channels:
        return listed
    features = _values(walk, f"{here.path}/features") if _has(here.item, "features") else None
    if features is not None and len(features) == n_channels:
        return [str(feature) for feature in features]
    if n_channels == 1:
        return [here.name]
    return list("xyz"[:n_channels]) if here.kind == "SpatialSeries" and n_channels <= 3 else _numbered(n_channels)


def _numbered(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def _unique(walk: _Walk, here: _Object, names: list[str]) -> tuple[str, ...]:
    """Two channels of one name get a number each, and that is noted."""
    counts, seen = Counter(names), Counter[str]()
    unique = []
    for name in names:
        unique.append(f"{name}-{seen[name]}" if counts[name] > 1 else name)
        seen[name] += 1
    twice = [name for name, n in counts.items() if n > 1]
    if twice:
        walk.notes.append(f"{here.path}: channel name {twice[0]!r} occurs more than once: numbered")
    return tuple(unique)


def _modality(here: _Object, said: str, electrodes: _Electrodes | None, rate_hz: float) -> str:
    """What a series measures, as far as the file says so: by a session of ours, its folders, its names, its rate."""
    stated = _STATED.search(said)
    if stated is not None and stated[1] in MODALITIES:
        return stated[1]
    if electrodes is None:
        inside = next((_CONTAINERS[kind] for kind in here.inside if kind in _CONTAINERS), "aux")
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


@dataclass(frozen=True, kw_only=True)
class _Electrodes:
    """The electrodes of a series. said: names and descriptions of their groups."""

    names: list[str]
    table: dict[str, tuple[Any, ...]]
    said: tuple[str, ...]


def _electrodes(walk: _Walk, here: _Object, n_channels: int) -> _Electrodes:
    if not _has(here.item, "electrodes"):
        return _Electrodes(names=_numbered(n_channels), table={}, said=())
    rows = _numbers(walk, f"{here.path}/electrodes").astype(np.int64)
    if rows.size != n_channels:
        raise _UnfitError(f"samples of {n_channels} channels but {rows.size} electrodes; they must match")
    path = _table_of(walk, here.item["electrodes"]) or "/general/extracellular_ephys/electrodes"
    columns, _ = _columns(walk, path)
    if rows.size and not 0 <= rows.min() <= rows.max() < len(columns["id"]):
        raise _UnfitError(f"names electrode {rows.max()} of {len(columns['id'])}; one that is there is wanted")
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


def _group_description(walk: _Walk, name: str) -> str:
    folder = walk.file.handle.get(f"/general/extracellular_ephys/{name}")
    return _text(folder.attrs["description"]) if folder is not None and "description" in folder.attrs else ""


def _sites(walk: _Walk, path: str, chosen: Mapping[str, list[Any]]) -> dict[str, tuple[float, ...]]:
    """Where the electrodes are, on their probe or else in the brain, if the file says that it is in micrometers."""
    for prefix in ("rel_", ""):
        sites: dict[str, tuple[float, ...]] = {}
        for axis in "xyz":
            values = chosen.get(f"{prefix}{axis}", [])
            if all(isinstance(v, float) for v in values) and any(math.isfinite(v) for v in values):
                about = _text(walk.file.handle[f"{path}/{prefix}{axis}"].attrs.get("description", ""))
                if re.search(r"micron|micromet|\b[uµμ]m\b", about.lower()):
                    sites[f"{axis}_um"] = tuple(values)
        if sites:
            return sites
    return {}


# Times ---------------------------------------------------------------------------------------------------------------


def _runs(walk: _Walk, here: _Object, n: int) -> list[tuple[int, int, Times]]:
    """The unbroken stretches of a series: first row, past the last, times."""
    if _has(here.item, "starting_time"):
        _, start = _dataset(walk, f"{here.path}/starting_time")
        rate_hz = _number(start.attrs.get("rate"), 0.0)
        if rate_hz <= 0:
            raise _UnfitError(f"states a rate of {rate_hz} Hz; more than 0 is wanted")
        return [(0, n, Timebase(rate_hz=rate_hz, start_s=_number(start[()], 0.0), n_samples=n))]
    if not _has(here.item, "timestamps"):
        raise _UnfitError("states neither a rate nor timestamps")
    path, times = _dataset(walk, f"{here.path}/timestamps")
    if times.shape != (n,) or times.dtype.kind not in "iuf":
        raise _UnfitError(f"{n} samples but timestamps of shape {times.shape}; they must match")
    cuts, step_s = _gaps(walk.file, path, n)
    if len(cuts) > _MAX_GAPS:
        walk.notes.append(f"{here.path}: {len(cuts)} gaps, too many for a segment each: its timestamps were kept")
        cuts = []
    return [(a, b, _measured(walk.file, path, a, b, step_s)) for a, b in pairwise([0, *cuts, n])]


def _seconds(file: SessionFile, path: str, first: int, last: int) -> FloatArray:
    return np.asarray(file.read(path, slice(first, last)), dtype=np.float64)


def _gaps(file: SessionFile, path: str, n: int) -> tuple[list[int], float]:
    """Rows before which an otherwise even series has a gap, and its usual interval; read block by block.

    Raises _UnfitError where timestamps do not increase.
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
            raise _UnfitError(f"its timestamps repeat, jump back or are not finite (at sample {at})")
        cuts += (np.flatnonzero(steps_s > 1.5 * usual_s) + start + 1).tolist()
        n_even += int((np.abs(steps_s - usual_s) <= 0.05 * usual_s).sum())
    # Even means: hardly any interval is neither the usual one nor a gap, and gaps are few.
    is_even = n_even >= 0.99 * (n - 1 - len(cuts)) and len(cuts) <= max(1, n // 4)
    return (cuts if is_even else []), usual_s


def _measured(file: SessionFile, path: str, first: int, last: int, step_s: float) -> Times:
    """As `times_of`, but block by block: a rate where no sample moves by more than 1 µs, else every timestamp."""
    n = last - first
    start_s, stop_s = (float(_seconds(file, path, i, i + 1)[0]) for i in (first, last - 1))
    base = Timebase(rate_hz=(n - 1) / (stop_s - start_s) if n > 1 else 1 / step_s, start_s=start_s, n_samples=n)
    for at in range(0, n, _BLOCK):
        times_s = _seconds(file, path, first + at, min(first + at + _BLOCK, last))
        if np.abs(base.seconds(np.arange(at, at + times_s.size)) - times_s).max() > MAX_SHIFT_S:
            return Timestamps(times_s=_seconds(file, path, first, last))
    return base


# Tables, events, intervals, units ------------------------------------------------------------------------------------


def _table_of(walk: _Walk, region: h5py.Dataset) -> str:
    """Path of the table that a region refers to, "" where it does not say."""
    reference = region.attrs.get("table")
    target = walk.file.handle[reference] if isinstance(reference, h5py.Reference) and reference else None
    return str(target.name) if target is not None and target.name else ""


def _columns(walk: _Walk, path: str) -> tuple[dict[str, list[Any]], list[str]]:
    """The columns of a table that have one plain value per row, "id" among them, and the names of all others.

    A column that refers to rows of another table gives what those are called.
    """
    group = walk.file.handle[path]
    ids = _values(walk, f"{path}/id") or []
    plain: dict[str, list[Any]] = {"id": ids}
    others: list[str] = []
    for name in _texts(group.attrs["colnames"]):
        values = _column(walk, group, f"{path}/{name}")
        if values is None or len(values) != len(ids):
            others.append(name)
        else:
            plain[name] = values
    return plain, others


def _column(walk: _Walk, group: h5py.Group, path: str) -> list[Any] | None:
    name = path.rpartition("/")[2]
    if f"{name}_index" in group or not _has(group, name):
        return None
    try:
        return _referred(walk, path) if _kind(group[name]) == "DynamicTableRegion" else _values(walk, path)
    except _UnfitError:
        return None


def _texts(value: Any) -> list[str]:
    return [] if isinstance(value, h5py.Empty) else [_text(item) for item in np.atleast_1d(value)]


def _referred(walk: _Walk, path: str) -> list[Any] | None:
    """What the rows are called that a column refers to, None where they have no name."""
    table = walk.file.handle.get(_table_of(walk, walk.file.handle[path]) or path)
    rows = _values(walk, path)
    named = next((n for n in _LABELS if _has(table, n)), None) if isinstance(table, h5py.Group) else None
    names = _values(walk, f"{table.name}/{named}") if named is not None else None
    if rows is None or names is None or any(not 0 <= row < len(names) for row in rows):
        return None
    return [names[row] for row in rows]


def _of_table(walk: _Walk, here: _Object) -> Stream:
    names = _texts(here.item.attrs["colnames"])
    if "spike_times" in names:
        return _units(walk, here)
    if {"start_time", "stop_time"} <= set(names):
        return _intervals(walk, here)
    column = next((name for name in ("timestamp", "event_times", "timestamps") if name in names), None)
    if column is None:
        raise _UnfitError("is a table without times")
    return _events_of_table(walk, here, column)


def _rest(walk: _Walk, here: _Object, *taken: str) -> tuple[dict[str, list[Any]], dict[str, tuple[Any, ...]]]:
    """All plain columns of a table, and those of them that make the stream's own table; the others are noted."""
    plain, others = _columns(walk, here.path)
    for name in others:
        if name not in taken:
            walk.note("a column without one plain value per row", f"{here.path}/{name}")
    return plain, {name: tuple(values) for name, values in plain.items() if name not in ("id", *taken)}


def _labels(here: _Object, plain: Columns, rest: dict[str, tuple[Any, ...]]) -> list[str]:
    """What each row is, by a column that is taken out of `rest` where it is text, else by the name of the table."""
    column = next((name for name in _LABELS if name in plain), None)
    if column is None:
        return [here.name] * len(plain["id"])
    if all(isinstance(value, str) for value in plain[column]):
        rest.pop(column)
    return [str(value) for value in plain[column]]


def _events_of_table(walk: _Walk, here: _Object, column: str) -> Events:
    times_s = _numbers(walk, f"{here.path}/{column}")
    plain, rest = _rest(walk, here, column)
    labels = _labels(here, plain, rest)
    rows = list(range(len(labels)))
    if _has(here.item, f"{column}_index"):  # a row per kind of event, with all the times of that kind
        ends = _ends(walk, f"{here.path}/{column}_index", times_s.size, len(labels))
        rows = np.repeat(rows, np.diff(ends, prepend=0)).tolist()
    table = {name: [values[i] for i in rows] for name, values in rest.items()}
    return _events(walk, here, times_s, [labels[i] for i in rows], table)


def _ends(walk: _Walk, path: str, n_values: int, n_rows: int) -> NDArray[np.int64]:
    """Where the values of each row of a ragged column end. Raises _UnfitError where that cannot be."""
    ends = _numbers(walk, path).astype(np.int64)
    if ends.size != n_rows or (np.diff(ends, prepend=0) < 0).any() or (ends.size and ends[-1] != n_values):
        raise _UnfitError(f"its {path.rpartition('/')[2]!r} does not fit {n_values} values in {n_rows} rows")
    return ends


def _events(walk: _Walk, here: _Object, times_s: FloatArray, labels: Sequence[str], table: Columns) -> Events:
    if len(labels) != times_s.size:
        raise _UnfitError(f"{times_s.size} times but {len(labels)} labels; they must match")
    order = np.argsort(times_s, kind="stable")
    order = order[np.isfinite(times_s[order])]
    if order.size < times_s.size:
        walk.notes.append(f"{here.path}: {times_s.size - order.size} events without a time left out")
    is_sync = "ttl" in here.kind.lower() or _PULSES.search(here.name.lower()) is not None
    return Events(
        **_common(here),
        modality="sync" if is_sync else "events",
        times_s=times_s[order],
        labels=tuple(labels[i] for i in order.tolist()),
        table={name: tuple(values[i] for i in order.tolist()) for name, values in table.items()},
    )


def _of_labels(walk: _Walk, here: _Object) -> Events:
    """Timestamps with a text each (AnnotationSeries), with a number for a text each, or with nothing (ndx-events)."""
    times_s = _numbers(walk, f"{here.path}/timestamps")
    values = _values(walk, f"{here.path}/data") if _has(here.item, "data") else [here.name] * times_s.size
    if values is None:
        raise _UnfitError("its events are neither texts nor numbers")
    names = _texts(here.item["data"].attrs.get("labels", ())) if _has(here.item, "data") else []
    known: dict[Any, str] = dict(enumerate(names))
    return _events(walk, here, times_s, [str(known.get(value, value)) for value in values], {})


def _of_interval_series(walk: _Walk, here: _Object) -> Intervals:
    """+k where an interval of kind k starts, -k where it stops."""
    times_s, marks = (_numbers(walk, f"{here.path}/{name}") for name in ("timestamps", "data"))
    if times_s.size != marks.size:
        raise _UnfitError(f"{times_s.size} times but {marks.size} marks; they must match")
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


def _intervals(walk: _Walk, here: _Object) -> Intervals:
    starts_s, stops_s = (_numbers(walk, f"{here.path}/{name}") for name in ("start_time", "stop_time"))
    plain, rest = _rest(walk, here, "start_time", "stop_time")
    labels = _labels(here, plain, rest)
    if not starts_s.size == stops_s.size == len(labels):
        raise _UnfitError(f"{starts_s.size} starts and {stops_s.size} stops in {len(labels)} rows; they must match")
    return _checked(walk, here, np.stack([starts_s, stops_s], axis=1), labels, rest)


def _checked(walk: _Walk, here: _Object, bounds_s: FloatArray, labels: Sequence[str], table: Columns) -> Intervals:
    """The intervals that have a start and, not before it, a stop; others are noted."""
    keep = np.flatnonzero(np.isfinite(bounds_s).all(axis=1) & (bounds_s[:, 1] >= bounds_s[:, 0]))
    if keep.size < len(labels):
        walk.notes.append(f"{here.path}: {len(labels) - keep.size} intervals without a start or a later stop left out")
    return Intervals(
        **_common(here),
        modality="trials" if here.path == "/intervals/trials" else "intervals",
        bounds_s=bounds_s[keep],
        labels=tuple(labels[i] for i in keep.tolist()),
        table={name: tuple(values[i] for i in keep.tolist()) for name, values in table.items()},
    )


def _units(walk: _Walk, here: _Object) -> Units:
    spikes_s = _numbers(walk, f"{here.path}/spike_times")
    plain, rest = _rest(walk, here, "spike_times", "unit_name")
    n_units = len(plain["id"])
    ends = np.array([spikes_s.size] * n_units)
    if _has(here.item, "spike_times_index"):
        ends = _ends(walk, f"{here.path}/spike_times_index", spikes_s.size, n_units)
    elif n_units > 1:
        raise _UnfitError("does not say which spikes are whose")
    trains = np.split(spikes_s, ends[:-1]) if n_units else []
    sound = tuple(np.sort(train[np.isfinite(train)]) for train in trains)
    changed = sum(not np.array_equal(a, b) for a, b in zip(trains, sound, strict=True))
    if changed:
        walk.notes.append(f"{here.path}: spikes of {changed} units sorted, those without a time left out")
    return Units(
        **_common(here),
        unit_names=tuple(str(name) for name in plain.get("unit_name", plain["id"])),
        spike_times_s=sound,
        table=rest,
    )


# The whole -----------------------------------------------------------------------------------------------------------


def _joined(found: Sequence[Stream]) -> list[Stream]:
    """The streams, those made whole again that a session of ours had stored in parts."""
    groups: dict[str, list[Stream]] = {}
    for stream in found:
        match = _PART.fullmatch(stream.name)
        groups.setdefault(match[1] if match else stream.name, []).append(stream)
    joined: list[Stream] = []
    for name, members in groups.items():
        signals = [member for member in members if isinstance(member, Signal)]
        whole = _whole(name, signals) if 1 < len(signals) == len(members) else None
        joined += members if whole is None else [whole]
    return joined


def _whole(name: str, signals: Sequence[Signal]) -> Signal | None:
    """One Signal of its parts: `_partNN` side by side, `_segmentNNN` in a row. None where they do not fit together."""
    rows: dict[str, list[Signal]] = {}
    for signal in signals:
        rows.setdefault(re.sub(r"_part\d{2}$", "", signal.name), []).append(signal)
    try:
        wide = [_side_by_side(parts) for parts in rows.values()]
        first = wide[0]
        for other in wide[1:]:
            alike = [(s.channel_names, s.unit, s.modality, s.gain.tolist(), s.offset.tolist()) for s in (first, other)]
            if alike[0] != alike[1]:
                return None
        segments = sorted((s for signal in wide for s in signal.segments), key=lambda s: s.timebase.start_s)
        about = dict(first.provenance) | {"nwb_path": name}
        return replace(first, name=name, segments=tuple(segments), provenance=about)
    except ValueError:
        return None


def _side_by_side(parts: Sequence[Signal]) -> Signal:
    """Channels of the same times as one Signal. Raises ValueError where their times, units or modalities differ."""
    first = parts[0]
    if len(parts) == 1:
        return first
    segments = []
    for one in zip(*(part.segments for part in parts), strict=True):
        rows = [s.samples for s in one if isinstance(s.samples, _Rows)]
        apart = {(r.first, r.shape[0]) for r in rows} | {(p.unit, p.modality) for p in parts}
        if len(rows) < len(one) or len(apart) != 2 or any(not _same(one[0].timebase, s.timebase) for s in one):
            raise ValueError("parts of different times or units")
        shape = (rows[0].shape[0], sum(r.shape[1] for r in rows))
        paths = tuple(path for r in rows for path in r.paths)
        samples = _Rows(rows[0].file, paths, rows[0].first, shape, np.result_type(*(r.dtype for r in rows)))
        segments.append(Segment(samples=samples, timebase=one[0].timebase))
    return replace(
        first,
        segments=tuple(segments),
        channel_names=tuple(name for part in parts for name in part.channel_names),
        gain=np.concatenate([part.gain for part in parts]),
        offset=np.concatenate([part.offset for part in parts]),
        table={key: tuple(v for part in parts for v in part.table.get(key, ())) for key in first.table},
    )


def _same(a: Times, b: Times) -> bool:
    if isinstance(a, Timestamps) and isinstance(b, Timestamps):
        return bool(np.array_equal(a.times_s, b.times_s))
    return a == b


def _named(streams: Sequence[Stream]) -> list[Stream]:
    """Each stream by the last part of its path; by more of it where two end alike, and for stimuli."""
    paths = [stream.name for stream in streams]
    last = Counter(path.rpartition("/")[2] for path in paths)
    names = []
    for path in paths:
        name = path.rpartition("/")[2]
        longer = path.removeprefix("/acquisition/").removeprefix("/processing/").strip("/")
        names.append(name if last[name] == 1 and not path.startswith("/stimulus/") else longer)
    if len(set(names)) < len(names):
        names = paths
    return [replace(stream, name=name) for stream, name in zip(streams, names, strict=True)]


def _subject(handle: h5py.File) -> dict[str, str]:
    """What the file says of the subject."""
    found = {key: handle.get(f"/general/subject/{key}") for key in _SUBJECT}
    return {key: _text(item[()]) for key, item in found.items() if isinstance(item, h5py.Dataset) and item.shape == ()}


def _start(handle: h5py.File, streams: Sequence[Stream]) -> datetime | None:
    """The time of the first sample; of the first event or spike where there are no samples."""
    for name in ("timestamps_reference_time", "session_start_time"):
        item = handle.get(name)
        try:
            zero = datetime.fromisoformat(_text(item[()]) if isinstance(item, h5py.Dataset) else "")
            return None if zero == _UNKNOWN_START else zero + timedelta(seconds=_first_s(streams))
        except (ValueError, OverflowError):
            continue
    return None


def _first_s(streams: Sequence[Stream]) -> float:
    signals = [stream for stream in streams if isinstance(stream, Signal)]
    starts: list[float] = [signal.start_s for signal in signals]
    for stream in streams if not signals else ():
        if isinstance(stream, Units):
            starts += [float(train[0]) for train in stream.spike_times_s if train.size]
        elif isinstance(stream, Events | Intervals):
            times_s = stream.times_s if isinstance(stream, Events) else stream.bounds_s[:, 0]
            starts += [float(times_s.min())] if times_s.size else []
    return min(starts, default=0.0)
