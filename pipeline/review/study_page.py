"""The page of a study: its result in a sentence, pictures with their numbers, what was wanted, every setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from neuroloom.pipeline.review.page import write_page
from neuroloom.pipeline.review.run_page import run_page
from neuroloom.pipeline.review.settings import settings_rows
from neuroloom.pipeline.review.views import Judged
from neuroloom.pipeline.verdicts import Verdict

if TYPE_CHECKING:
    from neuroloom.pipeline.studies._report import Report, Table

MOST_ROWS = 200


def write_study(
    name: str, report: Report, settings: Mapping[str, Any], folder: Path, history: Sequence[Verdict] = ()
) -> Path:
    """Writes the study's page, `run-<name>.html`, into `folder` and returns its path."""
    return write_page(
        "study.html",
        run_page(name, folder),
        scripts=("tables.js", "verdict.js"),
        name=name,
        judged=Judged(kind="runs", name=name, history=history),
        report=report,
        pictures=[(plot.table, plot.draw(plot.table)) for plot in report.plots],
        settings=[*settings_rows(report.conditions), *settings_rows(settings)],
        most_rows=MOST_ROWS,
        numbers_of=_numbers_of,
        csv_of=_csv_of,
    )


def _csv_of(table: Table) -> Markup:
    """The whole table as a data URI: a page needs no other file, and can be handed on alone."""
    from neuroloom.pipeline.studies._report import csv_text

    return Markup("data:text/csv;charset=utf-8," + quote(csv_text(table)))


def _numbers_of(table: Table) -> set[str]:
    """The columns that hold numbers, and nothing else where they hold something."""
    held = {column: [row[column] for row in table.rows if row.get(column) is not None] for column in table.columns}
    return {column for column, values in held.items() if values and all(map(_is_number, values))}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
