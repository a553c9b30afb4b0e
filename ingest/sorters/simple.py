"""SpikeInterface's simple sorter: threshold, principal components, HDBSCAN; for tetrodes and a first look."""

from __future__ import annotations

from neuroloom.ingest.streams import Signal, Units

from . import _spikeinterface

TITLE = "simple (threshold and clustering)"
NEEDS = ("numba", "hdbscan")
PARAMS = {"apply_preprocessing": False, "seed": 42}


def sort(signal: Signal) -> Units:
    """Spikes of a preprocessed signal."""
    return _spikeinterface.run(signal, "simple", PARAMS)
