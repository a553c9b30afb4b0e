"""Blinks, saccades and fixations of a gaze signal, per eye, by published algorithms, in bounded memory.

    gaze_events(gaze, pupil) -> Intervals "gaze blinks", "gaze saccades", "gaze fixations"; labels "left", "right" or ""

    blinks      Hershman, Henik and Cohen 2018, Behav Res Methods 50:107: from where the eye is lost, on to where the
                falling pupil began to fall and the rising one stopped to rise; nearer than 100 ms, two are one.
                Column "kind": "blink", or "lost" where nothing was seen for more than a second.
    saccades    Engbert and Kliegl 2003, Vision Res 43:1035: velocity over five samples, outside an ellipse of 6
                median-based standard deviations, for 6 ms or more. Columns: where from, where to, amplitude, peak
                velocity, and whether the other eye moved meanwhile ("both").
    fixations   what lies between saccades and blinks for 50 ms or more. Columns: mean place.

Shapes: T samples; xy (T, 2). Everything is in the unit of the gaze, which the columns' names say: "amplitude_deg".

Design rationale: the one package that offers these detectors brings a table engine and a dozen further packages for
what is ten lines of array arithmetic each, and wants a recording whole in memory; here it goes through in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._runs import Runs, merged, runs_of
from neuroloom.ingest.eyes import Eye, eye_of, eyes, unseen
from neuroloom.ingest.streams import Intervals, Segment, Signal
from neuroloom.ingest.timebase import FloatArray

Flags = NDArray[np.bool_]

MIN_RATE_HZ = 100.0  # below it a saccade has fewer than three samples
BLOCK, MARGIN_S = 500_000, 2.0
THRESHOLD, MIN_SACCADE_S, MIN_SACCADE_SAMPLES = 6.0, 0.006, 3
BETWEEN_SACCADES_S = 0.02  # nearer than this it is the same one, swinging past its target and back
SMOOTHING_S, BETWEEN_BLINKS_S, MOST_EDGE_S = 0.01, 0.1, 0.25
MIN_BLINK_S, MAX_BLINK_S = 0.05, 1.0
MIN_FIXATION_S = 0.05


def is_fit(gaze: Signal) -> bool:
    """Whether events can be found in it: gaze with the columns of an eye, at 100 Hz or more."""
    return gaze.modality == "gaze" and bool(eyes(gaze)) and gaze.n_samples > 0 and gaze.rate_hz >= MIN_RATE_HZ


def gaze_events(gaze: Signal, pupil: Signal | None = None) -> list[Intervals]:
    """Blinks, saccades and fixations, each an Intervals in order of time, empty where there are none.

    pupil: of the same tracker, sampled together with the gaze; without one a blink is just where the eye was lost.
    Raises ValueError where `is_fit` is False.
    """
    if not is_fit(gaze):
        raise ValueError(f"{gaze.name}: {gaze.rate_hz:g} Hz; gaze of 100 Hz or more, with channels x and y, is wanted")
    if pupil is not None and [s.timebase.n_samples for s in pupil.segments] != [
        s.timebase.n_samples for s in gaze.segments
    ]:
        pupil = None
    found = {side: _Found() for side in eyes(gaze)}
    for side, eye in eyes(gaze).items():
        for index in range(len(gaze.segments)):
            _search(gaze, pupil, index, side, eye, found[side])
    return [_blinks(gaze, found), _saccades(gaze, found), _fixations(gaze, found)]


@dataclass
class _Found:
    """What one eye did: bounds in seconds and columns, over all segments."""

    blinks: list[tuple[float, float]] = field(default_factory=list)
    saccades: list[tuple[float, ...]] = field(default_factory=list)  # start, stop, x, y from, x, y to, peak velocity
    fixations: list[tuple[float, ...]] = field(default_factory=list)  # start, stop, mean x, mean y


@dataclass(frozen=True, eq=False)
class _Block:
    """A run of samples with a margin on both sides: `core` are the ones that are its own. Indices are the segment's."""

    first: int
    core: slice
    times_s: FloatArray  # (T,)
    xy: FloatArray  # (T, 2), NaN where lost
    pupil: FloatArray | None  # (T,), NaN where lost

    @property
    def lost(self) -> Flags:
        return np.asarray(np.isnan(self.xy).any(axis=1))


