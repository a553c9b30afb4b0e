"""What names of columns state of time, place and eye: "time_ms" -> "ms", "x_left_pix" -> ("x_left", "px").

words                     the words of a name, however they are joined
time_unit, unit_of_time   of a name; of a text that is nothing but a unit
place, unit_of_place      channel and unit of a name; of a text that is nothing but a unit
is_gaze, tells_gaze       of all names of a table
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

_TIME_UNITS = {
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "ms": "ms", "msec": "ms", "msecs": "ms", "millisecond": "ms", "milliseconds": "ms",
    "us": "us", "usec": "us", "microsecond": "us", "microseconds": "us",
    "ns": "ns", "nsec": "ns", "nanosecond": "ns", "nanoseconds": "ns",
}  # fmt: skip
_PLACE_UNITS = {
    "px": "px", "pix": "px", "pixel": "px", "pixels": "px", "deg": "deg", "degree": "deg", "degrees": "deg",
    "dva": "deg", "norm": "norm", "normalized": "norm", "normalised": "norm", "mm": "mm", "cm": "cm", "m": "m",
}  # fmt: skip
_TIME_WORDS = {"time", "timestamp", "timestamps", "t", "ts"}
_TIME_FILLERS = {"stamp", "gaze", "recording", "system", "device", "sample", "tracker", "eyetracker"}
_EYES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_PLACE_FILLERS = {
    "gaze", "por", "pos", "position", "point", "coord", "coordinate", "coordinates", "eye", "screen", "of", "regard",
}  # fmt: skip
_PUPIL_FILLERS = {"size", "diameter", "area", "eye"}


@lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """`GazePointXLeft [px]` -> gaze, point, x, left, px; none for what holds more than names do, as prose and code."""
    if not re.fullmatch(r"[\w\s.()\[\]/#-]*", name):
        return ()
    plain = name.replace("µ", "u").replace("μ", "u")
    found = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+", plain)
    return tuple(word.lower() for word in found)


@lru_cache(maxsize=4096)  # every format of tables asks about the same words
def time_unit(name: str, *, onset: bool = False) -> str | None:
    """The unit that the name of a column of times states, "" where it states none; None where it is no time.

    onset: names of events too ("onset", "start").
    """
    left = words(name)
    telling = _TIME_WORDS | ({"onset", "onsets", "start"} if onset else set())
    units = [_TIME_UNITS[word] for word in left if word in _TIME_UNITS]
    known = telling | _TIME_FILLERS | set(_TIME_UNITS)
    if not telling & set(left) or any(word not in known for word in left) or len(units) > 1:
        return None
    return (units or [""])[0]


@lru_cache(maxsize=4096)
def place(name: str) -> tuple[str, str] | None:
    """Channel ("x", "y_left", "pupil_right") and unit ("" where not stated) of a column of gaze; None for others."""
    left = words(name)
    axes = [word for word in left if word in ("x", "y")]
    eyes = [_EYES[word] for word in left if word in _EYES]
    units = [_PLACE_UNITS[word] for word in left if word in _PLACE_UNITS]
    is_pupil = "pupil" in left
    fillers = _PUPIL_FILLERS if is_pupil else _PLACE_FILLERS
    known = {"x", "y", "pupil", *_EYES, *_PLACE_UNITS, *fillers}
    if (
        any(word not in known for word in left)
        or len(eyes) > 1
        or len(units) > 1
        or len(axes) != (0 if is_pupil else 1)
    ):
        return None
    what = "pupil" if is_pupil else axes[0]
    return "_".join([what, *eyes]), (units or [""])[0]


def tells_gaze(names: Sequence[str]) -> bool:
    """True where some column can only be of an eye: it names one, or gaze, or a pupil, or degrees."""
    telling = {"gaze", "por", "regard", "eye", "pupil", "dva", "deg", *_EYES}
    return any(telling & set(words(name)) for name in names if place(name) or time_unit(name) is not None)


def is_gaze(names: Sequence[str]) -> bool:
    """True for times, and x with y of one eye at least, one row per sample: none that lasts ("duration")."""
    if not any("x" in name or "X" in name for name in names):  # most lines of most texts: numbers
        return False
    if any(set(words(name)) - set(_TIME_UNITS) == {"duration"} for name in names):
        return False
    channels = {found[0] for name in names if (found := place(name)) is not None}
    has_place = any({f"x{eye}", f"y{eye}"} <= channels for eye in ("", "_left", "_right"))
    return has_place and any(time_unit(name) is not None for name in names)


def unit_of_time(text: str) -> str | None:
    """A unit of time as files spell it, as one of SECONDS; None for others."""
    return _TIME_UNITS.get("".join(words(text)))


def unit_of_place(text: str) -> str:
    """A unit of place as files spell it, in our spelling; others stay as they are."""
    return _PLACE_UNITS.get(text.strip().lower(), text.strip())
