"""Runs set side by side: losses, scores port by port, and the settings in which they differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from neuroloom.pipeline.review import text
from neuroloom.pipeline.review.comparison_pictures import losses_picture, scores_picture
from neuroloom.pipeline.review.figures import Picture
from neuroloom.pipeline.review.run_folder import RunView
from neuroloom.pipeline.review.run_scores import NETWORK, ScoreValue
from neuroloom.pipeline.review.scores import metrics
from neuroloom.pipeline.review.settings import settings_rows

CHOOSES_DATA = re.compile(r"(windows\.(?!inputs|targets|seed|lag_bins)|features\.|control)")  # settings that do
MOST_OTHERS, MOST_ROWS, MOST_SETTINGS, MOST_METRICS = 4, 100, 200, 6


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One score of every run, None where it has none; best: which of them is highest, -1 where several are."""

    session: str
    port: str
    metric: str
    values: tuple[ScoreValue | None, ...]
    best: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """names, pages: of the runs. differing: setting and its value in each run, "" where it has none."""

    names: tuple[str, ...]
    pages: tuple[str, ...]
    loss: Picture | None
    scores: tuple[Picture, ...]
    rows: tuple[ComparedRow, ...]
    differing: tuple[tuple[str, tuple[str, ...]], ...]
    with_session: bool


def alike(view: RunView, others: Sequence[RunView]) -> list[RunView]:
    """Those of the others that share a score with a run, over all areas; at most `MOST_OTHERS`."""
    return [other for other in others if _scores(other).keys() & _scores(view).keys()][:MOST_OTHERS]


def compared(runs: Sequence[RunView]) -> Comparison:
    """Runs side by side, in this order."""
    scores = [_scores(run) for run in runs]
    keys = dict.fromkeys(key for found in scores for key in found)
    rows = [_row(key, [found.get(key) for found in scores]) for key in keys]
    named = metrics([row for run in runs for row in run.scores])[:MOST_METRICS]
    return Comparison(
        names=tuple(run.name for run in runs),
        pages=tuple(f"run-{text.file_stem(run.name)}.html" for run in runs),
        loss=losses_picture(runs),
        scores=tuple(scores_picture(runs, metric) for metric in named),
        rows=tuple(rows[:MOST_ROWS]),
        differing=tuple(differing(runs))[:MOST_SETTINGS],
        with_session=len({row.session for row in rows}) > 1,
    )


def remarks(runs: Sequence[RunView]) -> list[str]:
    """Why scores that stand side by side cannot be compared: other targets, other data; none where they can."""
    found = [
        run for run in runs if any(_scores(run).keys() & _scores(other).keys() for other in runs if other is not run)
    ]
    told = [
        f"{run.name} shares no score with the others: its sessions or targets are others."
        for run in runs
        if len(runs) > 1 and run not in found
    ]
    versions = {row.session: "" for run in found for row in run.sessions}
    of = [{row.session: row.version for row in run.sessions} for run in found]
    other = [(f"the version of {session}", tuple(each.get(session, "") for each in of)) for session in versions]
    other = [(name, values) for name, values in other if len(set(values) - {""}) > 1]
    other += [(name, values) for name, values in differing(found) if CHOOSES_DATA.match(name)]
    for name, values in other:
        each = ", ".join(f"{value or 'none'} in {run.name}" for run, value in zip(found, values, strict=True))
        told.append(f"Not scored on the same data: {name} is {each}.")
    return told


def _scores(view: RunView) -> dict[tuple[str, str, str], ScoreValue]:
    whole = [row for row in view.scores if not row.area and NETWORK in row.values]
    return {(row.session, row.port, row.metric): row.values[NETWORK] for row in whole}


def _row(key: tuple[str, str, str], values: Sequence[ScoreValue | None]) -> ComparedRow:
    known = [_value(value) for value in values]
    is_won = len([value for value in values if value]) > 1 and known.count(max(known)) == 1
    best = known.index(max(known)) if is_won else -1
    return ComparedRow(session=key[0], port=key[1], metric=key[2], values=tuple(values), best=best)


def _value(of: ScoreValue | None) -> float:
    return of.value if of else float("-inf")


def differing(runs: Sequence[RunView]) -> list[tuple[str, tuple[str, ...]]]:
    """Every setting that is not the same in all runs: its name, and what each has."""
    settings = [dict(settings_rows(run.config)) for run in runs]
    names = dict.fromkeys(name for of in settings for name in of)
    found = [(name, tuple(of.get(name, "") for of in settings)) for name in names]
    return [(name, values) for name, values in found if len(set(values)) > 1]
