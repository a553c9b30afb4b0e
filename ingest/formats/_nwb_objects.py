"""Objects of an NWB file, and the plain values in them; nothing is read by a way that leads out of the file.

objects_of                             every group and typed dataset; the file is refused where anything leads out of it
Walk                                   a file while it is read, and what is left out
dataset_at, values_at, numbers_at      what lies at a path, refused where it claims what cannot be
text_of, number_of                     an attribute, or a scalar
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuroloom.ingest._nwb_layout import INDEX_PATH
from neuroloom.ingest._nwb_read import SessionFile, SessionFileError
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._hdf5 import chunk_bytes, is_stored_elsewhere
from neuroloom.ingest.timebase import FloatArray

_MAX_DEPTH = 32
_MAX_CHUNK_BYTES = 1 << 28
_MAX_RATIO = 10_000  # bytes of samples per byte of the file: no filter packs real ones so well
_SKIPPED = ("/specifications", "/general", INDEX_PATH)


class UnfitError(ValueError):
    """Why something in the file cannot be a stream."""


@dataclass(frozen=True, kw_only=True)
class Object:
    """A group or dataset: path, type as NWB has it ("" for none), types and names of what it lies in, h5py's object."""

    path: str
    kind: str = ""
    inside: tuple[str, ...] = ()
    item: Any = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


@dataclass(kw_only=True)
class Walk:
    """A file while it is read. left_out: for each reason the paths of what was left out."""

    file: SessionFile
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, reason: str, path: str) -> None:
        """Remember why something is left out."""
        self.left_out.setdefault(reason, []).append(path)

    def repairs(self) -> tuple[str, ...]:
        """One line per note, and per reason with some of the paths."""
        lines = []
        for reason, paths in self.left_out.items():
            more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
            lines.append(f"left out {', '.join(repr(path)[1:-1] for path in paths[:5])}{more}: {reason}")
        return (*self.notes, *lines)


def objects_of(path: Path, handle: h5py.File) -> Iterator[Object]:
    """Every group and typed dataset, parents first, what they hold right behind; each once, however many links it has.

    Raises FormatError where anything leads out of the file.
    """
    seen: set[int] = set()
    waiting = [Object(path="")]
    while waiting:
        here = waiting.pop()
        item = handle[here.path or "/"]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        here = replace(here, kind=type_of(item))
        if isinstance(item, h5py.Dataset):
            if is_stored_elsewhere(item):
                raise FormatError(f"{path}: {here.path!r} takes its samples from other files; one file is wanted")
        elif isinstance(item, h5py.Group):
            inside = (*here.inside, here.kind, here.name)
            below = [Object(path=f"{here.path}/{name}", inside=inside) for name in item]
            waiting += [child for child in reversed(below) if _is_own(path, handle, child)]
        if here.path and not here.path.startswith(_SKIPPED) and (here.kind or isinstance(item, h5py.Group)):
            yield here


