"""Samples of an EGI MFF: `signalN.bin`, blocks of float32 in which all samples of a channel lie together.

int32 flag                   1: a header follows; 0: the header before counts again
header, block, channels      bytes of the header, bytes of the numbers, how many channels
offset per channel           where its samples begin; they follow one another
rate and depth per channel   bits 8 to 31 and 0 to 7
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.ledger import Defect

MAX_BLOCKS = 1_000_000
MAX_CHANNELS = 100_000


class Block(NamedTuple):
    """at: byte of its first number; n: samples of each channel."""

    at: int
    n: int


@dataclass(frozen=True, kw_only=True)
class SignalFile:
    """Blocks in order; all have the same channels and rate."""

    path: Path
    n_channels: int
    rate_hz: float
    blocks: tuple[Block, ...]


def signal_of(path: Path, repairs: list[str]) -> SignalFile:
    """Raises FormatError where a block states what none holds. A last block that is cut off is left out, and said."""
    raw = np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)
    blocks: list[Block] = []
    header = (0, 0, 0.0)  # bytes of the numbers, channels, rate
    at = 0
    while at + 4 <= raw.size:
        flag = _numbers(raw, at, 1)[0]
        start = at + 4
        if flag == 1:
            found, start = _header(path, raw, at)
            if blocks and found[1:] != header[1:]:
                raise FormatError(f"{path}: {found[1]} channels at {found[2]} Hz after {header[1]} at {header[2]} Hz")
            header = found
        elif flag != 0 or not blocks:
            raise FormatError(f"{path}: {flag} at byte {at}; the flag of a block, 0 or 1, is wanted")
        if start + header[0] > raw.size:
            repairs.append(Defect(f"{path.name}: its last block, which is cut off, left out"))
            break
        blocks.append(Block(start, header[0] // (4 * header[1])))
        at = start + header[0]
        if len(blocks) > MAX_BLOCKS:
            raise FormatError(f"{path}: more than {MAX_BLOCKS} blocks; fewer are wanted")
    if not blocks:
        raise FormatError(f"{path}: {raw.size} bytes; a block of samples at least is wanted")
    return SignalFile(path=path, n_channels=header[1], rate_hz=header[2], blocks=tuple(blocks))


def _numbers(raw: NDArray[np.uint8], at: int, n: int) -> list[int]:
    return list(struct.unpack(f"<{n}i", raw[at : at + 4 * n].tobytes()))


def _header(path: Path, raw: NDArray[np.uint8], at: int) -> tuple[tuple[int, int, float], int]:
    """Bytes of the numbers, channels, rate; and where the numbers begin."""
    if at + 16 > raw.size:
        raise FormatError(f"{path}: the header of a block at byte {at} of {raw.size} is cut off")
    header_bytes, block_bytes, n_channels = _numbers(raw, at + 4, 3)
    if not 1 <= n_channels <= MAX_CHANNELS or header_bytes < 16 + 8 * n_channels or at + header_bytes > raw.size:
        raise FormatError(
            f"{path}: a block of {n_channels} channels with a header of {header_bytes} bytes at byte {at} of "
            f"{raw.size}; it lies, or is cut off"
        )
    offsets = _numbers(raw, at + 16, n_channels)
    kinds = set(_numbers(raw, at + 16 + 4 * n_channels, n_channels))
    kind = kinds.pop()
    n, rest = divmod(block_bytes, 4 * n_channels)
    if (
        kinds
        or kind & 0xFF != 32
        or kind >> 8 <= 0
        or n < 1
        or rest
        or offsets != [4 * n * k for k in range(n_channels)]
    ):
        raise FormatError(
            f"{path}: a block at byte {at} of {block_bytes} bytes, {kind & 0xFF} bits, {kind >> 8} Hz; float32 of all "
            "channels at one rate, one after the other, is wanted"
        )
    return (block_bytes, n_channels, float(kind >> 8)), at + header_bytes


class BlockRows:
    """Some channels of consecutive blocks as samples (T, C), read when sliced."""

    def __init__(self, source: SignalFile, blocks: Sequence[Block], n: int) -> None:
        self.source, self.blocks = source, blocks
        self.edges = np.concatenate([[0], np.cumsum([block.n for block in blocks])])
        self.shape = (n, source.n_channels)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        out = np.empty((max(stop - start, 0), self.shape[1]), self.dtype)
        first, last = np.searchsorted(self.edges, [start, stop], side="right") - 1
        for k in range(first, min(last, len(self.blocks) - 1) + 1):
            block, shift = self.blocks[k], int(self.edges[k])
            a, b = max(start - shift, 0), min(stop - shift, block.n)
            if a < b:
                shape = (self.shape[1], block.n)
                values = np.memmap(self.source.path, "<f4", mode="r", offset=block.at, shape=shape)
                out[a + shift - start : b + shift - start] = values[:, a:b].T
        return out[::step]
