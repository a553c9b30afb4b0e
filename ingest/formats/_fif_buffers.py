"""Samples of a FIF recording: the buffers of all its parts by the numbers of their samples, read only when sliced.

pieces_of        the buffers; a skip between two of them is a gap
without_skips    less those that are annotated to stand for a gap
runs_of          pieces that follow one another
Store, Rows      the bytes of all parts; some channels of a run
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._annotations import Note
from neuroloom.ingest.formats._fif_tags import Part, Tag, numbers_of
from neuroloom.ingest.ledger import Defect

BUFFER = 300
_FIRST_SAMPLE, _SKIP, _SKIP_SAMPLES = 208, 301, 303


class Piece(NamedTuple):
    """Samples of one buffer: number of the first, how many, the part they lie in and where there."""

    first: int
    n: int
    part: int
    at: int


def pieces_of(
    parts: Sequence[Part], tags: Sequence[Sequence[Tag]], dtype: np.dtype[Any], n_channels: int, repairs: list[str]
) -> list[Piece]:
    """The buffers of all parts; a later part that counts anew follows on."""
    found: list[Piece] = []
    for k, part in enumerate(parts):
        pieces = _pieces(part, tags[k], k, n_channels * dtype.itemsize, repairs)
        expected = found[-1].first + found[-1].n if found else None
        if pieces and expected is not None and pieces[0].first < expected:
            shift = expected - pieces[0].first
            repairs.append(
                Defect(
                    f"{part.path.name}: counts its samples from {pieces[0].first}",
                    f"from {expected}, where the part before it ends",
                )
            )
            pieces = [piece._replace(first=piece.first + shift) for piece in pieces]
        found += pieces
    return found


def _pieces(part: Part, tags: Sequence[Tag], k: int, row_bytes: int, repairs: list[str]) -> list[Piece]:
    """The buffers of one part, with the numbers of their samples; a skip counts as many as the next buffer has."""
    pieces: list[Piece] = []
    first = skipped = 0
    for tag in tags:
        if tag.kind in (_FIRST_SAMPLE, _SKIP, _SKIP_SAMPLES):
            number = int(numbers_of(part.path, part.raw, tag)[0])
            if number < 0 and tag.kind != _FIRST_SAMPLE:
                raise FormatError(f"{part.path}: skips {number} samples or buffers; 0 or more are wanted")
            first += number if tag.kind != _SKIP else 0
            skipped += number if tag.kind == _SKIP else 0
        elif tag.kind == BUFFER:
            n, rest = divmod(tag.size, row_bytes)
            if rest:
                raise FormatError(f"{part.path}: a buffer of {tag.size} bytes; whole samples of {row_bytes} are wanted")
            there = min(n, (part.raw.size - tag.at - 16) // row_bytes)
            if there < n:
                repairs.append(
                    Defect(f"{part.path.name}: its last buffer states {n} samples", f"{there}, as many as there are")
                )
            first += skipped * n
            skipped = 0
            if there:
                pieces.append(Piece(first, there, k, tag.at + 16))
            first += n
    return pieces


def runs_of(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces that follow one another without a gap."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        if runs and runs[-1][-1].first + runs[-1][-1].n == piece.first:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


@dataclass(frozen=True, eq=False)
class Store:
    """The bytes of all parts, and how a sample lies in them."""

    raws: list[NDArray[np.uint8]]
    dtype: np.dtype[Any]
    n_channels: int

    def rows(self, piece: Piece) -> NDArray[Any]:
        """Samples (T, C) of a piece; a view, big-endian as in the file."""
        count = piece.n * self.n_channels
        return np.frombuffer(self.raws[piece.part], self.dtype, count, piece.at).reshape(piece.n, -1)

    def cut(self, piece: Piece, start: int, stop: int) -> Piece:
        """The part of a piece from sample `start` to `stop`, both numbered as in the recording."""
        first, last = max(start, piece.first), min(stop, piece.first + piece.n)
        skipped = (first - piece.first) * self.n_channels * self.dtype.itemsize
        return Piece(first, max(last - first, 0), piece.part, piece.at + skipped)


class Rows:
    """Some channels of a run of buffers: samples (T, C), taken from the file when sliced."""

    def __init__(self, store: Store, run: Sequence[Piece], columns: NDArray[np.int64]) -> None:
        self.store, self.run, self.columns = store, run, columns
        self.edges = np.array([piece.first for piece in run] + [run[-1].first + run[-1].n]) - run[0].first
        self.shape = (int(self.edges[-1]), len(columns))
        self.dtype = store.dtype.newbyteorder("=")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        out = np.empty((max(stop - start, 0), self.shape[1]), self.dtype)
        shift = self.run[0].first
        first, last = np.searchsorted(self.edges, [start, stop], side="right") - 1
        for piece in self.run[first : last + 1]:
            cut = self.store.cut(piece, start + shift, stop + shift)
            if cut.n:
                out[cut.first - shift - start :][: cut.n] = self.store.rows(cut)[:, self.columns]
        return out[::step]


def without_skips(
    notes: Sequence[Note], pieces: Sequence[Piece], store: Store, rate_hz: float, repairs: list[str]
) -> tuple[list[Note], list[Piece]]:
    """Stretches annotated "BAD_ACQ_SKIP" are gaps; MNE writes zeros there where they do not fit its buffers."""
    kept, left = [], list(pieces)
    for note in notes:
        if not note.text.upper().startswith("BAD_ACQ_SKIP"):
            kept.append(note)
            continue
        start, stop = round(note.onset_s * rate_hz), round((note.onset_s + note.duration_s) * rate_hz)
        inside = [cut for piece in left if (cut := store.cut(piece, start, stop)).n]
        if any(store.rows(piece).any() for piece in inside):
            kept.append(note)
            repairs.append(f"{note.text} at {note.onset_s:.3f} s: samples were recorded there, so they are kept")
        elif inside:
            n = sum(piece.n for piece in inside)
            repairs.append(Defect(f"{note.text} at {note.onset_s:.3f} s: {n} zeros that stand for a gap left out"))
            outside = [(-(2**62), start), (stop, 2**62)]
            left = [cut for piece in left for a, b in outside if (cut := store.cut(piece, a, b)).n]
    return kept, left
