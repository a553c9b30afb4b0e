"""Measures of answers; see `_fidelity_measures.py`.

Shapes as there, and G factors that are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.scores._fidelity_measures import (
    LEAST,
    N_BINS,
    Matrix,
    Measure,
    Pairs,
    Pieces,
    Whole,
    drift,
    judged,
    measured,
    reliability,
    told,
)

STRETCH = np.geomspace(0.1, 10.0, 81)  # factors on log odds that are tried
FEWEST_ACTS = 8  # of a class or after a kind of event, below which nothing is said of it alone
N_SIMULATED = 200
MOST_SIMULATED = 20_000  # acts times classes; of more, the pieces alone decide: differences are normal then


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
    yield told("agreement", "likeliest answer is the person's", pieces.means((p.argmax(1) == acts.done).astype(float)))
    yield measured("agreement", "chance given to the answer", pieces.means(given), pieces.means((p**2).sum(axis=1)))
    yield measured("agreement", "surprise, bits per answer", pieces.means(surprise), pieces.means(entropy))
    yield _certainty(pieces, p, acts.done, log_sums_RG)
    yield from _repeats_of_answers(pieces, acts)
    yield from _shares(pieces, acts, shares)
    yield from _habit(pieces, acts)
    yield drift(pieces, surprise - entropy, acts.time_s, "surprise gained over the time, bits per answer")


def answers_reliability(acts: Acts) -> Matrix:
    """The calibration curve over the chances of all classes."""
    return reliability(acts.said.ravel(), np.eye(acts.said.shape[1])[acts.done].ravel())


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
    return measured("calibration", "certainty, factor on log odds", over, np.ones_like(over))


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
    totals = [Pairs(pieces), Pairs(pieces)]
    for kind in np.unique(acts.event[acts.event >= 0]):
        rows = np.flatnonzero(acts.event == kind)
        for total, values in zip(totals, (acts.said, classes), strict=True):
            total.add(values[rows], rows)
    if totals[0].any:
        copy, person = (total.mean() for total in totals)
        yield measured("consistency", "same answer to the same event again", copy, person)


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
        yield measured("errors", "share of the answer", copy, person, what=what)


def _habit(pieces: Pieces, acts: Acts) -> Iterator[Measure]:
    """How often an answer is the one before it."""
    if len(acts.done) < FEWEST_ACTS:
        return
    before = np.concatenate([[0], acts.done[:-1]])
    has_one = np.concatenate([[False], acts.piece[1:] == acts.piece[:-1]])
    copy = pieces.means(acts.said[np.arange(len(before)), before], has_one)
    person = pieces.means((acts.done == before).astype(np.float64), has_one)
    yield measured("errors", "repeats its last answer", copy, person)
