"""Where a network meets the outside: what comes in and what is asked of it, per session.

Shapes: B batch, T time bins, C channels of a port, A areas, H units of an area.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Port:
    """A group of channels of one kind, at model rate.

    kind: a file of `models/readouts/`: "spikes" (counts per bin), "lfp", "eeg", "gaze", "continuous" (behaviour such as
        a position), "choice" (class index per bin, one channel, `n_classes` of them), or "stimulus" (input only).
    areas: per channel the name of the area it sits in, "" where unknown: then it is learned.
    bin_s: length of a time bin, seconds.
    """

    name: str
    kind: str
    channel_names: tuple[str, ...]
    areas: tuple[str, ...] = ()
    n_classes: int = 0
    bin_s: float = 0.02

    @property
    def n_channels(self) -> int:
        """C."""
        return len(self.channel_names)
