"""Time bins, and how samples, spikes and events fall into them; every function fills arrays block by block.

Shapes: T time bins, C channels, N samples of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Intervals, Segment, Signal, Stream, Units
from neuroloom.ingest.timebase import Timestamps

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Seconds = NDArray[np.float64]
Kernel = Callable[[Seconds], NDArray[Any]]

BLOCK_VALUES = 2_000_000  # samples x channels held at once (16 MB)
FILTER_HALF_WIDTH_BINS = 2.5
FILTER_REACH_BINS = 2  # from a bin's centre, 2.5 bins reach to the end of the second bin after it
EDGE = 1e-6  # of a bin: a time computed from a bin's number must fall into that bin again


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Bins `first_bin` to `first_bin + n_bins - 1`, each starting at a multiple of `bin_s` seconds."""

    first_bin: int
    n_bins: int
    bin_s: float

    @property
    def start_s(self) -> float:
        """Start of the first bin, seconds."""
        return self.first_bin * self.bin_s

    def edges_s(self, first: int = 0, last: int | None = None) -> Seconds:
        """Edges of bins `first` to `last - 1`, one more than there are bins."""
        last = self.n_bins if last is None else last
        return np.asarray(np.arange(self.first_bin + first, self.first_bin + last + 1) * self.bin_s, dtype=np.float64)

    def centres_s(self, first: int = 0, last: int | None = None) -> Seconds:
        """Middle of each bin, seconds."""
        return self.edges_s(first, last)[:-1] + self.bin_s / 2

    def index(self, times_s: Seconds) -> NDArray[np.int64]:
        """The bin of each time; may lie outside the grid."""
        return np.floor(times_s / self.bin_s + EDGE).astype(np.int64) - self.first_bin

    def bins_of(self, start_s: float, stop_s: float) -> slice:
        """The bins whose centre lies in `[start_s, stop_s)`."""
        edges = np.array([start_s, stop_s]) / self.bin_s - 0.5 - self.first_bin
        first, last = np.clip(np.ceil(edges - EDGE), 0, self.n_bins).astype(int)
        return slice(int(first), int(max(first, last)))

    def whole_bins(self, spans_s: Iterable[tuple[float, float]]) -> Flags:
        """True for bins that lie wholly inside one of the spans."""
        inside = np.zeros(self.n_bins, dtype=np.bool_)
        for start_s, stop_s in spans_s:
            first = np.ceil(start_s / self.bin_s - EDGE) - self.first_bin
            last = np.floor(stop_s / self.bin_s + EDGE) - self.first_bin
            inside[int(np.clip(first, 0, self.n_bins)) : int(np.clip(last, 0, self.n_bins))] = True
        return inside


def grid_of(session: Session, bin_s: float) -> Grid:
    """The bins that all streams of a session fall into. Raises ValueError where there is nothing to put into bins."""
    spans = [span for stream in session.streams for span in _extent_s(stream)]
    if not spans:
        raise ValueError(f"{session.id}: no samples, spikes or events; there is nothing to put into bins")
    first = int(np.floor(min(start for start, _ in spans) / bin_s + 1e-9))
    last = int(np.ceil(max(stop for _, stop in spans) / bin_s - 1e-9))
    return Grid(first_bin=first, n_bins=max(last - first, 1), bin_s=bin_s)


def _extent_s(stream: Stream) -> list[tuple[float, float]]:
    if isinstance(stream, Signal):
        return [(stream.start_s, stream.stop_s)] if stream.segments else []
    if isinstance(stream, Units):
        return [(float(times_s[0]), float(times_s[-1])) for times_s in stream.spike_times_s if times_s.size]
    times_s = stream.bounds_s if isinstance(stream, Intervals) else stream.times_s
    return [(float(times_s.min()), float(times_s.max()))] if times_s.size else []


def signal_spans_s(signal: Signal) -> list[tuple[float, float]]:
    """From first to just after the last sample, per segment."""
    return [(segment.timebase.start_s, segment.timebase.stop_s) for segment in signal.segments]


