"""Which Open Ephys streams share a clock, and how their clocks relate as its synchroniser measured it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._npy import array_of
from neuroloom.ingest.formats._openephys_signals import Part
from neuroloom.ingest.timebase import ClockMap, FloatArray

_POINTS = 1000
_STRETCHED = 1e-9  # less than this is how float64 rounds
_MAX_RESIDUAL_MS = 1.0


def clocks_of(parts: Mapping[str, Sequence[Part]]) -> dict[str, str]:
    """Per stream, by its folder, the name of its clock: its own, or the one that both bands of a probe share."""
    clocks = {folder: folder for folder in parts}
    for folder, found in parts.items():
        fast = _fast_band(folder, found[0], parts)
        if fast is not None and _begin_together(found[0], parts[fast][0]):
            clocks[folder] = fast
    return clocks


def _fast_band(folder: str, slow: Part, parts: Mapping[str, Sequence[Part]]) -> str | None:
    """The stream of the same probe's wide band: by its name, or before 0.6 by its place in the processor."""
    if folder.endswith("-LFP") and folder.removesuffix("-LFP") + "-AP" in parts:
        return folder.removesuffix("-LFP") + "-AP"
    if re.fullmatch(r"LFP?\d+", slow.stream.channels[0].name) is None:
        return None
    before = (
        other
        for other, found in parts.items()
        if found[0].stream.processor == slow.stream.processor
        and found[0].stream.sub_index == slow.stream.sub_index - 1
        and found[0].stream.channels[0].name.startswith("AP")
    )
    return next(before, None)


def _begin_together(slow: Part, fast: Part) -> bool:
    """True where both count from one moment: their first samples lie within one of the slow band."""
    slow_s, fast_s = slow.first / slow.stream.rate_hz, fast.first / fast.stream.rate_hz
    return abs(slow_s - fast_s) <= 1.5 / slow.stream.rate_hz


def leading(parts: Mapping[str, Sequence[Part]], clocks: Mapping[str, str], label: str) -> dict[str, ClockMap]:
    """Per clock a map to the synchroniser's; none at all where it stretched no stream, so synchronised nothing."""
    found = {}
    for folder, own in parts.items():
        if (
            clocks[folder] == folder
            and (fitted := _fitted(own, f"{label} {folder}", f"{label} synchronised")) is not None
        ):
            found[folder] = fitted
    stretched = any(abs(fitted.drift_ppm) > _STRETCHED * 1e6 for fitted in found.values())
    return found if stretched and len(found) > 1 else {}


def _fitted(parts: Sequence[Part], source: str, target: str) -> ClockMap | None:
    """A straight line from sample numbers to `timestamps.npy`, None where there is none or it is not straight."""
    pairs = [pair for part in parts if (pair := _points(part)) is not None]
    if not pairs:
        return None
    mine, theirs = (np.concatenate(column) for column in zip(*pairs, strict=True))
    if mine.size < 2 or not np.isfinite(theirs).all() or (np.diff(theirs) <= 0).any():
        return None
    anchor_s = float(mine.mean())
    slope, offset = np.polyfit(mine - anchor_s, theirs - mine, 1)
    residual_s = theirs - mine - offset - slope * (mine - anchor_s)
    residual_ms = float(np.abs(residual_s).max()) * 1000
    if residual_ms > _MAX_RESIDUAL_MS:
        return None
    return ClockMap(
        source=source,
        target=target,
        offset_s=float(offset),
        drift_ppm=float(slope) * 1e6,
        anchor_s=anchor_s,
        span_s=(float(mine[0]), float(mine[-1])),
        residual_ms=residual_ms,
        n_matched=int(mine.size),
        n_lost=0,
        n_extra=0,
        method="Open Ephys synchroniser",
    )


def _points(part: Part) -> tuple[FloatArray, FloatArray] | None:
    """Seconds by sample number and by the synchroniser, of samples spread over a recording."""
    path = part.folder / "timestamps.npy"
    if not (part.folder / "sample_numbers.npy").is_file() or not path.is_file():
        return None
    try:
        seconds = array_of(path, kinds="f")
    except FormatError:
        return None
    n = min(len(seconds), len(part.numbers))
    if n < 2:
        return None
    rows = np.unique(np.linspace(0, n - 1, min(n, _POINTS)).astype(np.int64))
    return np.asarray(part.numbers[rows]) / part.stream.rate_hz, np.asarray(seconds[rows], dtype=np.float64)
