"""Traces: a signal's least and greatest values over the whole session, and a close-up of a few seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neuroloom.ingest.envelopes import COLUMNS, Envelope, envelope
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Signal
from neuroloom.pipeline.review.figures import (
    GREY,
    GRID,
    MODALITY_COLOURS,
    MUTED,
    RED,
    Picture,
    drawing,
    label,
    picture,
    time_axis,
)
from neuroloom.pipeline.review.text import count, number, visible
from neuroloom.pipeline.review.timeline import extent, gaps, shade_trials

MOST_CHANNELS = 24
CLOSE_UP_S = 5.0


def traces(session: Session, signal: Signal, bad: frozenset[str] = frozenset()) -> Picture:
    """The whole session; channels in `bad` are drawn red."""
    start_s, stop_s = extent(session)
    drawn, left_out = _some_channels(signal, bad)
    shown = envelope(drawn, start_s, stop_s, _n_columns(drawn, stop_s - start_s))
    return _draw(session, drawn, shown, bad, "Traces", left_out)


def close_up(session: Session, signal: Signal, bad: frozenset[str] = frozenset()) -> Picture | None:
    """A few seconds from the middle of the longest segment, or None where the whole session is no longer than that."""
    if not signal.segments or signal.stop_s - signal.start_s < 2 * CLOSE_UP_S:
        return None
    longest = max(signal.segments, key=lambda segment: segment.timebase.n_samples).timebase
    start_s = max(longest.start_s, (longest.start_s + longest.stop_s - CLOSE_UP_S) / 2)
    drawn, left_out = _some_channels(signal.between(start_s, start_s + CLOSE_UP_S), bad)
    shown = envelope(drawn, start_s, start_s + CLOSE_UP_S, _n_columns(drawn, CLOSE_UP_S))
    return _draw(session, drawn, shown, bad, "Close-up", left_out)


def _n_columns(signal: Signal, length_s: float) -> int:
    """As many columns as a screen shows, yet none without a sample: an empty column would look like a gap."""
    samples_per_column = 2 if signal.is_regular else 4
    return int(np.clip(length_s * signal.rate_hz / samples_per_column, 10, COLUMNS))


def _some_channels(signal: Signal, bad: frozenset[str]) -> tuple[Signal, int]:
    """At most `MOST_CHANNELS`, evenly spread, bad ones first of all; and how many were left out."""
    names = signal.channel_names
    if len(names) <= MOST_CHANNELS or len(set(names)) < len(names):
        return (signal, 0) if len(names) <= MOST_CHANNELS else (_first_channels(signal), len(names) - MOST_CHANNELS)
    chosen = [name for name in names if name in bad][: MOST_CHANNELS // 2]
    others = [name for name in names if name not in chosen]
    spread = np.linspace(0, len(others) - 1, MOST_CHANNELS - len(chosen)).round().astype(int)
    chosen += [others[i] for i in spread]
    return signal.channels(tuple(name for name in names if name in set(chosen))), len(names) - MOST_CHANNELS


def _first_channels(signal: Signal) -> Signal:
    """Where names repeat, a channel cannot be asked for by name: the first ones, renamed by their number."""
    numbered = tuple(f"{i + 1}: {name}" for i, name in enumerate(signal.channel_names))
    return replace(signal, channel_names=numbered).channels(numbered[:MOST_CHANNELS])


def _draw(session: Session, signal: Signal, shown: Envelope, bad: frozenset[str], title: str, left_out: int) -> Picture:
    n_channels = len(signal.channel_names)
    step = _spacing(shown)
    with drawing(1120, 110 + max(34 * n_channels, 70)) as figure:
        axes = figure.add_subplot()
        factor, _ = time_axis(axes, float(shown.edges_s[0]), float(shown.edges_s[-1]))
        shade_trials(axes, session, factor)
        for start_s, stop_s in gaps(signal):
            axes.axvspan(
                start_s / factor,
                stop_s / factor,
                facecolor="none",
                edgecolor=MUTED,
                hatch="///",
                alpha=0.35,
                linewidth=0,
            )
        for row in range(n_channels):
            _draw_channel(axes, signal, shown, row, step, factor, bad)
        _label_channels(axes, signal, bad, step)
        return picture(
            figure,
            title=f"{title} of {visible(signal.name, 60)}",
            alt=_alt(signal, shown, title, bad),
            caption=_caption(signal, shown, step, left_out),
        )


def _draw_channel(
    axes: Any, signal: Signal, shown: Envelope, row: int, step: float, factor: float, bad: frozenset[str]
) -> None:
    low, high = shown.low_KC[:, row], shown.high_KC[:, row]
    if not np.isfinite(low).any():
        return
    middle = float(np.nanmedian((low + high) / 2))
    is_bad = signal.channel_names[row] in bad
    colour = RED if is_bad else MODALITY_COLOURS.get(signal.modality, GREY)
    centres = (shown.edges_s[:-1] + shown.edges_s[1:]) / 2 / factor
    bottom, top = ((np.clip(side - middle, -1.6 * step, 1.6 * step)) / step - row for side in (low, high))
    axes.fill_between(centres, bottom, top, color=colour, linewidth=0.7, zorder=2 - is_bad / 2, rasterized=True)


def _spacing(shown: Envelope) -> float:
    """The value between two rows: what most channels stay within, so that one loud channel hides no other."""
    with np.errstate(invalid="ignore"):
        filled = np.isfinite(shown.low_KC).any(axis=0)
        low_KC, high_KC = shown.low_KC[:, filled], shown.high_KC[:, filled]
    if not low_KC.size:
        return 1.0
    reach = np.nanpercentile(high_KC, 97, axis=0) - np.nanpercentile(low_KC, 3, axis=0)
    positive = reach[reach > 0]
    return _round_up(float(np.median(positive))) if positive.size else 1.0


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, …"""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))


