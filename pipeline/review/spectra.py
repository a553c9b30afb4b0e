"""The spectrum of every channel.

Shapes: C channels, F frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neuroloom.ingest.envelopes import read_values
from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import BLUE, RED, Picture, drawing, label, log_axis, picture
from neuroloom.pipeline.review.text import count, unit_sign, visible

MOST_WINDOWS, FEWEST_WINDOWS = 60, 8
MOST_VALUES = 1 << 24  # of all windows together, as long as that leaves the fewest
WINDOW_S = 4.0
MOST_WINDOW_VALUES = 1 << 22
MOST_CHANNELS = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Power per frequency and channel, unit²/Hz; NaN for a channel without a whole window of samples."""

    frequencies_hz: FloatArray
    power_FC: FloatArray
    n_windows: int
    window_s: float

    def smoothed(self, n_bins: int = 240) -> Spectrum:
        """Means over bins of equal width on a logarithmic axis, which is how it is drawn."""
        edges = np.geomspace(self.frequencies_hz[0], self.frequencies_hz[-1] * 1.001, n_bins + 1)
        starts = np.unique(np.searchsorted(self.frequencies_hz, edges[:-1]))
        counts = np.diff(np.append(starts, len(self.frequencies_hz)))
        return replace(
            self,
            frequencies_hz=np.add.reduceat(self.frequencies_hz, starts) / counts,
            power_FC=np.add.reduceat(self.power_FC, starts, axis=0) / counts[:, None],
        )


def spectrum(signal: Signal) -> Spectrum | None:
    """Mean periodogram over windows spread evenly over the recording (P. Welch 1967, without overlap).

    None where the signal is not regular or no segment holds a window. At most `MOST_WINDOWS` windows are read, so
    memory and time do not grow with the recording.
    """
    n_channels = len(signal.channel_names)
    n_window = min(int(WINDOW_S * signal.rate_hz), MOST_WINDOW_VALUES // max(n_channels, 1))
    if not signal.is_regular or n_window < 16 or not n_channels:
        return None
    starts = [
        (segment, first)
        for segment in signal.segments
        for first in range(0, segment.timebase.n_samples - n_window + 1, n_window)
    ]
    if not starts:
        return None
    n_wanted = int(np.clip(MOST_VALUES // (n_window * n_channels), FEWEST_WINDOWS, MOST_WINDOWS))
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(n_wanted, len(starts))).round().astype(int))
    taper = np.hanning(n_window)[:, None]
    scale = 2.0 / (signal.rate_hz * float((taper**2).sum()))
    total, count = np.zeros((n_window // 2 + 1, n_channels)), np.zeros(n_channels)
    for index in chosen:
        segment, first = starts[index]
        values_TC = read_values(signal, segment, slice(first, first + n_window))
        power = np.abs(np.fft.rfft((values_TC - values_TC.mean(axis=0)) * taper, axis=0)) ** 2 * scale
        whole = np.isfinite(power).all(axis=0)
        total[:, whole] += power[:, whole]
        count += whole
    with np.errstate(invalid="ignore", divide="ignore"):
        power_FC = total / count
    frequencies_hz = np.arange(n_window // 2 + 1, dtype=np.float64) * (signal.rate_hz / n_window)
    return Spectrum(
        frequencies_hz=frequencies_hz[1:],
        power_FC=power_FC[1:],
        n_windows=len(chosen),
        window_s=n_window / signal.rate_hz,
    )


def spectrum_picture(signal: Signal, found: Spectrum, bad: dict[str, str]) -> Picture:
    """All channels' spectra; bad ones red, with their names at the line's end."""
    names, found = signal.channel_names[:MOST_CHANNELS], found.smoothed()
    with drawing(560, 400) as figure:
        axes = figure.add_subplot()
        axes.set(xscale="log", yscale="log", xlabel="frequency (Hz)")
        axes.set_ylabel(f"power ({unit_sign(signal.unit)}²/Hz)")
        for channel, name in enumerate(names):
            _draw_line(axes, found, channel, name in bad, len(names))
        silent = [name for channel, name in enumerate(names) if not (found.power_FC[:, channel] > 0).any()]
        _limit(axes, found, len(names))
        _name_bad(axes, found, names, bad)
        axes.grid(which="major")
        for axis in (axes.xaxis, axes.yaxis):
            log_axis(axis)
        return picture(
            figure,
            title=f"Spectrum of {visible(signal.name, 60)}",
            alt=_alt(signal, bad, len(names) - len(silent)),
            caption=_caption(signal, found, bad, silent),
        )


def _draw_line(axes: Any, found: Spectrum, channel: int, is_bad: bool, n_channels: int) -> None:
    power = found.power_FC[:, channel]
    if not (power > 0).any():
        return
    colour, width, order = (RED, 1.4, 3) if is_bad else (BLUE, 1.0, 2)
    alpha = 1.0 if is_bad else max(0.25, min(0.85, 8 / n_channels))
    shown = np.where(power > 0, power, np.nan)
    axes.plot(found.frequencies_hz, shown, color=colour, linewidth=width, alpha=alpha, zorder=order, rasterized=True)


def _limit(axes: Any, found: Spectrum, n_channels: int) -> None:
    power = found.power_FC[:, :n_channels]
    positive = power[np.isfinite(power) & (power > 0)]
    if positive.size:
        low, high = np.percentile(positive, [0.5, 100])
        axes.set_ylim(max(low / 3, high * 1e-12), high * 2)
    axes.set_xlim(max(found.frequencies_hz[0], 0.5), found.frequencies_hz[-1])


def _name_bad(axes: Any, found: Spectrum, names: tuple[str, ...], bad: dict[str, str]) -> None:
    """Names bad channels at the right end of their lines, moved apart where they would overlap."""
    low, high = (float(np.log10(side)) for side in axes.get_ylim())
    ends = []
    for channel, name in enumerate(names):
        power = found.power_FC[:, channel]
        if name in bad and np.isfinite(power[-1]) and (power > 0).any():
            tail = float(np.log10(max(np.median(power[-max(4, len(power) // 20) :]), 10.0**low)))
            ends.append(((tail - low) / (high - low), name))
    lowest = 0.0
    for place, name in sorted(ends)[:12]:
        lowest = max(place, lowest)
        axes.annotate(label(name, 14), (1.01, lowest), xycoords="axes fraction", color=RED, va="center", fontsize=8)
        lowest += 0.05


def _alt(signal: Signal, bad: dict[str, str], n_drawn: int) -> str:
    named = ", ".join(label(name) for name in list(bad)[:12]) or "none"
    return f"Power spectra of {n_drawn} channels of {visible(signal.name, 60)}. Bad channels: {named}."


def _caption(signal: Signal, found: Spectrum, bad: dict[str, str], silent: list[str]) -> str:
    words = f"Mean over {count(found.n_windows, 'window')} of {found.window_s:.3g} s spread over the recording."
    if bad:
        words += " Red: channels marked bad."
    if silent:
        named = ", ".join(label(name) for name in silent[:12]) + (" …" if len(silent) > 12 else "")
        words += f" Without a line, since flat or never recorded: {named}."
    if len(signal.channel_names) > MOST_CHANNELS:
        words += f" The first {MOST_CHANNELS} of {len(signal.channel_names)} channels are drawn."
    return words