def _blocks(gaze: Signal, pupil: Signal | None, index: int, side: str, eye: Eye) -> Iterator[_Block]:
    segment, n = gaze.segments[index], gaze.segments[index].timebase.n_samples
    margin = int(MARGIN_S * gaze.rate_hz)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        rows = slice(max(0, start - margin), min(n, stop + margin))
        columns = np.array([eye.x, eye.y])
        xy = _values(gaze, segment, rows)[:, columns]
        size = None
        if pupil is not None:
            names = [eye_of(name) for name in pupil.channel_names]
            size = _values(pupil, pupil.segments[index], rows)[:, names.index(side) if side in names else 0]
            xy[np.isnan(size)] = np.nan
        times_s = segment.timebase.seconds(np.arange(rows.start, rows.stop))
        yield _Block(rows.start, slice(start, stop), times_s, xy, size)


def _values(signal: Signal, segment: Segment, rows: slice) -> FloatArray:
    values = signal.in_unit(segment.samples[rows])
    values[unseen(signal, values)] = np.nan
    return values


def _search(gaze: Signal, pupil: Signal | None, index: int, side: str, eye: Eye, found: _Found) -> None:
    blinks: list[Runs] = []
    saccades: list[Runs] = []
    rows: list[tuple[float, ...]] = []
    for block in _blocks(gaze, pupil, index, side, eye):
        closed = _closed(block, gaze.rate_hz)
        moves = _moves(block, closed, gaze.rate_hz)
        moves = moves[(moves[:, 0] + block.first >= block.core.start) & (moves[:, 0] + block.first < block.core.stop)]
        rows += _described(block, moves)
        saccades.append(moves + block.first)
        blinks.append(closed + block.first)
    base = gaze.segments[index].timebase
    away = merged(np.concatenate(blinks))
    last = base.n_samples - 1
    found.blinks += [(float(base.seconds(a)), float(base.seconds(min(b, last)))) for a, b in away]
    found.saccades += rows
    still = _still(np.concatenate([away, *saccades]), base.n_samples)
    still = still[base.seconds(still[:, 1] - 1) - base.seconds(still[:, 0]) >= MIN_FIXATION_S]
    found.fixations += _placed(gaze, pupil, index, side, eye, still)


# Blinks ------------------------------------------------------------------------------------------------------------


def _closed(block: _Block, rate_hz: float) -> Runs:
    """Runs in which the eye was closed or lost, edges included, as rows of the block; short losses are none."""
    away = runs_of(block.lost)
    if block.pupil is not None and away.size:
        size = _smoothed(block.pupil, max(1, round(SMOOTHING_S * rate_hz)))
        reach = max(1, int(MOST_EDGE_S * rate_hz))
        away = np.array([(_fall(size, a, reach), _rise(size, b, reach)) for a, b in away], dtype=np.int64)
    away = merged(away, int(BETWEEN_BLINKS_S * rate_hz)) if block.pupil is not None else away
    long_enough = (away[:, 1] - away[:, 0]) / rate_hz >= MIN_BLINK_S
    return away[long_enough]


def _smoothed(values: FloatArray, n: int) -> FloatArray:
    """Running mean of the known values over `n` samples, NaN where a value is NaN."""
    known = np.isfinite(values)
    kernel = np.ones(n)
    total = np.convolve(np.where(known, values, 0.0), kernel, "same")
    count = np.convolve(known.astype(np.float64), kernel, "same")
    return np.where(known, total / np.maximum(count, 1), np.nan)


