"""A recording's time cut into training, validation and held-out blocks, so that nothing leaks from one into another.

    time ->   |   train   | gap | validation | gap | held-out | gap |   train   | gap | ...

The recording is cut into equal cycles, each with its part of every split, so that slow changes of a recording reach
all of them. Between two blocks of different splits lies a gap at least as long as a window, which belongs to none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

Bounds = tuple[int, int]
SplitName = Literal["train", "validation", "held_out"]

MOST_GAP = 0.15  # of a recording may go into gaps; the number of cycles follows from it


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How sessions are cut into windows.

    lag_bins: an input is seen that many bins late; 1 makes a prediction from the past only. Ports whose features look
        ahead (low-passed ones) are lagged by their reach on top. 0 or less (smoothing) is refused for a port that is
        also a target.
    inputs, targets: names of ports; by default all ports but the choice come in, and all but stimuli are asked for.
    kinds: stream -> kind of port where it is not the usual one; see `FeatureConfig`.
    held_out_units: share of the units that never come in and are targets only, 0 for none; see `cosmoothing.py`.
    use_extrapolated: whether times beyond a clock map's pulses count.
    max_uncertainty_ms: bins whose time is known worse than this do not count; None: all do, whatever is known.
    """

    length_s: float = 2.0
    bin_s: float = 0.02
    held_out: float = 0.2
    validation: float = 0.15
    gap_s: float | None = None
    lag_bins: int = 1
    inputs: tuple[str, ...] | None = None
    targets: tuple[str, ...] | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    held_out_units: float = 0.0
    use_extrapolated: bool = False
    max_uncertainty_ms: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.length_s < 2 * self.bin_s:
            raise ValueError(f"windows of {self.length_s} s with bins of {self.bin_s} s; at least two bins are wanted")
        if not (self.held_out > 0 and self.validation > 0 and self.held_out + self.validation < 1):
            raise ValueError(
                f"held out {self.held_out} and validation {self.validation}; each above 0, together below 1, is wanted"
            )
        if not 0 <= self.held_out_units < 1:
            raise ValueError(f"held_out_units is {self.held_out_units}; a share from 0 to below 1 is wanted")
        if self.gap_s is not None and self.gap_s < self.length_s:
            raise ValueError(f"gap of {self.gap_s} s; at least the window's {self.length_s} s is wanted, or data leak")

    @property
    def n_bins(self) -> int:
        """T of a window."""
        return round(self.length_s / self.bin_s)

    @property
    def gap_bins(self) -> int:
        """Bins between two splits."""
        return int(np.ceil((self.gap_s or self.length_s) / self.bin_s - 1e-6))


def time_blocks(n_bins: int, config: WindowConfig, *, reach_bins: int = 0) -> dict[SplitName, list[Bounds]]:
    """Runs of bins `[first, last)` of each split.

    reach_bins: how far features look around their bin; gaps grow by three times as much, since a late input looks
        back by its lag and its reach, and the other block ahead by its own.
    Raises ValueError where the recording is too short to give every split one window.
    """
    length, gap = config.n_bins, config.gap_bins + 3 * reach_bins
    shares: dict[SplitName, float] = {
        "train": 1 - config.held_out - config.validation,
        "validation": config.validation,
        "held_out": config.held_out,
    }
    shortest = int(np.ceil(length / min(shares.values()))) + 3 * gap
    wanted = max(shortest, int(3 * gap / MOST_GAP))
    n_cycles = max(1, n_bins // wanted)
    if n_bins // n_cycles < shortest - gap:  # the last cycle needs no gap behind it
        raise ValueError(
            f"{n_bins * config.bin_s:.1f} s of recording; at least {(shortest - gap) * config.bin_s:.1f} s are wanted "
            f"for windows of {config.length_s} s in three splits"
        )
    edges = np.linspace(0, n_bins + gap, n_cycles + 1).astype(int)
    blocks: dict[SplitName, list[Bounds]] = {name: [] for name in shares}
    for start, stop in pairwise(edges):
        usable = stop - start - 3 * gap
        parts = [max(length, int(usable * share)) for share in (config.validation, config.held_out)]
        first = int(start)
        for name, size in zip(shares, [usable - sum(parts), *parts], strict=True):
            blocks[name].append((first, first + int(size)))
            first += int(size) + gap
    return blocks
