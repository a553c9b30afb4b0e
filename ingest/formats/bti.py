"""4D Neuroimaging / BTi: a file of samples that ends with its own header, and beside it `config` and `hs_file`.

    c,rfDC, e,rfhp1.0Hz ...    int16, int32, float32, float64, all channels of a sample together; the header lies behind
    config                     gains and places of the channels, by their numbers; needed
    hs_file                    shape of the head: comes along, and is not read

value = number * scale * units per bit / gain for integers, number * scale * gain for floats, in the unit that the
channel states. `config` is the file of that name, or the one of the samples' name with "config" for "pdf", or the only
file beside it that is one.

Design rationale: MNE steps through every block of `config`, and as often as counts in it say; the blocks state their
size, so that they are stepped over here. Places are kept in the device's own coordinates, and no channel is renamed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._bti_config import Device, config_of, is_config
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._channels import kind_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._mapped import Mapped, mapped
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._mne_info import codes_of
from neuroloom.ingest.formats._triggers import triggers
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "4D / BTi"
MODALITY = "meg"
KEEPS = (
    "numbers as stored, places of the coils, codes, start; not the shape of the head, not weights, not several epochs"
)
TESTED_ON = "a real folder of MNE-Python (int16); other types of numbers on files written by this project only"

MAX_TRIGGERS = 1_000_000
_DTYPES = {1: ">i2", 2: ">i4", 3: ">f4", 4: ">f8"}
_HEAD_BYTES, _EPOCH_BYTES, _CHANNEL_BYTES, _EVENT_BYTES = 96, 56, 104, 72
_MAX_BESIDE = 1000
# Type of a channel in config: kind.
_KINDS = {1: "mag", 2: "eeg", 3: "ref_meg", 5: "stim"}


class _Row(NamedTuple):
    """A channel of the samples: label, number, scale, unit, column."""

    label: str
    number: int
    scale: float
    unit: str
    column: int


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What lies behind the samples."""

    dtype: str
    rate_hz: float
    n_samples: int
    start: datetime | None
    rows: tuple[_Row, ...]


def sniff(path: Path, head: bytes) -> bool:
    """True for a file whose last 8 bytes point at a header that begins as these do."""
    if len(head) < 200:
        return False
    try:
        with path.open("rb") as file:
            file.seek(-8, 2)
            size = file.tell() + 8
            at = _header_at(file.read(8))
            if not 0 < at <= size - 8 - _HEAD_BYTES:
                return False
            file.seek(at)
            found = file.read(12)
    except OSError:
        return False
    return found[2:5] == b"Bts" and struct.unpack_from(">h", found, 8)[0] in _DTYPES


def _header_at(tail: bytes) -> int:
    """Of the last 8 bytes only the lower half counts; a header begins at a multiple of 8."""
    at = int(struct.unpack(">Q", tail)[0]) & 0x7FFFFFFF
    return at + -at % 8


def files(path: Path) -> tuple[Path, ...]:
    """The samples, the config, the shape of the head where there is one. Raises FormatError without a config."""
    config = _config(path)
    shape = [path.with_name(name) for name in ("hs_file", config.name.replace("config", "hs"))]
    return (path, config, *[file for file in shape if file != config and is_there(file)][:1])


