"""Analog channels that carry pulses (NIDQ inputs, EEG AUX, photodiodes): edges, where there really are two levels.

    whole signal, block by block -> lowest and highest value of every quarter second
      -> the usual step from level to level, and a threshold that follows the baseline
      -> edges with hysteresis, each at its crossing of the threshold between two samples
      -> nothing, where the values in between are as common as a level: a sine, breathing, an ECG are no pulses

Memory stays at a block whatever the length. A screen that flickers at its refresh rate lights a photodiode many times
within one flash: such trains of crossings become one pulse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import FloatArray

MODALITIES = ("aux", "sync")
TRIGGER_NAMES = re.compile(r"photo|diode|\btrig|sync|\bttl|\bstim\b|\bstatus\b", re.IGNORECASE)

LEVEL_S = 0.25  # lowest and highest value are taken of stretches this long
LEAST_LEVEL_SAMPLES = 16
BLOCK_VALUES = 1 << 21
MIN_ACTIVE = 8  # stretches with a step
STEP_RANGE = (0.6, 1.6)  # of the usual step: what else is an artefact
QUIET = 0.3  # of the step: a resting level wanders less than this within a stretch
HYSTERESIS = 0.15  # of the step, on either side of the threshold
MIDDLE = 0.25  # of the step, on either side of the threshold: where a two-level signal hardly ever is
BEYOND, MOST_BEYOND = 0.8, 0.05  # of the step from the threshold (a level is 0.5 away); and how often that may be
MOST_BETWEEN = 0.6  # as much time in the middle as this share of the rarer level is no two levels
MOST_LINGERING = 0.2  # of all the time, steps or not, in the middle: a staircase or a ramp
MOST_EDGES_HZ = 500.0
FLICKER_S = 0.025  # a screen is refreshed at least 50 times per second, with some slack
FLICKER_TRAIN, FLICKER_SPREAD = 3, 0.2


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalogPulses:
    """One channel's pulses: `rises_s` and `falls_s`, shape (P,) each, the fall after each rise; NaN where none came."""

    channel: str
    rises_s: FloatArray
    falls_s: FloatArray
    flicker_hz: float = 0.0


def analog_pulses(signal: Signal) -> list[AnalogPulses]:
    """The pulses of every two-level channel, of an "aux" or "sync" signal or with the name of a trigger."""
    names = [
        name for name in signal.channel_names if signal.modality in MODALITIES or TRIGGER_NAMES.search(name) is not None
    ]
    if not names or not signal.segments:
        return []
    chosen = signal.channels(tuple(names))
    steps = {i: step for i, step in enumerate(_steps(chosen)) if step is not None}
    if not steps:
        return []
    edges = {i: _Edges() for i in steps}
    for block in _blocks(chosen, whole_levels=False):
        for i, step in steps.items():
            edges[i].add(block, block.values_TC[:, i], step)
    found = (_pulses(names[i], edges[i], step, signal.stop_s - signal.start_s) for i, step in steps.items())
    return [pulses for pulses in found if pulses is not None]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Block:
    """Values (T, C) of one segment, their times (T,), and whether a segment begins with it."""

    values_TC: FloatArray
    times_s: FloatArray
    is_first: bool


