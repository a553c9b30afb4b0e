"""Stretches of a signal spread evenly over its time: the whole of a short one, a sample of a long one.

stretches(signal)           the stretches themselves
Reading                     a check that is told of one stretch after another
read_by(signal, readings)   tells several of them: each stretch is read, and computed where it is lazy, once for all
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._threads import ahead
from neuroloom.ingest.streams import Signal

from ._finding import Finding

STRETCH_S = 4.0
MAX_STRETCHES = 30
MAX_VALUES = 1 << 22  # per stretch, over all channels: 32 MiB of float64


class Reading(Protocol):
    """What a check has seen of a signal so far."""

    def add(self, originals: NDArray[Any], values: NDArray[np.float64], /) -> None:
        """The next stretch, both (T, C); it must be left as it is: others see it too."""

    def finding(self) -> Finding:
        """What that says, after the last stretch."""


def read_by(signal: Signal, readings: Collection[Reading]) -> None:
    """Tell all of them of every stretch, while the next one is read; where there are none, nothing is read."""
    if not readings:
        return
    for originals, values in ahead(stretches(signal)):
        for reading in readings:
            reading.add(originals, values)


def found_alone(signal: Signal, reading: Reading) -> Finding:
    """What a single one finds."""
    read_by(signal, (reading,))
    return reading.finding()


def stretches(signal: Signal, most: int = MAX_STRETCHES) -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
    """Up to `most` pairs of originals and values in the signal's unit, both (T, C), of at most 4 s, across no gap."""
    for index, start, stop in _places(signal, most):
        originals = np.asarray(signal.segments[index].samples[start:stop])
        yield originals, signal.in_unit(originals)


def _places(signal: Signal, most: int) -> list[tuple[int, int, int]]:
    """Segment, first and last sample of each stretch, in order of time."""
    n_stretch = int(max(2, min(STRETCH_S * signal.rate_hz, MAX_VALUES // max(1, len(signal.channel_names)))))
    every = [
        (index, start, min(start + n_stretch, segment.timebase.n_samples))
        for index, segment in enumerate(signal.segments)
        for start in range(0, segment.timebase.n_samples, n_stretch)
    ]
    if len(every) <= most:
        return every
    return [every[i] for i in np.unique(np.linspace(0, len(every) - 1, most).round().astype(int))]
