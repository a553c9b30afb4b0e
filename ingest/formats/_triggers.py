"""Channels of trigger codes as events: a code that appears, at the sample where it does. 0 is no code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats._edges import high_s
from neuroloom.ingest.streams import HIGH, Events, Segment, Signal
from neuroloom.ingest.timebase import FloatArray

BLOCK_SAMPLES = 100_000


class Codes(NamedTuple):
    """The codes that appear on a channel: when, which, and how long each stays, NaN to the end of a segment."""

    times_s: FloatArray
    labels: tuple[str, ...]
    high_s: FloatArray

    def events(self, name: str) -> Events:
        """As a stream of that name."""
        table = {HIGH: tuple(self.high_s.tolist())}
        return Events(name=name, modality="sync", times_s=self.times_s, labels=self.labels, table=table)


def triggers(
    signals: Sequence[Signal], codes: Callable[[Signal, NDArray[Any]], NDArray[Any]], *, most: int, repairs: list[str]
) -> list[Events]:
    """The codes of each channel of the "sync" signals; none of a channel that changes all the time, or over `most`.

    codes: a signal and a block of its samples, shape (T, C) -> the codes, of the same shape.
    """
    found: list[Events] = []
    for signal in (s for s in signals if s.modality == "sync"):
        risen = rises(signal.segments, len(signal.channel_names), partial(codes, signal))
        for channel, made in zip(signal.channel_names, risen, strict=True):
            if len(made.labels) > min(max(1000, signal.n_samples // 4), most):
                repairs.append(f"{channel}: changes at {len(made.labels)} samples; kept as samples, not as triggers")
            elif made.labels:
                found.append(made.events(f"triggers {channel}"))
    return [replace(found[0], name="triggers")] if len(found) == 1 else found


def rises(segments: Sequence[Segment], n_channels: int, codes: Callable[[NDArray[Any]], NDArray[Any]]) -> list[Codes]:
    """Per channel the codes that appear; read block by block. What a segment begins with is no rise."""
    parts = [_changes(segment, n_channels, codes) for segment in segments]
    return [_codes([part[k] for part in parts]) for k in range(n_channels)]


def _changes(
    segment: Segment, n_channels: int, codes: Callable[[NDArray[Any]], NDArray[Any]]
) -> list[tuple[FloatArray, NDArray[Any]]]:
    """Per channel when its code changes, and to which, 0 included."""
    times_s: list[list[FloatArray]] = [[np.zeros(0)] for _ in range(n_channels)]
    to: list[list[NDArray[Any]]] = [[] for _ in range(n_channels)]
    before: NDArray[Any] | None = None
    for start in range(0, segment.samples.shape[0], BLOCK_SAMPLES):
        now = codes(segment.samples[start : start + BLOCK_SAMPLES])
        earlier = np.concatenate([now[:1] if before is None else before, now[:-1]])
        before = now[-1:]
        for k in range(n_channels):
            at = np.flatnonzero(now[:, k] != earlier[:, k])
            times_s[k].append(segment.timebase.seconds(start + at))
            to[k].append(now[at, k])
    return [(np.concatenate(t), np.concatenate([np.zeros(0), *c])) for t, c in zip(times_s, to, strict=True)]


def _codes(parts: Sequence[tuple[FloatArray, NDArray[Any]]]) -> Codes:
    """Of the changes of one channel in each segment: a code stays until the next change in its segment."""
    up = [to != 0 for _, to in parts]
    times_s = [at_s[risen] for (at_s, _), risen in zip(parts, up, strict=True)]
    widths_s = [high_s(t, at_s) for t, (at_s, _) in zip(times_s, parts, strict=True)]
    labels = [f"{c:.15g}" for (_, to), risen in zip(parts, up, strict=True) for c in to[risen].tolist()]
    return Codes(np.concatenate([np.zeros(0), *times_s]), tuple(labels), np.concatenate([np.zeros(0), *widths_s]))
