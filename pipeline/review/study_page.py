"""The page of a study: its result in a sentence, pictures with their numbers, what was wanted, every setting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroloom.pipeline.review import text
from neuroloom.pipeline.review.page import write_page
from neuroloom.pipeline.review.run_page import settings_rows

if TYPE_CHECKING:
    from neuroloom.pipeline.studies._report import Report

MOST_ROWS = 200


def write_study(name: str, report: Report, settings: Mapping[str, Any], folder: Path) -> Path:
    """Writes the study's page, `run-<name>.html`, into `folder` and returns its path."""
    return write_page(
        "study.html",
        folder / f"run-{text.file_stem(name)}.html",
        name=name,
        report=report,
        pictures=[(plot.table, plot.draw(plot.table)) for plot in report.plots],
        settings=[*settings_rows(report.conditions), *settings_rows(settings)],
        most_rows=MOST_ROWS,
    )
