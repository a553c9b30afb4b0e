"""EGI simple binary (`.raw`): a big-endian header, then per sample the numbers of all channels and of all event codes.

    version 2, 4, 6        continuous int16, float32, float64; 3, 5, 7 are cut into segments and refused
    microvolts             number * range / 2^bits where both are stated, else the numbers themselves
    event codes            of four letters; a code is there at a sample where its number is not 0

Design rationale: MNE takes range / 2^bits for volts, where EGI's description, EEGLAB and FieldTrip have microvolts; its
annotations repeat a code at every sample of a run, here it is the first that counts.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._mapped import Mapped, mapped
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "EGI simple binary"
MODALITY = "eeg"
KEEPS = "int16, float32 or float64, event codes; not categories, not files cut into segments"
TESTED_ON = (
    "a real file of MNE-Python's testing data (float32); other types and scaling on files written by this project only"
)

MAX_CODES = 1_000_000  # moments at which one is there
_HEAD = struct.Struct(">i6hi5h")  # version, date and time, ms, rate, channels, gain, bits, range
_COUNTS = struct.Struct(">ih")  # samples, event codes
_DTYPES = {2: ">i2", 4: ">f4", 6: ">f8"}
_BLOCK_SAMPLES = 100_000


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the header states; samples begin at byte `data_at`."""

    dtype: str
    start: datetime
    rate_hz: float
    n_channels: int
    n_samples: int
    codes: tuple[str, ...]
    gain_uV: float

    @property
    def data_at(self) -> int:
        return _HEAD.size + _COUNTS.size + 4 * len(self.codes)


def sniff(path: Path, head: bytes) -> bool:
    """True for a version of 2 to 7, a date and a time that there are, and a rate and channels above 0."""
    if len(head) < _HEAD.size or not head.startswith(b"\0\0\0") or not 2 <= head[3] <= 7:
        return False
    _, *date, ms, rate, n_channels, _, bits, _ = _HEAD.unpack_from(head)
    return _date(date, ms) is not None and rate > 0 and n_channels > 0 and 0 <= bits <= 64


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording: EEG in microvolts, and the event codes."""
    header = _header(path)
    repairs: list[str] = []
    width = header.n_channels + len(header.codes)
    frame_bytes = width * np.dtype(header.dtype).itemsize
    there = (path.stat().st_size - header.data_at) // frame_bytes
    if there < 1:
        raise FormatError(f"{path}: no whole sample of {frame_bytes} bytes; at least one is wanted")
    n_samples = min(there, header.n_samples) if header.n_samples > 0 else there
    if there != header.n_samples:
        repairs.append(Defect(f"header states {header.n_samples} samples, {there} are there", f"{n_samples} samples"))
    frames = mapped(path, header.dtype, (n_samples, width), offset=header.data_at)
    base = Timebase(rate_hz=header.rate_hz, n_samples=n_samples)
    channels = [Channel(name=f"E{k + 1}", kind="eeg", unit="uV", gain=header.gain_uV) for k in range(header.n_channels)]
    segment = Segment(samples=Mapped(frames[:, : header.n_channels]), timebase=base)
    streams: list[Stream] = [*signals_of([segment], channels, repairs)]
    streams += _events(path, frames[:, header.n_channels :], header.codes, base)
    return [
        Recording(
            clock=path.stem,
            format="egi_raw",
            files=(path,),
            streams=tuple(streams),
            start=header.start,
            repairs=tuple(repairs),
        )
    ]


def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        head = file.read(_HEAD.size + _COUNTS.size)
        if len(head) < _HEAD.size + _COUNTS.size:
            raise FormatError(f"{path}: {len(head)} bytes; a header has {_HEAD.size + _COUNTS.size}")
        version, *date, ms, rate, n_channels, _, bits, value_range = _HEAD.unpack_from(head)
        if version in (3, 5, 7):
            raise FormatError(f"{path}: is cut into segments (version {version}); a continuous file is wanted")
        start = _date(date, ms)
        if version not in _DTYPES or start is None or rate <= 0 or n_channels <= 0 or not 0 <= bits <= 64:
            raise FormatError(
                f"{path}: version {version}, {rate} Hz, {n_channels} channels, {bits} bits; version 2, 4 or 6 with a "
                "date, a rate and channels is wanted"
            )
        n_samples, n_codes = _COUNTS.unpack_from(head, _HEAD.size)
        codes = file.read(4 * max(n_codes, 0))
    if n_samples < 0 or n_codes < 0 or len(codes) < 4 * n_codes:
        raise FormatError(f"{path}: states {n_samples} samples and {n_codes} event codes; a whole header is wanted")
    return _Header(
        dtype=_DTYPES[version],
        start=start,
        rate_hz=float(rate),
        n_channels=n_channels,
        n_samples=n_samples,
        codes=tuple(codes[k : k + 4].decode("latin-1").strip(" \0") for k in range(0, len(codes), 4)),
        gain_uV=value_range / 2.0**bits if bits and value_range else 1.0,
    )


def _date(date: Sequence[int], ms: int) -> datetime | None:
    try:
        year, month, day, hour, minute, second = date
        return datetime(year, month, day, hour, minute, second, 1000 * ms)
    except ValueError:
        return None


def _events(path: Path, tracks: NDArray[Any], codes: Sequence[str], base: Timebase) -> list[Events]:
    """The first sample of every run at which a code is there."""
    rows: list[NDArray[np.int64]] = []
    before = np.zeros((1, len(codes)), dtype=np.bool_)
    for first in range(0, len(tracks), _BLOCK_SAMPLES):
        there = tracks[first : first + _BLOCK_SAMPLES] != 0
        risen = np.argwhere(there & ~np.concatenate([before, there[:-1]]))
        rows.append(risen + np.array([first, 0]))
        before = there[-1:]
        if sum(map(len, rows)) > MAX_CODES:
            raise FormatError(f"{path}: event codes at more than {MAX_CODES} moments; fewer are wanted")
    found = np.concatenate(rows)
    if not len(found):
        return []
    labels = tuple(codes[k] or f"track {k + 1}" for k in found[:, 1])
    return [Events(name="events", modality="sync", times_s=base.seconds(found[:, 0]), labels=labels)]
