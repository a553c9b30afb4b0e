"""Topologies from files: TOML, CSV weight matrices and edge lists, connectome archives, NetworkX graphs.

TOML holds the fields of `Topology`: `name`, `speed_m_per_s`, `[[areas]]`, `[[pathways]]`, `[[global_modules]]`; and,
for pathways alike in both directions, `links = [[area, area, weight, length_mm], ...]` with areas by number from 0.

`connectome = "brain.zip"` (or .csv, beside the TOML file) takes areas and pathways from there, `strongest = 0.2` that
share of its pathways; `[[areas]]` then says more of some areas (size, inputs, ...), `[[pathways]]` replaces and adds.

CSV: a square matrix, row = source, column = target, with or without names in the first row and column, quoted or not,
separated by commas, semicolons, tabs or blanks. Beside `brain.csv` may lie `brain_lengths.csv` (mm, same shape; its
areas may be in another order where both files name them) and `brain_centres.csv` (name, x, y, z in mm).

A CSV file whose first row names both ends of a connection (`pre` and `post`, `source` and `target`, or `from` and `to`)
is an edge list: one row per connection, with a column `weight`, `synapses`, `count` or `strength` (below 0 =
inhibition; those of one pair are added), and `length_mm` where lengths are known. Centres beside it as above.

Connectome archive (zip, as The Virtual Brain writes it): `weights.txt`, and if there `tract_lengths.txt`,
`centres.txt` (name x y z) and `hemispheres.txt` (1 = right), each also as `.bz2`; row = target, column = source.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from .topology import Area, GlobalModule, Pathway, Position, Topology, TopologyError
from .topology_matrices import from_archive, from_csv, text_of

OF_CONNECTOME = {"connectome", "strongest"}
MATRICES = (".csv", ".zip")
Part = TypeVar("Part", Area, Pathway, GlobalModule)


def bundled() -> tuple[str, ...]:
    """Names of the topologies that come with the package."""
    folder = files(__package__).joinpath("topologies")
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def read_topology(path: str | Path) -> Topology:
    """See `Topology.read`."""
    if str(path) in bundled():
        text = files(__package__).joinpath("topologies", f"{path}.toml").read_text(encoding="utf-8")
        return _from_toml(text, str(path))
    file = Path(path)
    if not file.is_file():
        raise TopologyError(f"{path}: no such file, nor a bundled topology; bundled are: {', '.join(bundled())}")
    match file.suffix.lower():
        case ".toml":
            return _from_toml(text_of(file), file.name, file.parent)
        case ".csv":
            return from_csv(file)
        case ".zip":
            return from_archive(file)
    raise TopologyError(f"{file.name}: ends in {file.suffix!r}; .toml, .csv or .zip is needed")


def _from_toml(text: str, where: str, folder: Path | None = None) -> Topology:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TopologyError(f"{where}: {error}; a TOML file is needed") from error
    known = {"name", "speed_m_per_s", "notes", "areas", "links", "pathways", "global_modules", *OF_CONNECTOME}
    if unknown := sorted(set(content) - known):
        raise TopologyError(f"{where}: unknown key {unknown[0]!r}; known are: {', '.join(sorted(known))}")
    if alone := sorted(OF_CONNECTOME & set(content)) if "connectome" not in content else []:
        raise TopologyError(f'{where}: {alone[0]} without a connectome; `connectome = "FILE"` is needed beside it')
    given = _connectome(where, content, folder) if "connectome" in content else None
    areas = _parts(where, content.get("areas", []) if given is None else _said_more(where, given, content), Area)
    pathways = _links(where, content.get("links", []), areas) + _parts(where, content.get("pathways", []), Pathway)
    if given is not None:
        pathways = tuple({(p.source, p.target): p for p in (*given.pathways, *pathways)}.values())
    try:
        return Topology(
            name=str(content.get("name", where if given is None else given.name)),
            areas=areas,
            pathways=pathways,
            global_modules=_parts(where, content.get("global_modules", []), GlobalModule),
            speed_m_per_s=content.get("speed_m_per_s", 5.0),
            notes=(*(given.notes if given else ()), *map(str, content.get("notes", []))),
        )
    except TypeError as error:
        raise TopologyError(f"{where}: a value has the wrong type ({error})") from error


def _connectome(where: str, content: Mapping[str, Any], folder: Path | None) -> Topology:
    """The areas and pathways of the file beside this one, the strongest of them where a share is asked for."""
    name, share = content["connectome"], content.get("strongest", 1.0)
    path = Path(str(name))
    if folder is None or not isinstance(name, str) or path.is_absolute() or ".." in path.parts:
        raise TopologyError(f"{where}: connectome is {name!r}; a .csv or .zip file beside this one is needed")
    if path.suffix.lower() not in MATRICES:
        raise TopologyError(f"{where}: connectome is {name!r}; a file that ends in {' or '.join(MATRICES)} is needed")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise TopologyError(f"{where}: strongest is {share!r}; a share of the pathways above 0, at most 1, is needed")
    given = read_topology(folder / path)
    kept = sorted(given.pathways, key=lambda p: -p.weight)[: math.ceil(share * len(given.pathways))]
    if len(kept) == len(given.pathways):
        return given
    note = f"the strongest {len(kept)} of {len(given.pathways)} pathways kept"
    chosen = set(kept)
    return replace(given, pathways=tuple(p for p in given.pathways if p in chosen), notes=(*given.notes, note))


def _said_more(where: str, given: Topology, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tables of all areas of a connectome, with what `[[areas]]` says of some of them on top."""
    tables = {area.name: asdict(area) for area in given.areas}
    for table in content.get("areas", []):
        name = table.get("name") if isinstance(table, dict) else table
        if name not in tables:
            raise TopologyError(
                f"{where}: area {name!r} is not in {content['connectome']}; there are {', '.join(list(tables)[:12])}"
            )
        tables[name] = tables[name] | table
    return list(tables.values())


