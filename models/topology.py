"""A connectome as a network needs it: areas, pathways with lengths, and global modules on their own time scale.

    Topology
      areas            name, centre in mm, number of units, hemisphere, which inputs enter and which outputs leave there
      pathways         source -> target, weight, length in mm (delay = length / conduction speed), sign, kind
      global_modules   name, number of units, time scale, how often it updates, the areas it talks with

The readers lie in `topology_files.py`, the control topologies in `topology_controls.py`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HEMISPHERES = ("left", "right", "")
KINDS = ("feedforward", "lateral", "feedback", "")
Position = tuple[float, float, float]


class TopologyError(ValueError):
    """A topology contradicts itself or cannot be read; the message names what was found and what was wanted."""


@dataclass(frozen=True, kw_only=True)
class Area:
    """An area: `position_mm` its centre (x right, y front, z up) or None, `size` its units (0: the network decides).

    inputs, outputs: names or kinds of ports ("stimulus", "choice") that enter or leave the network here. A port that
        some areas name enters (leaves) by these alone; one that no area names, by all. A channel whose area is stated
        keeps to that area.
    """

    name: str
    position_mm: Position | None = None
    size: int = 0
    hemisphere: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pathway:
    """A bundle of axons. `weight` > 0 is relative strength; `sign` 1 excites, -1 inhibits, 0 leaves it open."""

    source: str
    target: str
    weight: float = 1.0
    length_mm: float = 0.0
    sign: int = 0
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class GlobalModule:
    """A module beside the areas, joined with many of them in both directions.

    time_scale_s: time constant of its units. every_s: its feedback interval: it takes in the mean of what it was sent
        since its last update, updates, and says the same until the next; 0 for every bin.
    areas: names of the areas it is joined with; empty for all.
    """

    name: str
    size: int = 0
    time_scale_s: float = 1.0
    every_s: float = 0.0
    areas: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, repr=False)
class Topology:
    """Areas, the pathways between them and global modules. `notes`: what a reader had to decide, one line each.

    Raises TopologyError where a name is used twice or not known, or a number makes no sense.
    """

    name: str
    areas: tuple[Area, ...]
    pathways: tuple[Pathway, ...] = ()
    global_modules: tuple[GlobalModule, ...] = ()
    speed_m_per_s: float = 5.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.areas:
            raise TopologyError(f"{self.name}: no areas; at least one is needed")
        _check_number(self.name, "speed_m_per_s", self.speed_m_per_s, above=0)
        names = [area.name for area in self.areas] + [module.name for module in self.global_modules]
        _check_unique(self.name, names, "name")
        _check_unique(self.name, ((p.source, p.target) for p in self.pathways), "pathway")
        for area in self.areas:
            _check_area(self.name, area)
        known = set(self.area_names)
        for pathway in self.pathways:
            _check_pathway(self.name, pathway, known)
        for module in self.global_modules:
            _check_global(self.name, module, known)

    @property
    def area_names(self) -> tuple[str, ...]:
        """Names in order, shape (A,)."""
        return tuple(area.name for area in self.areas)

    @property
    def node_names(self) -> tuple[str, ...]:
        """Names of all areas, then of all global modules."""
        return self.area_names + tuple(module.name for module in self.global_modules)

    @property
    def density(self) -> float:
        """Share of the possible pathways between different areas that exist."""
        possible = len(self.areas) * (len(self.areas) - 1)
        return len(self.pathways) / possible if possible else 0.0

    def delays_s(self) -> tuple[float, ...]:
        """Conduction delay per pathway, seconds: length over speed."""
        return tuple(pathway.length_mm / 1000 / self.speed_m_per_s for pathway in self.pathways)

    def distance_mm(self, source: str, target: str) -> float:
        """Straight distance between two areas' centres. Raises TopologyError where either has no position."""
        positions = {area.name: area.position_mm for area in self.areas}
        a, b = positions.get(source), positions.get(target)
        if a is None or b is None:
            raise TopologyError(f"{self.name}: no position for {source if a is None else target}; one in mm is needed")
        return math.dist(a, b)

    @classmethod
    def read(cls, path: str | Path) -> Topology:
        """A topology from a TOML file, a CSV weight matrix or edge list, a connectome archive (zip), or a bundled name.

        Raises TopologyError naming the file, what was found and what was wanted.
        """
        from .topology_files import read_topology

        return read_topology(path)

    @classmethod
    def from_networkx(cls, graph: Any) -> Topology:
        """A topology from a NetworkX graph; see `topology_files.topology_from_networkx` for the attributes read."""
        from .topology_files import topology_from_networkx

        return topology_from_networkx(graph)

    def to_toml(self) -> str:
        """The whole topology as TOML text, which `Topology.read` gives back equal."""
        from .topology_files import topology_to_toml

        return topology_to_toml(self)

    def entering(self, *names: str) -> tuple[str, ...]:
        """The areas where a port of one of these names (its own, its kind) enters; empty where no area says so."""
        return tuple(area.name for area in self.areas if set(names) & set(area.inputs))

    def leaving(self, *names: str) -> tuple[str, ...]:
        """The areas by which a port of one of these names (its own, its kind) leaves; empty where no area says so."""
        return tuple(area.name for area in self.areas if set(names) & set(area.outputs))

    def rewired(self, *, seed: int = 0, keep_lengths: bool = False) -> Topology:
        """Control: pathways swap targets, so that every area keeps its in- and out-degree.

        keep_lengths: the distribution of lengths, and which weights go with which lengths, stay as well; see
            `topology_controls.rewired_by_length`.
        """
        from .topology_controls import rewired, rewired_by_length

        return rewired_by_length(self, seed=seed) if keep_lengths else rewired(self, seed=seed)

    def dense(self) -> Topology:
        """Control: every area to every other, all of the mean weight, with the same total weight."""
        from .topology_controls import dense

        return dense(self)

    def none(self) -> Topology:
        """Control: no pathway between areas; global modules stay."""
        return replace(self, name=f"{self.name}, none", pathways=())

    def distance_only(self, *, scale_mm: float = 30.0) -> Topology:
        """Control: as many pathways as here, the shortest ones, with weights exp(-distance / scale_mm)."""
        from .topology_controls import distance_only

        return distance_only(self, scale_mm=scale_mm)

    def plot(self, scores: Mapping[str, float] | None = None, *, label: str = "") -> Any:
        """A matplotlib figure of it from above and from the left; where places are not known, on a circle.

        scores: area -> a number that colours it. label: what that number is.
        """
        from .drawing import plot_topology

        return plot_topology(self, scores, label=label)

    def _repr_html_(self) -> str:
        from .topology_table import topology_html

        return topology_html(self)

    def __repr__(self) -> str:
        delays_ms = sorted(delay_s * 1000 for delay_s in self.delays_s())
        span = f", delays {delays_ms[0]:.1f} to {delays_ms[-1]:.1f} ms" if delays_ms else ""
        modules = ", ".join(module.name for module in self.global_modules) or "none"
        return (
            f"Topology({self.name!r}: {len(self.areas)} areas, {len(self.pathways)} pathways"
            f" (density {self.density:.2f}{span}), global modules: {modules})"
        )


