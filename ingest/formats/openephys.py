"""Open Ephys, binary format: per recording a `structure.oebin` (JSON) with folders of int16 samples, events, spikes.

    SESSION/Record Node 101/                  or SESSION/ itself before version 0.5
      settings.xml, settings_2.xml            where the electrodes are, per experiment
      experiment1/                            one acquisition: this folder is read as a whole
        recording1/, recording2/              started and stopped within it: segments
          structure.oebin, sync_messages.txt
          continuous/<stream>/                continuous.dat, sample_numbers.npy, timestamps.npy
          events/<stream>/TTL/, events/MessageCenter/, spikes/...

A stream has a clock of its own, that of its device: second = sample number / rate. The bands of one probe, AP and LFP,
share it. Where the sample numbers jump there is a gap. A `structure.oebin` outside such folders is read by itself.

`timestamps.npy` (from 0.6 on) holds what Open Ephys' synchroniser made of the sample numbers: seconds on the clock of
its main stream. Where it did stretch a stream, the streams lead to that clock; where it stretched none, nothing was
synchronised, and only pulses can tell.

Design rationale: neo.rawio.OpenEphysBinaryRawIO, which the tests compare with, never looks for gaps, times samples by
number and events of 0.6 by the synchroniser (two clocks in one recording), and leaves spikes out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._npy import array_of
from neuroloom.ingest.formats._openephys_clocks import clocks_of, leading
from neuroloom.ingest.formats._openephys_noted import events_of, together, units_of
from neuroloom.ingest.formats._openephys_probe import sites
from neuroloom.ingest.formats._openephys_signals import Part, signals_of
from neuroloom.ingest.formats._openephys_structure import NAME, Stream, Structure, inner, is_structure, structure_of
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Signal

TITLE = "Open Ephys (binary)"
MODALITY = "wideband"
TESTED_ON = (
    "a real structure.oebin of 0.5 whose samples were made up, and a real settings.xml; all else on folders written by "
    "this project only"
)
KEEPS = (
    "every int16 sample with its gain, gaps, recordings as segments, lines that go up, messages, spike times by "
    "cluster, electrode positions of Neuropixels, the synchroniser's map between streams; not waveforms"
)

_EXPERIMENT, _RECORDING = re.compile(r"experiment(\d+)"), re.compile(r"recording(\d+)")
_MAX_FILES = 20_000


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What `path` names: recording folders in order, the folder of the settings, and what the session is called."""

    recordings: tuple[Path, ...]
    settings: Path
    label: str
    node: str


def sniff(path: Path, head: bytes) -> bool:
    """True for an experiment's folder, and for a `structure.oebin` that lies in none."""
    if path.is_dir():
        return bool(_EXPERIMENT.fullmatch(path.name)) and bool(_recordings(path))
    return is_structure(head) and not _is_in_experiment(path)


def _is_in_experiment(path: Path) -> bool:
    return bool(_RECORDING.fullmatch(path.parent.name) and _EXPERIMENT.fullmatch(path.parent.parent.name))


def _recordings(path: Path) -> tuple[Path, ...]:
    numbered = ((_RECORDING.fullmatch(folder.name), folder) for folder in path.iterdir() if not folder.is_symlink())
    found = [(int(match[1]), folder) for match, folder in numbered if match and is_there(folder / NAME)]
    return tuple(folder for _, folder in sorted(found))


def _place(path: Path) -> _Place:
    if not path.is_dir():
        return _Place(recordings=(path.parent,), settings=path.parent / "settings.xml", label=path.parent.name, node="")
    number = int(_EXPERIMENT.fullmatch(path.name)[1])  # type: ignore[index]
    parent = path.parent
    is_node = parent.name.startswith("Record Node")
    return _Place(
        recordings=_recordings(path),
        settings=parent / ("settings.xml" if number == 1 else f"settings_{number}.xml"),
        label=f"{(parent.parent if is_node else parent).name} {path.name}",
        node=parent.name if is_node and len(list(parent.parent.glob("Record Node*"))) > 1 else "",
    )


def files(path: Path) -> tuple[Path, ...]:
    """Every file of the recordings, the first `structure.oebin` first, and the settings. Links are left out."""
    place = _place(path)
    found = [folder / NAME for folder in place.recordings]
    for folder in place.recordings:
        found += [f for f in sorted(folder.rglob("*")) if is_there(f) and f not in found][:_MAX_FILES]
    if is_there(place.settings) and place.settings not in found:
        found.append(place.settings)
    return tuple(found)


def incomplete(path: Path) -> str:
    """Why some stream's samples are fewer than its sample numbers; "" where none's are."""
    try:
        for folder in _place(path).recordings:
            structure = structure_of(folder / NAME)
            for stream in structure.streams:
                _part(structure, stream, [])
    except FormatError as error:
        return str(error)
    return ""


