"""A topology drawn with matplotlib: areas where they lie, pathways as strong as they weigh, global modules in front.

    plot_topology(topology, scores)          the figure that `Topology.plot` gives
    draw_topology(axes, topology, ...)       one view of it on axes of your own

matplotlib is imported here, and this file by whoever draws: networks do without.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from .topology import Topology

MOST_PATHWAYS = 600
MOST_NAMES = 40
EXCITES, INHIBITS, OPEN, MODULE = "#3f86c4", "#d2483f", "#8a929b", "#8a6fc9"
ACROSS, ALONG, UP = "left – right (mm)", "back – front (mm)", "down – up (mm)"
# Schematic, of the size and place a brain has in MNI space, mm.
OUTLINES_MM = {
    "from above": (
        (0, 68), (24, 66), (48, 45), (63, 10), (69, -25), (65, -60), (48, -90), (22, -104), (0, -102),
        (-22, -104), (-48, -90), (-65, -60), (-69, -25), (-63, 10), (-48, 45), (-24, 66),
    ),
    "from the left": (
        (68, 2), (66, 26), (50, 52), (20, 72), (-15, 79), (-50, 73), (-80, 52), (-99, 20), (-104, -5), (-92, -22),
        (-78, -32), (-62, -50), (-38, -52), (-18, -38), (2, -42), (25, -38), (38, -26), (48, -19), (62, -14),
    ),
}  # fmt: skip
FRONT_MM = 88.0  # where global modules are drawn at least, in front of the outline
CENTRE_MM, REACH_MM = np.array([0.0, -18.0, 14.0]), np.array([75.0, 95.0, 72.0])
VIEWS = (("from above", (0, 1), (ACROSS, ALONG)), ("from the left", (1, 2), (ALONG, UP)))

Places = NDArray[np.float64]
Label = Callable[[str], str]


class NotebookFigure(Figure):
    """A matplotlib figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
        return buffer.getvalue()


def plot_topology(topology: Topology, scores: Mapping[str, float] | None = None, *, label: str = "") -> NotebookFigure:
    """Two views of the network. scores: area -> a number that colours it; label: what the number is."""
    figure = NotebookFigure(figsize=(10.0, 4.6), layout="constrained")
    all_axes = figure.subplots(1, 2)
    shown = draw_views(all_axes, topology, scores or {})
    if shown is not None:
        figure.colorbar(shown, ax=all_axes, shrink=0.6, label=label)
    return figure


def draw_views(
    all_axes: Any, topology: Topology, scores: Mapping[str, float], label: Label = lambda name: name[:16]
) -> Any:
    """From above and from the left, on two axes; returns what a colour bar needs, or None without scores."""
    places, are_known = places_of(topology)
    shown = None
    for axes, (title, view, names) in zip(all_axes, VIEWS, strict=True):
        if are_in_head(topology):
            _draw_outline(axes, title)
        shown = draw_topology(axes, topology, places[:, view], scores, label)
        axes.set_title(title if are_known else f"{title} (places not known: on a circle)")
        axes.set(xlabel=names[0], ylabel=names[1])
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.12)
    draw_global_modules(all_axes[0], topology, places[:, :2], label)
    all_axes[1].invert_xaxis()  # seen from the left, the front is on the left
    return shown


def places_of(topology: Topology) -> tuple[Places, bool]:
    """Area centres in mm, shape (A, 3), and True; on a circle, and False, where any is not known."""
    known = [area.position_mm for area in topology.areas if area.position_mm is not None]
    if len(known) == len(topology.areas):
        return np.array(known, dtype=np.float64), True
    angles = np.linspace(0, 2 * np.pi, len(topology.areas), endpoint=False)
    return 60 * np.stack([np.sin(angles), np.cos(angles), np.cos(angles)], axis=1), False


def are_in_head(topology: Topology) -> bool:
    """Whether all areas have places, and places that a human brain has: then its outline is drawn around them."""
    places, are_known = places_of(topology)
    return are_known and bool((np.abs(places - CENTRE_MM) <= REACH_MM).all())


