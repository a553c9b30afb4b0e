"""Plexon `.plx` (versions 100 to 107): continuous channels, spikes sorted while recording, events and strobed words.

    WB, SPKC     wide band, spike band         AI     analog inputs, "aux"
    FP           field potentials              any other by its rate

Each block of samples has its own tick: where one begins more than half a sample late, a new segment begins. Spikes are
a unit per channel and class, class 0 being unsorted. Strobed words are "sync" Events labelled by their value, each
input line is a stream of its own.

Design rationale: neo.rawio.PlexonRawIO, which the tests compare with, starts every signal at 0, joins what pauses and
lost blocks tore apart, gives zeros for the last block when asked for all, and scales continuous samples by the bits of
spikes instead of their own (a factor of 16 for 12 and 16 bits). `.pl2` files, which only the vendor's library for
Windows reads, are not recognised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._blocks import Blocks, Run, alike, runs_of, stacked
from neuroloom.ingest.formats._channels import numbered, unique_streams
from neuroloom.ingest.formats._plexon_blocks import EVENT, MAGIC, SLOW, SPIKE, Plx, plx_of
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Signal, Stream, Units

TITLE = "Plexon .plx"
MODALITY = "wideband"
TESTED_ON = "files written by this project only"
KEEPS = (
    "every int16 sample of continuous channels with its gain, gaps, spike times by class, input lines, strobed words; "
    "not waveforms, and not .pl2"
)

_LFP_HZ = 2000.0
_STROBED = 257
_MV_TO_UV = 1e3


def sniff(path: Path, head: bytes) -> bool:
    """True for the four letters that a .plx begins with, and a version that is one."""
    return head[:4] == MAGIC and len(head) >= 4096 and 100 <= int.from_bytes(head[4:8], "little") <= 200


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel, rate and gaps; units; events."""
    repairs: list[str] = []
    plx = plx_of(path, repairs)
    others = np.setdiff1d(np.unique(plx.heads["type"]), [SPIKE, EVENT, SLOW])
    repairs += [f"data blocks of type {kind}, which is not known, left out" for kind in others.tolist()]
    streams: list[Stream] = [*_signals(plx, repairs), *_units(plx), *_events(plx)]
    if not streams:
        raise FormatError(f"{path}: no data blocks; some are wanted")
    return [
        Recording(
            clock=path.stem,
            format="plexon",
            files=(path,),
            streams=unique_streams(streams),
            start=plx.start,
            repairs=tuple(repairs),
        )
    ]


def _name(raw: bytes, otherwise: str) -> str:
    return raw.partition(b"\x00")[0].decode("latin-1").strip() or otherwise


def _signals(plx: Plx, repairs: list[str]) -> list[Signal]:
    groups: dict[Any, list[tuple[str, float, list[Run]]]] = {}
    raw = np.memmap(plx.path, np.uint8, mode="r")
    slow = plx.heads["type"] == SLOW
    for row in plx.slow_channels:
        mine = np.flatnonzero(slow & (plx.heads["channel"] == int(row["channel"])))
        if not mine.size:
            continue
        name, rate_hz = _name(row["name"], f"channel {int(row['channel'])}"), float(row["rate_hz"])
        if rate_hz <= 0:
            raise FormatError(f"{plx.path}: {name} is sampled at {rate_hz} Hz; a rate above 0 is wanted")
        counts = plx.heads["n"][mine].astype(np.int64) * plx.heads["words"][mine]
        blocks = Blocks(raw, np.dtype("<i2"), plx.at[mine], counts, plx.ticks[mine], plx.tick_hz, rate_hz)
        try:
            runs = runs_of(blocks)
        except ValueError as error:
            raise FormatError(f"{plx.path}: {name}: {error}") from error
        if runs:
            groups.setdefault((_modality(name, rate_hz), _kind(name), alike(runs, rate_hz)), []).append(
                (name, _microvolts(plx, row, name), runs)
            )
    unknown = np.setdiff1d(np.unique(plx.heads["channel"][slow]), plx.slow_channels["channel"])
    repairs += [Defect(f"samples of channel {channel}, which has no header, left out") for channel in unknown.tolist()]
    return [_signal(kind or modality, modality, group, repairs) for (modality, kind, _), group in groups.items()]