def _check_number(where: str, what: str, value: float, *, above: float | None = None) -> None:
    if not math.isfinite(value) or value < 0 or (above is not None and value <= above):
        bound = f"above {above:g}" if above is not None else "of 0 or more"
        raise TopologyError(f"{where}: {what} is {value}; a finite number {bound} is needed")


def _check_unique(where: str, names: Iterable[object], what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TopologyError(f"{where}: {what} {twice[0]!r} is there twice; each must be there once")


def _check_area(where: str, area: Area) -> None:
    if not area.name:
        raise TopologyError(f"{where}: an area without a name; every area needs one")
    _check_number(where, f"size of {area.name}", area.size)
    if area.hemisphere not in HEMISPHERES:
        raise TopologyError(
            f"{where}: hemisphere of {area.name} is {area.hemisphere!r}; one of {HEMISPHERES} is needed"
        )
    if area.position_mm is not None and (len(area.position_mm) != 3 or not all(map(math.isfinite, area.position_mm))):
        raise TopologyError(f"{where}: position of {area.name} is {area.position_mm}; three finite numbers are needed")
    for what, names in (("inputs", area.inputs), ("outputs", area.outputs)):
        if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
            raise TopologyError(f"{where}: {what} of {area.name} are {names!r}; a list of names of ports is needed")
        _check_unique(where, names, f"in {what} of {area.name}: port")


def _check_pathway(where: str, pathway: Pathway, known: set[str]) -> None:
    label = f"{pathway.source} -> {pathway.target}"
    for end in (pathway.source, pathway.target):
        if end not in known:
            raise TopologyError(f"{where}: pathway {label} names {end!r}, which is no area here")
    if pathway.source == pathway.target:
        raise TopologyError(
            f"{where}: pathway {label} leads back to itself; what happens within an area is its module's"
        )
    _check_number(where, f"weight of {label}", pathway.weight, above=0)
    _check_number(where, f"length_mm of {label}", pathway.length_mm)
    if pathway.sign not in (-1, 0, 1):
        raise TopologyError(f"{where}: sign of {label} is {pathway.sign}; 1, -1 or 0 (open) is needed")
    if pathway.kind not in KINDS:
        raise TopologyError(f"{where}: kind of {label} is {pathway.kind!r}; one of {KINDS} is needed")


def _check_global(where: str, module: GlobalModule, known: set[str]) -> None:
    if not module.name:
        raise TopologyError(f"{where}: a global module without a name; every one needs one")
    _check_number(where, f"size of {module.name}", module.size)
    _check_number(where, f"time_scale_s of {module.name}", module.time_scale_s, above=0)
    _check_number(where, f"every_s of {module.name}", module.every_s)
    _check_unique(where, module.areas, f"in {module.name}: area")
    for name in module.areas:
        if name not in known:
            raise TopologyError(f"{where}: global module {module.name} names {name!r}, which is no area here")
