"""Where the eyes went: a map of how long, the path of a stretch, and the main sequence of saccades."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroloom.ingest.envelopes import CHUNK_VALUES, read_values
from neuroloom.ingest.eyes import eyes
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Intervals, Signal
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import ORANGE, Picture, drawing, log_axis, picture
from neuroloom.pipeline.review.text import unit_sign, visible

BINS = 96
SMOOTHING = 1.2  # cells
PATH_S = 20.0
MOST_POINTS = 4000
MOST_LOOKED_AT = 200_000  # samples that decide which range the map shows
MOST_SACCADES = 3000
AMPLITUDE, PEAK_VELOCITY = "amplitude_", "peak_velocity_"


def eye_columns(signal: Signal) -> tuple[int, int] | None:
    """The columns of one eye's horizontal and vertical position; None where the names do not say which they are."""
    return next(iter(eyes(signal).values()), None)


def gaze_map(signal: Signal) -> Picture | None:
    """How long gaze or a tracked position was at each place; None without two channels of it or a valid sample."""
    columns = eye_columns(signal)
    if columns is None:
        return None
    looked_at = _sampled(signal, columns)
    if len(looked_at) < 10:
        return None
    ranges = _frame(looked_at)
    counts, n_valid, n_all = _counted(signal, columns, ranges)
    with drawing(560, 430) as figure:
        axes = figure.add_subplot()
        seconds = _smoothed(counts / signal.rate_hz).T
        bounds = (*ranges[0], *ranges[1])
        image = axes.imshow(seconds, extent=bounds, origin="lower", cmap=_warmth(), norm=_norm(seconds))
        bar = figure.colorbar(image, ax=axes, shrink=0.8, label="time there (s)")
        bar.outline.set_visible(False)
        _position_axes(axes, signal)
        share = n_valid / max(n_all, 1)
        return picture(
            figure,
            title=f"Map of {visible(signal.name, 60)}",
            alt=f"Map of {visible(signal.name, 60)} in {unit_sign(signal.unit)}; {share:.0%} of the samples are valid.",
            caption=f"Time per cell of {BINS} by {BINS}, smoothed by {SMOOTHING:g} cells. {share:.1%} of the samples "
            "are valid, the others are lost. The outermost 0.5 % on each side are not shown.",
        )


