"""The page of one run: does it learn, does it beat what it must beat, where, and with which settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuroloom.pipeline.review import areas, scores, text
from neuroloom.pipeline.review.page import write_page
from neuroloom.pipeline.review.run_folder import CEILING, NETWORK, RunView, ScoreRow
from neuroloom.pipeline.review.views import Judged
from neuroloom.pipeline.verdicts import Verdict

MOST_ROWS = 500
MOST_METRICS = 6
MOST_SETTINGS = 400
LONGEST_LIST = 20


def write_run(run: RunView | Path, folder: Path, history: Sequence[Verdict] = ()) -> Path:
    """Writes the run's page, `run-<name>.html`, into `folder` and returns its path.

    run: a view, or the folder of a run. history: what reviewers have said of it. Raises FileNotFoundError where that
    folder is not there.
    """
    view = run if isinstance(run, RunView) else RunView.read(run)
    metrics = scores.metrics(view.scores)
    coloured_by = metrics[0] if metrics else ""
    return write_page(
        "run.html",
        run_page(view.name, folder),
        scripts=("sort.js", "verdict.js"),
        run=view,
        judged=Judged(kind="runs", name=view.name, history=history),
        loss=scores.loss_picture(view.training, view.validation),
        score_pictures=[scores.score_picture(view.scores, metric) for metric in metrics[:MOST_METRICS]],
        predictors=scores.predictors(view.scores),
        with_session=len({row.session for row in view.scores}) > 1,
        rows=view.scores[:MOST_ROWS],
        n_more_rows=max(0, len(view.scores) - MOST_ROWS),
        verdict=_verdict(view.scores),
        choice=view.choice[:MOST_ROWS],
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
        rivals = [found.value for name, found in row.values.items() if name not in (NETWORK, CEILING)]
        if rivals and NETWORK in row.values:
            compared.setdefault(row.metric, []).append(row.values[NETWORK].value > max(rivals))
    told = [f"{sum(better)} of {text.count(len(better), 'row')} of {metric}" for metric, better in compared.items()]
    return f"The network scores above every baseline in {', '.join(told)}." if told else ""


def settings_rows(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Every setting with its whole name: `training.steps`, "2000"."""
    for key, value in config.items():
        name = f"{before}{key}"
        if key in ("inputs", "outputs") and isinstance(value, list):
            yield name, ", ".join(_port(port) for port in value if isinstance(port, Mapping)) or "none"
        elif isinstance(value, Mapping) and value:
            yield from settings_rows(value, f"{name}.")
        else:
            yield name, _setting(value)


def _port(port: Mapping[str, Any]) -> str:
    channels = port.get("channel_names")
    return f"{port.get('name')} ({len(channels) if isinstance(channels, list) else 0})"


def _setting(value: object) -> str:
    if isinstance(value, list):
        more = f", … ({len(value)} in all)" if len(value) > LONGEST_LIST else ""
        return ", ".join(_setting(part) for part in value[:LONGEST_LIST]) + more if value else "none"
    if isinstance(value, Mapping):
        return "none" if not value else ", ".join(f"{key}: {_setting(part)}" for key, part in value.items())
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
