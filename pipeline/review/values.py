"""Samples as the pictures need them: in the signal's unit, a piece at a time.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import numpy as np

from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import FloatArray

CHUNK_VALUES = 1 << 20  # values read at once: 8 MiB as floats


def read_values(signal: Signal, segment: Segment, samples: slice) -> FloatArray:
    """A run of samples in the signal's unit, shape (T, C); what is not finite becomes NaN."""
    values = np.asarray(segment.samples[samples], dtype=np.float64) * signal.gain + signal.offset
    return np.where(np.isfinite(values), values, np.nan)