def gaze_path(signal: Signal) -> Picture | None:
    """The path of the first stretch with a valid gaze; None without one."""
    columns = eye_columns(signal)
    if columns is None or not signal.segments:
        return None
    start_s = _middle(signal)
    part = signal.between(start_s, start_s + PATH_S)
    values = [v[:, list(columns)] for v in part.values()]
    times = [s.timebase.seconds(np.arange(s.timebase.n_samples)) for s in part.segments]
    path = np.concatenate([np.vstack([v, [[np.nan, np.nan]]]) for v in values]) if values else np.empty((0, 2))
    times_s = np.concatenate([np.append(t, np.nan) for t in times]) if times else np.empty(0)
    step = max(1, len(path) // MOST_POINTS)
    path, times_s = path[::step], times_s[::step]
    if np.isfinite(path).all(axis=1).sum() < 10:
        return None
    with drawing(560, 430) as figure:
        axes = figure.add_subplot()
        line = _coloured_line(axes, path, times_s)
        bar = figure.colorbar(line, ax=axes, shrink=0.8, label="session time (s)")
        bar.outline.set_visible(False)
        across, along = _frame(path[np.isfinite(path).all(axis=1)])
        axes.set_xlim(*across)
        axes.set_ylim(*along)
        axes.set_aspect("equal")
        _position_axes(axes, signal)
        return picture(
            figure,
            title=f"Path of {visible(signal.name, 60)}",
            alt=f"Path over {PATH_S:.0f} s from {start_s:.1f} s on, coloured by time.",
            caption=f"{PATH_S:.0f} s from the middle of the recording; early is violet, late is orange.",
        )


def main_sequence(session: Session) -> Picture | None:
    """Peak velocity over amplitude of the session's saccades (Bahill, Clark and Stark 1975); None without a table."""
    found = _saccades(session)
    if found is None:
        return None
    amplitude, velocity, n_all, unit = found
    with drawing(560, 380) as figure:
        axes = figure.add_subplot()
        axes.scatter(amplitude, velocity, s=12, color=ORANGE, alpha=0.6, linewidths=0, rasterized=True)
        axes.set(xscale="log", yscale="log", xlabel=f"amplitude ({unit})", ylabel=f"peak velocity ({unit}/s)")
        for axis in (axes.xaxis, axes.yaxis):
            log_axis(axis, subs=(1, 2, 5))
        axes.grid()
        return picture(
            figure,
            title="Main sequence",
            alt=f"Peak velocity over amplitude of {len(amplitude)} saccades, both on logarithmic axes.",
            caption=f"{n_all:,} saccades. Healthy saccades lie along one rising band; points far above it are often "
            "blinks or losses of the pupil.",
        )


def _saccades(session: Session) -> tuple[FloatArray, FloatArray, int, str] | None:
    """Amplitudes, peak velocities, how many there were and in which unit, of the first saccades that have both."""
    for stream in session.streams:
        if not isinstance(stream, Intervals) or not _is_saccades(stream):
            continue
        unit = next((name.removeprefix(AMPLITUDE) for name in stream.table if name.startswith(AMPLITUDE)), "")
        amplitude, velocity = _column(stream, AMPLITUDE + unit), _column(stream, f"{PEAK_VELOCITY}{unit}_s")
        if not amplitude.size or not velocity.size:
            continue
        usable = np.flatnonzero((amplitude > 0) & (velocity > 0))
        if usable.size >= 3:
            kept = usable[:: max(1, -(-usable.size // MOST_SACCADES))]
            return amplitude[kept], velocity[kept], int(usable.size), unit
    return None


def _is_saccades(stream: Intervals) -> bool:
    return "saccade" in stream.name.casefold() or any("saccade" in label.casefold() for label in stream.labels[:50])


def _column(stream: Intervals, name: str) -> FloatArray:
    """A column of numbers, NaN where a value is none; empty where it is not there."""
    values = stream.table.get(name, ())
    numeric = (int, float, np.integer, np.floating)
    return np.array([float(v) if isinstance(v, numeric) else np.nan for v in values], dtype=np.float64)


def _sampled(signal: Signal, columns: tuple[int, int]) -> FloatArray:
    """Valid positions from pieces spread over the recording, shape (T, 2)."""
    found = []
    for segment in signal.segments:
        n_samples = segment.timebase.n_samples
        wanted = max(1, MOST_LOOKED_AT * n_samples // max(signal.n_samples, 1))
        length = min(n_samples, max(1, wanted // 20))
        for first in np.linspace(0, n_samples - length, 20).astype(int) if n_samples > wanted else [0]:
            stop = int(first) + (length if n_samples > wanted else n_samples)
            found.append(read_values(signal, segment, slice(int(first), stop))[:, list(columns)])
    values = np.concatenate(found) if found else np.empty((0, 2))
    return values[np.isfinite(values).all(axis=1)]


def _frame(xy: FloatArray) -> list[tuple[float, float]]:
    """What to show of positions (T, 2): nearly all of them, and no side shorter than half of the other."""
    sides = [np.percentile(xy[:, axis], [0.5, 99.5]) for axis in (0, 1)]
    longest = max(float(np.ptp(side)) for side in sides) or 1.0
    halves = [0.53 * max(float(np.ptp(side)), longest / 2) for side in sides]
    middles = [float(side.mean()) for side in sides]
    return [(middle - half, middle + half) for middle, half in zip(middles, halves, strict=True)]


def _counted(
    signal: Signal, columns: tuple[int, int], ranges: list[tuple[float, float]]
) -> tuple[FloatArray, int, int]:
    """Samples per place, shape (BINS, BINS); how many were valid, and how many there were."""
    counts, n_valid, n_all = np.zeros((BINS, BINS)), 0, 0
    n_chunk = max(1, CHUNK_VALUES // len(signal.channel_names))
    for segment in signal.segments:
        for first in range(0, segment.timebase.n_samples, n_chunk):
            stop = min(first + n_chunk, segment.timebase.n_samples)
            xy = read_values(signal, segment, slice(first, stop))[:, list(columns)]
            valid = xy[np.isfinite(xy).all(axis=1)]
            counts += np.histogram2d(valid[:, 0], valid[:, 1], BINS, ranges)[0]
            n_valid, n_all = n_valid + len(valid), n_all + len(xy)
    return counts, n_valid, n_all


def _smoothed(seconds: FloatArray) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(seconds, SMOOTHING))


def _warmth() -> Any:
    """From nothing over orange to dark red: what was never looked at shows the paper, light or dark."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = [(0.9, 0.6, 0.2, 0.0), (0.87, 0.5, 0.12, 0.85), (0.75, 0.15, 0.1, 1.0)]
    return LinearSegmentedColormap.from_list("warmth", stops)


def _norm(seconds: FloatArray) -> Any:
    """By the square root, so that short looks show beside long ones."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, 0, max(float(seconds.max()), 1e-9))


def _middle(signal: Signal) -> float:
    longest = max(signal.segments, key=lambda segment: segment.timebase.n_samples).timebase
    return max(longest.start_s, (longest.start_s + longest.stop_s - PATH_S) / 2)


def _coloured_line(axes: Any, path: FloatArray, times_s: FloatArray) -> Any:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap

    violet_to_orange = ListedColormap(colormaps["plasma"](np.linspace(0.25, 0.8, 256)))  # its ends vanish on paper
    pieces = np.stack([path[:-1], path[1:]], axis=1)
    whole = np.isfinite(pieces).all(axis=(1, 2))
    line = LineCollection(
        list(pieces[whole]), array=times_s[:-1][whole], cmap=violet_to_orange, linewidths=1.1, rasterized=True
    )
    return axes.add_collection(line)


def _position_axes(axes: Any, signal: Signal) -> None:
    unit = unit_sign(signal.unit)
    axes.set(xlabel=f"horizontal ({unit})", ylabel=f"vertical ({unit})")
    if signal.unit == "px":
        axes.yaxis.set_inverted(True)  # screens count their lines from the top
