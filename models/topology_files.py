"""Topologies from files: TOML, CSV weight matrices, connectome archives, NetworkX graphs.

TOML holds the fields of `Topology`: `name`, `speed_m_per_s`, `[[areas]]`, `[[pathways]]`, `[[global_modules]]`; and,
for pathways alike in both directions, `links = [[area, area, weight, length_mm], ...]` with areas by number from 0.

CSV: a square matrix, row = source, column = target, with or without names in the first row and column. Beside
`brain.csv` may lie `brain_lengths.csv` (mm, same shape) and `brain_centres.csv` (name, x, y, z in mm).

Connectome archive (zip, as The Virtual Brain writes it): `weights.txt`, and if there `tract_lengths.txt`,
`centres.txt` (name x y z) and `hemispheres.txt` (1 = right), each also as `.bz2`; row = target, column = source.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from .connectome_archive import read_members
from .topology import Area, GlobalModule, Pathway, Position, Topology, TopologyError

MAX_TEXT_BYTES = 64_000_000
MAX_AREAS = 5_000
Matrix = list[list[float]]
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
            return _from_toml(_text(file), file.name)
        case ".csv":
            return _from_csv(file)
        case ".zip":
            return _from_archive(file)
    raise TopologyError(f"{file.name}: ends in {file.suffix!r}; .toml, .csv or .zip is needed")


def _text(file: Path) -> str:
    if file.stat().st_size > MAX_TEXT_BYTES:
        raise TopologyError(f"{file.name}: {file.stat().st_size} bytes; at most {MAX_TEXT_BYTES} are read")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TopologyError(f"{file.name}: byte {error.start} is not UTF-8; UTF-8 text is needed") from error


def _from_toml(text: str, where: str) -> Topology:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TopologyError(f"{where}: {error}; a TOML file is needed") from error
    known = {"name", "speed_m_per_s", "notes", "areas", "links", "pathways", "global_modules"}
    if unknown := sorted(set(content) - known):
        raise TopologyError(f"{where}: unknown key {unknown[0]!r}; known are: {', '.join(sorted(known))}")
    areas = _parts(where, content.get("areas", []), Area)
    pathways = _links(where, content.get("links", []), areas) + _parts(where, content.get("pathways", []), Pathway)
    try:
        return Topology(
            name=str(content.get("name", where)),
            areas=areas,
            pathways=pathways,
            global_modules=_parts(where, content.get("global_modules", []), GlobalModule),
            speed_m_per_s=content.get("speed_m_per_s", 5.0),
            notes=tuple(map(str, content.get("notes", []))),
        )
    except TypeError as error:
        raise TopologyError(f"{where}: a value has the wrong type ({error})") from error


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


def _from_csv(file: Path) -> Topology:
    names, weights = _named_matrix(_text(file), file.name)
    lengths_file, centres_file = (file.with_name(f"{file.stem}_{what}.csv") for what in ("lengths", "centres"))
    lengths = _named_matrix(_text(lengths_file), lengths_file.name)[1] if lengths_file.is_file() else None
    centres = _centres(_text(centres_file), centres_file.name) if centres_file.is_file() else None
    return _from_matrices(file.stem, file.name, weights, lengths, centres, names=names)


def _from_archive(file: Path) -> Topology:
    members = read_members(file, ("weights", "tract_lengths", "centres", "hemispheres"))
    if "weights" not in members:
        raise TopologyError(f"{file.name}: no weights.txt inside; a connectome archive has one")
    centres = _centres(members["centres"], f"{file.name}: centres.txt") if "centres" in members else None
    weights = _matrix(members["weights"], f"{file.name}: weights.txt")
    lengths = None
    if "tract_lengths" in members:
        lengths = _transposed(_matrix(members["tract_lengths"], f"{file.name}: tract_lengths.txt"))
    right = _matrix(members["hemispheres"], f"{file.name}: hemispheres.txt") if "hemispheres" in members else []
    hemispheres = ["right" if value else "left" for row in right for value in row]
    where = file.name
    return _from_matrices(file.stem, where, _transposed(weights), lengths, centres, hemispheres=hemispheres)


def _from_matrices(
    name: str,
    where: str,
    weights: Matrix,
    lengths: Matrix | None,
    centres: Sequence[tuple[str, Position]] | None,
    *,
    names: Sequence[str] = (),
    hemispheres: Sequence[str] = (),
) -> Topology:
    """weights, lengths: [source][target]; lengths default to the distances between centres, else 0."""
    n_areas = len(weights)
    for what, found in (("lengths", lengths), ("centres", centres), ("hemispheres", hemispheres or None)):
        if found is not None and len(found) != n_areas:
            raise TopologyError(
                f"{where}: {n_areas} areas in the weights but {len(found)} in the {what}; they must match"
            )
    names = names or [label for label, _ in centres or ()] or [f"area{n:03d}" for n in range(n_areas)]
    places = _places(where, names, centres)
    areas = tuple(
        Area(name=label, position_mm=places.get(label), hemisphere=hemispheres[n] if hemispheres else "")
        for n, label in enumerate(names)
    )
    bare = Topology(name=name, areas=areas)
    pathways = tuple(
        Pathway(
            source=names[s],
            target=names[t],
            weight=abs(weights[s][t]),
            length_mm=lengths[s][t] if lengths else (bare.distance_mm(names[s], names[t]) if places else 0.0),
            sign=-1 if weights[s][t] < 0 else 0,
        )
        for s in range(n_areas)
        for t in range(n_areas)
        if s != t and weights[s][t] != 0
    )
    notes = _notes(weights, lengths is not None, bool(places))
    return Topology(name=name, areas=areas, pathways=pathways, notes=notes)


def _places(where: str, names: Sequence[str], centres: Sequence[tuple[str, Position]] | None) -> dict[str, Position]:
    places = dict(centres or ())
    if places and set(places) != set(names):
        odd = sorted(set(places) ^ set(names))[0]
        raise TopologyError(f"{where}: {odd!r} is either in the weights or in the centres; it must be in both")
    return places


def _notes(weights: Matrix, has_lengths: bool, has_places: bool) -> tuple[str, ...]:
    numbers = range(len(weights))
    diagonal = sum(weights[n][n] != 0 for n in numbers)
    uneven = sum(weights[a][b] != weights[b][a] for a in numbers for b in range(a))
    negative = sum(value < 0 for row in weights for value in row)
    notes = []
    if diagonal:
        notes.append(f"{diagonal} weights of areas to themselves left out: what happens within an area is its module's")
    if uneven:
        notes.append(f"{uneven} pairs of areas have different weights forth and back; both kept")
    if negative:
        notes.append(f"{negative} negative weights read as inhibition")
    if not has_lengths:
        notes.append(
            "no tract lengths: " + ("straight distances taken" if has_places else "all delays are the shortest")
        )
    return tuple(notes)


def _matrix(text: str, where: str) -> Matrix:
    """Rows of numbers, separated by blanks, commas, semicolons or tabs; empty lines and # comments are skipped."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = _cells(line)
        if cells:
            rows.append([_number(cell, f"{where}, line {number}") for cell in cells])
    return rows


