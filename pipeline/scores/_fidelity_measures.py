"""How a copy's behaviour departs from that of its person: measures that are 0 for an exact copy, with intervals.

An exact copy says how likely everything was that the person did, and is right about it. Hence every measure compares
what the person did with what follows from the copy's own chances; what no copy could know is no departure.

    agreement      whether the copy is as often right, or as far off, as its own certainty says
    calibration    whether its certainty is too large or too small, as one number and over the whole range
    consistency    whether the same event leads to the same again, as often as in the person
    errors         what it does too often or too rarely: in all, after each kind of event, after its last answer
    drift          whether it becomes worse from the beginning to the end

`_fidelity_answers.py` and `_fidelity_movements.py` have them; here is what both are made of.

Intervals are bootstraps over pieces of time (blocks of held-out time), as much wider as few pieces make them too narrow
(t of as many degrees of freedom as there are pieces less one). A departure is said where a difference lies further from
0 than chance would put one of *all* differences of that port in one of fifty exact copies, by both of

    the pieces     Bonferroni, t as above: right where neighbouring acts are alike for reasons that nobody knows
    the copy       answers only: what answers drawn from the copy's own chances, many times, come to, the largest of all
                   differences each time (Westfall & Young 1993): right where there are few answers

and of fewer than FEWEST_ANSWERS in FEWEST_PIECES nothing is said.

Shapes: N acts (answers, or bins of a movement), K classes, C channels, P pieces, R resamplings (the first is the data
as they are), E kinds of event, S sets of drawn answers, M measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy as copied
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.scores._scoring import interval, resampling

Matrix = NDArray[np.float64]
Whole = NDArray[np.int64]

LEAST = 1e-9  # a chance below this counts as this
MINUTE = 1e-12  # a spread below this is rounding
NORMAL = 1.959964  # standard deviations that hold 95 %
ALARMS = 0.02  # share of exact copies of which anything is said
N_BINS = 10  # of a calibration curve
FEWEST_PIECES, FEWEST_ANSWERS = 8, 20  # below either nothing can be told


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One comparison. copy, person: the two numbers, as they are named; departure: copy less person, 0 if exact.

    low, high: 95 % interval of the departure. error: its standard error. what: which class, channel or event, where it
    is about one. departs: whether chance alone does not explain it. least: the smallest departure that would have been
    said. tested: False for what is only told. low, high and least are NaN where there is too little to tell.
    """

    aspect: str
    name: str
    copy: float
    person: float
    departure: float
    low: float
    high: float
    error: float = float("nan")
    what: str = ""
    departs: bool = False
    least: float = float("nan")
    tested: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class PortFidelity:
    """One port of one session. reliability: a calibration curve, (B, 3): expected, found, how many.

    over_time: per piece of time its middle, s, and by how much the copy does worse there than it expects, (P, 2).
    """

    session: str
    port: str
    kind: str
    n_acts: int
    n_pieces: int
    measures: tuple[Measure, ...]
    reliability: Matrix
    over_time: Matrix

    @property
    def can_tell(self) -> bool:
        """Whether there is enough for any verdict."""
        return _is_enough(self.n_pieces, self.n_acts)

    @property
    def departures(self) -> list[Measure]:
        """What chance does not explain."""
        return [measure for measure in self.measures if measure.departs]

    def get(self, name: str, what: str = "") -> Measure:
        """The measure whose name begins so. Raises KeyError listing those there are."""
        for measure in self.measures:
            if measure.name.startswith(name) and measure.what == what:
                return measure
        raise KeyError(f"no measure {name!r} of {what!r}; there are {[(m.name, m.what) for m in self.measures]}")


class Pieces:
    """Resamplings of pieces of time: sums over pieces, weighted, (R, ...)."""

    def __init__(self, piece_N: Whole, seed: int) -> None:
        self.names, self.piece = np.unique(piece_N, return_inverse=True)
        self.n = len(self.names)
        self.weights = resampling(self.n, seed)

    def as_they_are(self) -> Pieces:
        """The same without any resampling."""
        alone = copied(self)
        alone.weights = self.weights[:1]
        return alone

    def each(self, values: Matrix, rows: Whole | None = None) -> Matrix:
        """Sums over each piece, (P, ...), of all acts, or of those of `rows`."""
        total = np.zeros((self.n, *values.shape[1:]))
        np.add.at(total, self.piece if rows is None else self.piece[rows], values)
        return total

    def sums(self, values: Matrix, rows: Whole | None = None) -> Matrix:
        """Sums over the pieces drawn, (R, ...)."""
        return np.asarray(np.tensordot(self.weights, self.each(values, rows), axes=1))

    def means(self, values: Matrix, counted: NDArray[np.bool_] | None = None) -> Matrix:
        """Means of what is counted, (R, ...)."""
        counted = np.ones(values.shape, dtype=np.bool_) if counted is None else counted
        return ratio(self.sums(np.where(counted, values, 0.0)), self.sums(counted.astype(np.float64)))


