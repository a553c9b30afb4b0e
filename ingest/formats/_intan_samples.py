"""Where Intan's samples lie: in the data blocks of `.rhd` and `.rhs` files, or in `.dat` files beside `info.rhd`.

attached    blocks after the header; a long recording goes on in further files
apart       time.dat, then a file per kind (amplifier.dat) or per channel (amp-A-000.dat)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._blocks import side_by_side
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._intan_header import Channel, Header
from neuroloom.ingest.ledger import Defect

PER_SIGNAL = {
    "amplifier": "amplifier.dat", "auxiliary": "auxiliary.dat", "supply": "supply.dat", "adc": "analogin.dat",
    "dac": "analogout.dat", "din": "digitalin.dat", "dout": "digitalout.dat", "dc": "dcamplifier.dat",
    "stim": "stim.dat",
}  # fmt: skip
PER_CHANNEL = {
    "amplifier": "amp-", "auxiliary": "aux-", "supply": "vdd-", "adc": "board-", "dac": "board-", "din": "board-",
    "dout": "board-", "dc": "dc-", "stim": "stim-",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """The samples of one kind. every: the samples of the amplifiers for each of its own (1, 4, or a block).

    is_signed: int16 around 0 instead of uint16 around the middle.
    """

    samples: Any
    channels: tuple[Channel, ...]
    every: int
    is_signed: bool = False


@dataclass(frozen=True, eq=False)
class BlockSamples:
    """One field of data blocks, each of shape (C, S), over several files, as samples (T, C); read only when sliced."""

    parts: Sequence[NDArray[Any]]
    ends: NDArray[np.int64]  # blocks up to and with each part
    per_block: int
    n_channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self.ends[-1]) * self.per_block, self.n_channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.parts[0].dtype
        return dtype

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        if stop <= start:
            return np.zeros((0, self.n_channels), self.dtype)
        first, last = start // self.per_block, (stop - 1) // self.per_block + 1
        rows = self._blocks(first, last).transpose(0, 2, 1).reshape(-1, self.n_channels)
        return rows[start - first * self.per_block : stop - first * self.per_block : step]

    def _blocks(self, first: int, last: int) -> NDArray[Any]:
        found = []
        for part, end in zip(self.parts, self.ends.tolist(), strict=True):
            begin = end - len(part)
            a, b = max(first, begin), min(last, end)
            if a < b:
                found.append(np.asarray(part[a - begin : b - begin]))
        return np.concatenate(found) if len(found) > 1 else found[0]


def attached(files: Sequence[Path], headers: Sequence[Header], repairs: list[str]) -> tuple[Any, dict[str, Kind]]:
    """The sample numbers, shape (T, 1), and the samples of each kind, of files that follow one another."""
    stated = headers[0]
    dtype = stated.block_dtype()
    mapped = []
    for file, header in zip(files, headers, strict=True):
        n, rest = divmod(file.stat().st_size - header.n_bytes, dtype.itemsize)
        if rest:
            repairs.append(Defect(f"{file.name}: {rest} bytes after the last whole data block left out"))
        if n:
            mapped.append(np.memmap(file, dtype, mode="r", offset=header.n_bytes, shape=(n,)))
    if not mapped:
        raise FormatError(f"{files[0]}: no whole data block of {dtype.itemsize} bytes after its header; one is wanted")
    ends = np.cumsum([len(part) for part in mapped])

    def field(name: str, per_block: int, n_channels: int) -> BlockSamples:
        parts = [part[name].reshape(len(part), n_channels, per_block) for part in mapped]
        return BlockSamples(parts, ends, per_block, n_channels)

    kinds: dict[str, Kind] = {}
    for name in (dtype.names or ())[1:]:
        n_channels, per_block = dtype[name].shape
        kinds[name] = Kind(
            samples=field(name, per_block, n_channels),
            channels=channels_of(stated, name),
            every=stated.block // per_block,
        )
    return field("time", stated.block, 1), kinds


def channels_of(stated: Header, kind: str) -> tuple[Channel, ...]:
    """The channels of a kind; slow and stimulation channels are those of the amplifiers."""
    if kind == "temperature":
        return tuple(
            Channel(native=f"temperature {k}", name=f"temperature {k}", order=k, impedance_ohm=0.0)
            for k in range(stated.n_temperature)
        )
    return stated.channels.get("amplifier" if kind in ("dc", "stim") else kind, ())


def companions(path: Path, stated: Header) -> tuple[Path, ...]:
    """The `.dat` files beside an `info.rhd`, as its header lets expect them; `time.dat` first, links left out."""
    folder = path.parent
    wanted = [folder / "time.dat", *(folder / name for name in PER_SIGNAL.values())]
    for kind, prefix in PER_CHANNEL.items():
        wanted += [
            folder / f"{prefix}{channel.native}.dat" for channel in channels_of(stated, kind) if _is_plain(channel)
        ]
    return tuple(dict.fromkeys(file for file in wanted if is_there(file)))


def _is_plain(channel: Channel) -> bool:
    return channel.native.isprintable() and not set("/\\") & set(channel.native)


def apart(path: Path, stated: Header, repairs: list[str]) -> tuple[Any, dict[str, Kind]]:
    """The same of `.dat` files beside `info.rhd`: int16 around 0 for amplifiers, uint16 for all others."""
    clock = path.with_name("time.dat")
    if not is_there(clock):
        raise FormatError(f"{path}: time.dat is not beside it; the number of each sample is wanted")
    numbers = _mapped(clock, "<i4", 1, repairs)
    kinds: dict[str, Kind] = {}
    for kind in PER_SIGNAL:
        found = _per_signal(path, kind, stated, repairs) or _per_channel(path, kind, stated, repairs)
        if found is None:
            continue
        samples, channels = found
        n, n_numbers = samples.shape[0], numbers.shape[0]
        every = next((k for k in (1, 4, stated.block) if n == n_numbers // k), 0)
        if not every:
            raise FormatError(f"{path}: {n} samples of {kind} for {n_numbers} sample numbers; as many are wanted")
        kinds[kind] = Kind(samples=samples, channels=channels, every=every, is_signed=kind == "amplifier")
    return numbers, kinds


def _per_signal(path: Path, kind: str, stated: Header, repairs: list[str]) -> tuple[Any, tuple[Channel, ...]] | None:
    file, channels = path.with_name(PER_SIGNAL[kind]), channels_of(stated, kind)
    if not channels or not is_there(file):
        return None
    n_columns = 1 if kind in ("din", "dout") else len(channels)
    return _mapped(file, "<i2" if kind == "amplifier" else "<u2", n_columns, repairs), channels


def _per_channel(path: Path, kind: str, stated: Header, repairs: list[str]) -> tuple[Any, tuple[Channel, ...]] | None:
    """Channels that have a file; digital lines, whose files hold 0 and 1, become the bits of a word."""
    prefix = PER_CHANNEL[kind]
    named = [(c, path.with_name(f"{prefix}{c.native}.dat")) for c in channels_of(stated, kind) if _is_plain(c)]
    named = [(channel, file) for channel, file in named if is_there(file)]
    if not named:
        return None
    columns = [_mapped(file, "<i2" if kind == "amplifier" else "<u2", 1, repairs)[:, 0] for _, file in named]
    n = min(len(column) for column in columns)
    if any(len(column) != n for column in columns):
        raise FormatError(f"{path}: files {prefix}*.dat differ in length; one length is wanted: still being copied?")
    channels = tuple(channel for channel, _ in named)
    if kind in ("din", "dout"):
        return Words(tuple(columns), tuple(channel.order for channel in channels), (n, 1)), channels
    return side_by_side(columns, n, columns[0].dtype), channels


@dataclass(frozen=True, eq=False)
class Words:
    """Digital lines in a file each, as the words (T, 1) that hold them as bits."""

    columns: Sequence[NDArray[Any]]
    bits: Sequence[int]
    shape: tuple[int, int]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("<u2")

    def __getitem__(self, part: slice | tuple[slice, int], /) -> NDArray[Any]:
        rows = part[0] if isinstance(part, tuple) else part
        lines = [(np.asarray(c[rows]) != 0).astype("<u2") << b for c, b in zip(self.columns, self.bits, strict=True)]
        words: NDArray[Any] = np.bitwise_or.reduce(lines, axis=0).astype("<u2")
        return words if isinstance(part, tuple) else words[:, None]


def _mapped(file: Path, dtype: str, n_columns: int, repairs: list[str]) -> NDArray[Any]:
    n, rest = divmod(file.stat().st_size, np.dtype(dtype).itemsize * n_columns)
    if rest:
        repairs.append(Defect(f"{file.name}: {rest} bytes after the last whole sample left out"))
    return np.memmap(file, dtype, mode="r", shape=(n, n_columns)) if n else np.zeros((0, n_columns), dtype)


Decoded = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Steps:
    """Stimulation words as signed steps of current: 8 bits of size and one of sign, flags left out."""

    words: Any

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.words.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("<i2")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        words = np.asarray(self.words[part])
        size = (words & 0xFF).astype("<i2")
        return np.where(words & 0x100, -size, size).astype("<i2")


def counts(kinds: Mapping[str, Kind]) -> dict[str, int]:
    """Samples per kind."""
    return {name: kind.samples.shape[0] for name, kind in kinds.items()}
