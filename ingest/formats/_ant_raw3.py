"""Samples of ANT eego CNT ("raw3"): integers in epochs, in each of which a channel is coded by itself, in whole bytes.

    Raw3        samples (T, C) as int32, decoded epoch by epoch when sliced

The first byte of a channel's code says how. Its high four bits are the method, 8 more where numbers have 32 bits:

    0, 8        the numbers themselves, big-endian
    1, 9        first number, then differences from the one before
    2, 10       first number, first difference, then differences of differences
    3, 11       as 1, less the difference that the channel before has there

Differences have a fixed number of bits. The smallest they can hold announces one that needs more, and follows it.

Design rationale: antio, the library MNE reads these with, gives float32, which cannot hold the integers beyond 24 bits
that real files have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError

_CUT_OFF, _UNKNOWN = -1, -2


@dataclass(frozen=True, eq=False)
class Raw3:
    """Samples (n, C). source: the coded bytes; edges: where each epoch begins there, and the last ends.

    order: column of each channel, in the order they are coded. name: of the file, for messages.
    """

    source: NDArray[np.uint8]
    edges: NDArray[np.int64]
    per_epoch: int
    n: int
    order: NDArray[np.int64]
    name: str
    _kept: dict[int, NDArray[np.int32]] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n, len(self.order))

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int32)

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        """Raises FormatError where the bytes are no code of so many samples."""
        start, stop, step = part.indices(self.n)
        out = np.empty((max(stop - start, 0), len(self.order)), np.int32)
        for k in range(start // self.per_epoch, -(-stop // self.per_epoch) if len(out) else 0):
            first = k * self.per_epoch
            a, b = max(start, first), min(stop, first + self.per_epoch)
            out[a - start : b - start] = self._epoch(k)[a - first : b - first]
        return out[::step]

    def _epoch(self, k: int) -> NDArray[np.int32]:
        """The one decoded last is kept, for whoever reads on in small steps."""
        if k not in self._kept:
            self._kept.clear()
            self._kept[k] = self._decoded(k)
        return self._kept[k]

    def _decoded(self, k: int) -> NDArray[np.int32]:
        n = min(self.per_epoch, self.n - k * self.per_epoch)
        out = np.empty((len(self.order), n), np.int32)
        code = np.array(self.source[self.edges[k] : self.edges[k + 1]])
        used = _decoder()(code, self.order, out)
        if used < 0:
            what = "a method that is unknown" if used == _UNKNOWN else "more bytes than it has"
            raise FormatError(f"{self.name}: epoch {k} is coded with {what}; {n} samples were to be read: damaged")
        return out.T


@cache
def _decoder() -> Callable[[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]], int]:
    """Decodes an epoch into (C, n); gives how many bytes it took, or why it could not. Compiled at the first call."""
    import numba

    jit: Callable[[Any], Any] = numba.njit
    signed = jit(_signed)

    def plain(code: NDArray[np.uint8], at: int, row: NDArray[np.int32], width: int) -> int:
        if at + 1 + len(row) * width > len(code):
            return _CUT_OFF
        for k in range(len(row)):
            row[k] = signed(code, 8 * (at + 1 + k * width), 8 * width)
        return at + 1 + len(row) * width

    def differences(code: NDArray[np.uint8], at: int, row: NDArray[np.int32], before: NDArray[np.int32]) -> int:
        head: Any = np.int64(code[at])
        more: Any = np.int64(code[at + 1])
        method = head >> 4 & 7
        if head & 128:
            few, many, bit, width = (head & 15) << 2 | more >> 6, more & 63, 8 * at + 16, 32
        else:
            few, many, bit, width = head & 15 or 16, more >> 4 or 16, 8 * at + 12, 16
        if method > 3 or not 0 < few <= many <= 32:
            return _UNKNOWN
        step: Any
        end = 8 * len(code)
        announces = -(1 << (few - 1)) if few != many else 1 << 40
        for k in range(len(row)):
            bits = few if k else width
            if bit + bits > end:
                return _CUT_OFF
            step = signed(code, bit, bits)
            bit += bits
            if k and step == announces:
                if bit + many > end:
                    return _CUT_OFF
                step = signed(code, bit, many)
                bit += many
            if k:
                step += np.int64(row[k - 1])
            if k > 1 and method == 2:
                step += np.int64(row[k - 1]) - np.int64(row[k - 2])
            if k and method == 3:
                step += np.int64(before[k]) - np.int64(before[k - 1])
            row[k] = np.int32(step)
        return int((bit + 7) // 8)

    by_number, by_difference = jit(plain), jit(differences)

    def decode(code: NDArray[np.uint8], order: NDArray[np.int64], out: NDArray[np.int32]) -> int:
        before = np.zeros(out.shape[1], np.int32)
        at: int = 0
        for column in order:
            if at + 2 > len(code):
                return _CUT_OFF
            row = out[column]
            if code[at] & 0x70:
                at = by_difference(code, at, row, before)
            else:
                at = by_number(code, at, row, 4 if code[at] & 128 else 2)
            if at < 0:
                return at
            before = row
        return at

    compiled: Callable[[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]], int] = jit(decode)
    return compiled


def _signed(code: NDArray[np.uint8], bit: int, width: int) -> int:
    """The number of `width` bits that begins at that bit; the first bit of a byte is its highest."""
    last = (bit + width + 7) // 8
    value = 0
    for k in range(bit // 8, last):
        value = value << 8 | int(code[k])
    value = value >> (8 * last - bit - width) & ((1 << width) - 1)
    return value - (1 << width) if value >> (width - 1) else value
