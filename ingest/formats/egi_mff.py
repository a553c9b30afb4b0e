"""EGI MFF: a folder of XML, and `signalN.bin` with float32, `infoN.xml` saying what it is: EEG, or physiology (PNS).

    epochs.xml           stretches that were recorded, each in so many blocks: a segment each, at its own time
    Events_*.xml         tracks of events with their keys
    coordinates.xml      places of the electrodes, in cm; sensorLayout.xml: which there are; pnsSet.xml: other channels
    categories.xml       bad channels; of a file of averages, which epoch is which: a set of Signals each, time 0 being
                         the event averaged over

Design rationale: MNE fills pauses with zeros, sets averages end to end, rounds events to samples, and parses the XML
with whatever it declares. Here no document type gets as far as a parser, see `_xml.py`, and nothing else is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import signals_of
from neuroloom.ingest.formats._channels import unique_names
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._dates import iso_date
from neuroloom.ingest.formats._mff_signal import BlockRows, SignalFile, signal_of
from neuroloom.ingest.formats._mff_xml import (
    Average,
    Epoch,
    averages,
    bad_numbers,
    eeg_channels,
    epochs,
    events,
    gains,
    kind_of_signal,
    pns_channels,
    record_time,
    subject_in,
)
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "EGI MFF"
MODALITY = "eeg"
KEEPS = (
    "float32, pauses as gaps, events with their keys, gains, places, bad channels, physiology, averages, the subject; "
    "not impedances, not filters"
)
TESTED_ON = (
    "real folders of MNE-Python's testing data (256 channels, with pauses; averages); physiology of long recordings on "
    "folders written by this project only"
)

MAX_FILES, MAX_DEPTH = 10_000, 4


def sniff(path: Path, head: bytes) -> bool:
    """True for a folder with `info.xml` of EGI, `epochs.xml` and `signal1.bin`."""
    needed = ("info.xml", "epochs.xml", "signal1.bin")
    try:
        if not path.is_dir() or not all(is_there(path / name) for name in needed):
            return False
        with (path / "info.xml").open("rb") as file:
            said = file.read(4096)
    except OSError:
        return False
    return b"<fileInfo" in said and b"mff" in said.lower()


def files(path: Path) -> tuple[Path, ...]:
    """Every file in the folder and its folders, info.xml first; links are left out."""
    first = path / "info.xml"
    if not is_there(first):
        raise FormatError(f"{path}: info.xml is not in it; an EGI MFF has one")
    return (first, *(file for file in _below(path, path, 0) if file != first))


def _below(top: Path, folder: Path, depth: int) -> list[Path]:
    found: list[Path] = []
    for inner in sorted(folder.iterdir()):
        if inner.is_symlink():
            continue
        if inner.is_dir() and depth < MAX_DEPTH:
            found += _below(top, inner, depth + 1)
        elif inner.is_file():
            found.append(inner)
        if len(found) > MAX_FILES:
            raise FormatError(f"{top}: more than {MAX_FILES} files in it; fewer are wanted")
    return found


def read(path: Path) -> list[Recording]:
    """One Recording: EEG and physiology, a Signal per kind and unit; per category where it holds averages; events."""
    repairs: list[str] = []
    start = record_time(path)
    found, means = epochs(path, start), averages(path, start)
    streams: list[Stream] = []
    for number in _signal_numbers(path):
        kind = kind_of_signal(path, number)
        if kind not in ("EEG", "PNSData"):
            repairs.append(f"signal{number}.bin is {kind or 'of an unknown kind'}: left out")
            continue
        source = signal_of(path / f"signal{number}.bin", repairs)
        streams += _signals(path, kind, number, source, found, means, repairs)
    if not any(isinstance(stream, Signal) for stream in streams):
        raise FormatError(f"{path}: no signal of EEG or physiology in it; one is wanted")
    if means:
        repairs.append("averages: time 0 is the event that was averaged over; tracks of events, end to end, left out")
    else:
        streams += events(path, start, repairs)
    return [
        Recording(
            clock=path.stem,
            format="egi_mff",
            files=(path,),
            streams=tuple(streams),
            start=iso_date(start.text),
            repairs=tuple(repairs),
            subject=subject_in(path),
        )
    ]


def _signal_numbers(path: Path) -> list[int]:
    names = (file.name.removeprefix("signal").removesuffix(".bin") for file in path.glob("signal*.bin"))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 4)


def _signals(
    path: Path,
    kind: str,
    number: int,
    source: SignalFile,
    found: Sequence[Epoch],
    means: Sequence[Average],
    repairs: list[str],
) -> list[Signal]:
    make = eeg_channels if kind == "EEG" else pns_channels
    channels = [
        replace(channel, gain=channel.gain * gain)
        for channel, gain in zip(
            make(path, source.n_channels, bad_numbers(path, number), repairs),
            gains(path, number, source.n_channels, repairs),
            strict=True,
        )
    ]
    segments = _segments(path, source, found, repairs)
    stated = {"positions": "EGI coordinates"} if any("x_mm" in channel.about for channel in channels) else {}
    if not means:
        return signals_of(segments, channels, repairs, stated=stated)
    signals: list[Signal] = []
    names, _ = unique_names([mean.category for mean in means])
    for mean, name in zip(means, names, strict=True):
        about = {**stated, "average": {"category": mean.category, "of_trials": mean.n_trials}}
        of_one = signals_of(_of_average(path, mean, segments), channels, [], stated=about)
        signals += [replace(s, name=f"{s.name} {name}" if len(means) > 1 else s.name) for s in of_one]
    return signals


def _of_average(path: Path, mean: Average, segments: Sequence[Segment]) -> list[Segment]:
    """The segment that begins when the average does, counted from its event."""
    for segment in segments:
        if abs(segment.timebase.start_s - mean.begin_s) < 0.5 / segment.timebase.rate_hz:
            base = Timebase(
                rate_hz=segment.timebase.rate_hz,
                start_s=mean.begin_s - mean.event_s,
                n_samples=segment.timebase.n_samples,
            )
            return [replace(segment, timebase=base)]
    raise FormatError(f"{path}: category {mean.category!r} begins at {mean.begin_s} s, where no epoch does")


def _segments(path: Path, source: SignalFile, found: Sequence[Epoch], repairs: list[str]) -> list[Segment]:
    """Each epoch by the blocks it has. Epochs that state fewer samples than their blocks hold end where they say."""
    segments: list[Segment] = []
    for epoch in found:
        blocks = source.blocks[epoch.first_block - 1 : epoch.last_block]
        if not blocks or epoch.first_block < 1:
            repairs.append(
                Defect(f"{source.path.name}: blocks {epoch.first_block} to {epoch.last_block} are not there", "a gap")
            )
            continue
        there = sum(block.n for block in blocks)
        stated = round((epoch.stop_s - epoch.start_s) * source.rate_hz)
        if abs(stated - there) > 1:  # physiology may have a sample less
            repairs.append(
                Defect(f"{source.path.name}: an epoch states {stated} samples", f"{there}, as many as there are")
            )
        base = Timebase(rate_hz=source.rate_hz, start_s=epoch.start_s, n_samples=there)
        segments.append(Segment(samples=BlockRows(source, blocks, there), timebase=base))
    for one, other in pairwise(segments):
        if other.timebase.start_s < one.timebase.stop_s - 0.5 / source.rate_hz:
            raise FormatError(f"{path}: an epoch starts before the one before it has ended")
    if not segments:
        raise FormatError(f"{path}: no epoch whose blocks are there; one is wanted")
    return segments