def _label_channels(axes: Any, signal: Signal, bad: frozenset[str], step: float) -> None:
    names = signal.channel_names
    marks = [f"{label(name, 18)}  bad" if name in bad else label(name, 22) for name in names]
    axes.set_yticks([-row for row in range(len(names))], marks)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        if name in bad:
            tick.set_color(RED)
    axes.set_ylim(-len(names) + 0.2, 0.8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="both", color=GRID)
    axes.set_axisbelow(True)
    axes.set_title(f"distance between two lines: {number(step)} {unit_sign(signal.unit)}", fontsize=8.5, color=MUTED)


def unit_sign(unit: str) -> str:
    """A unit as it is written: µV for "uV"."""
    return "µV" if unit == "uV" else visible(unit, 20)


def _alt(signal: Signal, shown: Envelope, title: str, bad: frozenset[str]) -> str:
    n_bad = sum(name in bad for name in signal.channel_names)
    n_gaps = len(gaps(signal))
    channels = count(len(signal.channel_names), "channel")
    return (
        f"{title} of {visible(signal.name, 60)}: {channels} in {unit_sign(signal.unit)} "
        f"from {shown.edges_s[0]:.1f} to {shown.edges_s[-1]:.1f} s, {count(n_gaps, 'gap')}, {n_bad} marked bad."
    )


def _caption(signal: Signal, shown: Envelope, step: float, left_out: int) -> str:
    width_s = float(shown.edges_s[1] - shown.edges_s[0])
    words = (
        f"Least to greatest value per {number(width_s * 1e3)} ms, each channel about its own median, "
        f"{number(step)} {unit_sign(signal.unit)} between lines; what reaches further than 1.6 lines is cut."
    )
    if gaps(signal):
        words += " Hatched: nothing was recorded."
    if left_out:
        words += f" {count(left_out, 'further channel')} not drawn."
    if shown.part_read < 1:
        words += f" Of each column the first {shown.part_read:.1%} was read."
    return words
