"""How every device's clock was carried over, in words, numbers and pictures, and what else speaks for or against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.timebase import ClockMap, FloatArray
from neuroloom.pipeline.review.figures import BLUE, MUTED, ORANGE, Picture, drawing, label, picture, time_axis
from neuroloom.pipeline.review.text import number, span, visible

VERDICTS = {"confirms": "good", "contradicts": "bad", "cannot tell": "quiet"}  # and how a page shows them


@dataclass(frozen=True, kw_only=True)
class Check:
    """What other evidence says, as a sentence. style: class of its verdict on the page."""

    kind: str
    against: str
    verdict: str
    words: str
    style: str


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A drift model and its held-out error in ms."""

    model: str
    held_out_ms: float
    is_chosen: bool


@dataclass(frozen=True, kw_only=True)
class ClockRow:
    """A clock map with its sentence, the picture of its residuals where the session keeps them, and other evidence."""

    map: ClockMap
    words: str
    residuals: Picture | None
    tried: tuple[Tried, ...]
    checks: tuple[Check, ...]


def clock_rows(session: Session) -> tuple[ClockRow, ...]:
    """One row per clock map."""
    return tuple(
        ClockRow(
            map=clock_map,
            words=_in_words(clock_map),
            residuals=_residuals(clock_map),
            tried=_tried(clock_map),
            checks=tuple(
                Check(
                    kind=check.kind,
                    against=check.against,
                    verdict=check.verdict,
                    words=check.words,
                    style=VERDICTS.get(check.verdict, "quiet"),
                )
                for check in clock_map.checks
            ),
        )
        for clock_map in session.clock_maps
    )


def _in_words(clock_map: ClockMap) -> str:
    covered_s = clock_map.span_s[1] - clock_map.span_s[0]
    source = visible(clock_map.source, 60)
    if not clock_map.drift_ppm:
        gait = f"{source} runs as fast as {visible(clock_map.target, 60)}"
    else:
        pace = "slow" if clock_map.drift_ppm > 0 else "fast"
        shift_ms = abs(clock_map.drift_ppm) * 1e-3 * covered_s
        rate = f"{abs(clock_map.drift_ppm):.1f} ppm {pace}"
        gait = f"{source} runs {rate}: {number(shift_ms)} ms over {span(covered_s)}, corrected"
    if clock_map.knots:
        extra_ms = 1e3 * np.array([extra_s for _, extra_s in clock_map.knots])
        swing = f"{number(float(np.ptp(extra_ms)))} ms"
        gait += f"; on top of that it wanders by {swing}, followed in {len(clock_map.knots) - 1} straight pieces"
    return f"{gait}. What is left after that is {clock_map.residual_ms:.2f} ms (root mean square)."


def _tried(clock_map: ClockMap) -> tuple[Tried, ...]:
    """Models in the order they were compared; of broken lines the chosen one, and else the best."""
    n_pieces = len(clock_map.knots) - 1
    chosen = f"piecewise, {n_pieces} pieces" if clock_map.knots else clock_map.model
    bent = [(model, error) for model, error in clock_map.tried if model.startswith("piecewise")]
    best = next((row for row in bent if row[0] == chosen), min(bent, key=lambda row: row[1], default=None))
    rows = [row for row in clock_map.tried if not row[0].startswith("piecewise")] + ([best] if best else [])
    return tuple(Tried(model=model, held_out_ms=error, is_chosen=model == chosen) for model, error in rows)


def _residuals(clock_map: ClockMap) -> Picture | None:
    if len(clock_map.evidence) < 2:
        return None
    own_s, residuals_ms = np.array(clock_map.evidence).T
    times_s = clock_map.seconds(own_s)
    with drawing(560, 400 if clock_map.knots else 260) as figure:
        rows = figure.subplots(2, 1, sharex=True) if clock_map.knots else [figure.add_subplot()]
        axes = rows[-1]
        start_s, stop_s = float(times_s.min()), float(times_s.max())
        margin_s = 0.02 * (stop_s - start_s) or 1.0
        factor, _ = time_axis(axes, start_s - margin_s, stop_s + margin_s)
        if clock_map.knots:
            _draw_pieces(rows[0], clock_map, own_s, residuals_ms, factor)
        level_ms = clock_map.uncertainty_ms(own_s)
        order = np.argsort(times_s)
        axes.fill_between(
            times_s[order] / factor, -level_ms[order], level_ms[order], color=BLUE, alpha=0.12, linewidth=0
        )
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.plot(times_s / factor, residuals_ms, ".", color=BLUE, markersize=4)
        axes.set_ylabel("residual (ms)")
        return _captioned(figure, clock_map, residuals_ms)


def _draw_pieces(axes: Any, clock_map: ClockMap, own_s: FloatArray, residuals_ms: FloatArray, factor: float) -> None:
    """What the straight line leaves: the pulses, and the broken line that follows them."""
    at_s, extra_s = np.array(clock_map.knots).T
    along_ms = 1e3 * np.interp(own_s, at_s, extra_s) + residuals_ms
    axes.plot(clock_map.seconds(own_s) / factor, along_ms, ".", color=BLUE, markersize=4)
    axes.plot(clock_map.seconds(at_s) / factor, 1e3 * extra_s, "o-", color=ORANGE, markersize=3, linewidth=1)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_ylabel("off the line (ms)")


def _captioned(figure: Any, clock_map: ClockMap, residuals_ms: FloatArray) -> Picture:
    n, worst = residuals_ms.size, float(np.abs(residuals_ms).max())
    shown = f"{n} of {clock_map.n_matched}" if n < clock_map.n_matched else str(n)
    pieces = f" Above: the {len(clock_map.knots) - 1} pieces, against a straight line." if clock_map.knots else ""
    return picture(
        figure,
        title=f"Residuals of {label(clock_map.source)}",
        alt=f"Residual of {shown} matched pulses over time; the largest is {worst:.2f} ms.{pieces}",
        caption=f"{visible(clock_map.source, 60)}: {shown} matched pulses; the band is the stated residual around each "
        f"moment, the largest is {worst:.2f} ms. A slope or a step here means the clock model is too simple.{pieces}",
    )