def _is_own(path: Path, handle: h5py.File, child: Object) -> bool:
    """True for a hard link; False for a soft one, whose target is met where it lies. Raises FormatError for others."""
    link = handle.get(child.path, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise FormatError(f"{path}: {child.path!r} is a link to another file; one file is wanted")
    if child.path.count("/") > _MAX_DEPTH:
        raise FormatError(f"{path}: groups more than {_MAX_DEPTH} deep; fewer are wanted")
    return isinstance(link, h5py.HardLink)


def common_of(here: Object) -> dict[str, Any]:
    """Name (for now the path) and provenance of a stream."""
    about = {"nwb_path": here.path, "neurodata_type": here.kind}
    description = text_of(here.item.attrs["description"]) if "description" in here.item.attrs else ""
    if description and not description.startswith("no "):
        about["description"] = description[:1000]
    return {"name": here.path, "provenance": about}


def has(group: h5py.Group, name: str) -> bool:
    """True where a dataset of that name is there, or a link to one."""
    try:
        return group.get(name, getclass=True) is h5py.Dataset
    except (KeyError, RuntimeError):  # a link that leads nowhere, or in circles
        return False


def type_of(item: Any) -> str:
    """The type of a group or dataset as NWB has it, "" for none."""
    return text_of(item.attrs["neurodata_type"]) if "neurodata_type" in item.attrs else ""


# Values --------------------------------------------------------------------------------------------------------------


def dataset_at(walk: Walk, path: str) -> tuple[str, h5py.Dataset]:
    """Where the dataset at `path` really lies, and it. Raises UnfitError where it is missing or claims what cannot be.

    Links within the file are followed: no other kind is left in it by now.
    """
    real = _resolved(walk.file.handle, path)
    try:
        dataset = walk.file.dataset(real)
    except SessionFileError as error:
        raise UnfitError(f"its {path.rpartition('/')[2]!r} is no dataset") from error
    claimed, stored = (dataset.size or 0) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    at_once = max(chunk_bytes(dataset), dataset.dtype.itemsize)
    if claimed and not stored:
        raise UnfitError(f"claims values of shape {dataset.shape}, of which none is stored")
    if claimed > _MAX_RATIO * walk.file.path.stat().st_size or at_once > _MAX_CHUNK_BYTES:
        raise UnfitError(f"claims values of shape {dataset.shape}, more than a file of this size can hold")
    return real, dataset


def _resolved(handle: h5py.File, path: str) -> str:
    """A path without soft links. Raises UnfitError where it leads nowhere or in circles."""
    todo = [part for part in path.split("/") if part]
    real = ""
    for _ in range(_MAX_DEPTH * _MAX_DEPTH):
        if not todo:
            return real
        part = todo.pop(0)
        if part in (".", ""):
            continue
        link = handle.get(f"{real}/{part}", getlink=True)
        if isinstance(link, h5py.HardLink):
            real = f"{real}/{part}"
        elif isinstance(link, h5py.SoftLink):
            target = [p for p in link.path.split("/") if p]
            todo = [*target, *todo]
            real = "" if link.path.startswith("/") else real
        else:
            raise UnfitError(f"has no {path.rpartition('/')[2]!r}")
    raise UnfitError("its links lead in circles")


def values_at(walk: Walk, path: str) -> list[Any] | None:
    """A column as plain values: numbers, flags or text, one per row; None where it is anything else."""
    real, dataset = dataset_at(walk, path)
    if dataset.ndim != 1 or not (dataset.dtype.kind in "biuf" or _is_text(dataset.dtype)):
        return None
    return [text_of(value) for value in dataset[:]] if _is_text(dataset.dtype) else list(walk.file.read(real).tolist())


def numbers_at(walk: Walk, path: str) -> FloatArray:
    """A column of numbers, shape (N,). Raises UnfitError where it is none."""
    real, dataset = dataset_at(walk, path)
    if dataset.ndim != 1 or dataset.dtype.kind not in "iuf":
        raise UnfitError(f"its {path.rpartition('/')[2]!r} is no row of numbers")
    return np.asarray(walk.file.read(real), dtype=np.float64)


def _is_text(dtype: np.dtype[Any]) -> bool:
    return h5py.check_string_dtype(dtype) is not None


def text_of(value: Any) -> str:
    """Text of an attribute or a scalar, whichever way HDF5 holds it."""
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def texts_of(value: Any) -> list[str]:
    """Texts of an attribute."""
    return [] if isinstance(value, h5py.Empty) else [text_of(item) for item in np.atleast_1d(value)]


def number_of(value: Any, otherwise: float) -> float:
    """A number of an attribute, `otherwise` where it is not there. Raises UnfitError where it is no finite number."""
    try:
        number = otherwise if value is None else float(np.asarray(value).ravel()[0])
    except (TypeError, ValueError, LookupError) as error:
        raise UnfitError(f"states {str(value)[:40]!r} where a number is wanted") from error
    if not math.isfinite(number):
        raise UnfitError(f"states {number} where a finite number is wanted")
    return number
