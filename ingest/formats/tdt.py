"""TDT tanks: a block is a folder of an index, `.tsq`, and the data it points into, `.tev`, or a `.sev` per channel.

    streams      chunks of samples with a time each    -> a Signal per store, rate and gaps
    snips        spikes cut while recording            -> Units by store, channel and sort code, code 0 being unsorted
    epocs        onsets and scalars with a value       -> sync Events per store, labelled by value

The index names the block; time 0 is where it says the block starts. A chunk that begins more than half a sample late
begins a new segment. The files state no unit: TDT's software writes float32 in volts, int16 scaled as it was set up.
So signals are in "a.u.", and that is noted.

Design rationale: neo.rawio.TdtRawIO, which the tests compare with, joins chunks whatever their times, needs a `.Tbk`
beside, and labels epocs by the bits of their value instead of the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._blocks import Blocks, Run, alike, runs_of, stacked
from neuroloom.ingest.formats._channels import kind_of, unique_streams
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Signal, Stream, Units

TITLE = "TDT tank"
MODALITY = "wideband"
TESTED_ON = "files written by this project only"
KEEPS = (
    "every sample of streams, in the type it was saved in, gaps, spike times by sort code, epocs with their value; not "
    "waveforms of snips, notes, and units, which the files do not state"
)

_ROW = np.dtype([
    ("size", "<i4"), ("type", "<i4"), ("store", "S4"), ("channel", "<u2"), ("code", "<u2"), ("time_s", "<f8"),
    ("offset", "<i8"), ("format", "<i4"), ("rate_hz", "<f4"),
])  # fmt: skip
_HEAD_WORDS = 10  # of a chunk's size, in 4-byte words, is its own head
_FORMATS = {0: "<f4", 1: "<i4", 2: "<i2", 3: "<i1", 4: "<f8"}
_MARK, _MASK = 0x8801, 0xFF0F
_STREAM, _SNIP, _ONSET, _SCALAR, _APART = 0x8101, 0x8201, 0x0101, 0x0201, 0x0010
_TICK_HZ = 1e7  # float64 seconds since 1970 tell a quarter of a microsecond apart
_WIDEBAND_HZ = 5000.0
_MAX_YEARS_S = 5e9
_BESIDE = (".tev", ".tbk", ".tdx", ".tin", ".tnt", ".tbe")


def sniff(path: Path, head: bytes) -> bool:
    """True for an index whose second entry is the mark of a block's start."""
    if len(head) < 2 * _ROW.itemsize or path.stat().st_size % _ROW.itemsize:
        return False
    first, second = np.frombuffer(head[: 2 * _ROW.itemsize], _ROW)
    is_mark = second["store"] == b"\x01" and int(second["type"]) == _MARK
    return bool(is_mark and 0 < float(second["time_s"]) < _MAX_YEARS_S and abs(int(first["type"])) < 1 << 16)


def files(path: Path) -> tuple[Path, ...]:
    """The index, and of its folder the files of its name and the `.sev` files. Raises FormatError without data."""
    beside = [f for f in sorted(path.parent.iterdir()) if f != path and is_there(f)]
    named = [f for f in beside if f.stem == path.stem and f.suffix.lower() in _BESIDE]
    named += [f for f in beside if f.suffix.lower() == ".sev"]
    if not any(f.suffix.lower() in (".tev", ".sev") for f in named):
        raise FormatError(f"{path}: neither {path.stem}.tev nor a .sev file is beside it; the data are wanted")
    return (path, *named)


def read(path: Path) -> list[Recording]:
    """One Recording of the block."""
    found = files(path)
    repairs: list[str] = []
    rows, start_s = _index(path, repairs)
    streams: list[Stream] = [*_signals(path, found, rows, start_s, repairs), *_units(rows, start_s)]
    streams += _events(rows, start_s)
    if not streams:
        raise FormatError(f"{path}: no stream, snip or epoc in its {len(rows)} entries; at least one is wanted")
    return [
        Recording(
            clock=path.stem,
            format="tdt",
            files=found,
            streams=unique_streams(streams),
            start=datetime.fromtimestamp(start_s, UTC),
            repairs=tuple(repairs),
        )
    ]


def _index(path: Path, repairs: list[str]) -> tuple[NDArray[Any], float]:
    """The entries, and when the block started, seconds since 1970."""
    n, rest = divmod(path.stat().st_size, _ROW.itemsize)
    if rest:
        repairs.append(Defect(f"{path.name}: {rest} bytes after the last whole entry left out"))
    if n < 2:
        raise FormatError(f"{path}: {n} entries; a start mark and some data are wanted")
    rows = np.memmap(path, _ROW, mode="r", shape=(n,))
    start_s = float(rows["time_s"][1])
    if rows["store"][1] != b"\x01" or not 0 < start_s < _MAX_YEARS_S:
        raise FormatError(f"{path}: its second entry is no mark of a block's start; that is wanted")
    timed = rows[2:]
    times_s = timed["time_s"]
    if len(timed) and not (np.isfinite(times_s).all() and start_s - 1 <= times_s.min() <= times_s.max() < _MAX_YEARS_S):
        raise FormatError(
            f"{path}: an entry is at {float(times_s.min())} s, the block starts at {start_s}; none before it"
        )
    return timed, start_s


def _store(raw: bytes) -> str:
    return raw.decode("latin-1").strip("\x00 ") or "store"


