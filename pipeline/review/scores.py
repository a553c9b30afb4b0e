"""The loss while training, and the scores beside what they must beat and what they cannot exceed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import (
    BLUE,
    CYCLE,
    GREY,
    INK,
    MUTED,
    ORANGE,
    Picture,
    drawing,
    label,
    picture,
)
from neuroloom.pipeline.review.run_scores import CEILING, NETWORK, TOGETHER, ScoreRow
from neuroloom.pipeline.review.text import count, number, visible

MOST_POINTS = 1500
MOST_BARS = 40
LONGEST_ROW = 46  # characters of a row's name at a picture
CUT = " ◂: further down than is drawn."
LOWEST = -1.0  # where an axis of scores begins at the lowest
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


def loss_picture(training: FloatArray, validation: FloatArray) -> Picture | None:
    """Training loss (each step faint, its mean strong) and validation loss over steps; None without either."""
    if not len(training) and not len(validation):
        return None
    with drawing(1120, 360) as figure:
        draw_loss(figure.add_subplot(), training, validation)
        return picture(
            figure,
            title="Loss",
            alt=_loss_alt(training, validation),
            caption="Training loss per step (faint) and its mean over stretches (strong); validation loss on data the "
            "network is not trained on.",
        )


def draw_loss(axes: Any, training: FloatArray, validation: FloatArray) -> None:
    """Both losses over steps, shape (S, 2) each, on axes of your own."""
    if len(training):
        binned = _binned(training, MOST_POINTS)
        axes.plot(*binned.T, color=BLUE, alpha=0.3, linewidth=0.8, rasterized=len(binned) > 500)
        axes.plot(*_binned(training, 80).T, color=BLUE, linewidth=1.8, label="training")
    if len(validation):
        shown = _binned(validation, MOST_POINTS)
        step, least = validation[np.argmin(validation[:, 1])]
        words = f"validation, best {number(float(least))} at step {step:.0f}"
        axes.plot(*shown.T, "o-", color=ORANGE, markersize=4, label=words)
        axes.plot(step, least, "o", color=INK, markersize=9, markerfacecolor="none", markeredgewidth=1.4)
    axes.set(xlabel="step", ylabel="loss")
    axes.grid()
    axes.margins(y=0.15)
    axes.legend(loc="upper right")


def _binned(curve: FloatArray, n_points: int) -> FloatArray:
    """At most `n_points` points, each the mean of a stretch of the curve."""
    stretches = np.array_split(curve, min(n_points, len(curve)))
    return np.array([stretch.mean(axis=0) for stretch in stretches])


def _loss_alt(training: FloatArray, validation: FloatArray) -> str:
    words = f"Loss over {count(len(training), 'training step')}"
    if len(training):
        tenth = max(1, len(training) // 10)
        first, last = (float(part[:, 1].mean()) for part in (training[:tenth], training[-tenth:]))
        words += f", from {number(first)} to {number(last)}"
    if len(validation):
        words += f"; best validation loss {number(float(validation[:, 1].min()))}"
    return words + "."


def predictors(rows: Sequence[ScoreRow]) -> tuple[str, ...]:
    """Who was scored, in the order of the table: the network, its rivals, the truth."""
    found = dict.fromkeys(name for row in rows for name in row.values)
    rivals = [name for name in found if name not in (NETWORK, CEILING)]
    return tuple(name for name in (NETWORK, *rivals, CEILING) if name in found)


def metrics(rows: Sequence[ScoreRow]) -> tuple[str, ...]:
    """The metrics in the order they come."""
    return tuple(dict.fromkeys(row.metric for row in rows))


def score_picture(rows: Sequence[ScoreRow], metric: str) -> Picture:
    """One metric: a bar for the network per port and area, marks for baselines, a line for the ceiling."""
    drawn = [row for row in rows if row.metric == metric][:MOST_BARS]
    with drawing(1120, 110 + 26 * len(drawn)) as figure:
        draw_scores(figure.add_subplot(), drawn, metric)
        return picture(
            figure,
            title=f"Scores: {visible(metric, 60)}",
            alt=_score_alt(drawn, metric),
            caption=_score_caption(rows, metric, len(drawn), CEILING in predictors(drawn)),
        )


def draw_scores(axes: Any, drawn: Sequence[ScoreRow], metric: str) -> None:
    """The same on axes of your own: these rows, all of one metric, from top to bottom."""
    names, places = predictors(drawn), np.arange(len(drawn))
    axes.barh(places, _values(drawn, NETWORK), 0.62, color=BLUE, label=NETWORK)
    for row, place in zip(drawn, places, strict=True):
        own = row.values.get(NETWORK)
        if own is not None and own.low is not None and own.high is not None:
            axes.hlines(place, own.low, own.high, color=INK, linewidth=1.2)
    for i, name in enumerate(name for name in names if name not in (NETWORK, CEILING)):
        style: dict[str, Any] = {"color": CYCLE[1 + i % (len(CYCLE) - 1)], "marker": MARKERS[i % len(MARKERS)]}
        style |= {"s": 34, "zorder": 4, "label": label(name), "edgecolors": INK, "linewidths": 0.6}
        axes.scatter(_values(drawn, name), places, **style)
    if CEILING in names:
        ends = (places - 0.4, places + 0.4)
        axes.vlines(_values(drawn, CEILING), *ends, color=INK, linewidth=2, label="true rates", zorder=3)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    every = [value.value for row in drawn for value in row.values.values()]
    from_lowest(axes, list(zip(places, _values(drawn, NETWORK), strict=True)), every)
    with_session = len({row.session for row in drawn}) > 1
    axes.set_yticks(places, [label(_where(row, with_session=with_session), LONGEST_ROW) for row in drawn])
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(visible(metric, 60) or "score")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def is_cut(every: Sequence[float]) -> bool:
    """Whether an axis of these scores leaves some out."""
    return bool(every) and min(every) < LOWEST < max(every)


def from_lowest(axes: Any, marks: Sequence[tuple[float, float]], every: Sequence[float]) -> None:
    """Begin the axis of scores at `LOWEST` where some lie below: beside -46 nothing could be told apart near 1.

    marks: places and values; of those that are left out the value is written at the edge. every: all values drawn.
    """
    if not is_cut(every):
        return
    axes.set_xlim(LOWEST, 1.08 * max(0.0, *every) + 0.05)
    for place, value in marks:
        if value < LOWEST:
            box = {"boxstyle": "round,pad=0.15", "facecolor": GREY, "edgecolor": "none", "alpha": 0.35}
            axes.annotate(f"◂ {number(float(value))}", (LOWEST, place), xytext=(6, 0), textcoords="offset points",
                          va="center", fontsize=8, color=INK, bbox=box)  # fmt: skip


def _values(rows: Sequence[ScoreRow], name: str) -> list[float]:
    return [row.values[name].value if name in row.values else np.nan for row in rows]


def _where(row: ScoreRow, *, with_session: bool) -> str:
    return " · ".join(part for part in (row.port, row.area, row.session if with_session else "") if part) or "all"


def _score_alt(drawn: Sequence[ScoreRow], metric: str) -> str:
    told = [
        f"{label(_where(row, with_session=True))} {number(row.values[NETWORK].value)}"
        for row in drawn[:12]
        if NETWORK in row.values
    ]
    return f"{visible(metric, 60)} of the network: {', '.join(told) or 'none'}."


def _score_caption(rows: Sequence[ScoreRow], metric: str, n_drawn: int, has_ceiling: bool) -> str:
    n_all = sum(row.metric == metric for row in rows)
    words = "Bar: the network, with its 95 % interval. Marks: what it is compared with."
    if any(TOGETHER in row.values for row in rows):
        words += " Together: what its trainings from several seeds expect, averaged; the bar is their mean score."
    if is_cut([value.value for row in rows if row.metric == metric for value in row.values.values()]):
        words += CUT
    if has_ceiling:
        words += " Upright line: what the true rates score, which nothing can exceed but by chance."
    return words + (f" The first {n_drawn} of {n_all} rows are drawn." if n_drawn < n_all else "")
