"""Where on the head each rhythm is strong, for channels named after places of the 10-20 system.

Shapes: C channels with a known place, B bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroloom.ingest.eeg_positions import plain_name
from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import INK, Picture, drawing, label, picture
from neuroloom.pipeline.review.spectra import Spectrum
from neuroloom.pipeline.review.text import listed, unit_sign, visible

BANDS_HZ = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 45.0)}
FEWEST = 6
GRID = 120


def head_maps(signal: Signal, found: Spectrum, bad: dict[str, str]) -> Picture | None:
    """Power over the head, a map per band; None where fewer than `FEWEST` good channels have a known place."""
    names, places = signal.channel_names, places_of(signal.channel_names)
    levels = {band: _band_power(found, *edges_hz) for band, edges_hz in BANDS_HZ.items()}
    good = [i for i, name in enumerate(names) if name in places and name not in bad and _is_known(levels, i)]
    shown = {band: level_C[good] for band, level_C in levels.items() if level_C.size}
    if len(good) < FEWEST or not shown:
        return None
    flat = np.array([places[names[i]] for i in good])
    over_head = _interpolated(flat, np.stack(list(shown.values()), axis=1))
    strongest = {band: label(names[good[int(np.argmax(level_C))]]) for band, level_C in shown.items()}
    with drawing(560, 430) as figure:
        grid = figure.subplots(2, 3).ravel()
        for axes, band, level in zip(grid, shown, over_head, strict=False):
            image = _draw(axes, flat, level, shown[band])
            axes.set_title("{} {:g}–{:g} Hz".format(band, *BANDS_HZ[band]), loc="center")
            bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.7, aspect=14, pad=0.02)
            bar.outline.set_visible(False)
            bar.ax.locator_params(nbins=3)
        for axes in grid[len(shown) :]:
            axes.axis("off")
        unit = unit_sign(signal.unit)
        return picture(
            figure,
            title=f"Head maps of {visible(signal.name, 60)}",
            alt=f"Power over the head from {len(good)} channels, strongest "
            + ", ".join(f"in {band} at {name}" for band, name in strongest.items())
            + ".",
            caption=f"Power in dB re 1 {unit}²/Hz at the standard places of {len(good)} channels, each band on a scale "
            "of its own, seen from above, nose up; between the dots it is interpolated. Bad channels are left out. "
            f"Strongest: {listed([f'{band} at {name}' for band, name in strongest.items()])}.",
        )


def _band_power(found: Spectrum, low_hz: float, high_hz: float) -> FloatArray:
    """Mean power of every channel in a band, (C,); empty where the spectrum does not reach over it."""
    in_band = (found.frequencies_hz >= low_hz) & (found.frequencies_hz <= high_hz)
    if not in_band.any() or found.frequencies_hz[-1] < high_hz:
        return np.empty(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        level_C: FloatArray = 10 * np.log10(found.power_FC[in_band].mean(axis=0))
    return level_C


def _is_known(levels: dict[str, FloatArray], channel: int) -> bool:
    return all(np.isfinite(level_C[channel]) for level_C in levels.values() if level_C.size)


def places_of(names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Channel -> place on a flat head of radius 1, nose up: angle from the vertex over a right angle.

    Names are compared without regard to case and to "EEG " before or "-REF" after them; repeated places are left out.
    """
    import mne

    ch_pos = mne.channels.make_standard_montage("easycap-M1").get_positions()["ch_pos"]
    known = {name.casefold(): np.asarray(position) for name, position in ch_pos.items()}
    plain = [plain_name(name) for name in names]
    return {
        name: _flat(known[key])
        for name, key in zip(names, plain, strict=True)
        if key in known and plain.count(key) == 1
    }


def _flat(position: FloatArray) -> tuple[float, float]:
    x, y, z = position / np.linalg.norm(position)
    radius = np.arccos(np.clip(z, -1, 1)) / (np.pi / 2)
    across = np.hypot(x, y) or 1.0
    return float(radius * x / across), float(radius * y / across)


def _interpolated(places: FloatArray, levels_CB: FloatArray) -> FloatArray:
    """Levels of each of B bands over the head, (B, GRID, GRID)."""
    from scipy.interpolate import RBFInterpolator

    edge = np.linspace(-1.1, 1.1, GRID)
    points = np.stack(np.meshgrid(edge, edge), axis=-1).reshape(-1, 2)
    smooth: FloatArray = RBFInterpolator(places, levels_CB, kernel="linear", smoothing=1e-3)(points)
    return smooth.T.reshape(-1, GRID, GRID)


def _draw(axes: Any, places: FloatArray, smooth: FloatArray, level: FloatArray) -> Any:
    from matplotlib.patches import Circle

    bounds = {"vmin": float(level.min()), "vmax": float(level.max()) + 1e-9}
    image = axes.imshow(
        smooth, extent=(-1.1, 1.1, -1.1, 1.1), origin="lower", cmap="viridis", interpolation="bilinear", **bounds
    )
    image.set_clip_path(Circle((0, 0), 1.05, transform=axes.transData))
    axes.add_patch(Circle((0, 0), 1.05, facecolor="none", edgecolor=INK, linewidth=1.3))
    axes.plot([-0.13, 0, 0.13], [1.042, 1.2, 1.042], color=INK, linewidth=1.3, solid_joinstyle="round")
    for side in (-1, 1):
        axes.plot([side * x for x in (1.04, 1.12, 1.12, 1.04)], [0.14, 0.12, -0.14, -0.18], color=INK, linewidth=1.3)
    axes.plot(*places.T, "o", color=INK, markersize=3, markeredgewidth=0)
    axes.set(xlim=(-1.25, 1.25), ylim=(-1.15, 1.3), aspect="equal")
    axes.axis("off")
    return image
