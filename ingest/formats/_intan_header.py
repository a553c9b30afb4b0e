"""The header of Intan's `.rhd` and `.rhs`: rates, channels of each kind, and the layout of the data blocks after it.

After Intan's application notes "RHD2000 / RHS2000 Data File Formats". All is little-endian, text UTF-16.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from neuroloom.ingest.formats import FormatError

RHD, RHS = b"\x02\x27\x91\xc6", b"\xac\x27\x91\xd6"
MAX_CHANNELS = 1 << 14
_MAX_TEXT_BYTES = 1 << 16
# signal_type in the file -> what it is called here
_RHD_KINDS = {0: "amplifier", 1: "auxiliary", 2: "supply", 3: "adc", 4: "din", 5: "dout"}
_RHS_KINDS = {0: "amplifier", 3: "adc", 4: "dac", 5: "din", 6: "dout"}


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel. order: its bit in a digital word."""

    native: str
    name: str
    order: int
    impedance_ohm: float


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a header states. n_bytes: where it ends. block: samples per data block.

    channels: by kind. has_dc: every amplifier has a slow channel too (rhs). stim_step_A: current per step (rhs).
    """

    is_rhs: bool
    version: tuple[int, int]
    n_bytes: int
    rate_hz: float
    block: int
    board_mode: int
    n_temperature: int
    has_dc: bool
    stim_step_A: float
    notch: str
    channels: Mapping[str, tuple[Channel, ...]]

    def block_dtype(self) -> np.dtype[Any]:
        """A data block: every channel of a kind after the other, each with all its samples of the block."""
        n, count = self.block, {kind: len(channels) for kind, channels in self.channels.items()}
        fields: list[tuple[Any, ...]] = [("time", "<u4" if self.version < (1, 2) and not self.is_rhs else "<i4", n)]

        def add(kind: str, dtype: str, channels: int, samples: int) -> None:
            if channels:
                fields.append((kind, dtype, (channels, samples)))

        amplifiers = count.get("amplifier", 0)
        add("amplifier", "<u2", amplifiers, n)
        if self.is_rhs:
            add("dc", "<u2", amplifiers if self.has_dc else 0, n)
            add("stim", "<u2", amplifiers, n)
            add("adc", "<u2", count.get("adc", 0), n)
            add("dac", "<u2", count.get("dac", 0), n)
        else:
            add("auxiliary", "<u2", count.get("auxiliary", 0), n // 4)
            add("supply", "<u2", count.get("supply", 0), 1)
            add("temperature", "<i2", self.n_temperature, 1)
            add("adc", "<u2", count.get("adc", 0), n)
        for kind in ("din", "dout"):
            add(kind, "<u2", min(count.get(kind, 0), 1), n)
        return np.dtype(fields)


class _Reader:
    """Numbers and texts one after another, refusing to go beyond the end."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file

    def get(self, form: str) -> Any:
        size = struct.calcsize("<" + form)
        raw = self.file.read(size)
        if len(raw) < size:
            raise FormatError(f"{self.path}: its header ends early: cut off, or still being copied")
        values = struct.unpack("<" + form, raw)
        return values[0] if len(values) == 1 else values

    def text(self) -> str:
        n_bytes = self.get("I")
        if n_bytes in (0, 0xFFFFFFFF):
            return ""
        if n_bytes > _MAX_TEXT_BYTES:
            raise FormatError(
                f"{self.path}: a text of {n_bytes} bytes in its header; up to {_MAX_TEXT_BYTES} are wanted"
            )
        return str(self.get(f"{n_bytes}s").decode("utf-16-le", "replace").strip("\x00"))


def header_of(path: Path) -> Header:
    """Raises FormatError where it is none, cut off, or states what cannot be."""
    with path.open("rb") as file:
        magic = file.read(4)
        if magic not in (RHD, RHS):
            raise FormatError(f"{path}: begins with {magic.hex()}; {RHD.hex()} or {RHS.hex()} is wanted")
        reader = _Reader(path, file)
        return _rhd(reader) if magic == RHD else _rhs(reader)