def _fall(size: FloatArray, first_lost: int, reach: int) -> int:
    """The sample at which the pupil began to fall towards its loss."""
    before = size[max(0, first_lost - reach) : first_lost]
    stops = np.flatnonzero(~(np.diff(before) < 0))  # NaN too
    return first_lost - len(before) + (int(stops[-1]) + 1 if stops.size else 0)


def _rise(size: FloatArray, first_seen: int, reach: int) -> int:
    """The sample after which the pupil no longer rises from its loss."""
    after = size[first_seen : first_seen + reach]
    stops = np.flatnonzero(~(np.diff(after) > 0))
    return first_seen + (int(stops[0]) if stops.size else max(0, len(after) - 1))


# Saccades ----------------------------------------------------------------------------------------------------------


def _velocity(block: _Block) -> FloatArray:
    """Velocity (T, 2) over five samples, unit per second; NaN at the ends and next to lost samples."""
    made = np.full_like(block.xy, np.nan)
    if len(made) >= 5:
        moved = block.xy[4:] + block.xy[3:-1] - block.xy[1:-3] - block.xy[:-4]
        passed_s = block.times_s[4:] + block.times_s[3:-1] - block.times_s[1:-3] - block.times_s[:-4]
        made[2:-2] = moved / passed_s[:, None]
    return made


def _moves(block: _Block, closed: Runs, rate_hz: float) -> Runs:
    """Runs of saccadic velocity that no blink touches, as rows of the block."""
    velocity = _velocity(block)
    known = np.isfinite(velocity).all(axis=1)
    if not known.any():
        return np.empty((0, 2), dtype=np.int64)
    middle = np.median(velocity[known], axis=0)
    spread = np.sqrt(np.maximum(np.median(velocity[known] ** 2, axis=0) - middle**2, 0))
    limit = np.maximum(THRESHOLD * spread, np.finfo(np.float64).tiny)
    with np.errstate(invalid="ignore", over="ignore"):
        fast = known & (((velocity / limit) ** 2).sum(axis=1) > 1)
    runs = merged(runs_of(fast), int(BETWEEN_SACCADES_S * rate_hz))
    lasting = runs[:, 1] - runs[:, 0] >= max(MIN_SACCADE_SAMPLES, round(MIN_SACCADE_S * rate_hz))
    blinked = np.zeros(len(velocity), dtype=np.bool_)
    for first, stop in closed:
        blinked[max(0, first - 3) : stop + 3] = True  # as far as the velocity saw its edge
    touched = np.add.reduceat(np.append(blinked, False), runs.ravel())[::2] > 0 if runs.size else np.empty(0, bool)
    return runs[lasting & ~touched]


def _described(block: _Block, moves: Runs) -> list[tuple[float, ...]]:
    """Per saccade start, stop, place before and after, peak speed."""
    speed = np.hypot(*_velocity(block).T)
    rows = []
    for first, stop in moves:
        last = stop - 1
        start_s, stop_s = float(block.times_s[first]), float(block.times_s[last])
        peak = float(np.nanmax(speed[first:stop]))
        rows.append((start_s, stop_s, *map(float, block.xy[first]), *map(float, block.xy[last]), peak))
    return rows


# Fixations ---------------------------------------------------------------------------------------------------------


def _still(moving: Runs, n_samples: int) -> Runs:
    """What is left of `n_samples` between runs."""
    taken = merged(moving[np.argsort(moving[:, 0], kind="stable")])
    edges = np.concatenate([[0], taken.ravel(), [n_samples]]).reshape(-1, 2)
    return edges[edges[:, 1] > edges[:, 0]]


