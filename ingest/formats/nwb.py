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

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import numpy as np

from neuroloom.ingest._nwb_read import SessionFile, SessionFileError
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._hdf5 import SIGNATURE, is_own
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._nwb_objects import Object, UnfitError, Walk, has, objects_of, text_of
from neuroloom.ingest.formats._nwb_series import CONTAINERS, signal_of
from neuroloom.ingest.formats._nwb_tables import of_interval_series, of_labels, of_table
from neuroloom.ingest.formats._nwb_whole import joined, named
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Units

TITLE = "NWB 2"
MODALITY = "wideband"
KEEPS = "time series as stored, units, intervals, events, electrode columns; not waveforms, pictures or links"
TESTED_ON = (
    "real files of intracellular recordings, and example files of NWBShowcase, pynwb and NeuroConv; extracellular "
    "series, units, gaze and events on files that pynwb and this project wrote"
)

# What h5py raises on a file that lies.
_READ_ERRORS = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
)  # fmt: skip
_UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)  # what a session without a date is stored with
_SUBJECT = ("subject_id", "species", "sex", "age", "strain", "genotype")


def sniff(path: Path, head: bytes) -> bool:
    """True for HDF5 whose root states an `nwb_version`; for one that cannot be opened (yet), if it is called `.nwb`."""
    if head[:8] != SIGNATURE:
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
        objects = list(objects_of(path, handle))
        _check_version(path, handle)
        walk, subject = Walk(file=file), _subject(handle)
        with np.errstate(all="ignore"):  # numbers that overflow are looked at
            streams = named(_streams(walk, objects))
        start = _start(handle, streams)
    except FormatError:
        raise
    except _READ_ERRORS as error:
        raise FormatError(
            f"{path}: cannot be read as NWB ({one_line(error)[:300]}); a file that is sound is wanted"
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


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise FormatError(
            f"{path}: cannot be opened as HDF5 ({one_line(error)[:300]}): still being copied, being written, or cut off"
        ) from error


def _has_version(handle: h5py.File) -> bool:
    """An attribute since NWB 2, a dataset in NWB 1."""
    return "nwb_version" in handle.attrs or is_own(handle, "nwb_version")


def _check_version(path: Path, handle: h5py.File) -> None:
    """Raise FormatError unless the file says it is NWB 2."""
    if "nwb_version" in handle.attrs:
        version = text_of(handle.attrs["nwb_version"])
    else:
        version = text_of(handle["nwb_version"][()]) if _has_version(handle) else "not stated"
    number = version.removeprefix("NWB-")[:40]
    if number.startswith("1"):
        raise FormatError(f"{path}: NWB version {number!r}, which is laid out in another way; version 2 is wanted")
    if not number.startswith("2"):
        raise FormatError(f"{path}: NWB version {number!r}; version 2 is wanted")


def _streams(walk: Walk, objects: Sequence[Object]) -> list[Stream]:
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
        except UnfitError as error:
            walk.note(str(error), here.path)
            made = []
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            walk.note(f"makes no sense ({one_line(error)[:300]})", here.path)
            made = []
        if made is not None:
            found += made
            inside = here.path + "/"
    return joined(found)


def _stream(walk: Walk, here: Object) -> list[Stream] | None:
    """The streams of an object, None for a folder of others. Raises UnfitError with the reason where it has none."""
    if isinstance(here.item, h5py.Dataset):
        raise UnfitError("holds no times")
    if not here.kind:
        return None
    if "colnames" in here.item.attrs:
        return [of_table(walk, here)]
    if here.kind in ("Events", "LabeledEvents", "TTLs", "AnnotationSeries"):
        return [of_labels(walk, here)]
    if here.kind == "IntervalSeries":
        return [of_interval_series(walk, here)]
    is_series = here.kind.endswith("Series") and here.kind not in CONTAINERS
    if is_series or any(has(here.item, name) for name in ("data", "starting_time", "timestamps")):
        return [signal_of(walk, here)]
    if not any(is_own(here.item, name) for name in here.item):
        raise UnfitError("it is empty")
    return None


def _subject(handle: h5py.File) -> dict[str, str]:
    """What the file says of the subject."""
    found = {key: handle.get(f"/general/subject/{key}") for key in _SUBJECT}
    return {
        key: text_of(item[()]) for key, item in found.items() if isinstance(item, h5py.Dataset) and item.shape == ()
    }


def _start(handle: h5py.File, streams: Sequence[Stream]) -> datetime | None:
    """The time of the first sample; of the first event or spike where there are no samples."""
    for name in ("timestamps_reference_time", "session_start_time"):
        item = handle.get(name)
        try:
            zero = datetime.fromisoformat(text_of(item[()]) if isinstance(item, h5py.Dataset) else "")
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
