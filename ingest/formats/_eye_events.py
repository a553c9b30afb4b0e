"""What a tracker found in gaze itself: the intervals "blinks", "saccades" and "fixations", one row per eye and event.

The columns have the same names whoever wrote the file, and are there where the file gives them:

    saccades    x_start, y_start, x_stop, y_stop, amplitude_deg, peak_velocity_deg_s
    fixations   x_mean, y_mean, pupil_mean

Labels are eyes: "left", "right", "both" where the tracker does not tell them apart, "" where it does not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.streams import Intervals
from neuroloom.ingest.timebase import FloatArray

SACCADE_COLUMNS = ("x_start", "y_start", "x_stop", "y_stop", "amplitude_deg", "peak_velocity_deg_s")
FIXATION_COLUMNS = ("x_mean", "y_mean", "pupil_mean")


def eye_intervals(
    name: str,
    bounds_s: Sequence[tuple[float, float]] | FloatArray,
    labels: Sequence[str],
    table: Mapping[str, Sequence[Any]],
    *,
    path: object,
) -> Intervals:
    """Intervals in order of time. Raises FormatError, naming the event, where one ends before it starts."""
    bounds = np.asarray(bounds_s, dtype=np.float64).reshape(-1, 2)
    wrong = ~(np.isfinite(bounds).all(axis=1) & (bounds[:, 1] >= bounds[:, 0]))
    if wrong.any():
        k = int(wrong.argmax())
        lasts = f"{name} {k + 1} lasts from {bounds[k, 0]:g} to {bounds[k, 1]:g} s"
        raise FormatError(f"{path}: {lasts}; a start before its end is wanted")
    order = np.argsort(bounds[:, 0], kind="stable")
    return Intervals(
        name=name,
        bounds_s=bounds[order],
        labels=tuple(labels[i] for i in order),
        table={key: tuple(column[i] for i in order) for key, column in table.items()},
    )


def runs_of(values: Sequence[Any]) -> Iterator[tuple[int, int, Any]]:
    """Rows that say the same in a row: first, one after the last, what they say."""
    first = 0
    for k in range(1, len(values) + 1):
        if k == len(values) or values[k] != values[first]:
            yield first, k, values[first]
            first = k
