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

from itertools import pairwise
from typing import Any

import numpy as np

from neuroloom.ingest._aligned_recording import aligned

PRESETS = (
    "dredge_fast",
    "dredge",
    "rigid_fast",
    "nonrigid_accurate",
    "nonrigid_fast_and_accurate",
    "kilosort_like",
)


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

    lengths = [recording.get_num_samples(k) for k in range(recording.get_num_segments())]
    whole = recording if len(lengths) == 1 else _end_to_end(recording)
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
    }
    return aligned(moved if len(lengths) == 1 else _cut(moved, recording, lengths)), said


def _end_to_end(recording: Any) -> Any:
    from spikeinterface.core import concatenate_recordings

    return concatenate_recordings([recording])


def _cut(moved: Any, recording: Any, lengths: list[int]) -> Any:
    """The segments again, each with the start and the rate that it had."""
    from spikeinterface.core import append_recordings

    ends = np.cumsum([0, *lengths])
    parts = [moved.frame_slice(int(a), int(b)) for a, b in pairwise(ends)]
    cut = append_recordings(parts)
    for segment, of in zip(cut.segments, recording.segments, strict=True):
        times = of.get_times_kwargs()
        segment.t_start, segment.time_vector = times["t_start"], times["time_vector"]
        segment.sampling_frequency = times["sampling_frequency"]
    return cut
