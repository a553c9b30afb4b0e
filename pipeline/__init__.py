"""WHAT happens: plain functions from objects to objects, usable in a notebook with no server.

    from neuroloom.pipeline import align, windows, train, evaluate

    catalog/    what is where, and in which state: drops, sessions, runs
    boxed/      reading what nobody can trust: processes with limits, without a network
    drops/      from the inbox to a published session, or to a quarantine with a reason
    clocks/     devices with clocks of their own onto one time
    care/       sessions and runs once they are there: checked, traced, made anew, exported, withdrawn, deleted
    runs/       from sessions to a trained network: features, windows, objectives, training, searches
    scores/     what a network is worth: baselines, ceilings, pathways, damage, fidelity
    synthetic/  recordings whose truth is known: a synthetic person, electrodes in a model teacher
    studies/    the questions, one file each; `studying.py` runs them
    review/     the pages; `reviewing.py` finds what they show

Names are imported when they are first asked for: torch is not loaded by whoever only reads recordings.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroloom.pipeline.drops.assembly import align
    from neuroloom.pipeline.runs.feature_cache import build_features
    from neuroloom.pipeline.runs.features import Features
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
    "runs.feature_cache": ("build_features",),
    "runs.features": ("Features",),
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