def counts(spike_times_s: Seconds, grid: Grid) -> NDArray[np.float64]:
    """Spikes per bin, shape (T,)."""
    bins = grid.index(spike_times_s)
    inside = bins[(bins >= 0) & (bins < grid.n_bins)]
    return np.bincount(inside, minlength=grid.n_bins).astype(np.float64)


def impulses(times_s: Seconds, columns: NDArray[np.int64], grid: Grid, values: Floats) -> None:
    """Add one to (bin, column) for each event."""
    bins = grid.index(times_s)
    inside = (bins >= 0) & (bins < grid.n_bins)
    np.add.at(values, (bins[inside], columns[inside]), 1)


def box(bounds_s: Seconds, grid: Grid) -> Flags:
    """True for bins that any of the intervals, shape (I, 2), touches."""
    inside = np.zeros(grid.n_bins, dtype=np.bool_)
    for start_s, stop_s in bounds_s:
        first = int(grid.index(np.array([start_s]))[0])
        last = int(np.ceil(stop_s / grid.bin_s - EDGE)) - grid.first_bin
        inside[max(first, 0) : max(last, first + 1, 0)] = True
    return inside


def means(signal: Signal, grid: Grid, values: Floats, valid: Flags, *, hold: bool = True) -> None:
    """Mean of each bin's finite samples; a bin without any is not valid.

    hold: a signal slower than the bins is held for at most one and a half of its sample periods: interpolation would
        look into the future.
    """
    n_held = int(np.floor(1.5 * _period_s(signal) / grid.bin_s)) if hold else 0
    for segment in signal.segments:
        for first, last in _blocks(segment, signal, grid, most_bins=4096):
            times_s, samples = _read(segment, signal, *grid.edges_s(first, last)[[0, -1]])
            bins = grid.index(times_s) - first
            inside = (bins >= 0) & (bins < last - first)
            finite = np.isfinite(samples) & inside[:, None]
            total = np.zeros((last - first, samples.shape[1]))
            n_finite = np.zeros_like(total)
            np.add.at(total, bins[inside], np.where(finite, samples, 0)[inside])
            np.add.at(n_finite, bins[inside], finite[inside])
            known = n_finite > 0
            values[first:last][known] = (total[known] / n_finite[known]).astype(np.float32)
            valid[first:last] |= known
    if n_held:
        _hold(values, valid, n_held)


def _period_s(signal: Signal) -> float:
    """Time between two samples; of timestamps the median, which gaps do not move."""
    longest = max(signal.segments, key=lambda segment: segment.timebase.n_samples).timebase
    if isinstance(longest, Timestamps) and longest.n_samples > 1:
        return float(np.median(np.diff(longest.times_s)))
    return 1 / longest.rate_hz


def _hold(values: Floats, valid: Flags, n_bins: int) -> None:
    for column in range(values.shape[1]):
        known = valid[:, column].copy()
        latest = np.maximum.accumulate(np.where(known, np.arange(known.size), -1))
        near = (latest >= 0) & (np.arange(known.size) - latest <= n_bins)
        values[near, column] = values[latest[near], column]
        valid[near, column] = True


def filtered(signal: Signal, grid: Grid, values: Floats, valid: Flags) -> None:
    """Low-passed at 0.4 of the bin rate and taken at the bin centres; valid where a segment covers the whole kernel.

    Design rationale: the kernel (a Hann-windowed sinc, five bins long) is evaluated at the true distance between
    each sample and the bin centre, so that any rate goes with any bin without resampling in between. It is
    zero-phase: a causal filter would shift EEG against spikes by more than a bin.
    """
    half_s = FILTER_HALF_WIDTH_BINS * grid.bin_s
    cutoff_hz = 0.4 / grid.bin_s

    def kernel(lag_s: Seconds) -> NDArray[Any]:
        return np.asarray(np.sinc(2 * cutoff_hz * lag_s) * _hann(lag_s, half_s))

    for first, last, mixed, known in _convolved(signal, grid, kernel, half_s, gain_at_hz=0.0):
        values[first:last][known] = mixed.real[known].astype(np.float32)
        valid[first:last] |= known