def _placed(
    gaze: Signal, pupil: Signal | None, index: int, side: str, eye: Eye, still: Runs
) -> list[tuple[float, ...]]:
    """Start, stop and mean place of each fixation in which the eye was seen."""
    sums, counts = np.zeros((len(still), 2)), np.zeros(len(still))
    for block in _blocks(gaze, pupil, index, side, eye):
        own = slice(block.core.start - block.first, block.core.stop - block.first)
        xy, rows = block.xy[own], np.arange(block.core.start, block.core.stop)
        which = np.searchsorted(still[:, 0], rows, side="right") - 1
        inside = (which >= 0) & ~block.lost[own]
        inside[inside] &= rows[inside] < still[which[inside], 1]
        for axis in (0, 1):
            sums[:, axis] += np.bincount(which[inside], weights=xy[inside, axis], minlength=len(still))
        counts += np.bincount(which[inside], minlength=len(still))
    base = gaze.segments[index].timebase
    seen = counts > 0.5 * (still[:, 1] - still[:, 0])
    return [
        (float(base.seconds(a)), float(base.seconds(b - 1)), *map(float, total / n))
        for (a, b), total, n, is_seen in zip(still, sums, counts, seen, strict=True)
        if is_seen
    ]


# Tables -------------------------------------------------------------------------------------------------------------


def _blinks(gaze: Signal, found: dict[str, _Found]) -> Intervals:
    rows = sorted((start_s, stop_s, side) for side, eye in found.items() for start_s, stop_s in eye.blinks)
    kinds = tuple("blink" if stop_s - start_s <= MAX_BLINK_S else "lost" for start_s, stop_s, _ in rows)
    return _intervals(gaze, "blinks", [row[:2] for row in rows], [row[2] for row in rows], {"kind": kinds})


def _saccades(gaze: Signal, found: dict[str, _Found]) -> Intervals:
    rows = sorted((row, side) for side, eye in found.items() for row in eye.saccades)
    bounds = np.array([row[:2] for row, _ in rows], dtype=np.float64).reshape(-1, 2)
    others = {
        side: np.array([row[:2] for name, eye in found.items() if name != side for row in eye.saccades]).reshape(-1, 2)
        for side in found
    }
    amplitude = tuple(float(np.hypot(row[4] - row[2], row[5] - row[3])) for row, _ in rows)
    columns: dict[str, tuple[Any, ...]] = {
        **{
            name: tuple(row[2 + k] for row, _ in rows)
            for k, name in enumerate(("x_start", "y_start", "x_stop", "y_stop"))
        },
        f"amplitude_{_word(gaze.unit)}": amplitude,
        f"peak_velocity_{_word(gaze.unit)}_s": tuple(row[6] for row, _ in rows),
        "both": tuple(_overlaps(bounds[k], others[side]) for k, (_, side) in enumerate(rows)),
    }
    return _intervals(gaze, "saccades", bounds, [side for _, side in rows], columns)


def _fixations(gaze: Signal, found: dict[str, _Found]) -> Intervals:
    rows = sorted((row, side) for side, eye in found.items() for row in eye.fixations)
    columns = {name: tuple(row[2 + k] for row, _ in rows) for k, name in enumerate(("x_mean", "y_mean"))}
    return _intervals(gaze, "fixations", [row[:2] for row, _ in rows], [side for _, side in rows], columns)


def _overlaps(bounds_s: FloatArray, others_s: FloatArray) -> bool:
    """Whether any of `others_s`, shape (I, 2) in order of their starts, overlaps."""
    before = np.searchsorted(others_s[:, 0], bounds_s[1], side="right")
    return bool(before and others_s[before - 1, 1] >= bounds_s[0])


def _intervals(
    gaze: Signal, kind: str, bounds_s: Any, labels: Sequence[str], columns: dict[str, tuple[Any, ...]]
) -> Intervals:
    return Intervals(
        name=f"{gaze.name} {kind}",
        bounds_s=np.asarray(bounds_s, dtype=np.float64).reshape(-1, 2),
        labels=tuple(labels),
        device=gaze.device,
        table=columns,
        provenance={"made_by": "gaze_events", "source": gaze.name},
    )


def _word(unit: str) -> str:
    return unit if unit.isalnum() else "units"
