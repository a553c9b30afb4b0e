"""Gaze and pupil: how much was lost, how irregular, and how far outside a plausible range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Signal, Stream

from ._finding import Finding
from ._stretches import stretches

TITLE = "lost and implausible gaze"
MAX_LOST_SHARE = 0.5
# An eye turns some 55 degrees at most; a screen is far smaller than 20,000 px; beyond these a tracker writes its own
# codes for a lost eye (EyeLink: 1e8 or -32768).
PLAUSIBLE = {"deg": 60.0, "px": 20_000.0}


def applies(stream: Stream) -> bool:
    """Gaze and pupil signals with samples."""
    return isinstance(stream, Signal) and stream.modality in ("gaze", "pupil") and stream.n_samples > 0


def check(stream: Stream) -> Finding:
    """Share of lost samples per channel (not finite, or for a pupil not above 0), and of values out of range."""
    if not isinstance(stream, Signal):
        raise ValueError(f"{stream.name}: a {type(stream).__name__}; this check is for a Signal")
    lost, outside, seen = np.zeros(len(stream.channel_names)), np.zeros(len(stream.channel_names)), 0
    pupil = _pupil_channels(stream)
    for _, values in stretches(stream):
        seen += len(values)
        missing = ~np.isfinite(values) | (pupil & (values <= 0))
        lost += missing.sum(axis=0)
        limit = PLAUSIBLE.get(stream.unit, np.inf)
        outside += (~missing & ~pupil & (np.abs(values) > limit)).sum(axis=0)
    lost, outside = lost / max(1, seen), outside / max(1, seen)
    bad = {
        name: f"{lost[i] + outside[i]:.0%} of its samples are lost or out of range"
        for i, name in enumerate(stream.channel_names)
        if lost[i] + outside[i] > MAX_LOST_SHARE
    }
    return Finding(values={"lost_share": lost, "out_of_range_share": outside}, bad_channels=bad)


def _pupil_channels(stream: Signal) -> NDArray[np.bool_]:
    if stream.modality == "pupil":
        return np.ones(len(stream.channel_names), dtype=np.bool_)
    return np.array(["pupil" in name.lower() for name in stream.channel_names], dtype=np.bool_)
