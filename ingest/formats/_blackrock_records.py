"""What the headers and packets of Blackrock's .nsX and .nev have in common: records, texts, dates, ticks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.ledger import Defect

NSX, NEV = (b"NEURALSG", b"NEURALCD", b"BRSMPGRP"), (b"NEURALEV", b"BREVENTS")
PTP_HZ = 1_000_000_000


def magic_of(path: Path) -> bytes:
    """The eight letters that a file begins with."""
    with path.open("rb") as file:
        return file.read(8)


def records(path: Path, dtype: np.dtype[Any], n: int = 1, at: int = 0) -> NDArray[Any]:
    """`n` records of a header. Raises FormatError where the file is too short for them."""
    size = path.stat().st_size
    if at + n * dtype.itemsize > size:
        raise FormatError(f"{path}: its header of {n} entries needs {at + n * dtype.itemsize} bytes; it has {size}")
    return np.fromfile(path, dtype, n, offset=at)


def text_of(raw: bytes) -> str:
    """Text up to its first NUL: what follows is whatever lay in memory."""
    return raw.partition(b"\x00")[0].decode("latin-1").strip()


def date_of(date: NDArray[Any]) -> datetime | None:
    """Year, month, day of the week, day, hour, minute, second, millisecond: UTC, as the specification says."""
    year, month, _, day, hour, minute, second, millisecond = (int(part) for part in date)
    try:
        return datetime(year, month, day, hour, minute, second, millisecond * 1000, tzinfo=UTC)
    except ValueError:
        return None


def unwrapped(ticks: NDArray[Any]) -> NDArray[np.int64]:
    """Ticks in 64 bits, shape (P,): those of 32 bits begin anew after 39.8 hours at 30 kHz."""
    wide = ticks.astype(np.int64)
    if ticks.dtype.itemsize == 4:
        steps = np.diff(wide)
        turns = (steps < -(1 << 31)).astype(np.int64) - (steps > 1 << 31)
        wide[1:] += np.cumsum(turns) << 32
    return wide


def seconds_of(ticks: Any, resolution: int, day_s: int) -> Any:
    """Seconds of ticks; those that count nanoseconds since 1970 from the day the recording began."""
    return (ticks - day_s * resolution if resolution >= PTP_HZ else ticks) / resolution


def last_part(path: Path, spans_s: Sequence[float], repairs: list[str]) -> int:
    """The part of a file that is kept where its clock was set back: the last. What ran before shares no clock with it.

    Raises FormatError where a part before is longer: then nobody can say which one is the recording.
    """
    if max(spans_s) > spans_s[-1]:
        raise FormatError(
            f"{path}: its clock was set back after {spans_s[0]:.3f} s, and {spans_s[-1]:.3f} s follow at the end; one "
            "recording whose last part is the longest is wanted"
        )
    if len(spans_s) > 1:
        lost_s = sum(spans_s[:-1])
        repairs.append(Defect(f"{path.name}: {lost_s:.3f} s recorded before its clock was set back", "left out"))
    return len(spans_s) - 1
