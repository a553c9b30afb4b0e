"""Runs side by side: losses on one axis, every score with its intervals, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neuroloom.pipeline.review import text
from neuroloom.pipeline.review.comparison import differing
from neuroloom.pipeline.review.figures import CYCLE, INK, MUTED, Picture, drawing, label, picture
from neuroloom.pipeline.review.page import write_page
from neuroloom.pipeline.review.run_folder import RunView
from neuroloom.pipeline.review.run_scores import NETWORK, ScoreRow
from neuroloom.pipeline.review.scores import MARKERS, MOST_BARS, metrics

MOST_SETTINGS = 200
MOST_METRICS = 6
ABSENT = "–"


def write_compare(folders: Sequence[Path], folder: Path) -> Path:
    """Writes the page of runs that lie in these folders, `compare-NAME-NAME.html`, and returns its path."""
    views = [RunView.read(one) for one in folders]
    rows = [row for view in views for row in view.scores]
    return write_page(
        "compare.html",
        folder / f"compare-{text.file_stem('-'.join(view.name for view in views))}.html",
        names=[view.name for view in views],
        pages=[f"run-{text.file_stem(view.name)}.html" for view in views],
        loss=_losses(views),
        scores=[_scores(views, metric) for metric in metrics(rows)[:MOST_METRICS]],
        settings=differing(views, ABSENT)[:MOST_SETTINGS],
        notes=[f"{view.name}: {note}" for view in views for note in view.notes],
    )


def _losses(views: Sequence[RunView]) -> Picture | None:
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


def _scores(views: Sequence[RunView], metric: str) -> Picture:
    """A mark per run with its interval, in a line per session, port and area."""
    found = {view.name: {_key(row): row for row in view.scores if row.metric == metric} for view in views}
    keys = list(dict.fromkeys(key for rows in found.values() for key in rows))[:MOST_BARS]
    with_session = len({key[0] for key in keys}) > 1
    with drawing(1120, 110 + (14 + 12 * len(views)) * len(keys)) as figure:
        axes = figure.add_subplot()
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
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(range(len(keys)), [label(_where(key, with_session), 34) for key in keys])
        axes.set_ylim(len(keys) - 0.5, -0.5)
        axes.set_xlabel(text.visible(metric, 60) or "score")
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return picture(
            figure,
            title=f"Scores: {text.visible(metric, 60)}",
            alt=f"{text.visible(metric, 60)} of {text.count(len(views), 'run')} in {text.count(len(keys), 'row')}.",
            caption="Marks: the runs' networks, with their 95 % intervals over blocks of held-out time.",
        )


def _key(row: ScoreRow) -> tuple[str, str, str]:
    return row.session, row.port, row.area


def _where(key: tuple[str, str, str], with_session: bool) -> str:
    return " · ".join(part for part in key[0 if with_session else 1 :] if part) or "all"
