"""Where a network meets the outside: what comes in and what is asked of it, per session.

Shapes: B batch, T time bins, C channels of a port, A areas, H units of an area.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COUNTS = ("spikes", "negative_binomial")
CLASSES = ("choice", "tokens")
EVENTS = ("stimulus", "saccades")
SENSORS = ("eeg", "meg")  # all channels of a port share one scale, or a lead field could not fit
NEURAL = (*COUNTS, *SENSORS, "lfp", "bold")


@dataclass(frozen=True, kw_only=True)
class Port:
    """A group of channels of one kind, at model rate.

    kind: a file of `models/readouts/`: "spikes" or "negative_binomial" (counts per bin), "lfp", "eeg", "meg", "bold",
        "gaze", "continuous" (behaviour such as a position), "choice" or "tokens" (class index per bin, one channel,
        `n_classes` of them), "saccades" (1 in a bin in which one begins), or "stimulus" (impulses, input only).
    areas: per channel the name of the area it sits in, "" where unknown: then it is learned.
    within: where no channel states an area, and the kind is one that every area could see: these areas only, empty for
        all. A network fills it in from its topology's `inputs` and `outputs`.
    bin_s: length of a time bin, seconds.
    """

    name: str
    kind: str
    channel_names: tuple[str, ...]
    areas: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    n_classes: int = 0
    bin_s: float = 0.02

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Port:
        """A port as JSON holds it, lists for tuples."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        return cls(**fields)

    @property
    def n_channels(self) -> int:
        """C."""
        return len(self.channel_names)

    @property
    def is_counts(self) -> bool:
        """True for numbers of spikes per bin."""
        return self.kind in COUNTS

    @property
    def is_classes(self) -> bool:
        """True for the number of a class per bin."""
        return self.kind in CLASSES

    @property
    def is_rates(self) -> bool:
        """True for what happens so and so often per bin: spikes, saccades."""
        return self.is_counts or self.kind == "saccades"

    @property
    def is_neural(self) -> bool:
        """True for recordings of a brain; behaviour and kinds that other packages add are not."""
        return self.kind in NEURAL

    @property
    def is_behaviour(self) -> bool:
        """True for what a subject does: neither a recording of its brain nor a stimulus."""
        return not self.is_neural and self.kind != "stimulus"
