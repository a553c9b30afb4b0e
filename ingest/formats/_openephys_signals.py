"""Signals of an Open Ephys stream: one per kind of channel and unit, recordings and gaps as segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats._channels import columns_of, grouped, numbered
from neuroloom.ingest.formats._openephys_structure import Stream
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import Timebase

_BLOCK = 1 << 20
_MAX_GAPS = 100_000
_LFP_HZ = 2500.0  # Neuropixels' slow band
Table = Callable[[int, bool], dict[str, tuple[Any, ...]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A stream in one recording: samples (T, C), memory-mapped, and the number of each, shape (T,)."""

    stream: Stream
    folder: Path
    samples: NDArray[np.int16]
    numbers: NDArray[Any]

    @property
    def first(self) -> int:
        return int(self.numbers[0])


def kind_of_channel(name: str, rate_hz: float) -> str:
    """By the names that Open Ephys gives: ADC and AUX inputs, a probe's SYNC word, anything else an electrode."""
    upper = name.upper()
    if "SYNC" in upper:
        return "sync"
    if "ADC" in upper or "AUX" in upper:
        return "aux"
    return "wideband" if rate_hz > _LFP_HZ else "lfp"


def signals_of(name: str, parts: Sequence[Part], table_of: Table, repairs: list[str]) -> list[Signal]:
    """One Signal per kind and unit. Raises ValueError where numbers go back or repeat."""
    stream = parts[0].stream
    segments = [segment for part in parts for segment in _segments(part)]
    names = numbered([channel.name for channel in stream.channels], repairs, where=f"{name}: ")
    kinds = [kind_of_channel(channel.name, stream.rate_hz) for channel in stream.channels]
    units = [kept_unit(channel.unit) for channel in stream.channels]
    signals = []
    for kind, unit, suffix, columns in grouped(kinds, [unit for unit, _ in units]):
        electrodes = kind in ("wideband", "lfp")
        signals.append(
            Signal(
                name=f"{name}{'' if electrodes else f' {kind}'}{suffix}",
                modality=kind,
                segments=tuple(Segment(samples=columns_of(s, columns), timebase=base) for s, base in segments),
                channel_names=tuple(names[i] for i in columns),
                unit=unit if kind != "sync" else "a.u.",
                gain=np.array([stream.channels[i].gain * units[i][1] if kind != "sync" else 1.0 for i in columns]),
                offset=np.zeros(len(columns)),
                table=table_of(len(columns), kind == "wideband") if electrodes else {},
            )
        )
    return signals


def _segments(part: Part) -> list[tuple[NDArray[np.int16], Timebase]]:
    """Runs of samples whose numbers follow one another."""
    numbers, rate_hz = part.numbers, part.stream.rate_hz
    if part.first < 0 or int(numbers[-1]) >= 1 << 53:
        raise ValueError(f"sample numbers from {part.first} to {int(numbers[-1])}; numbers from 0 on are wanted")
    cuts = [0]
    for at in range(0, len(numbers) - 1, _BLOCK):
        steps = np.diff(np.asarray(numbers[at : at + _BLOCK + 1]).astype(np.int64))
        if (steps <= 0).any():
            k = at + int((steps <= 0).argmax())
            raise ValueError(
                f"sample number {int(numbers[k + 1])} after {int(numbers[k])}; numbers in order are wanted"
            )
        cuts += (np.flatnonzero(steps > 1) + at + 1).tolist()
    if len(cuts) > _MAX_GAPS:
        raise ValueError(f"{len(cuts) - 1} gaps; fewer than {_MAX_GAPS} are wanted")
    return [
        (
            part.samples[first:last],
            Timebase(rate_hz=rate_hz, start_s=int(numbers[first]) / rate_hz, n_samples=last - first),
        )
        for first, last in pairwise([*cuts, len(numbers)])
    ]