def _rhd(reader: _Reader) -> Header:
    version = reader.get("hh")
    rate_hz = _rate_hz(reader)
    reader.get("h6f")
    notch = reader.get("h")
    reader.get("ff")
    for _ in range(3):
        reader.text()
    n_temperature = reader.get("h") if version >= (1, 1) else 0
    board_mode = reader.get("h") if version >= (1, 3) else 0
    if version >= (2, 0):
        reader.text()
    if not 0 <= n_temperature <= 64:
        raise FormatError(f"{reader.path}: {n_temperature} temperature sensors; 0 to 64 are wanted")
    channels = _channels(reader, _RHD_KINDS, "hhhhhh4hff")
    return Header(
        is_rhs=False,
        version=version,
        n_bytes=reader.file.tell(),
        rate_hz=rate_hz,
        block=60 if version[0] < 2 else 128,
        board_mode=board_mode,
        n_temperature=n_temperature,
        has_dc=False,
        stim_step_A=0.0,
        notch=_notch(version, notch),
        channels=channels,
    )


def _rhs(reader: _Reader) -> Header:
    version = reader.get("hh")
    rate_hz = _rate_hz(reader)
    reader.get("h8f")
    notch = reader.get("h")
    reader.get("ffhh")
    stim_step_A = reader.get("f")
    reader.get("ff")
    for _ in range(3):
        reader.text()
    has_dc, board_mode = reader.get("hh")
    reader.text()
    channels = _channels(reader, _RHS_KINDS, "hhhhhhh4hff")
    return Header(
        is_rhs=True,
        version=version,
        n_bytes=reader.file.tell(),
        rate_hz=rate_hz,
        block=128,
        board_mode=board_mode,
        n_temperature=0,
        has_dc=bool(has_dc),
        stim_step_A=float(stim_step_A) if np.isfinite(stim_step_A) and stim_step_A > 0 else 0.0,
        notch=_notch(version, notch),
        channels=channels,
    )


def _rate_hz(reader: _Reader) -> float:
    rate_hz = float(reader.get("f"))
    if not 0 < rate_hz < 1e6:
        raise FormatError(f"{reader.path}: sampled at {rate_hz} Hz; more than 0 and less than 1e6 are wanted")
    return rate_hz


def _notch(version: tuple[int, int], mode: int) -> str:
    """The notch that was applied to the saved samples: from version 3 on; before, it was a wish."""
    return {1: "50 Hz", 2: "60 Hz"}.get(mode, "") if version >= (3, 0) else ""


def _channels(reader: _Reader, kinds: Mapping[int, str], form: str) -> dict[str, tuple[Channel, ...]]:
    """Enabled channels by kind, port after port. form: what follows the two names of each."""
    found: dict[str, list[Channel]] = {}
    n_groups = reader.get("h")
    if not 0 <= n_groups <= 64:
        raise FormatError(f"{reader.path}: {n_groups} groups of channels; up to 64 are wanted")
    for _ in range(n_groups):
        reader.text()
        reader.text()
        enabled, n_channels, _ = reader.get("hhh")
        if not 0 <= n_channels <= MAX_CHANNELS:
            raise FormatError(f"{reader.path}: {n_channels} channels in a group; up to {MAX_CHANNELS} are wanted")
        for _ in range(n_channels if enabled else 0):
            native, custom = reader.text(), reader.text()
            native_order, _, kind, is_on, *_, impedance_ohm, _ = reader.get(form)
            if kind not in kinds:
                raise FormatError(
                    f"{reader.path}: channel {native!r} is of kind {kind}; one of {sorted(kinds)} is wanted"
                )
            if is_on:
                channel = Channel(
                    native=native, name=custom or native, order=native_order, impedance_ohm=float(impedance_ohm)
                )
                found.setdefault(kinds[kind], []).append(channel)
    return {kind: tuple(channels) for kind, channels in found.items()}
