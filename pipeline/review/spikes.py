"""Sorted units: a raster of their spikes, and a table of what speaks for or against each.

Shapes: N units, K columns, T samples, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.envelopes import COLUMNS
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Units
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import (
    GREY,
    GRID,
    MUTED,
    PURPLE,
    Picture,
    drawing,
    label,
    picture,
    time_axis,
)
from neuroloom.pipeline.review.text import visible
from neuroloom.pipeline.review.timeline import extent, shade_trials

MOST_UNITS = 400
MOST_TABLE_ROWS = 300
MOST_TEMPLATES = 120
ACCEPTED = ("accepted", "accept", "keep", "is_good")
REASON = ("reason", "reasons", "why", "verdict")
TEMPLATE = ("template_uV", "template", "template_V", "waveform_mean", "mean_waveform")


@dataclass(frozen=True, kw_only=True)
class UnitRow:
    """A unit in the table. accepted: None where nobody has judged it; values: its other columns, in their order."""

    name: str
    n_spikes: int
    rate_hz: float
    accepted: bool | None
    reason: str
    values: tuple[object, ...]
    template: Picture | None


@dataclass(frozen=True, kw_only=True)
class UnitTable:
    """The table of a stream of units; `columns` are the headings of every row's `values`."""

    columns: tuple[str, ...]
    rows: tuple[UnitRow, ...]
    n_left_out: int

    @property
    def has_templates(self) -> bool:
        """True where any unit has a picture of its template."""
        return any(row.template is not None for row in self.rows)