class Pairs:
    """Mean product of two acts of different pieces, over every such pair, resampled."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.product = np.zeros(len(pieces.weights))
        self.n = np.zeros(len(pieces.weights))

    @property
    def any(self) -> bool:
        """Whether there is any pair."""
        return bool(self.n[0] > 0)

    def add(self, values_NV: Matrix, rows: Whole) -> None:
        """Acts that are compared with each other, as vectors, and which acts they are."""
        for values, into in ((values_NV, self.product), (np.ones((len(rows), 1)), self.n)):
            each = self.pieces.each(values, rows)
            within = self.pieces.weights**2 @ (each**2).sum(axis=1)
            into += ((self.pieces.weights @ each) ** 2).sum(axis=1) - within

    def mean(self) -> Matrix:
        """(R,)."""
        return ratio(self.product, self.n)


def measured(aspect: str, name: str, copy_R: Matrix, person_R: Matrix, what: str = "") -> Measure:
    """Of the copy and of the person, resampled."""
    away = copy_R - person_R
    low, high = interval(away[1:])
    drawn = away[1:][np.isfinite(away[1:])]
    return Measure(
        aspect=aspect, name=name, copy=float(copy_R[0]), person=float(person_R[0]), departure=float(away[0]), low=low,
        high=high, error=float(drawn.std()) if drawn.size else float("nan"), what=what,
    )  # fmt: skip


def told(aspect: str, name: str, value_R: Matrix) -> Measure:
    """What no exact copy could be held to: it is told, with its own interval, and never a departure."""
    measure = measured(aspect, name, value_R, np.zeros_like(value_R))
    return replace(measure, person=float("nan"), tested=False)


def drift(pieces: Pieces, excess: Matrix, time_s: Matrix, name: str) -> Measure:
    """How much a departure grows from the first to the last act, along the best line."""
    span = float(np.ptp(time_s)) or 1.0
    at = (time_s - time_s.mean()) / span
    n, t, d, td, tt = (pieces.sums(v) for v in (np.ones_like(at), at, excess, at * excess, at**2))
    slope = ratio(td - t * d / n, tt - t**2 / n)
    return measured("drift", name, slope, np.zeros_like(slope))


def ratio(above: Matrix, below: Matrix) -> Matrix:
    """NaN over nothing."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)


def judged(measures: Sequence[Measure], n_pieces: int, n_acts: int, drawn_SM: Matrix | None = None) -> list[Measure]:
    """The measures that can be known, each with its verdict. drawn_SM: departures of answers drawn from the copy."""
    from scipy.stats import t

    keep = np.array([np.isfinite(m.departure) for m in measures])
    known = [m for m, kept in zip(measures, keep, strict=True) if kept]
    if not _is_enough(n_pieces, n_acts):
        return [replace(m, low=float("nan"), high=float("nan")) for m in known]
    few = float(np.sqrt(n_pieces / (n_pieces - 1)))  # a bootstrap's spread is that much too small
    known = [_widened(m, few * float(t.ppf(0.975, n_pieces - 1)) / NORMAL) for m in known]
    tested = np.array([m.tested and np.isfinite(m.error) for m in known])
    if not tested.any():
        return known
    limit = few * float(t.ppf(1 - ALARMS / tested.sum() / 2, n_pieces - 1))
    middle, away = _limits_of_drawn(drawn_SM[:, keep], tested) if drawn_SM is not None else (0.0 * keep[keep],) * 2
    found = []
    for m, is_tested, usual, far in zip(known, tested, middle, away, strict=True):
        departs = abs(m.departure) > max(limit * m.error, LEAST) and abs(m.departure - usual) > far
        least = max(limit * m.error, far + abs(usual))
        found.append(replace(m, departs=bool(departs), least=float(least)) if is_tested else m)
    return found


def _is_enough(n_pieces: int, n_acts: int) -> bool:
    return n_pieces >= FEWEST_PIECES and n_acts >= FEWEST_ANSWERS


def _widened(measure: Measure, factor: float) -> Measure:
    """Its interval so many times as far from the departure."""
    low, high = (measure.departure + factor * (end - measure.departure) for end in (measure.low, measure.high))
    return replace(measure, low=low, high=high)


def _limits_of_drawn(drawn_SM: Matrix, tested: NDArray[np.bool_]) -> tuple[Matrix, Matrix]:
    """Per measure the middle of what drawn answers come to, and how far from it none of all measures lies, but for
    ALARMS of the draws."""
    middle, spread = drawn_SM.mean(axis=0), np.maximum(drawn_SM.std(axis=0), MINUTE)
    largest = np.sort((np.abs(drawn_SM - middle) / spread)[:, tested].max(axis=1))
    return middle, spread * largest[-max(1, int(ALARMS * (len(largest) + 1)))]


def reliability(said: Matrix, happened: Matrix) -> Matrix:
    """A calibration curve: per tenth of the chances their mean, how often it happened, how many, (N_BINS, 3)."""
    order = np.argsort(said, kind="stable")
    parts = [part for part in np.array_split(order, N_BINS) if part.size]
    return np.array([[said[part].mean(), happened[part].mean(), part.size] for part in parts]).reshape(-1, 3)
