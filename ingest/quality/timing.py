"""When samples came: gaps, and how far intervals stray where a device wrote timestamps."""

from __future__ import annotations

import numpy as np

from neuroloom.ingest.streams import Signal, Stream
from neuroloom.ingest.timebase import Timestamps

from ._finding import Finding

TITLE = "gaps and irregular sampling"
LATE = 1.5  # an interval this many times the median one has lost a sample


def applies(stream: Stream) -> bool:
    """Every sampled signal with samples."""
    return isinstance(stream, Signal) and stream.n_samples > 0


def check(stream: Stream) -> Finding:
    """Gaps between segments in seconds; for timestamps the spread of intervals and the share of late samples."""
    if not isinstance(stream, Signal):
        raise ValueError(f"{stream.name}: a {type(stream).__name__}; this check is for a Signal")
    bases = [segment.timebase for segment in stream.segments]
    gaps_s = stream.gaps_s
    values = {
        "n_segments": len(bases),
        "n_gaps": len(gaps_s),
        "gaps_s": float(sum(gaps_s)),
        "longest_gap_s": float(max(gaps_s, default=0.0)),
        "rate_hz": float(stream.rate_hz),
        "regular": stream.is_regular,
    }
    notes = (_told(gaps_s),) if gaps_s else ()
    irregular = [np.diff(base.times_s) for base in bases if isinstance(base, Timestamps) and base.n_samples > 1]
    if irregular:
        intervals_s = np.concatenate(irregular)
        median_s = float(np.median(intervals_s))
        values["interval_sd_ms"] = float(intervals_s.std() * 1000)
        values["late_share"] = float((intervals_s > LATE * median_s).mean())
        values["longest_interval_ms"] = float(intervals_s.max() * 1000)
    return Finding(values=values, notes=notes)


def _told(gaps_s: list[float]) -> str:
    if len(gaps_s) == 1:
        return f"1 gap of {gaps_s[0]:.3g} s, which stays a gap"
    return f"{len(gaps_s)} gaps, {sum(gaps_s):.3g} s in all, the longest {max(gaps_s):.3g} s, which stay gaps"