def _parts(where: str, tables: Any, kind: type[Part]) -> tuple[Part, ...]:
    known = {field.name for field in fields(kind)}
    parts = []
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise TopologyError(f"{where}: a list of tables is needed for every {kind.__name__}")
    for table in tables:
        if unknown := sorted(set(table) - known):
            raise TopologyError(f"{where}: {kind.__name__} with unknown key {unknown[0]!r}; known are: {sorted(known)}")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
        }
        try:
            parts.append(kind(**values))
        except TypeError as error:
            raise TopologyError(f"{where}: {kind.__name__} {table}: {error}") from error
    return tuple(parts)


def _links(where: str, rows: Sequence[Any], areas: Sequence[Area]) -> tuple[Pathway, ...]:
    pathways: list[Pathway] = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 4 or not all(isinstance(n, int) for n in row[:2]):
            raise TopologyError(f"{where}: link {row}; [area number, area number, weight, length_mm] is needed")
        if not all(0 <= number < len(areas) for number in row[:2]):
            raise TopologyError(f"{where}: link {row} names an area beyond the {len(areas)} here (numbers from 0)")
        a, b = areas[row[0]].name, areas[row[1]].name
        pathways += _both_ways(a, b, row[2], row[3])
    return tuple(pathways)


def _both_ways(a: str, b: str, weight: float, length_mm: float) -> list[Pathway]:
    forth = Pathway(source=a, target=b, weight=weight, length_mm=length_mm)
    return [forth, Pathway(source=b, target=a, weight=weight, length_mm=length_mm)]


def topology_to_toml(topology: Topology) -> str:
    """See `Topology.to_toml`."""
    lines = [f"name = {_toml(topology.name)}", f"speed_m_per_s = {_toml(topology.speed_m_per_s)}"]
    if topology.notes:
        lines.append(f"notes = {_toml(topology.notes)}")
    links = _as_links(topology)
    if links:
        lines += ["links = [", *(f"  {_toml(link)}," for link in links), "]"]
    tables: list[tuple[str, Area | Pathway | GlobalModule]] = [("areas", area) for area in topology.areas]
    tables += [] if links else [("pathways", pathway) for pathway in topology.pathways]
    tables += [("global_modules", module) for module in topology.global_modules]
    for title, part in tables:
        defaults = {field.name: field.default for field in fields(part)}
        lines += ["", f"[[{title}]]"]
        lines += [f"{key} = {_toml(value)}" for key, value in asdict(part).items() if value != defaults[key]]
    return "\n".join(lines) + "\n"


