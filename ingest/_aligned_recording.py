"""Traces that are the same however they are read: in blocks of a fixed grid, each computed once and alike.

Design rationale: SpikeInterface filters whatever stretch is asked for, with a margin on each side, so the same sample
comes out a little differently with every way of cutting: saved traces, in chunks of one size, differ from those read
lazily in another. Here sample `i` always belongs to block `i // n`, and that block is always computed by itself; what
is saved and what is read are equal bit for bit. The price is that a short stretch costs a whole block; the last one is
kept.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_S = 1.0


def aligned(recording: Any, block_s: float = BLOCK_S) -> Any:
    """The same SpikeInterface recording, read through a grid of blocks of `block_s` seconds."""
    recording_class, _ = _classes()
    return recording_class(recording, block_s)


@cache
def _classes() -> tuple[Any, Any]:
    """SpikeInterface's classes, made on first use: importing SpikeInterface takes a second."""
    from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

    class AlignedSegment(BasePreprocessorSegment):  # type: ignore[misc]
        def __init__(self, parent: Any, n_block: int) -> None:
            super().__init__(parent)
            self.n_block = n_block
            self.kept: tuple[int, NDArray[Any]] | None = None

        def get_traces(
            self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
        ) -> NDArray[Any]:
            n = self.get_num_samples()
            start, stop, _ = slice(start_frame, end_frame).indices(n)
            columns = slice(None) if channel_indices is None else channel_indices
            if stop <= start:
                return self._block(0)[:0, columns]
            first, last = start // self.n_block, (stop - 1) // self.n_block
            parts = [self._block(k) for k in range(first, last + 1)]
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
            return whole[start - first * self.n_block : stop - first * self.n_block, columns]

        def _block(self, k: int) -> NDArray[Any]:
            kept = self.kept
            if kept is None or kept[0] != k:
                start = k * self.n_block
                stop = min(start + self.n_block, self.get_num_samples())
                traces = self.parent_recording_segment.get_traces(start, stop, slice(None))
                self.kept = kept = k, np.ascontiguousarray(traces)
            return kept[1]

    class AlignedRecording(BasePreprocessor):  # type: ignore[misc]
        name = "aligned"

        def __init__(self, recording: Any, block_s: float = BLOCK_S) -> None:
            super().__init__(recording)
            n_block = max(1, round(block_s * recording.get_sampling_frequency()))
            for parent in recording.segments:
                self.add_recording_segment(AlignedSegment(parent, n_block))
            self._kwargs = {"recording": recording, "block_s": block_s}
            self._serializability = {"memory": True, "json": False, "pickle": False}

    return AlignedRecording, AlignedSegment
