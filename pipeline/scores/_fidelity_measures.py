"""How a copy's behaviour departs from that of its person: measures that are 0 for an exact copy, with intervals.

An exact copy says how likely everything was that the person did, and is right about it. Hence every measure compares
what the person did with what follows from the copy's own chances; what no copy could know is no departure.

    agreement      whether the copy is as often right, or as far off, as its own certainty says
    calibration    whether its certainty is too large or too small, as one number and over the whole range
    consistency    whether the same event leads to the same again, as often as in the person
    errors         what it does too often or too rarely: in all, after each kind of event, after its last answer
    drift          whether it becomes worse from the beginning to the end

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

from collections.abc import Iterator, Sequence
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
STRETCH = np.geomspace(0.1, 10.0, 81)  # factors on log odds that are tried
FEWEST_REPEATS = 3  # of a kind of event
FEWEST_ACTS = 8  # of a class or after a kind of event, below which nothing is said of it alone
N_BINS = 10  # of a calibration curve
N_SIMULATED = 200
MOST_SIMULATED = 20_000  # acts times classes; of more, the pieces alone decide: differences are normal then
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
class Acts:
    """Answers. said: (N, K) chances; done: (N,) classes; piece: (N,); time_s: (N,); event: (N,) kind of the last one
    before, -1 for none. beside: what other copies say of the same answers, each (N, K): what any of them gives often
    enough is compared, so that what is said of each of them is of the same differences."""

    said: Matrix
    done: Whole
    piece: Whole
    time_s: Matrix
    event: Whole
    beside: Sequence[Matrix] = ()
    class_names: Sequence[str] = ()
    event_names: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Movements:
    """Bins of numbers. said, chance, variance, done: (N, C); chance: how likely a value up to the one done was.

    known: (N, C). repeats: per kind of event stretches of bins that begin with one, (K, T) bin numbers.
    """

    said: Matrix
    chance: Matrix
    variance: Matrix
    done: Matrix
    known: NDArray[np.bool_]
    piece: Whole
    time_s: Matrix
    repeats: Sequence[Whole] = ()
    channel_names: Sequence[str] = ()


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
        return _ratio(self.sums(np.where(counted, values, 0.0)), self.sums(counted.astype(np.float64)))


def of_answers(acts: Acts, seed: int = 0) -> list[Measure]:
    """All measures of answers."""
    pieces = Pieces(acts.piece, seed)
    shares, log_sums = list(_compared_shares(acts)), _log_sums(pieces, acts.said)
    found = list(_measures_of_answers(pieces, acts, shares, log_sums))
    curve, alone = _CalibrationCurve(acts.said), pieces.as_they_are()
    errors, drawn = [], []
    for done in _drawn_answers(acts.said, seed):
        errors.append(curve.error(done))
        if acts.said.size <= MOST_SIMULATED:
            again = _measures_of_answers(alone, replace(acts, done=done), shares, log_sums[:1])
            drawn.append([measure.departure for measure in again])
    found.append(_calibration_error(curve.error(acts.done), np.array(errors)))
    if not drawn:
        return judged(found, pieces.n, len(acts.done))
    drawn_SM = np.column_stack([np.array(drawn), np.array(errors) - np.mean(errors)])
    return judged(found, pieces.n, len(acts.done), drawn_SM)


def _measures_of_answers(
    pieces: Pieces, acts: Acts, shares: Sequence[_Share], log_sums_RG: Matrix
) -> Iterator[Measure]:
    """All but the calibration error, which needs answers that were drawn."""
    p, rows = acts.said, np.arange(len(acts.done))
    given = np.maximum(p[rows, acts.done], LEAST)
    entropy = -(p * np.log2(np.maximum(p, LEAST))).sum(axis=1)
    surprise = -np.log2(given)
    yield _told("agreement", "likeliest answer is the person's", pieces.means((p.argmax(1) == acts.done).astype(float)))
    yield _measure("agreement", "chance given to the answer", pieces.means(given), pieces.means((p**2).sum(axis=1)))
    yield _measure("agreement", "surprise, bits per answer", pieces.means(surprise), pieces.means(entropy))
    yield _certainty(pieces, p, acts.done, log_sums_RG)
    yield from _repeats_of_answers(pieces, acts)
    yield from _shares(pieces, acts, shares)
    yield from _habit(pieces, acts)
    yield _drift(pieces, surprise - entropy, acts.time_s, "surprise gained over the time, bits per answer")


def of_movements(moves: Movements, seed: int = 0) -> list[Measure]:
    """All measures of movements; values are in standard deviations of the training time."""
    pieces = Pieces(moves.piece, seed)
    error, known = moves.done - moves.said, moves.known
    expected = np.maximum(moves.variance, LEAST)
    square = np.where(known, error**2 / expected, 0.0)
    found = [_told("agreement", "R2", _r2(pieces, moves))]
    ratio = pieces.means(square, known).mean(axis=1)
    found.append(_measure("agreement", "error over the expected one, squared", ratio, np.ones_like(ratio)))
    for share in (0.5, 0.9):
        inside = np.abs(moves.chance - 0.5) <= share / 2
        covered = pieces.means(inside.astype(np.float64), known).mean(axis=1)
        name = f"falls into the middle {share:.0%} of what it expects"
        measure = _measure("calibration", name, covered, np.full_like(covered, share))
        # Where all lies inside, pieces do not differ at all; an exact copy would be that far off.
        exact = float(np.sqrt(share * (1 - share) / max(1, known.sum())))
        found.append(replace(measure, error=max(measure.error, exact)))
    found += _repeats_of_movements(pieces, moves)
    found.append(_slope(pieces, moves))
    bias_RC = pieces.means(-error, known)
    for c, name in enumerate(moves.channel_names):
        found.append(_measure("errors", "bias, SD", bias_RC[:, c], np.zeros(len(bias_RC)), what=name))
    any_known = known.any(axis=1)
    mean_square = _ratio(square.sum(axis=1), known.sum(axis=1).astype(np.float64))
    some = Pieces(moves.piece[any_known], seed)
    drift = _drift(
        some, mean_square[any_known], moves.time_s[any_known], "error over the expected one, gained over the time"
    )
    return judged([*found, drift], pieces.n, int(any_known.sum()))


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


def answers_reliability(acts: Acts) -> Matrix:
    """The calibration curve over the chances of all classes."""
    return reliability(acts.said.ravel(), np.eye(acts.said.shape[1])[acts.done].ravel())


def movements_reliability(moves: Movements) -> Matrix:
    """Share of values below each tenth of what was expected: expected, found, how many, (N_BINS - 1, 3)."""
    chance = moves.chance[moves.known]
    levels = np.linspace(0, 1, N_BINS + 1)[1:-1]
    return np.array([[level, (chance <= level).mean() if chance.size else np.nan, chance.size] for level in levels])


# Measures ----------------------------------------------------------------------------------------------------------


def _measure(aspect: str, name: str, copy_R: Matrix, person_R: Matrix, what: str = "") -> Measure:
    away = copy_R - person_R
    low, high = interval(away[1:])
    drawn = away[1:][np.isfinite(away[1:])]
    return Measure(
        aspect=aspect, name=name, copy=float(copy_R[0]), person=float(person_R[0]), departure=float(away[0]), low=low,
        high=high, error=float(drawn.std()) if drawn.size else float("nan"), what=what,
    )  # fmt: skip


def _told(aspect: str, name: str, value_R: Matrix) -> Measure:
    """What no exact copy could be held to: it is told, with its own interval, and never a departure."""
    measure = _measure(aspect, name, value_R, np.zeros_like(value_R))
    return replace(measure, person=float("nan"), tested=False)


def _log_sums(pieces: Pieces, said: Matrix) -> Matrix:
    """Logarithms of what stretched chances sum to, for every factor, (R, G)."""
    log_p = np.log(np.maximum(said, LEAST))
    found = np.empty((len(pieces.weights), len(STRETCH)))
    for g, factor in enumerate(STRETCH):
        stretched = factor * log_p
        best = stretched.max(axis=1, keepdims=True)
        found[:, g] = pieces.sums(best[:, 0] + np.log(np.exp(stretched - best).sum(axis=1)))
    return found


def _certainty(pieces: Pieces, said: Matrix, done: Whole, log_sums_RG: Matrix) -> Measure:
    """By which factor log odds are too large: what best stretches them (Guo et al. 2017), turned over; 1 if exact."""
    given_R = pieces.sums(np.log(np.maximum(said[np.arange(len(done)), done], LEAST)))
    over = 1 / np.exp(_peaks(STRETCH * given_R[:, None] - log_sums_RG))
    return _measure("calibration", "certainty, factor on log odds", over, np.ones_like(over))


def _peaks(fit_RG: Matrix) -> Matrix:
    """Where each line is largest, as the logarithm of the factor: the top of the parabola through three points."""
    at = np.clip(fit_RG.argmax(axis=1), 1, fit_RG.shape[1] - 2)
    rows, step = np.arange(len(fit_RG)), float(np.log(STRETCH[1] / STRETCH[0]))
    left, top, right = (fit_RG[rows, at + shift] for shift in (-1, 0, 1))
    bend = left - 2 * top + right
    shift = np.divide(0.5 * (left - right), bend, out=np.zeros_like(bend), where=np.abs(bend) > 1e-12)
    return np.asarray(np.log(STRETCH[at]) + np.clip(shift, -1, 1) * step)


class _CalibrationCurve:
    """The chances of all answers in tenths."""

    def __init__(self, said: Matrix) -> None:
        rank = np.empty(said.size, dtype=np.int64)
        rank[np.argsort(said.ravel(), kind="stable")] = np.arange(said.size)
        self.tenth = (rank * N_BINS // said.size).reshape(said.shape)
        self.expected = np.bincount(self.tenth.ravel(), said.ravel(), N_BINS)

    def error(self, done: Whole) -> float:
        """Mean distance of the curve from the diagonal."""
        found = np.bincount(self.tenth[np.arange(len(done)), done], minlength=N_BINS)
        return float(np.abs(found - self.expected).sum() / self.tenth.size)


def _drawn_answers(said: Matrix, seed: int) -> Iterator[Whole]:
    """Answers of an exact copy, N_SIMULATED times, each (N,)."""
    rng, below = np.random.default_rng([seed, 1]), said.cumsum(axis=1)
    for _ in range(N_SIMULATED):
        passed = (rng.random((len(said), 1)) * below[:, -1:] > below).sum(axis=1)
        yield np.minimum(passed, said.shape[1] - 1)


def _calibration_error(own: float, drawn_S: Matrix) -> Measure:
    """Mean distance of the calibration curve from the diagonal, beside that of answers drawn from the copy itself."""
    exact = float(drawn_S.mean())
    low, high = own - np.percentile(drawn_S, 97.5), own - np.percentile(drawn_S, 2.5)
    return Measure(
        aspect="calibration", name="calibration error", copy=own, person=exact, departure=own - exact,
        low=float(low), high=float(high), error=float(drawn_S.std()),
    )  # fmt: skip


def _repeats_of_answers(pieces: Pieces, acts: Acts) -> Iterator[Measure]:
    """How often two answers after the same kind of event are the same; pairs within a piece do not count."""
    classes = np.eye(acts.said.shape[1])[acts.done]
    totals = [_Pairs(pieces), _Pairs(pieces)]
    for kind in np.unique(acts.event[acts.event >= 0]):
        rows = np.flatnonzero(acts.event == kind)
        for total, values in zip(totals, (acts.said, classes), strict=True):
            total.add(values[rows], rows)
    if totals[0].any:
        copy, person = (total.mean() for total in totals)
        yield _measure("consistency", "same answer to the same event again", copy, person)


class _Pairs:
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
        return _ratio(self.product, self.n)


_Share = tuple[int, str, NDArray[np.bool_]]  # class, what it is called, of which acts (N,)


def _compared_shares(acts: Acts) -> Iterator[_Share]:
    """The answers whose share is compared, in all and after each kind of event: what somebody gives often enough."""
    classes = np.eye(acts.said.shape[1])[acts.done]
    kinds: list[tuple[str, NDArray[np.bool_]]] = [("", np.ones(len(acts.done), dtype=np.bool_))]
    events = np.unique(acts.event[acts.event >= 0])
    if len(events) > 1:
        kinds += [(f" after {acts.event_names[kind]}", acts.event == kind) for kind in events]
    for words, inside in kinds:
        if inside.sum() < FEWEST_ACTS:
            continue
        for k, name in enumerate(acts.class_names[: acts.said.shape[1] - (acts.said.shape[1] == 2)]):
            if max(each[inside, k].sum() for each in (classes, acts.said, *acts.beside)) >= FEWEST_ACTS / 2:
                yield k, f"{name}{words}", inside


def _shares(pieces: Pieces, acts: Acts, shares: Sequence[_Share]) -> Iterator[Measure]:
    """How often each answer is given."""
    for k, what, inside in shares:
        copy, person = (pieces.means(v, inside) for v in (acts.said[:, k], (acts.done == k).astype(np.float64)))
        yield _measure("errors", "share of the answer", copy, person, what=what)


def _habit(pieces: Pieces, acts: Acts) -> Iterator[Measure]:
    """How often an answer is the one before it."""
    if len(acts.done) < FEWEST_ACTS:
        return
    before = np.concatenate([[0], acts.done[:-1]])
    has_one = np.concatenate([[False], acts.piece[1:] == acts.piece[:-1]])
    copy = pieces.means(acts.said[np.arange(len(before)), before], has_one)
    person = pieces.means((acts.done == before).astype(np.float64), has_one)
    yield _measure("errors", "repeats its last answer", copy, person)


def _drift(pieces: Pieces, excess: Matrix, time_s: Matrix, name: str) -> Measure:
    """How much a departure grows from the first to the last act, along the best line."""
    span = float(np.ptp(time_s)) or 1.0
    at = (time_s - time_s.mean()) / span
    n, t, d, td, tt = (pieces.sums(v) for v in (np.ones_like(at), at, excess, at * excess, at**2))
    slope = _ratio(td - t * d / n, tt - t**2 / n)
    return _measure("drift", name, slope, np.zeros_like(slope))


def _r2(pieces: Pieces, moves: Movements) -> Matrix:
    y, known = moves.done, moves.known
    n, total, squares, error = (
        pieces.sums(np.where(known, v, 0.0)) for v in (np.ones_like(y), y, y**2, (y - moves.said) ** 2)
    )
    return np.asarray(np.nanmean(1 - _ratio(error, squares - _ratio(total**2, n)), axis=1))


def _slope(pieces: Pieces, moves: Movements) -> Measure:
    """How far the person moves where the copy expects a move of one: below 1 it exaggerates, above it is timid."""
    x, y, known = moves.said, moves.done, moves.known
    n, sx, sy, sxy, sxx = (pieces.sums(np.where(known, v, 0.0)) for v in (np.ones_like(x), x, y, x * y, x**2))
    together, alone = (sxy - _ratio(sx * sy, n)).sum(axis=1), (sxx - _ratio(sx**2, n)).sum(axis=1)
    moved = _ratio(together, alone)
    return _measure("errors", "the person's move per move it expects", moved, np.ones_like(moved))


def _repeats_of_movements(pieces: Pieces, moves: Movements) -> Iterator[Measure]:
    """What two stretches after the same kind of event have in common, of all that happens in one."""
    pairs, power = [_Pairs(pieces), _Pairs(pieces)], np.zeros((2, len(pieces.weights)))
    n = np.zeros(len(pieces.weights))
    sides = [(values - _means_of(values, moves.known), own) for values, own in
             ((moves.said, moves.variance), (moves.done, np.zeros_like(moves.done)))]  # fmt: skip
    for bins in moves.repeats:
        whole = bins[moves.known[bins].all(axis=(1, 2))] if len(bins) else bins
        if len(whole) < FEWEST_REPEATS:
            continue
        n += pieces.sums(np.ones(len(whole)), whole[:, 0])
        for i, (values, own) in enumerate(sides):
            stretch = values[whole].reshape(len(whole), -1)
            pairs[i].add(stretch, whole[:, 0])
            power[i] += pieces.sums((stretch**2).sum(axis=1) + own[whole].sum(axis=(1, 2)), whole[:, 0])
    if pairs[0].any:
        copy, person = (_ratio(pairs[i].mean(), _ratio(power[i], n)) for i in (0, 1))
        yield _measure("consistency", "what repeats of an event have in common", copy, person)


def _means_of(values: Matrix, known: NDArray[np.bool_]) -> Matrix:
    return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _ratio(above: Matrix, below: Matrix) -> Matrix:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)
