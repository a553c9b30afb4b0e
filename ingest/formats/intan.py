"""Intan RHD and RHS (also Open Ephys' and NeuroNexus' boards): amplifiers, analog and digital inputs, stimulation.

    NAME_240501_100000.rhd      header and data blocks; after some minutes a recording goes on in the next such file
    info.rhd, time.dat, ...     header alone, and the samples in a file per kind or per channel beside it

Files that follow one another without a gap are one recording, named by the first. Each sample has a number; where
numbers jump (lost blocks) a new segment begins. Second = number / rate, so a trigger is at 0.

    amplifier     0.195 µV per bit      auxiliary, supply, adc, dac     volts      dc      volts, -19.23 mV per bit
    stim          current, signed       din, dout      lines that go up            temperature     degrees

Design rationale: neo.rawio.IntanRawIO, which the tests compare with, refuses recordings with gaps (or closes them), has
each file of a split one begin at 0, and gives digital lines as samples. Its DC amplifiers have the sign of Intan's own
reader reversed, its temperatures are a tenth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channels import numbered
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._digital import pulses_in
from neuroloom.ingest.formats._intan_header import RHD, RHS, Header, header_of
from neuroloom.ingest.formats._intan_samples import Kind, Steps, apart, attached, companions
from neuroloom.ingest.formats._row_runs import Part
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "Intan RHD and RHS"
MODALITY = "wideband"
TESTED_ON = "files written by this project only"
KEEPS = (
    "every sample of amplifiers, auxiliary, supply, analog and DC channels with its gain, gaps, files that follow one "
    "another, digital lines that go up, stimulation currents, impedances; not stimulation's flags"
)

_BLOCK = 1 << 20
_MAX_GAPS = 100_000
_ADC = {0: (50.354e-6, 0), 1: (152.59e-6, 32768), 13: (312.5e-6, 32768)}  # per board: V per bit, bits at 0 V


def sniff(path: Path, head: bytes) -> bool:
    """True for the four bytes that such a header begins with."""
    return head[:4] in (RHD, RHS)


def files(path: Path) -> tuple[Path, ...]:
    """The file and those that go on from it, or the `.dat` files beside an `info.rhd`. Raises FormatError."""
    stated = header_of(path)
    if _is_apart(path, stated):
        return (path, *companions(path, stated))
    chain, later = [path], _later(path)
    if any(_goes_on(earlier, path) for earlier in _earlier(path)[-1:]):
        return (path,)
    for file in later:
        if not _goes_on(chain[-1], file):
            break
        chain.append(file)
    return tuple(chain)


def _is_apart(path: Path, stated: Header) -> bool:
    return path.stat().st_size < stated.n_bytes + stated.block_dtype().itemsize and is_there(path.with_name("time.dat"))


def _same(path: Path) -> list[Path]:
    """Files of the same name but for the date and time at its end, in order."""
    match = re.fullmatch(r"(.*)_\d{6}_\d{6}", path.stem)
    if match is None:
        return [path]
    named = re.compile(re.escape(match[1]) + r"_\d{6}_\d{6}")
    return sorted(
        f for f in path.parent.iterdir() if f.suffix == path.suffix and named.fullmatch(f.stem) and is_there(f)
    )


def _later(path: Path) -> list[Path]:
    return [file for file in _same(path) if file.name > path.name]


def _earlier(path: Path) -> list[Path]:
    return [file for file in _same(path) if file.name < path.name]


def _goes_on(first: Path, second: Path) -> bool:
    """True where the sample numbers of one file follow those of the other, and both hold the same channels."""
    try:
        one, other = header_of(first), header_of(second)
        if (one.rate_hz, one.channels, one.block_dtype()) != (other.rate_hz, other.channels, other.block_dtype()):
            return False
        return _number(first, one, -1) + 1 == _number(second, other, 0)
    except FormatError:
        return False


def _number(path: Path, stated: Header, at: int) -> int:
    """The number of a file's first (0) or last (-1) sample."""
    dtype = stated.block_dtype()
    n = (path.stat().st_size - stated.n_bytes) // dtype.itemsize
    if n < 1:
        raise FormatError(f"{path}: no whole data block; one is wanted")
    block = np.fromfile(path, dtype, 1, offset=stated.n_bytes + (0 if at == 0 else (n - 1) * dtype.itemsize))
    return int(block["time"][0, at])


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel, lines that go up."""
    repairs: list[str] = []
    found = files(path)
    stated = header_of(path)
    if _is_apart(path, stated):
        numbers, kinds = apart(path, stated, repairs)
    else:
        numbers, kinds = attached(found, [header_of(file) for file in found], repairs)
    if not numbers.shape[0] or not kinds:
        raise FormatError(f"{path}: no samples; some are wanted")
    runs = _runs(path, numbers)
    streams: list[Stream] = []
    for name, kind in kinds.items():
        segments = _segments(kind, runs, numbers, stated.rate_hz)
        if name in ("din", "dout"):
            lines = _lines(name, kind, segments)
            streams += [lines] if lines.labels else []
        elif segments:
            streams.append(_signal(name, kind, segments, stated, repairs))
    name = path.parent.name if path.stem == "info" else path.stem
    return [
        Recording(
            clock=name,
            format="intan",
            files=found,
            streams=tuple(streams),
            start=_start(name),
            repairs=tuple(repairs),
        )
    ]


def _runs(path: Path, numbers: Any) -> list[tuple[int, int]]:
    """Stretches of samples whose numbers follow one another, first and last + 1."""
    cuts, n = [0], numbers.shape[0]
    for at in range(0, n - 1, _BLOCK):
        steps = np.diff(np.asarray(numbers[at : at + _BLOCK + 1])[:, 0].astype(np.int64))
        if (steps <= 0).any():
            k = at + int((steps <= 0).argmax())
            raise FormatError(f"{path}: sample {k + 1} has a number that goes back; numbers in order are wanted")
        cuts += (np.flatnonzero(steps > 1) + at + 1).tolist()
        if len(cuts) > _MAX_GAPS:
            raise FormatError(f"{path}: more than {_MAX_GAPS} gaps; fewer are wanted")
    return list(pairwise([*cuts, n]))


def _segments(kind: Kind, runs: Sequence[tuple[int, int]], numbers: Any, rate_hz: float) -> list[Segment]:
    """The samples of a kind in each run; those taken every few samples of the amplifiers at the first of them."""
    segments = []
    for first, last in runs:
        a, b = -(-first // kind.every), min(-(-last // kind.every), kind.samples.shape[0])
        if b <= a:
            continue
        at = int(np.asarray(numbers[a * kind.every : a * kind.every + 1])[0, 0])
        base = Timebase(rate_hz=rate_hz / kind.every, start_s=at / rate_hz, n_samples=b - a)
        whole = a == 0 and b == kind.samples.shape[0]
        samples = kind.samples if whole else Part(kind.samples, slice(a, b))
        segments.append(Segment(samples=samples, timebase=base))
    return segments


def _signal(name: str, kind: Kind, segments: Sequence[Segment], stated: Header, repairs: list[str]) -> Signal:
    gain, offset, unit = _scale(name, kind, stated)
    names = numbered([channel.name for channel in kind.channels], repairs, where=f"{name}: ")
    if name == "stim":
        segments = [Segment(samples=Steps(s.samples), timebase=s.timebase) for s in segments]
    table: dict[str, tuple[Any, ...]] = {"native_name": tuple(channel.native for channel in kind.channels)}
    if name == "amplifier":
        table["impedance_ohm"] = tuple(channel.impedance_ohm for channel in kind.channels)
    return Signal(
        name=name,
        modality="wideband" if name == "amplifier" else "aux",
        segments=tuple(segments),
        channel_names=tuple(names),
        unit=unit,
        gain=np.full(len(names), gain),
        offset=np.full(len(names), offset),
        table=table,
        provenance={"notch": stated.notch} if name == "amplifier" and stated.notch else {},
    )


def _scale(name: str, kind: Kind, stated: Header) -> tuple[float, float, str]:
    """Gain, offset and unit after Intan's application notes."""
    if name == "amplifier":
        return 0.195, 0.0 if kind.is_signed else -32768 * 0.195, "uV"
    if name in ("adc", "dac"):
        gain, zero = (312.5e-6, 32768) if stated.is_rhs else _ADC.get(stated.board_mode, _ADC[0])
        return gain, -zero * gain, "V"
    if name == "dc":
        return -0.01923, 512 * 0.01923, "V"
    return {
        "auxiliary": (37.4e-6, 0.0, "V"),
        "supply": (74.8e-6, 0.0, "V"),
        "temperature": (0.01, 0.0, "degC"),
        "stim": (stated.stim_step_A * 1e6, 0.0, "uA"),
    }[name]