def raster(session: Session, units: Units) -> Picture:
    """Spikes of every unit over the session, one row each; a cell is the darker the more spikes fall into it."""
    start_s, stop_s = extent(session)
    n_drawn = min(len(units.unit_names), MOST_UNITS)
    accepted = _column(units.table, ACCEPTED)
    row_px = int(np.clip(900 // max(n_drawn, 1), 2, 22))
    with drawing(1120, 110 + max(row_px * n_drawn, 50)) as figure:
        axes = figure.add_subplot()
        factor, _ = time_axis(axes, start_s, stop_s)
        shade_trials(axes, session, factor)
        image = _image(units, n_drawn, (start_s, stop_s), accepted, 1 if row_px < 6 else 4)
        bounds = (start_s / factor, stop_s / factor, n_drawn - 0.5, -0.5)
        axes.imshow(image, extent=bounds, aspect="auto", interpolation="nearest", zorder=2)
        _label_units(axes, units, n_drawn, row_px)
        return picture(
            figure,
            title=f"Spikes of {visible(units.name, 60)}",
            alt=f"Spike raster of {n_drawn} units, {sum(t.size for t in units.spike_times_s):,} spikes in all.",
            caption=_raster_caption(units, n_drawn, (stop_s - start_s) / COLUMNS, accepted is not None),
        )


def _image(
    units: Units, n_drawn: int, extent_s: tuple[float, float], accepted: tuple[Any, ...] | None, n_lines: int
) -> NDArray[np.float64]:
    """Red, green, blue and opacity per unit (`n_lines` lines, the last left empty as a gap) and column."""
    from matplotlib.colors import to_rgb

    edges = np.linspace(*extent_s, COLUMNS + 1)
    image = np.zeros((n_drawn * n_lines, COLUMNS, 4))
    for row in range(n_drawn):
        counts, _ = np.histogram(units.spike_times_s[row], edges)
        most = max(float(counts.max(initial=0)), 1.0)
        lines = slice(row * n_lines, row * n_lines + max(n_lines - 1, 1))
        refused = accepted is not None and accepted[row] is not None and not accepted[row]
        image[lines, :, :3] = to_rgb(GREY if refused else PURPLE)
        image[lines, :, 3] = np.where(counts > 0, 0.35 + 0.65 * counts / most, 0.0)
    return image


def _label_units(axes: Any, units: Units, n_drawn: int, row_px: int) -> None:
    every = max(1, int(np.ceil(13 / row_px)))
    rows = range(0, n_drawn, every)
    axes.set_yticks(list(rows), [label(units.unit_names[row], 16) for row in rows])
    axes.set_ylim(n_drawn - 0.5, -0.5)
    axes.set_ylabel("unit")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)


def _raster_caption(units: Units, n_drawn: int, width_s: float, judged: bool) -> str:
    words = f"A mark per {width_s * 1e3:.3g} ms in which a unit fired, stronger where it fired more."
    if judged:
        words += " Grey: units that were not accepted."
    if n_drawn < len(units.unit_names):
        words += f" The first {n_drawn} of {len(units.unit_names)} units are drawn."
    return words


def unit_table(session: Session, units: Units) -> UnitTable:
    """What is known of each unit: spike count, rate, verdict, reason, template, and the table's other columns."""
    start_s, stop_s = extent(session)
    accepted, reason, template = (_column(units.table, names) for names in (ACCEPTED, REASON, TEMPLATE))
    known = {*ACCEPTED, *REASON, *TEMPLATE}
    columns = {key: values for key, values in units.table.items() if key not in known and not _is_array(values)}
    rows = tuple(
        UnitRow(
            name=name,
            n_spikes=int(units.spike_times_s[i].size),
            rate_hz=float(units.spike_times_s[i].size / (stop_s - start_s)),
            accepted=None if accepted is None or accepted[i] is None else bool(accepted[i]),
            reason=_words(reason[i]) if reason is not None else "",
            values=tuple(plain(values[i]) for values in columns.values()),
            template=_template(name, template[i]) if template is not None and i < MOST_TEMPLATES else None,
        )
        for i, name in enumerate(units.unit_names[:MOST_TABLE_ROWS])
    )
    headings = tuple(key.replace("_", " ") for key in columns)
    return UnitTable(columns=headings, rows=rows, n_left_out=max(0, len(units.unit_names) - MOST_TABLE_ROWS))


def found_by(units: Units) -> str:
    """How the units came to be, in words: sorter, what was done to the traces before, and how many were accepted."""
    said, chain = units.provenance, units.provenance.get("preprocessing", {})
    accepted = _column(units.table, ACCEPTED)
    judged = "" if accepted is None else f"{sum(bool(a) for a in accepted)} of {len(accepted)} units accepted"
    parts = [f"sorted with {said['sorter']}" if "sorter" in said else str(said.get("made_by", "")), judged]
    if chain:
        bad = chain.get("bad_channels", {})
        notch = "".join(f", notch at {hz:g} Hz" for hz in chain.get("notch_hz", ()))
        parts += [
            "traces from {:g} to {:g} Hz".format(*chain["band_hz"]) + notch,
            f"reference: {chain['reference']}",
            f"drift: {_drift(chain.get('drift'))}",
            f"left out: {', '.join(f'{name} ({why})' for name, why in bad.items())}" if bad else "no channel left out",
        ]
    words = "; ".join(part for part in parts if part)
    return visible(words[:1].upper() + words[1:] + ".", 600) if words else ""


def _drift(said: object) -> str:
    if isinstance(said, Mapping):
        return f"corrected ({said['preset']}), up to {said['range_um']:g} µm"
    return str(said or "not looked for")


def plain(value: object) -> object:
    """A NumPy scalar as Python's own, anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _column(table: Mapping[str, tuple[Any, ...]], names: tuple[str, ...]) -> tuple[Any, ...] | None:
    return next((table[name] for name in names if name in table), None)


def _is_array(values: tuple[Any, ...]) -> bool:
    return any(isinstance(value, (np.ndarray, list, tuple)) and np.size(value) > 8 for value in values)


def _words(reason: object) -> str:
    if isinstance(reason, (list, tuple)):
        return "; ".join(str(part) for part in reason)
    return "" if reason is None else str(reason)


def _template(name: str, template: object) -> Picture | None:
    """A small picture of a unit's mean waveform, shape (T,) or (T, C): its strongest channel, others faint."""
    values: FloatArray = np.asarray(template, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[0] < 2 or not np.isfinite(values).any():
        return None
    reach = np.ptp(np.nan_to_num(values), axis=0)
    order = np.argsort(-reach)[:8]
    with drawing(150, 56) as figure:
        axes = figure.add_subplot()
        axes.axis("off")
        axes.axhline(0, color=MUTED, linewidth=0.5)
        for rank, channel in reversed(list(enumerate(order))):
            colour, alpha = (PURPLE, 1.0) if rank == 0 else (GREY, 0.45)
            axes.plot(values[:, channel], color=colour, alpha=alpha, linewidth=1.4 if rank == 0 else 0.8)
        alt = f"Mean waveform of unit {label(name)}, strongest of {values.shape[1]} channels in front."
        return picture(figure, title=f"Template of {label(name)}", alt=alt, caption="")
