"""What the viewer of a session's page is given: every stream on one time axis, bounded in size however long it is.

A signal comes as `COLUMNS` columns of least and greatest values, 8 bits each, which is finer than they are drawn. Where
neuroloom serves the page, the viewer asks for real samples of what it shows: see `pyramid.py`.
Shapes: K columns, C channels, N units.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Signal, Stream, Units
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import GREY, MODALITY_COLOURS
from neuroloom.pipeline.review.findings import bad_channels
from neuroloom.pipeline.review.pyramid import Display
from neuroloom.pipeline.review.spikes import verdicts_of
from neuroloom.pipeline.review.text import unit_sign, visible
from neuroloom.pipeline.review.timeline import certainty, extent

COLUMNS = 1500
MOST_CHANNELS = 24  # of a signal on the page; others are asked for
MOST_NAMES = 8000  # of channels that can be chosen
MOST_TRACKS, MOST_MOMENTS, MOST_SPANS, MOST_CELLS = 60, 20_000, 2_000, 1 << 18
STEPS = 40  # of the 8 bits, per line distance
LONGEST_LABEL = 60
UNCERTAINTIES = 50


def recording(session: Session, shown: Mapping[str, Display]) -> dict[str, Any]:
    """The viewer's data as JSON has them. shown: the signals that have a pyramid."""
    start_s, stop_s = extent(session)
    tracks = [_track(session, stream, shown, (start_s, stop_s)) for stream in session.streams[:MOST_TRACKS]]
    return {
        "session": session.id,
        "version": session.path.name if session.path is not None else "",
        "start": start_s,
        "stop": stop_s,
        "steps": STEPS,
        "tracks": sorted((track for track in tracks if track), key=lambda track: ORDER.index(track["kind"])),
        "n_left_out": max(0, len(session.streams) - MOST_TRACKS),
    }


ORDER = ("events", "intervals", "signal", "units")


