"""A topology drawn: areas where they lie, pathways as strong as they weigh, global modules beside the brain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroloom.ingest.timebase import FloatArray
from neuroloom.models.drawing import MOST_NAMES, MOST_PATHWAYS, VIEWS, are_in_head, draw_views, places_of
from neuroloom.models.topology import Topology
from neuroloom.pipeline.review.figures import INK, Picture, drawing, label, picture
from neuroloom.pipeline.review.run_folder import Placed
from neuroloom.pipeline.review.run_scores import NETWORK, ScoreRow
from neuroloom.pipeline.review.text import count, number, visible


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
    places, are_known = places_of(topology)
    with drawing(1120, 520) as figure:
        all_axes = figure.subplots(1, 2)
        shown = draw_views(all_axes, topology, scores, lambda name: label(name, 16))
        for axes, (_, view, _) in zip(all_axes, VIEWS, strict=True):
            if are_known:
                _draw_channels(axes, topology, places[:, view], channels, view)
        if shown is not None:
            bar = figure.colorbar(shown, ax=all_axes, shrink=0.6, label=visible(metric, 40))
            bar.outline.set_visible(False)
        caption = _caption(topology, scores) + _channels_told(channels)
        return picture(figure, title="Network", alt=_alt(topology, scores), caption=caption)


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
    words += " The outline is schematic." if are_in_head(topology) else ""
    words += " Lines: pathways, stronger with more weight; blue excites, red inhibits, grey is left open."
    if len(topology.pathways) > MOST_PATHWAYS:
        words += f" The {MOST_PATHWAYS} strongest of {len(topology.pathways):,} pathways are drawn."
    if topology.global_modules:
        words += " Diamonds: global modules with their time scale, drawn in front of the brain."
    return words
