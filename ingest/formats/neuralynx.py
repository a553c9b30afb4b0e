"""Neuralynx (Cheetah, Pegasus): files of one folder, each a text header of 16 KiB and then records of one size.

    .ncs                continuous, a channel per file: a time in µs, rate, valid samples, 512 int16
    .nse .nst .ntt      spikes of electrodes, stereotrodes, tetrodes: time, cell, features, waveform
    .nev                events: a time, the word of the digital input, a text
    .nvt                a video tracker's x, y, angle

The first file (`Events.nev`, else by name) names the set and all of it is one Recording; any other, read by itself, is
a Recording of its own. Channels of one rate and the same gaps are one Signal. A gap is a record that begins more than
half a sample late: records are stamped in whole µs, so that each may be one off, which is no gap.

Times count from the device's own zero; where they are µs since 1970 (ATLAS), from the midnight before. `InputInverted`
is a negative gain.

Design rationale: neo.rawio.NeuralynxRawIO, which the tests compare with, takes every step of 255,999 instead of 256,000
µs for a gap in files of ATLAS, so refuses channels of two rates in one folder; MNE then joins what Neo cut. The files'
own times say that there is no gap: one step in eleven records is 1 µs short, of a clock 0.4 ppm fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._blocks import Blocks, Run, alike, runs_of, stacked
from neuroloom.ingest.formats._channels import kind_of, unique_streams
from neuroloom.ingest.formats._neuralynx_header import HEADER_BYTES, MAGIC, Header, header_of
from neuroloom.ingest.formats._neuralynx_records import (
    DAY_US,
    EVENT,
    NCS,
    NCS_HEAD_BYTES,
    NCS_SAMPLES,
    SPIKE_CHANNELS,
    VIDEO,
    records_of,
)
from neuroloom.ingest.formats._neuralynx_streams import events_of, position_of, units_of
from neuroloom.ingest.formats._sets import head, members
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Signal, Stream

TITLE = "Neuralynx"
MODALITY = "wideband"
TESTED_ON = (
    "a real folder of Pegasus (MNE-Python's testing data: 2 and 32 kHz, events); gaps, spikes, video, Cheetah's "
    "headers and files that go on after a pause on files written by this project only"
)
KEEPS = (
    "every valid sample of .ncs as int16 with its gain, gaps, digital lines, event texts, spike times by cell, video "
    "positions; not waveforms, spike features, and raw .nrd"
)

_SUFFIXES = (".nev", ".ncs", ".nse", ".nst", ".ntt", ".nvt", ".nrd")
_LFP_HZ = 2000.0  # electrodes sampled no faster hold field potentials
_EPOCH_US = 10**15  # 2001: ticks beyond it count from 1970
_MICROVOLTS = 1e6


@dataclass(frozen=True, kw_only=True)
class _Channel:
    name: str
    gain_uV: float
    rate_hz: float
    number: int
    runs: tuple[Run, ...]


def sniff(path: Path, head: bytes) -> bool:
    """True for the words that every Neuralynx file begins with."""
    return head.startswith(MAGIC)


def files(path: Path) -> tuple[Path, ...]:
    """For the file that names the set, all Neuralynx files of its folder; for any other, itself."""
    return members(path, _SUFFIXES, _is_one)


def _is_one(path: Path) -> bool:
    return head(path, len(MAGIC)) == MAGIC


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per rate and set of gaps, events, digital lines, units, tracked positions."""
    found = files(path)
    repairs: list[str] = []
    headers = {file: header_of(file) for file in found}
    records = {file: records_of(file, headers[file], repairs) for file in found}
    zero_us = _zero_us(records)
    streams: list[Stream] = []
    streams += _signals(records, headers, zero_us, repairs)
    for file, (kind, rows) in records.items():
        if not len(rows):
            continue
        if kind == EVENT:
            streams += events_of(file, rows, zero_us)
        elif kind in SPIKE_CHANNELS:
            streams.append(units_of(headers[file].entity or file.stem, rows, zero_us))
        elif kind == VIDEO:
            streams += position_of(file, rows, zero_us, repairs)
    if not streams:
        raise FormatError(f"{path}: {len(found)} files without a sample, spike or event; some are wanted")
    return [
        Recording(
            clock=path.parent.name if len(found) > 1 else path.stem,
            format="neuralynx",
            files=found,
            streams=_named_apart(streams),
            start=_start(headers, records, zero_us),
            repairs=tuple(repairs),
        )
    ]


def _named_apart(streams: Sequence[Stream]) -> tuple[Stream, ...]:
    return unique_streams(streams)


def _zero_us(records: Mapping[Path, tuple[str, NDArray[Any]]]) -> int:
    """The tick that second 0 is at: 0, or the midnight before the first of ticks that count from 1970."""
    firsts = [int(rows["time_us"][0]) for _, rows in records.values() if len(rows)]
    first = min(firsts, default=0)
    return first // DAY_US * DAY_US if first > _EPOCH_US else 0


