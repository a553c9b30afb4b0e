"""What can be predicted at all where something was repeated: averages over repeats, and their share of the variance.

    average        a baseline: the mean over training time of what a port did that long after the same event
    repeatable     per channel, signal power over total power (Sahani and Linden 2003): the R2 that the true mean over
                   repeats would have. Only what follows the event counts as signal: a model that hears other neurons,
                   or the past, may well exceed it

Events are the labels of a port of stimuli, a trial's type for instance.

Shapes: T bins after an event, K repeats, C channels, E kinds of event (labels), N bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.windowing import Split, Windows
from neuroloom.pipeline.scores.baselines import Predicted, mean_baseline, targets_of

Matrix = NDArray[np.float64]

FEWEST_REPEATS = 3
PRIOR_REPEATS = 2.0  # the overall mean counts as that many repeats: rare conditions are drawn towards it
WIDTHS_BINS = (0.0, 1.0, 2.0, 4.0)  # of the smoothing over time, chosen on validation time
LONGEST_BINS = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class AverageBaseline:
    """Per session the port of events, and per target its averages (E, T, C) and its overall mean (C,)."""

    events: Mapping[str, str]
    averages: Mapping[str, Mapping[str, Matrix]]
    means: Mapping[str, Mapping[str, Matrix]]
    name: str = "average"

    def predict(self, split: Split) -> Predicted:
        """The average at the time since the last event; the overall mean where there was none for long."""
        found: Predicted = {}
        for session, one in split.sessions.items():
            where = np.concatenate(
                [since_event(one, self.events[session], s, s + split.config.n_bins) for s in split.tiles(session)]
            )
            found[session] = {
                port: _looked_up(averages, self.means[session][port], where)
                for port, averages in self.averages[session].items()
            }
        return found

    def forecast(self, split: Split, n_bins: int) -> Predicted:
        """The same: what it goes by is the event, which is taken as known."""
        return self.predict(split)


def average_baseline(data: Windows, events: str = "") -> AverageBaseline:
    """Averages over training time. events: a port of stimuli; the trials, or the first there is, where it is ""."""
    ports = {session: events_of(one, events) for session, one in data.sessions.items()}
    means = mean_baseline(data).means
    averages = {
        session: {port: _averages(one, port, ports[session], means[session][port]) for port in one.target_names}
        for session, one in data.sessions.items()
    }
    return AverageBaseline(events=ports, averages=averages, means=means)


def events_of(data: SessionData, wanted: str = "") -> str:
    """The port of stimuli that repeats are counted by. Raises ValueError where there is none."""
    stimuli = [name for name, made in data.features.ports.items() if made.port.kind == "stimulus"]
    if wanted and wanted not in stimuli:
        raise ValueError(f"{data.id}: no port of events {wanted!r}; there are {', '.join(stimuli) or 'none'}")
    if not stimuli:
        raise ValueError(f"{data.id}: no events; averages over repeats need some")
    return wanted or ("trials" if "trials" in stimuli else stimuli[0])


def repeatable(values_KTC: Matrix) -> Matrix:
    """Signal power over total power per channel, (C,), of K repeats; NaN below three. May be below 0 by chance."""
    n_repeats = len(values_KTC)
    if n_repeats < FEWEST_REPEATS:
        return np.full(values_KTC.shape[2], np.nan)
    total = values_KTC.var(axis=1).mean(axis=0)
    of_mean = values_KTC.mean(axis=0).var(axis=0)
    signal = (n_repeats * of_mean - total) / (n_repeats - 1)
    return np.asarray(np.divide(signal, total, out=np.full_like(total, np.nan), where=total > 0))


def repeatable_shares(split: Split, *, events: str = "") -> dict[str, dict[str, Matrix]]:
    """Session -> target -> share (C,) of the split's variance that repeats of an event have in common.

    Over all kinds of event with three repeats or more, weighed by their number; over as long after each event as no
    other follows, at most. Raises ValueError where a session has no events.
    """
    found: dict[str, dict[str, Matrix]] = {}
    for session, one in split.sessions.items():
        name = events_of(one, events)
        ports = [port for port in one.target_names if not one.features[port].port.is_classes]
        found[session] = {port: _share(one, split, name, port) for port in ports}
    return found


def _share(data: SessionData, split: Split, events: str, port: str) -> Matrix:
    length = usual_length(data, events)
    total, n = np.zeros(data.features[port].port.n_channels), 0
    for starts in onsets(data, events, data.blocks[split.name], length):
        cuts = [targets_of(data, port, start, start + length) for start in starts]
        whole = [values for values, known in cuts if known.all()]
        if len(whole) >= FEWEST_REPEATS:
            total, n = total + len(whole) * repeatable(np.stack(whole)), n + len(whole)
    return total / n if n else np.full_like(total, np.nan)


def usual_length(data: SessionData, events: str) -> int:
    """Bins from one event to the next, as they mostly are."""
    at = np.flatnonzero(np.asarray(data.features[events].values).any(axis=1))
    gap = float(np.percentile(np.diff(at), 10)) if at.size > 1 else 1.0
    return int(np.clip(gap, 1, LONGEST_BINS))


def onsets(data: SessionData, events: str, blocks: Sequence[tuple[int, int]], length: int) -> list[NDArray[np.int64]]:
    """Per kind of event the bins in which it begins and is followed by `length` bins of the same block."""
    values = np.asarray(data.features[events].values)
    inside = np.zeros(len(values), dtype=np.bool_)
    for first, last in blocks:
        inside[first : max(first, last - length + 1)] = True
    return [np.flatnonzero((values[:, kind] > 0) & inside) for kind in range(values.shape[1])]


def _averages(data: SessionData, port: str, events: str, mean: Matrix) -> Matrix:
    """(E, T, C), drawn towards the mean, smoothed as is best for validation time."""
    length = usual_length(data, events)
    kinds = onsets(data, events, data.blocks["train"], length)
    found = np.empty((len(kinds), length, mean.size))
    for kind, starts in enumerate(kinds):
        total, n = (
            PRIOR_REPEATS * np.broadcast_to(mean, (length, mean.size)).copy(),
            np.full((length, mean.size), PRIOR_REPEATS),
        )
        for start in starts:
            values, known = targets_of(data, port, int(start), int(start) + length)
            total, n = total + np.where(known, values, 0), n + known
        found[kind] = total / n
    candidates = [_smoothed(found, width) for width in WIDTHS_BINS]
    losses = [_loss(data, port, events, one, mean) for one in candidates]
    return candidates[int(np.argmin(losses))]


def _smoothed(averages_ETC: Matrix, width_bins: float) -> Matrix:
    from scipy.ndimage import gaussian_filter1d

    if width_bins == 0:
        return averages_ETC
    return np.asarray(gaussian_filter1d(averages_ETC, width_bins, axis=1, mode="nearest"))


def _loss(data: SessionData, port: str, events: str, averages: Matrix, mean: Matrix) -> float:
    total = 0.0
    for first, last in data.blocks["validation"]:
        said = _looked_up(averages, mean, since_event(data, events, first, last))
        target, known = targets_of(data, port, first, last)
        if data.features[port].port.is_rates:
            each = said - target * np.log(np.maximum(said, 1e-9))
        else:
            each = (said - target) ** 2
        total += float(np.where(known, each, 0).sum())
    return total


def since_event(data: SessionData, events: str, first: int, last: int) -> NDArray[np.int64]:
    """Per bin the kind of the last event and the bins since, (N, 2); -1 where there was none."""
    values = np.asarray(data.features[events].values)
    before = max(0, first - LONGEST_BINS)
    part = values[before:last] > 0
    at = np.where(part.any(axis=1), np.arange(len(part)), -1)
    latest = np.maximum.accumulate(at)
    kind = np.where(latest >= 0, part[np.maximum(latest, 0)].argmax(axis=1), -1)
    since = np.where(latest >= 0, np.arange(len(part)) - latest, -1)
    return np.stack([kind, since], axis=1)[first - before :]


def _looked_up(averages_ETC: Matrix, mean: Matrix, where_N2: NDArray[np.int64]) -> Matrix:
    kind, since = where_N2.T
    known = (kind >= 0) & (since < averages_ETC.shape[1])
    found = averages_ETC[np.maximum(kind, 0), np.clip(since, 0, averages_ETC.shape[1] - 1)]
    return np.where(known[:, None], found, mean)
