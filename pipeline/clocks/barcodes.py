"""Digital barcodes on a sync line: every few seconds a number, so that no two moments look alike.

    _|^|_|^^^|___|^|______        a lead (a short pulse), then bits of one length, the lowest first, high for 1

As the Open Ephys "sync-barcodes" sketch sends them (https://github.com/open-ephys/sync-barcodes), in use at the Allen
Institute (Siegle et al. 2021, Nature 592:86): a lead of 10 or 20 ms each way, 32 bits of about 30 ms, one code every 5
to 30 s, each one more than the last. The variant of the University of Colorado's ONE Core has a lead of up, down, up,
and the same at the end.

Design rationale: the length of a bit and of the lead are measured, since sketches differ and a microcontroller's delays
run long. Nothing is assumed of the values but that they differ: the sketch starts anew at random when it is reset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.timebase import FloatArray

N_BITS = 32
SHORTEST_BIT_S, LONGEST_BIT_S = 0.004, 0.1
LONGEST_CODE_S = 4.0
LEAST_PAUSE_S = 1.2  # between the pulses of two codes; within one a run of zeros is shorter
FEWEST_CODES, FEWEST_PULSES = 3, 3
OFF_GRID = 0.2  # of a bit: how far an edge may lie from where a bit ends
MULTIPLES = 0.65  # of the runs between edges are whole bits; those of a lead or an end need not be
DECODED = 0.8  # of the codes must be whole; the first and last of a recording are often cut


@dataclass(frozen=True, kw_only=True, eq=False)
class Barcodes:
    """When each code began, shape (K,), and its value; the measured length of a bit."""

    times_s: FloatArray
    values: tuple[int, ...]
    bit_s: float


def barcodes(rises_s: FloatArray, falls_s: FloatArray, n_bits: int = N_BITS) -> Barcodes | None:
    """The codes on a line whose pulses rise and fall at these times, shape (P,) each; None where it carries none."""
    known = np.isfinite(falls_s)
    rises_s, falls_s = rises_s[known], falls_s[known]
    groups = _groups(rises_s, falls_s)
    if len(groups) < FEWEST_CODES or np.median([len(group) for group in groups]) < 2 * FEWEST_PULSES:
        return None
    relative = [group - group[0] for group in groups if group[-1] - group[0] < LONGEST_CODE_S]
    bit_s = _bit_s(relative)
    if bit_s is None:
        return None
    lead_s = _lead_s(relative, bit_s)
    read = [(float(group[0]), _value(group - group[0], bit_s, lead_s, n_bits)) for group in groups]
    whole = [(time_s, value) for time_s, value in read if value is not None]
    values = tuple(value for _, value in whole)
    if len(whole) < max(FEWEST_CODES, DECODED * (len(groups) - 2)) or len(set(values)) < DECODED * len(values):
        return None
    return Barcodes(times_s=np.array([time_s for time_s, _ in whole]), values=values, bit_s=bit_s)


def _groups(rises_s: FloatArray, falls_s: FloatArray) -> list[FloatArray]:
    """The edges of each code, up and down in turn."""
    if rises_s.size < FEWEST_PULSES:
        return []
    pauses_s = np.diff(rises_s)
    limit_s = max(LEAST_PAUSE_S, 0.3 * float(np.quantile(pauses_s, 0.99)))
    cuts = np.flatnonzero(pauses_s > limit_s) + 1
    edges = np.stack([rises_s, falls_s], axis=1)
    return [group.ravel() for group in np.split(edges, cuts)]


def _bit_s(relative: list[FloatArray]) -> float | None:
    """The length of a bit: what most runs between edges are a multiple of, measured over all of them."""
    runs_s = np.concatenate([np.diff(edges)[2:] for edges in relative]) if relative else np.zeros(0)
    if runs_s.size < FEWEST_CODES:
        return None
    lengths_s = runs_s[(runs_s > SHORTEST_BIT_S) & (runs_s < LONGEST_BIT_S)]
    best: float | None = None
    for length_s in np.unique(np.round(lengths_s, 3)):
        near = lengths_s[np.abs(lengths_s - length_s) < 0.1 * length_s]
        bit_s = float(np.median(near)) if near.size else float(length_s)
        for _ in range(3):
            counts = np.rint(runs_s / bit_s)
            fits = (counts > 0) & (np.abs(runs_s - counts * bit_s) < OFF_GRID * bit_s)
            if not fits.any():
                break
            bit_s = float((runs_s[fits] * counts[fits]).sum() / (counts[fits] ** 2).sum())
        if fits.mean() >= MULTIPLES:
            best = bit_s  # the longest: any part of it would fit too
    return best


def _lead_s(relative: list[FloatArray], bit_s: float) -> float:
    """From the first edge to the first bit: where the grid lies that the edges keep to, after the first pulse."""
    late = np.concatenate([edges[2:] for edges in relative])
    angle = np.angle(np.exp(2j * np.pi * late / bit_s).sum())
    phase_s = float(angle / (2 * np.pi) * bit_s)
    first_fall_s = float(np.median([edges[1] for edges in relative]))  # the lead is low as long as it was high
    return phase_s + bit_s * float(np.ceil((2 * first_fall_s - phase_s) / bit_s - OFF_GRID))


def _value(edges: FloatArray, bit_s: float, lead_s: float, n_bits: int) -> int | None:
    """The number a code's edges spell, None where one does not fall between two bits."""
    at = (edges[2:] - lead_s) / bit_s
    at = at[(at > OFF_GRID) & (at < n_bits + OFF_GRID)]
    if not at.size or (np.abs(at - np.rint(at)) > OFF_GRID).any():
        return None
    middles_s = lead_s + (np.arange(n_bits) + 0.5) * bit_s
    high: NDArray[np.bool_] = np.searchsorted(edges, middles_s) % 2 == 1
    return int(sum(1 << int(bit) for bit in np.flatnonzero(high)))
