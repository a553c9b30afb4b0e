"""Channels of trigger codes as events: a code that appears, at the sample where it does. 0 is no code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Events, Segment, Signal
from neuroloom.ingest.timebase import FloatArray

BLOCK_SAMPLES = 100_000


def triggers(
    signals: Sequence[Signal], codes: Callable[[Signal, NDArray[Any]], NDArray[Any]], *, most: int, repairs: list[str]
) -> list[Events]:
    """The codes of each channel of the "sync" signals; none of a channel that changes all the time, or over `most`.

    codes: a signal and a block of its samples, shape (T, C) -> the codes, of the same shape.
    """
    found: list[Events] = []
    for signal in (s for s in signals if s.modality == "sync"):
        risen = rises(signal.segments, len(signal.channel_names), partial(codes, signal))
        for channel, (times_s, labels) in zip(signal.channel_names, risen, strict=True):
            if len(labels) > min(max(1000, signal.n_samples // 4), most):
                repairs.append(f"{channel}: changes at {len(labels)} samples; kept as samples, not as triggers")
            elif labels:
                found.append(Events(name=f"triggers {channel}", modality="sync", times_s=times_s, labels=labels))
    return [replace(found[0], name="triggers")] if len(found) == 1 else found


def rises(
    segments: Sequence[Segment], n_channels: int, codes: Callable[[NDArray[Any]], NDArray[Any]]
) -> list[tuple[FloatArray, tuple[str, ...]]]:
    """Per channel the codes that appear, and when; read block by block. What a segment begins with is no rise."""
    times_s: list[list[FloatArray]] = [[] for _ in range(n_channels)]
    labels: list[list[str]] = [[] for _ in range(n_channels)]
    for segment in segments:
        before: NDArray[Any] | None = None
        for start in range(0, segment.samples.shape[0], BLOCK_SAMPLES):
            now = codes(segment.samples[start : start + BLOCK_SAMPLES])
            earlier = np.concatenate([now[:1] if before is None else before, now[:-1]])
            before = now[-1:]
            for k in range(n_channels):
                up = np.flatnonzero((now[:, k] != earlier[:, k]) & (now[:, k] != 0))
                times_s[k].append(segment.timebase.seconds(start + up))
                labels[k] += [f"{code:.15g}" for code in now[up, k].tolist()]
    return [(np.concatenate([np.zeros(0), *t]), tuple(found)) for t, found in zip(times_s, labels, strict=True)]