def _signal(name: str, modality: str, group: Sequence[tuple[str, float, list[Run]]], repairs: list[str]) -> Signal:
    names = numbered([channel for channel, _, _ in group], repairs)
    return Signal(
        name=name,
        modality=modality,
        segments=stacked([runs for _, _, runs in group]),
        channel_names=tuple(names),
        unit="uV",
        gain=np.array([gain for _, gain, _ in group]),
        offset=np.zeros(len(group)),
    )


def _kind(name: str) -> str:
    """The letters before the number: WB, FP, SPKC, AI."""
    return re.split(r"\d", name, maxsplit=1)[0].strip()


def _modality(name: str, rate_hz: float) -> str:
    kind = _kind(name).upper()
    if kind.startswith("AI"):
        return "aux"
    if kind.startswith(("FP", "LFP")):
        return "lfp"
    return "wideband" if rate_hz > _LFP_HZ or kind in ("WB", "SPKC") else "lfp"


def _microvolts(plx: Plx, row: Any, name: str) -> float:
    """By the version of the file, after Plexon's header file; `slow_bits` are the bits of these very samples."""
    if plx.version < 102:
        through = 2048 * int(row["gain"]) * 1000.0 / 5000.0
    elif plx.version == 102:
        through = 2048 * int(row["gain"]) * int(row["preamp"]) / 5000.0
    else:
        half = 0.5 * 2.0 ** int(plx.stated["slow_bits"])
        most_mv = int(plx.stated["slow_mv"])
        through = half * int(row["gain"]) * int(row["preamp"]) / most_mv if most_mv else 0.0
    if not through > 0:
        raise FormatError(f"{plx.path}: {name} has a gain of {through}; one above 0 is wanted")
    return _MV_TO_UV / through


def _units(plx: Plx) -> list[Units]:
    """One unit per channel and class; classes 1 to 26 are sorted."""
    here = np.flatnonzero(plx.heads["type"] == SPIKE)
    if not here.size:
        return []
    channels, classes = plx.heads["channel"][here].astype(np.int64), plx.heads["unit"][here].astype(np.int64)
    order = np.lexsort((plx.ticks[here], classes, channels))
    here, channels, classes = here[order], channels[order], classes[order]
    firsts = np.flatnonzero(np.r_[True, (np.diff(channels) != 0) | (np.diff(classes) != 0)])
    names = {int(row["channel"]): _name(row["name"], "") for row in plx.spike_channels}
    of_unit = [(names.get(c) or f"channel {c}", k) for c, k in zip(channels[firsts], classes[firsts], strict=True)]
    trains = np.split(plx.ticks[here] / plx.tick_hz, firsts[1:])
    return [
        Units(
            name="units",
            unit_names=tuple(f"{channel}#{k}" for channel, k in of_unit),
            spike_times_s=tuple(trains),
            table={
                "channel": tuple(channel for channel, _ in of_unit),
                "kind": tuple("sorted" if k else "unsorted" for _, k in of_unit),
            },
        )
    ]


def _events(plx: Plx) -> list[Events]:
    """A stream per event channel: strobed words by value, lines by name; so are starts, stops and the keyboard."""
    found: list[Events] = []
    names = {int(row["channel"]): _name(row["name"], "") for row in plx.event_channels}
    for channel in np.unique(plx.heads["channel"][plx.heads["type"] == EVENT]).tolist():
        here = np.flatnonzero((plx.heads["type"] == EVENT) & (plx.heads["channel"] == channel))
        here = here[np.argsort(plx.ticks[here], kind="stable")]
        name = names.get(channel) or f"event {channel}"
        words = plx.heads["unit"][here].tolist()
        is_input = channel == _STROBED or re.match(r"event|evt|din|strobe", name, re.I) is not None
        found.append(
            Events(
                name=name,
                modality="sync" if is_input else "events",
                times_s=plx.ticks[here] / plx.tick_hz,
                labels=tuple(str(word) for word in words) if channel == _STROBED else (name,) * here.size,
            )
        )
    return found
