"""The records of Neuralynx files, memory-mapped: what kind they are follows from their size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._neuralynx_header import HEADER_BYTES, Header
from neuroloom.ingest.ledger import Defect

NCS, EVENT, VIDEO, RAW = "ncs", "event", "video", "raw"
SPIKE_CHANNELS = {"nse": 1, "nst": 2, "ntt": 4}
NCS_SAMPLES = 512
DAY_US = 86_400_000_000


def _spikes(n_wires: int) -> np.dtype[Any]:
    return np.dtype([
        ("time_us", "<u8"), ("channel", "<u4"), ("cell", "<u4"), ("features", "<i4", 8), ("wave", "<i2", (32, n_wires)),
    ])  # fmt: skip


DTYPES: dict[str, np.dtype[Any]] = {
    NCS: np.dtype([
        ("time_us", "<u8"), ("channel", "<u4"), ("rate_hz", "<u4"), ("n_valid", "<u4"), ("samples", "<i2", NCS_SAMPLES),
    ]),
    EVENT: np.dtype([
        ("start", "<i2"), ("system", "<i2"), ("n_bytes", "<i2"), ("time_us", "<u8"), ("id", "<i2"), ("word", "<u2"),
        ("check", "<i2"), ("pad", "<i2", 2), ("extra", "<i4", 8), ("text", "S128"),
    ]),
    VIDEO: np.dtype([
        ("start", "<u2"), ("system", "<u2"), ("n_bytes", "<u2"), ("time_us", "<u8"), ("points", "<u4", 400),
        ("check", "<i2"), ("x", "<i4"), ("y", "<i4"), ("angle", "<i4"), ("targets", "<i4", 50),
    ]),
    **{kind: _spikes(n_wires) for kind, n_wires in SPIKE_CHANNELS.items()},
}  # fmt: skip
NCS_HEAD_BYTES = 20  # of a record, before its samples
_KINDS = {".ncs": NCS, ".nev": EVENT, ".nvt": VIDEO, ".nrd": RAW} | {f".{kind}": kind for kind in SPIKE_CHANNELS}


def records_of(path: Path, header: Header, repairs: list[str]) -> tuple[str, NDArray[Any]]:
    """The kind of a file and its whole records; none of raw data, which is left out.

    Raises FormatError where neither the size of records nor the file's name says what it is.
    """
    by_size = {dtype.itemsize: kind for kind, dtype in DTYPES.items()}
    kind = by_size.get(header.record_bytes) or ("" if header.record_bytes else _KINDS.get(path.suffix.lower(), ""))
    if kind == RAW or (not kind and path.suffix.lower() == ".nrd"):
        repairs.append(f"{path.name}: raw data of the whole system, which .ncs files were made of, left out")
        return RAW, np.zeros(0, [("time_us", "<u8")])
    if not kind:
        raise FormatError(
            f"{path}: records of {header.record_bytes} bytes; {', '.join(map(str, sorted(by_size)))} are wanted"
        )
    dtype = DTYPES[kind]
    n, rest = divmod(path.stat().st_size - HEADER_BYTES, dtype.itemsize)
    if rest:
        repairs.append(Defect(f"{path.name}: {rest} bytes after the last whole record left out"))
    if not n:
        repairs.append(f"{path.name}: holds no records")
        return kind, np.zeros(0, dtype)
    rows = np.memmap(path, dtype, mode="r", offset=HEADER_BYTES, shape=(n,))
    if int(rows["time_us"].max()) >> 62:
        raise FormatError(f"{path}: a record at {int(rows['time_us'].max())} µs; no device counts that far")
    return kind, rows
