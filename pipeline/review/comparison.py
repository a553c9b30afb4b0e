"""A run set beside others: scores port by port, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neuroloom.pipeline.review.run_folder import RunView
from neuroloom.pipeline.review.run_scores import NETWORK, ScoreValue
from neuroloom.pipeline.review.settings import settings_rows

MOST_OTHERS, MOST_ROWS, MOST_SETTINGS = 4, 100, 60


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One score of every run, None where it has none; best: which of them is highest."""

    session: str
    port: str
    metric: str
    values: tuple[ScoreValue | None, ...]
    best: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """names: of the runs, this one first. differing: setting and its value in each run, "" where it has none."""

    names: tuple[str, ...]
    rows: tuple[ComparedRow, ...]
    differing: tuple[tuple[str, tuple[str, ...]], ...]
    with_session: bool


def compared(view: RunView, others: Sequence[RunView]) -> Comparison | None:
    """A run beside others that share a score with it, over all areas; None where none does."""
    runs = [view, *[other for other in others if _scores(other).keys() & _scores(view).keys()][:MOST_OTHERS]]
    if len(runs) == 1:
        return None
    scores = [_scores(run) for run in runs]
    rows = [_row(key, [found.get(key) for found in scores]) for key in scores[0]]
    return Comparison(
        names=tuple(run.name for run in runs),
        rows=tuple(rows[:MOST_ROWS]),
        differing=tuple(differing(runs))[:MOST_SETTINGS],
        with_session=len({row.session for row in rows}) > 1,
    )


def _scores(view: RunView) -> dict[tuple[str, str, str], ScoreValue]:
    whole = [row for row in view.scores if not row.area and NETWORK in row.values]
    return {(row.session, row.port, row.metric): row.values[NETWORK] for row in whole}


def _row(key: tuple[str, str, str], values: Sequence[ScoreValue | None]) -> ComparedRow:
    best = max((i for i, value in enumerate(values) if value), key=lambda i: _value(values[i]))
    return ComparedRow(session=key[0], port=key[1], metric=key[2], values=tuple(values), best=best)


def _value(of: ScoreValue | None) -> float:
    return of.value if of else float("-inf")


def differing(runs: Sequence[RunView], absent: str = "") -> list[tuple[str, tuple[str, ...]]]:
    """Every setting that is not the same in all runs: its name, and what each has."""
    settings = [dict(settings_rows(run.config)) for run in runs]
    names = dict.fromkeys(name for of in settings for name in of)
    found = [(name, tuple(of.get(name, absent) for of in settings)) for name in names]
    return [(name, values) for name, values in found if len(set(values)) > 1]
