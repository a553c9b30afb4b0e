"""Writes the bundled topologies: `python -m neuroloom.models.make_topologies FOLDER`.

"desikan68": the 34 cortical regions per hemisphere named by Desikan et al. (2006). The names are theirs. Everything
else is SYNTHETIC, made here by rule and measured on nobody: places are rough grid coordinates chosen by hand from
where the regions lie in a textbook drawing, weights fall off as exp(-distance / 30 mm), each region is joined with its
twin across the midline, and lengths are 1.2 times the straight distance (1.5 across the midline).

"four-areas": V1, PPC, FEF and M1 with feedforward, lateral and feedback pathways and a thalamus; made by hand.
"""

from __future__ import annotations

import sys
from itertools import combinations
from math import dist, exp
from pathlib import Path

from .topology import Area, GlobalModule, Pathway, Position, Topology

GRID_MM = 5.0
SCALE_MM = 30.0
REACH_MM = 42.0
TWIN_WEIGHT = 0.4

# Region: steps of GRID_MM to the side of the midline, to the front, upwards.
PLACES = {
    "bankssts": (11, -9, 2), "caudalanteriorcingulate": (1, 4, 5), "caudalmiddlefrontal": (8, 2, 10),
    "cuneus": (2, -16, 4), "entorhinal": (5, -2, -6), "fusiform": (7, -9, -4), "inferiorparietal": (9, -13, 6),
    "inferiortemporal": (10, -6, -5), "isthmuscingulate": (2, -9, 3), "lateraloccipital": (6, -18, 0),
    "lateralorbitofrontal": (5, 6, -3), "lingual": (3, -14, -1), "medialorbitofrontal": (1, 8, -3),
    "middletemporal": (11, -5, -2), "parahippocampal": (5, -7, -3), "paracentral": (2, -6, 12),
    "parsopercularis": (10, 3, 3), "parsorbitalis": (8, 8, -2), "parstriangularis": (9, 6, 2),
    "pericalcarine": (2, -16, 2), "postcentral": (9, -5, 9), "posteriorcingulate": (1, -4, 8),
    "precentral": (8, -2, 9), "precuneus": (2, -12, 8), "rostralanteriorcingulate": (1, 7, 1),
    "rostralmiddlefrontal": (7, 8, 4), "superiorfrontal": (2, 5, 9), "superiorparietal": (5, -13, 10),
    "superiortemporal": (11, -3, 0), "supramarginal": (11, -7, 6), "frontalpole": (2, 13, -2),
    "temporalpole": (7, 2, -7), "transversetemporal": (9, -5, 2), "insula": (7, 1, 0),
}  # fmt: skip


def desikan68() -> Topology:
    """68 areas, left ones first; see the head of the file."""
    areas = [_area(region, side) for side in ("left", "right") for region in PLACES]
    pathways: list[Pathway] = []
    for a, b in combinations(areas, 2):
        if a.position_mm is None or b.position_mm is None:
            continue
        distance_mm = dist(a.position_mm, b.position_mm)
        twins = a.name[3:] == b.name[3:]
        if not twins and (a.hemisphere != b.hemisphere or distance_mm > REACH_MM):
            continue
        weight = TWIN_WEIGHT if twins else exp(-distance_mm / SCALE_MM)
        length_mm = distance_mm * (1.5 if twins else 1.2)
        for source, target in ((a, b), (b, a)):
            pathways.append(
                Pathway(source=source.name, target=target.name, weight=round(weight, 4), length_mm=round(length_mm, 1))
            )
    modules = (
        GlobalModule(name="thalamus", time_scale_s=0.1),
        GlobalModule(name="neuromodulation", time_scale_s=5.0, every_s=0.5),
    )
    return Topology(name="desikan68", areas=tuple(areas), pathways=tuple(pathways), global_modules=modules)


def four_areas() -> Topology:
    """Four areas from seeing to moving, with feedback; lengths and weights are round numbers."""
    areas = (
        Area(name="V1", position_mm=(-10.0, -80.0, 5.0), hemisphere="left"),
        Area(name="PPC", position_mm=(-30.0, -50.0, 50.0), hemisphere="left"),
        Area(name="FEF", position_mm=(-30.0, 5.0, 52.0), hemisphere="left"),
        Area(name="M1", position_mm=(-36.0, -18.0, 55.0), hemisphere="left"),
    )
    rows = [
        ("V1", "PPC", 1.0, 80.0, "feedforward"), ("PPC", "FEF", 1.0, 80.0, "feedforward"),
        ("V1", "FEF", 0.3, 150.0, "feedforward"), ("PPC", "M1", 1.0, 60.0, "feedforward"),
        ("FEF", "M1", 0.5, 40.0, "lateral"), ("M1", "FEF", 0.5, 40.0, "lateral"),
        ("PPC", "V1", 0.5, 80.0, "feedback"), ("FEF", "PPC", 0.5, 80.0, "feedback"),
        ("FEF", "V1", 0.3, 150.0, "feedback"), ("M1", "PPC", 0.5, 60.0, "feedback"),
    ]  # fmt: skip
    pathways = tuple(Pathway(source=s, target=t, weight=w, length_mm=mm, kind=kind) for s, t, w, mm, kind in rows)
    modules = (GlobalModule(name="thalamus", time_scale_s=0.5),)
    return Topology(name="four-areas", areas=areas, pathways=pathways, global_modules=modules, speed_m_per_s=2.0)


def _area(region: str, side: str) -> Area:
    across, front, up = PLACES[region]
    place: Position = ((-across if side == "left" else across) * GRID_MM, front * GRID_MM, up * GRID_MM)
    return Area(name=f"{side[0]}h-{region}", position_mm=place, hemisphere=side)


HEADS = {
    "desikan68": "# SYNTHETIC: names of regions from Desikan et al. (2006); places, weights and lengths made by rule,\n"
    "# measured on nobody. Made by `python -m neuroloom.models.make_topologies`, whose head states the rule.\n",
    "four-areas": "# Made by hand: four areas of a primate's cortex with round numbers, measured on nobody.\n"
    "# Made by `python -m neuroloom.models.make_topologies`.\n",
}


def main(folder: Path) -> None:
    """Write every bundled topology into a folder."""
    for topology in (desikan68(), four_areas()):
        text = HEADS[topology.name] + "\n" + topology.to_toml()
        (folder / f"{topology.name}.toml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("wanted: python -m neuroloom.models.make_topologies FOLDER (one that exists)")
    main(Path(sys.argv[1]))
