"""Whether units drift: where they lay and how large their spikes were over the recording, and how the probe moved.

Shapes: N units, K stretches of the recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroloom.ingest.streams import Units
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import GREY, INK, MUTED, PURPLE, TEAL, Picture, drawing, picture, time_axis
from neuroloom.pipeline.review.spikes import verdicts_of
from neuroloom.pipeline.review.text import count, number, visible

MOST_UNITS = 150
FEWEST_STRETCHES = 3


def drift_picture(units: Units) -> Picture | None:
    """Depths and amplitudes of sorted units, and the motion that was taken back; None where none was measured.

    Read from what `ingest/sorting.py` and `ingest/drift.py` leave in the provenance.
    """
    said = _mapping(units.provenance.get("over_time"))
    depths_NK, sizes_NK = (_table(units, said.get(key)) for key in ("depth_um", "amplitude_uV"))
    motion = _motion(units)
    if sizes_NK is None or sizes_NK.shape[1] < FEWEST_STRETCHES:
        return None
    edges_s = np.linspace(float(said["start_s"]), float(said["stop_s"]), sizes_NK.shape[1] + 1)
    middles_s = (edges_s[:-1] + edges_s[1:]) / 2
    n_rows = 1 + 2 * (depths_NK is not None) + (motion is not None)
    with drawing(1120, 90 + 170 * n_rows) as figure:
        rows = list(np.atleast_1d(figure.subplots(n_rows, 1)))
        for axes in rows:
            factor, _ = time_axis(axes, float(edges_s[0]), float(edges_s[-1]), titled=axes is rows[len(rows) - 1])
            axes.grid(axis="x")
        if depths_NK is not None:
            _draw_depths(rows.pop(0), middles_s / factor, depths_NK, units)
            moved_NK = depths_NK - _own(depths_NK)
            _draw_change(rows.pop(0), middles_s / factor, moved_NK, units, 0, "from own depth (µm)")
        _draw_change(rows.pop(0), middles_s / factor, _relative(sizes_NK), units, 100, "amplitude (% of own)")
        if motion is not None:
            _draw_motion(rows.pop(0), *motion)
        return picture(
            figure,
            title=f"Drift of {visible(units.name, 60)}",
            alt=_alt(units, depths_NK, sizes_NK),
            caption=_caption(depths_NK is not None, motion is not None, len(units.unit_names)),
        )


def _table(units: Units, said: object) -> FloatArray | None:
    """(N, K) in the order of the units, NaN where a unit fired too rarely; None where it was not measured."""
    of = _mapping(said)
    rows = [of.get(name) for name in units.unit_names]
    if not rows or not all(isinstance(row, list) and len(row) == len(rows[0] or ()) for row in rows):
        return None
    table: FloatArray = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
    return table if np.isfinite(table).any() else None


def _motion(units: Units) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Seconds of recording, depths, and µm moved (time, depth); None where no motion was taken back."""
    said = _mapping(_mapping(_mapping(units.provenance.get("preprocessing")).get("drift")).get("over_time"))
    if not said:
        return None
    times_s, depths_um, moved_um = (
        np.array(said[key], dtype=np.float64) for key in ("times_s", "depths_um", "moved_um")
    )
    return (times_s, depths_um, moved_um) if len(times_s) >= FEWEST_STRETCHES else None


def _draw_depths(axes: Any, times: FloatArray, depths_NK: FloatArray, units: Units) -> None:
    for i, accepted in list(enumerate(verdicts_of(units)))[:MOST_UNITS]:
        colour = GREY if accepted is False else PURPLE
        axes.plot(times, depths_NK[i], "o-", color=colour, markersize=2.5, linewidth=1.0, alpha=0.85)
    axes.set_ylabel("depth of units (µm)")


def _draw_change(axes: Any, times: FloatArray, values_NK: FloatArray, units: Units, usual: float, words: str) -> None:
    for i, accepted in list(enumerate(verdicts_of(units)))[:MOST_UNITS]:
        axes.plot(times, values_NK[i], color=GREY if accepted is False else PURPLE, linewidth=0.9, alpha=0.55)
    axes.axhline(usual, color=MUTED, linewidth=0.8)
    axes.plot(times, _medians(values_NK), color=INK, linewidth=1.8)
    axes.set_ylabel(words)


def _draw_motion(axes: Any, times_s: FloatArray, depths_um: FloatArray, moved_um: FloatArray) -> None:
    factor, unit = time_axis(axes, float(times_s[0]), float(times_s[-1]), titled=False)
    axes.plot(times_s / factor, moved_um, color=TEAL, linewidth=1.2, alpha=0.8)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_ylabel("probe moved (µm)")
    axes.set_xlabel(f"recorded time, without gaps ({unit})")


def _own(values_NK: FloatArray) -> FloatArray:
    """Each unit's median over the recording, (N, 1)."""
    return _medians(values_NK.T)[:, None]


def _relative(sizes_NK: FloatArray) -> FloatArray:
    """Each unit's amplitudes in percent of its own median over the recording."""
    own_N = _own(sizes_NK)
    found = np.full(sizes_NK.shape, np.nan)
    np.divide(100 * sizes_NK, own_N, out=found, where=own_N > 0)
    return found


def _medians(values_NK: FloatArray) -> FloatArray:
    """The median of each column, NaN where it holds nothing."""
    known = np.isfinite(values_NK).any(axis=0)
    found = np.full(values_NK.shape[1], np.nan)
    found[known] = np.nanmedian(values_NK[:, known], axis=0)
    return found


def _alt(units: Units, depths_NK: FloatArray | None, sizes_NK: FloatArray) -> str:
    words = f"{count(len(units.unit_names), 'unit')} over the recording"
    if depths_NK is not None:
        spans = [float(np.nanmax(row) - np.nanmin(row)) for row in depths_NK if np.isfinite(row).any()]
        words += f"; depths stay within {number(float(np.median(spans)))} µm in the middle unit"
    middle = _medians(_relative(sizes_NK))
    known = middle[np.isfinite(middle)]
    return (
        words + f"; amplitudes go from {number(float(known[0]))} to {number(float(known[-1]))} % of their own median."
    )


def _caption(has_depths: bool, has_motion: bool, n_units: int) -> str:
    words = "Medians over stretches of the recording; purple: accepted or not judged, grey: not accepted. "
    words += "Depths that move together are the probe's drift, not the units'. " if has_depths else ""
    words += "Strong: the median of all units, each set beside its own over the recording."
    words += (
        " Below: how far the probe was found to move, at several depths; the sorting saw it taken back."
        if has_motion
        else ""
    )
    return words + (f" The first {MOST_UNITS} of {n_units} units are drawn." if n_units > MOST_UNITS else "")


def _mapping(of: object) -> Mapping[str, Any]:
    return of if isinstance(of, Mapping) else {}
