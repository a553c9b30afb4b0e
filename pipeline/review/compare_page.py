"""The page of several runs side by side; a run's own page shows the same beside runs like it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from neuroloom.pipeline.review import text
from neuroloom.pipeline.review.comparison import compared, remarks
from neuroloom.pipeline.review.page import write_page
from neuroloom.pipeline.review.run_folder import RunView


def write_compare(folders: Sequence[Path], folder: Path) -> Path:
    """Writes the page of runs that lie in these folders, `compare-NAME-NAME.html`, and returns its path."""
    views = [RunView.read(one) for one in folders]
    return write_page(
        "compare.html",
        compare_page([view.name for view in views], folder),
        compared=compared(views),
        notes=[*remarks(views), *(f"{view.name}: {note}" for view in views for note in view.notes)],
    )


def compare_page(names: Sequence[str], folder: Path) -> Path:
    """Where the page of several runs lies."""
    return folder / f"compare-{text.file_stem('-'.join(names))}.html"


def compared_in(page: Path) -> list[str]:
    """The file names of the pages of the runs that such a page is of, whichever neuroloom wrote it; in its order."""
    head = page.read_text(encoding="utf-8", errors="replace").partition("<main")[0]
    return re.findall(r'<li><a href="(run-[^"/]+\.html)">', head)
