"""Pupil Labs Neon, the folder as the companion device writes it: raw files beside files of times, on one clock.

    info.json                       when it began, in nanoseconds since 1970
    <stream> ps<N>.raw, .time       part N of a stream: little-endian records, and per record an int64 of nanoseconds
    <stream>.dtype                  the fields of a record, as a Python list of names and types
    gaze_200hz.raw, .time           gaze at the camera's full rate, computed after the recording: a signal of its own
    event.txt, event.time           a line and a time per event

    gaze           px of the scene camera                eye_state   pupil (mm), eyes in space, eyelids
    worn           255 where the frame was worn          imu         gyroscope, acceleration, orientation
    blinks, fixations (event_type 0 is a saccade)

A part is a segment, since between parts nothing was recorded; so is what a pause within a part cuts off. Samples stay
in their files and are read by slice. The clock counts seconds from the start that `info.json` states.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._eye_events import eye_intervals
from neuroloom.ingest.formats._json import read_object
from neuroloom.ingest.formats._people import stated_subject
from neuroloom.ingest.formats._row_runs import runs, segments
from neuroloom.ingest.formats._sidecars import small_bytes
from neuroloom.ingest.formats.pupil_cloud import date_of
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import FloatArray

TITLE = "Pupil Labs Neon (native folder)"
MODALITY = "gaze"
KEEPS = (
    "gaze as recorded and at 200 Hz, pupil, eyes, eyelids, worn, IMU, blinks, fixations, saccades, events; not video, "
    "sound, gaze of single eyes and raw IMU packets"
)
TESTED_ON = "a real folder of pl-neon-recording; several parts on a folder written by this project"

_PART = re.compile(r"(.+) ps(\d+)\.raw")
_TYPES = {"float32", "float64", "int32", "int64", "uint8"}
_GAZE = [("x", "float32"), ("y", "float32")]
_FIELDS: Mapping[str, list[tuple[str, str]]] = {"gaze": _GAZE, "gaze_200hz": _GAZE, "worn": [("worn", "uint8")]}
_LATER = ("gaze_200hz",)  # computed after the recording: one file, without parts
_STREAMS = ("gaze", "gaze_200hz", "eye_state", "worn", "imu", "blinks", "fixations")
_XYZ, _LIDS = ("x", "y", "z"), ("top", "bottom")
# Per stream the signals it makes: name, modality, unit, fields, channels.
_SIGNALS: Mapping[str, tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...]], ...]] = {
    "gaze": (("gaze", "gaze", "px", ("x", "y"), ("x", "y")),),
    "gaze_200hz": (("gaze 200 Hz", "gaze", "px", ("x", "y"), ("x", "y")),),
    "worn": (("worn", "aux", "a.u.", ("worn",), ("worn",)),),
    "eye_state": (
        ("pupil", "pupil", "mm", ("pupil_diameter_left_mm", "pupil_diameter_right_mm"), ("pupil_left", "pupil_right")),
        *(
            (f"{what} {eye}", "aux", unit, tuple(f"{what.replace(' ', '_')}_{eye}_{k}" for k in _XYZ), _XYZ)
            for eye in ("left", "right")
            for what, unit in (("eyeball center", "mm"), ("optical axis", "a.u."))
        ),
        *(
            (f"eyelid angle {eye}", "aux", "rad", tuple(f"eyelid_angle_{k}_{eye}" for k in _LIDS), _LIDS)
            for eye in ("left", "right")
        ),
        ("eyelid aperture", "aux", "mm", ("eyelid_aperture_left_mm", "eyelid_aperture_right_mm"), ("left", "right")),
    ),
    "imu": (
        ("gyroscope", "behaviour", "deg/s", tuple(f"gyro_{k}" for k in _XYZ), _XYZ),
        ("acceleration", "behaviour", "g", tuple(f"accel_{k}" for k in _XYZ), _XYZ),
        ("quaternion", "behaviour", "a.u.", tuple(f"quaternion_{k}" for k in "wxyz"), tuple("wxyz")),
    ),
}  # fmt: skip
_SACCADE = {
    "start_gaze_x": "x_start", "start_gaze_y": "y_start", "end_gaze_x": "x_stop", "end_gaze_y": "y_stop",
    "amplitude_angle_deg": "amplitude_deg", "max_velocity": "peak_velocity_px_s", "mean_velocity": "mean_velocity_px_s",
}  # fmt: skip
_FIXATION = {"mean_gaze_x": "x_mean", "mean_gaze_y": "y_mean"}


@dataclass(frozen=True, eq=False)
class _Fields:
    """Some fields of records that lie in a file, as columns; lazy."""

    records: NDArray[Any]
    names: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.records), len(self.names))

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.records.dtype[self.names[0]])

    def __getitem__(self, samples: slice, /) -> NDArray[Any]:
        part = self.records[samples]
        return np.column_stack([part[name] for name in self.names])


@dataclass(frozen=True)
class _Part:
    """A part of a stream: its records, and their times in seconds on the recording's clock."""

    records: NDArray[Any]
    times_s: FloatArray


