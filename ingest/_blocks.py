"""A regular signal in blocks with margins, for filters and detectors that must not hold it whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import FloatArray

BLOCK_VALUES = 1 << 22  # 32 MiB of float64


class Block(NamedTuple):
    """Values (T, C) in the signal's unit; `own` are the rows that are no margin; row 0 is sample `first` of segment."""

    segment: int
    first: int
    own: slice
    values: FloatArray


def blocks(signal: Signal, margin_s: float) -> Iterator[Block]:
    """Every sample is `own` in exactly one block; a value that is not finite comes as 0."""
    margin = int(margin_s * signal.rate_hz)
    n_block = max(4 * margin, BLOCK_VALUES // max(1, len(signal.channel_names)))
    for index, segment in enumerate(signal.segments):
        n = segment.timebase.n_samples
        for start in range(0, n, n_block):
            stop = min(start + n_block, n)
            first = max(0, start - margin)
            rows = slice(first, min(n, stop + margin))
            values = signal.in_unit(segment.samples[rows])
            if not np.isfinite(values).all():
                np.nan_to_num(values, copy=False, posinf=0, neginf=0)
            yield Block(index, first, slice(start - first, stop - first), values)
