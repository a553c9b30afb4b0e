"""Edges of digital lines: how long a line stayed up, which tells a pulse from its inverse."""

from __future__ import annotations

import numpy as np

from neuroloom.ingest.timebase import FloatArray


def high_s(rises_s: FloatArray, falls_s: FloatArray) -> FloatArray:
    """From each rise to the fall that follows, NaN where none does; both in order, shapes (R,) and (F,)."""
    following = np.searchsorted(falls_s, rises_s, side="right")
    return np.asarray(np.append(falls_s, np.nan)[following] - rises_s)