def _square(matrix: Matrix, where: str) -> Matrix:
    widths = {len(row) for row in matrix}
    if not matrix or len(matrix) > MAX_AREAS or widths != {len(matrix)}:
        raise TopologyError(
            f"{where}: {len(matrix)} rows of {sorted(widths)} numbers; a square of 1 to {MAX_AREAS} is needed"
        )
    return matrix


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*_square(matrix, "connectome archive"), strict=True)]


def _named_matrix(text: str, where: str) -> tuple[list[str], Matrix]:
    lines = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    if not lines or _is_number(lines[0][-1]):
        return [], _square(_matrix(text, where), where)
    has_column = not lines[0][0] or any(not _is_number(line[0]) for line in lines[1:])
    names = lines[0][1:] if has_column else lines[0]
    if has_column and [line[0] for line in lines[1:]] != names:
        raise TopologyError(f"{where}: names of rows and columns differ; they must be the same, in the same order")
    rows = [line[1:] if has_column else line for line in lines[1:]]
    matrix = [[_number(cell, f"{where}, line {n}") for cell in row] for n, row in enumerate(rows, 2)]
    if len(names) != len(matrix):
        raise TopologyError(f"{where}: {len(names)} names for {len(matrix)} rows; they must match")
    return names, _square(matrix, where)


def _centres(text: str, where: str) -> list[tuple[str, Position]]:
    centres: list[tuple[str, Position]] = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = _cells(line)
        if not cells or (not centres and not any(map(_is_number, cells))):
            continue
        if len(cells) != 4:
            raise TopologyError(f"{where}, line {number}: {len(cells)} entries; a name and x, y, z are needed")
        x, y, z = (_number(cell, f"{where}, line {number}") for cell in cells[1:])
        centres.append((cells[0], (x, y, z)))
    return centres


def _cells(line: str) -> list[str]:
    return line.split("#")[0].replace(",", " ").replace(";", " ").split()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, where: str) -> float:
    value = float(cell) if _is_number(cell) else float("nan")
    if not abs(value) < 1e30:
        raise TopologyError(f"{where}: {cell[:40]!r}; a finite number is needed")
    return value


def topology_from_networkx(graph: Any) -> Topology:
    """A topology from a NetworkX graph; an undirected edge becomes two pathways, an edge to itself is left out.

    Read of a node: `position_mm` or `pos` (three numbers), `size`, `hemisphere`, `inputs`, `outputs`; of an edge:
    `weight` (negative = inhibition), `length_mm` or `length`, `sign`, `kind`.
    """
    areas = tuple(_node_area(str(node), data) for node, data in graph.nodes(data=True))
    pathways: list[Pathway] = []
    for source, target, data in graph.edges(data=True):
        if source == target:
            continue
        weight = float(data.get("weight", 1.0))
        for a, b in [(source, target)] if graph.is_directed() else [(source, target), (target, source)]:
            pathways.append(
                Pathway(
                    source=str(a),
                    target=str(b),
                    weight=abs(weight),
                    length_mm=float(data.get("length_mm", data.get("length", 0.0))),
                    sign=-1 if weight < 0 else int(data.get("sign", 0)),
                    kind=str(data.get("kind", "")),
                )
            )
    return Topology(name=str(graph.name or "graph"), areas=areas, pathways=tuple(pathways))


def _node_area(name: str, data: Mapping[str, Any]) -> Area:
    place = data.get("position_mm", data.get("pos"))
    position = (float(place[0]), float(place[1]), float(place[2])) if place is not None and len(place) == 3 else None
    return Area(
        name=name,
        position_mm=position,
        size=int(data.get("size", 0)),
        hemisphere=str(data.get("hemisphere", "")),
        inputs=tuple(map(str, data.get("inputs", ()))),
        outputs=tuple(map(str, data.get("outputs", ()))),
    )