def _config(path: Path) -> Path:
    preferred = [path.with_name("config"), path.with_name(path.name.replace("pdf", "config"))]
    for file in preferred:
        if file != path and is_there(file) and is_config(file):
            return file
    beside = sorted(file for file in path.parent.iterdir() if file != path and is_there(file))
    found = [file for file in beside[:_MAX_BESIDE] if is_config(file)]
    if len(found) != 1:
        what = f"{shown([file.name for file in found])} may be its config" if found else "no config is beside it"
        raise FormatError(f"{path}: {what}; a file called 'config' is wanted")
    return found[0]


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind and unit of channel, and rising codes of its trigger channels."""
    repairs: list[str] = []
    all_files = files(path)
    header = _header(path)
    devices = config_of(all_files[1])
    is_whole = header.dtype in (">i2", ">i4")
    ordered = sorted(header.rows, key=lambda row: row.column)
    channels = [_channel(all_files[1], row, devices, is_whole) for row in ordered]
    source = mapped(path, header.dtype, (header.n_samples, len(ordered)))
    base = Timebase(rate_hz=header.rate_hz, n_samples=header.n_samples)
    stated = {"positions": "4D device coordinates"}
    signals = signals_of([Segment(samples=Mapped(source), timebase=base)], channels, repairs, stated=stated)
    streams: list[Stream] = [*signals, *triggers(signals, codes_of, most=MAX_TRIGGERS, repairs=repairs)]
    return [
        Recording(
            clock=path.name,
            format="bti",
            files=all_files,
            streams=tuple(streams),
            start=header.start,
            repairs=tuple(repairs),
        )
    ]


def _header(path: Path) -> _Header:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - 8, 0))
        tail = file.read(8)
        at = _header_at(tail) if len(tail) == 8 else 0
        if not 0 < at <= size - 8 - _HEAD_BYTES:
            raise FormatError(f"{path}: a header at byte {at} of {size}; it lies beyond the end")
        file.seek(at)
        raw = file.read(size - 8 - at)
    kind, _, n_epochs, _, n_events = struct.unpack_from(">hhiii", raw, 8)
    (period_s,) = struct.unpack_from(">f", raw, 28)
    n_processes, n_channels = struct.unpack_from(">ih", raw, 48)
    channels_at = _HEAD_BYTES + _EPOCH_BYTES * max(n_epochs, 0)
    events_at = channels_at + _CHANNEL_BYTES * max(n_channels, 0)
    if kind not in _DTYPES or n_epochs < 1 or n_channels < 1 or n_events < 0 or events_at > len(raw):
        raise FormatError(
            f"{path}: numbers of type {kind}, {n_channels} channels, {n_epochs} epochs in a header of {len(raw)} "
            "bytes; it lies, or is cut off"
        )
    if not (np.isfinite(period_s) and period_s > 0):
        raise FormatError(f"{path}: an interval of {period_s} s; one above 0 is wanted")
    if n_epochs > 1:
        raise FormatError(
            f"{path}: {n_epochs} epochs, and nothing tells when they were recorded; continuous data are wanted"
        )
    (n_samples,) = struct.unpack_from(">i", raw, _HEAD_BYTES)
    if not 0 < n_samples * n_channels * np.dtype(_DTYPES[kind]).itemsize <= at:
        raise FormatError(f"{path}: {n_samples} samples of {n_channels} channels in {at} bytes; it lies, or is cut off")
    rows = [_row(raw[channels_at + _CHANNEL_BYTES * k :][:_CHANNEL_BYTES]) for k in range(n_channels)]
    if sorted(row.column for row in rows) != list(range(n_channels)):
        raise FormatError(f"{path}: its {n_channels} channels do not have a place each within a sample")
    process_at = events_at + _EVENT_BYTES * n_events
    return _Header(
        dtype=_DTYPES[kind],
        # The interval has 24 bits: its reciprocal, rounded to as many, is the rate that was set.
        rate_hz=float(np.float32(1) / np.float32(period_s)),
        n_samples=n_samples,
        start=_start(raw, process_at) if n_processes > 0 else None,
        rows=tuple(rows),
    )


def _row(raw: bytes) -> _Row:
    number, _, scale = struct.unpack_from(">hhf", raw, 16)
    return _Row(_text(raw[:16]), number, float(scale), _text(raw[24:40]), struct.unpack_from(">i", raw, 64)[0])


def _start(raw: bytes, process_at: int) -> datetime | None:
    """When the first process, which made the file, was run."""
    if process_at + 64 > len(raw):
        return None
    (seconds,) = struct.unpack_from(">i", raw, process_at + 60)
    return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None


def _channel(config: Path, row: _Row, devices: Mapping[int, Device], is_whole: bool) -> Channel:
    device = devices.get(row.number)
    if device is None:
        raise FormatError(f"{config}: says nothing of channel {row.label!r} (number {row.number}); all are wanted")
    gain = row.scale * (device.units_per_bit / device.gain if is_whole and device.gain else device.gain)
    if not np.isfinite(gain) or gain == 0:
        raise FormatError(f"{config}: gain of {row.label!r} is {gain}; a finite one other than 0 is wanted")
    name = device.name if device.name.startswith("A") else row.label or device.name
    kind = _KINDS.get(device.kind, "misc")
    if kind == "eeg":
        kind = kind_of(name) or "eeg"
    unit, factor = ("a.u.", 1.0) if kind == "stim" or row.unit == "bit" else kept_unit(row.unit)
    about = dict(zip(("x_mm", "y_mm", "z_mm"), device.place_mm, strict=True)) if device.place_mm else {}
    return Channel(name=name, kind=kind, unit=unit, gain=gain * factor, about=about)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("latin-1").strip()
