"""The page of one run: does it learn, does it beat what it must beat, where, and with which settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroloom.pipeline.review import areas, scores, text
from neuroloom.pipeline.review.comparison import alike, compared
from neuroloom.pipeline.review.comparison_pictures import candidates_picture, values_picture
from neuroloom.pipeline.review.page import write_page
from neuroloom.pipeline.review.run_folder import RunView
from neuroloom.pipeline.review.run_scores import CEILING, NETWORK, TOGETHER, ScoreRow
from neuroloom.pipeline.review.settings import settings_rows
from neuroloom.pipeline.review.views import Judged
from neuroloom.pipeline.verdicts import Verdict

MOST_ROWS = 500
MOST_METRICS = 6
MOST_SETTINGS = 400


def write_run(
    run: RunView | Path, folder: Path, history: Sequence[Verdict] = (), others: Sequence[RunView] = ()
) -> Path:
    """Writes the run's page, `run-<name>.html`, into `folder` and returns its path.

    run: a view, or the folder of a run. history: what reviewers have said of it. others: runs to set it beside.
    Raises FileNotFoundError where that folder is not there.
    """
    view = run if isinstance(run, RunView) else RunView.read(run)
    metrics, others = scores.metrics(view.scores), alike(view, others)
    coloured_by = metrics[0] if metrics else ""
    return write_page(
        "run.html",
        run_page(view.name, folder),
        scripts=("tables.js", "live.js", "verdict.js"),
        run=view,
        judged=Judged(kind="runs", name=view.name, history=history),
        loss=scores.loss_picture(view.training, view.validation),
        score_pictures=[scores.score_picture(view.scores, metric) for metric in metrics[:MOST_METRICS]],
        predictors=scores.predictors(view.scores),
        with_session=len({row.session for row in view.scores}) > 1,
        rows=view.scores[:MOST_ROWS],
        n_more_rows=max(0, len(view.scores) - MOST_ROWS),
        verdict=_verdict(view.scores),
        compared=compared([view, *others]) if others else None,
        choice=view.choice[:MOST_ROWS],
        choice_curves=candidates_picture(view.choice),
        trials=view.trials[:MOST_ROWS],
        trial_values=values_picture(view.trials[:MOST_ROWS]),
        trial_curves=candidates_picture(view.trials[:MOST_ROWS]),
        network=_network(view, coloured_by),
        session_href=lambda name: text.relative_href(f"{text.file_stem(name)}.html"),
        settings=list(settings_rows(view.config))[:MOST_SETTINGS],
    )


def run_page(name: str, folder: Path) -> Path:
    """Where the page of a run lies."""
    return folder / f"run-{text.file_stem(name)}.html"


def _network(view: RunView, metric: str) -> Any:
    if view.topology is None:
        return None
    return areas.topology_picture(view.topology, areas.area_scores(view.scores, metric), metric, view.channels)


def _verdict(rows: Sequence[ScoreRow]) -> str:
    """How often the network beats every baseline, by metric, in a sentence; "" without baselines."""
    compared: dict[str, list[bool]] = {}
    for row in rows:
        rivals = [found.value for name, found in row.values.items() if name not in (NETWORK, TOGETHER, CEILING)]
        if rivals and NETWORK in row.values:
            compared.setdefault(row.metric, []).append(row.values[NETWORK].value > max(rivals))
    told = [f"{sum(better)} of {text.count(len(better), 'row')} of {metric}" for metric, better in compared.items()]
    return f"The network scores above every baseline in {', '.join(told)}." if told else ""