def rows_of(signal: Signal, bad: Mapping[str, str]) -> list[int]:
    """At most `MOST_CHANNELS` columns of a signal, evenly spread, bad ones first of all."""
    n = len(signal.channel_names)
    if n <= MOST_CHANNELS:
        return list(range(n))
    first = [i for i, name in enumerate(signal.channel_names) if name in bad][: MOST_CHANNELS // 2]
    others = [i for i in range(n) if i not in set(first)]
    spread = np.linspace(0, len(others) - 1, MOST_CHANNELS - len(first)).round().astype(int)
    return sorted([*first, *(others[i] for i in spread)])


def _track(
    session: Session, stream: Stream, shown: Mapping[str, Display], of_s: tuple[float, float]
) -> dict[str, Any] | None:
    common = {
        "name": stream.name,
        "label": visible(stream.name, LONGEST_LABEL),
        "modality": stream.modality,
        "colour": MODALITY_COLOURS.get(stream.modality, GREY),
        "sure": certainty(session, stream),
        "sure_ms": _uncertainties(session, stream, of_s),
    }
    if isinstance(stream, Signal):
        return {**common, **_signal(session, stream, shown, of_s)} if stream.segments else None
    if isinstance(stream, Units):
        return {**common, **_units(stream, of_s)}
    times = stream.times_s[:, None] if isinstance(stream, Events) else stream.bounds_s
    labels = list(dict.fromkeys(stream.labels[:MOST_MOMENTS]))
    which = {label: number for number, label in enumerate(labels)}
    return {
        **common,
        "kind": "events" if isinstance(stream, Events) else "intervals",
        "times": [[round(float(t), 5) for t in row] for row in times[:MOST_MOMENTS]],
        "labels": [visible(label, LONGEST_LABEL) for label in labels],
        "which": [which[label] for label in stream.labels[:MOST_MOMENTS]],
        "n_left_out": max(0, len(stream.labels) - MOST_MOMENTS),
    }


def _uncertainties(session: Session, stream: Stream, of_s: tuple[float, float]) -> list[float]:
    """How well times are known at moments spread over the session, ms; empty where they are the stream's own."""
    if not any(clock_map.source == stream.device for clock_map in session.clock_maps):
        return []
    found = session.uncertainty_at_ms(stream, np.linspace(*of_s, UNCERTAINTIES))
    return [round(float(ms), 4) if np.isfinite(ms) else 0.0 for ms in found]


def _signal(
    session: Session, signal: Signal, shown: Mapping[str, Display], of_s: tuple[float, float]
) -> dict[str, Any]:
    bad = bad_channels(session, signal.name)
    rows = rows_of(signal, bad)
    n_columns = int(np.clip((of_s[1] - of_s[0]) * signal.rate_hz / 2, 10, COLUMNS))
    if signal.name in shown:
        values = shown[signal.name].window(*of_s, n_columns, np.array(rows))
    else:
        values = Display(signal, ()).sketch(*of_s, n_columns)[:, :, rows]
    middles, step = _middles(values), _spacing(values)
    return {
        "kind": "signal",
        "unit": unit_sign(signal.unit),
        "rate": signal.rate_hz,
        "n_channels": len(signal.channel_names),
        "channels": _chooseable(signal, bad),
        "spans": _spans(signal),
        "rows": [{"at": i, "name": visible(signal.channel_names[i], 24), "bad": signal.channel_names[i] in bad}
                 for i in rows],
        "middles": [float(m) for m in middles],
        "step": step,
        "columns": n_columns,
        "data": _packed(np.round((values - middles) / step * STEPS), np.int8, -128),
        "is_sketch": signal.name not in shown,
    }  # fmt: skip


def _chooseable(signal: Signal, bad: Mapping[str, str]) -> list[list[Any]]:
    """Name of every channel, and whether it is bad, where there are more than are shown at once."""
    names = signal.channel_names if len(signal.channel_names) > MOST_CHANNELS else ()
    return [[visible(name, 24), int(name in bad)] for name in names[:MOST_NAMES]]


def _middles(values: FloatArray) -> FloatArray:
    """The median of each channel, (C,); 0 where it holds nothing."""
    found = np.zeros(values.shape[2])
    for channel in range(values.shape[2]):
        known = values[:, :, channel][np.isfinite(values[:, :, channel])]
        found[channel] = np.median(known) if known.size else 0.0
    return found


def _spacing(values: FloatArray) -> float:
    """The value between two lines: what most channels stay within, so that one loud channel hides no other."""
    reach = []
    for channel in range(values.shape[2]):
        low, high = values[:, 0, channel], values[:, 1, channel]
        if np.isfinite(low).any():
            reach.append(float(np.nanpercentile(high, 97) - np.nanpercentile(low, 3)))
    positive = [one for one in reach if one > 0]
    return _round_up(float(np.median(positive))) if positive else 1.0


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, …"""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))


def _spans(signal: Signal) -> list[list[float]]:
    """Where it was recorded; neighbours are taken together where there are very many."""
    bounds = [[s.timebase.start_s, s.timebase.stop_s] for s in signal.segments]
    while len(bounds) > MOST_SPANS:
        bounds = [[pair[0][0], pair[-1][1]] for pair in (bounds[i : i + 2] for i in range(0, len(bounds), 2))]
    return [[round(a, 5), round(b, 5)] for a, b in bounds]


def _units(units: Units, of_s: tuple[float, float]) -> dict[str, Any]:
    n_units = len(units.unit_names)
    n_columns = int(np.clip(MOST_CELLS // max(n_units, 1), 100, COLUMNS))
    n_units = min(n_units, MOST_CELLS // n_columns)
    edges = np.linspace(*of_s, n_columns + 1)
    counts = [np.histogram(t, edges)[0] for t in units.spike_times_s[:n_units]]
    accepted = verdicts_of(units)
    return {
        "kind": "units",
        "rows": [{"name": visible(name, 24), "bad": accepted[i] is False}
                 for i, name in enumerate(units.unit_names[:n_units])],
        "columns": n_columns,
        "data": _packed(np.array(counts).reshape(n_units, n_columns), np.uint8, -1),
        "n_left_out": len(units.unit_names) - n_units,
    }  # fmt: skip


def _packed(values: NDArray[Any], dtype: type, unknown: int) -> str:
    """Base64 of the values in 8 bits, what does not fit at the limit."""
    limits, is_known = np.iinfo(dtype), np.isfinite(values)
    held = np.clip(np.where(is_known, values, 0), max(limits.min, unknown + 1), limits.max)
    return base64.b64encode(np.where(is_known, held, unknown).astype(dtype).tobytes()).decode()
