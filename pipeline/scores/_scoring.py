"""How well one port of one session is predicted: sums over pieces of time, scores made of them, resamplings.

    Task -> targets, masks, pieces      Metric.sums -> (P, C, S)      resampled weights (R, P) -> Metric.value -> (R,)

A score is a function of sums, so that a resampling of pieces costs one product.

Shapes: P pieces of time, N bins, C channels, K classes, S sums kept per channel, R resamplings (the first line is the
data as they are), M models (seeds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.windowing import Split

Matrix = NDArray[np.float64]

N_RESAMPLED = 1000
MIN_RATE = 1e-9  # spikes per bin: keeps the logarithm of a rate of 0 finite, as nlb_tools does
FEWEST_BLOCKS = 8


class Task:
    """One port of one session: targets, masks, and the piece of time that each bin belongs to.

    last_bins: only so many bins at the end of each window count; None for all.
    """

    def __init__(self, *, split: Split, session: str, port: str, last_bins: int | None = None) -> None:
        self.session, self.port = session, port
        self.data: SessionData = split.sessions[session]
        self.made = self.data.features[port]
        starts, length = split.tiles(session), split.config.n_bins
        cuts = [self.data.targets_at(port, start, start + length) for start in starts]
        self.target = np.concatenate([cut[0] for cut in cuts]).astype(np.float64)
        self.mask = np.concatenate([cut[1] for cut in cuts])
        if last_bins is not None:
            self.mask = self.mask & np.tile(np.arange(length) >= length - last_bins, len(starts))[:, None]
        blocks = self.data.blocks[split.name]
        by_block = np.searchsorted([first for first, _ in blocks], starts, side="right") - 1
        # With few blocks an interval over them means little: then over single windows, which is a little too narrow.
        pieces = by_block if len(blocks) >= FEWEST_BLOCKS else np.arange(len(starts))
        self.piece = np.repeat(pieces, length)
        self.n_pieces = int(pieces.max()) + 1

    def weights(self, rng: np.random.Generator) -> Matrix:
        """How often each piece counts in each resampling, (R, P)."""
        return resampling(self.n_pieces, rng)

    def summed(self, values: Matrix) -> Matrix:
        """Sums over the bins of each piece, (P, ...) of (N, ...)."""
        total = np.zeros((self.n_pieces, *values.shape[1:]))
        np.add.at(total, self.piece, values)
        return total

    def groups(self) -> Iterator[tuple[str, str, list[int]]]:
        """Area, channel, columns: all together, each area, each channel."""
        port = self.made.port
        everything = list(range(port.n_channels))
        yield "", "", everything
        areas = port.areas or ("",) * port.n_channels
        for area in dict.fromkeys(area for area in areas if area):
            yield area, "", [i for i in everything if areas[i] == area]
        if port.n_channels > 1:
            for i, name in enumerate(port.channel_names):
                yield areas[i], name, [i]

    @property
    def chance(self) -> float:
        """One over the number of classes that occur."""
        return 1 / max(1, np.unique(self.target[self.mask]).size)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score. sums: (task, predicted) -> (P, C, S). value: (R, C, S) -> (R,)."""

    name: str
    sums: Callable[[Task, Matrix], Matrix]
    value: Callable[[Matrix], Matrix]


def metrics_of(task: Task) -> tuple[Metric, ...]:
    """What a port is scored by, the first being what it is known by."""
    kind = task.made.port.kind
    if task.made.target_only and task.made.port.is_counts:
        return (Metric(name="co-smoothing bits per spike", sums=_rate_sums, value=_bits_per_event),)
    return _METRICS.get(kind, (Metric(name="R2", sums=_squares, value=_r2),))


def resampled(
    sums_MPCS: Sequence[Matrix], weights_RP: Matrix, picks_RM: Matrix, metric: Metric, columns: list[int]
) -> Matrix:
    """The score in each resampling of pieces and of models, the mean over the models drawn, (R,)."""
    each = [metric.value(np.einsum("rp,pcs->rcs", weights_RP, sums[:, columns])) for sums in sums_MPCS]
    return np.asarray((np.stack(each, axis=1) * picks_RM).sum(axis=1))


def picks(n_models: int, rng: np.random.Generator) -> Matrix:
    """The share of each model in each resampling, (R, M)."""
    return resampling(n_models, rng) / n_models


