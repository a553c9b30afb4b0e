"""The fields of EEGLAB's struct EEG, the same from a file of MATLAB 5 as from one of 7.3 (HDF5).

numbers an array        text a str          cells a list
a struct a dict         several of them, or none, a list of dicts
samples of a 7.3 file   where they lie, not read yet

is_eeglab(path)         whether a MATLAB file has them: in a struct EEG, or side by side
fields(path)            those that are read
text, number, rows      a field as what it should be, whatever it is
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._eeglab_samples import Stored
from neuroloom.ingest.formats._hdf5 import (
    MATLAB_AT,
    SIGNATURE,
    check_stored,
    is_own,
    is_references,
    is_text,
    own,
    text_rows,
)
from neuroloom.ingest.formats._matlab5 import Matrix, variables
from neuroloom.ingest.formats._messages import one_line

MAX_UNPACKED_BYTES = 1 << 28  # of what a MATLAB 5 file holds compressed: it is held in memory as long as the samples
MAX_FIELD_BYTES = 1 << 26  # of a field of a 7.3 file other than the samples, and of a chunk of those
MAX_ROWS = 1_000_000  # events
MAX_VARIABLES = 1000

_FIELDS = (
    "data", "history", "setname", "nbchan", "pnts", "trials", "srate", "chanlocs", "chaninfo", "ref", "event",
    "urevent",
)  # fmt: skip
_ESSENTIAL = {"data", "nbchan", "pnts", "srate", "chanlocs"}
_ADVICE = "save it with the samples in a separate .fdt (EEGLAB: Preferences, 'save two files')"


def is_eeglab(path: Path, head: bytes) -> bool:
    """True for a MATLAB file with a struct EEG that has these fields, or with the fields side by side."""
    if head[MATLAB_AT : MATLAB_AT + 8] == SIGNATURE:
        return _is_matlab73(path)
    return head[:6] == b"MATLAB" and _is_matlab5(path)


def fields(path: Path) -> dict[str, Any]:
    """Raises FormatError where the file is damaged, holds too much at once, or lacks what EEGLAB always writes."""
    with path.open("rb") as file:
        head = file.read(MATLAB_AT + 8)
    if len(head) < 136:
        raise FormatError(f"{path}: {len(head)} bytes; a MATLAB file starts with a header of 128 and a variable")
    found = of_matlab73(path) if head[MATLAB_AT:] == SIGNATURE else of_matlab5(path)
    missing = sorted(_ESSENTIAL - {"chanlocs"} - found.keys())
    if missing:
        raise FormatError(f"{path}: has no {', '.join(missing)}; EEGLAB writes it")
    return found


def text(value: Any) -> str:
    """Text, or a number as text; empty where there is none."""
    if isinstance(value, list) and len(value) == 1:  # a cell around it
        return text(value[0])
    if isinstance(value, str):
        return value.strip()
    found = number(value)
    return "" if np.isnan(found) else f"{found:.15g}"


def number(value: Any) -> float:
    """One number, NaN where there is none, or more than one."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf":
        return float(value.ravel()[0])
    return float(value) if isinstance(value, int | float) else float("nan")


def rows(value: Any) -> list[dict[str, Any]]:
    """An array of structs, whatever its length, as dicts."""
    found = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [row for row in found if isinstance(row, dict)]


# MATLAB 5 ------------------------------------------------------------------------------------------------------------


def _is_matlab5(path: Path) -> bool:
    names = set()
    for variable in islice(variables(path), MAX_VARIABLES):
        if variable.name == "EEG" and set(variable.fields) >= _ESSENTIAL:
            return True
        names.add(variable.name)
    return names >= _ESSENTIAL


def of_matlab5(path: Path) -> dict[str, Any]:
    """The fields that are read. What is compressed is unpacked as a whole."""
    found: dict[str, Any] = {}
    left = MAX_UNPACKED_BYTES
    for variable in islice(variables(path), MAX_VARIABLES):
        is_eeg = variable.name == "EEG" and set(variable.fields) >= _ESSENTIAL
        if not is_eeg and variable.name not in _FIELDS:
            continue
        matrix = variable.matrix(left)
        if matrix is None:
            most = MAX_UNPACKED_BYTES >> 20
            raise FormatError(f"{path}: more than {most} MB once unpacked; up to {most} are wanted: {_ADVICE}")
        left -= matrix.held_bytes
        value = _value(matrix, _FIELDS if is_eeg else ())
        if is_eeg and not isinstance(value, dict):
            raise FormatError(f"{path}: EEG is an array of several recordings; one is wanted")
        found |= value if is_eeg else {variable.name: value}
    return found


