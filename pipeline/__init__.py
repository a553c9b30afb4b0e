"""WHAT happens: plain functions from objects to objects, usable in a notebook with no server.

    from neuroloom.pipeline import align, windows, train, evaluate

Names are imported when they are first asked for: torch is not loaded by whoever only reads recordings.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroloom.pipeline.drops.assembly import align
    from neuroloom.pipeline.runs.features import Features, build_features
    from neuroloom.pipeline.runs.leadfield import lead_field
    from neuroloom.pipeline.runs.training import Run, TrainConfig, train
    from neuroloom.pipeline.runs.windowing import Windows, windows
    from neuroloom.pipeline.scores.evaluation import Scores, evaluate

__all__ = [
    "Features", "Run", "Scores", "TrainConfig", "Windows", "align", "build_features", "evaluate", "lead_field", "train",
    "windows",
]  # fmt: skip

_HOMES = {
    "drops.assembly": ("align",),
    "scores.evaluation": ("Scores", "evaluate"),
    "runs.features": ("Features", "build_features"),
    "runs.leadfield": ("lead_field",),
    "runs.training": ("Run", "TrainConfig", "train"),
    "runs.windowing": ("Windows", "windows"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"{__name__} has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
