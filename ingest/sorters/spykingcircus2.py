"""SpyKING CIRCUS 2, the default: clustering, then template matching, on a CPU.

Yger et al. 2018, "A spike sorting toolbox for up to thousands of electrodes", eLife 7:e34518; the version rewritten
in SpikeInterface.
"""

from __future__ import annotations

from neuroloom.ingest.streams import Signal, Units

from . import _spikeinterface

TITLE = "SpyKING CIRCUS 2"
NEEDS = ("numba", "hdbscan")

# The signal comes filtered and referenced. Peaks are detected over the whole recording in a fixed order, so that
# sorting twice gives the same units.
PARAMS = {
    "apply_preprocessing": False,
    "deterministic_peaks_detection": True,
    "seed": 42,
}


def sort(signal: Signal) -> Units:
    """Spikes of a preprocessed signal."""
    return _spikeinterface.run(signal, "spykingcircus2", PARAMS)