def _start(
    headers: Mapping[Path, Header], records: Mapping[Path, tuple[str, NDArray[Any]]], zero_us: int
) -> datetime | None:
    """When the first sample was taken: by its own tick where that counts from 1970, else when the file was opened.

    Neuralynx states no time zone; ticks since 1970 are in the same time as the header's (real files agree).
    """
    opened = min((h.opened for h in headers.values() if h.opened is not None), default=None)
    sampled = [int(rows["time_us"][0]) for kind, rows in records.values() if kind == NCS and len(rows)]
    if not zero_us or not sampled:
        return opened
    return datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(microseconds=min(sampled))


def _signals(
    records: Mapping[Path, tuple[str, NDArray[Any]]],
    headers: Mapping[Path, Header],
    zero_us: int,
    repairs: list[str],
) -> list[Signal]:
    """Channels of one kind, rate and set of gaps together, in the order of their number."""
    per_entity: dict[str, list[Path]] = {}
    for file, (kind, rows) in records.items():
        if kind == NCS and len(rows):
            per_entity.setdefault(headers[file].entity or file.stem, []).append(file)
    channels = [
        _channel(name, group, {file: records[file][1] for file in group}, headers, zero_us, repairs)
        for name, group in per_entity.items()
    ]
    groups: dict[Any, list[_Channel]] = {}
    for channel in sorted(channels, key=lambda c: c.number):
        groups.setdefault((_modality(channel), alike(channel.runs, channel.rate_hz)), []).append(channel)
    rates = {modality: {key[1][0] for key in groups if key[0] == modality} for modality, _ in groups}
    return [
        Signal(
            name=modality if len(rates[modality]) == 1 else f"{modality} {group[0].rate_hz:g} Hz",
            modality=modality,
            segments=stacked([channel.runs for channel in group]),
            channel_names=tuple(channel.name for channel in group),
            unit="uV",
            gain=np.array([channel.gain_uV for channel in group]),
            offset=np.zeros(len(group)),
            table={"ad_channel": tuple(channel.number for channel in group)},
        )
        for (modality, _), group in groups.items()
    ]


def _modality(channel: _Channel) -> str:
    return kind_of(channel.name) or ("wideband" if channel.rate_hz > _LFP_HZ else "lfp")


def _channel(
    name: str,
    group: Sequence[Path],
    rows: Mapping[Path, NDArray[Any]],
    headers: Mapping[Path, Header],
    zero_us: int,
    repairs: list[str],
) -> _Channel:
    """One channel: its file, and those in which it goes on after a pause (`CSC1_0001.ncs`)."""
    group = sorted(group, key=lambda file: int(rows[file]["time_us"][0]))
    stated = headers[group[0]]
    if stated.volts_per_bit is None:
        raise FormatError(f"{group[0]}: no -ADBitVolts in its header; volts per bit are wanted")
    for file in group[1:]:
        if (headers[file].volts_per_bit, headers[file].rate_hz) != (stated.volts_per_bit, stated.rate_hz):
            raise FormatError(f"{file}: another gain or rate than {group[0].name} of the same channel {name}")
    runs: list[Run] = []
    for file in group:
        try:
            runs += runs_of(_blocks(file, rows[file], stated, repairs), zero=zero_us)
        except ValueError as error:
            raise FormatError(f"{file}: {error}") from error
    return _Channel(
        name=name,
        gain_uV=stated.volts_per_bit * _MICROVOLTS * (-1 if stated.is_inverted else 1),
        rate_hz=stated.rate_hz or float(rows[group[0]]["rate_hz"][0]),
        number=stated.ad_channel,
        runs=tuple(runs),
    )


def _blocks(path: Path, rows: NDArray[Any], stated: Header, repairs: list[str]) -> Blocks:
    counts = rows["n_valid"].astype(np.int64)
    if (counts > NCS_SAMPLES).any():
        raise FormatError(f"{path}: a record of {int(counts.max())} samples; {NCS_SAMPLES} is the most")
    of_record = set(np.unique(rows["rate_hz"]).tolist())
    rate_hz = stated.rate_hz or float(max(of_record))
    if len(of_record) > 1:
        raise FormatError(f"{path}: records of {len(of_record)} rates, {sorted(of_record)} Hz; one is wanted")
    if abs(max(of_record) - rate_hz) > max(1.0, rate_hz * 0.01):
        repairs.append(
            Defect(f"{path.name}: records state {max(of_record)} Hz", f"{rate_hz:g} Hz, as the header states")
        )
    if not rate_hz > 0:
        raise FormatError(f"{path}: a rate of {rate_hz} Hz; one above 0 is wanted")
    return Blocks(
        raw=np.memmap(path, np.uint8, mode="r"),
        dtype=np.dtype("<i2"),
        at=HEADER_BYTES + np.arange(len(rows), dtype=np.int64) * rows.dtype.itemsize + NCS_HEAD_BYTES,
        counts=counts,
        ticks=rows["time_us"].astype(np.int64),
        tick_hz=1e6,
        rate_hz=rate_hz,
    )
