"""Lists of events that MNE saves beside a raw FIF file: `X_raw-eve.fif` or `X-eve.fif` of `X_raw.fif`.

A row is the number of a sample, the code before it and the code from there on. Samples are counted as the acquisition
does, so that sample 0 is time 0 of the recording.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError, head_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._fif_tags import Part, is_fif, numbers_of, part_of
from neuroloom.ingest.streams import Events

_EVENTS, _LIST = 361, 3561  # a kind of block, and of the tag in it
_RAW_BLOCKS = (102, 112, 119)


def event_lists(raw: Part) -> list[Part]:
    """The lists beside the first part of a raw file; links, and what holds none, are not looked at."""
    if not any(raw.of(kind) for kind in _RAW_BLOCKS):
        return []
    stem = raw.path.name.removesuffix(raw.path.suffix)
    stems = dict.fromkeys((stem, re.sub(r"[_-](raw|meg|sss|tsss)$", "", stem)))
    places = [raw.path.with_name(f"{s}{dash}eve{raw.path.suffix}") for s in stems for dash in "-_"]
    found = [part_of(place) for place in places if is_there(place) and is_fif(head_of(place))]
    return [part for part in found if part.of(_EVENTS) and not any(part.of(kind) for kind in _RAW_BLOCKS)]


def listed_events(part: Part, rate_hz: float) -> Events:
    """All rows in order of time, labelled by their codes. Raises FormatError for what is no whole rows."""
    tags = [tag for block in part.of(_EVENTS) for tag in block.tags if tag.kind == _LIST]
    rows = rows_of(part, numbers_of(part.path, part.raw, tags[0]) if tags else np.zeros(0))
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return Events(
        name=part.path.stem,
        modality="sync",
        times_s=rows[:, 0] / rate_hz,
        labels=tuple(map(str, rows[:, 2].tolist())),
        table={"code_before": tuple(rows[:, 1].tolist())},
    )


def rows_of(part: Part, numbers: NDArray[Any]) -> NDArray[np.int64]:
    """Rows (E, 3) of sample, code before, code. Raises FormatError for what is no whole rows, or none."""
    if not numbers.size or numbers.size % 3 or numbers.dtype.kind not in "iu":
        raise FormatError(f"{part.path}: {numbers.size} numbers of type {numbers.dtype}; rows of 3 integers are wanted")
    return numbers.reshape(-1, 3).astype(np.int64)
