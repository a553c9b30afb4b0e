"""BCI2000 `.dat`: a header of text, then per sample the numbers of all channels and the state vector behind them.

    BCI2000V= 1.1 HeaderLen= 5029 SourceCh= 8 StatevectorLen= 19 DataFormat= int16
    [ State Vector Definition ]      name, bits, first value, byte and bit where it begins; the lowest bit first
    [ Parameter Definition ]         section type name= value; of lists, the count first
    microvolts = (number - SourceChOffset) * SourceChGain
    states                           what each changes to other than 0, as sync events named after it

Design rationale: MNE takes numbers for volts as they are, leaves out the channels' names and all states but
StimulusCode. States that hold the time of a block are no events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._channels import kind_of
from neuroloom.ingest.formats._dates import iso_date
from neuroloom.ingest.formats._header_text import count, decoded, real
from neuroloom.ingest.formats._mapped import Records, mapped
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._triggers import rises
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "BCI2000"
MODALITY = "eeg"
KEEPS = "int16, int32 or float32, names, gains and offsets, states as events; not the other parameters"
TESTED_ON = "files written by this project only"

MAX_HEADER_BYTES, MAX_STATES, MAX_EVENTS = 1 << 24, 1000, 1_000_000
_FIRST = re.compile(rb"(?:BCI2000V= *[\d.]+ +)?HeaderLen= *(\d+) +SourceCh= *\d+ +StatevectorLen= *\d+")
_KINDS = {"int16": "<i2", "int32": "<i4", "float32": "<f4"}
_CLOCKS = ("SourceTime", "StimulusTime")


@dataclass(frozen=True, kw_only=True)
class _State:
    """Where a state lies in the vector. bit: of that byte, the lowest being 0."""

    name: str
    n_bits: int
    byte: int
    bit: int

    def of(self, vector: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Its values, shape (T,), of vectors (T, bytes)."""
        last = (8 * self.byte + self.bit + self.n_bits + 7) // 8
        value = np.zeros(len(vector), np.int64)
        for k in range(self.byte, last):
            value |= vector[:, k].astype(np.int64) << 8 * (k - self.byte)
        return (value >> self.bit) & ((1 << self.n_bits) - 1)


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the header states. parameters: the words behind the name."""

    n_bytes: int
    n_channels: int
    state_bytes: int
    kind: str
    states: tuple[_State, ...]
    parameters: Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class _Vectors:
    """State vectors (T, bytes) of frames (T, bytes), as samples."""

    source: NDArray[np.uint8]
    first: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.source), self.source.shape[1] - self.first)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return np.dtype(np.uint8)

    def __getitem__(self, part: slice, /) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self.source[part, self.first :])


def sniff(path: Path, head: bytes) -> bool:
    """True for a first line that states the lengths of header, sample and state vector."""
    return _FIRST.match(head) is not None


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel and unit, sync events per state."""
    repairs: list[str] = []
    header = _header(path)
    frame_bytes = header.n_channels * np.dtype(header.kind).itemsize + header.state_bytes
    n_samples, rest = divmod(path.stat().st_size - header.n_bytes, frame_bytes)
    if n_samples < 1:
        raise FormatError(f"{path}: no whole sample of {frame_bytes} bytes; at least one is wanted")
    if rest:
        repairs.append(Defect(f"{rest} bytes after the last whole sample left out"))
    frames = mapped(path, np.uint8, (n_samples, frame_bytes), offset=header.n_bytes)
    width = np.dtype(header.kind).itemsize
    samples = Records(frames, tuple(range(0, width * header.n_channels, width)), 1, header.kind)
    base = Timebase(rate_hz=_rate(path, header), n_samples=n_samples)
    channels = _channels(path, header, repairs)
    streams: list[Stream] = [*signals_of([Segment(samples=samples, timebase=base)], channels, repairs)]
    vectors = Segment(samples=_Vectors(frames, width * header.n_channels), timebase=base)
    streams += _events(header, vectors, repairs)
    return [
        Recording(
            clock=path.stem,
            format="bci2000",
            files=(path,),
            streams=tuple(streams),
            start=_start(_one(header, "StorageTime")),
            repairs=tuple(repairs),
            subject=subject_of(code=_one(header, "SubjectName")),
        )
    ]


# Header -------------------------------------------------------------------------------------------------------------


def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        first = file.readline(4096)
        said = _FIRST.match(first)
        if said is None:
            raise FormatError(f"{path}: begins with {first[:40]!r}; HeaderLen, SourceCh and StatevectorLen are wanted")
        n_bytes = int(said[1])
        if not len(first) <= n_bytes <= min(MAX_HEADER_BYTES, path.stat().st_size):
            raise FormatError(
                f"{path}: a header of {n_bytes} bytes in {path.stat().st_size}; it is cut off, or it lies"
            )
        lines = decoded(file.read(n_bytes - len(first))).splitlines()
    stated = dict(re.findall(r"(\w+)= *(\S+)", decoded(first)))
    kind = stated.get("DataFormat", "int16")
    if kind not in _KINDS:
        raise FormatError(f"{path}: DataFormat is {kind[:40]!r}; one of {', '.join(_KINDS)} is wanted")
    state_bytes = count(path, stated, "StatevectorLen", least=0)
    return _Header(
        n_bytes=n_bytes,
        n_channels=count(path, stated, "SourceCh"),
        state_bytes=state_bytes,
        kind=_KINDS[kind],
        states=tuple(_states(path, _section(lines, "State Vector Definition"), state_bytes)),
        parameters=dict(map(_parameter, _section(lines, "Parameter Definition"))),
    )


