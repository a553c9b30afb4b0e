"""Topologies from matrices and edge lists: CSV files that lie beside each other, and connectome archives."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .connectome_archive import read_members
from .topology import Area, Pathway, Position, Topology, TopologyError

MAX_TEXT_BYTES = 64_000_000
MAX_AREAS = 5_000
SEPARATORS = ",;\t"
ENDS = (("pre", "post"), ("source", "target"), ("from", "to"))  # columns of an edge list, in small letters
WEIGHTS = ("weight", "synapses", "count", "strength")
LENGTH = "length_mm"
Matrix = list[list[float]]
Row = tuple[int, list[str]]
Pair = tuple[str, str]


def text_of(file: Path) -> str:
    """Its text. Raises TopologyError where it is too long or not UTF-8."""
    if file.stat().st_size > MAX_TEXT_BYTES:
        raise TopologyError(f"{file.name}: {file.stat().st_size} bytes; at most {MAX_TEXT_BYTES} are read")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TopologyError(f"{file.name}: byte {error.start} is not UTF-8; UTF-8 text is needed") from error


def from_csv(file: Path) -> Topology:
    """A matrix or an edge list, with `_lengths` and `_centres` beside it where there are any; see `Topology.read`."""
    table = _table(text_of(file))
    lengths_file, centres_file = (file.with_name(f"{file.stem}_{what}.csv") for what in ("lengths", "centres"))
    lengths: Matrix | None = None
    notes: tuple[str, ...] = ()
    if table and _ends(table[0][1]):
        names, weights, lengths, notes = _edges(table, file.name)
    else:
        names, weights = _named_matrix(table, file.name)
    if lengths is not None and lengths_file.is_file():
        raise TopologyError(f"{file.name}: lengths in a column and in {lengths_file.name}; one of them is needed")
    if lengths_file.is_file():
        lengths = _lengths(lengths_file, names, file.name)
    centres = _centres(_table(text_of(centres_file)), centres_file.name) if centres_file.is_file() else None
    made = _from_matrices(file.stem, file.name, weights, lengths, centres, names=names)
    return replace(made, notes=(*notes, *made.notes))


def _ends(header: Sequence[str]) -> tuple[int, int] | None:
    """The columns of both ends of a connection, where a first row names them."""
    names = [cell.lower() for cell in header]
    return next(((names.index(a), names.index(b)) for a, b in ENDS if a in names and b in names), None)


def _edges(table: Sequence[Row], where: str) -> tuple[list[str], Matrix, Matrix | None, tuple[str, ...]]:
    """Names, weights and lengths [source][target], and notes, of a header and one row per connection.

    Weights of one pair are added: a pair of cells has chemical and electrical synapses, say. No column is guessed from
    its content, since a number could be a weight, a delay or anything else; notes say which were not read.
    """
    (_, header), *rows = table
    ends, weight, length = _ends(header), _column(header, WEIGHTS, where), _column(header, (LENGTH,), where)
    if ends is None or weight is None:
        found = ", ".join(header)[:80]
        raise TopologyError(f"{where}: edge list with columns {found}; one of {', '.join(WEIGHTS)} is needed, too")
    weights: dict[Pair, float] = {}
    lengths: dict[Pair, float] = {}
    for line, row in rows:
        at = f"{where}, line {line}"
        pair = _pair(row, ends, header, at)
        weights[pair] = weights.get(pair, 0.0) + _number(row[weight], at)
        if length is not None:
            _keep_length(lengths, pair, _number(row[length], at), at)
    names = list(dict.fromkeys(name for pair in weights for name in pair))
    again = len(rows) - len(weights)
    left = [name for n, name in enumerate(header) if n not in (*ends, weight, length)]
    notes = [f"{again} rows of pairs that were there before: weights added"] if again else []
    notes += [f"columns not read: {', '.join(left)}"] if left else []
    return names, _filled(names, weights, where), _filled(names, lengths, where) if lengths else None, tuple(notes)


def _column(header: Sequence[str], names: Sequence[str], where: str) -> int | None:
    """Which column has one of these names. Raises TopologyError where several have."""
    found = [n for n, cell in enumerate(header) if cell.lower() in names]
    if len(found) > 1:
        raise TopologyError(f"{where}: columns {' and '.join(header[n] for n in found)}; one of them is needed")
    return found[0] if found else None


def _pair(row: Sequence[str], ends: tuple[int, int], header: Sequence[str], at: str) -> Pair:
    if len(row) != len(header):
        raise TopologyError(f"{at}: {len(row)} cells; {len(header)} are needed, as in the header")
    source, target = row[ends[0]], row[ends[1]]
    if not source or not target:
        raise TopologyError(f"{at}: from {source!r} to {target!r}; a name at both ends is needed")
    return source, target


def _keep_length(lengths: dict[Pair, float], pair: Pair, length: float, at: str) -> None:
    if lengths.setdefault(pair, length) != length:
        raise TopologyError(
            f"{at}: {pair[0]} to {pair[1]} is {length:g} mm long here, {lengths[pair]:g} mm before; they must be equal"
        )


def _filled(names: Sequence[str], values: Mapping[Pair, float], where: str) -> Matrix:
    """[source][target], 0 where there is nothing."""
    if not 1 <= len(names) <= MAX_AREAS:
        raise TopologyError(f"{where}: connections between {len(names)} areas; 1 to {MAX_AREAS} are needed")
    at = {name: n for n, name in enumerate(names)}
    matrix = [[0.0] * len(names) for _ in names]
    for (source, target), value in values.items():
        matrix[at[source]][at[target]] = value
    return matrix


def _lengths(file: Path, names: Sequence[str], weights_file: str) -> Matrix:
    """Lengths in the order of `names`, where both files name their areas."""
    own, lengths = _named_matrix(_table(text_of(file)), file.name)
    if not own or not names or own == names:
        return lengths
    if sorted(own) != sorted(names):
        odd = sorted(set(own) ^ set(names))
        raise TopologyError(
            f"{file.name}: {odd[0] if odd else own[0]!r} is not as often here as in {weights_file};"
            " both need the same areas"
        )
    at = [own.index(name) for name in names]
    return [[lengths[row][column] for column in at] for row in at]


def from_archive(file: Path) -> Topology:
    """A connectome archive; see `Topology.read`."""
    members = read_members(file, ("weights", "tract_lengths", "centres", "hemispheres"))
    if "weights" not in members:
        raise TopologyError(f"{file.name}: no weights.txt inside; a connectome archive has one")
    centres = _centres(_words(members["centres"]), f"{file.name}: centres.txt") if "centres" in members else None
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
    return _numbers(_words(text), where)


def _square(matrix: Matrix, where: str) -> Matrix:
    widths = {len(row) for row in matrix}
    if not matrix or len(matrix) > MAX_AREAS or widths != {len(matrix)}:
        raise TopologyError(
            f"{where}: {len(matrix)} rows of {sorted(widths)} numbers; a square of 1 to {MAX_AREAS} is needed"
        )
    return matrix


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*_square(matrix, "connectome archive"), strict=True)]


def _named_matrix(table: Sequence[Row], where: str) -> tuple[list[str], Matrix]:
    header, rows = table[0][1] if table else [], table[1:]
    shorter = bool(rows) and len(header) == len(rows[0][1]) - 1  # as R writes it, with no cell above names of rows
    if all(map(_is_number, header)) and not shorter:
        return [], _square(_numbers(table, where), where)
    has_column = shorter or not header[0] or any(not _is_number(row[0]) for _, row in rows)
    names = header[1:] if has_column and not shorter else header
    if has_column and [row[0] for _, row in rows] != names:
        raise TopologyError(f"{where}: names of rows and columns differ; they must be the same, in the same order")
    matrix = _numbers([(line, row[1:] if has_column else row) for line, row in rows], where)
    if len(names) != len(matrix):
        raise TopologyError(f"{where}: {len(names)} names for {len(matrix)} rows; they must match")
    return names, _square(matrix, where)


def _numbers(table: Sequence[Row], where: str) -> Matrix:
    return [[_number(cell, f"{where}, line {line}") for cell in row] for line, row in table]


def _centres(table: Sequence[Row], where: str) -> list[tuple[str, Position]]:
    """table: name, x, y, z; a name may be of several words."""
    centres: list[tuple[str, Position]] = []
    for line, cells in table:
        if not centres and not any(map(_is_number, cells)):
            continue
        if len(cells) < 4:
            raise TopologyError(f"{where}, line {line}: {len(cells)} entries; a name and x, y, z are needed")
        x, y, z = (_number(cell, f"{where}, line {line}") for cell in cells[-3:])
        centres.append((" ".join(cells[:-3]), (x, y, z)))
    return centres


def _table(text: str) -> list[Row]:
    """Line number and cells of a CSV file: quotes are taken off; commas, semicolons, tabs or blanks separate."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    separator = max(SEPARATORS, key=first.count)
    if separator not in first:
        return _words(text)
    reader = csv.reader(text.splitlines(), delimiter=separator, skipinitialspace=True)
    rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    return [(line, row) for line, row in rows if any(row) and not row[0].startswith("#")]


def _words(text: str) -> list[Row]:
    return [(line, cells) for line, whole in enumerate(text.splitlines(), 1) if (cells := _cells(whole))]


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
