"""Open Ephys' `structure.oebin`: JSON that says which streams, events and spikes lie in the folders beside it.

structure_of    its content, checked entry by entry
inner           a folder it names: below its own, by plain names, never by a path that leads away
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._json import read_object

NAME = "structure.oebin"
MAX_BYTES = 64 << 20
_MAX_CHANNELS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Value in `unit` = gain * original."""

    name: str
    gain: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One continuous stream. folder: of its samples, and the stream's own name (no two have the same)."""

    folder: str
    name: str
    rate_hz: float
    channels: tuple[Channel, ...]
    processor: str
    sub_index: int


@dataclass(frozen=True, kw_only=True)
class Noted:
    """Events or spikes: folder below `events` or `spikes`, and the rate that their sample numbers count at."""

    folder: str
    name: str
    rate_hz: float
    stream: str


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What one recording folder holds."""

    folder: Path
    version: str
    streams: tuple[Stream, ...]
    events: tuple[Noted, ...]
    spikes: tuple[Noted, ...]


def is_structure(head: bytes) -> bool:
    """True for the beginning of such a file."""
    return head.lstrip()[:1] == b"{" and b'"GUI version"' in head


def structure_of(path: Path) -> Structure:
    """Raises FormatError where it is no JSON, or an entry is not what it has to be."""
    found = read_object(path, most=MAX_BYTES)
    if not isinstance(found.get("GUI version"), str):
        raise FormatError(f"{path}: states no GUI version; Open Ephys writes one")
    return Structure(
        folder=path.parent,
        version=found["GUI version"],
        streams=tuple(_stream(path, entry) for entry in _list(path, found, "continuous")),
        events=tuple(_noted(path, entry) for entry in _list(path, found, "events")),
        spikes=tuple(_noted(path, entry) for entry in _list(path, found, "spikes")),
    )


def _list(path: Path, found: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    entries = found.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FormatError(f"{path}: {key} is no list of entries; Open Ephys writes one")
    return entries


def _stream(path: Path, entry: Mapping[str, Any]) -> Stream:
    folder, channels = _text(path, entry, "folder_name").strip("/"), _list(path, entry, "channels")
    if not 0 < len(channels) <= _MAX_CHANNELS:
        raise FormatError(f"{path}: {folder}: {len(channels)} channels; 1 to {_MAX_CHANNELS} are wanted")
    return Stream(
        folder=folder,
        name=str(entry.get("stream_name") or folder),
        rate_hz=_number(path, entry, "sample_rate"),
        channels=tuple(_channel(path, channel) for channel in channels),
        processor=f"{entry.get('source_processor_name', '')}-{entry.get('source_processor_id', '')}",
        sub_index=int(entry.get("source_processor_sub_idx", -1))
        if _is_whole(entry, "source_processor_sub_idx")
        else -1,
    )


def _channel(path: Path, entry: Mapping[str, Any]) -> Channel:
    """Volts where an analog input states no unit, microvolts where another does not (the format's documentation)."""
    name = _text(path, entry, "channel_name")
    unit = str(entry.get("units") or ("V" if "ADC" in name else "uV"))
    return Channel(name=name, gain=_number(path, entry, "bit_volts"), unit=unit)


def _noted(path: Path, entry: Mapping[str, Any]) -> Noted:
    folder = str(entry.get("folder_name") or entry.get("folder") or "").strip("/")
    if not folder:
        raise FormatError(f"{path}: an entry of events or spikes names no folder; one is wanted")
    return Noted(
        folder=folder,
        name=str(entry.get("channel_name") or entry.get("name") or folder),
        rate_hz=_number(path, entry, "sample_rate"),
        stream=str(entry.get("stream_name") or ""),
    )


def _text(path: Path, entry: Mapping[str, Any], key: str) -> str:
    found = entry.get(key)
    if not isinstance(found, str) or not found.strip():
        raise FormatError(f"{path}: {key} is {found!r}; a text is wanted")
    return found.strip()


def _number(path: Path, entry: Mapping[str, Any], key: str) -> float:
    found = entry.get(key)
    if not isinstance(found, int | float) or isinstance(found, bool) or not (np.isfinite(found) and 0 < found < 1e12):
        raise FormatError(f"{path}: {key} is {found!r}; a number above 0 is wanted")
    return float(found)


def _is_whole(entry: Mapping[str, Any], key: str) -> bool:
    return isinstance(entry.get(key), int) and 0 <= entry[key] < 1 << 16


def inner(folder: Path, name: str, kind: str) -> Path:
    """`folder/kind/name`. Raises FormatError for a name that leads elsewhere, by its parts or by a link."""
    place = folder / kind
    for part in name.split("/"):
        if part in ("", ".", "..") or "\\" in part or not part.isprintable() or re.match(r"[A-Za-z]:", part):
            raise FormatError(f"{folder / NAME}: names the folder {name[:80]!r}; plain names below {kind} are wanted")
        place = place / part
        if place.is_symlink():
            raise FormatError(f"{place}: is a link; a real folder is wanted")
    return place
