"""The spectrum of every channel, and where on the head a rhythm is strong.

Shapes: C channels, F frequencies.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.envelopes import read_values
from neuroloom.pipeline.review.figures import BLUE, INK, RED, Picture, drawing, label, picture
from neuroloom.pipeline.review.text import visible
from neuroloom.pipeline.review.traces import unit_sign

MOST_WINDOWS = 60
WINDOW_S = 4.0
MOST_WINDOW_VALUES = 1 << 22
MOST_CHANNELS = 128
ALPHA_HZ = (8.0, 13.0)
FEWEST_ON_HEAD = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Power per frequency and channel, unit²/Hz; NaN for a channel without a whole window of samples."""

    frequencies_hz: FloatArray
    power_FC: FloatArray
    n_windows: int


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
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(MOST_WINDOWS, len(starts))).round().astype(int))
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
    return Spectrum(frequencies_hz=frequencies_hz[1:], power_FC=power_FC[1:], n_windows=len(chosen))


def spectrum_picture(signal: Signal, found: Spectrum, bad: dict[str, str]) -> Picture:
    """All channels' spectra; bad ones red, with their names at the line's end."""
    names = signal.channel_names[:MOST_CHANNELS]
    with drawing(720, 380) as figure:
        axes = figure.add_subplot()
        axes.set(xscale="log", yscale="log", xlabel="frequency (Hz)")
        axes.set_ylabel(f"power ({unit_sign(signal.unit)}²/Hz)")
        for channel, name in enumerate(names):
            _draw_line(axes, found, channel, name in bad, len(names))
        drawn = [name for channel, name in enumerate(names) if (found.power_FC[:, channel] > 0).any()]
        _limit(axes, found, len(names))
        _name_bad(axes, found, names, bad)
        axes.grid(which="major")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        return picture(
            figure,
            title=f"Spectrum of {visible(signal.name, 60)}",
            alt=_alt(signal, bad, len(drawn)),
            caption=_caption(signal, found, bad, len(names) - len(drawn)),
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


def _caption(signal: Signal, found: Spectrum, bad: dict[str, str], n_empty: int) -> str:
    words = f"Mean over {found.n_windows} windows spread over the recording."
    if bad:
        words += " Red: channels marked bad."
    if n_empty:
        words += f" {n_empty} of the channels have no power at all (flat or never recorded) and no line."
    if len(signal.channel_names) > MOST_CHANNELS:
        words += f" The first {MOST_CHANNELS} of {len(signal.channel_names)} channels are drawn."
    return words


def topomap_picture(signal: Signal, found: Spectrum, bad: dict[str, str]) -> Picture | None:
    """Alpha power over the head, for channels with a name of the 10-20 system or its 10-5 extension; None for few."""
    placed = _placed(signal.channel_names)
    in_band = (found.frequencies_hz >= ALPHA_HZ[0]) & (found.frequencies_hz <= ALPHA_HZ[1])
    if not in_band.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        level_C = 10 * np.log10(found.power_FC[in_band].mean(axis=0))
    good = [
        i for i, n in enumerate(signal.channel_names) if n in placed and n not in bad and np.isfinite(level_C[i])
    ]  # fmt: skip
    if len(good) < FEWEST_ON_HEAD:
        return None
    names = [signal.channel_names[i] for i in good]
    with drawing(420, 380) as figure:
        axes = figure.add_subplot()
        image = _draw_head(axes, level_C[good], names)
        bar = figure.colorbar(image, ax=axes, shrink=0.7, label=f"alpha power (dB re 1 {unit_sign(signal.unit)}²/Hz)")
        bar.outline.set_visible(False)
        strongest = names[int(np.argmax(level_C[good]))]
        return picture(
            figure,
            title=f"Head map of {visible(signal.name, 60)}",
            alt=f"Alpha power over the head from {len(names)} channels, strongest at {label(strongest)}.",
            caption=f"Power from {ALPHA_HZ[0]:g} to {ALPHA_HZ[1]:g} Hz at standard 10-20 places, seen from above, nose "
            "up; between electrodes it is interpolated. Bad channels are left out.",
        )


def _placed(names: tuple[str, ...]) -> frozenset[str]:
    """The channels whose name is a place on the head, compared without regard to case; none where names repeat."""
    known = {name.casefold() for name in _montage().ch_names}
    folded = [name.casefold() for name in names]
    return frozenset(name for name in names if name.casefold() in known and folded.count(name.casefold()) == 1)


def _montage() -> Any:
    """Places of the 10-5 system, under the name this version of MNE has for it."""
    import mne

    renamed = "colin27_1005"  # since MNE 1.13, which warns about the old name
    return mne.channels.make_standard_montage(
        renamed if renamed in mne.channels.get_builtin_montages() else "standard_1005"
    )


def _draw_head(axes: Any, level: FloatArray, names: list[str]) -> Any:
    import mne

    info = mne.create_info(names, 1.0, "eeg", verbose="error")
    info.set_montage(_montage(), match_case=False, verbose="error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # names made short or alike by MNE: they are not drawn
        image, _ = mne.viz.plot_topomap(level, info, axes=axes, show=False, cmap="viridis", contours=4, sensors=False)
    image.set_rasterized(True)
    for line in axes.lines:
        line.set_color(INK)
        line.set_linewidth(1.2)
    return image