def resampling(n: int, rng: np.random.Generator | int) -> Matrix:
    """How often each of n counts in each resampling, (R, n); the first is all of them as they are. rng: or a seed."""
    draws = np.random.default_rng(rng).multinomial(n, np.full(n, 1 / n), size=N_RESAMPLED)
    return np.concatenate([np.ones((1, n)), draws])


def interval(values: Matrix) -> tuple[float, float]:
    """The middle 95 % of what is not NaN."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


# Spikes and other events -------------------------------------------------------------------------------------------


def _rate_sums(task: Task, values: Matrix) -> Matrix:
    """Log-likelihood of a Poisson rate (less what does not depend on it), events, bins."""
    y, known = task.target, task.mask
    rate = np.maximum(values, MIN_RATE)
    nats = np.where(known, y * np.log(rate) - rate, 0)
    return task.summed(np.stack([nats, np.where(known, y, 0), known.astype(np.float64)], axis=2))


def _bits_per_event(sums_RCS: Matrix) -> Matrix:
    """Over each channel's mean rate in the data that are scored: the standard definition (Pei et al. 2021)."""
    nats, events, bins = np.moveaxis(sums_RCS, 2, 0)
    mean = np.maximum(_ratio(events, bins), MIN_RATE)
    null = events * np.log(np.where(bins > 0, mean, 1.0)) - np.where(bins > 0, mean, 0.0) * bins
    return _ratio((nats - null).sum(axis=1), events.sum(axis=1) * np.log(2))


# Classes -----------------------------------------------------------------------------------------------------------


def _class_sums(task: Task, values: Matrix) -> Matrix:
    """Log-likelihood over how often each class occurred in training time, and answers."""
    known = task.mask.astype(np.float64)
    answer, rows = task.target[:, 0].astype(np.int64), np.arange(len(task.target))
    said = np.maximum(values[rows, answer] / np.maximum(values.sum(axis=1), MIN_RATE), MIN_RATE)
    nats = np.log(said / task.data.class_shares[task.port].astype(np.float64)[answer])[:, None] * known
    return task.summed(np.stack([nats, known], axis=2))


def _bits_per_answer(sums_RCS: Matrix) -> Matrix:
    total = sums_RCS.sum(axis=1)
    return _ratio(total[:, 0], total[:, 1] * np.log(2))


def _hits(task: Task, values: Matrix) -> Matrix:
    """The table of true and predicted classes, K x K numbers in a row."""
    n_classes = values.shape[1]
    pair = task.target[:, 0].astype(np.int64) * n_classes + values.argmax(axis=1)
    return task.summed(np.eye(n_classes**2)[pair] * task.mask)[:, None, :]


def _balanced_accuracy(sums_RCS: Matrix) -> Matrix:
    n_classes = round(sums_RCS.shape[2] ** 0.5)
    confusion = sums_RCS[:, 0].reshape(-1, n_classes, n_classes)
    return _mean(_ratio(np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2)))


# Continuous channels -----------------------------------------------------------------------------------------------


def _squares(task: Task, values: Matrix) -> Matrix:
    y, known = task.target, task.mask
    error = np.where(known, (y - values) ** 2, 0)
    return task.summed(np.stack([error, known.astype(float), np.where(known, y, 0), np.where(known, y**2, 0)], 2))


def _r2(sums_RCS: Matrix) -> Matrix:
    """Mean over channels of 1 - SSE / SST about the scored data's own mean."""
    error, n, y, yy = np.moveaxis(sums_RCS, 2, 0)
    spread = yy - _ratio(y**2, n)
    return _mean(1 - _ratio(error, np.where(spread > 1e-9 * np.maximum(yy, 1e-30), spread, np.nan)))


def _ratio(above: Matrix, below: Matrix) -> Matrix:
    """Quotient, NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)


def _mean(values: Matrix) -> Matrix:
    """Mean over the last axis of what is not NaN."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1).astype(np.float64))


_SPIKES = (Metric(name="bits per spike", sums=_rate_sums, value=_bits_per_event),)
_METRICS = {
    "spikes": _SPIKES,
    "negative_binomial": _SPIKES,
    "saccades": (Metric(name="bits per event", sums=_rate_sums, value=_bits_per_event),),
    "choice": (
        Metric(name="balanced accuracy", sums=_hits, value=_balanced_accuracy),
        Metric(name="bits per answer", sums=_class_sums, value=_bits_per_answer),
    ),
    "tokens": (Metric(name="bits per token", sums=_class_sums, value=_bits_per_answer),),
}
