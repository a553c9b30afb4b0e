"""Write one NWB file: pynwb declares every dataset, h5py then fills those of samples block by block.

Memory stays at a few blocks whatever the length of a recording.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._nwb_layout import Series, encoded, safe_names
from neuroloom.ingest._nwb_skeleton import Skeleton
from neuroloom.ingest._threads import ahead
from neuroloom.ingest.chunks import codec_of, write_rows
from neuroloom.ingest.digest import Digester, header_of, rows_per_block
from neuroloom.ingest.hdf5_files import new_hdf5
from neuroloom.ingest.streams import Signal, Stream, as_slice
from neuroloom.ingest.timebase import PiecewiseTimebase

LIBVER = ("v110", "v110")  # from 1.10 on HDF5 guards its own metadata with checksums
GZIP: Mapping[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}

Blocks = Iterator[tuple[int, NDArray[Any]]]  # first row, rows


@dataclass(frozen=True, kw_only=True)
class FileHead:
    """What every file of a session says of it: what NWB requires, and the index without its streams.

    subject: the fields of an NWB Subject; subject_id at least. start: None where unknown.
    """

    identifier: str
    session_id: str
    subject: Mapping[str, str]
    description: str
    start: datetime | None
    index: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written: the index entry of every stream by name, the digest of every series' samples by path."""

    entries: Mapping[str, Any]
    digests: Mapping[str, str]


def bitshuffle() -> Mapping[str, Any]:
    """The filters of wideband traces: fast, and opened by whatever has hdf5plugin."""
    import hdf5plugin

    return {**hdf5plugin.Bitshuffle(cname="lz4"), "fletcher32": True, "allow_plugin_filters": True}


def write_nwb(
    path: Path,
    head: FileHead,
    streams: Sequence[Stream],
    *,
    fast: bool = False,
    elsewhere: Mapping[str, Mapping[str, Any]] | None = None,
    on_bytes: Callable[[int], None] = lambda n: None,
) -> Written:
    """Write streams into a new NWB file.

    fast: bitshuffle-lz4 instead of gzip. elsewhere: index entries of streams that lie in companions, by name; such a
    stream is listed here and stored there. on_bytes: told how many bytes of samples were just written.
    """
    skeleton = Skeleton(
        head,
        sample_filters=bitshuffle() if fast else GZIP,
        table_filters=GZIP,
        with_places=any(
            "x_um" in s.table for s in streams if isinstance(s, Signal) and s.name not in (elsewhere or {})
        ),
    )
    names = [stream.name for stream in streams]
    entries: dict[str, Any] = {}
    for stream, safe_name in zip(streams, safe_names(names), strict=True):
        entries[stream.name] = (elsewhere or {}).get(stream.name) or skeleton.add(stream, safe_name)
    index = encoded({**head.index, "streams": [entries[name] for name in names]})
    skeleton.add_index(json.dumps(index, allow_nan=False))
    return Written(entries=entries, digests=_filled(path, skeleton, on_bytes))


def _filled(path: Path, skeleton: Skeleton, on_bytes: Callable[[int], None]) -> dict[str, str]:
    """Write the file; returns the digests of its samples and times."""
    from pynwb import NWBHDF5IO

    with new_hdf5(path, libver=LIBVER) as (file, disk):

        def written(n_bytes: int) -> None:
            disk.check()
            on_bytes(n_bytes)

        io = NWBHDF5IO(mode="w", file=file)
        io.write(skeleton.nwb)
        digests = {f"{s.path}/data": _fill(file[f"{s.path}/data"], s, written) for s in skeleton.series}
        for series in skeleton.series:
            base = series.segment.timebase
            if isinstance(base, PiecewiseTimebase):
                digests[f"{series.path}/timestamps"] = _fill_times(file[f"{series.path}/timestamps"], base)
    return digests


def _fill(dataset: Any, series: Series, on_bytes: Callable[[int], None]) -> str:
    """Copy a segment's samples into their dataset; returns the digest of what was given to HDF5."""
    n_rows = series.shape[0]
    columns = slice(None) if series.is_whole else as_slice(np.asarray(series.columns))
    source = series.segment.samples
    rows = rows_per_block((n_rows, source.shape[1]), dataset.dtype.itemsize, dataset.chunks[0] if dataset.chunks else 1)

    def blocks() -> Blocks:
        for first in range(0, n_rows, rows):
            block = np.ascontiguousarray(source[slice(first, first + rows)][:, columns], dtype=dataset.dtype)
            if block.shape[0] != min(rows, n_rows - first):
                raise ValueError(
                    f"{series.signal.name}: {block.shape[0]} samples came at sample {first} of {n_rows}; "
                    f"{min(rows, n_rows - first)} are wanted"
                )
            yield first, block

    return _written(dataset, blocks(), on_bytes)


def _fill_times(dataset: Any, base: PiecewiseTimebase) -> str:
    """A time per sample into its dataset; returns the digest of what was given to HDF5."""
    rows = rows_per_block(dataset.shape, 8, dataset.chunks[0] if dataset.chunks else 1)
    starts = range(0, base.n_samples, rows)
    blocks = ((first, base.seconds(np.arange(first, min(first + rows, base.n_samples)))) for first in starts)
    return _written(dataset, blocks)


def _written(dataset: Any, blocks: Blocks, on_bytes: Callable[[int], None] = lambda n: None) -> str:
    """Write blocks of rows; returns the digest of the dataset that they make."""
    digester = Digester()
    digester.update(header_of(dataset.shape, dataset.dtype))

    def digested() -> Blocks:
        for first, block in ahead(blocks):
            digester.update(block)
            yield first, block
            on_bytes(block.nbytes)

    write_rows(dataset, codec_of(dataset), digested())
    return digester.digest()