def _lines(name: str, kind: Kind, segments: Sequence[Segment]) -> Events:
    """Lines that go up within an unbroken stretch, by the name of their channel."""
    names: Mapping[str, str] = {str(channel.order): channel.name for channel in kind.channels}
    parts = [pulses_in(_Column(s.samples), 0, s.timebase, name=name) for s in segments]
    times_s = [part.times_s for part in parts]
    labels = [names.get(label, f"bit {label}") for part in parts for label in part.labels]
    return Events(
        name=name,
        modality="sync",
        times_s=np.concatenate([np.zeros(0), *times_s]),
        labels=tuple(labels),
        table={"high_s": tuple(value for part in parts for value in part.table["high_s"])},
    )


class _Column:
    """Words (T, 1) that can be asked for a column as an array can."""

    def __init__(self, samples: Any) -> None:
        self.samples, self.shape = samples, samples.shape

    def __getitem__(self, part: tuple[slice, int], /) -> NDArray[Any]:
        return np.asarray(self.samples[part[0]])[:, part[1]]


def _start(name: str) -> datetime | None:
    """The date that the software appends to a name; the header has none."""
    match = re.search(r"_(\d{6}_\d{6})$", name)
    try:
        return datetime.strptime(match[1], "%y%m%d_%H%M%S") if match is not None else None
    except ValueError:
        return None
