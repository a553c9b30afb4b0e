"""Existing sortings: spikes counted in samples of a recording, put onto that recording's own times.

A sorter's output says "sample 30,017 of that file"; what second that is, and across which gaps it counted, only the
recording knows. Readers of such folders (phy, Kilosort, SpikeInterface) give Units on a clock of samples alone, and say
so in their provenance:

    counted_hz    samples per second; a spike's sample is its time times this
    source        names of the files it was sorted from, as far as it says
    segment       which segment of the recording it counts in; without it, all segments end to end

    counts(units) -> float          `counted_hz`, 0 for units on seconds of a clock
    placed(parts, signal) -> Units  the same spikes at the signal's times, with the names and areas of its channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Signal, Units
from neuroloom.ingest.timebase import FloatArray

COUNTED = "counted_hz"
RATE_TOLERANCE = 1e-3  # a calibrated rate may differ from the nominal one a sorter was told


class PlacingError(ValueError):
    """A sorting does not fit a recording: the message names both, what was found and what was wanted."""


def counts(units: Units) -> float:
    """Samples per second that its spikes are counted at; 0 for units whose times are seconds on a clock."""
    return float(units.provenance.get(COUNTED, 0.0))


def placed(parts: Sequence[Units], signal: Signal) -> Units:
    """Spikes of one sorting, all its parts (one per segment, or one in all), at the times of the signal's samples.

    Raises PlacingError where the rates differ, segments do, or a spike lies beyond the last sample.
    """
    counted_hz = counts(parts[0])
    if not signal.segments or abs(signal.rate_hz / counted_hz - 1) > RATE_TOLERANCE:
        raise PlacingError(
            f"{parts[0].name} counts at {counted_hz:g} Hz, {signal.name} was sampled at {signal.rate_hz:g} Hz; the "
            "recording that was sorted is wanted"
        )
    trains: dict[str, list[FloatArray]] = {name: [] for part in parts for name in part.unit_names}
    for part in parts:
        for name, times_s in zip(part.unit_names, part.spike_times_s, strict=True):
            samples = np.rint(times_s * counted_hz).astype(np.int64)
            trains[name].append(_seconds(samples, part, signal))
    names = tuple(trains)
    table = _table(parts, names)
    return replace(
        parts[0],
        unit_names=names,
        spike_times_s=tuple(np.sort(np.concatenate(found)) for found in trains.values()),
        table={**table, **_of_channels(table, signal)},
        provenance={
            **{key: value for key, value in parts[0].provenance.items() if key not in (COUNTED, "segment")},
            "source": signal.name,
            "made_by": parts[0].provenance.get("made_by", "an existing sorting"),
        },
    )


def _seconds(samples: NDArray[np.int64], part: Units, signal: Signal) -> FloatArray:
    lengths = [segment.timebase.n_samples for segment in signal.segments]
    which = part.provenance.get("segment")
    if which is not None and int(which) >= len(lengths):
        raise PlacingError(
            f"{part.name}: sorted in segment {int(which)}, {signal.name} has {len(lengths)}; as many are wanted"
        )
    chosen = range(len(lengths)) if which is None else [int(which)]
    ends = np.cumsum([lengths[k] for k in chosen])
    if samples.size and not 0 <= samples.min() <= samples.max() < ends[-1]:
        raise PlacingError(
            f"{part.name}: a spike at sample {int(samples.max())}, {signal.name} has {int(ends[-1])}; the recording "
            "that was sorted is wanted"
        )
    of = np.searchsorted(ends, samples, side="right")
    found = np.zeros(samples.size)
    for i, k in enumerate(chosen):
        here = of == i
        begin = int(ends[i - 1]) if i else 0
        found[here] = signal.segments[k].timebase.seconds(samples[here] - begin)
    return found


def _table(parts: Sequence[Units], names: tuple[str, ...]) -> dict[str, tuple[Any, ...]]:
    """The columns by unit, from the first part that has it."""
    rows: dict[str, tuple[Units, int]] = {}
    for part in parts:
        for row, name in enumerate(part.unit_names):
            rows.setdefault(name, (part, row))
    columns = [key for key in parts[0].table if all(key in part.table for part in parts)]
    return {key: tuple(rows[name][0].table[key][rows[name][1]] for name in names) for key in columns}


def _of_channels(table: dict[str, tuple[Any, ...]], signal: Signal) -> dict[str, tuple[Any, ...]]:
    """What the signal knows of the channel where each unit is largest: its name, its place, its area."""
    indices = table.get("channel_index")
    if indices is None or any(i is None or not 0 <= i < len(signal.channel_names) for i in indices):
        return {}
    found: dict[str, tuple[Any, ...]] = {"channel": tuple(signal.channel_names[i] for i in indices)}
    for key in ("area", "group"):
        if key in signal.table:
            found[key] = tuple(signal.table[key][i] for i in indices)
    for key in ("x_um", "y_um"):
        if key in signal.table and key not in table:
            found[key] = tuple(signal.table[key][i] for i in indices)
    return found
