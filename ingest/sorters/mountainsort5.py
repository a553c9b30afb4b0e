"""MountainSort 5: branch clustering of waveforms by isosplit, on a CPU; for tetrodes to some hundred channels.

Chung, Magland et al. 2017, "A fully automated approach to spike sorting", Neuron 95:1381; version 5. It has no
correction of drift.
"""

from __future__ import annotations

from neuroloom.ingest.streams import Signal, Units

from . import _spikeinterface

TITLE = "MountainSort 5"
NEEDS = ("mountainsort5",)


def sort(signal: Signal) -> Units:
    """Spikes of a preprocessed signal; it whitens, and does not filter again."""
    return _spikeinterface.run(signal, "mountainsort5", {"filter": False, "whitening_seed": 42})
