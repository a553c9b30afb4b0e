"""Drift of the probe against the tissue: measured from the depths of spikes, and taken back by moving the traces.

    can_drift(recording)              whether its contacts are many and dense enough to tell
    corrected(recording, preset)      traces as if nothing had moved, lazily, and what was found

The methods are SpikeInterface's, by the name of its presets: "dredge_fast" and "dredge" (Windolf et al. 2025, "DREDge:
robust motion correction for high-density extracellular recordings across species", Nature Methods), "rigid_fast",
"nonrigid_accurate", "nonrigid_fast_and_accurate", "kilosort_like".

Design rationale: SpikeInterface estimates motion in one stretch only. Stretches of a recording with gaps are laid end
to end for that, and cut again: how far the probe has moved during a gap shows in the depths of the spikes after it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._aligned_recording import aligned
from neuroloom.ingest.timebase import FloatArray

PRESETS = (
    "dredge_fast",
    "dredge",
    "rigid_fast",
    "nonrigid_accurate",
    "nonrigid_fast_and_accurate",
    "kilosort_like",
)
MOST_MOMENTS, MOST_DEPTHS = 300, 9  # of the motion that are kept to be looked at


def can_drift(recording: Any) -> bool:
    """True for more than 32 contacts within 60 µm across: SpikeInterface's own condition for correction along y."""
    from spikeinterface.sortingcomponents.tools import check_probe_for_drift_correction

    return bool(check_probe_for_drift_correction(recording))


def corrected(recording: Any, preset: str) -> tuple[Any, dict[str, Any]]:
    """The recording with each contact where it was on average, float32, and the numbers of the motion, as JSON has it.

    recording: band-passed and referenced, one or several segments, in µV. Raises ValueError where motion cannot be
    estimated, naming the reason.
    """
    from spikeinterface.preprocessing import correct_motion

    one = recording.get_num_segments() == 1
    whole = recording if one else _end_to_end(recording)
    try:
        moved, motion = correct_motion(
            whole,
            preset=preset,
            output_motion=True,
            interpolate_motion_kwargs={"border_mode": "force_extrapolate"},  # no contact is lost at the ends
            n_jobs=1,
            progress_bar=False,
        )
    except RuntimeError as error:
        raise ValueError(f"drift = {preset!r}: {str(error).rstrip('.')}; 'none' leaves it as it is") from error
    found = np.asarray(motion.displacement[0], dtype=np.float64)  # (time bins, depths)
    said = {
        "preset": preset,
        "largest_um": round(float(np.abs(found).max(initial=0.0)), 2),
        "range_um": round(float(np.ptp(found, axis=0).max(initial=0.0)), 2) if found.size else 0.0,
        "bin_s": round(float(np.diff(motion.temporal_bins_s[0]).mean()), 3)
        if len(motion.temporal_bins_s[0]) > 1
        else 0,
        "over_time": _over_time(np.asarray(motion.temporal_bins_s[0]), np.asarray(motion.spatial_bins_um), found),
    }
    return aligned(moved if one else _cut(moved, recording)), said


def _over_time(times_s: FloatArray, depths_um: FloatArray, moved_um: FloatArray) -> dict[str, Any]:
    """The motion to be looked at: seconds of recording (gaps left out), depths, and µm at each, (time, depth)."""
    kept = np.unique(np.linspace(0, len(times_s) - 1, MOST_MOMENTS).astype(np.int64))
    depths = np.unique(np.linspace(0, len(depths_um) - 1, MOST_DEPTHS).astype(np.int64))
    return {
        "times_s": np.round(times_s[kept] - times_s[0], 3).tolist(),
        "depths_um": np.round(depths_um[depths], 1).tolist(),
        "moved_um": np.round(moved_um[np.ix_(kept, depths)], 2).tolist(),
    }


def _end_to_end(recording: Any) -> Any:
    from spikeinterface.core import concatenate_recordings

    return concatenate_recordings([recording])


def _cut(moved: Any, recording: Any) -> Any:
    """The segments of `recording` again, each at its own times, read from `moved`, where they lie end to end."""
    return _cut_class()(recording, moved)


@cache
def _cut_class() -> Any:
    """SpikeInterface's class, made on first use: importing SpikeInterface takes a second."""
    from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

    class CutSegment(BasePreprocessorSegment):  # type: ignore[misc]
        def __init__(self, parent: Any, moved: Any, begin: int) -> None:
            super().__init__(parent)
            self.moved, self.begin = moved, begin

        def get_traces(self, start_frame: int, end_frame: int, channel_indices: Any) -> NDArray[Any]:
            traces = self.moved.get_traces(self.begin + start_frame, self.begin + end_frame, channel_indices)
            return np.asarray(traces)

    class CutRecording(BasePreprocessor):  # type: ignore[misc]
        name = "cut"

        def __init__(self, recording: Any, moved: Any) -> None:
            super().__init__(recording, dtype=moved.get_dtype())
            begin = 0
            for parent in recording.segments:
                self.add_recording_segment(CutSegment(parent, moved.segments[0], begin))
                begin += parent.get_num_samples()
            self._kwargs = {"recording": recording, "moved": moved}
            self._serializability = {"memory": True, "json": False, "pickle": False}

    return CutRecording
