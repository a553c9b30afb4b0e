"""Gaze and pupil: how much was lost, how irregular, and how far outside a plausible range."""

from __future__ import annotations

import numpy as np

from neuroloom.ingest.eyes import pupil_channels, unseen
from neuroloom.ingest.streams import Signal, Stream

from ._finding import Finding
from ._stretches import stretches

TITLE = "lost and implausible gaze"
MAX_LOST_SHARE = 0.5


def applies(stream: Stream) -> bool:
    """Gaze and pupil signals with samples."""
    return isinstance(stream, Signal) and stream.modality in ("gaze", "pupil") and stream.n_samples > 0


def check(stream: Stream) -> Finding:
    """Share of lost samples per channel (not finite, or for a pupil not above 0), and of values out of range."""
    if not isinstance(stream, Signal):
        raise ValueError(f"{stream.name}: a {type(stream).__name__}; this check is for a Signal")
    lost, outside, seen = np.zeros(len(stream.channel_names)), np.zeros(len(stream.channel_names)), 0
    pupil = pupil_channels(stream)
    for _, values in stretches(stream):
        seen += len(values)
        missing = ~np.isfinite(values) | (pupil & (values <= 0))
        lost += missing.sum(axis=0)
        outside += (unseen(stream, values) & ~missing).sum(axis=0)
    lost, outside = lost / max(1, seen), outside / max(1, seen)
    bad = {
        name: f"{lost[i] + outside[i]:.0%} of its samples are lost or out of range"
        for i, name in enumerate(stream.channel_names)
        if lost[i] + outside[i] > MAX_LOST_SHARE
    }
    return Finding(values={"lost_share": lost, "out_of_range_share": outside}, bad_channels=bad)
