"""Signal to SpikeInterface's BaseRecording and back, lazily: no sample is read until SpikeInterface asks for it.

    to_spikeinterface(signal) -> BaseRecording      segments, times, gains, offsets, contact positions
    from_spikeinterface(recording) -> Signal        the same way back

Segments of a Signal become segments of the recording, each with its own start and its own measured rate, so
nothing is filtered or sorted across a gap. Where a segment's rate changes from piece to piece, SpikeInterface is told
the mean: ask the segment's timebase for times of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import TO_MICROVOLTS, Segment, Signal, Table
from neuroloom.ingest.timebase import FloatArray, Timebase, Timestamps

DUMMY_SPACING_UM = 40.0  # two neighbours on each side lie within the 100 µm in which sorters look for one neuron


@dataclass(frozen=True, eq=False)
class RecordingSamples:
    """One segment of a SpikeInterface recording as lazy samples, shape (T, C)."""

    recording: Any
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self.recording.get_num_samples(self.index)), int(self.recording.get_num_channels()))

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.recording.get_dtype())
        return dtype

    def __getitem__(self, samples: slice, /) -> NDArray[Any]:
        start, stop, step = samples.indices(self.shape[0])
        traces = self.recording.get_traces(segment_index=self.index, start_frame=start, end_frame=max(start, stop))
        return np.asarray(traces)[::step]


def to_spikeinterface(signal: Signal) -> Any:
    """A SpikeInterface BaseRecording over the signal's own samples.

    Gains and offsets to µV are set exactly where the unit is a voltage, otherwise as "physical unit". The probe is
    built of the columns `x_um` and `y_um`; where they are missing, unknown or all alike, a straight line of contacts
    `DUMMY_SPACING_UM` apart stands in and the annotation "positions" says so.
    Raises ValueError for a signal without samples or channels.
    """
    if not signal.segments or not signal.channel_names:
        raise ValueError(f"{signal.name}: no samples; at least one channel with one segment is wanted")
    known = _recording_behind(signal)
    return known if known is not None else _lazy_recording(signal)


def from_spikeinterface(recording: Any, *, name: str, modality: str = "wideband", unit: str = "a.u.") -> Signal:
    """The recording as a Signal, lazily: in µV where it has gains to µV, else in `unit` with a gain of 1."""
    n_channels = int(recording.get_num_channels())
    gain, offset = recording.get_channel_gains(), recording.get_channel_offsets()
    scaled = gain is not None and offset is not None
    table: Table = {}
    if recording.has_channel_location() and recording.get_annotation("positions") != _dummy_note():
        positions_um = np.asarray(recording.get_channel_locations(), dtype=np.float64)
        table = {"x_um": tuple(positions_um[:, 0].tolist()), "y_um": tuple(positions_um[:, 1].tolist())}
    return Signal(
        name=name,
        modality=modality,
        segments=tuple(_segment(recording, i) for i in range(recording.get_num_segments())),
        channel_names=tuple(str(channel) for channel in recording.channel_ids),
        unit="uV" if scaled else unit,
        gain=np.asarray(gain, dtype=np.float64) if scaled else np.ones(n_channels),
        offset=np.asarray(offset, dtype=np.float64) if scaled else np.zeros(n_channels),
        table=table,
    )


def positions_um(signal: Signal) -> FloatArray | None:
    """Contact positions of shape (C, 2) from the columns `x_um` and `y_um`, None where they are not all known."""
    if "x_um" not in signal.table or "y_um" not in signal.table:
        return None
    columns = [[np.nan if value is None else float(value) for value in signal.table[key]] for key in ("x_um", "y_um")]
    positions = np.array(columns, dtype=np.float64).T
    if not np.isfinite(positions).all() or len(np.unique(positions, axis=0)) < len(positions):
        return None
    return positions


def _lazy_recording(signal: Signal) -> Any:
    recording_class, segment_class = _classes()
    dtype = np.result_type(*(segment.samples.dtype for segment in signal.segments)).newbyteorder("=")
    recording = recording_class(sampling_frequency=signal.rate_hz, channel_ids=list(channel_ids(signal)), dtype=dtype)
    for segment in signal.segments:
        recording.add_recording_segment(segment_class(segment, dtype))
    factor = TO_MICROVOLTS.get(signal.unit)
    if factor is not None:
        recording.set_channel_gains(signal.gain * factor)
        recording.set_channel_offsets(signal.offset * factor)
    else:
        recording.set_property("gain_to_physical_unit", signal.gain)
        recording.set_property("offset_to_physical_unit", signal.offset)
        recording.set_property("physical_unit", [signal.unit] * len(signal.channel_names))
    _set_probe(recording, signal)
    return recording


def _set_probe(recording: Any, signal: Signal) -> None:
    from probeinterface import Probe

    positions = positions_um(signal)
    n_channels = len(signal.channel_names)
    recording.annotate(positions=_dummy_note() if positions is None else "as recorded")
    if positions is None:
        positions = np.stack([np.zeros(n_channels), np.arange(n_channels) * DUMMY_SPACING_UM], axis=1)
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=positions, shapes="circle", shape_params={"radius": 5.0})
    probe.set_device_channel_indices(np.arange(n_channels))
    recording.set_probe(probe)


def _dummy_note() -> str:
    return f"not known: a line of contacts {DUMMY_SPACING_UM:g} µm apart stands in"


def channel_ids(signal: Signal) -> tuple[str, ...]:
    """The channel names as a recording has them: where names repeat, each is led by its index."""
    names = signal.channel_names
    if len(set(names)) == len(names):
        return names
    return tuple(f"{index}:{name}" for index, name in enumerate(names))


def _recording_behind(signal: Signal) -> Any | None:
    """The recording that a signal was made from, where nothing about it has been changed since: kept serialisable.

    None, too, where the signal is in volts and the recording has no gains that would say so to SpikeInterface.
    """
    first = signal.segments[0].samples
    if not isinstance(first, RecordingSamples):
        return None
    made = from_spikeinterface(first.recording, name=signal.name, modality=signal.modality, unit=signal.unit)
    same = (
        first.recording.has_scaleable_traces() == (signal.unit in TO_MICROVOLTS)
        and len(made.segments) == len(signal.segments)
        and made.channel_names == signal.channel_names
        and made.unit == signal.unit
        and np.array_equal(made.gain, signal.gain)
        and np.array_equal(made.offset, signal.offset)
        and all(signal.table.get(key) == column for key, column in made.table.items())
        and all(_same_segment(a, b) for a, b in zip(made.segments, signal.segments, strict=True))
    )
    return first.recording if same else None


def _same_segment(made: Segment, found: Segment) -> bool:
    a, b = made.samples, found.samples
    if not (isinstance(a, RecordingSamples) and isinstance(b, RecordingSamples)):
        return False
    if a.recording is not b.recording or a.index != b.index:
        return False
    if isinstance(made.timebase, Timestamps) and isinstance(found.timebase, Timestamps):
        return np.array_equal(made.timebase.times_s, found.timebase.times_s)
    return made.timebase == found.timebase


def _segment(recording: Any, index: int) -> Segment:
    samples = RecordingSamples(recording, index)
    kwargs = recording.segments[index].get_times_kwargs()
    if kwargs["time_vector"] is not None:
        return Segment(samples=samples, timebase=Timestamps(times_s=np.asarray(kwargs["time_vector"], np.float64)))
    rate_hz = float(kwargs["sampling_frequency"] or recording.get_sampling_frequency())
    start_s = float(kwargs["t_start"] or 0.0)
    return Segment(samples=samples, timebase=Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=samples.shape[0]))


@cache
def _classes() -> tuple[Any, Any]:
    """SpikeInterface's classes over our samples, made on first use: importing SpikeInterface takes a second."""
    from spikeinterface.core import BaseRecording, BaseRecordingSegment

    class SignalRecordingSegment(BaseRecordingSegment):  # type: ignore[misc]
        def __init__(self, segment: Segment, dtype: np.dtype[Any]) -> None:
            base = segment.timebase
            if not isinstance(base, Timestamps):
                super().__init__(sampling_frequency=base.rate_hz, t_start=base.start_s)
            else:
                super().__init__(time_vector=base.times_s)
            self.samples = segment.samples
            self.sample_dtype = dtype

        def get_num_samples(self) -> int:
            return int(self.samples.shape[0])

        def get_traces(
            self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
        ) -> NDArray[Any]:
            traces = np.asarray(self.samples[slice(start_frame, end_frame)]).astype(self.sample_dtype, copy=False)
            return traces if channel_indices is None else traces[:, channel_indices]

    class SignalRecording(BaseRecording):  # type: ignore[misc]
        name = "SignalRecording"

        def __init__(self, sampling_frequency: float, channel_ids: list[str], dtype: np.dtype[Any]) -> None:
            super().__init__(sampling_frequency=sampling_frequency, channel_ids=channel_ids, dtype=dtype)
            self._serializability = {"memory": True, "json": False, "pickle": False}

    return SignalRecording, SignalRecordingSegment
