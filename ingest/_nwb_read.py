"""Read a session's NWB files lazily through their index: one JSON text is read at opening, nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._nwb_layout import INDEX_PATH, INDEX_VERSION, MAIN_FILE, clock_map_of, decoded
from neuroloom.ingest._nwb_older import upgraded
from neuroloom.ingest.chunks import Codec, codec_of, read_rows
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Stream, Table, Units
from neuroloom.ingest.timebase import FloatArray, PiecewiseTimebase, Timebase, Times, Timestamps

FIRST_PLUGIN_FILTER = 256  # HDF5 itself has those below


class SessionFileError(ValueError):
    """A file is not a session file of ours, or is damaged: the message names it, what was found and what was wanted."""


UNLOCKED = "its file system refuses locks; HDF5_USE_FILE_LOCKING=FALSE reads without them"


class SessionFile:
    """An NWB file that is opened when something is read, stays open, and opens again after `close`.

    In another process (a worker of a data loader) it opens anew: HDF5 handles do not survive a fork.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: h5py.File | None = None
        self._process = 0
        self._datasets: dict[str, h5py.Dataset] = {}
        self._codecs: dict[str, Codec | None] = {}

    def __reduce__(self) -> tuple[type[SessionFile], tuple[Path]]:
        return (SessionFile, (self.path,))

    @property
    def handle(self) -> h5py.File:
        """The open h5py file. Raises SessionFileError where it is not there or not HDF5."""
        if self._handle is None or self._process != os.getpid():
            try:
                # With HDF5's own locking: a file has one setting per process, and stock readers use that one.
                self._handle = h5py.File(self.path, "r")
            except OSError as error:
                wanted = UNLOCKED if "unable to lock file" in str(error) else "a session file is wanted"
                raise SessionFileError(f"{self.path}: cannot be opened as HDF5 ({error}); {wanted}") from error
            self._process = os.getpid()
            self._datasets = {}
        return self._handle

    def dataset(self, path: str) -> h5py.Dataset:
        """A dataset that lies in this very file. Raises SessionFileError where it is missing or points elsewhere."""
        handle = self.handle
        if path not in self._datasets:
            self._datasets[path] = _own_dataset(handle, path, self.path)
        return self._datasets[path]

    def read(self, path: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Rows of a dataset. Raises SessionFileError naming file and dataset where a checksum does not hold."""
        dataset = self.dataset(path)
        try:
            if dataset.dtype.kind == "O":
                return np.asarray(dataset.asstr()[rows])
            return self._rows(path, dataset, rows)
        except (OSError, RuntimeError) as error:
            raise SessionFileError(f"{self.path}: {path} cannot be read ({error}); the file is damaged") from error

    def _rows(self, path: str, dataset: h5py.Dataset, rows: slice) -> NDArray[Any]:
        if path not in self._codecs:
            self._codecs[path] = codec_of(dataset)
        codec = self._codecs[path]
        if codec is None or rows.step not in (None, 1):
            return np.asarray(dataset[rows])
        first, last, _ = rows.indices(dataset.shape[0])
        return read_rows(dataset, codec, first, last)

    def close(self) -> None:
        """Let go of the file; a later read opens it again."""
        if self._handle is not None and self._process == os.getpid():
            self._handle.close()
        self._handle, self._datasets = None, {}


def _own_dataset(handle: h5py.File, path: str, file_path: Path) -> h5py.Dataset:
    """The dataset at `path`, refusing every way HDF5 has to fetch bytes from another file."""
    parts = path.strip("/").split("/")
    for depth in range(1, len(parts) + 1):
        link = handle.get("/".join(parts[:depth]), getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise SessionFileError(f"{file_path}: {path} is missing or a link to elsewhere; a dataset is wanted")
    dataset = handle[path]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise SessionFileError(f"{file_path}: {path} is no dataset of its own; one that lies in this file is wanted")
    filters = dataset.id.get_create_plist()
    if any(filters.get_filter(i)[0] >= FIRST_PLUGIN_FILTER for i in range(filters.get_nfilters())):
        import hdf5plugin  # noqa: F401  (importing it registers the filters)
    return dataset


@dataclass(frozen=True, eq=False)
class StoredSamples:
    """Samples (T, C) in datasets of a session file, of which a slice reads just its rows.

    parts: dataset path, and the columns it holds, None for all of them.
    """

    file: SessionFile
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    parts: tuple[tuple[str, NDArray[np.int64] | None], ...]

    def __getitem__(self, samples: slice, /) -> NDArray[Any]:
        if len(self.parts) == 1 and self.parts[0][1] is None:
            return self.file.read(self.parts[0][0], samples)
        rows = range(self.shape[0])[samples]
        block = np.zeros((len(rows), self.shape[1]), dtype=self.dtype)
        for path, columns in self.parts:
            block[:, columns if columns is not None else slice(None)] = self.file.read(path, samples)
        return block


class StoredStreams(Sequence[Stream]):
    """A session's streams, each made when it is first asked for; adds to a tuple like one."""

    def __init__(self, file: SessionFile, entries: Sequence[Mapping[str, Any]]) -> None:
        self._file = file
        self._entries = entries
        self._made: dict[int, Stream] = {}
        self._companions: dict[str, SessionFile] = {}

    @property
    def names(self) -> list[str]:
        """Their names, without making any of them."""
        return [entry["name"] for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Stream: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Stream, ...]: ...
    def __getitem__(self, index: int | slice) -> Stream | tuple[Stream, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(len(self))[index])
        index = range(len(self))[index]
        if index not in self._made:
            self._made[index] = self._make(self._entries[index])
        return self._made[index]

    def __add__(self, other: Sequence[Stream]) -> tuple[Stream, ...]:
        return (*self, *other)

    def __radd__(self, other: Sequence[Stream]) -> tuple[Stream, ...]:
        return (*other, *self)

    def __repr__(self) -> str:
        return f"({', '.join(self.names)})"

    def files(self) -> Iterator[SessionFile]:
        """The session's file and every companion that was read from."""
        yield self._file
        yield from self._companions.values()

    def _make(self, entry: Mapping[str, Any]) -> Stream:
        file = self._file
        if "file" in entry:
            file = self._companions.setdefault(entry["file"], SessionFile(_beside(self._file.path, entry["file"])))
        try:
            return MAKERS[entry["kind"]](file, entry)
        except KeyError as error:
            raise SessionFileError(f"{file.path}: the index entry of {entry.get('name')!r} lacks {error}") from error


def _beside(path: Path, name: str) -> Path:
    if Path(name).name != name or name in ("", ".", ".."):
        raise SessionFileError(f"{path}: names a companion {name!r}; a plain file name in the same folder is wanted")
    return path.parent / name


def _common(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": entry["name"],
        "modality": entry["modality"],
        "device": entry["device"],
        "provenance": decoded(entry["provenance"]),
    }


def _signal(file: SessionFile, entry: Mapping[str, Any]) -> Signal:
    n_channels = len(entry["channel_names"])
    return Signal(
        **_common(entry),
        segments=tuple(_segment(file, segment, n_channels) for segment in entry["segments"]),
        channel_names=tuple(entry["channel_names"]),
        unit=entry["unit"],
        gain=np.asarray(decoded(entry["gain"]), dtype=np.float64),
        offset=np.asarray(decoded(entry["offset"]), dtype=np.float64),
        table={key: tuple(decoded(column)) for key, column in entry["table"].items()},
    )


def _segment(file: SessionFile, entry: Mapping[str, Any], n_channels: int) -> Segment:
    parts = tuple(
        (part["path"], np.asarray(part["columns"], dtype=np.int64) if "columns" in part else None)
        for part in entry["parts"]
    )
    shape = (int(entry["n_samples"]), n_channels)
    base: Times
    if "rate_hz" in entry:
        base = Timebase(rate_hz=entry["rate_hz"], start_s=entry["start_s"], n_samples=shape[0])
    elif "knots" in entry:
        base = PiecewiseTimebase(knots=tuple((at, time_s) for at, time_s in entry["knots"]), n_samples=shape[0])
    else:
        base = Timestamps(times_s=file.read(entry["timestamps"]) if entry["timestamps"] else np.zeros(0))
    return Segment(samples=StoredSamples(file, shape, np.dtype(entry["dtype"]), parts), timebase=base)


def _rows(file: SessionFile, entry: Mapping[str, Any], column: str, kind: str) -> tuple[Any, ...]:
    """A column as Python values: () where the table is empty and so was not stored."""
    if not entry["n_rows"]:
        return ()
    values = file.read(column).tolist()
    return tuple(decoded(json.loads(v)) for v in values) if kind == "json" else tuple(values)


def _table(file: SessionFile, entry: Mapping[str, Any], folder: str) -> Table:
    return {c["name"]: _rows(file, entry, f"{folder}/{c['stored_as']}", c["kind"]) for c in entry["columns"]}


def _events(file: SessionFile, entry: Mapping[str, Any]) -> Events:
    path = entry["path"]
    lies = entry.get("lies") or {"times": f"{path}/event_times", "labels": f"{path}/label", "columns": path}
    return Events(
        **_common(entry),
        times_s=file.read(lies["times"]) if entry["n_rows"] else np.zeros(0),
        labels=_rows(file, entry, lies["labels"], entry["labels"]),
        table=_table(file, entry, lies["columns"]),
    )


def _intervals(file: SessionFile, entry: Mapping[str, Any]) -> Intervals:
    path = entry["path"]
    bounds_s: FloatArray = np.zeros((0, 2))
    if entry["n_rows"]:
        bounds_s = np.stack([file.read(f"{path}/start_time"), file.read(f"{path}/stop_time")], axis=1)
    return Intervals(
        **_common(entry),
        bounds_s=bounds_s,
        labels=_rows(file, entry, f"{path}/label", entry["labels"]),
        table=_table(file, entry, path),
    )


def _units(file: SessionFile, entry: Mapping[str, Any]) -> Units:
    path = entry["path"]
    trains: list[FloatArray] = []
    if entry["n_rows"]:
        trains = np.split(
            file.read(f"{path}/spike_times"), file.read(f"{path}/spike_times_index")[:-1].astype(np.int64)
        )
    return Units(
        **_common(entry),
        unit_names=_rows(file, entry, f"{path}/unit_name", entry["labels"]),
        spike_times_s=tuple(trains),
        table=_table(file, entry, path),
    )


MAKERS: Mapping[str, Callable[[SessionFile, Mapping[str, Any]], Stream]] = {
    "signal": _signal,
    "events": _events,
    "intervals": _intervals,
    "units": _units,
}


def read_index(file: SessionFile) -> dict[str, Any]:
    """The index of a session file. Raises SessionFileError where there is none, or one this version cannot read."""
    try:
        written = json.loads(file.dataset(INDEX_PATH)[()])
        index = upgraded(dict(written), lambda path: path in file.handle)
        is_whole = index["version"] == INDEX_VERSION and isinstance(index["streams"], list)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SessionFileError(f"{file.path}: no readable {INDEX_PATH} ({error}); a session file is wanted") from error
    if not is_whole:
        raise SessionFileError(
            f"{file.path}: index version {written['version']!r}; 1 to {INDEX_VERSION} are wanted, a newer one needs a "
            "newer neuroloom"
        )
    return index


def written_version(folder: Path) -> int:
    """The index version a session was written in. Raises SessionFileError where it has no readable index."""
    file = SessionFile(folder / MAIN_FILE)
    try:
        read_index(file)
        return int(json.loads(file.dataset(INDEX_PATH)[()])["version"])
    finally:
        file.close()


def session_fields(path: Path) -> dict[str, Any]:
    """The fields of the Session that lies at `path`, a published folder or one of its NWB files."""
    file_path = path / MAIN_FILE if path.is_dir() else path
    file = SessionFile(file_path)
    index = read_index(file)
    try:
        return {
            "subject": index["subject"],
            "session": index["session"],
            "task": index["task"],
            "run": index.get("run", ""),
            "clock": index["clock"],
            "start": datetime.fromisoformat(index["start"]) if index["start"] else None,
            "clock_maps": tuple(clock_map_of(decoded(entry)) for entry in index["clock_maps"]),
            "sources": tuple(decoded(index["sources"])),
            "quality": decoded(index["quality"]),
            "streams": StoredStreams(file, index["streams"]),
            "path": path,
        }
    except (KeyError, TypeError, ValueError) as error:
        raise SessionFileError(f"{file_path}: the index is not whole ({error!r})") from error
