"""MEG: as EEG, one source per area mixed to the sensors by a lead field, which here only a forward solution can give.

A port holds sensors of one type: magnetometers and gradiometers have different units, and no scale in common.
"""

from __future__ import annotations

from . import eeg


class Readout(eeg.Readout):
    """Parameters per channel: mean, log variance."""