def sniff(path: Path, head: bytes) -> bool:
    """True for a folder with an info.json and gaze in parts."""
    return not head and path.is_dir() and is_there(path / "info.json") and bool(_parts_of(path, "gaze"))


def files(path: Path) -> tuple[Path, ...]:
    """What is read of the folder, info.json first."""
    found = [path / "info.json"]
    for stream in _STREAMS:
        for raw in _parts_of(path, stream):
            found += [raw, _times_of(raw, stream)]
        found += [dtype for dtype in (path / f"{stream}.dtype",) if is_there(dtype)]
    found += [file for name in ("event.txt", "event.time", "wearer.json") if is_there(file := path / name)]
    return tuple(dict.fromkeys(found))


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError where a file is damaged, or times go back."""
    info = read_object(path / "info.json")
    start_ns = info.get("start_time")
    if not isinstance(start_ns, int) or start_ns < 0:
        raise FormatError(f"{path / 'info.json'}: start_time is {start_ns!r}; nanoseconds since 1970 are wanted")
    repairs: list[str] = []
    streams: list[Stream] = []
    for stream in _STREAMS:
        parts = _read_parts(path, stream, start_ns, repairs)
        if parts and stream in ("blinks", "fixations"):
            streams += _intervals(path, stream, [part.records for part in parts], start_ns)
        elif parts:
            streams += _signals(path, stream, parts)
    streams += _events(path, start_ns)
    first_s = min(s.start_s for s in streams if isinstance(s, Signal))
    wearer = read_object(path / "wearer.json").get("name", "") if is_there(path / "wearer.json") else ""
    return [
        Recording(
            clock=path.name,
            format="neon",
            files=(path, *files(path)),
            streams=tuple(streams),
            start=date_of(start_ns + round(first_s * 1e9)),
            repairs=tuple(repairs),
            subject=stated_subject(str(wearer)),
        )
    ]


# Records ------------------------------------------------------------------------------------------------------------


def _parts_of(path: Path, stream: str) -> list[Path]:
    """The raw files of a stream whose times are there, in the order of their numbers."""
    if stream in _LATER:
        found = {0: path / f"{stream}.raw"}
    else:
        named = [(file, _PART.fullmatch(file.name)) for file in path.iterdir()]
        found = {int(said[2]): file for file, said in named if said and said[1] == stream}
    return [found[k] for k in sorted(found) if is_there(found[k]) and is_there(_times_of(found[k], stream))]


def _times_of(raw: Path, stream: str) -> Path:
    """`worn ps1.raw` has the times of gaze, unless it has its own."""
    own = raw.with_suffix(".time")
    return own if stream != "worn" or is_there(own) else own.with_name(own.name.replace("worn", "gaze", 1))


def _read_parts(path: Path, stream: str, start_ns: int, repairs: list[str]) -> list[_Part]:
    raws = _parts_of(path, stream)
    dtype = _dtype(path, stream) if raws else np.dtype(np.uint8)
    parts = []
    for raw in raws:
        times = _times_of(raw, stream)
        times_ns = np.fromfile(times, dtype="<i8", count=times.stat().st_size // 8)
        n = min(times_ns.size, raw.stat().st_size // dtype.itemsize)
        if n != times_ns.size or n * dtype.itemsize != raw.stat().st_size:
            n_records = raw.stat().st_size / dtype.itemsize
            repairs.append(f"{raw.name}: {n_records:g} records and {times_ns.size} times; the first {n} kept")
        if n:
            records = np.memmap(raw, dtype=dtype, mode="r", shape=(n,))
            parts.append(_Part(records, (times_ns[:n] - start_ns) / 1e9))
    return parts


def _dtype(path: Path, stream: str) -> np.dtype[Any]:
    """The fields that `<stream>.dtype` states; it is data, and nothing in it is run."""
    file = path / f"{stream}.dtype"
    try:
        said = ast.literal_eval(small_bytes(file).decode("utf-8")) if is_there(file) else _FIELDS[stream]
        fields = [(str(name), str(kind)) for name, kind in said]
        wrong = [kind for _, kind in fields if kind not in _TYPES]
        if wrong or not fields:
            raise ValueError(f"type {wrong[0]!r}" if wrong else "no fields")
        return np.dtype([(name, np.dtype(kind).newbyteorder("<")) for name, kind in fields])
    except KeyError as error:
        raise FormatError(
            f"{path}: {stream}.dtype is not beside {stream} ps1.raw; it says what a record holds"
        ) from error
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise FormatError(f"{file}: {' '.join(str(error).split())}; names and types of fields are wanted") from error


# Streams ------------------------------------------------------------------------------------------------------------


def _signals(path: Path, stream: str, parts: Sequence[_Part]) -> list[Signal]:
    names = set(parts[0].records.dtype.names or ())
    made = []
    for name, modality, unit, fields, channels in _SIGNALS[stream]:
        if not set(fields) <= names:
            continue
        pieces: list[Segment] = []
        for part in parts:
            pieces += segments(_Fields(part.records, fields), _checked_runs(path, stream, part.times_s))
        signal = Signal(
            name=name,
            modality=modality,
            segments=tuple(pieces),
            channel_names=channels,
            unit=unit,
            gain=np.ones(len(channels)),
            offset=np.zeros(len(channels)),
            provenance={"coordinates": "image of the scene camera"} if modality == "gaze" and unit == "px" else {},
        )
        made.append(signal)
    return made


def _checked_runs(path: Path, stream: str, times_s: FloatArray) -> list[tuple[slice, Any]]:
    if (np.diff(times_s) <= 0).any():
        k = int((np.diff(times_s) <= 0).argmax()) + 2
        raise FormatError(f"{path}: time {k} of {stream} repeats or goes back; times that increase are wanted")
    return runs(times_s)


def _intervals(path: Path, stream: str, parts: Sequence[NDArray[Any]], start_ns: int) -> list[Stream]:
    rows = np.concatenate(parts)
    bounds_s = np.column_stack([rows[f"{end}_timestamp_ns"] - start_ns for end in ("start", "end")]) / 1e9
    if stream == "blinks":
        return [eye_intervals("blinks", bounds_s, ["both"] * len(rows), {}, path=path)]
    names = rows.dtype.names or ()
    made: list[Stream] = []
    for name, kind, columns in (("fixations", 1, _FIXATION), ("saccades", 0, _SACCADE)):
        of_kind = rows["event_type"] == kind
        table = {told: rows[field][of_kind].tolist() for field, told in columns.items() if field in names}
        if of_kind.any():
            made.append(eye_intervals(name, bounds_s[of_kind], ["both"] * int(of_kind.sum()), table, path=path))
    return made


def _events(path: Path, start_ns: int) -> list[Stream]:
    if not (is_there(path / "event.txt") and is_there(path / "event.time")):
        return []
    labels = small_bytes(path / "event.txt").decode("utf-8", "replace").splitlines()
    times_ns = np.fromfile(path / "event.time", dtype="<i8")
    if len(labels) != times_ns.size:
        raise FormatError(f"{path / 'event.txt'}: {len(labels)} lines for {times_ns.size} times; as many are wanted")
    order = np.argsort(times_ns, kind="stable")
    times_s = (times_ns[order] - start_ns) / 1e9
    return [Events(name="events", times_s=times_s, labels=tuple(labels[i] for i in order))]