def _blocks(signal: Signal, *, whole_levels: bool) -> Iterator[_Block]:
    for segment in signal.segments:
        n = _level_samples(segment)
        size = max(1, BLOCK_VALUES // max(1, len(signal.channel_names)))
        size = max(n, size // n * n) if whole_levels else size
        for first in range(0, segment.timebase.n_samples, size):
            last = min(first + size, segment.timebase.n_samples)
            values = signal.in_unit(segment.samples[first:last])
            times_s = segment.timebase.seconds(np.arange(first, last))
            yield _Block(values_TC=values, times_s=times_s, is_first=first == 0)


def _level_samples(segment: Segment) -> int:
    return max(LEAST_LEVEL_SAMPLES, int(LEVEL_S * segment.timebase.rate_hz))


# Levels -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Step:
    """The usual height of a step, and the threshold (S,) in the middle of each stretch, at `times_s` (S,).

    is_one_sided: False where steps go to both sides of a resting level.
    """

    height: float
    is_one_sided: bool
    times_s: FloatArray
    thresholds: FloatArray
    active: NDArray[np.bool_]

    def threshold(self, times_s: FloatArray) -> FloatArray:
        """Between two stretches the threshold goes over gradually."""
        return np.interp(times_s, self.times_s, self.thresholds)

    def is_active(self, times_s: FloatArray) -> NDArray[np.bool_]:
        """True near stretches that hold a step."""
        right = np.clip(np.searchsorted(self.times_s, times_s), 1, max(self.times_s.size - 1, 1))
        nearer = np.abs(times_s - self.times_s[right - 1]) < np.abs(times_s - self.times_s[right])
        return np.asarray(self.active[np.where(nearer, right - 1, right)])


def _steps(signal: Signal) -> list[_Step | None]:
    """Per channel its step, None where there is none."""
    times, lows, highs, firsts = [], [], [], []
    for block in _blocks(signal, whole_levels=True):
        n = min(_level_samples(signal.segments[0]), len(block.values_TC))
        whole = len(block.values_TC) // n * n
        shaped = block.values_TC[:whole].reshape(-1, n, block.values_TC.shape[1])
        times.append(block.times_s[:whole].reshape(-1, n).mean(axis=1))
        lows.append(np.fmin.reduce(shaped, axis=1))
        highs.append(np.fmax.reduce(shaped, axis=1))
        firsts.append(shaped[:, 0])
    low, high, first = np.concatenate(lows), np.concatenate(highs), np.concatenate(firsts)
    low[:-1], high[:-1] = np.fmin(low[:-1], first[1:]), np.fmax(high[:-1], first[1:])  # a step between two stretches
    return [_step(np.concatenate(times), low[:, i], high[:, i]) for i in range(low.shape[1])]


def _step(times_s: FloatArray, low: FloatArray, high: FloatArray) -> _Step | None:
    finite = np.isfinite(low) & np.isfinite(high)
    times_s, low, high = times_s[finite], low[finite], high[finite]
    if times_s.size < MIN_ACTIVE:
        return None
    ranges, middles = high - low, (high + low) / 2
    n_top = max(MIN_ACTIVE, int(0.005 * ranges.size))
    height = float(np.median(np.sort(ranges)[-n_top:]))
    active = (ranges >= STEP_RANGE[0] * height) & (ranges <= STEP_RANGE[1] * height)
    resting = ranges < QUIET * height
    if not height > 0 or active.sum() < MIN_ACTIVE or (~active & ~resting).sum() > max(active.sum(), 1):
        return None
    thresholds, away = middles.copy(), np.inf
    rests_on_both = (np.abs(np.diff(middles[resting])) > STEP_RANGE[0] * height).sum() > 0.1 * min(
        active.sum(), resting.sum()
    )
    if resting.any() and not rests_on_both:
        # Where nothing happens the threshold keeps its distance from the resting level: it follows a slow baseline.
        rest = np.interp(times_s, times_s[resting], middles[resting])
        away = float(np.median((middles - rest)[active]))
        thresholds = rest + away
    elif not active.all():
        thresholds = np.interp(times_s, times_s[active], middles[active])
    return _Step(
        height=height,
        is_one_sided=abs(away) > MIDDLE * height,
        times_s=times_s,
        thresholds=_smoothed(thresholds),
        active=active,
    )


def _smoothed(values: FloatArray) -> FloatArray:
    """Running median of five: one artefact must not move a threshold."""
    if values.size < 5:
        return values
    middle = np.median(np.lib.stride_tricks.sliding_window_view(values, 5), axis=1)
    return np.concatenate([values[:2], middle, values[-2:]])


# Edges --------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Edges:
    """Edges as blocks come by, and how long the signal was low, high and in between while there were steps."""

    times: list[float] = field(default_factory=list)
    ups: list[bool] = field(default_factory=list)
    n_low: int = 0
    n_high: int = 0
    n_between: int = 0
    n_beyond: int = 0
    n_all: int = 0
    n_all_between: int = 0
    state: int = 0
    tail_y: FloatArray = field(default_factory=lambda: np.zeros(0))
    tail_s: FloatArray = field(default_factory=lambda: np.zeros(0))

    def add(self, block: _Block, values: FloatArray, step: _Step) -> None:
        """One more block of this channel, values (T,)."""
        y = (values - step.threshold(block.times_s)) / step.height
        near = step.is_active(block.times_s)
        self.n_low += int((near & (y < -MIDDLE)).sum())
        self.n_high += int((near & (y > MIDDLE)).sum())
        self.n_between += int((near & (np.abs(y) <= MIDDLE)).sum())
        self.n_all += y.size
        self.n_all_between += int((np.abs(y) <= MIDDLE).sum())
        self.n_beyond += int((near & (np.abs(y) > BEYOND)).sum())
        if block.is_first:
            self.state, self.tail_y, self.tail_s = 0, np.zeros(0), np.zeros(0)
        y, times_s = np.concatenate([self.tail_y, y]), np.concatenate([self.tail_s, block.times_s])
        sides = np.where(y > HYSTERESIS, 1, np.where(y < -HYSTERESIS, -1, 0))
        sides[: self.tail_y.size] = 0
        marks = np.flatnonzero(sides)
        before = np.concatenate([[self.state], sides[marks]])
        for k in np.flatnonzero((before[1:] != before[:-1]) & (before[:-1] != 0)):
            self.times.append(_crossing(y, times_s, int(marks[k]), int(before[k + 1])))
            self.ups.append(bool(before[k + 1] > 0))
        self.state = int(before[-1])
        n_tail = min(y.size, 4096)
        self.tail_y, self.tail_s = y[y.size - n_tail :], times_s[times_s.size - n_tail :]


def _crossing(y: FloatArray, times_s: FloatArray, at: int, side: int) -> float:
    """Where y went over to a side for good, before sample `at`, between two samples."""
    earlier = np.flatnonzero(y[max(at - 4096, 0) : at] * side <= 0)
    k = int(earlier[-1]) + max(at - 4096, 0) if earlier.size else max(at - 1, 0)
    rise = y[k + 1] - y[k] if k + 1 < y.size else 0.0
    share = float(np.clip(-y[k] / rise, 0.0, 1.0)) if rise else 0.0
    return float(times_s[k] + share * (times_s[min(k + 1, y.size - 1)] - times_s[k]))


def _pulses(channel: str, edges: _Edges, step: _Step, duration_s: float) -> AnalogPulses | None:
    times_s, ups = np.array(edges.times), np.array(edges.ups, dtype=np.bool_)
    rises_s, falls_s = times_s[ups], times_s[~ups]
    n_near = edges.n_low + edges.n_high + edges.n_between
    if rises_s.size < MIN_ACTIVE or times_s.size > MOST_EDGES_HZ * duration_s or edges.n_beyond > MOST_BEYOND * n_near:
        return None
    following = np.searchsorted(falls_s, rises_s)
    stops_s = np.where(following < falls_s.size, np.append(falls_s, np.nan)[following], np.nan)
    period_s = _flicker_s(rises_s)
    if period_s and step.is_one_sided:
        starts = np.concatenate([[True], np.diff(rises_s) > 1.6 * period_s])
        last = np.append(np.flatnonzero(starts)[1:] - 1, rises_s.size - 1)
        return AnalogPulses(channel=channel, rises_s=rises_s[starts], falls_s=stops_s[last], flicker_hz=1 / period_s)
    between = edges.n_between > MOST_BETWEEN * min(edges.n_low, edges.n_high)
    if between or edges.n_all_between > MOST_LINGERING * edges.n_all:
        return None
    return AnalogPulses(channel=channel, rises_s=rises_s, falls_s=stops_s)


def _flicker_s(rises_s: FloatArray) -> float:
    """The period of a flickering screen, 0 for none: regular trains of crossings with pauses between them."""
    intervals_s = np.diff(rises_s)
    short = intervals_s[intervals_s < FLICKER_S]
    if short.size < 0.5 * intervals_s.size or short.size == intervals_s.size:
        return 0.0
    period_s = float(np.median(short))
    spread_s = 1.4826 * float(np.median(np.abs(short - period_s)))
    trains = np.diff(np.flatnonzero(np.concatenate([[True], intervals_s > 1.6 * period_s, [True]])))
    regular = spread_s < FLICKER_SPREAD * period_s and np.median(trains) >= FLICKER_TRAIN
    # The mean is finer than the median: crossings fall on whole samples.
    return float(np.mean(short[np.abs(short - period_s) < FLICKER_SPREAD * period_s])) if regular else 0.0
