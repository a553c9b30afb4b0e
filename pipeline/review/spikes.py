"""Sorted units: a table of what speaks for or against each, with its template.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Units
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import GREY, MUTED, PURPLE, Picture, data_uri, label
from neuroloom.pipeline.review.text import visible
from neuroloom.pipeline.review.timeline import extent

MOST_TABLE_ROWS = 300
MOST_TEMPLATES = 120
MOST_WAVEFORMS = 8
ACCEPTED = ("accepted", "accept", "keep", "is_good")
REASON = ("reason", "reasons", "why", "verdict")
TOLD = ("n_spikes", "firing_rate_hz", "y_um")  # counts and rates have columns of their own, the depth is the y
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


def verdicts_of(units: Units) -> tuple[bool | None, ...]:
    """Per unit whether the curation accepts it; None where nobody has judged."""
    accepted = _column(units.table, ACCEPTED)
    judged = (None,) * len(units.unit_names) if accepted is None else accepted
    return tuple(None if one is None else bool(one) for one in judged)


def unit_table(session: Session, units: Units) -> UnitTable:
    """What is known of each unit: spike count, rate, verdict, reason, template, and the table's other columns."""
    start_s, stop_s = extent(session)
    accepted = verdicts_of(units)
    reason, templates = _column(units.table, REASON), _templates(units)
    known = {*ACCEPTED, *REASON, *TEMPLATE, *TOLD}
    columns = {key: values for key, values in units.table.items() if key not in known and not _is_array(values)}
    rows = tuple(
        UnitRow(
            name=name,
            n_spikes=int(units.spike_times_s[i].size),
            rate_hz=float(units.spike_times_s[i].size / (stop_s - start_s)),
            accepted=accepted[i],
            reason=_words(reason[i]) if reason is not None else "",
            values=tuple(plain(values[i]) for values in columns.values()),
            template=_template(name, templates[i]) if templates is not None and i < MOST_TEMPLATES else None,
        )
        for i, name in enumerate(units.unit_names[:MOST_TABLE_ROWS])
    )
    headings = tuple(key.removesuffix("_um").replace("_", " ") + " (µm)" * key.endswith("_um") for key in columns)
    return UnitTable(columns=headings, rows=rows, n_left_out=max(0, len(units.unit_names) - MOST_TABLE_ROWS))


def found_by(units: Units) -> str:
    """How the units came to be, in words: sorter, what was done to the traces before, and how many were accepted."""
    said, chain = units.provenance, units.provenance.get("preprocessing", {})
    accepted = [one for one in verdicts_of(units) if one is not None]
    judged = f"{sum(accepted)} of {len(accepted)} units accepted" if accepted else ""
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


def _templates(units: Units) -> tuple[Any, ...] | None:
    """The mean waveform of every unit: of its table, or as our own sorting keeps it; None where there are none."""
    said = units.provenance.get("template_uV")
    kept = tuple(said.get(name) for name in units.unit_names) if isinstance(said, Mapping) else None
    return _column(units.table, TEMPLATE) or kept


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
    values: FloatArray = np.asarray([] if template is None else template, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[0] < 2 or not np.isfinite(values).any():
        return None
    values = np.nan_to_num(values)
    order = np.argsort(-np.ptp(values, axis=0))[:MOST_WAVEFORMS]
    alt = f"Mean waveform of unit {label(name)}"
    alt += f", strongest of {values.shape[1]} channels in front." if values.shape[1] > 1 else " at its channel."
    uri = data_uri(_waveforms(values[:, order]))
    return Picture(title=f"Template of {label(name)}", uri=uri, alt=alt, caption="", width_px=150, height_px=56)


def _waveforms(values_TC: FloatArray) -> str:
    """Lines as SVG, written by hand: numbers alone go in, and a table may have a hundred of them."""
    low, high = float(values_TC.min()), float(values_TC.max())
    x = np.linspace(2, 148, len(values_TC))
    y_TC = 53 - 50 * (values_TC - low) / max(high - low, 1e-12)
    zero = 53 - 50 * (0 - low) / max(high - low, 1e-12)
    parts = [f'<path d="M2 {zero:.1f}H148" stroke="{MUTED}" stroke-width="0.5"/>']
    for rank in reversed(range(values_TC.shape[1])):
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y_TC[:, rank], strict=True))
        style = f'stroke="{PURPLE}" stroke-width="1.5"' if rank == 0 else f'stroke="{GREY}" stroke-opacity="0.45"'
        parts.append(f'<polyline points="{line}" fill="none" {style}/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 150 56" width="150" height="56">{"".join(parts)}</svg>'
    )
