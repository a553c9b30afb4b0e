"""Sortings that SpikeInterface saved, as a folder (`numpysorting_info.json`), as `npz_folder`, or as zarr.

    numpysorting_info.json + spikes.npy + properties/*.npy      `sorting.save(folder=...)`, and within an analyzer
    npz.json + sorting_cached.npz + properties/*.npy            `sorting.save(format="npz_folder")`
    NAME.zarr/ with spikes/, unit_ids, properties/              `sorting.save(format="zarr")`, and within an analyzer

Units in samples, a part per segment: beside the recording that was sorted they get its times (`ingest/sortings.py`).
Properties with one value per unit are columns; "quality" or "KSLabel" of good, mua, noise give `kind` and `accepted`.

Design rationale: `spikeinterface.load` imports whatever class a JSON names and unpickles what lies beside it, so a
folder from anywhere is a program. Here arrays are read as numbers and text, never unpickled, and of zarr only arrays
whose codecs compress and nothing else (`numcodecs` has one that unpickles).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._json import read_object
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._npy import LIES, array_of, same_length
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.sortings import COUNTED
from neuroloom.ingest.streams import Units

TITLE = "SpikeInterface sorting (folder, zarr)"
MODALITY = "units"
TESTED_ON = "folders that SpikeInterface wrote"
KEEPS = "spike trains of every unit, per segment, and properties of one value per unit; not waveforms and metrics"

_INFO, _NPZ = "numpysorting_info.json", "npz.json"
_MAX_JSON_BYTES = 16 << 20
_MAX_FILES = 20_000
_MOST = 5e8  # values of an array, and of a chunk, which is unpacked whole
_COMPRESS = ("blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "delta", "shuffle", "fixedscaleoffset")
_KINDS = {"good": "sorted", "mua": "unsorted", "noise": "noise"}
Get = Callable[[str], NDArray[Any]]


def sniff(path: Path, head: bytes) -> bool:
    """True for the JSON of such a folder, and for a zarr folder that holds spikes."""
    if path.is_dir():
        return _zarr_root(path) is not None
    if path.name == _INFO:
        return head.lstrip()[:1] == b"{" and b'"unit_ids"' in head and is_there(path.with_name("spikes.npy"))
    return path.name == _NPZ and b"SortingExtractor" in head and is_there(path.with_name("sorting_cached.npz"))


def _zarr_root(path: Path) -> Path | None:
    """The zarr group of the sorting: the folder itself, or within that of an analyzer."""
    for root in (path, path / "sorting"):
        if (
            is_there(root / ".zgroup")
            and is_there(root / "spikes" / "sample_index" / ".zarray")
            and not root.is_symlink()
        ):
            return root
    return None


def files(path: Path) -> tuple[Path, ...]:
    """Everything that belongs to the sorting, what names it first. Links are left out."""
    if path.is_dir():
        return tuple(f for f in sorted(path.rglob("*")) if is_there(f))[:_MAX_FILES]
    beside = [f for f in sorted(path.parent.iterdir()) if f != path and f.suffix in (".npy", ".npz", ".json")]
    properties = path.with_name("properties")
    beside += sorted(properties.glob("*.npy")) if properties.is_dir() and not properties.is_symlink() else []
    return (path, *(f for f in beside if is_there(f)))


def read(path: Path) -> list[Recording]:
    """One Recording: Units, a part per segment where the recording that was sorted had several."""
    if path.is_dir():
        rate_hz, ids, spikes, properties = _of_zarr(path)
    elif path.name == _INFO:
        rate_hz, ids, spikes, properties = _of_folder(path)
    else:
        rate_hz, ids, spikes, properties = _of_npz(path)
    if not (np.isfinite(rate_hz) and 0 < rate_hz < 1e9):
        raise FormatError(f"{path}: a sampling frequency of {rate_hz}; a number above 0 is wanted")
    table = _table(properties, len(ids))
    parts = [_part(path, part, k if len(spikes) > 1 else None, ids, rate_hz, table) for k, part in enumerate(spikes)]
    name = path.stem if path.is_dir() else path.parent.name
    if name == "sorting":
        name = path.parent.parent.name if not path.is_dir() else path.parent.name
    return [Recording(clock=name, format="spikeinterface_sorting", files=files(path), streams=tuple(parts))]


def _part(
    path: Path,
    spikes: tuple[NDArray[np.int64], NDArray[np.int64]],
    segment: int | None,
    ids: Sequence[str],
    rate_hz: float,
    table: Mapping[str, tuple[Any, ...]],
) -> Units:
    samples, units = spikes
    if samples.size and not (0 <= units.min() <= units.max() < len(ids) and samples.min() >= 0):
        raise FormatError(
            f"{path}: a spike of unit {int(units.max())} at {int(samples.min())}; {len(ids)} units are stated"
        )
    trains = [np.sort(samples[units == k]) / rate_hz for k in range(len(ids))]
    provenance: dict[str, Any] = {"made_by": "SpikeInterface", COUNTED: rate_hz, "source": []}
    return Units(
        name="units" if segment is None else f"units {segment}",
        unit_names=tuple(ids),
        spike_times_s=tuple(trains),
        table=table,
        provenance=provenance if segment is None else {**provenance, "segment": segment},
    )


def _json(path: Path) -> dict[str, Any]:
    if not is_there(path):
        raise FormatError(f"{path}: is not there, or a link; JSON is wanted")
    return read_object(path, most=_MAX_JSON_BYTES)


Found = tuple[float, list[str], list[tuple[NDArray[np.int64], NDArray[np.int64]]], dict[str, NDArray[Any]]]


def _of_folder(path: Path) -> Found:
    info = _json(path)
    ids, n, rate_hz = info.get("unit_ids"), info.get("num_segments"), info.get("sampling_frequency")
    if (
        not isinstance(ids, list)
        or not isinstance(n, int)
        or not 1 <= n <= 100_000
        or not isinstance(rate_hz, int | float)
    ):
        raise FormatError(f"{path}: unit_ids, num_segments and sampling_frequency are not all stated; they are wanted")
    spikes = array_of(path.with_name("spikes.npy"), kinds="V")
    if not {"sample_index", "unit_index", "segment_index"} <= set(spikes.dtype.names or ()):
        raise FormatError(
            f"{path.with_name('spikes.npy')}: fields {spikes.dtype.names}; samples, units, segments are wanted"
        )
    columns = [np.asarray(spikes[f"{key}_index"]).astype(np.int64) for key in ("sample", "unit", "segment")]
    parts = [(columns[0][columns[2] == k], columns[1][columns[2] == k]) for k in range(n)]
    return float(rate_hz), [str(i) for i in ids], parts, _properties(path)


def _of_npz(path: Path) -> Found:
    archive = path.with_name("sorting_cached.npz")
    try:
        with np.load(archive, allow_pickle=False) as found:
            rate_hz, ids = float(found["sampling_frequency"][0]), [str(i) for i in found["unit_ids"].tolist()]
            n = int(found["num_segment"][0]) if "num_segment" in found else 1
            if not 1 <= n <= 100_000:
                raise FormatError(f"{archive}: {n} segments; 1 to 100000 are wanted")
            parts = [_npz_part(archive, found, k, ids, n) for k in range(n)]
    except FormatError:
        raise
    except LIES as error:
        raise FormatError(f"{archive}: {one_line(error)[:200]}; a sorting of numbers is wanted") from error
    return rate_hz, ids, parts, _properties(path)


def _npz_part(
    path: Path, found: Any, k: int, ids: Sequence[str], n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    suffix = f"_seg{k}" if n > 1 or f"spike_indexes_seg{k}" in found else ""
    samples, labels = found[f"spike_indexes{suffix}"], found[f"spike_labels{suffix}"]
    same_length(path, samples, labels)
    place = {name: i for i, name in enumerate(ids)}
    units = np.array([place.get(str(label), -1) for label in labels.tolist()], dtype=np.int64)
    return samples.astype(np.int64), units


def _properties(path: Path) -> dict[str, NDArray[Any]]:
    """Values per unit of plain kinds; what would have to be unpickled is left out."""
    folder = path.with_name("properties")
    found: dict[str, NDArray[Any]] = {}
    if not folder.is_dir() or folder.is_symlink():
        return found
    for file in sorted(folder.glob("*.npy")):
        try:
            found[file.stem] = np.asarray(array_of(file, kinds="biufSU")[:])
        except FormatError:
            continue
    return found


def _of_zarr(path: Path) -> Found:
    root = _zarr_root(path)
    if root is None:
        raise FormatError(f"{path}: no zarr group of spikes; one is wanted")
    rate_hz = _json(root / ".zattrs").get("sampling_frequency")
    if not isinstance(rate_hz, int | float):
        raise FormatError(f"{root / '.zattrs'}: sampling_frequency is {rate_hz!r}; a number is wanted")
    ids = [str(i) for i in _zarr(root, "unit_ids", "iufSU").tolist()]
    samples, units = (_zarr(root, f"spikes/{key}_index", "iu").astype(np.int64) for key in ("sample", "unit"))
    slices = _zarr(root, "spikes/segment_slices", "iu").reshape(-1, 2).astype(np.int64)
    same_length(root, samples, units)
    if not len(slices) or slices.min() < 0 or slices.max() > samples.size or (np.diff(slices, axis=1) < 0).any():
        raise FormatError(f"{root}: segments {slices.tolist()[:3]} of {samples.size} spikes; parts of them are wanted")
    properties = {}
    for folder in sorted((root / "properties").iterdir()) if (root / "properties").is_dir() else []:
        try:
            properties[folder.name] = _zarr(root, f"properties/{folder.name}", "biufSU")
        except FormatError:
            continue
    return float(rate_hz), ids, [(samples[a:b], units[a:b]) for a, b in slices.tolist()], properties


def _zarr(root: Path, name: str, kinds: str) -> NDArray[Any]:
    """A zarr array whose description names codecs that compress, read whole."""
    place = root / name
    described = _json(place / ".zarray")
    codecs = [described.get("compressor"), *(described.get("filters") or [])]
    named = [codec.get("id") if isinstance(codec, dict) else codec for codec in codecs]
    if any(codec is not None and codec not in _COMPRESS for codec in named):
        raise FormatError(f"{place}: codecs {named}; of those that only compress, {', '.join(_COMPRESS)}, is wanted")
    if any(f.is_symlink() for f in (place, place.parent, *place.iterdir())):
        raise FormatError(f"{place}: is a link, or holds one; a real folder of files is wanted")
    try:
        dtype = np.dtype(described["dtype"])
        shape, chunk = (tuple(int(n) for n in described[key]) for key in ("shape", "chunks"))
        if dtype.kind not in kinds or max(np.prod(shape, dtype=np.float64), np.prod(chunk, dtype=np.float64)) > _MOST:
            raise FormatError(
                f"{place}: {dtype} of shape {shape} in chunks of {chunk}; fewer of kind {kinds} are wanted"
            )
        import zarr

        return np.asarray(zarr.open(str(place), mode="r")[:])
    except FormatError:
        raise
    except (ValueError, KeyError, TypeError, OSError, RuntimeError, IndexError, MemoryError, OverflowError) as error:
        raise FormatError(f"{place}: {one_line(error)[:200]}; a zarr array is wanted") from error


def _table(properties: Mapping[str, NDArray[Any]], n_units: int) -> dict[str, tuple[Any, ...]]:
    """Columns of one value per unit, and what a label means."""
    table: dict[str, tuple[Any, ...]] = {
        name: tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values.tolist())
        for name, values in properties.items()
        if values.shape == (n_units,)
    }
    labels = next((table[name] for name in ("quality", "KSLabel", "curated_label", "label") if name in table), None)
    if labels is not None and all(isinstance(label, str) for label in labels):
        told = [label.lower() for label in labels]
        table |= {
            "kind": tuple(_KINDS.get(label, "sorted") for label in told),
            "accepted": tuple(label == "good" or not any(told) for label in told),
        }
    return table
