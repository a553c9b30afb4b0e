"""Digital words to events: every line (bit) that goes up, at the moment it does, labelled by its number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Events
from neuroloom.ingest.timebase import FloatArray


def rising(times_s: FloatArray, words: NDArray[np.unsignedinteger], *, name: str, before: int | None = None) -> Events:
    """The lines that go up where a device notes its word whenever that changes.

    times_s, words: of shape (N,), in order of time. before: the word before the first one; None where it is not known:
    then the first one only states how the lines were.
    """
    wide = np.asarray(words).astype(np.uint64)
    if not wide.size:
        return Events(name=name, modality="sync", times_s=np.zeros(0), labels=())
    earlier = np.concatenate([[wide[0] if before is None else np.uint64(before)], wide[:-1]])
    up = wide & ~earlier
    at = np.flatnonzero(up)
    found = [(float(times_s[k]), bit) for k in at for bit in bits_of(int(up[k]))]
    return Events(
        name=name,
        modality="sync",
        times_s=np.array([t for t, _ in found], dtype=np.float64),
        labels=tuple(str(bit) for _, bit in found),
    )


def bits_of(word: int) -> list[int]:
    """The bits of a word that are set, the lowest first."""
    return [bit for bit in range(64) if word >> bit & 1]


def ordered(times_s: FloatArray, *columns: Sequence[object]) -> tuple[FloatArray, list[tuple[object, ...]]]:
    """Times in order, and the columns beside them; equal times stay as they were."""
    order = np.argsort(times_s, kind="stable")
    return times_s[order], [tuple(column[i] for i in order.tolist()) for column in columns]
