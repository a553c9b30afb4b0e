"""Gaze and pupil: how much was lost, how irregular, and how far outside a plausible range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.eyes import pupil_channels, unseen
from neuroloom.ingest.streams import Signal, Stream

from ._finding import Finding
from ._stretches import Reading, found_alone

TITLE = "lost and implausible gaze"
MAX_LOST_SHARE = 0.5


def applies(stream: Stream) -> bool:
    """Gaze and pupil signals with samples."""
    return isinstance(stream, Signal) and stream.modality in ("gaze", "pupil") and stream.n_samples > 0


def check(stream: Stream) -> Finding:
    """Share of lost samples per channel (not finite, or for a pupil not above 0), and of values out of range."""
    if not isinstance(stream, Signal):
        raise ValueError(f"{stream.name}: a {type(stream).__name__}; this check is for a Signal")
    return found_alone(stream, begin(stream))


def begin(stream: Signal) -> Reading:
    """The same, told of one stretch after another."""
    return _Counts(stream)


class _Counts:
    """Running counts per channel, shape (C,)."""

    def __init__(self, stream: Signal) -> None:
        self._stream, self._pupil = stream, pupil_channels(stream)
        self._seen = 0
        self._lost, self._outside = np.zeros(len(stream.channel_names)), np.zeros(len(stream.channel_names))

    def add(self, _originals: NDArray[Any], values: NDArray[np.float64]) -> None:
        """Count a stretch, (T, C)."""
        self._seen += len(values)
        missing = ~np.isfinite(values) | (self._pupil & (values <= 0))
        self._lost += missing.sum(axis=0)
        self._outside += (unseen(self._stream, values) & ~missing).sum(axis=0)

    def finding(self) -> Finding:
        """See `check`."""
        lost, outside = self._lost / max(1, self._seen), self._outside / max(1, self._seen)
        bad = {
            name: f"{lost[i] + outside[i]:.0%} of its samples are lost or out of range"
            for i, name in enumerate(self._stream.channel_names)
            if lost[i] + outside[i] > MAX_LOST_SHARE
        }
        return Finding(values={"lost_share": lost, "out_of_range_share": outside}, bad_channels=bad)
