"""Kilosort 4: template matching with graph clustering; on a graphics card where torch finds one, else slowly on a CPU.

Pachitariu, Sridhar, Pennington, Stringer 2024, "Spike sorting with Kilosort4", Nature Methods 21:914.
"""

from __future__ import annotations

from neuroloom.ingest.streams import Signal, Units

from . import _spikeinterface

TITLE = "Kilosort 4"
NEEDS = ("kilosort",)


def sort(signal: Signal) -> Units:
    """Spikes of a preprocessed signal; corrects drift. It whitens itself, so the scale it is given does not matter."""
    params = {"do_CAR": False, "do_correction": _spikeinterface.corrects_drift(signal)}
    return _spikeinterface.run(signal, "kilosort4", params)
