"""Whose table a text is, from the names of its columns: those of a vendor are read by a reader of their own.

Design rationale: the readers of any table (`gaze_table`, `event_table`) must leave these alone, and a vendor's reader
must know its own, so both ask the same question here. A lab's `<stem>.toml` beside a table has the last word: then the
table is read as it says, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from neuroloom.ingest.formats._sidecars import sidecar
from neuroloom.ingest.formats._tables import TextTable, find_table

Names = frozenset[str]

_GENERIC = ("gaze_table", "event_table")


def _is_pupil_core(names: Names) -> bool:
    return (
        {"gaze_timestamp", "confidence", "norm_pos_x", "norm_pos_y"} <= names
        or {"pupil_timestamp", "eye_id", "confidence", "diameter"} <= names
        or {"start_timestamp", "duration", "end_timestamp", "confidence"} <= names
        or {"start_timestamp", "duration", "dispersion", "norm_pos_x"} <= names
    )


def _is_pupil_cloud(names: Names) -> bool:
    return "recording id" in names and bool({"timestamp [ns]", "start timestamp [ns]"} & names)


def _is_glasses_report(names: Names) -> bool:
    return {"frame_idx", "timestamp", "confidence", "gaze_ts", "gaze_x", "gaze_y"} <= names


def _is_tobii_sdk(names: Names) -> bool:
    return {"device_time_stamp", "system_time_stamp"} <= names and any("gaze_point_on_display_area" in n for n in names)


def _is_tobii(names: Names) -> bool:
    has_time = any(re.fullmatch(r"Recording ?[Tt]imestamp( \[(ms|[µμ]s|us)\])?|Timestamp", name) for name in names)
    is_studio = "EventKey" in names or {"FixationIndex", "MappedFixationPointX"} <= names or "StudioVersionRec" in names
    is_lab = any(
        re.match(r"(Gaze ?[Pp]oint|Eye movement type|GazeEventType|Sensor$|Presented)", name) for name in names
    )
    return has_time and (is_studio or (is_lab and "Timestamp" not in names))


def _is_smi(names: Names) -> bool:
    return {"Time", "Type", "Trial"} <= names and any(re.match(r"[LR] (POR|Raw) X \[px\]", name) for name in names)


def _is_psychopy(names: Names) -> bool:
    has_loop = any(name.endswith(".thisRepN") for name in names)
    return has_loop or ("expName" in names and bool({"psychopyVersion", "frameRate"} & names))


def _is_presentation(names: Names) -> bool:
    return {"Event Type", "Code", "Time"} <= names and bool({"TTime", "ReqTime", "RT Uncertainty"} & names)


_VENDORS: dict[str, Callable[[Names], bool]] = {
    "pupil_core": _is_pupil_core,
    "pupil_cloud": _is_pupil_cloud,
    "glasses_report": _is_glasses_report,
    "tobii_sdk": _is_tobii_sdk,
    "tobii": _is_tobii,
    "smi": _is_smi,
    "psychopy_trials": _is_psychopy,
    "presentation": _is_presentation,
}


@lru_cache(maxsize=4096)  # every format here is asked about every line of a text
def vendor_of(names: tuple[str, ...]) -> str | None:
    """The format that these names of columns are of, None where none is known."""
    found = frozenset(names)
    return next((vendor for vendor, is_it in _VENDORS.items() if is_it(found)), None)


def vendor_table(path: Path) -> tuple[str, TextTable] | None:
    """Whose table it is, and where it lies in the file; None for any other text, or where a lab declares it itself."""
    if any(sidecar(path, form) is not None for form in _GENERIC):
        return None
    table = find_table(path, lambda names: vendor_of(names) is not None)
    vendor = vendor_of(table.names) if table is not None else None
    return (vendor, table) if table is not None and vendor is not None else None


def is_of(path: Path, vendor: str) -> bool:
    """True for a table of that vendor."""
    found = vendor_table(path)
    return found is not None and found[0] == vendor
