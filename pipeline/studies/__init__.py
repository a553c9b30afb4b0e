"""One file per study: `studies/distill.py` *is* the study "distill". The folder is the registry. Every file has

    TITLE                                what it asks, in a line
    ALSO                                 other names it answers to
    Settings                             a `Config`; its defaults are the quick profile: minutes on two cores
    FULL                                 the Settings that `--full` takes: hours
    ONLY_READ                            where there are any: names of settings that decide no cell, only the report
    SIDE_BY_SIDE                         where it is True: `solve` draws from no global generator, changes nothing that
                                         cells share and measures no speed, so batches may be solved in threads at once
    opened(settings, store, progress)    the bench: teacher, lessons, whatever all cells share, with `.digest`
    keys(settings)                       the cells of its grid, each a small mapping with a "seed"
    together(keys)                       the same cells, as batches that are solved at once
    solve(bench, settings, keys)         their results, in order; what one has under FILES is written as files
    report(settings, found, facts)       a `Report` from what there is; found: (key, result) of every cell

and `pipeline/studying.py` runs any of them, cell by cell, from where it stopped.

A teacher is recorded, and students are taught from the recordings; because the teacher's truth is known, it can be said
what the recordings were worth. `_lessons.py` says what a student may see.
"""

from __future__ import annotations

from typing import Any

from neuroloom.models._registry import Registry

__all__ = ["kinds", "study_of"]

kinds = Registry(__name__, __path__, "neuroloom.studies", "study")


def study_of(name: str) -> tuple[str, Any]:
    """A study by its name or another it answers to: its own name, and its module. Raises ValueError listing names."""
    if name in kinds.names():
        return name, kinds(name)
    for own in kinds.names():
        if name in kinds(own).ALSO:
            return own, kinds(own)
    return name, kinds(name)