def _value(matrix: Matrix, wanted: Collection[str] = ()) -> Any:
    """What is in a matrix; of a struct only the wanted fields, if any. None for objects and the like."""
    match matrix.kind:
        case "struct":
            found = [{name: _value(field) for name, field in row.items()} for row in matrix.rows(wanted)]
            return found[0] if len(found) == 1 else found
        case "cell":
            return [_value(cell) for cell in matrix.cells()]
        case "text":
            return _joined(matrix.letters(), matrix.shape[0])
        case "numbers":
            return matrix.numbers()
        case "empty":
            return np.zeros(0)
        case "other":
            return None


def _joined(letters: str, n_rows: int) -> str:
    """The rows of a matrix of letters, joined by blanks."""
    return " ".join(letters[k::n_rows].strip() for k in range(n_rows)) if 1 < n_rows <= len(letters) else letters


# MATLAB 7.3 ----------------------------------------------------------------------------------------------------------


def _is_matlab73(path: Path) -> bool:
    with h5py.File(path, "r") as file:
        eeg = file["EEG"] if is_own(file, "EEG") else None
        return set(file) >= _ESSENTIAL or (isinstance(eeg, h5py.Group) and set(eeg) >= _ESSENTIAL)


def of_matlab73(path: Path) -> dict[str, Any]:
    """The fields that are read, the samples left where they lie."""
    try:
        with h5py.File(path, "r") as file:
            home = _own(path, file, "EEG") if "EEG" in file else file
            names = [name for name in _FIELDS if name in home and name != "data"]
            found = {name: _stored_value(path, _own(path, home, name)) for name in names}
            data = _own(path, home, "data")
            stored = _stored_value(path, data) if is_text(data) else Stored(path, data.name, data.shape, data.dtype)
            return found | {"data": stored}
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"{path}: cannot be read as a MATLAB 7.3 file ({one_line(error)})") from error


def _own(path: Path, group: Any, name: str) -> Any:
    """A member that lies in this very file. Raises FormatError for a link, or storage that leads elsewhere."""
    return _in_file(path, own(path, group, name))


def _in_file(path: Path, item: Any) -> Any:
    if isinstance(item, h5py.Dataset):
        check_stored(path, item.name, item, most=MAX_FIELD_BYTES)
    return item


def _stored_value(path: Path, item: Any, depth: int = 0) -> Any:
    """A field; None for what lies deeper than EEGLAB puts anything that is kept."""
    if isinstance(item, h5py.Group):
        return _stored_structs(path, item) if depth == 0 else None
    if item.nbytes > MAX_FIELD_BYTES:
        raise FormatError(f"{path}: {item.name} has {item.nbytes} bytes; up to {MAX_FIELD_BYTES} are wanted")
    if "MATLAB_empty" in item.attrs:
        return np.zeros(0)
    if is_references(item):  # a cell
        is_one = item.size == 1 and depth < 2
        return _stored_value(path, _in_file(path, item.file[item[()].ravel()[0]]), depth + 1) if is_one else None
    values = np.asarray(item[()])
    return " ".join(row.strip() for row in text_rows(values)) if is_text(item) else values.ravel()


def _stored_structs(path: Path, group: Any) -> list[dict[str, Any]] | dict[str, Any]:
    """One struct as a dict; an array of them, whose fields are references without a class, as a list."""
    members = {name: _own(path, group, name) for name in group}
    columns = {}
    for name, member in members.items():
        if isinstance(member, h5py.Dataset) and is_references(member) and "MATLAB_class" not in member.attrs:
            if member.size > MAX_ROWS:
                raise FormatError(f"{path}: {member.name} has {member.size} entries; up to {MAX_ROWS} are wanted")
            columns[name] = [_in_file(path, group.file[reference]) for reference in member[()].ravel()]
    if not columns:
        return {name: _stored_value(path, member, 1) for name, member in members.items()}
    n_rows = min(len(column) for column in columns.values())
    return [{name: _stored_value(path, column[k], 1) for name, column in columns.items()} for k in range(n_rows)]
