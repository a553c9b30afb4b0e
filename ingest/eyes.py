"""Which channels of a gaze signal belong to which eye, and which of its samples saw no eye.

eyes(signal)           -> {"left": Eye(x=0, y=1), "right": Eye(x=2, y=3)}; "" where the names tell no eye
unseen(signal, values) -> where no eye was seen, shape (T, C)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import FloatArray

# An eye turns some 55 degrees at most; a screen is far smaller than 20,000 px; beyond these a tracker writes its own
# codes for a lost eye (EyeLink: 1e8 or -32768).
PLAUSIBLE = {"deg": 60.0, "px": 20_000.0}
SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}


class Eye(NamedTuple):
    """The columns of one eye's horizontal and vertical position."""

    x: int
    y: int


def eyes(signal: Signal) -> dict[str, Eye]:
    """Per eye its columns; the key is "left", "right", or "" where the names tell no eye (then the first pair)."""
    plain = [name.casefold().replace("-", "_").replace(" ", "_") for name in signal.channel_names]
    found: dict[str, Eye] = {}
    for column, name in enumerate(plain):
        for twin, key in _twins(name):
            if twin in plain:
                found.setdefault(key, Eye(column, plain.index(twin)))
    return found


def eye_of(channel: str) -> str:
    """ "left" or "right" where a channel's name says so, else ""."""
    parts = channel.casefold().replace("-", "_").replace(" ", "_").split("_")
    return next((SIDES[part] for part in parts if part in SIDES), "")


def unseen(signal: Signal, values: FloatArray) -> NDArray[np.bool_]:
    """True where a value of gaze or pupil, shape (T, C), is none: not finite, out of all range, a pupil of 0."""
    missing = ~np.isfinite(values)
    pupil = pupil_channels(signal)
    limit = PLAUSIBLE.get(signal.unit, np.inf)
    with np.errstate(invalid="ignore"):
        return np.asarray(missing | (pupil & (values <= 0)) | (~pupil & (np.abs(values) > limit)))


def pupil_channels(signal: Signal) -> NDArray[np.bool_]:
    """Which channels measure a pupil, shape (C,)."""
    if signal.modality == "pupil":
        return np.ones(len(signal.channel_names), dtype=np.bool_)
    return np.array(["pupil" in name.casefold() for name in signal.channel_names], dtype=np.bool_)


def _twins(name: str) -> list[tuple[str, str]]:
    """Names that the vertical channel beside this horizontal one may have, each with the eye they belong to."""
    parts = name.split("_")
    made = []
    for across, along in (("x", "y"), ("horizontal", "vertical")):
        if across in parts:
            rest = [part for part in parts if part != across]
            made.append(("_".join(along if part == across else part for part in parts), _side(rest)))
        elif name.endswith(across):
            made.append((name[: -len(across)] + along, _side(name[: -len(across)].split("_"))))
    return made


def _side(parts: list[str]) -> str:
    return next((SIDES[part] for part in parts if part in SIDES), "")
