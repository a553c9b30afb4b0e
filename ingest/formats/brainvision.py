"""BrainVision: a text header names a binary file of samples and a text file of markers, all in one folder.

    X.vhdr  -> X.eeg (or .dat) and X.vmrk      (V-Amp writes X.ahdr, X.eeg, X.amrk)

The header's DataFile and MarkerFile must be plain names beside it: a path that leads elsewhere is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channels import columns_of, grouped, kind_of, unique_names
from neuroloom.ingest.formats._companions import beside
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect, note
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "BrainVision"
MODALITY = "eeg"
KEEPS = "int16, int32 or float32, gaps, markers, channel units; not positions, not filters"
TESTED_ON = "real files of MNE-Python and its testing data"

_SIGNATURE = re.compile(rb"^(\xef\xbb\xbf)?\s*(Brain ?Vision|BrainVision) (Data Exchange|V-Amp Data) Header File", re.I)
_DTYPES = {"INT_16": "<i2", "INT_32": "<i4", "IEEE_FLOAT_32": "<f4"}
_PULSES = ("stimulus", "response", "trigger", "optic", "event", "toggle")


def sniff(path: Path, head: bytes) -> bool:
    """True for a header file; its data and marker files are nobody's."""
    return bool(_SIGNATURE.match(head))


def files(path: Path) -> tuple[Path, ...]:
    """Header, data, markers. Raises FormatError where one is named but missing or lies elsewhere."""
    common = _sections(path)["common infos"]
    named = [_named(path, common, key) for key in ("datafile", "markerfile")]
    return (path, *(file for file in named if file is not None))


def read(path: Path) -> list[Recording]:
    """One Recording; a Signal per unit, and the markers as events."""
    sections = _sections(path)
    common = sections["common infos"]
    data = _named(path, common, "datafile")
    if data is None:
        raise FormatError(f"{path}: names no DataFile; one is wanted")
    repairs: list[str] = []
    samples = _samples(path, data, sections, repairs)
    rate_hz = 1e6 / _number(path, common, "samplinginterval")
    marker_file = _named(path, common, "markerfile")
    markers = _markers(marker_file) if marker_file else []
    segments = _segments(samples, rate_hz, markers)
    streams: list[Stream] = list(_signals(path, sections["channel infos"], segments, repairs))
    if any(not label.startswith("New Segment") for _, label, _, _ in markers):
        streams.append(_events(markers, rate_hz))
    return [
        Recording(
            clock=path.stem,
            format="brainvision",
            files=files(path),
            streams=tuple(streams),
            start=next((when for _, _, _, when in markers if when), None),
            repairs=tuple(repairs),
        )
    ]


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"Codepage=UTF-8" in raw:
            note(Defect(f"{path.name}: states UTF-8 and is none: read as Latin-1"))
        return raw.decode("latin-1")  # what the vendor wrote before it stated a code page


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """`[Section]` -> lower-case key -> value; comments left out, free text after `[Comment]` too."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in _text(path).splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = found.setdefault(line[1:-1].strip().lower(), {})
        elif "=" in line and not line.startswith(";"):
            key, _, value = line.partition("=")
            section.setdefault(key.strip().lower(), value.strip())
    for name in ("common infos", "channel infos"):
        if name not in found and path.suffix.lower() not in (".vmrk", ".amrk"):
            raise FormatError(f"{path}: no [{name}] section; a BrainVision header has one")
    return found


def _named(path: Path, common: Mapping[str, str], key: str) -> Path | None:
    """The file of that entry, in the header's own folder; None where the header names none."""
    name = common.get(key, "").replace("$b", path.stem)
    return beside(path, name, key) if name else None


def _number(path: Path, section: Mapping[str, str], key: str) -> float:
    try:
        value = float(section.get(key, "").replace(",", "."))
    except ValueError as error:
        raise FormatError(f"{path}: {key} is {section.get(key, '')!r}; a number is wanted") from error
    if not (np.isfinite(value) and value > 0):
        raise FormatError(f"{path}: {key} is {value}; a number above 0 is wanted")
    return value


def _samples(path: Path, data: Path, sections: Mapping[str, Mapping[str, str]], repairs: list[str]) -> NDArray[Any]:
    """The binary file as a memory map of shape (T, C)."""
    common = sections["common infos"]
    n_channels = int(_number(path, common, "numberofchannels"))
    if common.get("dataformat", "BINARY").upper() != "BINARY":
        raise FormatError(f"{path}: DataFormat is {common['dataformat']}; BINARY is wanted")
    kind = sections.get("binary infos", {}).get("binaryformat", "INT_16").upper()
    if kind not in _DTYPES:
        raise FormatError(f"{path}: BinaryFormat is {kind}; one of {', '.join(_DTYPES)} is wanted")
    dtype = np.dtype(_DTYPES[kind])
    n_bytes = data.stat().st_size
    n_samples, rest = divmod(n_bytes, n_channels * dtype.itemsize)
    if rest:
        repairs.append(Defect(f"{data.name}: {rest} bytes after the last whole sample left out"))
    if n_samples == 0:
        raise FormatError(f"{data}: {n_bytes} bytes; at least one sample of {n_channels} channels is wanted")
    if common.get("dataorientation", "MULTIPLEXED").upper() == "VECTORIZED":
        return np.memmap(data, dtype, mode="r", shape=(n_channels, n_samples)).T
    return np.memmap(data, dtype, mode="r", shape=(n_samples, n_channels))


