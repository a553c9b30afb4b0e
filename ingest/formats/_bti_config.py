"""The `config` of 4D / BTi: big-endian; a head, transforms, blocks that state their size, then channels.

is_config(path)       whether a file is one
config_of(path)       number of a channel -> its name, type, gain and the place of its coil
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroloom.ingest.formats import FormatError

MAX_BYTES = 1 << 26
_HEAD_BYTES, _TRANSFORM_BYTES, _BLOCK_BYTES, _CHANNEL_BYTES = 112, 128, 100, 92
_COIL_BYTES, _LOOP_BYTES = 216, 104
# Type of a channel: bytes of what follows on the device; sensors also have loops.
_DEVICE_BYTES = {1: _COIL_BYTES, 3: _COIL_BYTES, 2: 208, 4: 76, 5: 78, 6: 76, 7: 76, 8: 72}
_SENSORS = (1, 3)


@dataclass(frozen=True, kw_only=True)
class Device:
    """What is stated of a channel. kind: 1 MEG, 2 EEG, 3 reference, 5 trigger ... place_mm: none, or three numbers."""

    name: str
    kind: int
    gain: float
    units_per_bit: float
    place_mm: tuple[float, ...] = ()


def is_config(path: Path) -> bool:
    """True for counts that fit the file, and a first block whose kind is named as 4D names them."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            return False
        n_channels, n_transforms, n_blocks = _counts(head)
        if min(n_channels, n_transforms, n_blocks) < 1 or n_transforms > 100:
            return False
        file.seek(_HEAD_BYTES + _TRANSFORM_BYTES * n_transforms + 4)
        return file.read(20).startswith((b"B_", b"b_"))


def _counts(head: bytes) -> tuple[int, int, int]:
    """Channels, transforms, blocks."""
    (n_channels,) = struct.unpack_from(">h", head, 58)
    n_transforms, n_blocks = struct.unpack_from(">hh", head, 68)
    return n_channels, n_transforms, n_blocks


def config_of(path: Path) -> dict[int, Device]:
    """Raises FormatError where it is cut off, or a size in it leads beyond its end."""
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; at most {MAX_BYTES} are wanted")
    raw = path.read_bytes()
    try:
        return _parsed(path, raw)
    except struct.error as error:
        raise FormatError(f"{path}: {len(raw)} bytes; it is cut off, or it lies") from error


def _parsed(path: Path, raw: bytes) -> dict[int, Device]:
    n_channels, n_transforms, n_blocks = _counts(raw)
    at = _HEAD_BYTES + _TRANSFORM_BYTES * max(n_transforms, 0)
    for _ in range(max(n_blocks, 0)):
        (n_bytes,) = struct.unpack_from(">I", raw, at + 64)
        at = _aligned(_aligned(at + _BLOCK_BYTES) + n_bytes)
        if at > len(raw):
            raise FormatError(f"{path}: a block of {n_bytes} bytes ends behind the end; it is cut off, or it lies")
    found: dict[int, Device] = {}
    for _ in range(max(n_channels, 0)):
        number, kind = struct.unpack_from(">hH", raw, at + 16)
        gain, units_per_bit = struct.unpack_from(">ff", raw, at + 24)
        name = raw[at : at + 16].partition(b"\0")[0].decode("latin-1").strip()
        at = _aligned(at + _CHANNEL_BYTES)
        place: tuple[float, ...] = ()
        if kind in _SENSORS:
            place = _place(raw, at + 48)
            (n_loops,) = struct.unpack_from(">h", raw, at + 178)
            at += _LOOP_BYTES * max(n_loops, 0)
        at = _aligned(at + _DEVICE_BYTES.get(kind, 0))
        if at > len(raw):
            raise FormatError(f"{path}: channel {name!r} ends behind the end; it is cut off, or it lies")
        found[number] = Device(
            name=name, kind=kind, gain=float(gain), units_per_bit=float(units_per_bit), place_mm=place
        )
    return found


def _aligned(at: int) -> int:
    return at + -at % 8


def _place(raw: bytes, at: int) -> tuple[float, ...]:
    """Of a transform of 4 x 4, where it moves the origin to, in m; nothing where that is not finite."""
    x, _, _, _, y, _, _, _, z = struct.unpack_from(">9d", raw, at + 24)
    place = np.array([x, y, z]) * 1e3
    return tuple(place.tolist()) if np.isfinite(place).all() and place.any() else ()
