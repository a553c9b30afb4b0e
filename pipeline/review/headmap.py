"""Where on the head a rhythm is strong, for channels named after places of the 10-20 system."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroloom.ingest.eeg_positions import plain_name
from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import INK, Picture, drawing, label, picture
from neuroloom.pipeline.review.spectra import Spectrum
from neuroloom.pipeline.review.text import unit_sign, visible

ALPHA_HZ = (8.0, 13.0)
FEWEST = 6
GRID = 120


def head_map(signal: Signal, found: Spectrum, bad: dict[str, str]) -> Picture | None:
    """Alpha power over the head; None where fewer than `FEWEST` good channels have a known place."""
    in_band = (found.frequencies_hz >= ALPHA_HZ[0]) & (found.frequencies_hz <= ALPHA_HZ[1])
    places = places_of(signal.channel_names)
    if not in_band.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        level_C = 10 * np.log10(found.power_FC[in_band].mean(axis=0))
    names = signal.channel_names
    good = [i for i, name in enumerate(names) if name in places and name not in bad and np.isfinite(level_C[i])]
    if len(good) < FEWEST:
        return None
    with drawing(560, 400) as figure:
        axes = figure.add_subplot()
        image = _draw(axes, np.array([places[names[i]] for i in good]), level_C[good])
        bar = figure.colorbar(image, ax=axes, shrink=0.75, label=f"alpha power (dB re 1 {unit_sign(signal.unit)}²/Hz)")
        bar.outline.set_visible(False)
        strongest = names[good[int(np.argmax(level_C[good]))]]
        return picture(
            figure,
            title=f"Head map of {visible(signal.name, 60)}",
            alt=f"Alpha power over the head from {len(good)} channels, strongest at {label(strongest)}.",
            caption=f"Power from {ALPHA_HZ[0]:g} to {ALPHA_HZ[1]:g} Hz at the standard places of {len(good)} channels, "
            "seen from above, nose up; between the dots it is interpolated. Bad channels are left out.",
        )


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


def _draw(axes: Any, places: FloatArray, level: FloatArray) -> Any:
    from matplotlib.patches import Circle
    from scipy.interpolate import RBFInterpolator

    edge = np.linspace(-1.1, 1.1, GRID)
    points = np.stack(np.meshgrid(edge, edge), axis=-1).reshape(-1, 2)
    smooth = RBFInterpolator(places, level, kernel="linear", smoothing=1e-3)(points).reshape(GRID, GRID)
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