def _as_links(topology: Topology) -> list[tuple[int, int, float, float]]:
    """The pathways as links, empty where they are not all pairs of equal ones, forth and back."""
    number = {name: n for n, name in enumerate(topology.area_names)}
    pairs = list(zip(topology.pathways[::2], topology.pathways[1::2], strict=False))
    expanded = [p for forth, _ in pairs for p in _both_ways(forth.source, forth.target, forth.weight, forth.length_mm)]
    if tuple(expanded) != topology.pathways:
        return []
    return [(number[forth.source], number[forth.target], forth.weight, forth.length_mm) for forth, _ in pairs]


def _toml(value: Any) -> str:
    """A TOML value. JSON strings are TOML strings, except that TOML wants the delete character escaped too."""
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def topology_from_networkx(graph: Any) -> Topology:
    """A topology from a NetworkX graph; an undirected edge becomes two pathways, an edge to itself is left out.

    Read of the graph: `name`, `speed_m_per_s`; of a node: `position_mm` or `pos` (three numbers), `size`, `hemisphere`,
    `inputs`, `outputs`; of an edge: `weight` (negative = inhibition; 0 = none), `length_mm` or `length` (straight
    distance where both ends have a place and no edge has a length), `sign`, `kind`.
    Raises TopologyError naming the node or edge, what was found and what was wanted.
    """
    if not hasattr(graph, "nodes") or not hasattr(graph, "edges"):
        raise TopologyError(f"{graph!r:.60} is no graph; a NetworkX graph is needed")
    name = str(graph.name or "graph")
    areas = tuple(_node_area(name, str(node), data) for node, data in graph.nodes(data=True))
    places = {area.name: area.position_mm for area in areas}
    edges = [edge for edge in graph.edges(data=True) if edge[0] != edge[1] and edge[2].get("weight", 1.0) != 0]
    straight = not any({"length_mm", "length"} & set(data) for *_, data in edges)
    pathways: list[Pathway] = []
    for source, target, data in edges:
        a, b = str(source), str(target)
        ends = (places[a], places[b]) if straight else (None, None)
        pathways.append(_edge_pathway(name, a, b, data, ends))
        if not graph.is_directed():
            pathways.append(replace(pathways[-1], source=b, target=a))
    measured = straight and any(pathway.length_mm for pathway in pathways)
    notes = ("no lengths of edges: straight distances taken",) if measured else ()
    speed = _of(name, "the graph", graph.graph, "speed_m_per_s", 5.0)
    return Topology(name=name, areas=areas, pathways=tuple(pathways), speed_m_per_s=speed, notes=notes)


def _edge_pathway(
    graph: str, source: str, target: str, data: Mapping[str, Any], ends: tuple[Position | None, Position | None]
) -> Pathway:
    where = f"edge {source} -> {target}"
    weight = _of(graph, where, data, "weight", 1.0)
    between = math.dist(ends[0], ends[1]) if ends[0] is not None and ends[1] is not None else 0.0
    length = "length_mm" if "length_mm" in data else "length"
    return Pathway(
        source=source,
        target=target,
        weight=abs(weight),
        length_mm=_of(graph, where, data, length, between),
        sign=-1 if weight < 0 else int(_of(graph, where, data, "sign", 0)),
        kind=str(data.get("kind", "")),
    )


def _of(graph: str, where: str, data: Mapping[str, Any], key: str, default: float) -> float:
    value = data.get(key, default)
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TopologyError(f"{graph}: {key} of {where} is {value!r}; a number is needed") from error


def _node_area(graph: str, name: str, data: Mapping[str, Any]) -> Area:
    return Area(
        name=name,
        position_mm=_node_place(graph, name, data),
        size=int(_of(graph, f"node {name}", data, "size", 0)),
        hemisphere=str(data.get("hemisphere", "")),
        inputs=_node_ports(data.get("inputs", ())),
        outputs=_node_ports(data.get("outputs", ())),
    )


def _node_place(graph: str, name: str, data: Mapping[str, Any]) -> Position | None:
    """`pos` of two numbers is where a drawing puts a node, and no place in a brain."""
    if "position_mm" not in data and len(data.get("pos", ())) != 3:
        return None
    place = data.get("position_mm", data.get("pos"))
    try:
        x, y, z = map(float, place)
    except (TypeError, ValueError) as error:
        raise TopologyError(f"{graph}: position of node {name} is {place!r}; three numbers are needed") from error
    return (x, y, z)


def _node_ports(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))
