"""Sorted units: how many, how many accepted, how fast they fire."""

from __future__ import annotations

import numpy as np

from neuroloom.ingest.streams import Stream, Units

from ._finding import Finding

TITLE = "sorted units"
REFRACTORY_MS = 1.5


def applies(stream: Stream) -> bool:
    """Every stream of units."""
    return isinstance(stream, Units)


def check(stream: Stream) -> Finding:
    """Counts, the median rate between the first and the last spike of all, and the share of short intervals."""
    if not isinstance(stream, Units):
        raise ValueError(f"{stream.name}: a {type(stream).__name__}; this check is for Units")
    trains = stream.spike_times_s
    fired = [train for train in trains if len(train)]
    span_s = max(t[-1] for t in fired) - min(t[0] for t in fired) if fired else 0.0
    rates_hz = [len(train) / span_s for train in trains] if span_s > 0 else []
    short = [float((np.diff(train) < REFRACTORY_MS / 1000).mean()) for train in trains if len(train) > 1]
    accepted = stream.table.get("accepted")
    values = {
        "n_units": len(trains),
        "n_accepted": None if accepted is None else sum(bool(verdict) for verdict in accepted),
        "n_spikes": sum(len(train) for train in trains),
        "n_silent": len(trains) - len(fired),
        "median_rate_hz": float(np.median(rates_hz)) if rates_hz else None,
        "median_short_interval_share": float(np.median(short)) if short else None,
    }
    return Finding(values=values, notes=() if fired else ("no spikes",))
