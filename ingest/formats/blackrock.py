"""Blackrock (Cerebus, CerePlex, Gemini), and what Ripple's Trellis writes alike: int16 in `.nsX`, events in `.nev`.

    X.ns1 ... X.ns9   NEURALSG (2.1)            channel numbers, then samples
                      NEURALCD (2.2, 2.3)       a row per channel, then data packets: time of the first sample, count
                      BRSMPGRP (3.0)            the same with 64-bit times; on Gemini a packet per sample, in ns (PTP)
    X.nev             NEURALEV, BREVENTS (3.0)  packets of one size: spikes, digital and serial input, comments

All files of one stem share one clock. A `.nev` names the recording, with the `.nsX` beside it; without one, each `.nsX`
is a Recording of its own. Time 0 is that of the device; PTP times (since 1970) count from the midnight before, UTC, so
that nanoseconds are kept. Units hold spike times only: waveforms stay in the file.

    packets that follow one another without a gap are one segment, any other begins a new one at its own time
    a clock that was set back (two devices started together do that): what was recorded before is left out, and noted

Design rationale: the tests compare with neo.rawio.BlackrockRawIO, but it does not read here, since it loses the last
sample of version 2.1, refuses files of one stem that differ in pauses, drops what Trellis stimulated, and tells gaps in
another way with every release.
"""

from __future__ import annotations

from pathlib import Path

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._blackrock_nev import Table, streams_of, table_of
from neuroloom.ingest.formats._blackrock_nsx import (
    Channels,
    Packets,
    channels_of,
    packets_of,
    runs_of,
    signals_of,
)
from neuroloom.ingest.formats._blackrock_records import NEV, NSX, PTP_HZ, magic_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Signal, Stream

TITLE = "Blackrock NSx and NEV"
MODALITY = "wideband"
KEEPS = "int16, gaps, spike times with their units, digital and serial codes, comments; not waveforms"
TESTED_ON = (
    "a real set that Trellis wrote (.nev and .ns2, 2.2) and a real .ns3 (2.3); made-up .ns3 of MNE-Python (2.1, 2.2, "
    "3.0); 30 kHz, pauses in 2.2, PTP, clock resets, comments, sorted units on files written by this project only"
)

_DAY_S = 86400


def sniff(path: Path, head: bytes) -> bool:
    """True for the eight letters that an .nsX or a .nev begins with."""
    return head[:8] in NSX + NEV


def files(path: Path) -> tuple[Path, ...]:
    """The file, and for a `.nev` the `.ns1` to `.ns9` of its stem beside it, links left out."""
    if magic_of(path) in NSX:
        return (path,)
    beside = (path.with_suffix(f".ns{i}") for i in range(1, 10))
    return (path, *(file for file in beside if is_there(file)))


def incomplete(path: Path) -> str:
    """Why the last data packet of an .nsX is not whole, "" where all are; versions 2.1 and .nev state no length."""
    try:
        for file in files(path):
            if magic_of(file) in NSX[1:]:
                packets_of(file, channels_of(file, {}), [])
    except FormatError as error:
        return str(error)
    return ""


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per file, kind of channel and unit; the events and units of a `.nev`."""
    repairs: list[str] = []
    own, *beside = files(path)
    table = table_of(own, repairs) if magic_of(own) in NEV else None
    sampled = [own] if table is None else beside
    channels = {file: channels_of(file, table.nanovolts if table else {}) for file in sampled}
    packets = {file: packets_of(file, stated, repairs) for file, stated in channels.items()}
    day_s = _day_s([(packets[file].last_tick, stated.resolution) for file, stated in channels.items()], table)
    streams: list[Stream] = []
    for file, stated in channels.items():
        streams += _signals(file, stated, packets[file], day_s, repairs)
    if table is not None:
        streams += streams_of(own, table, day_s, repairs)
    if not streams:
        raise FormatError(f"{own}: neither samples nor events; a recording holds some")
    dates = [table.start if table else None, *(stated.start for stated in channels.values())]
    return [
        Recording(
            clock=own.stem,
            format="blackrock",
            files=(own, *beside),
            streams=tuple(streams),
            start=next((date for date in dates if date is not None), None),
            repairs=tuple(repairs),
        )
    ]


def _signals(file: Path, stated: Channels, packets: Packets, day_s: int, repairs: list[str]) -> list[Signal]:
    """The signals of an .nsX, none where it holds no samples."""
    if packets.last_tick is None:
        repairs.append(f"{file.name}: holds no samples: left out")
        return []
    try:
        return signals_of(file, stated, runs_of(file, stated, packets, day_s, repairs), repairs)
    except FormatError:
        raise
    except (ArithmeticError, ValueError) as error:  # times too large to tell two samples apart
        raise FormatError(f"{file}: its times make no sense ({error}); samples in order of time are wanted") from error


def _day_s(lasts: list[tuple[int | None, int]], table: Table | None) -> int:
    """Seconds since 1970 of the midnight before the end, where ticks are such nanoseconds (PTP), else 0.

    lasts: per .nsX its last tick and its resolution. The end is looked at since a clock may be set after the beginning.
    """
    if table is not None and not table.continues.all():
        lasts = [*lasts, (int(table.ticks[~table.continues].max()), table.resolution)]
    days = [tick // (_DAY_S * hz) for tick, hz in lasts if tick is not None and hz >= PTP_HZ and tick < 1 << 63]
    return max(days, default=0) * _DAY_S
