"""A topology as a notebook shows it: a row per area, with everything that a file could have named escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .topology import Area, Topology

MOST_ROWS = 100
HEAD = ("area", "centre (mm)", "units", "from", "to", "inputs", "outputs")


def topology_html(topology: Topology) -> str:
    """A table of the areas with what leads to them and from them, of the first `MOST_ROWS`; then the global modules."""
    rows = "".join(_row(_area_cells(topology, area)) for area in topology.areas[:MOST_ROWS])
    if len(topology.areas) > MOST_ROWS:
        rows += _row([f"and {len(topology.areas) - MOST_ROWS} more"])
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    caption = f"<caption>{escape(repr(topology))}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _area_cells(topology: Topology, area: Area) -> list[str]:
    place = "" if area.position_mm is None else ", ".join(f"{part:g}" for part in area.position_mm)
    sources = [pathway.source for pathway in topology.pathways if pathway.target == area.name]
    targets = [pathway.target for pathway in topology.pathways if pathway.source == area.name]
    lists = (_few(names) for names in (sources, targets, area.inputs, area.outputs))
    return [area.name, place, str(area.size or ""), *lists]


def _few(names: Iterable[str], most: int = 6) -> str:
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
