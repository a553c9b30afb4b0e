"""What streams say in words: labelled moments (saccades, text), areas and places of channels, answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Units
from neuroloom.pipeline.runs._binning import Flags, Floats, Grid, Seconds, box, signal_spans_s

Place = tuple[float, float, float] | None


def is_saccades(stream: Events | Intervals) -> bool:
    """True for what an eye tracker calls its saccades."""
    return "saccade" in stream.name.casefold()


def saccades_known(stream: Events | Intervals, session: Session, grid: Grid) -> Flags:
    """True for bins in which a saccade would have been seen: the eyes were, and no saccade is in truth a blink's.

    A blink moves the pupil, so eye trackers report a saccade around each (EyeLink always does).
    """
    signals = [s for s in session.streams if isinstance(s, Signal) and s.device == stream.device]
    spans = [span for signal in signals if signal.modality == "gaze" for span in signal_spans_s(signal)]
    known = grid.whole_bins(spans) if spans else np.ones(grid.n_bins, dtype=np.bool_)
    blinks = [
        other.bounds_s
        for other in session.streams
        if isinstance(other, Intervals) and other.device == stream.device and "blink" in other.name.casefold()
    ]
    if not blinks:
        return known
    blinks_s = np.concatenate(blinks)
    known &= ~box(blinks_s, grid)
    if isinstance(stream, Intervals) and len(blinks_s):
        starts_s, stops_s = stream.bounds_s.T
        around = ((starts_s[:, None] <= blinks_s[:, 1]) & (stops_s[:, None] >= blinks_s[:, 0])).any(axis=1)
        known &= ~box(stream.bounds_s[around], grid)
    return known


def latest(times_s: Seconds, numbers: NDArray[np.int64], grid: Grid, values: Floats, valid: Flags) -> int:
    """Write each number into the bin of its time, the latest where several share one; gives how many were lost."""
    bins = grid.index(times_s)
    inside = (bins >= 0) & (bins < grid.n_bins)
    values[bins[inside]] = numbers[inside]
    valid[bins[inside]] = True
    return int(inside.sum() - np.unique(bins[inside]).size)


def areas(stream: Signal | Units, rows: Iterable[int]) -> tuple[str, ...]:
    """The area of each of these channels or units, "" where none is stated."""
    column = stream.table.get("area")
    return tuple(str(column[i]) if column is not None and column[i] is not None else "" for i in rows)


def positions_mm(stream: Stream, rows: Sequence[int]) -> tuple[Place, ...]:
    """Columns x_mm, y_mm, z_mm of the chosen rows, empty where the table lacks one of them."""
    x, y, z = (stream.table.get(f"{axis}_mm") for axis in "xyz")
    if x is None or y is None or z is None or isinstance(stream, Events | Intervals):
        return ()
    return tuple(_place(x[i], y[i], z[i]) for i in rows)


def _place(*numbers: Any) -> Place:
    x, y, z = (np.nan if number is None else float(number) for number in numbers)
    return (x, y, z) if np.isfinite([x, y, z]).all() else None


def is_answer(answer: Any) -> bool:
    """Whether a cell of a table holds something."""
    return answer is not None and answer != "" and not (isinstance(answer, float) and np.isnan(answer))
