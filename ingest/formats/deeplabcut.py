"""Pose that DeepLabCut tracked: a row per video frame, per body part x and y in pixels and a likelihood.

    X.csv     header rows: scorer, (individuals,) bodyparts, coords; then the number of the frame and the values
    X.h5      the same as a pandas table in HDF5

    position <body part>      pixels of the video; with several animals "position <individual> <body part>"
    likelihood                a channel per body part; nothing is left out for its likelihood: that is policy

Frames have numbers and no times, so a `X.toml` beside the file states how fast the video ran:

    format = "deeplabcut"
    rate_hz = 30
    # clock = "camera"
    # start = 2024-05-01T10:00:00       when the first frame was taken

Where both lie side by side the .h5 is read. Design rationale: of it only numbers are read, and the names of its
columns, which pandas stores pickled: that text is taken apart without being run (`_pickled_names.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat

from neuroloom.ingest.formats import FormatError, head_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._hdf5 import SIGNATURE, check_stored
from neuroloom.ingest.formats._pickled_names import pickled_names
from neuroloom.ingest.formats._sampled import FloatBlock, Group, signal_of
from neuroloom.ingest.formats._sidecars import Stated, read_toml, sidecar, validated
from neuroloom.ingest.formats._tables import is_text, number
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.timebase import Timebase

TITLE = "DeepLabCut pose (CSV, HDF5)"
MODALITY = "position"
KEEPS = "x, y and likelihood of every body part and individual, every frame; not the scorer"
TESTED_ON = "files written by this project as DeepLabCut and pandas write them"

MAX_BYTES = 1 << 30  # its values are held in memory
MAX_CHUNK_BYTES = 1 << 26
_FORM = "deeplabcut"
_KEYS = ("df_with_missing", "df")


class _Sidecar(Stated):
    """What `<stem>.toml` states of the video."""

    format: Literal["deeplabcut"] = "deeplabcut"
    rate_hz: PositiveFloat


@dataclass(frozen=True)
class _Pose:
    """Names of columns (individual or "", body part, x or y or likelihood), and values of shape (T, K)."""

    columns: tuple[tuple[str, str, str], ...]
    values: FloatBlock
    first_frame: int


def sniff(path: Path, head: bytes) -> bool:
    """True for its header rows, or a pandas table under one of its keys."""
    if head.startswith(SIGNATURE):
        return _table_of(path) is not None
    if not is_text(head) or not head.lstrip(b"\xef\xbb\xbf").startswith(b"scorer,"):
        return False
    lines = head.decode("utf-8-sig", "replace").splitlines()[:4]
    return {line.partition(",")[0] for line in lines} >= {"scorer", "bodyparts", "coords"}


def files(path: Path) -> tuple[Path, ...]:
    """The file, its sidecar, and beside an .h5 the .csv that says the same."""
    twin = path.with_suffix(".csv")
    is_twin = path.suffix == ".h5" and is_there(twin) and sniff(twin, head_of(twin))
    beside = sidecar(path, _FORM)
    return (path, *([beside] if beside is not None else []), *([twin] if is_twin else []))


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError, with the sidecar to write, where nothing states how fast the video ran."""
    beside = sidecar(path, _FORM)
    if beside is None:
        raise FormatError(
            f"{path}: numbers its frames and states no rate; wanted is a {path.stem}.toml beside it with lines "
            f'`format = "{_FORM}"` and `rate_hz = 30`, and what is true of the video'
        )
    side = validated(beside, _Sidecar, read_toml(beside))
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    with path.open("rb") as file:
        pose = _of_hdf5(path) if file.read(len(SIGNATURE)) == SIGNATURE else _of_csv(path)
    n = len(pose.values)
    base = Timebase(rate_hz=side.rate_hz, start_s=pose.first_frame / side.rate_hz, n_samples=n)
    streams = [
        signal_of(group, pose.values[:, list(group.columns)], [(slice(0, n), base)]) for group in _groups(path, pose)
    ]
    return [
        Recording(
            clock=side.clock or path.stem,
            format=_FORM,
            files=files(path),
            streams=tuple(streams),
            start=side.start,
        )
    ]


def _groups(path: Path, pose: _Pose) -> Iterator[Group]:
    """A position per body part, then the likelihood of all."""
    at = {column: k for k, column in enumerate(pose.columns)}
    parts = list(dict.fromkeys(column[:2] for column in pose.columns))
    for individual, part in parts:
        if not {(individual, part, "x"), (individual, part, "y")} <= at.keys():
            raise FormatError(f"{path}: body part {part!r} has no x and y; both are wanted")
        yield Group(
            name=" ".join(said for said in ("position", individual, part) if said),
            modality="position",
            unit="px",
            channels=("x", "y"),
            columns=(at[individual, part, "x"], at[individual, part, "y"]),
        )
    told = [one for one in parts if (*one, "likelihood") in at]
    if told:
        yield Group(
            name="likelihood",
            modality="aux",
            unit="a.u.",
            channels=tuple(" ".join(said for said in one if said) for one in told),
            columns=tuple(at[(*one, "likelihood")] for one in told),
        )


