"""When samples and events of an EEGLAB file were taken: boundaries are gaps, epochs lie where they were cut
from, as far as the file tells.

Piece           an unbroken run of samples
continuous      runs between boundaries
epochs          one run each, placed by urevents, or one after the other
events_of       events at their times
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from neuroloom.ingest.formats._eeglab_fields import number, text
from neuroloom.ingest.formats._eeglab_samples import Shape
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Events
from neuroloom.ingest.timebase import FloatArray, Timebase

EPOCHS_APART_S = 1.0  # between epochs whose times are not known: enough for no filter and no window to join them


@dataclass(frozen=True)
class Piece:
    """An unbroken run: its first sample as the file counts, how many, and when the first was taken, in samples."""

    first: int
    n: int
    at: float

    def timebase(self, rate_hz: float) -> Timebase:
        """Its times in seconds."""
        return Timebase(rate_hz=rate_hz, start_s=self.at / rate_hz, n_samples=self.n)


def was_resampled(eeg: Mapping[str, Any]) -> bool:
    """EEGLAB's own log says so. Older versions then leave some numbers of samples at the rate before."""
    return "resample" in (text(eeg.get("history")) + text(eeg.get("setname"))).lower()


def continuous(
    events: Sequence[Mapping[str, Any]], shape: Shape, was_resampled: bool, repairs: list[str]
) -> list[Piece]:
    """Runs between boundaries; the samples of a boundary's duration lie between two of them."""
    gaps: dict[int, float] = {}
    unknown: list[int] = []
    for event in events:
        cut = _cut(event)
        if cut is None or not 0 < cut < shape.total:  # before the first or behind the last sample: nothing to part
            continue
        lost = _lost(event)
        unknown += [cut + 1] if lost == 0 else []
        gaps[cut] = gaps.get(cut, 0.0) + lost
    if unknown:
        repairs.append(
            Defect(
                f"{len(unknown)} boundaries, the first before sample {min(unknown)}, do not say how many samples were "
                "taken out",
                "0: times go on as if none were",
            )
        )
    if was_resampled and any(gaps.values()):
        repairs.append(
            "was resampled: gaps are as long as stated, which old versions of EEGLAB state at the rate before"
        )
    edges = [0, *sorted(gaps), shape.total]
    shifts = np.concatenate([[0.0], np.cumsum([gaps[cut] for cut in sorted(gaps)])])
    return [
        Piece(first, stop - first, first + float(shift))
        for first, stop, shift in zip(edges, edges[1:], shifts, strict=False)
    ]


def _cut(event: Mapping[str, Any]) -> int | None:
    """Of a boundary, the first sample after it: it lies between two samples, or on the later one."""
    latency = number(event.get("latency"))
    is_boundary = text(event.get("type")).lower() in ("boundary", "-99")
    return int(np.ceil(latency - 1)) if is_boundary and abs(latency) < 2**53 else None


def _lost(event: Mapping[str, Any]) -> float:
    """Samples taken out at a boundary, 0 where that is not known: a marker made one of has the marker's length."""
    lost = number(event.get("duration"))
    is_imported = text(event.get("code")) == "New Segment"
    return lost if np.isfinite(lost) and lost > 0 and not is_imported else 0.0


def epochs(
    events: Sequence[Mapping[str, Any]],
    urevents: Sequence[Mapping[str, Any]],
    shape: Shape,
    was_resampled: bool,
    repairs: list[str],
) -> list[Piece]:
    """Each epoch at the time it was recorded, in order of time; the clock is that of the recording it was cut from.

    Where the file does not tell that time beyond doubt, or two epochs share samples, so that one stretch of time would
    be there twice, they lie one after the other with gaps between them, and that is told.

    Design rationale: `pop_resample` of older versions moves only as many urevents as there are events. Two events of
    an epoch show whether theirs were; without two, an epoch of resampled data may lie anywhere.
    """
    found = _starts(events, urevents, shape)
    doubt = _doubt(found, shape, was_resampled)
    if doubt:
        apart_s = EPOCHS_APART_S
        repairs.append(f"{doubt}: its {shape.n_epochs} epochs are put {apart_s:g} s apart, their true times not known")
        step = shape.n_samples + int(np.ceil(apart_s * shape.rate_hz))
        return [Piece(k * shape.n_samples, shape.n_samples, k * step) for k in range(shape.n_epochs)]
    order = sorted(range(shape.n_epochs), key=lambda k: found[k][0])
    return [Piece(k * shape.n_samples, shape.n_samples, found[k][0]) for k in order]


