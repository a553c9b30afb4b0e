"""Lupin: what worked best in several sorters, put together by SpikeInterface; clustering and matching, on a CPU."""

from __future__ import annotations

from neuroloom.ingest.streams import Signal, Units

from . import _spikeinterface

TITLE = "Lupin"
NEEDS = ("numba", "sklearn", "torch")


def sort(signal: Signal) -> Units:
    """Spikes of a preprocessed signal; corrects drift. It whitens, on disk; of its own preprocessing nothing else."""
    params = {
        "preprocessing_dict": {},
        "apply_motion_correction": _spikeinterface.corrects_drift(signal),
        "cache_preprocessing_mode": "folder",
        "seed": 42,
    }
    return _spikeinterface.run(signal, "lupin", params)