# CSV ----------------------------------------------------------------------------------------------------------------


def _of_csv(path: Path) -> _Pose:
    """Raises FormatError, naming the line, for a row of another number of cells or a cell that is no number."""
    headers: dict[str, list[str]] = {}
    rows: list[NDArray[np.float32]] = []
    frames: list[int] = []
    with path.open("r", encoding="utf-8-sig", errors="replace", newline=None) as file:
        for line, text in enumerate(file, start=1):
            cells = [cell.strip() for cell in text.rstrip("\n").split(",")]
            if line <= 4 and number(cells[0]) is None:
                headers[cells[0]] = cells[1:]
            elif text.strip():
                frames.append(_frame(path, line, cells, len(headers["coords"])))
                rows.append(np.array([_value(path, line, cell) for cell in cells[1:]], dtype=np.float32))
    if not rows:
        raise FormatError(f"{path}: no frames below its header; some are wanted")
    if (np.diff(frames) != 1).any():
        k = int((np.diff(frames) != 1).argmax())
        raise FormatError(f"{path}: frame {frames[k + 1]} follows frame {frames[k]}; every frame is wanted, in order")
    individuals = headers.get("individuals", [""] * len(headers["coords"]))
    names = zip(individuals, headers["bodyparts"], headers["coords"], strict=True)
    return _Pose(tuple(names), np.stack(rows), frames[0])


def _frame(path: Path, line: int, cells: Sequence[str], n_values: int) -> int:
    if len(cells) != n_values + 1:
        raise FormatError(f"{path}: line {line} has {len(cells)} cells; {n_values + 1} are wanted, as in its header")
    value = number(cells[0])
    if value is None or value != int(value):
        raise FormatError(f"{path}: line {line}: frame {cells[0][:40]!r}; a whole number is wanted")
    return int(value)


def _value(path: Path, line: int, cell: str) -> float:
    value = number(cell)
    if value is None:
        raise FormatError(f"{path}: line {line}: {cell[:40]!r} is no number; one is wanted")
    return value


# HDF5 ---------------------------------------------------------------------------------------------------------------


def _table_of(path: Path) -> str | None:
    """Where the table lies in a file that pandas wrote for DeepLabCut."""
    import h5py

    from neuroloom.ingest.formats._hdf5 import is_own

    try:
        with h5py.File(path, "r") as file:
            for key in _KEYS:
                if is_own(file, key) and is_own(file[key], "table") and isinstance(file[key]["table"], h5py.Dataset):
                    return f"{key}/table"
    except (OSError, RuntimeError, KeyError):
        pass
    return None


def _of_hdf5(path: Path) -> _Pose:
    import h5py

    name = _table_of(path)
    if name is None:
        raise FormatError(f"{path}: no table {_KEYS[0]!r} in it; one that DeepLabCut wrote is wanted")
    with h5py.File(path, "r") as file:
        table = file[name]
        check_stored(path, name, table, most=MAX_CHUNK_BYTES)
        blocks = [field for field in table.dtype.names or () if field.startswith("values_block_")]
        if table.size * table.dtype.itemsize > MAX_BYTES or not blocks:
            raise FormatError(
                f"{path}: {name} has {table.size} rows in blocks {blocks}; up to {MAX_BYTES} bytes are read"
            )
        columns: list[tuple[str, str, str]] = []
        values: list[NDArray[Any]] = []
        for field in blocks:
            columns += _columns(path, table.attrs.get(f"{field}_kind"))
            values.append(np.asarray(table.fields(field)[:], dtype=np.float32))
        frames = np.asarray(table.fields("index")[:])
    if len(columns) != sum(block.shape[1] for block in values):
        raise FormatError(
            f"{path}: {len(columns)} names for {sum(b.shape[1] for b in values)} columns; as many are wanted"
        )
    if frames.dtype.kind not in "iu" or (np.diff(frames) != 1).any():
        raise FormatError(f"{path}: its frames are not numbered one by one; every frame is wanted, in order")
    return _Pose(tuple(columns), np.concatenate(values, axis=1), int(frames[0]) if frames.size else 0)


def _columns(path: Path, stored: Any) -> list[tuple[str, str, str]]:
    """(individual, body part, coordinate) of (scorer, body part, coordinate), or of (scorer, individual, ...)."""
    raw = stored if isinstance(stored, bytes) else bytes(stored) if stored is not None else b""
    found = []
    for name in pickled_names(path, raw):
        if len(name) not in (3, 4):
            raise FormatError(f"{path}: a column is called {name!r}; scorer, body part and coordinate are wanted")
        found.append((name[1] if len(name) == 4 else "", name[-2], name[-1]))
    return found
