"""One file per check: `ingest/quality/gaze.py` *is* the check "gaze". The folder is the registry.

Every check file has

    TITLE: str                              what it looks for
    applies(stream: Stream) -> bool         is this a stream it can judge?
    check(stream: Stream) -> Finding        what it found, reading in bounded memory
    begin(stream: Signal) -> Reading        optional: the same, told of one stretch after another (`_stretches.py`), so
                                            that all such checks share one pass over a signal that is costly to compute

Files whose name starts with `_` are shared code, not checks. Other packages add checks through the entry point group
"neuroloom.quality". Nothing is altered or thrown away by a check: it says what it saw.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

import numpy as np

from neuroloom.ingest.streams import Signal, Stream

from ._ends import late
from ._finding import Finding
from ._stretches import Reading, read_by


class Check(Protocol):
    """What a check file offers; see the head of this file."""

    __name__: str
    TITLE: str

    def applies(self, stream: Stream, /) -> bool: ...

    def check(self, stream: Stream, /) -> Finding: ...


@cache
def checks() -> dict[str, Check]:
    """Every check by name: those in this folder, then those of other packages."""
    names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    known = {name: cast(Check, importlib.import_module(f"{__name__}.{name}")) for name in sorted(names)}
    return known | {point.name: cast(Check, point.load()) for point in entry_points(group="neuroloom.quality")}


def quality(streams: Iterable[Stream]) -> dict[str, dict[str, Any]]:
    """Per stream name what every fitting check found, as JSON can hold it (a number that is not finite is None).

    {"eeg": {"bad_channels": ["Fp1"], "reasons": {"Fp1": ["flat"]}, "notes": [...], "signal": {...}, "timing": {...}}}
    """
    return {stream.name: _of(stream) for stream in streams}


def _of(stream: Stream) -> dict[str, Any]:
    fitting = {name: c for name, c in checks().items() if c.applies(stream)}
    readings: dict[str, Reading] = {}
    if isinstance(stream, Signal):
        readings = {name: c.begin(stream) for name, c in fitting.items() if hasattr(c, "begin")}
        read_by(stream, readings.values())
    found: dict[str, Finding] = {
        name: readings[name].finding() if name in readings else c.check(stream) for name, c in fitting.items()
    }
    reasons: dict[str, list[str]] = {}
    for finding in found.values():
        for channel, reason in finding.bad_channels.items():
            reasons.setdefault(channel, []).append(reason)
    summary = {
        "bad_channels": list(reasons),
        "reasons": reasons,
        "notes": [note for finding in found.values() for note in finding.notes],
    }
    return summary | {name: _plain(finding.values) for name, finding in found.items()}


def _plain(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


__all__ = ["Check", "Finding", "checks", "late", "quality"]
