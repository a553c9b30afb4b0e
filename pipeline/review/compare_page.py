"""The page of several runs side by side; a run's own page shows the same beside runs like it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuroloom.pipeline.review import text
from neuroloom.pipeline.review.comparison import compared
from neuroloom.pipeline.review.page import write_page
from neuroloom.pipeline.review.run_folder import RunView


def write_compare(folders: Sequence[Path], folder: Path) -> Path:
    """Writes the page of runs that lie in these folders, `compare-NAME-NAME.html`, and returns its path."""
    views = [RunView.read(one) for one in folders]
    return write_page(
        "compare.html",
        folder / f"compare-{text.file_stem('-'.join(view.name for view in views))}.html",
        compared=compared(views),
        notes=[f"{view.name}: {note}" for view in views for note in view.notes],
    )
