"""Samples that come as rows: collected as float32, then made Signals that are cut where a tracker paused.

Group        columns of a table that make one Signal
SampleRows   rows with a time each, as a reader comes to them
signals      the Signals of groups over such rows
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._row_runs import runs, segments
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Signal, Table
from neuroloom.ingest.timebase import FloatArray, Times

FloatBlock = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Channels that make one Signal, in one unit. columns: where they are, in a table or in the rows collected."""

    name: str
    modality: str
    unit: str
    channels: tuple[str, ...]
    columns: tuple[int, ...]
    table: Table = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def signal_of(group: Group, samples: FloatBlock, found: Sequence[tuple[slice, Times]]) -> Signal:
    """The Signal of a group; samples of shape (T, C), in runs with their times."""
    n_channels = len(group.channels)
    return Signal(
        name=group.name,
        modality=group.modality,
        segments=segments(samples, found),
        channel_names=group.channels,
        unit=group.unit,
        gain=np.ones(n_channels),
        offset=np.zeros(n_channels),
        table=group.table,
        provenance=group.provenance,
    )


class SampleRows:
    """Rows of values, each with its time in seconds; 4 bytes per value, or 8 where `exact`, and 8 per time."""

    def __init__(self, n_values: int, *, exact: bool = False) -> None:
        self.n_values = n_values
        self._times = array("d")
        self._values = array("d" if exact else "f")
        self._dtype = np.dtype(np.float64 if exact else np.float32)

    def __len__(self) -> int:
        return len(self._times)

    def add(self, time_s: float, values: Iterable[float]) -> None:
        """One row of `n_values`."""
        self._times.append(time_s)
        self._values.extend(values)

    def extend(self, times_s: FloatArray, values: NDArray[Any]) -> None:
        """Many rows: values of shape (N, n_values)."""
        self._times.frombytes(np.ascontiguousarray(times_s, dtype=np.float64).tobytes())
        self._values.frombytes(np.ascontiguousarray(values, dtype=self._dtype).tobytes())

    @property
    def times_s(self) -> FloatArray:
        """The times as they came, shape (N,)."""
        return np.frombuffer(self._times, dtype=np.float64)

    def in_order(self, path: Path, what: str, repairs: list[str]) -> tuple[FloatArray, FloatBlock]:
        """Times and values in order of time: what went back is sorted, what was said twice is left out, both are told.

        Raises FormatError where there are no rows, or a time is not finite.
        """
        times_s = self.times_s
        values = np.frombuffer(self._values, dtype=self._dtype).reshape(-1, self.n_values)
        if not times_s.size:
            raise FormatError(f"{path}: no {what}; some are wanted")
        if not np.isfinite(times_s).all():
            k = int((~np.isfinite(times_s)).argmax())
            raise FormatError(f"{path}: number {k + 1} of the {what} has no time; one is wanted for each")
        steps = np.diff(times_s)
        if (steps < 0).any():
            first = int((steps < 0).argmax())
            shown = f"the first at {times_s[first + 1]:.6f} after {times_s[first]:.6f} s"
            n_back = int((steps < 0).sum())
            repairs.append(Defect(f"{n_back} {what} earlier than the one before, {shown}", "sorted by time"))
            order = np.argsort(times_s, kind="stable")
            times_s, values = times_s[order], values[order]
        kept = np.concatenate([[True], np.diff(times_s) > 0])
        if not kept.all():
            repairs.append(Defect(f"{int((~kept).sum())} {what} at the time of the one before left out"))
            times_s, values = times_s[kept], values[kept]
        return times_s, values


def signals(groups: Sequence[Group], times_s: FloatArray, values: FloatBlock) -> list[Signal]:
    """A Signal per group, whose `columns` are those of `values`; none of an "aux" group without a finite value."""
    found = runs(times_s)
    return [
        signal_of(group, values[:, group.columns[0] : group.columns[-1] + 1], found)
        for group in groups
        if group.modality != "aux" or np.isfinite(values[:, group.columns]).any()
    ]
