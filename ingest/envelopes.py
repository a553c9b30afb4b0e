"""A signal of any length as columns of least and greatest values: what a screen can show of it, in bounded memory.

Shapes: K columns, C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import FloatArray

COLUMNS = 2000
CHUNK_VALUES = 1 << 20  # values read at once: 8 MiB as floats
MOST_VALUES = 1 << 28  # beyond this only a part of every column is read, and the page says which part


@dataclass(frozen=True, kw_only=True, eq=False)
class Envelope:
    """Least and greatest value per column and channel, in the signal's unit.

    edges_s: shape (K + 1,). low_KC, high_KC: NaN where nothing was recorded. part_read: share of the samples looked at.
    """

    edges_s: FloatArray
    low_KC: FloatArray
    high_KC: FloatArray
    part_read: float = 1.0


def envelope(
    signal: Signal, start_s: float, stop_s: float, n_columns: int = COLUMNS, most_values: int = MOST_VALUES
) -> Envelope:
    """The envelope of a signal between two times of its clock.

    Reads in pieces of `CHUNK_VALUES`; where there are more than `most_values`, only the beginning of each column.
    """
    edges_s = np.linspace(start_s, stop_s, n_columns + 1)
    shape = (n_columns, len(signal.channel_names))
    low_KC, high_KC = np.full(shape, np.nan), np.full(shape, np.nan)
    n_values = max(signal.n_samples * shape[1], 1)
    part = min(1.0, most_values / n_values)
    for segment in signal.segments:
        for samples in pieces(segment, edges_s, part, shape[1]):
            _widen(signal, segment, samples, edges_s, low_KC, high_KC)
    return Envelope(edges_s=edges_s, low_KC=low_KC, high_KC=high_KC, part_read=part)


def pieces(segment: Segment, edges_s: FloatArray, part: float, n_channels: int) -> Iterator[slice]:
    """Runs of samples to read, each small enough: all of them, or the first `part` of every column."""
    n_chunk = max(1, CHUNK_VALUES // max(n_channels, 1))
    if part >= 1.0:
        runs = [segment.timebase.samples_between(edges_s[0], edges_s[-1])]
    else:
        width_s = part * float(edges_s[1] - edges_s[0])
        runs = [segment.timebase.samples_between(edge, edge + width_s) for edge in edges_s[:-1]]
    for run in runs:
        for first in range(run.start, run.stop, n_chunk):
            yield slice(first, min(first + n_chunk, run.stop))


def _widen(
    signal: Signal, segment: Segment, samples: slice, edges_s: FloatArray, low_KC: FloatArray, high_KC: FloatArray
) -> None:
    """Takes one piece into the envelope, in place."""
    values_TC = read_values(signal, segment, samples)
    times_s = segment.timebase.seconds(np.arange(samples.start, samples.stop))
    columns = columns_of(times_s, (edges_s[0], edges_s[-1]), len(low_KC))
    widen(low_KC, high_KC, columns, values_TC, values_TC)


def widen(
    low_KC: FloatArray, high_KC: FloatArray, columns: NDArray[np.int64], low_TC: FloatArray, high_TC: FloatArray
) -> None:
    """Takes rows, each with its least and greatest values, into their columns, in place; columns never fall."""
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    touched = columns[starts]
    low_KC[touched] = np.fmin(low_KC[touched], np.fmin.reduceat(low_TC, starts, axis=0))
    high_KC[touched] = np.fmax(high_KC[touched], np.fmax.reduceat(high_TC, starts, axis=0))


def read_values(signal: Signal, segment: Segment, samples: slice) -> FloatArray:
    """A run of samples in the signal's unit, shape (T, C); what is not finite becomes NaN."""
    values = signal.in_unit(segment.samples[samples])
    return np.where(np.isfinite(values), values, np.nan)


def columns_of(times_s: FloatArray, of_s: tuple[float, float], n_columns: int) -> NDArray[np.int64]:
    """The column each time falls in, of so many between two times; shape (T,)."""
    scaled = (times_s - of_s[0]) / (of_s[1] - of_s[0]) * n_columns
    return np.asarray(np.clip(scaled, 0, n_columns - 1).astype(np.int64))
