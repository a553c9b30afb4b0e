"""Indexes that older versions wrote, brought to the present one in memory; a published file itself never changes.

    version 1    moments of Events lie in `event_times` of a table, as today, or, in the first files, in an
                 AnnotationSeries: `timestamps`, `data`, and further columns in a table `<path>_columns` beside it
    version 2    as `session.py` says

A step takes an index of its version, and what is in its file, to the next version. A change of the format is a new step
here, a new `INDEX_VERSION`, and a file in `tests/older` that the code before the change has written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Index = dict[str, Any]
IsThere = Callable[[str], bool]


def upgraded(index: Index, is_there: IsThere) -> Index:
    """The index as the present version has it. is_there: whether a path exists in the index's file."""
    while step := STEPS.get(index["version"]):
        index = step(index, is_there)
    return index


def _from_1(index: Index, is_there: IsThere) -> Index:
    return index | {"version": 2, "streams": [_with_places(entry, is_there) for entry in index["streams"]]}


def _with_places(entry: Mapping[str, Any], is_there: IsThere) -> Mapping[str, Any]:
    """Events of an AnnotationSeries say where they lie."""
    path = entry.get("path")
    if entry.get("kind") != "events" or path is None or is_there(f"{path}/event_times"):
        return entry
    return {**entry, "lies": {"times": f"{path}/timestamps", "labels": f"{path}/data", "columns": f"{path}_columns"}}


STEPS: Mapping[object, Callable[[Index, IsThere], Index]] = {1: _from_1}
