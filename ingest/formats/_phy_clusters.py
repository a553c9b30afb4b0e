"""What phy and Kilosort say of each cluster: labels in tables, the channel where its template is largest.

cluster_group.tsv, cluster_KSLabel.tsv, cluster_info.tsv (and .csv)      cluster_id and a value each
templates.npy, channel_map.npy, channel_positions.npy, channel_shanks.npy
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._npy import array_of

MAX_TABLE_BYTES = 64 << 20
_BLOCK_TEMPLATES = 64
_KINDS = {"good": "sorted", "mua": "unsorted", "noise": "noise", "unsorted": "sorted"}


def labels_of(folder: Path, clusters: Sequence[int]) -> dict[str, tuple[Any, ...]]:
    """Columns `label` (as people or the sorter gave it), `kind`, `accepted`, `reason`, and numbers of the tables.

    What people said in phy counts before what Kilosort did. Only "good" is accepted where anything was labelled; of a
    sorting without any label every cluster is.
    """
    tables = _tables(folder)
    by_people, by_sorter = _column(tables, "group"), _column(tables, "kslabel")
    found = [by_people.get(c) or by_sorter.get(c) or "" for c in clusters]
    is_labelled = any(found)
    told = [label.lower() for label in found]
    accepted = tuple(label == "good" or not is_labelled for label in told)
    columns: dict[str, tuple[Any, ...]] = {
        "label": tuple(told),
        "kind": tuple(_KINDS.get(label, "sorted") for label in told),
        "accepted": accepted,
        "reason": tuple(_reason(label, c in by_people, is_labelled) for label, c in zip(told, clusters, strict=True)),
    }
    for name, column in (("depth_um", "depth"), ("amplitude", "amp"), ("contamination_pct", "contampct")):
        values = _column(tables, column)
        if values:
            columns[name] = tuple(_number(values.get(c, "")) for c in clusters)
    return columns


def _reason(label: str, by_people: bool, is_labelled: bool) -> str:
    if not is_labelled:
        return "nobody has labelled this sorting"
    return f"{'labelled' if by_people else 'the sorter says'} {label}" if label else "not labelled"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _column(tables: Sequence[Mapping[int, Mapping[str, str]]], name: str) -> dict[int, str]:
    """A column by cluster, wherever it is; that of its own table before that of `cluster_info`."""
    found: dict[int, str] = {}
    for table in tables:
        for cluster, row in table.items():
            if name in row and row[name].strip():
                found.setdefault(cluster, row[name].strip())
    return found


def _tables(folder: Path) -> list[dict[int, dict[str, str]]]:
    paths = [f for f in sorted(folder.iterdir()) if f.name.startswith("cluster_") and f.suffix in (".tsv", ".csv")]
    ordered = sorted((f for f in paths if is_there(f)), key=lambda f: (f.stem == "cluster_info", f.name))
    return [_table(path) for path in ordered]


def _table(path: Path) -> dict[int, dict[str, str]]:
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; at most {MAX_TABLE_BYTES} are read")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    delimiter = "\t" if path.suffix == ".tsv" else ","
    try:
        rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
    except csv.Error as error:
        raise FormatError(f"{path}: {one_line(error)}; a table is wanted") from error
    found: dict[int, dict[str, str]] = {}
    for row in rows:
        key = next((name for name in ("cluster_id", "id") if name in row), None)
        cluster = (row.get(key) or "").strip() if key is not None else ""
        if not cluster.isdigit():
            raise FormatError(f"{path}: a row whose cluster_id is {cluster!r}; a whole number is wanted")
        found[int(cluster)] = {str(name).lower(): value or "" for name, value in row.items() if name is not None}
    return found


def places_of(
    folder: Path, clusters: NDArray[np.int64], templates: NDArray[np.int64], of: Sequence[int]
) -> dict[str, Any]:
    """Columns `channel_index` (in the file that was sorted) and where it lies, of the largest template of each cluster.

    clusters, templates: per spike. Nothing where the folder does not hold them.
    """
    paths = {
        name: folder / f"{name}.npy" for name in ("templates", "channel_map", "channel_positions", "channel_shanks")
    }
    if not (is_there(paths["templates"]) and is_there(paths["channel_map"])):
        return {}
    shapes = array_of(paths["templates"], kinds="f", dims=(3,))
    mapped = array_of(paths["channel_map"], kinds="iu")
    peaks = _peaks(shapes)
    usual = [int(np.bincount(templates[clusters == cluster]).argmax()) for cluster in of]
    if max(usual, default=0) >= len(peaks) or max(peaks.tolist(), default=0) >= len(mapped):
        raise FormatError(
            f"{folder}: spikes of template {max(usual)}, templates.npy has {len(peaks)} on {len(mapped)} channels; "
            "they must match"
        )
    at = peaks[usual]
    found: dict[str, Any] = {"channel_index": tuple(int(mapped[k]) for k in at)}
    if is_there(paths["channel_positions"]):
        where = array_of(paths["channel_positions"], kinds="iuf", dims=(2,))
        if where.shape == (len(mapped), 2):
            found |= {"x_um": tuple(float(v) for v in where[at, 0]), "y_um": tuple(float(v) for v in where[at, 1])}
    if is_there(paths["channel_shanks"]):
        shanks = array_of(paths["channel_shanks"], kinds="iuf")
        found |= {"group": tuple(int(v) for v in shanks[at])} if len(shanks) == len(mapped) else {}
    return found


def _peaks(shapes: NDArray[Any]) -> NDArray[np.int64]:
    """Per template the channel where it is largest; a few at a time, since all of them may be large."""
    found = [
        np.ptp(np.asarray(shapes[k : k + _BLOCK_TEMPLATES]), axis=1).argmax(axis=1)
        for k in range(0, len(shapes), _BLOCK_TEMPLATES)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)
