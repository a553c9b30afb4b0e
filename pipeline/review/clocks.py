"""How every device's clock was carried over to the session's, in words, numbers and a picture of what is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.timebase import ClockMap
from neuroloom.pipeline.review.figures import BLUE, MUTED, Picture, drawing, label, picture, time_axis
from neuroloom.pipeline.review.text import number, span, visible


@dataclass(frozen=True, kw_only=True)
class ClockRow:
    """A clock map with its sentence, and the picture of its residuals where the session keeps them."""

    map: ClockMap
    words: str
    residuals: Picture | None


def clock_rows(session: Session) -> tuple[ClockRow, ...]:
    """One row per clock map."""
    return tuple(
        ClockRow(map=clock_map, words=_in_words(clock_map), residuals=_residuals(clock_map))
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
    return f"{gait}. What is left after that is {clock_map.residual_ms:.2f} ms (root mean square)."


def _residuals(clock_map: ClockMap) -> Picture | None:
    if not clock_map.evidence:
        return None
    own_s, residuals_ms = np.array(clock_map.evidence).T
    times_s = clock_map.seconds(own_s)
    with drawing(560, 260) as figure:
        axes = figure.add_subplot()
        start_s, stop_s = float(times_s.min()), float(times_s.max())
        margin_s = 0.02 * (stop_s - start_s) or 1.0
        factor, _ = time_axis(axes, start_s - margin_s, stop_s + margin_s)
        axes.axhspan(-clock_map.residual_ms, clock_map.residual_ms, color=BLUE, alpha=0.12, linewidth=0)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.plot(times_s / factor, residuals_ms, ".", color=BLUE, markersize=4)
        axes.set_ylabel("residual (ms)")
        worst = float(np.abs(residuals_ms).max())
        shown = f"{times_s.size} of {clock_map.n_matched}" if times_s.size < clock_map.n_matched else str(times_s.size)
        return picture(
            figure,
            title=f"Residuals of {label(clock_map.source)}",
            alt=f"Residual of {shown} matched pulses over time; the largest is {worst:.2f} ms.",
            caption=f"{visible(clock_map.source, 60)}: {shown} matched pulses; the band is the stated residual, "
            f"the largest is {worst:.2f} ms. A slope or a step here means the clock model is too simple.",
        )
