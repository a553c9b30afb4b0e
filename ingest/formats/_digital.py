"""Digital words to events: every line (bit) that goes up, at the moment it does, labelled by its number.

    rising       where a device notes its word whenever that changes
    pulses_in    where a column of samples holds the word

The column `high_s` says for how long a line stayed up, NaN where that was not recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats._edges import high_s
from neuroloom.ingest.streams import HIGH, Events
from neuroloom.ingest.timebase import FloatArray, Times

_BLOCK_SAMPLES = 1 << 20


def rising(times_s: FloatArray, words: NDArray[Any], *, name: str, before: int | None = None) -> Events:
    """The lines that go up where a device notes its word whenever that changes.

    times_s, words: of shape (N,), in order of time. before: the word before the first one; None where it is not known:
    then the first one only states how the lines were.
    """
    wide = np.asarray(words).astype(np.uint64)
    if not wide.size:
        return _events(name, times_s, wide, wide)
    earlier = np.concatenate([[wide[0] if before is None else np.uint64(before)], wide[:-1]])
    return _events(name, times_s, wide ^ earlier, wide)


def pulses_in(samples: Any, column: int, times: Times, *, name: str) -> Events:
    """The lines that go up in a column of samples (T, C) of 16 bits; read block by block."""
    at: list[NDArray[np.int64]] = []
    flips: list[NDArray[np.uint64]] = []
    after: list[NDArray[np.uint64]] = []
    before = np.zeros(0, dtype=np.uint16)
    for start in range(0, samples.shape[0], _BLOCK_SAMPLES):
        word = np.ascontiguousarray(samples[start : start + _BLOCK_SAMPLES, column]).view(np.uint16)
        joined = np.concatenate([before if before.size else word[:1], word])
        changes = np.flatnonzero(joined[1:] != joined[:-1])
        at.append(start + changes)
        flips.append((joined[1:][changes] ^ joined[:-1][changes]).astype(np.uint64))
        after.append(joined[1:][changes].astype(np.uint64))
        before = word[-1:]
    nothing = np.zeros(0, dtype=np.uint64)
    when = times.seconds(np.concatenate(at)) if at else np.zeros(0)
    return _events(name, when, np.concatenate([nothing, *flips]), np.concatenate([nothing, *after]))


def _events(name: str, times_s: FloatArray, flips: NDArray[np.uint64], words: NDArray[np.uint64]) -> Events:
    rises, widths, bits = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    for bit in range(64):
        mine, up = (flips >> np.uint64(bit)) & 1 == 1, (words >> np.uint64(bit)) & 1 == 1
        if not mine.any():
            continue
        rises.append(times_s[mine & up])
        widths.append(high_s(rises[-1], times_s[mine & ~up]))
        bits.append(np.full(rises[-1].size, bit))
    order = np.argsort(np.concatenate(rises), kind="stable")
    return Events(
        name=name,
        modality="sync",
        times_s=np.concatenate(rises)[order],
        labels=tuple(str(bit) for bit in np.concatenate(bits)[order].tolist()),
        table={HIGH: tuple(np.concatenate(widths)[order].tolist())},
    )


def ordered(times_s: FloatArray, *columns: Sequence[Any]) -> tuple[FloatArray, list[tuple[Any, ...]]]:
    """Times in order, and the columns beside them; equal times stay as they were."""
    order = np.argsort(times_s, kind="stable")
    return times_s[order], [tuple(column[i] for i in order.tolist()) for column in columns]