class _Row(NamedTuple):
    """What the header states of a channel, the gain in the unit that is kept."""

    name: str
    reference: str
    gain: float
    unit: str


def _signals(
    path: Path, channels: Mapping[str, str], segments: list[tuple[NDArray[Any], Timebase]], repairs: list[str]
) -> list[Signal]:
    """One Signal per unit and what it measures, named after both."""
    n_channels = segments[0][0].shape[1]
    rows = [_channel(path, channels.get(f"ch{i}", ""), i) for i in range(1, n_channels + 1)]
    names, repeated = unique_names([row.name for row in rows])
    repairs += [Defect(f"channel name {name!r} occurs more than once: numbered") for name in repeated]
    kinds = [(kind_of(name) or "eeg") if row.unit == "uV" else "aux" for name, row in zip(names, rows, strict=True)]
    signals = []
    for modality, unit, _, columns in grouped(kinds, [row.unit for row in rows]):
        references = tuple(rows[i].reference for i in columns)
        signals.append(
            Signal(
                name=modality if unit == "uV" else f"aux {unit}",
                modality=modality,
                segments=tuple(Segment(samples=columns_of(part, columns), timebase=base) for part, base in segments),
                channel_names=tuple(names[i] for i in columns),
                unit=unit,
                gain=np.array([rows[i].gain for i in columns]),
                offset=np.zeros(len(columns)),
                table={"kind": (modality,) * len(columns)} | ({"reference": references} if any(references) else {}),
            )
        )
    return signals


def _channel(path: Path, text: str, number: int) -> _Row:
    """What one line `name,reference,resolution,unit` states."""
    parts = [part.replace("\\1", ",").strip() for part in text.split(",")] + [""] * 4
    try:
        resolution = float(parts[2]) if parts[2] else 1.0
    except ValueError as error:
        raise FormatError(f"{path}: resolution of channel {number} is {parts[2]!r}; a number is wanted") from error
    # The vendor's format: an absent unit means microvolts.
    unit, factor = kept_unit(parts[3] if parts[3] else "µV")
    return _Row(name=parts[0] or f"Ch{number}", reference=parts[1], gain=resolution * factor, unit=unit)


Marker = tuple[int, str, int, datetime | None]  # first sample (from 0), label, samples it lasts, date of a new segment


def _markers(path: Path) -> list[Marker]:
    """The markers in order of time."""
    found: list[Marker] = []
    for key, value in _sections(path).get("marker infos", {}).items():
        if not re.fullmatch(r"mk\d+", key):
            continue
        parts = [part.replace("\\1", ",") for part in value.split(",")] + [""] * 6
        try:
            position = int(parts[2]) - 1
            length = int(parts[3] or 1)
        except ValueError as error:
            raise FormatError(f"{path}: {key} is at {parts[2]!r}; a sample number is wanted") from error
        found.append((max(position, 0), f"{parts[0]}/{parts[1]}", length, _date(parts[5])))
    return sorted(found, key=lambda marker: marker[0])


def _date(text: str) -> datetime | None:
    """`20131113161403794232`: year to microseconds, local time without a zone."""
    digits = text.strip()
    if len(digits) != 20 or not digits.isdigit() or digits[:4] == "0000":
        return None
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S%f")
    except ValueError:
        return None


def _segments(samples: NDArray[Any], rate_hz: float, markers: list[Marker]) -> list[tuple[NDArray[Any], Timebase]]:
    """The unbroken runs between "New Segment" markers; a gap lasts as long as their dates tell.

    Where a later segment states no date, the gap is of unknown length: samples go on without one, as the file counts.
    """
    news = [(at, when) for at, label, _, when in markers if label.startswith("New Segment") and at < len(samples)]
    first = next((when for at, when in news if at == 0), None)
    cuts = [(0, 0.0)]
    for at, when in news:
        if at == 0 or when is None or first is None:
            continue
        start_s = (when - first).total_seconds()
        expected_s = cuts[-1][1] + (at - cuts[-1][0]) / rate_hz
        if start_s > expected_s + 1.5 / rate_hz:
            cuts.append((at, start_s))
    stops = [at for at, _ in cuts[1:]] + [len(samples)]
    return [
        (samples[at:stop], Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=stop - at))
        for (at, start_s), stop in zip(cuts, stops, strict=True)
    ]


def _events(markers: list[Marker], rate_hz: float) -> Events:
    """Markers as events, labelled by description; their type and length in the table."""
    shown = [m for m in markers if not m[1].startswith("New Segment")]
    times_s = np.array([m[0] / rate_hz for m in shown])
    kinds = tuple(m[1].partition("/")[0] for m in shown)
    labels = tuple(m[1].partition("/")[2] or m[1].partition("/")[0] for m in shown)
    is_sync = any(kind.lower() in _PULSES for kind in kinds)
    return Events(
        name="markers",
        modality="sync" if is_sync else "events",
        times_s=times_s,
        labels=labels,
        table={"kind": kinds, "duration_s": tuple(m[2] / rate_hz for m in shown)},
    )
