"""KIT / Ricoh MEG (`.sqd`, `.con`): a directory of blocks, then int16 or int32, all channels of a sample together.

    tesla = number * range / 2^bits / amplifier gain * gain of the sensor; volts = number * range / 2^bits
    trigger channels     analog: kept in volts, and where they cross the threshold of TTL as events "high" and "low"

Design rationale: MNE makes up one trigger channel of the first eight that are no sensors, its threshold and direction
to be chosen by whoever reads. Here each line keeps both of its edges, since a line may be inverted.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._mapped import Mapped, mapped
from neuroloom.ingest.formats._triggers import triggers
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "KIT / Ricoh MEG (.sqd, .con)"
MODALITY = "meg"
KEEPS = (
    "int16 or int32, places of the sensors, analog channels in volts, edges of trigger lines; not head coils, not "
    "epochs"
)
TESTED_ON = (
    "a real file of MNE-Python (NYU, 160 channels, without trigger lines); trigger lines, EEG and int32 on files "
    "written by this project only"
)

MAX_EDGES = 1_000_000
_ENTRY = struct.Struct("<Iiii")  # offset, size, most, count
_SYSTEM, _CHANNELS, _CALIBRATION, _AMPLIFIER, _CONDITION, _DATA = 1, 4, 5, 7, 8, 9
_MAX_ENTRIES = 256
_GAINS = (1, 2, 5, 10, 20, 50, 100, 200)
_TTL_VOLTS = 1.4  # between what counts as low (0.8) and high (2.0)
# Type of channel: kind; sensors have a place, others a name.
_SENSORS = {1: "mag", 2: "mag", 3: "grad", 4: "grad"} | dict.fromkeys((0x101, 0x102, 0x103, 0x104), "ref_meg")
_OTHERS = {-1: ("stim", 32), -2: ("eeg", 8), -3: ("ecg", 32), -4: ("misc", 32)}
_LABELS = {-1: "TRIGGER", -2: "EEG", -3: "ECG", -4: "MISC", 0: "MISC"}
_CONTINUOUS = 1


Entries = Sequence[tuple[int, int, int, int]]


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the blocks state. volts: of one step of the converter; amplifier: its gain."""

    n_channels: int
    system: int
    start: datetime | None
    rate_hz: float
    n_samples: int
    dtype: str
    volts: float
    bits: int
    amplifier: int
    data_at: int


