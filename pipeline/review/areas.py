"""A topology drawn: areas where they lie, pathways as strong as they weigh, global modules beside the brain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroloom.ingest.timebase import FloatArray
from neuroloom.models.topology import Topology
from neuroloom.pipeline.review.figures import BLUE, GREY, INK, PURPLE, RED, Picture, drawing, label, picture
from neuroloom.pipeline.review.run_folder import Placed
from neuroloom.pipeline.review.run_scores import NETWORK, ScoreRow
from neuroloom.pipeline.review.text import count, number, visible

MOST_PATHWAYS = 600
MOST_NAMES = 40
NAME_ABOVE: dict[str, Any] = {
    "xytext": (0, 10),
    "textcoords": "offset points",
    "ha": "center",
    "fontsize": 8,
    "color": INK,
    "zorder": 5,
}
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
VIEWS = (("from above", 0, 1, (ACROSS, ALONG)), ("from the left", 1, 2, (ALONG, UP)))


def area_scores(rows: Sequence[ScoreRow], metric: str) -> dict[str, float]:
    """Area -> mean score of the network on a metric, over the ports and sessions that have that area."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.metric == metric and row.area and NETWORK in row.values:
            found.setdefault(row.area, []).append(row.values[NETWORK].value)
    return {area: float(np.mean(values)) for area, values in found.items()}


def topology_picture(
    topology: Topology, scores: Mapping[str, float], metric: str, channels: Sequence[Placed] = ()
) -> Picture:
    """Two views of the network; areas coloured by score where there is one, grey where there is none.

    channels: crosses where they lie, joined with the area they sit in; counted in the caption.
    """
    places, are_known = _places(topology)
    with drawing(1120, 520) as figure:
        all_axes = figure.subplots(1, 2)
        shown = None
        for axes, (title, across, up, names) in zip(all_axes, VIEWS, strict=True):
            flat = places[:, [across, up]]
            _draw_pathways(axes, topology, flat)
            shown = _draw_areas(axes, topology, flat, scores)
            if are_known:
                _draw_outline(axes, title, places)
                _draw_channels(axes, topology, flat, channels, (across, up))
            axes.set_title(title if are_known else f"{title} (places not known: on a circle)")
            axes.set(xlabel=names[0], ylabel=names[1], aspect="equal")
            axes.margins(0.12)
        _draw_global_modules(all_axes[0], topology, places[:, :2], are_known)
        all_axes[1].set_xlim(*reversed(all_axes[1].get_xlim()))  # seen from the left, the front is on the left
        if shown is not None:
            bar = figure.colorbar(shown, ax=all_axes, shrink=0.6, label=visible(metric, 40))
            bar.outline.set_visible(False)
        caption = _caption(topology, scores) + _channels_told(channels)
        return picture(figure, title="Network", alt=_alt(topology, scores), caption=caption)


def _places(topology: Topology) -> tuple[FloatArray, bool]:
    """Area centres in mm, shape (A, 3); on a circle where any is not known."""
    known = [area.position_mm for area in topology.areas if area.position_mm is not None]
    if len(known) == len(topology.areas):
        return np.array(known, dtype=np.float64), True
    angles = np.linspace(0, 2 * np.pi, len(topology.areas), endpoint=False)
    return 60 * np.stack([np.sin(angles), np.cos(angles), np.cos(angles)], axis=1), False


