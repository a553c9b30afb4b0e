"""Recordings that cannot help: without them, a gain from neural data means nothing.

    shuffled      the same recordings, at the wrong times: pieces of each block of time change places
    surrogates    noise with the same statistics: covariance and spectra of all channels together, and the same counts

Both are made block by block of the time splits, so that nothing leaks from one split into another, and for all neural
ports of a session together, so that what they say of each other stays. Behaviour and stimuli are not touched. In the
gaps between blocks the neural ports are unknown. Networks gained from randomised recordings too (Federer et al. 2020):
only what a real recording adds over these is about the brain.

Shapes: T bins of a block, C channels of all neural ports together, F frequencies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.features import Features, PortFeatures
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.splitting import Bounds
from neuroloom.pipeline.runs.windowing import Windows

Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]
Changed = Callable[[Mapping[str, PortFeatures], int, int, np.random.Generator], None]

WINDOWS_PER_PIECE = 2
MOST_DRAWS = 2000
N_ROUNDS = 40


def controlled(data: Windows, *, shuffle_recording: bool, surrogate: bool, seed: int = 0) -> Windows:
    """The control that is asked for. Raises ValueError where both are."""
    if shuffle_recording and surrogate:
        raise ValueError("shuffle_recording and surrogate are both asked for; a control is one of them")
    return shuffled(data, seed=seed) if shuffle_recording else surrogates(data, seed=seed)


def shuffled(data: Windows, *, seed: int = 0) -> Windows:
    """The same data with all neural recordings at the wrong times.

    Each block is cut into pieces of two windows, which change places so that none comes to lie within a piece of where
    it was; a block of fewer than four is turned by a quarter to three quarters of its length instead. What is known
    of a bin (masks) moves with it. Raises ValueError where no session has a neural port.
    """

    def change(ports: Mapping[str, PortFeatures], first: int, last: int, rng: np.random.Generator) -> None:
        rows = first + _wrong_order(last - first, WINDOWS_PER_PIECE * data.config.n_bins, rng)
        for made in ports.values():
            for array in (made.values, made.valid, made.extrapolated, made.uncertainty_T_ms):
                array[first:last] = array[rows]

    return _changed(data, change, seed, "shuffled recording")


def surrogates(data: Windows, *, seed: int = 0) -> Windows:
    """The same data with noise for all neural recordings: phase-randomised surrogates.

    The same random phase is added to all channels at each frequency (Prichard and Theiler 1994), which keeps the
    spectrum of every channel and the cross-spectrum, hence the covariance, of every pair. Counts must stay counts: they
    are put back by rank, so that each unit has exactly its counts, and phases and ranks are settled in turns (iterative
    amplitude adjustment, Schreiber and Schmitz 2000); covariance and spectra of sparse units are then kept nearly.
    Unknown values count as the mean while phases are drawn, and stay unknown where they were.
    Raises ValueError where no session has a neural port.
    """

    def change(ports: Mapping[str, PortFeatures], first: int, last: int, rng: np.random.Generator) -> None:
        values = np.concatenate([made.values[first:last] for made in ports.values()], axis=1).astype(np.float64)
        known = np.concatenate([made.valid[first:last] for made in ports.values()], axis=1)
        counts = np.concatenate([np.full(m.port.n_channels, m.port.is_counts) for m in ports.values()])
        found, start = phase_randomised(values, known, counts, rng), 0
        for made in ports.values():
            made.values[first:last] = found[:, start : start + made.port.n_channels]
            start += made.port.n_channels

    return _changed(data, change, seed, "surrogate")


def phase_randomised(values_TC: Matrix, known_TC: Flags, is_counts_C: Flags, rng: np.random.Generator) -> Matrix:
    """Noise with the joint spectra of `values`; channels of counts keep exactly the numbers they have where known."""
    n_known = np.maximum(known_TC.sum(axis=0), 1)
    mean = np.where(known_TC, values_TC, 0).sum(axis=0) / n_known
    centred = np.where(known_TC, values_TC - mean, 0)
    original = np.fft.rfft(centred, axis=0)
    turn = np.exp(2j * np.pi * rng.random(len(original)))
    turn[0] = 1
    if len(values_TC) % 2 == 0:
        turn[-1] = 1
    found = np.fft.irfft(original * turn[:, None], n=len(values_TC), axis=0)
    if not is_counts_C.any():
        return np.asarray(found + mean)
    for _ in range(N_ROUNDS):
        ranked = _ranked(found, centred, known_TC, is_counts_C)
        # The one turn per frequency that comes nearest to what the ranks have made of all channels together.
        spectrum = np.fft.rfft(ranked, axis=0)
        turn = (spectrum * original.conj()).sum(axis=1)
        turn = np.where(np.abs(turn) > 0, turn / np.maximum(np.abs(turn), 1e-300), 1)
        found = np.fft.irfft(original * turn[:, None], n=len(values_TC), axis=0)
    return np.asarray(_ranked(found, centred, known_TC, is_counts_C) + mean)


def _ranked(found: Matrix, wanted: Matrix, known: Flags, is_counts: Flags) -> Matrix:
    """Columns of counts with the values of `wanted` in the order of `found`, where known."""
    out = found.copy()
    for column in np.flatnonzero(is_counts):
        rows = np.flatnonzero(known[:, column])
        out[rows[found[rows, column].argsort(kind="stable")], column] = np.sort(wanted[rows, column])
        out[~known[:, column], column] = 0
    return out


def _wrong_order(n_bins: int, piece: int, rng: np.random.Generator) -> Rows:
    """Numbers 0 to n_bins - 1 with pieces in another order, none of them near its place."""
    n_pieces = n_bins // piece
    numbers = np.arange(n_bins)
    if n_pieces < 4:
        return np.roll(numbers, int(rng.integers(max(1, n_bins // 4), max(2, 3 * n_bins // 4))))
    edges = np.linspace(0, n_bins, n_pieces + 1).astype(int)
    pieces = np.split(numbers, edges[1:-1])
    for _ in range(MOST_DRAWS):
        order = rng.permutation(n_pieces)
        if (np.abs(order - np.arange(n_pieces)) > 1).all():
            return np.concatenate([pieces[i] for i in order])
    return np.roll(numbers, n_bins // 2)


def _changed(data: Windows, change: Changed, seed: int, what: str) -> Windows:
    sessions, n_changed = {}, 0
    for number, (name, one) in enumerate(data.sessions.items()):
        neural = {n: _copied(made) for n, made in one.features.ports.items() if made.port.is_neural}
        n_changed += len(neural)
        rng = np.random.default_rng([seed, 2, number])
        blocks = sorted(block for split in one.blocks.values() for block in split)
        for first, last in blocks:
            if neural:
                change(neural, first, last, rng)
        for made in neural.values():
            _forget_gaps(made, blocks)
        sessions[name] = _with_ports(one, neural)
    if not n_changed:
        raise ValueError(f"{what}: no session has a recording of a brain; a control needs one to change")
    return replace(data, sessions=sessions, control=what)


def _copied(made: PortFeatures) -> PortFeatures:
    return replace(
        made,
        values=np.array(made.values),
        valid=np.array(made.valid),
        extrapolated=np.array(made.extrapolated),
        uncertainty_T_ms=np.array(made.uncertainty_T_ms),
    )


def _forget_gaps(made: PortFeatures, blocks: list[Bounds]) -> None:
    inside = np.zeros(len(made.valid), dtype=np.bool_)
    for first, last in blocks:
        inside[first:last] = True
    made.valid[~inside] = False


def _with_ports(one: SessionData, ports: Mapping[str, PortFeatures]) -> SessionData:
    features: Features = one.features
    return replace(one, features=replace(features, ports={**features.ports, **ports}))
