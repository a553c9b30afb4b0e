"""A run drawn for a notebook: its loss, and its scores beside what they must beat. See `Run.plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuroloom.ingest.plotting import NotebookFigure
from neuroloom.pipeline.review.run_folder import RunView
from neuroloom.pipeline.review.run_scores import ScoreRow, score_rows
from neuroloom.pipeline.review.scores import MOST_BARS, draw_loss, draw_scores, metrics

if TYPE_CHECKING:
    from neuroloom.pipeline.runs.run import Run
    from neuroloom.pipeline.scores.evaluation import Scores

MOST_METRICS = 4


def plot_run(run: Run, scores: Scores | None = None) -> NotebookFigure:
    """Loss over steps, then a row of axes per metric: of `scores`, else of the scores in the run's folder, if any."""
    view = RunView(name=run.name) if run.folder is None else RunView.read(run.folder)
    losses = np.column_stack([np.arange(1, len(run.losses) + 1), run.losses])
    training = view.training if len(view.training) else losses
    rows = tuple(score_rows(scores.to_json())) if scores is not None else view.scores
    by_metric: dict[str, list[ScoreRow]] = {
        metric: [row for row in rows if row.metric == metric][:MOST_BARS] for metric in metrics(rows)[:MOST_METRICS]
    }
    heights = [2.6, *(0.9 + 0.3 * len(drawn) for drawn in by_metric.values())]
    figure = NotebookFigure(figsize=(10.0, sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    draw_loss(axes[0], training, view.validation)
    for one, (metric, drawn) in zip(axes[1:], by_metric.items(), strict=True):
        draw_scores(one, drawn, metric)
    return figure