def _draw_outline(axes: Any, view: str) -> None:
    from scipy.interpolate import splev, splprep

    points = np.array([*OUTLINES_MM[view], OUTLINES_MM[view][0]], dtype=np.float64)
    curve, _ = splprep(points.T, s=0, per=True)
    line = np.stack(splev(np.linspace(0, 1, 200), curve), axis=1)
    axes.add_patch(PathPatch(Path(line), facecolor=OPEN, edgecolor=OPEN, alpha=0.16, linewidth=1.2, zorder=0))


def draw_topology(axes: Any, topology: Topology, flat: Places, scores: Mapping[str, float], label: Label) -> Any:
    """Pathways and areas at these places, shape (A, 2); returns what a colour bar needs, or None without scores."""
    _draw_pathways(axes, topology, flat)
    return _draw_areas(axes, topology, flat, scores, label)


def _draw_pathways(axes: Any, topology: Topology, flat: Places) -> None:
    index = {name: i for i, name in enumerate(topology.area_names)}
    strongest = sorted(topology.pathways, key=lambda p: p.weight, reverse=True)[:MOST_PATHWAYS]
    if not strongest:
        return
    ends = [(flat[index[p.source]], flat[index[p.target]]) for p in reversed(strongest)]
    weight = np.sqrt(np.array([p.weight for p in reversed(strongest)]) / strongest[0].weight)
    colours = [{1: EXCITES, -1: INHIBITS}.get(p.sign, OPEN) for p in reversed(strongest)]
    lines = LineCollection(ends, colors=colours, linewidths=0.3 + 2.2 * weight, alpha=list(0.12 + 0.5 * weight))
    lines.set(rasterized=True, zorder=1)
    axes.add_collection(lines)


def _draw_areas(axes: Any, topology: Topology, flat: Places, scores: Mapping[str, float], label: Label) -> Any:
    """The areas as discs, larger with more units."""
    sizes = np.array([max(area.size, 0) for area in topology.areas], dtype=np.float64)
    area_px = 60 + 160 * sizes / max(sizes.max(), 1.0)
    level = np.array([scores.get(name, np.nan) for name in topology.area_names])
    has_score = np.isfinite(level)
    outline: dict[str, Any] = {"edgecolors": mpl.rcParams["text.color"], "linewidths": 0.7}
    axes.scatter(*flat[~has_score].T, s=area_px[~has_score], color=OPEN, zorder=3, **outline)
    shown = None
    if has_score.any():
        coloured = {"c": level[has_score], "cmap": "viridis", "zorder": 4}
        shown = axes.scatter(*flat[has_score].T, s=area_px[has_score], **coloured, **outline)
    if len(topology.areas) <= MOST_NAMES:
        for name, place in zip(topology.area_names, flat, strict=True):
            _name(axes, label(name), place)
    return shown


def draw_global_modules(axes: Any, topology: Topology, flat: Places, label: Label) -> None:
    """In a row in front of the brain, each joined by faint lines with its areas."""
    modules = topology.global_modules
    if not modules:
        return
    left, right = float(flat[:, 0].min()), float(flat[:, 0].max())
    reach = max(right - left, float(np.ptp(flat[:, 1])), 1.0)
    y = max(float(flat[:, 1].max()) + 0.3 * reach, FRONT_MM if are_in_head(topology) else -np.inf)
    middle = (left + right) / 2
    xs = middle + reach * np.linspace(-0.4, 0.4, len(modules)) if len(modules) > 1 else np.array([middle])
    index = {name: i for i, name in enumerate(topology.area_names)}
    for module, x in zip(modules, xs, strict=True):
        for name in module.areas or topology.area_names:
            ends = [x, flat[index[name], 0]], [y, flat[index[name], 1]]
            axes.plot(*ends, color=MODULE, alpha=0.15, linewidth=0.8, zorder=0)
        outline = {"edgecolors": mpl.rcParams["text.color"], "linewidths": 0.7}
        axes.scatter([x], [y], s=130, marker="D", color=MODULE, zorder=4, **outline)
        _name(axes, f"{label(module.name)}\n{module.time_scale_s:g} s", (x, y))


def _name(axes: Any, words: str, place: Any) -> None:
    above: dict[str, Any] = {"xytext": (0, 10), "textcoords": "offset points", "ha": "center", "parse_math": False}
    axes.annotate(words, place, fontsize=8, zorder=5, **above)