def read(path: Path) -> list[Recording]:
    """One Recording per device clock: signals per kind of channel, lines, messages, units."""
    place = _place(path)
    repairs: list[str] = []
    structures = [structure_of(folder / NAME) for folder in place.recordings]
    parts: dict[str, list[Part]] = {}
    for structure in structures:
        for stream in structure.streams:
            part = _part(structure, stream, repairs)
            if part is not None:
                parts.setdefault(stream.folder, []).append(part)
    if not parts:
        raise FormatError(f"{path}: no stream with samples; at least one is wanted")
    clocks = clocks_of(parts)
    found = files(path)
    maps = leading(parts, clocks, place.label)
    recordings = []
    for clock in dict.fromkeys(clocks.values()):
        own = [folder for folder in parts if clocks[folder] == clock]
        streams = [signal for folder in own for signal in _signals(parts[folder], place, repairs)]
        recordings.append(
            Recording(
                clock=f"{place.label} {clock}",
                format="openephys",
                files=found,
                streams=tuple(streams),
                start=_start(place),
                leads_to=maps.get(clock),
            )
        )
    recordings = _with_noted(recordings, structures, clocks, place, repairs)
    recordings[0] = replace(recordings[0], repairs=tuple(dict.fromkeys(repairs)))
    return recordings


def _part(structure: Structure, stream: Stream, repairs: list[str]) -> Part | None:
    """The samples of a stream in one recording and their numbers; None where it holds none."""
    folder = inner(structure.folder, stream.folder, "continuous")
    raw, n_channels = folder / "continuous.dat", len(stream.channels)
    if not is_there(raw):
        raise FormatError(f"{raw}: is not there; the samples of {stream.name} are wanted")
    numbers = _sample_numbers(folder)
    n, rest = divmod(raw.stat().st_size, 2 * n_channels)
    where = f"{structure.folder.name}/{stream.folder}"
    if rest:
        repairs.append(Defect(f"{where}: {rest} bytes after the last whole sample left out"))
    if n < len(numbers):
        raise FormatError(f"{raw}: {n} samples for {len(numbers)} sample numbers: still being copied, or cut off")
    if n > len(numbers):
        repairs.append(Defect(f"{where}: {n - len(numbers)} samples at the end have no number: left out"))
    if not len(numbers):
        return None
    samples = np.memmap(raw, "<i2", mode="r", shape=(n, n_channels))[: len(numbers)]
    return Part(stream=stream, folder=folder, samples=samples, numbers=numbers)


def _sample_numbers(folder: Path) -> NDArray[Any]:
    """Called timestamps before 0.6, when they were no seconds yet."""
    named = folder / "sample_numbers.npy"
    return array_of(named if named.is_file() else folder / "timestamps.npy", kinds="iu")


def _signals(parts: Sequence[Part], place: _Place, repairs: list[str]) -> list[Signal]:
    stream = parts[0].stream
    places = dict.fromkeys(part.stream.channels for part in parts)
    if len(places) > 1:
        raise FormatError(f"{parts[1].folder}: other channels than in the recording before; the same are wanted")

    def table_of(n_channels: int, wide: bool) -> dict[str, tuple[Any, ...]]:
        table, reason = sites(place.settings, stream.folder, n_channels, wide=wide)
        if reason:
            repairs.append(f"{stream.name}: positions of its electrodes are not known ({reason})")
        return dict(table)

    name = f"{place.node} {stream.name}".strip()
    try:
        return signals_of(name, parts, table_of, repairs)
    except ValueError as error:
        raise FormatError(f"{parts[0].folder}: {error}") from error


def _with_noted(
    recordings: Sequence[Recording],
    structures: Sequence[Structure],
    clocks: dict[str, str],
    place: _Place,
    repairs: list[str],
) -> list[Recording]:
    """With events and spikes, each on the clock of the stream that it came with; all recordings' together."""
    added: dict[tuple[str, str], list[Any]] = {}
    for structure in structures:
        for noted in (*structure.events, *structure.spikes):
            clock = _clock_of(noted, structure, clocks)
            if clock is None:
                repairs.append(f"{noted.folder}: of none of the streams: left out")
                continue
            name = f"{place.node} {noted.folder.replace('/', ' ')}".strip()
            of = events_of if noted in structure.events else units_of
            stream = of(structure, noted, name, repairs)
            if stream is not None:
                added.setdefault((f"{place.label} {clock}", name), []).append(stream)
    joined = {key: together(parts) for key, parts in added.items()}
    return [
        replace(r, streams=(*r.streams, *(stream for (clock, _), stream in joined.items() if clock == r.clock)))
        for r in recordings
    ]


def _clock_of(noted: Any, structure: Structure, clocks: dict[str, str]) -> str | None:
    """By the folder it lies in, by the stream it names, or where it has neither (messages) by its rate."""
    first = noted.folder.partition("/")[0]
    by_name = {stream.name: stream.folder for stream in structure.streams}
    by_rate = {stream.rate_hz: stream.folder for stream in reversed(structure.streams)}
    folder = first if first in clocks else by_name.get(noted.stream) or by_rate.get(noted.rate_hz)
    return clocks.get(folder) if folder is not None else None


def _start(place: _Place) -> datetime | None:
    """By the messages of the first recording (milliseconds since 1970), else when the settings were written."""
    messages, settings = place.recordings[0] / "sync_messages.txt", place.settings
    text = messages.read_bytes()[: 1 << 16].decode("latin-1") if is_there(messages) else ""
    match = re.search(r"milliseconds since midnight[^:]*:\s*(\d{12,14})", text)
    if match is not None:
        return datetime.fromtimestamp(int(match[1]) / 1000, UTC)
    head = settings.read_bytes()[:4096].decode("latin-1") if is_there(settings) else ""
    match = re.search(r"<DATE>\s*(\d{1,2} \w{3} \d{4} \d{1,2}:\d{2}:\d{2})\s*</DATE>", head)
    try:
        return datetime.strptime(match[1], "%d %b %Y %H:%M:%S") if match is not None else None
    except ValueError:
        return None
