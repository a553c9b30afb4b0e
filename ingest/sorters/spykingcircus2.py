"""SpyKING CIRCUS 2, the default: clustering, then template matching, on a CPU.

Yger et al. 2018, "A spike sorting toolbox for up to thousands of electrodes", eLife 7:e34518; the version rewritten
in SpikeInterface.
"""

from __future__ import annotations

from neuroloom.ingest.spikeinterface_bridge import positions_um
from neuroloom.ingest.streams import Signal, Units

from . import _spikeinterface

TITLE = "SpyKING CIRCUS 2"
NEEDS = ("numba", "hdbscan")


def sort(signal: Signal) -> Units:
    """Spikes of a preprocessed signal; drift is corrected where contact positions are known and dense enough."""
    params = {
        "apply_preprocessing": False,
        "apply_motion_correction": positions_um(signal) is not None,
        "seed": 42,
    }
    return _spikeinterface.run(signal, "spykingcircus2", params)