def sniff(path: Path, head: bytes) -> bool:
    """True for a directory of 16 bytes per entry that lists itself first, and the system's block within the file."""
    if len(head) < 32:
        return False
    own, system = _ENTRY.unpack_from(head), _ENTRY.unpack_from(head, 16)
    is_directory = own[0] == 0 and own[1] == 16 and 10 <= own[3] <= own[2] <= _MAX_ENTRIES
    return is_directory and 16 * own[3] <= system[0] < 1 << 20 and system[1] >= 600 and system[2:] == (1, 1)


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel, and the edges of trigger lines."""
    repairs: list[str] = []
    raw = np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)
    entries = _entries(path, raw)
    header = _header(path, raw, entries)
    channels = _channels(path, raw, entries, header)
    n_samples = _n_samples(path, header, repairs)
    source = mapped(path, header.dtype, (n_samples, header.n_channels), offset=header.data_at)
    base = Timebase(rate_hz=header.rate_hz, n_samples=n_samples)
    stated = {"positions": "KIT device coordinates: x forwards, y to the left, z up"}
    signals = signals_of([Segment(samples=Mapped(source), timebase=base)], channels, repairs, stated=stated)
    streams: list[Stream] = [*signals, *_edges(signals, repairs)]
    return [
        Recording(
            clock=path.stem,
            format="kit",
            files=(path,),
            streams=tuple(streams),
            start=header.start,
            repairs=tuple(repairs),
        )
    ]


# Header -------------------------------------------------------------------------------------------------------------


def _entries(path: Path, raw: NDArray[np.uint8]) -> Entries:
    """Offset, size, most and count of each block. Raises FormatError where one that is needed is not in the file."""
    if raw.size < 32 or not sniff(path, raw[:32].tobytes()):
        raise FormatError(f"{path}: {raw.size} bytes that begin with no directory of blocks; a KIT file does")
    n = _ENTRY.unpack(raw[:16].tobytes())[3]
    found = list(_ENTRY.iter_unpack(_bytes(path, raw, 0, 16 * n)))
    if len(found) <= _DATA:
        raise FormatError(f"{path}: a directory of {n} blocks; {_DATA + 1} or more are wanted")
    return [(at, size, most, count) for at, size, most, count in found]


def _bytes(path: Path, raw: NDArray[np.uint8], at: int, n: int) -> bytes:
    if not 0 <= at <= raw.size - n:
        raise FormatError(f"{path}: {n} bytes at {at} of {raw.size}; it is cut off, or it lies")
    return raw[at : at + n].tobytes()


def _header(path: Path, raw: NDArray[np.uint8], entries: Entries) -> _Header:
    system = _bytes(path, raw, entries[_SYSTEM][0], 740)
    version, revision, system_id = struct.unpack_from("<3i", system)
    if (version, revision) < (2, 3):
        raise FormatError(
            f"{path}: version {version}.{revision}; 2.3 or newer is wanted: save it anew with MEG Laboratory"
        )
    n_channels, created, fll_type = (struct.unpack_from("<i", system, at)[0] for at in (268, 528, 564))
    old = (version, revision) == (2, 3)
    volts = float(struct.unpack_from("<i" if old else "<d", system, 716)[0])
    _, n_bits, bits = struct.unpack_from("<3i", system, 720 if old else 724)
    kind, rate_hz, _, n_samples = struct.unpack("<idii", _bytes(path, raw, entries[_CONDITION][0], 20))
    if kind != _CONTINUOUS:
        raise FormatError(f"{path}: holds {'an average' if kind == 2 else 'epochs'}; a continuous recording is wanted")
    (switches,) = struct.unpack("<i", _bytes(path, raw, entries[_AMPLIFIER][0], 4))
    if not (n_channels > 0 and np.isfinite(rate_hz) and rate_hz > 0 and n_bits in (16, 32) and 1 <= bits <= n_bits):
        raise FormatError(
            f"{path}: {n_channels} channels at {rate_hz} Hz, {bits} of {n_bits} bits; channels, a rate above 0 and 16 "
            "or 32 bits are wanted"
        )
    if not (np.isfinite(volts) and volts > 0):
        raise FormatError(f"{path}: range of its converter is {volts} V; one above 0 is wanted")
    return _Header(
        n_channels=n_channels,
        system=system_id,
        start=datetime.fromtimestamp(created, UTC) if created > 0 else None,
        rate_hz=rate_hz,
        n_samples=n_samples,
        dtype=f"<i{n_bits // 8}",
        volts=volts / 2.0**bits,
        bits=bits,
        amplifier=_amplifier_gain(switches, fll_type),
        data_at=entries[_DATA][0],
    )


def _amplifier_gain(switches: int, fll_type: int) -> int:
    """Of its stages, as the positions of their switches say; there are two makes of it."""
    if fll_type >= 100:
        return _GAINS[switches >> 12 & 7] * _GAINS[switches >> 28 & 7] * _GAINS[switches >> 24 & 7]
    return _GAINS[switches >> 11 & 3] * _GAINS[switches & 7]


def _n_samples(path: Path, header: _Header, repairs: list[str]) -> int:
    frame_bytes = header.n_channels * np.dtype(header.dtype).itemsize
    there = (path.stat().st_size - header.data_at) // frame_bytes
    if there < 1:
        raise FormatError(f"{path}: no whole sample of {frame_bytes} bytes; at least one is wanted")
    if header.n_samples > there:
        repairs.append(Defect(f"header states {header.n_samples} samples", f"{there}, as many as there are"))
    return there if header.n_samples < 1 else min(there, header.n_samples)


# Channels -----------------------------------------------------------------------------------------------------------


def _channels(path: Path, raw: NDArray[np.uint8], entries: Entries, header: _Header) -> list[Channel]:
    at, size, _, _ = entries[_CHANNELS]
    if size < 60:
        raise FormatError(f"{path}: {size} bytes per channel; 60 or more are wanted")
    rows = _bytes(path, raw, at, size * header.n_channels)
    scales = np.frombuffer(_bytes(path, raw, entries[_CALIBRATION][0], 16 * header.n_channels), "<f8").reshape(-1, 2)
    if (scales[:, 0] != 0).any() or not np.isfinite(scales).all():
        raise FormatError(f"{path}: its sensors state offsets, or gains that are not finite; gains alone are wanted")
    found: list[Channel] = []
    numbers: dict[str, int] = {}
    for k in range(header.n_channels):
        row = rows[size * k : size * (k + 1)]
        (kind,) = struct.unpack_from("<i", row)
        if header.system == 52 and k < 160 and kind == 0:
            kind = 0x101  # as the makers say of this system
        if kind in _SENSORS:
            found.append(_sensor(row, k, kind, header.volts / header.amplifier * float(scales[k, 1])))
        elif kind in _OTHERS or kind == 0:
            label = _LABELS[kind]
            numbers[label] = numbers.get(label, 0) + 1
            found.append(_other(row, kind, f"{label} {numbers[label]:03d}", header))
        else:
            raise FormatError(f"{path}: channel {k + 1} is of type {kind}; one that is known is wanted")
    return found


def _sensor(row: bytes, k: int, kind: int, tesla: float) -> Channel:
    x, y, z = (1e3 * v for v in struct.unpack_from("<3d", row, 4))
    name = _name(row[60:66]) if kind in (1, 2) else ""
    about = {"x_mm": x, "y_mm": y, "z_mm": z} if any((x, y, z)) else {}
    return Channel(name=name or f"MEG {k + 1:03d}", kind=_SENSORS[kind], unit="T", gain=tesla, about=about)


def _other(row: bytes, kind: int, numbered: str, header: _Header) -> Channel:
    what, width = _OTHERS.get(kind, ("misc", 0))
    name = _name(row[12 : 12 + width])
    gain = header.volts
    if kind in (-2, -3):
        at = 26 if kind == -2 else 52
        stated = struct.unpack_from("<d", row, at)[0] if len(row) >= at + 8 else 0.0
        gain = stated / 2.0 ** (header.bits - 14) if np.isfinite(stated) and stated else header.volts
    in_volts = what == "stim"
    return Channel(
        name=numbered if name in ("", "EEG") else name,
        kind=what,
        unit="V" if in_volts else "uV",
        gain=gain * (1.0 if in_volts else 1e6),
    )


def _name(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _edges(signals: Sequence[Signal], repairs: list[str]) -> list[Stream]:
    """Where a trigger line goes "high" or "low"; nothing of one that never does."""

    def codes(signal: Signal, samples: NDArray[Any]) -> NDArray[Any]:
        return np.where(samples * signal.gain > _TTL_VOLTS, 1, 2)

    found = triggers(signals, codes, most=MAX_EDGES, repairs=repairs)
    return [replace(e, labels=tuple("high" if label == "1" else "low" for label in e.labels)) for e in found]
