"""BrainVision: a text header names a binary file of samples and a text file of markers, all in one folder.

    X.vhdr  -> X.eeg (or .dat) and X.vmrk      (V-Amp writes X.ahdr, X.eeg, X.amrk)

The header's DataFile and MarkerFile must be plain names beside it: a path that leads elsewhere is refused. Where a name
leads to nothing, since the three were renamed, the file of the header's own stem is taken, and that is told.

A V-Amp stores one channel more than its header lists, as MNE-Python knows too: it has no name, gain or unit, and is
left out.

Design rationale: markers that are damaged or missing cost no samples. They are read without what is lost, which the
ledger shows and `strict` refuses; in the inbox a marker file that is named is waited for (`awaited`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._brainvision_markers import Marker, markers_of
from neuroloom.ingest.formats._channels import columns_of, grouped, kind_of, numbered
from neuroloom.ingest.formats._companions import beside, is_there, plainly_named
from neuroloom.ingest.formats._mapped import whole_samples
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect, not_utf8, note
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "BrainVision"
MODALITY = "eeg"
KEEPS = "int16, int32 or float32, gaps, markers, channel units; not positions, not filters"
TESTED_ON = (
    "every header of MNE-Python and its testing data (multiplexed, vectorised, V-Amp); int32, gaps, renamed files "
    "and damaged markers on files written by this project only"
)

_SIGNATURE = re.compile(rb"^(\xef\xbb\xbf)?\s*(Brain ?Vision|BrainVision) (Data Exchange|V-Amp Data) Header File", re.I)
_DTYPES = {"INT_16": "<i2", "INT_32": "<i4", "IEEE_FLOAT_32": "<f4"}
_PULSES = ("stimulus", "response", "trigger", "optic", "event", "toggle")


def sniff(path: Path, head: bytes) -> bool:
    """True for a header file; its data and marker files are nobody's."""
    return bool(_SIGNATURE.match(head))


def files(path: Path) -> tuple[Path, ...]:
    """Header, data, markers where they are there. Raises FormatError where data are missing, or a name leads away."""
    common = _sections(path)["common infos"]
    return tuple(file for file in (path, _data_file(path, common, []), _marker_file(path, common, [])) if file)


def awaited(path: Path) -> str:
    """That its markers are not beside it, "" where they are: a header need not name them, and they come last."""
    common = _sections(path)["common infos"]
    if _marker_file(path, common, []) is not None:
        return ""
    name = _name(path, common, "markerfile") or path.with_suffix(".vmrk").name
    return f"{path.name}: {name}, its markers, is not beside it"


def read(path: Path) -> list[Recording]:
    """One Recording; a Signal per unit, and the markers as events."""
    sections = _sections(path)
    common = sections["common infos"]
    repairs: list[str] = []
    data = _data_file(path, common, repairs)
    samples = _samples(path, data, sections, repairs)
    rate_hz = 1e6 / _number(path, common, "samplinginterval")
    marker_file = _marker_file(path, common, repairs)
    markers = markers_of(marker_file.name, _text(marker_file), repairs) if marker_file else []
    segments = _segments(samples, rate_hz, markers)
    streams: list[Stream] = list(_signals(path, sections["channel infos"], segments, repairs))
    if any(not marker.is_new_segment for marker in markers):
        streams.append(_events(markers, rate_hz))
    return [
        Recording(
            clock=path.stem,
            format="brainvision",
            files=(path, data, *([marker_file] if marker_file else [])),
            streams=tuple(streams),
            start=next((marker.when for marker in markers if marker.when), None),
            repairs=tuple(repairs),
        )
    ]


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"Codepage=UTF-8" in raw:
            note(not_utf8(error, f"{path.name}, which states UTF-8,"))
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
        if name not in found:
            raise FormatError(f"{path}: no [{name}] section; a BrainVision header has one")
    return found


def _name(path: Path, common: Mapping[str, str], key: str) -> str:
    """What the header calls that file, "" where it names none; `$b` stands for its own stem."""
    return common.get(key, "").replace("$b", path.stem)


def _data_file(path: Path, common: Mapping[str, str], repairs: list[str]) -> Path:
    """The file of samples. Raises FormatError where none is named, or it is not beside the header."""
    name = _name(path, common, "datafile")
    if not name:
        raise FormatError(f"{path}: names no DataFile; one is wanted")
    return _renamed(path, name, "DataFile", (".eeg", ".dat"), repairs) or beside(path, name, "datafile")