def _section(lines: Sequence[str], name: str) -> list[str]:
    """The lines between `[ name ]` and the next heading, without those that are blank."""
    found, is_in = [], False
    for line in lines:
        heading = re.fullmatch(r"\s*\[ *(.+?) *\]\s*", line)
        if heading:
            is_in = heading[1] == name
        elif is_in and line.strip():
            found.append(line.strip())
    return found


def _states(path: Path, lines: Sequence[str], state_bytes: int) -> list[_State]:
    if len(lines) > MAX_STATES:
        raise FormatError(f"{path}: {len(lines)} states; up to {MAX_STATES} are wanted")
    found = []
    for line in lines:
        said = dict(zip(("name", "bits", "value", "byte", "bit"), line.split(), strict=False))
        n_bits, byte, bit = (count(path, said, key, least=0) for key in ("bits", "byte", "bit"))
        if not (1 <= n_bits <= 48 and bit <= 7 and 8 * byte + bit + n_bits <= 8 * state_bytes):
            raise FormatError(f"{path}: state {line[:60]!r} does not lie in a vector of {state_bytes} bytes")
        found.append(_State(name=said["name"], n_bits=n_bits, byte=byte, bit=bit))
    return found


def _parameter(line: str) -> tuple[str, list[str]]:
    """`Source floatlist SourceChGain= 8 0.1 0.1 ... // comment`: the name, and the words behind it."""
    left, _, right = line.partition("=")
    words = right.partition("//")[0].split()
    return (left.split() or [""])[-1], [unquote(word) for word in words]


def _one(header: _Header, name: str) -> str:
    """The value of a parameter that has one, "" where it is not stated; `%` stands for an empty one."""
    words = header.parameters.get(name) or [""]
    return "" if words[0] == "%" else words[0]


def _list(path: Path, header: _Header, name: str) -> list[str]:
    """The values of a list, one per channel; none where it is not stated or of another length."""
    words = [*header.parameters.get(name, ())]
    values = words[1 : 1 + header.n_channels]
    return values if len(values) == header.n_channels and words[0] == str(header.n_channels) else []


def _rate(path: Path, header: _Header) -> float:
    text = re.sub(r"\s*Hz$", "", _one(header, "SamplingRate"), flags=re.I)
    return real(path, {"SamplingRate": text}, "SamplingRate", above=0)


def _channels(path: Path, header: _Header, repairs: list[str]) -> list[Channel]:
    """Names, gains and offsets by channel; without gains, numbers in no unit."""
    names = _list(path, header, "ChannelNames") or [f"Ch{k + 1}" for k in range(header.n_channels)]
    gains, offsets = _list(path, header, "SourceChGain"), _list(path, header, "SourceChOffset")
    if not gains:
        repairs.append(f"no SourceChGain of its {header.n_channels} channels: numbers without a unit")
    found = []
    for k, name in enumerate(names):
        unit, gain = _gain(path, gains[k]) if gains else ("a.u.", 1.0)
        zero = real(path, {"SourceChOffset": offsets[k]}, "SourceChOffset") if offsets else 0.0
        kind = kind_of(name) or "eeg"
        found.append(Channel(name=name, kind=kind, unit=unit, gain=gain, offset=-zero * gain))
    return found


def _gain(path: Path, text: str) -> tuple[str, float]:
    """`0.1`, in microvolts, or `0.1muV`, `1e-7V`."""
    said = re.fullmatch(r"([-+.\d]+(?:[eE][-+]?\d+)?) *([A-Za-zµμ]*)", text)
    unit, factor = kept_unit(said[2].replace("mu", "u") or "uV") if said else ("", 1.0)
    return unit, factor * real(path, {"SourceChGain": said[1] if said else text}, "SourceChGain")


def _start(text: str) -> datetime | None:
    """`Wed May 09 10:20:30 2007`, or as ISO has it."""
    try:
        return datetime.strptime(text, "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return iso_date(text)


# States -------------------------------------------------------------------------------------------------------------


def _events(header: _Header, vectors: Segment, repairs: list[str]) -> list[Events]:
    """Events of each state, at the samples where it changes to another value than 0."""
    states = [state for state in header.states if state.name not in _CLOCKS]
    if not states:
        return []

    def values(block: NDArray[np.uint8]) -> NDArray[np.int64]:
        return np.column_stack([state.of(block) for state in states])

    found = []
    for state, made in zip(states, rises([vectors], len(states), values), strict=True):
        if len(made.labels) > min(max(1000, vectors.samples.shape[0] // 4), MAX_EVENTS):
            repairs.append(f"state {state.name}: changes at {len(made.labels)} samples; left out")
        elif made.labels:
            found.append(made.events(state.name))
    return found