def _doubt(found: Mapping[int, Sequence[float]], shape: Shape, was_resampled: bool) -> str:
    """Why the times of epochs cannot be those that their events state, "" where they can."""
    wanted = 2 if was_resampled else 1
    lost = next((k + 1 for k in range(shape.n_epochs) if len(found.get(k, [])) < wanted), None)
    if lost is not None:
        why = ", as the data were resampled and it has no two events with urevents" if was_resampled else ""
        return f"nothing tells when epoch {lost} was recorded{why}"
    unlike = next((k + 1 for k, starts in found.items() if max(starts) - min(starts) > 1), None)
    if unlike is not None:
        return f"the events of epoch {unlike} do not agree when it was recorded"
    order = sorted(range(shape.n_epochs), key=lambda k: found[k][0])
    for k, following in pairwise(order):
        if found[following][0] < found[k][0] + shape.n_samples - 0.5:
            return f"epochs {k + 1} and {following + 1} overlap in time"
    return ""


def _starts(
    events: Sequence[Mapping[str, Any]], urevents: Sequence[Mapping[str, Any]], shape: Shape
) -> dict[int, list[float]]:
    """Per epoch the sample it began at, as each of its events with a urevent has it."""
    found: dict[int, list[float]] = {}
    for event in events:
        latency, epoch, at = number(event.get("latency")), _epoch(event, shape), number(event.get("urevent"))
        if epoch >= 0 and 1 <= at <= len(urevents):
            start = number(urevents[int(at) - 1].get("latency")) - latency + epoch * shape.n_samples
            found.setdefault(epoch, []).extend([start] if np.isfinite(start) else [])
    return found


def _epoch(event: Mapping[str, Any], shape: Shape) -> int:
    """Which epoch an event is in, counted from 0; -1 where it is in none."""
    stated = number(event.get("epoch"))
    if np.isnan(stated):
        stated = np.floor((number(event.get("latency")) - 0.5) / shape.n_samples) + 1
    return int(stated) - 1 if 1 <= stated <= shape.n_epochs else -1


def events_of(
    events: Sequence[Mapping[str, Any]], pieces: Sequence[Piece], shape: Shape, repairs: list[str]
) -> list[Events]:
    """Events at their times, in order; all their other fields are columns."""
    latencies = np.array([number(event.get("latency")) for event in events])
    placed = np.isfinite(latencies)
    if not placed.all():
        repairs.append(Defect(f"{int((~placed).sum())} events without a latency left out"))
    if not placed.any():
        return []
    rows = [event for event, is_placed in zip(events, placed, strict=True) if is_placed]
    times_s = _times(latencies[placed] - 1, pieces) / shape.rate_hz
    order = np.argsort(times_s, kind="stable")
    rows = [rows[i] for i in order]
    names = dict.fromkeys(name for row in rows for name in row)
    durations = tuple(number(row.get("duration", 0)) / shape.rate_hz for row in rows)
    labels = tuple(text(row.get("type")) for row in rows)
    table: dict[str, tuple[Any, ...]] = {"duration_s": durations, "type": labels}
    table |= {name: _column(rows, name) for name in names if name not in ("type", "latency", "duration", "duration_s")}
    return [Events(name="events", times_s=times_s[order], labels=labels, table=table)]


def _times(latencies: FloatArray, pieces: Sequence[Piece]) -> FloatArray:
    """Where samples, counted from 0 as the file does, lie in time, in samples."""
    by_first = sorted(pieces, key=lambda piece: piece.first)
    which = np.searchsorted([piece.first for piece in by_first], latencies, side="right") - 1
    shifts = np.array([piece.at - piece.first for piece in by_first])
    return np.asarray(latencies + shifts[np.maximum(which, 0)])


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[Any, ...]:
    """Numbers where all of them are (NaN for none), else texts."""
    values = [row.get(name) for row in rows]
    if any(isinstance(value, str) for value in values):
        return tuple(text(value) for value in values)
    return tuple(number(value) for value in values)
