"""Tridesclous 2: peaks clustered by waveform, then peeled off the traces, on a CPU (in SpikeInterface)."""

from __future__ import annotations

from neuroloom.ingest.streams import Signal, Units

from . import _spikeinterface

TITLE = "Tridesclous 2"
NEEDS = ("numba", "hdbscan")
PARAMS = {"apply_preprocessing": False, "seed": 42}


def sort(signal: Signal) -> Units:
    """Spikes of a preprocessed signal."""
    return _spikeinterface.run(signal, "tridesclous2", PARAMS)
