"""A run while it trains: how far it has come, and its losses since somebody last asked."""

from __future__ import annotations

from typing import Any

from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import RUNNING
from neuroloom.pipeline.documents import readable_document_of
from neuroloom.pipeline.runs.run_files import latest_rows
from neuroloom.pipeline.store import Store, StoreError

REQUEST = "request.json"
MOST_ROWS = 5000
LARGEST_LOOK = 4 << 20  # bytes from the end of the metrics; what lies before was asked for before


def live_run(store: Store, name: str, after: int) -> dict[str, Any]:
    """{"state", "step", "steps", "training": [[step, loss]], "validation": [[step, loss]]} after a step.

    steps: how many there will be, 0 where that is not known. Raises StoreError where there is no such run.
    """
    folder = store.run_folder(name)
    if not folder.is_dir():
        raise StoreError(f"{name}: no such run in {store.root}")
    catalog = Catalog.of(store)
    state = catalog.runs.states().get(name, "")
    catalog.close()
    steps = readable_document_of(folder / REQUEST).get("steps")
    found: dict[str, list[list[float]]] = {"training": [], "validation": []}
    step = 0
    for row in latest_rows(folder, LARGEST_LOOK):
        at = row.get("step")
        if not isinstance(at, int):
            continue
        step = max(step, at)
        for key, curve in (("loss", "training"), ("validation", "validation")):
            value = row.get(key)
            if at > after and isinstance(value, (int, float)):
                found[curve].append([at, float(value)])
    return {
        "state": state,
        "is_running": state == RUNNING,
        "step": step,
        "steps": steps if isinstance(steps, int) else 0,
        **{key: rows[:MOST_ROWS] for key, rows in found.items()},
    }
