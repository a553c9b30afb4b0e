"""Runs drawn side by side, losses on one axis and scores with their intervals; the candidates of a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuroloom.pipeline.review import text
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
    log_axis,
    picture,
)
from neuroloom.pipeline.review.run_folder import Candidate, RunView
from neuroloom.pipeline.review.run_scores import NETWORK, ScoreRow
from neuroloom.pipeline.review.scores import CUT, LONGEST_ROW, MARKERS, MOST_BARS, from_lowest, is_cut

MOST_NAMED = 6  # curves; more names than that would lie over each other
MOST_PANELS, MIN_TRIALS, WIDE = 5, 3, 8.0


def losses_picture(views: Sequence[RunView]) -> Picture | None:
    """Validation losses of runs over steps; None where none has any."""
    shown = [view for view in views if len(view.validation)]
    if not shown:
        return None
    with drawing(1120, 360) as figure:
        axes = figure.add_subplot()
        for i, view in enumerate(views):
            if len(view.validation):
                style = {"color": CYCLE[i % len(CYCLE)], "marker": MARKERS[i % len(MARKERS)], "markersize": 4}
                axes.plot(*view.validation.T, label=label(view.name, 34), **style)
        axes.set(xlabel="step", ylabel="validation loss")
        axes.grid()
        axes.legend(loc="upper right")
        best = [f"{label(v.name, 34)} {text.number(float(v.validation[:, 1].min()))}" for v in shown]
        return picture(
            figure,
            title="Validation loss",
            alt=f"Validation loss over steps; at best {', '.join(best)}.",
            caption="Losses are of the targets each run was trained on: where these differ they cannot be compared.",
        )


def scores_picture(views: Sequence[RunView], metric: str) -> Picture:
    """A mark per run with its interval, in a line per session, port and area."""
    found = {view.name: {_key(row): row for row in view.scores if row.metric == metric} for view in views}
    keys = list(dict.fromkeys(key for rows in found.values() for key in rows))[:MOST_BARS]
    with_session = len({key[0] for key in keys}) > 1
    with drawing(1120, 110 + (14 + 12 * len(views)) * len(keys)) as figure:
        axes = figure.add_subplot()
        drawn: list[tuple[float, float]] = []
        spread = np.linspace(-0.3, 0.3, len(views)) if len(views) > 1 else np.zeros(1)
        for i, view in enumerate(views):
            style = {"color": CYCLE[i % len(CYCLE)], "marker": MARKERS[i % len(MARKERS)]}
            points = [
                (place + spread[i], found[view.name][key].values[NETWORK])
                for place, key in enumerate(keys)
                if key in found[view.name] and NETWORK in found[view.name][key].values
            ]
            for at, value in points:
                if value.low is not None and value.high is not None:
                    axes.hlines(at, value.low, value.high, color=INK, linewidth=1.1)
            axes.scatter([v.value for _, v in points], [at for at, _ in points], label=label(view.name, 34), s=34,
                         zorder=4, edgecolors=INK, linewidths=0.6, **style)  # fmt: skip
            drawn += [(at, value.value) for at, value in points]
        from_lowest(axes, drawn, [value for _, value in drawn])
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(range(len(keys)), [label(_where(key, with_session), LONGEST_ROW) for key in keys])
        axes.set_ylim(len(keys) - 0.5, -0.5)
        axes.set_xlabel(text.visible(metric, 60) or "score")
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return picture(
            figure,
            title=f"Scores: {text.visible(metric, 60)}",
            alt=f"{text.visible(metric, 60)} of {text.count(len(views), 'run')} in {text.count(len(keys), 'row')}.",
            caption="Marks: the runs' networks, with their 95 % intervals over blocks of held-out time."
            + (CUT if is_cut([value for _, value in drawn]) else ""),
        )


def _key(row: ScoreRow) -> tuple[str, str, str]:
    return row.session, row.port, row.area


def _where(key: tuple[str, str, str], with_session: bool) -> str:
    session, port, area = key  # the session last: of what is too long the end is cut
    return " · ".join(part for part in (port, area, session if with_session else "") if part) or "all"


def candidates_picture(tried: Sequence[Candidate]) -> Picture | None:
    """Validation losses of everything that was tried, what was chosen in front; None where none has a curve."""
    shown = [one for one in tried if len(one.curve)]
    if max((len(one.curve) for one in shown), default=0) < 2:
        return None
    with drawing(1120, 320) as figure:
        axes = figure.add_subplot()
        for one in sorted(shown, key=lambda one: one.is_chosen):
            style = {"color": ORANGE, "linewidth": 2.2} if one.is_chosen else {"color": GREY, "linewidth": 1.0}
            axes.plot(*one.curve.T, alpha=1.0 if one.is_chosen else 0.6, **style)
            step, loss = one.curve[-1]
            if one.is_chosen or len(shown) <= MOST_NAMED:
                words = label(", ".join(f"{name} {value}" for name, value in one.weights.items()), 40)
                axes.annotate(words, (step, loss), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8,
                              color=ORANGE if one.is_chosen else MUTED, annotation_clip=False)  # fmt: skip
        axes.set(xlabel="step", ylabel="validation loss")
        axes.margins(x=0.01)
        axes.grid()
        losses = [float(one.curve[:, 1].min()) for one in shown]
        return picture(
            figure,
            title="Validation loss of what was tried",
            alt=f"Validation loss of {text.count(len(shown), 'candidate')} over steps; the best of each lie between "
            f"{text.number(min(losses))} and {text.number(max(losses))}.",
            caption="Orange: what was chosen. A curve that ends early was stopped, as it no longer fell.",
        )


def values_picture(tried: Sequence[Candidate]) -> Picture | None:
    """The loss of each trial over each setting that was varied, the best in front; None below three trials."""
    names = list(dict.fromkeys(name for one in tried for name in one.weights))[:MOST_PANELS]
    if len(tried) < MIN_TRIALS or not names:
        return None
    with drawing(1120, 300) as figure:
        every = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(every, names, strict=True):
            shown = sorted((one for one in tried if name in one.weights), key=lambda one: one.is_chosen)
            places = _places(axes, [one.weights[name] for one in shown])
            for place, one in zip(places, shown, strict=True):
                style = {"color": ORANGE, "s": 60, "zorder": 3} if one.is_chosen else {"color": BLUE, "s": 26}
                axes.scatter([place], [one.loss], edgecolors=INK, linewidths=0.5, **style)
            axes.set_xlabel(label(name, 34))
            axes.grid()
        every[0].set_ylabel("validation loss")
        losses = [one.loss for one in tried]
        return picture(
            figure,
            title="Loss over what was varied",
            alt=f"Validation loss of {text.count(len(tried), 'trial')}, from {text.number(min(losses))} to "
            f"{text.number(max(losses))}, over {text.listed(names)}.",
            caption="A mark per trial. Orange: the best one.",
        )


def _places(axes: Any, values: Sequence[str]) -> Sequence[float]:
    """Where values stand on an axis: numbers as they are, by powers of ten where they span some, words side by side."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        words = sorted(set(values))
        axes.set_xticks(range(len(words)), [label(word, 16) for word in words])
        axes.set_xlim(-0.6, len(words) - 0.4)
        return [words.index(value) for value in values]
    if min(numbers) > 0 and max(numbers) > WIDE * min(numbers):
        axes.set_xscale("log")
        log_axis(axes.xaxis, (1.0, 2.0, 5.0))
    return numbers