def _draw_outline(axes: Any, view: str, places: FloatArray) -> None:
    """The outline of a brain of usual size, to see what lies where; none where an area lies far outside of it."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline
    from scipy.interpolate import splev, splprep

    if (np.abs(places - CENTRE_MM) > REACH_MM).any():
        return
    points = np.array([*OUTLINES_MM[view], OUTLINES_MM[view][0]], dtype=np.float64)
    curve, _ = splprep(points.T, s=0, per=True)
    line = np.stack(splev(np.linspace(0, 1, 200), curve), axis=1)
    axes.add_patch(PathPatch(Outline(line), facecolor=GREY, edgecolor=GREY, alpha=0.16, linewidth=1.2, zorder=0))
    axes.autoscale_view()


def _draw_pathways(axes: Any, topology: Topology, flat: FloatArray) -> None:
    from matplotlib.collections import LineCollection

    index = {name: i for i, name in enumerate(topology.area_names)}
    strongest = sorted(topology.pathways, key=lambda p: p.weight, reverse=True)[:MOST_PATHWAYS]
    if not strongest:
        return
    ends = [(flat[index[p.source]], flat[index[p.target]]) for p in reversed(strongest)]
    weight = np.sqrt(np.array([p.weight for p in reversed(strongest)]) / strongest[0].weight)
    colours = [{1: BLUE, -1: RED}.get(p.sign, GREY) for p in reversed(strongest)]
    lines = LineCollection(ends, colors=colours, linewidths=0.3 + 2.2 * weight, alpha=list(0.12 + 0.5 * weight))
    lines.set(rasterized=True, zorder=1)
    axes.add_collection(lines)


def _draw_areas(axes: Any, topology: Topology, flat: FloatArray, scores: Mapping[str, float]) -> Any:
    """The areas as discs, larger with more units; returns what a colour bar needs, or None without scores."""
    sizes = np.array([max(area.size, 0) for area in topology.areas], dtype=np.float64)
    area_px = 60 + 160 * sizes / max(sizes.max(), 1.0)
    level = np.array([scores.get(name, np.nan) for name in topology.area_names])
    has_score = np.isfinite(level)
    plain = ~has_score
    axes.scatter(*flat[plain].T, s=area_px[plain], color=GREY, edgecolors=INK, linewidths=0.7, zorder=3)
    shown = None
    if has_score.any():
        shown = axes.scatter(
            *flat[has_score].T,
            s=area_px[has_score],
            c=level[has_score],
            cmap="viridis",
            edgecolors=INK,
            linewidths=0.7,
            zorder=4,
        )
    if len(topology.areas) <= MOST_NAMES:
        for name, place in zip(topology.area_names, flat, strict=True):
            axes.annotate(label(name, 16), place, **NAME_ABOVE)
    return shown


def _draw_channels(
    axes: Any, topology: Topology, flat: FloatArray, channels: Sequence[Placed], view: tuple[int, int]
) -> None:
    from matplotlib.collections import LineCollection

    centres = dict(zip(topology.area_names, flat, strict=True))
    placed = [(c.position_mm, centres[c.area]) for c in channels if c.position_mm is not None and c.area in centres]
    if not placed:
        return
    places = np.array([[place[view[0]], place[view[1]]] for place, _ in placed])
    lines = [(place, centre) for place, (_, centre) in zip(places, placed, strict=True)]
    axes.add_collection(LineCollection(lines, colors=INK, linewidths=0.4, alpha=0.35, zorder=2))
    axes.scatter(*places.T, s=14, marker="x", color=INK, linewidths=0.7, alpha=0.8, zorder=6)


def _channels_told(channels: Sequence[Placed]) -> str:
    """How many channels sit where, and how that was decided, in a sentence; "" without channels."""
    if not channels:
        return ""
    ways = Counter(channel.how for channel in channels)
    where = Counter(channel.area for channel in channels).most_common(MOST_NAMES)
    drawn = sum(channel.position_mm is not None for channel in channels)
    words = f" {count(len(channels), 'channel')}: " + ", ".join(f"{n} {visible(how, 16)}" for how, n in ways.items())
    words += "; " + ", ".join(f"{n} in {label(area, 16)}" for area, n in where) + "."
    return words + (f" Crosses: the {drawn} whose place is known, joined with their area." if drawn else "")


def _draw_global_modules(axes: Any, topology: Topology, flat: FloatArray, is_known: bool) -> None:
    """In a row in front of the brain, each joined by faint lines with its areas."""
    modules = topology.global_modules
    if not modules:
        return
    left, right = float(flat[:, 0].min()), float(flat[:, 0].max())
    reach = max(right - left, float(np.ptp(flat[:, 1])), 1.0)
    y = max(float(flat[:, 1].max()) + 0.3 * reach, FRONT_MM if is_known else -np.inf)
    middle = (left + right) / 2
    xs = middle + reach * np.linspace(-0.4, 0.4, len(modules)) if len(modules) > 1 else np.array([middle])
    index = {name: i for i, name in enumerate(topology.area_names)}
    for module, x in zip(modules, xs, strict=True):
        for name in module.areas or topology.area_names:
            ends = [x, flat[index[name], 0]], [y, flat[index[name], 1]]
            axes.plot(*ends, color=PURPLE, alpha=0.15, linewidth=0.8, zorder=0)
        axes.scatter([x], [y], s=130, marker="D", color=PURPLE, edgecolors=INK, linewidths=0.7, zorder=4)
        words = f"{label(module.name, 18)}\n{number(module.time_scale_s)} s"
        axes.annotate(words, (x, y), **NAME_ABOVE)


def _alt(topology: Topology, scores: Mapping[str, float]) -> str:
    words = (
        f"Network of {count(len(topology.areas), 'area')}, {count(len(topology.pathways), 'pathway')} and "
        f"{count(len(topology.global_modules), 'global module')}, seen from above and from the left."
    )
    if scores:
        best, worst = max(scores, key=lambda a: scores[a]), min(scores, key=lambda a: scores[a])
        words += f" Highest score in {label(best)} ({number(scores[best])}),"
        words += f" lowest in {label(worst)} ({number(scores[worst])})."
    return words


def _caption(topology: Topology, scores: Mapping[str, float]) -> str:
    words = "Discs: areas, larger with more units"
    words += ", coloured by score; grey ones have none." if scores else "."
    words += " The outline is schematic."
    words += " Lines: pathways, stronger with more weight; blue excites, red inhibits, grey is left open."
    if len(topology.pathways) > MOST_PATHWAYS:
        words += f" The {MOST_PATHWAYS} strongest of {len(topology.pathways):,} pathways are drawn."
    if topology.global_modules:
        words += " Diamonds: global modules with their time scale, drawn in front of the brain."
    return words
