"""What a device wrote, stream by stream, and the one verb for time: `between(start_s, stop_s)`.

    Signal      sampled channels, lazy, original integers with gains, gaps kept as segments
    Events      moments with a label
    Intervals   stretches of time with a label
    Units       spike times of sorted neurons

Every stream answers `.between(start_s, stop_s)` (start included, stop left out) and `.on(clock_map)`, and has

    name        unique within its recording
    modality    what it measures: one of MODALITIES
    device      the clock it was recorded on; empty as long as it lies in a Recording, whose clock that is
    table       further columns, one value per channel, event, interval or unit: {"area": ("V1", "M1")}
    provenance  how it came to be, where a step of ours made it: {"made_by": "lfp", "low_pass_hz": 300}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.timebase import ClockMap, FloatArray, Times, Timestamps
from neuroloom.ingest.words import count, listed, visible

TO_MICROVOLTS = {"V": 1e6, "mV": 1e3, "uV": 1.0, "nV": 1e-3}
MODALITIES = (
    "eeg", "meg", "ieeg", "fnirs", "wideband", "lfp", "emg", "eog", "ecg", "gaze", "pupil",
    "position", "behaviour", "sync", "aux", "events", "intervals", "trials", "units",
)  # fmt: skip

HIGH = "high_s"

Table = Mapping[str, tuple[Any, ...]]
Provenance = Mapping[str, Any]


class Samples(Protocol):
    """Anything that gives samples (T, C) by slice without reading the rest: an array, a memory map, a dataset."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, samples: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True, kw_only=True, repr=False)
class Segment:
    """An unbroken run of samples, shape (T, C), with its own times."""

    samples: Samples
    timebase: Times

    def __repr__(self) -> str:
        return f"<Segment {tuple(self.samples.shape)} of {self.samples.dtype}, {self.timebase!r}>"

    def __post_init__(self) -> None:
        if len(self.samples.shape) != 2 or self.samples.shape[0] != self.timebase.n_samples:
            raise ValueError(
                f"samples of shape {self.samples.shape} for {self.timebase.n_samples} times; (T, C) must match"
            )


@dataclass(frozen=True, kw_only=True, repr=False)
class Signal:
    """Channels sampled together. Value in `unit` = gain * original + offset, per channel.

    segments: in order of time; between them nothing was recorded, and nothing is invented.
    channel_names, gain, offset: one per channel.
    unit: "V", "uV", "T", "deg", "px", "m", "a.u." (stated by the file to have none); never guessed.
    """

    name: str
    modality: str
    segments: tuple[Segment, ...]
    channel_names: tuple[str, ...]
    unit: str
    gain: FloatArray
    offset: FloatArray
    device: str = ""
    table: Table = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_channels = len(self.channel_names)
        _check_modality(self.name, self.modality)
        _check_table(self.name, self.table, n_channels, "channels")
        for what, found in (("gains", len(self.gain)), ("offsets", len(self.offset))):
            if found != n_channels:
                raise ValueError(f"{self.name}: {n_channels} channel names but {found} {what}; they must match")
        for segment in self.segments:
            if segment.samples.shape[1] != n_channels:
                raise ValueError(
                    f"{self.name}: {n_channels} channel names but samples of {segment.samples.shape[1]} channels"
                )
        for earlier, later in zip(self.segments, self.segments[1:], strict=False):
            if later.timebase.start_s < earlier.timebase.stop_s - 0.5 / earlier.timebase.rate_hz:
                raise ValueError(f"{self.name}: a segment starts before the one before it has ended")

    def __repr__(self) -> str:
        size = f"{count(len(self.channel_names), 'channel')} ({listed(self.channel_names, 4)})"
        pieces = f" in {len(self.segments)} segments" if len(self.segments) > 1 else ""
        span = f"{self.start_s:.2f} to {self.stop_s:.2f} s{pieces}"
        return f"<Signal {visible(self.name)}: {self.modality}, {size} at {self.rate_hz:.6g} Hz, {span}, {self.unit}>"

    def _repr_html_(self) -> str:
        from neuroloom.ingest.shown import stream_html

        return stream_html(self)

    @property
    def n_samples(self) -> int:
        """Samples per channel, over all segments."""
        return sum(segment.timebase.n_samples for segment in self.segments)

    @property
    def rate_hz(self) -> float:
        """The rate of the longest segment (segments of one stream differ by their measured drift only)."""
        return max(self.segments, key=lambda s: s.timebase.n_samples).timebase.rate_hz if self.segments else 0.0

    @property
    def gaps_s(self) -> list[float]:
        """How long it pauses between segments, seconds; less than half a sample is no pause."""
        bases = [segment.timebase for segment in self.segments]
        between_s = [later.start_s - earlier.stop_s for earlier, later in pairwise(bases)]
        return [gap_s for gap_s in between_s if gap_s > 0.5 / self.rate_hz]

    @property
    def is_regular(self) -> bool:
        """True where every segment has a rate instead of timestamps, even if it changes by parts per million."""
        return not any(isinstance(segment.timebase, Timestamps) for segment in self.segments)

    @property
    def start_s(self) -> float:
        """Time of the first sample, seconds; 0 where there is none."""
        return self.segments[0].timebase.start_s if self.segments else 0.0

    @property
    def stop_s(self) -> float:
        """Time just after the last sample, seconds."""
        return self.segments[-1].timebase.stop_s if self.segments else 0.0

    def between(self, start_s: float, stop_s: float) -> Signal:
        """The part taken at `start_s <= t < stop_s`; reads just that part of the originals."""
        parts = []
        for segment in self.segments:
            part = segment.timebase.samples_between(start_s, stop_s)
            if part.stop > part.start:
                parts.append(Segment(samples=segment.samples[part], timebase=segment.timebase.part(part)))
        return replace(self, segments=tuple(parts))

    def on(self, clock: ClockMap) -> Signal:
        """The same samples at their times on another clock: start and rate move, samples never."""
        moved = tuple(replace(segment, timebase=segment.timebase.on(clock)) for segment in self.segments)
        return replace(self, segments=moved)

    def in_unit(self, originals: NDArray[Any]) -> FloatArray:
        """Samples (T, C) as they were recorded as values in `unit`, an array of its own."""
        values = np.array(originals, dtype=np.float64)  # in place from here on: half the time
        values *= self.gain
        values += self.offset
        return values

    def values(self) -> list[FloatArray]:
        """Per segment the samples in `unit`, shape (T, C); reads everything that is left, so call `between` first."""
        return [self.in_unit(segment.samples[:]) for segment in self.segments]

    def channels(self, names: tuple[str, ...]) -> Signal:
        """Only these channels, in this order; still lazy. Raises ValueError for a name that is not there."""
        missing = [name for name in names if name not in self.channel_names]
        if missing:
            raise ValueError(f"{self.name} has no channel {missing[0]!r}; it has {list(self.channel_names)}")
        columns = np.array([self.channel_names.index(name) for name in names], dtype=np.int64)
        return replace(
            self,
            channel_names=names,
            gain=self.gain[columns],
            offset=self.offset[columns],
            table={key: tuple(column[i] for i in columns) for key, column in self.table.items()},
            segments=tuple(replace(s, samples=ChannelSubset(s.samples, columns)) for s in self.segments),
        )


