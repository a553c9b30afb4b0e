"""Spike2's 32-bit files, `.smr` (CED, SON): waveforms, events, markers, spikes that were sorted while recording.

    Adc, RealWave                 Signals; channels of one unit, rate and set of pauses together
    EventFall, EventRise          sync Events; EventBoth: moments that the level rose, and for how long
    Marker, TextMark, RealMark    Events, labelled by their first code or their text
    AdcMark (WaveMark)            Units by code, code 0 being unsorted

Where a block of samples begins more than half a sample late, a new segment begins.

Design rationale: neo.rawio.Spike2RawIO, which the tests compare with, refuses channels that pause differently, leaves
out events before the first and after the last sample, takes every change of a level for an event alike, and counts
at most 32,767 blocks per channel. `.smrx` files (64 bits) are read by CED's own library only, and are not recognised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._blocks import Blocks, Run, alike, runs_of, stacked
from neuroloom.ingest.formats._channels import kind_of, numbered, unique_streams
from neuroloom.ingest.formats._spike2_channels import (
    ADC,
    ADC_MARK,
    BOTH,
    COPYRIGHT,
    FALL,
    MARKER,
    REAL,
    REAL_MARK,
    RISE,
    TEXT_MARK,
    Channel,
    Son,
    son_of,
)
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Signal, Stream, Units

TITLE = "Spike2 .smr"
MODALITY = "aux"
TESTED_ON = "files written by this project only"
KEEPS = (
    "every int16 and float32 sample with its gain and offset, pauses, events, levels, markers with their codes, texts, "
    "spike times by code; not waveforms of spikes, and not .smrx"
)

_WIDEBAND_HZ = 5000.0


def sniff(path: Path, head: bytes) -> bool:
    """True for CED's mark in the second to eleventh byte."""
    return head[2:12] == COPYRIGHT


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording: signals, events, units."""
    repairs: list[str] = []
    son = son_of(path, repairs)
    streams: list[Stream] = [*_signals(son, repairs)]
    for channel in son.channels:
        if channel.kind in (FALL, RISE, BOTH, MARKER, REAL_MARK, TEXT_MARK):
            streams += _events(son, channel)
        elif channel.kind == ADC_MARK:
            streams += _units(son, channel)
    if not streams:
        raise FormatError(f"{path}: no channel with data; at least one is wanted")
    return [
        Recording(
            clock=path.stem,
            format="spike2",
            files=(path,),
            streams=unique_streams(streams),
            start=son.start,
            repairs=tuple(repairs),
        )
    ]


def _signals(son: Son, repairs: list[str]) -> list[Signal]:
    groups: dict[Any, list[tuple[Channel, list[Run]]]] = {}
    raw, size = np.memmap(son.path, np.uint8, mode="r"), son.path.stat().st_size
    for channel in son.channels:
        if channel.kind not in (ADC, REAL):
            continue
        dtype = np.dtype("<i2" if channel.kind == ADC else "<f4")
        if (channel.at + channel.items * dtype.itemsize > size).any():
            raise FormatError(f"{son.path}: {channel.title}: a block goes beyond the file's {size} bytes: cut off")
        blocks = Blocks(raw, dtype, channel.at, channel.items, channel.ticks, 1 / son.tick_s, channel.rate_hz)
        try:
            runs = runs_of(blocks)
        except ValueError as error:
            raise FormatError(f"{son.path}: {channel.title}: {error}") from error
        if runs:
            unit = kept_unit(channel.unit)[0]
            groups.setdefault((_modality(channel), unit, alike(runs, channel.rate_hz)), []).append((channel, runs))
    return [_signal(modality, unit, group, repairs) for (modality, unit, _), group in groups.items()]


def _signal(modality: str, unit: str, group: Sequence[tuple[Channel, list[Run]]], repairs: list[str]) -> Signal:
    names = numbered([channel.title for channel, _ in group], repairs)
    factor = np.array([kept_unit(channel.unit)[1] for channel, _ in group])
    return Signal(
        name=names[0] if len(group) == 1 else modality,
        modality=modality,
        segments=stacked([runs for _, runs in group]),
        channel_names=tuple(names),
        unit=unit,
        gain=np.array([channel.gain for channel, _ in group]) * factor,
        offset=np.array([channel.offset for channel, _ in group]) * factor,
    )


def _modality(channel: Channel) -> str:
    """By its title where that says what it is; volts sampled fast are a wide band; anything may be on an input."""
    said = kind_of(channel.title)
    if said:
        return said
    if re.search(r"lfp|field", channel.title, re.I):
        return "lfp"
    if "eeg" in channel.title.lower():
        return "eeg"
    return "wideband" if kept_unit(channel.unit)[0] == "uV" and channel.rate_hz > _WIDEBAND_HZ else "aux"


def _events(son: Son, channel: Channel) -> list[Events]:
    rows = channel.rows(son.path)
    if not len(rows):
        return []
    rows = rows[np.argsort(rows["tick"], kind="stable")]
    times_s = rows["tick"].astype(np.float64) * son.tick_s
    if channel.kind == BOTH:
        return _levels(channel, times_s)
    labels: list[str] = [channel.title] * len(rows)
    table: dict[str, tuple[Any, ...]] = {}
    if "code" in (rows.dtype.names or ()):
        labels = [str(code) for code in rows["code"][:, 0].tolist()]
        table["codes"] = tuple(" ".join(map(str, codes)) for codes in rows["code"].tolist())
    if "text" in (rows.dtype.names or ()):
        labels = [raw.partition(b"\x00")[0].decode("latin-1").strip() for raw in rows["text"].tolist()]
    if "value" in (rows.dtype.names or ()):
        table["value"] = tuple(float(values[0]) for values in rows["value"].tolist())
    by_hand = channel.kind == TEXT_MARK or "key" in channel.title.lower()
    return [
        Events(
            name=channel.title,
            modality="events" if by_hand else "sync",
            times_s=times_s,
            labels=tuple(labels),
            table=table,
        )
    ]


def _levels(channel: Channel, times_s: Any) -> list[Events]:
    """Every other change is a rise: the first one, where the line was low to begin with."""
    first = 0 if channel.init_low else 1
    rises, falls = times_s[first::2], np.append(times_s[first + 1 :: 2], np.nan)
    if not rises.size:
        return []
    high_s = falls[: rises.size] - rises
    return [
        Events(
            name=channel.title,
            modality="sync",
            times_s=rises,
            labels=(channel.title,) * rises.size,
            table={"high_s": tuple(high_s.tolist())},
        )
    ]


def _units(son: Son, channel: Channel) -> list[Units]:
    rows = channel.rows(son.path)
    if not len(rows):
        return []
    times_s, codes = rows["tick"].astype(np.int64) * son.tick_s, rows["code"][:, 0]
    found = np.unique(codes).tolist()
    return [
        Units(
            name=channel.title,
            unit_names=tuple(f"{channel.title}#{code}" for code in found),
            spike_times_s=tuple(np.sort(times_s[codes == code]) for code in found),
            table={
                "channel": (channel.title,) * len(found),
                "kind": tuple("sorted" if code else "unsorted" for code in found),
            },
        )
    ]
