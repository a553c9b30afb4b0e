"""SpyKING CIRCUS 2, the default: clustering, then template matching, on a CPU.

Yger et al. 2018, "A spike sorting toolbox for up to thousands of electrodes", eLife 7:e34518; the version rewritten
in SpikeInterface.
"""

from __future__ import annotations

from neuroloom.ingest.streams import Signal, Units

from . import _spikeinterface

TITLE = "SpyKING CIRCUS 2"
NEEDS = ("numba", "hdbscan")


def sort(signal: Signal) -> Units:
    """Spikes of a preprocessed signal; corrects drift. It whitens, on disk: memory does not grow with the length."""
    params = {
        "apply_preprocessing": False,
        "apply_motion_correction": _spikeinterface.corrects_drift(signal),
        "cache_preprocessing": {"mode": "folder", "folder": f"{_spikeinterface.FOLDER}/whitened"},
        "seed": 42,
    }
    return _spikeinterface.run(signal, "spykingcircus2", params)