def as_slice(columns: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Neighbouring columns as a slice, which takes no copy; others as they are."""
    if columns.size and np.array_equal(columns, np.arange(columns[0], columns[0] + columns.size)):
        return slice(int(columns[0]), int(columns[0]) + columns.size)
    return columns


@dataclass(frozen=True, eq=False)
class ChannelSubset:
    """Some columns of lazy samples, themselves lazy."""

    samples: Samples
    columns: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.samples.shape[0], len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.samples.dtype

    def __getitem__(self, samples: slice, /) -> NDArray[Any]:
        return np.asarray(self.samples[samples])[:, self._taken]

    @cached_property
    def _taken(self) -> slice | NDArray[np.int64]:
        return as_slice(self.columns)


@dataclass(frozen=True, kw_only=True, repr=False)
class Events:
    """Moments with a label: `times_s` of shape (E,), increasing, and as many `labels`.

    Events of a digital line may have a column `HIGH`: seconds until the line fell or changed, NaN where not recorded.
    """

    name: str
    times_s: FloatArray
    labels: tuple[str, ...]
    modality: str = "events"
    device: str = ""
    table: Table = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_modality(self.name, self.modality)
        _check_table(self.name, self.table, len(self.labels), "events")
        if len(self.times_s) != len(self.labels):
            raise ValueError(f"{self.name}: {len(self.times_s)} times but {len(self.labels)} labels; they must match")
        if not np.isfinite(self.times_s).all() or (np.diff(self.times_s) < 0).any():
            raise ValueError(f"{self.name}: event times go back or are not finite; they must be in order")

    def __repr__(self) -> str:
        span = f", {self.times_s[0]:.2f} to {self.times_s[-1]:.2f} s" if len(self.times_s) else ""
        kinds = listed(tuple(dict.fromkeys(self.labels)), 4)
        return f"<Events {visible(self.name)}: {count(len(self.labels), 'event')}{span}, labels {kinds}>"

    def _repr_html_(self) -> str:
        from neuroloom.ingest.shown import stream_html

        return stream_html(self)

    def between(self, start_s: float, stop_s: float) -> Events:
        """The events at `start_s <= t < stop_s`."""
        first, last = np.searchsorted(self.times_s, [start_s, stop_s])
        return self._taken(np.arange(first, last))

    def labelled(self, *labels: str) -> Events:
        """Only the events with one of these labels."""
        return self._taken(np.array([i for i, label in enumerate(self.labels) if label in labels], dtype=np.int64))

    def on(self, clock: ClockMap) -> Events:
        """The same events at their times on another clock."""
        return replace(self, times_s=clock.seconds(self.times_s))

    def _taken(self, rows: NDArray[np.int64]) -> Events:
        table = {key: tuple(column[i] for i in rows) for key, column in self.table.items()}
        return replace(self, times_s=self.times_s[rows], labels=tuple(self.labels[i] for i in rows), table=table)


@dataclass(frozen=True, kw_only=True, repr=False)
class Intervals:
    """Stretches of time with a label: `bounds_s` of shape (I, 2), each start before or at its stop."""

    name: str
    bounds_s: FloatArray
    labels: tuple[str, ...]
    modality: str = "intervals"
    device: str = ""
    table: Table = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_modality(self.name, self.modality)
        _check_table(self.name, self.table, len(self.labels), "intervals")
        if self.bounds_s.shape != (len(self.labels), 2):
            raise ValueError(f"{self.name}: bounds of shape {self.bounds_s.shape} for {len(self.labels)} labels")
        if not np.isfinite(self.bounds_s).all() or (self.bounds_s[:, 1] < self.bounds_s[:, 0]).any():
            raise ValueError(f"{self.name}: an interval stops before it starts or is not finite")

    def __repr__(self) -> str:
        span = f", {self.bounds_s.min():.2f} to {self.bounds_s.max():.2f} s" if len(self.bounds_s) else ""
        kinds = listed(tuple(dict.fromkeys(self.labels)), 4)
        return f"<Intervals {visible(self.name)}: {count(len(self.labels), 'interval')}{span}, labels {kinds}>"

    def _repr_html_(self) -> str:
        from neuroloom.ingest.shown import stream_html

        return stream_html(self)

    def between(self, start_s: float, stop_s: float) -> Intervals:
        """The intervals that overlap `[start_s, stop_s)`, whole: what began earlier is not cut."""
        keep = np.flatnonzero((self.bounds_s[:, 0] < stop_s) & (self.bounds_s[:, 1] >= start_s))
        labels = tuple(self.labels[i] for i in keep)
        table = {key: tuple(column[i] for i in keep) for key, column in self.table.items()}
        return replace(self, bounds_s=self.bounds_s[keep], labels=labels, table=table)

    def on(self, clock: ClockMap) -> Intervals:
        """The same intervals on another clock."""
        return replace(self, bounds_s=clock.seconds(self.bounds_s))


@dataclass(frozen=True, kw_only=True, repr=False)
class Units:
    """Spike times of neurons: per unit an increasing array in seconds, and as many names.

    A device that cuts spikes itself gives a column "kind": "sorted", "unsorted" (what crossed a threshold) or "noise".
    """

    name: str
    unit_names: tuple[str, ...]
    spike_times_s: tuple[FloatArray, ...]
    modality: str = "units"
    device: str = ""
    table: Table = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_modality(self.name, self.modality)
        _check_table(self.name, self.table, len(self.unit_names), "units")
        if len(self.unit_names) != len(self.spike_times_s):
            raise ValueError(f"{self.name}: {len(self.unit_names)} units but {len(self.spike_times_s)} spike trains")
        for unit, times_s in zip(self.unit_names, self.spike_times_s, strict=True):
            if not np.isfinite(times_s).all() or (np.diff(times_s) < 0).any():
                raise ValueError(f"{self.name}: spike times of unit {unit} go back or are not finite")

    def __repr__(self) -> str:
        n_spikes = sum(len(times_s) for times_s in self.spike_times_s)
        size = f"{count(len(self.unit_names), 'unit')} ({listed(self.unit_names, 4)}), {count(n_spikes, 'spike')}"
        return f"<Units {visible(self.name)}: {size}>"

    def _repr_html_(self) -> str:
        from neuroloom.ingest.shown import stream_html

        return stream_html(self)

    @property
    def is_sorted(self) -> bool:
        """False where all its units are mere threshold crossings or noise."""
        kinds = self.table.get("kind")
        return kinds is None or any(kind not in ("unsorted", "noise") for kind in kinds)

    def between(self, start_s: float, stop_s: float) -> Units:
        """Every unit, with its spikes at `start_s <= t < stop_s`; a silent unit stays."""
        parts = tuple(t[slice(*np.searchsorted(t, [start_s, stop_s]))] for t in self.spike_times_s)
        return replace(self, spike_times_s=parts)

    def on(self, clock: ClockMap) -> Units:
        """The same spikes at their times on another clock."""
        return replace(self, spike_times_s=tuple(clock.seconds(t) for t in self.spike_times_s))


Stream = Signal | Events | Intervals | Units


def _check_modality(name: str, modality: str) -> None:
    if modality not in MODALITIES:
        raise ValueError(f"{name}: modality {modality!r} is not known; one of {', '.join(MODALITIES)} is wanted")


def _check_table(name: str, table: Table, n_rows: int, rows: str) -> None:
    for column, values in table.items():
        if len(values) != n_rows:
            raise ValueError(f"{name}: column {column!r} has {len(values)} values for {n_rows} {rows}; they must match")
