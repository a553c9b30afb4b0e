"""Edges of digital lines: how long a line stayed up, which tells a pulse from its inverse.

Readers that see a line fall give its events a column `high_s`: seconds from the event until the line fell or changed,
NaN where that was not recorded.
"""

from __future__ import annotations

import numpy as np

from neuroloom.ingest.timebase import FloatArray

HIGH = "high_s"


def high_s(rises_s: FloatArray, falls_s: FloatArray) -> FloatArray:
    """From each rise to the fall that follows, NaN where none does; both in order, shapes (R,) and (F,)."""
    following = np.searchsorted(falls_s, rises_s, side="right")
    return np.asarray(np.append(falls_s, np.nan)[following] - rises_s)