def _marker_file(path: Path, common: Mapping[str, str], repairs: list[str]) -> Path | None:
    """The file of markers, None where there is none. Raises FormatError where the name leads away."""
    name = _name(path, common, "markerfile")
    suffixes = (".amrk", ".vmrk") if path.suffix.lower() == ".ahdr" else (".vmrk", ".amrk")
    if name:
        found = _renamed(path, name, "MarkerFile", suffixes, repairs)
        if found is None:
            repairs.append(Defect(f"MarkerFile={name}, which is not beside it: read without markers"))
        return found
    own = next((own for suffix in suffixes if is_there(own := path.with_suffix(suffix))), None)
    if own is not None:
        repairs.append(Defect(f"no MarkerFile line: MarkerFile={own.name}, which is beside it"))
    return own


def _renamed(path: Path, name: str, what: str, suffixes: tuple[str, ...], repairs: list[str]) -> Path | None:
    """The file of that name beside the header, else that of the header's stem; None where neither is there."""
    named = plainly_named(path, name, what.lower())
    if is_there(named):
        return named
    own = next((own for suffix in suffixes if is_there(own := path.with_suffix(suffix))), None)
    if own is not None:
        repairs.append(Defect(f"{what}={name}, which is not beside it: {what}={own.name}"))
    return own


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
    is_by_channel = common.get("dataorientation", "MULTIPLEXED").upper() == "VECTORIZED"
    stored = _stored_channels(path, data, n_channels, dtype.itemsize)
    n_samples = whole_samples(data, stored, dtype.itemsize, repairs)
    _check_points(path, common, n_samples, is_by_channel, repairs)
    if is_by_channel and data.stat().st_size % (stored * dtype.itemsize):
        raise FormatError(f"{data}: not the same number of samples for each of {stored} channels; the file is cut off")
    shape = (stored, n_samples) if is_by_channel else (n_samples, stored)
    samples = np.memmap(data, dtype, mode="r", shape=shape)
    if stored > n_channels:
        repairs.append(f"{data.name}: column {stored}, which a V-Amp stores and its header does not list, left out")
    return (samples.T if is_by_channel else samples)[:, :n_channels]


def _stored_channels(path: Path, data: Path, n_channels: int, itemsize: int) -> int:
    """How many channels lie in the file of samples: of a V-Amp one more than are listed, unless only these fit."""
    if b"V-Amp" not in path.read_bytes()[:80]:
        return n_channels
    n_bytes = data.stat().st_size
    fits_listed, fits_more = (n_bytes % (n * itemsize) == 0 for n in (n_channels, n_channels + 1))
    return n_channels if fits_listed and not fits_more else n_channels + 1


def _check_points(path: Path, common: Mapping[str, str], n_there: int, is_by_channel: bool, repairs: list[str]) -> None:
    """Compare with DataPoints, where the header has it. Raises FormatError where that says channels lie elsewhere."""
    stated = common.get("datapoints", "")
    if not stated.isascii() or not stated.isdigit() or int(stated[:15]) == n_there:
        return
    if is_by_channel:
        raise FormatError(
            f"{path}: DataPoints={stated[:15]}, {n_there} of each channel are there; as many as stated are wanted"
        )
    repairs.append(Defect(f"DataPoints={stated[:15]}: DataPoints={n_there}, as many as there are"))


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
    names = numbered([row.name for row in rows], repairs)
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


def _segments(samples: NDArray[Any], rate_hz: float, markers: list[Marker]) -> list[tuple[NDArray[Any], Timebase]]:
    """The unbroken runs between "New Segment" markers; a gap lasts as long as their dates tell.

    Where a later segment states no date, the gap is of unknown length: samples go on without one, as the file counts.
    """
    news = [(marker.at, marker.when) for marker in markers if marker.is_new_segment and marker.at < len(samples)]
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
    shown = [marker for marker in markers if not marker.is_new_segment]
    kinds = tuple(marker.kind for marker in shown)
    is_sync = any(kind.lower() in _PULSES for kind in kinds)
    return Events(
        name="markers",
        modality="sync" if is_sync else "events",
        times_s=np.array([marker.at / rate_hz for marker in shown]),
        labels=tuple(marker.text or marker.kind for marker in shown),
        table={"kind": kinds, "duration_s": tuple(marker.lasts / rate_hz for marker in shown)},
    )
