"""The NWB objects of one file, as pynwb declares them: series without samples, tables with their rows."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._nwb_layout import (
    INDEX_PATH,
    SPATIAL,
    VOLTS,
    Series,
    column_names,
    encoded,
    kind_of,
    series_of,
    signal_entry,
    table_entry,
)
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Table, Units
from neuroloom.ingest.timebase import PiecewiseTimebase, Timebase

if TYPE_CHECKING:
    from neuroloom.ingest._nwb_write import FileHead

UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)
SPATIAL_UNITS = {
    "deg": "degrees",
    "rad": "radians",
    "px": "pixels",
    "m": "meters",
    "cm": "centimeters",
    "mm": "millimeters",
}
CHUNK_ROWS = 1000
MIN_CHUNK_BYTES, MAX_CHUNK_BYTES = 1 << 17, 1 << 20


class Skeleton:
    """Collects the streams of one file into an NWBFile whose series are declared and still empty.

    series: those whose samples are to be filled in. with_places: some channels' places on a probe are known, so the
    electrodes table has columns for them; NaN where they are not.
    """

    def __init__(
        self,
        head: FileHead,
        *,
        sample_filters: Mapping[str, Any],
        table_filters: Mapping[str, Any],
        with_places: bool = False,
    ) -> None:
        from pynwb import NWBFile
        from pynwb.file import Subject

        self.series: list[Series] = []
        self._with_places = with_places
        self._sample_filters = dict(sample_filters)
        self._table_filters = dict(table_filters)
        start = head.start if head.start is not None else UNKNOWN_START
        self.nwb = NWBFile(
            session_description=plain(head.description),
            identifier=head.identifier,
            session_id=plain(head.session_id),
            session_start_time=start if start.tzinfo is not None else start.replace(tzinfo=UTC),
            subject=Subject(**{key: plain(value) for key, value in head.subject.items()}),
        )

    def add(self, stream: Stream, safe_name: str) -> dict[str, Any]:
        """Declare a stream; returns its index entry."""
        if isinstance(stream, Signal):
            return self._add_signal(stream, safe_name)
        path = {
            Events: f"/processing/misc/{safe_name}",
            Intervals: f"/intervals/{safe_name}",
            Units: f"/processing/ecephys/{safe_name}",
        }[type(stream)]
        if isinstance(stream, Intervals) and stream.modality == "trials" and self.nwb.trials is None:
            path = "/intervals/trials"
        if isinstance(stream, Units) and self.nwb.units is None:
            path = "/units"
        if isinstance(stream, Events):
            self._add_events(stream, path)
        elif isinstance(stream, Intervals):
            self._add_intervals(stream, path)
        else:
            self._add_units(stream, path)
        return table_entry(stream, path)

    def add_index(self, text: str) -> None:
        """Add the index, a JSON text."""
        name = INDEX_PATH.rsplit("/", 1)[1]
        self.nwb.add_scratch(text, name=name, description="Exact description of every stream, JSON, read by neuroloom")

    def _add_signal(self, signal: Signal, safe_name: str) -> dict[str, Any]:
        _check_storable(signal)
        series = series_of(signal, safe_name)
        rows = self._electrodes(signal, safe_name) if series and series[0].is_electrical else []
        for one in series:
            self._place(one, self._electrical(one, rows) if one.is_electrical else self._plain_series(one))
        self.series += series
        return signal_entry(signal, series)

    def _place(self, series: Series, nwb_series: Any) -> None:
        from pynwb import behavior
        from pynwb.ecephys import LFP

        folders = series.path.strip("/").split("/")[:-1]
        if folders == ["acquisition"]:
            self.nwb.add_acquisition(nwb_series)
            return
        module = self._module(folders[1])
        if len(folders) == 2:
            module.add(nwb_series)
            return
        if folders[2] not in module.data_interfaces:
            module.add(LFP(name="LFP") if folders[2] == "LFP" else getattr(behavior, folders[2])(name=folders[2]))
        container = module[folders[2]]
        add = {
            "EyeTracking": "add_spatial_series",
            "Position": "add_spatial_series",
            "LFP": "add_electrical_series",
        }.get(folders[2], "add_timeseries")
        getattr(container, add)(nwb_series)

    def _module(self, name: str) -> Any:
        if name not in self.nwb.processing:
            what = {
                "ecephys": "electric signals and sorted units",
                "behavior": "gaze, pupil, position and behaviour",
                "misc": "moments with a label",
            }
            self.nwb.create_processing_module(name=name, description=what[name])
        return self.nwb.processing[name]

    def _declared(self, series: Series) -> Any:
        from hdmf.backends.hdf5.h5_utils import H5DataIO

        shape = series.shape
        dtype = series.segment.samples.dtype.newbyteorder("<")
        filters = {"chunks": chunk_shape(shape, dtype.itemsize), **self._sample_filters} if shape[0] else {}
        with warnings.catch_warnings():
            # Meant: companions need hdf5plugin, as the layout says.
            warnings.filterwarnings("ignore", message=".*compression may not be available", category=UserWarning)
            return H5DataIO(shape=shape, dtype=dtype, **filters)

    def _times(self, series: Series) -> dict[str, Any]:
        base = series.segment.timebase
        if isinstance(base, Timebase):
            return {"starting_time": base.start_s, "rate": base.rate_hz}
        if isinstance(base, PiecewiseTimebase):
            return {"timestamps": self._declared_times(base.n_samples)}
        return {"timestamps": self._column(base.times_s)}

    def _declared_times(self, n_samples: int) -> Any:
        """Room for a time per sample: stock readers know no rate that changes. Filled block by block, like samples."""
        from hdmf.backends.hdf5.h5_utils import H5DataIO

        filters = {"chunks": (min(n_samples, MAX_CHUNK_BYTES // 8),), **self._table_filters} if n_samples else {}
        return H5DataIO(shape=(n_samples,), dtype=np.dtype("<f8"), **filters)

    def _electrodes(self, signal: Signal, safe_name: str) -> list[int]:
        """One row of the electrodes table per channel, in a group per shank; returns the row numbers."""
        device_name = f"{safe_name}_device"
        device = self.nwb.create_device(name=device_name, description=plain(f"recorded {signal.name}: {signal.device}"))
        groups = self._shanks(signal, safe_name, device)
        if self.nwb.electrodes is None or "channel_name" not in self.nwb.electrodes.colnames:
            self._add_electrode_columns()
        areas = next((signal.table[key] for key in ("area", "location") if key in signal.table), None)
        first = len(self.nwb.electrodes) if self.nwb.electrodes is not None else 0
        for i, name in enumerate(signal.channel_names):
            location = plain(str(areas[i])) if areas is not None and areas[i] else "unknown"
            place = {f"rel_{axis}": _place(signal, f"{axis}_um", i) for axis in "xy"} if self._with_places else {}
            self.nwb.add_electrode(
                group=groups[i], location=location, channel_name=plain(name), enforce_unique_id=False, **place
            )
        return list(range(first, first + len(signal.channel_names)))

    def _add_electrode_columns(self) -> None:
        self.nwb.add_electrode_column(name="channel_name", description="name of the channel in the recording")
        if self._with_places:
            for axis, what in (("x", "across the probe"), ("y", "along the probe, away from its tip")):
                self.nwb.add_electrode_column(name=f"rel_{axis}", description=f"place {what}, in microns")

    def _shanks(self, signal: Signal, safe_name: str, device: Any) -> list[Any]:
        """The electrode group of each channel: one for all where its shanks are not told apart."""
        shanks = [str(shank) for shank in signal.table.get("group", ("",) * len(signal.channel_names))]
        several = len(set(shanks)) > 1
        made = {
            shank: self.nwb.create_electrode_group(
                name=f"{safe_name}_shank{k}" if several else safe_name,
                description=plain(f"channels of {signal.name}" + (f", shank {shank}" if several else "")),
                location="unknown",
                device=device,
            )
            for k, shank in enumerate(dict.fromkeys(shanks))
        }
        return [made[shank] for shank in shanks]

    def _electrical(self, series: Series, rows: Sequence[int]) -> Any:
        from pynwb.ecephys import ElectricalSeries

        signal, columns = series.signal, list(series.columns)
        gains_V = signal.gain[columns] * VOLTS[signal.unit]
        alike = bool((gains_V == gains_V[0]).all())
        region = self.nwb.create_electrode_table_region(
            region=[rows[c] for c in columns], description=plain(f"channels of {signal.name}")
        )
        return ElectricalSeries(
            name=series.path.rsplit("/", 1)[1],
            description=_description(series),
            data=self._declared(series),
            electrodes=region,
            conversion=float(gains_V[0]) if alike else 1.0,
            channel_conversion=None if alike else gains_V,
            offset=float(signal.offset[columns[0]] * VOLTS[signal.unit]),
            **self._times(series),
        )

    def _plain_series(self, series: Series) -> Any:
        from pynwb import TimeSeries
        from pynwb.behavior import SpatialSeries

        signal, first = series.signal, series.columns[0]
        spatial = signal.modality in SPATIAL
        return (SpatialSeries if spatial else TimeSeries)(
            name=series.path.rsplit("/", 1)[1],
            description=_description(series),
            data=self._declared(series),
            unit=SPATIAL_UNITS.get(signal.unit, "n.a.") if spatial else plain(signal.unit),
            conversion=float(signal.gain[first]),
            offset=float(signal.offset[first]),
            **({"reference_frame": "as the device defines it"} if spatial else {}),
            **self._times(series),
        )

    def _column(self, values: NDArray[Any]) -> Any:
        """An array with filters; text has none, since HDF5 filters only see pointers to it."""
        from hdmf.backends.hdf5.h5_utils import H5DataIO

        if values.size == 0 or values.dtype.kind == "O":
            return values
        rows = min(values.shape[0], MAX_CHUNK_BYTES // 8)
        return H5DataIO(data=values, chunks=(rows, *values.shape[1:]), **self._table_filters)

    def _vector(self, name: str, description: str, values: NDArray[Any]) -> Any:
        from hdmf.common import VectorData

        return VectorData(name=name, description=plain(description), data=self._column(values))

    def _table_columns(self, table: Table) -> list[Any]:
        return [
            self._vector(stored_as, f"{name} of each row", stored(table[name]))
            for stored_as, name in zip(column_names(table), table, strict=True)
        ]

    def _add_events(self, events: Events, path: str) -> None:
        from hdmf.common import DynamicTable

        if not events.labels:
            return
        columns = [
            self._vector("event_times", "when it happened, seconds", events.times_s),
            self._vector("label", "what it is", stored(events.labels)),
            *self._table_columns(events.table),
        ]
        description = plain(f"{events.name}: moments with a label")
        table = DynamicTable(name=path.rsplit("/", 1)[1], description=description, columns=columns)
        self._module("misc").add(table)

    def _add_intervals(self, intervals: Intervals, path: str) -> None:
        from pynwb.epoch import TimeIntervals

        if not intervals.labels:
            return
        columns = [
            self._vector("start_time", "start, seconds", intervals.bounds_s[:, 0]),
            self._vector("stop_time", "stop, seconds", intervals.bounds_s[:, 1]),
            self._vector("label", "what it is", stored(intervals.labels)),
            *self._table_columns(intervals.table),
        ]
        name = path.rsplit("/", 1)[1]
        table = TimeIntervals(
            name=name, description=plain(f"{intervals.name}: intervals with a label"), columns=columns
        )
        if path == "/intervals/trials":
            self.nwb.trials = table
        else:
            self.nwb.add_time_intervals(table)

    def _add_units(self, units: Units, path: str) -> None:
        from hdmf.common import VectorIndex
        from pynwb.misc import Units as NwbUnits

        if not units.unit_names:
            return
        times_s = np.concatenate([np.asarray(t, dtype=np.float64) for t in units.spike_times_s])
        spikes = self._vector("spike_times", "spike times, seconds", times_s)
        ends = np.cumsum([len(t) for t in units.spike_times_s]).astype(np.uint64)
        columns = [
            spikes,
            VectorIndex(name="spike_times_index", target=spikes, data=self._column(ends)),
            self._vector("unit_name", "name of the unit", stored(units.unit_names)),
            *self._table_columns(units.table),
        ]
        table = NwbUnits(name=path.rsplit("/", 1)[1], description=plain(f"{units.name}: sorted units"), columns=columns)
        if path == "/units":
            self.nwb.units = table
        else:
            self._module("ecephys").add(table)


def chunk_shape(shape: tuple[int, int], itemsize: int) -> tuple[int, int]:
    """About 1,000 samples of all channels, 128 KB to 1 MB, so that reading a short window decodes little else."""
    row_bytes = max(shape[1] * itemsize, 1)
    rows = min(max(CHUNK_ROWS, MIN_CHUNK_BYTES // row_bytes), max(MAX_CHUNK_BYTES // row_bytes, 1))
    return (min(rows, shape[0]), shape[1])


def stored(values: Sequence[Any]) -> NDArray[Any]:
    """A column as an array HDF5 can hold: numbers and flags as they are, text as text, anything mixed as JSON."""
    kind = kind_of(values)
    if kind in ("bool", "int", "float"):
        return np.asarray(values, dtype={"bool": np.bool_, "int": np.int64, "float": np.float64}[kind])
    texts = values if kind == "str" else [json.dumps(encoded(value), allow_nan=False) for value in values]
    return np.array(texts, dtype=h5py.string_dtype())


def plain(text: str) -> str:
    """Text as NWB attributes can hold it: printable, not empty, at most 1,000 characters."""
    kept = "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "?" for c in text)
    return re.sub(r"\s+", " ", kept).strip()[:1000] or "unknown"


def _place(signal: Signal, column: str, channel: int) -> float:
    """A channel's place in µm, NaN where it is not known."""
    value = signal.table[column][channel] if column in signal.table else None
    return float(value) if isinstance(value, int | float) else float("nan")


def _description(series: Series) -> str:
    signal = series.signal
    return plain(
        f"{signal.name} ({signal.modality}), channels: {', '.join(signal.channel_names[c] for c in series.columns)}"
    )


def _check_storable(signal: Signal) -> None:
    if not signal.channel_names:
        raise ValueError(f"{signal.name}: has no channels; at least one is wanted")
    for segment in signal.segments:
        if segment.samples.dtype.kind not in "biuf":
            raise ValueError(f"{signal.name}: samples of type {segment.samples.dtype}; numbers are wanted")
