"""What a device wrote, stream by stream, and the one verb for time: `between(start_s, stop_s)`.

    Signal      regularly sampled channels, lazy, original integers with gains, gaps kept as segments
    Events      moments with a label
    Intervals   stretches of time with a label
    Units       spike times of sorted neurons

Every stream answers `.between(start_s, stop_s)` (start included, stop left out) and `.on(clock_map)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.timebase import ClockMap, FloatArray, Timebase


class Samples(Protocol):
    """Anything that gives samples (T, C) by slice without reading the rest: an array, a memory map, a dataset."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, samples: slice, /) -> NDArray[np.generic]: ...


@dataclass(frozen=True, kw_only=True)
class Segment:
    """An unbroken run of samples, shape (T, C), with its own times."""

    samples: Samples
    timebase: Timebase

    def __post_init__(self) -> None:
        if len(self.samples.shape) != 2 or self.samples.shape[0] != self.timebase.n_samples:
            raise ValueError(
                f"samples of shape {self.samples.shape} for {self.timebase.n_samples} times; (T, C) must match"
            )


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Channels sampled together. Value in `unit` = gain * original + offset, per channel.

    segments: in order of time; between them nothing was recorded, and nothing is invented.
    channel_names, gain, offset: one per channel.
    """

    name: str
    segments: tuple[Segment, ...]
    channel_names: tuple[str, ...]
    unit: str
    gain: FloatArray
    offset: FloatArray

    def __post_init__(self) -> None:
        n_channels = len(self.channel_names)
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

    def between(self, start_s: float, stop_s: float) -> Signal:
        """The part taken at `start_s <= t < stop_s`; reads just that part of the originals."""
        parts = []
        for segment in self.segments:
            part = segment.timebase.samples_between(start_s, stop_s)
            if part.stop > part.start:
                base = replace(
                    segment.timebase,
                    start_s=float(segment.timebase.seconds(part.start)),
                    n_samples=part.stop - part.start,
                )
                parts.append(Segment(samples=segment.samples[part], timebase=base))
        return replace(self, segments=tuple(parts))

    def on(self, clock: ClockMap) -> Signal:
        """The same samples at their times on another clock: start and rate move, samples never."""
        slope = 1 + clock.drift_ppm * 1e-6
        moved = tuple(
            replace(
                segment,
                timebase=replace(
                    segment.timebase,
                    start_s=float(clock.seconds(segment.timebase.start_s)),
                    rate_hz=segment.timebase.rate_hz / slope,
                ),
            )
            for segment in self.segments
        )
        return replace(self, segments=moved)

    def values(self) -> list[FloatArray]:
        """Per segment the samples in `unit`, shape (T, C); reads everything that is left, so call `between` first."""
        return [np.asarray(s.samples[:], dtype=np.float64) * self.gain + self.offset for s in self.segments]


@dataclass(frozen=True, kw_only=True)
class Events:
    """Moments with a label: `times_s` of shape (E,), increasing, and as many `labels`."""

    name: str
    times_s: FloatArray
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.times_s) != len(self.labels):
            raise ValueError(f"{self.name}: {len(self.times_s)} times but {len(self.labels)} labels; they must match")
        if not np.isfinite(self.times_s).all() or (np.diff(self.times_s) < 0).any():
            raise ValueError(f"{self.name}: event times go back or are not finite; they must be in order")

    def between(self, start_s: float, stop_s: float) -> Events:
        """The events at `start_s <= t < stop_s`."""
        first, last = np.searchsorted(self.times_s, [start_s, stop_s])
        return replace(self, times_s=self.times_s[first:last], labels=self.labels[first:last])

    def on(self, clock: ClockMap) -> Events:
        """The same events at their times on another clock."""
        return replace(self, times_s=clock.seconds(self.times_s))


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Stretches of time with a label: `bounds_s` of shape (I, 2), each start before or at its stop."""

    name: str
    bounds_s: FloatArray
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.bounds_s.shape != (len(self.labels), 2):
            raise ValueError(f"{self.name}: bounds of shape {self.bounds_s.shape} for {len(self.labels)} labels")
        if not np.isfinite(self.bounds_s).all() or (self.bounds_s[:, 1] < self.bounds_s[:, 0]).any():
            raise ValueError(f"{self.name}: an interval stops before it starts or is not finite")

    def between(self, start_s: float, stop_s: float) -> Intervals:
        """The intervals that overlap `[start_s, stop_s)`, whole: what began earlier is not cut."""
        keep = (self.bounds_s[:, 0] < stop_s) & (self.bounds_s[:, 1] >= start_s)
        labels = tuple(label for label, kept in zip(self.labels, keep, strict=True) if kept)
        return replace(self, bounds_s=self.bounds_s[keep], labels=labels)

    def on(self, clock: ClockMap) -> Intervals:
        """The same intervals on another clock."""
        return replace(self, bounds_s=clock.seconds(self.bounds_s))


@dataclass(frozen=True, kw_only=True)
class Units:
    """Spike times of sorted neurons: per unit an increasing array in seconds, and as many names."""

    name: str
    unit_names: tuple[str, ...]
    spike_times_s: tuple[FloatArray, ...]

    def __post_init__(self) -> None:
        if len(self.unit_names) != len(self.spike_times_s):
            raise ValueError(f"{self.name}: {len(self.unit_names)} units but {len(self.spike_times_s)} spike trains")
        for unit, times_s in zip(self.unit_names, self.spike_times_s, strict=True):
            if not np.isfinite(times_s).all() or (np.diff(times_s) < 0).any():
                raise ValueError(f"{self.name}: spike times of unit {unit} go back or are not finite")

    def between(self, start_s: float, stop_s: float) -> Units:
        """Every unit, with its spikes at `start_s <= t < stop_s`; a silent unit stays."""
        parts = tuple(t[slice(*np.searchsorted(t, [start_s, stop_s]))] for t in self.spike_times_s)
        return replace(self, spike_times_s=parts)

    def on(self, clock: ClockMap) -> Units:
        """The same spikes at their times on another clock."""
        return replace(self, spike_times_s=tuple(clock.seconds(t) for t in self.spike_times_s))


Stream = Signal | Events | Intervals | Units