def power(signal: Signal, grid: Grid, values: Floats, valid: Flags, *, low_hz: float, high_hz: float) -> None:
    """Natural logarithm of the power between two frequencies around each bin centre, in unit squared."""
    half_s = _power_half_s(low_hz, high_hz, grid)
    middle_hz = (low_hz + high_hz) / 2

    def kernel(lag_s: Seconds) -> NDArray[Any]:
        return np.asarray(np.exp(-2j * np.pi * middle_hz * lag_s) * _hann(lag_s, half_s))

    tiny = float(np.finfo(np.float64).tiny)
    for first, last, mixed, known in _convolved(signal, grid, kernel, half_s, gain_at_hz=middle_hz):
        values[first:last][known] = np.log(2 * np.abs(mixed[known]) ** 2 + tiny).astype(np.float32)
        valid[first:last] |= known


def power_reach_bins(low_hz: float, high_hz: float, grid: Grid) -> int:
    """How many bins after its own a value of `power` depends on."""
    return max(0, int(np.ceil(_power_half_s(low_hz, high_hz, grid) / grid.bin_s - 0.5 - EDGE)))


def _power_half_s(low_hz: float, high_hz: float, grid: Grid) -> float:
    if not 0 < low_hz < high_hz:
        raise ValueError(f"band from {low_hz} to {high_hz} Hz; 0 < low < high is wanted")
    return max(FILTER_HALF_WIDTH_BINS * grid.bin_s, 2 / (high_hz - low_hz))


def _hann(lag_s: Seconds, half_s: float) -> Seconds:
    return np.where(np.abs(lag_s) < half_s, 0.5 + 0.5 * np.cos(np.pi * lag_s / half_s), 0.0)


def _convolved(
    signal: Signal, grid: Grid, kernel: Kernel, half_s: float, *, gain_at_hz: float
) -> Iterable[tuple[int, int, NDArray[Any], Flags]]:
    """Per block of bins: first, last, values (bins, C) with unit gain at a frequency, and where they are known."""
    for segment in signal.segments:
        start_s, stop_s = segment.timebase.start_s, segment.timebase.stop_s
        slack_s = 0.5 / segment.timebase.rate_hz
        for first, last in _blocks(segment, signal, grid, most_bins=32):
            centres_s = grid.centres_s(first, last)
            times_s, samples = _read(segment, signal, centres_s[0] - half_s, centres_s[-1] + half_s)
            lag_s = times_s[None, :] - centres_s[:, None]
            weights = kernel(lag_s)
            tone = np.exp(2j * np.pi * gain_at_hz * lag_s) if gain_at_hz else 1.0
            unit = np.abs((weights * tone).sum(axis=1, keepdims=True))
            covered = (centres_s - half_s >= start_s - slack_s) & (centres_s + half_s <= stop_s + slack_s)
            finite = np.isfinite(samples)
            mixed = (weights / np.maximum(unit, 1e-12)) @ np.where(finite, samples, 0)
            touched = (
                (weights != 0).astype(np.float64) @ (~finite).astype(np.float64) > 0 if not finite.all() else False
            )
            yield first, last, mixed, np.asarray(covered[:, None] & ~np.asarray(touched) & np.ones_like(mixed, bool))


def _blocks(segment: Segment, signal: Signal, grid: Grid, *, most_bins: int) -> Iterable[tuple[int, int]]:
    """Runs of bins that a segment touches, each short enough to be held in memory."""
    first = max(0, int(grid.index(np.array([segment.timebase.start_s]))[0]))
    last = min(grid.n_bins, int(np.ceil(segment.timebase.stop_s / grid.bin_s - EDGE)) - grid.first_bin)
    values_per_bin = max(1.0, segment.timebase.rate_hz * grid.bin_s) * len(signal.channel_names)
    size = int(np.clip(BLOCK_VALUES / values_per_bin, 1, most_bins))
    for start in range(first, last, size):
        yield start, min(start + size, last)


def _read(segment: Segment, signal: Signal, start_s: float, stop_s: float) -> tuple[Seconds, Seconds]:
    """Times (N,) and samples (N, C) in the signal's unit."""
    part = segment.timebase.samples_between(start_s - 1e-9, stop_s)
    times_s = segment.timebase.seconds(np.arange(part.start, part.stop))
    return times_s, signal.in_unit(segment.samples[part])