def _signals(path: Path, found: Sequence[Path], rows: NDArray[Any], start_s: float, repairs: list[str]) -> list[Signal]:
    streams = rows[(rows["type"] & _MASK) == _STREAM]
    signals: list[Signal] = []
    for raw in np.unique(streams["store"]).tolist():
        signals += _of_store(path, found, raw, streams[streams["store"] == raw], start_s)
    if signals:
        repairs.append("units of its streams are not stated: kept as a.u.")
    return signals


def _of_store(path: Path, found: Sequence[Path], raw: bytes, rows: NDArray[Any], start_s: float) -> list[Signal]:
    store = _store(raw)
    groups: dict[Any, list[tuple[int, list[Run]]]] = {}
    for channel in np.unique(rows["channel"]).tolist():
        mine = rows[rows["channel"] == channel]
        runs = _runs(path, _data(path, found, store, channel, mine), f"{store} {channel}", mine, start_s)
        if runs:
            groups.setdefault(alike(runs, float(mine["rate_hz"][0])), []).append((channel, runs))
    return [
        Signal(
            name=store,
            modality=_modality(store, key[0]),
            segments=stacked([runs for _, runs in group]),
            channel_names=tuple(f"{store} {channel}" for channel, _ in group),
            unit="a.u.",
            gain=np.ones(len(group)),
            offset=np.zeros(len(group)),
        )
        for key, group in groups.items()
    ]


def _modality(store: str, rate_hz: float) -> str:
    if re.search(r"lfp", store, re.I):
        return "lfp"
    return kind_of(store) or ("wideband" if rate_hz > _WIDEBAND_HZ else "aux")


def _data(path: Path, found: Sequence[Path], store: str, channel: int, rows: NDArray[Any]) -> Path:
    """The channel's own `.sev`, or the block's `.tev`, which stores that were set to be apart have nothing in."""
    named = re.compile(rf"_{re.escape(store)}_ch{channel}(-\d+h)?", re.I)
    apart = [f for f in found if f.suffix.lower() == ".sev" and named.search(f.stem)]
    if len(apart) > 1:
        raise FormatError(f"{path}: {len(apart)} .sev files of {store} channel {channel}; one is wanted")
    if apart:
        return apart[0]
    whole = next((f for f in found if f.suffix.lower() == ".tev"), None)
    if whole is None or (rows["type"] & _APART).any():
        raise FormatError(
            f"{path}: the .sev file of {store} channel {channel} is not beside it; the samples are wanted"
        )
    return whole


def _runs(path: Path, data: Path, name: str, rows: NDArray[Any], start_s: float) -> list[Run]:
    kinds, rates = set(rows["format"].tolist()), set(rows["rate_hz"].tolist())
    if len(kinds) > 1 or len(rates) > 1 or not kinds <= set(_FORMATS) or not min(rates) > 0:
        raise FormatError(f"{path}: {name}: data formats {sorted(kinds)} at {sorted(rates)} Hz; one of each is wanted")
    dtype = np.dtype(_FORMATS[kinds.pop()])
    raw = np.memmap(data, np.uint8, mode="r") if data.stat().st_size else np.zeros(0, np.uint8)
    counts = (rows["size"].astype(np.int64) - _HEAD_WORDS) * 4 // dtype.itemsize
    if (counts < 0).any() or (rows["offset"] < 0).any() or (rows["offset"] + counts * dtype.itemsize > raw.size).any():
        raise FormatError(f"{data}: a chunk of {name} goes beyond its {raw.size} bytes: still being copied, or cut off")
    ticks = np.rint((rows["time_s"] - start_s) * _TICK_HZ).astype(np.int64)
    blocks = Blocks(raw, dtype, rows["offset"].astype(np.int64), counts, ticks, _TICK_HZ, rates.pop())
    try:
        return runs_of(blocks)
    except ValueError as error:
        raise FormatError(f"{path}: {name}: {error}") from error


def _units(rows: NDArray[Any], start_s: float) -> list[Units]:
    """Per store a unit for every channel and sort code."""
    snips = rows[(rows["type"] & _MASK) == _SNIP]
    found = []
    for raw in np.unique(snips["store"]).tolist():
        mine, store = snips[snips["store"] == raw], _store(raw)
        pairs = sorted(set(zip(mine["channel"].tolist(), mine["code"].tolist(), strict=True)))
        trains = [
            np.sort(mine["time_s"][(mine["channel"] == channel) & (mine["code"] == code)] - start_s)
            for channel, code in pairs
        ]
        found.append(
            Units(
                name=f"{store} snips",
                unit_names=tuple(f"{store} {channel}#{code}" for channel, code in pairs),
                spike_times_s=tuple(trains),
                table={
                    "channel": tuple(f"{store} {channel}" for channel, _ in pairs),
                    "kind": tuple("sorted" if code else "unsorted" for _, code in pairs),
                },
            )
        )
    return found


def _events(rows: NDArray[Any], start_s: float) -> list[Events]:
    """Onsets and scalars; their value is a float64 where other entries have the place of their data."""
    values = rows[np.isin(rows["type"] & _MASK, (_ONSET, _SCALAR))]
    found = []
    for raw in np.unique(values["store"]).tolist():
        mine = values[values["store"] == raw]
        mine = mine[np.argsort(mine["time_s"], kind="stable")]
        numbers = np.ascontiguousarray(mine["offset"]).view("<f8").tolist()
        found.append(
            Events(
                name=_store(raw),
                modality="sync",
                times_s=mine["time_s"] - start_s,
                labels=tuple(f"{number:g}" for number in numbers),
            )
        )
    return found
