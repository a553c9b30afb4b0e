"""The index: what lies in the inbox, what was published, what was refused and why, what was trained."""

from __future__ import annotations

from pathlib import Path

from neuroloom.pipeline.review.page import write_page
from neuroloom.pipeline.review.views import IndexView

MOST_OF_TODAY = 4  # lines of a card
GOOD_STATES = frozenset({"DONE", "FINISHED", "COMPLETED"})
BAD_STATES = frozenset({"QUARANTINED", "FAILED", "CRASHED"})
BUSY_STATES = frozenset({"READY", "SUBMITTED", "RUNNING", "SETTLING", "RETRY"})


def write_index(view: IndexView, folder: Path) -> Path:
    """Writes `index.html` into the folder and returns its path."""
    shown = {"view": view, "tone": tone, "most": MOST_OF_TODAY}
    return write_page("index.html", folder / "index.html", scripts=("tables.js", "today.js", "verdict.js"), **shown)


def tone(state: str) -> str:
    """How a state is coloured: "good", "bad", "busy" or "quiet"; its word always stands beside the colour."""
    name = state.upper()
    for states, colour in ((GOOD_STATES, "good"), (BAD_STATES, "bad"), (BUSY_STATES, "busy")):
        if name in states:
            return colour
    return "quiet"
