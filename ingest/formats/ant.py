"""ANT Neuro eego CNT: chunks of RIFF, or of RF64 with 64 bits for sizes; the samples coded, see `_ant_raw3.py`.

    LIST raw3       chan: the order of channels; ep: samples in an epoch, and where each epoch begins; data: the code
    eeph            a text: rate, channels, samples; per channel calibration, resolution, unit, reference
    info            a text: start, amplifier, person
    X.evt           events and impedances; without it, the few codes that the file itself has
    X.seg           where the amplifier came back after a loss: start and samples of each segment after the first

Design rationale: antio, which MNE reads these with, joins segments, and gives float32, which is not exact beyond 24
bits. It is asked for the events alone: .evt is a memory dump of the vendor's program that nobody has described.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._ant_raw3 import Raw3
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._channels import kind_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._header_text import count, decoded, real, text_of
from neuroloom.ingest.formats._mapped import SampleRange
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Segment, Stream
from neuroloom.ingest.timebase import FloatArray, Timebase

TITLE = "ANT Neuro eego CNT"
MODALITY = "eeg"
KEEPS = "numbers as int32, gaps, codes, notes, references, impedances (the first of each channel); not filters"
TESTED_ON = (
    "five real files of MNE-Python's testing data (RF64, one with a loss of the amplifier); RIFF and methods of coding "
    "that these lack on files written by this project only"
)

MAX_CHUNKS, MAX_TEXT_BYTES, MAX_EVENTS = 1000, 1 << 22, 1_000_000
_FORM = "ant"
_HEADS = {b"RIFF": struct.Struct("<4sI"), b"RF64": struct.Struct("<4sQ")}
_NO_IMPEDANCE_KOHM = 2e6  # what stands for none is about 2147483
_DAY_ZERO = datetime(1899, 12, 30)


class _Chunk(NamedTuple):
    """Where the content of a chunk lies."""

    first: int
    n_bytes: int


class _Trigger(NamedTuple):
    """at: sample, counted over what was recorded. lasts: samples."""

    at: int
    lasts: int
    code: str
    condition: str
    description: str
    impedances: str


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the file states of itself."""

    rate_hz: float
    n_samples: int
    channels: tuple[Channel, ...]
    info: Mapping[str, str]


def sniff(path: Path, head: bytes) -> bool:
    """True for RIFF or RF64 of the form "CNT " that begins with a list of raw3."""
    layout = _HEADS.get(head[:4])
    if layout is None or head[layout.size : layout.size + 4] != b"CNT ":
        return False
    return b"raw3" in head[:64]


def files(path: Path) -> tuple[Path, ...]:
    """The file, and the .evt and .seg beside it of its stem; links left out."""
    return (path, *(file for file in map(path.with_suffix, (".evt", ".seg")) if is_there(file)))


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel, and the events."""
    repairs: list[str] = []
    chunks = _chunks(path)
    header = _header(path, chunks)
    triggers = _triggers(path, repairs)
    start_s = _seconds(path, header.info, "StartDate", "StartFraction")
    samples = _samples(path, chunks, header)
    segments = _segments(path, samples, header.rate_hz, start_s, triggers, repairs)
    channels = _with_impedances(header.channels, triggers)
    streams: list[Stream] = [*signals_of(segments, channels, repairs, stated=_machine(header.info))]
    streams += _events(triggers, segments, header.rate_hz)
    return [
        Recording(
            clock=path.stem,
            format=_FORM,
            files=files(path),
            streams=tuple(streams),
            start=None if start_s is None else _DAY_ZERO + timedelta(seconds=start_s),
            repairs=tuple(repairs),
            subject=_subject(header.info),
        )
    ]


# Chunks -------------------------------------------------------------------------------------------------------------


def _chunks(path: Path) -> dict[str, _Chunk]:
    """Those that are known, by name; those of the list of samples as "raw3/chan" ..."""
    size = path.stat().st_size
    with path.open("rb") as file:
        layout = _HEADS.get(file.read(4))
        if layout is None:
            raise FormatError(f"{path}: begins with neither RIFF nor RF64; a CNT of ANT Neuro is wanted")

        def walk(first: int, stop: int, prefix: str) -> Iterator[tuple[str, _Chunk]]:
            at = first
            for _ in range(MAX_CHUNKS):
                file.seek(at)
                if at + layout.size > stop or len(head := file.read(layout.size)) < layout.size:
                    return
                name, n_bytes = layout.unpack(head)
                at += layout.size
                if at + n_bytes > size:
                    raise FormatError(f"{path}: {name!r} has {n_bytes} bytes from byte {at} on, of {size}: cut off")
                if name == b"LIST" and file.read(4) == b"raw3":
                    yield from walk(at + 4, at + n_bytes, "raw3/")
                yield f"{prefix}{name.decode('latin-1').strip()}", _Chunk(at, n_bytes)
                at += n_bytes + n_bytes % 2

        found = dict(walk(layout.size + 4, size, ""))
    missing = [name for name in ("raw3/chan", "raw3/ep", "raw3/data", "eeph") if name not in found]
    if missing:
        raise FormatError(f"{path}: has no chunk {missing[0]!r}; one is wanted")
    return found


def _content(path: Path, chunk: _Chunk | None) -> bytes:
    if chunk is None:
        return b""
    if chunk.n_bytes > MAX_TEXT_BYTES:
        raise FormatError(f"{path}: a header of {chunk.n_bytes} bytes; at most {MAX_TEXT_BYTES} are wanted")
    with path.open("rb") as file:
        file.seek(chunk.first)
        return file.read(chunk.n_bytes)


def _sections(path: Path, chunk: _Chunk | None) -> dict[str, str]:
    """`[Name]` and the lines that follow it."""
    text = decoded(_content(path, chunk).rstrip(b"\0"))
    parts = re.split(r"^\[(.+)\]\s*$", text, flags=re.M)
    return {name.strip(): lines.strip() for name, lines in zip(parts[1::2], parts[2::2], strict=True)}


def _header(path: Path, chunks: Mapping[str, _Chunk]) -> _Header:
    said = _sections(path, chunks["eeph"])
    lines = [line for line in said.get("Basic Channel Data", "").splitlines() if line.strip() and line[0] != ";"]
    channels = tuple(_channel(path, line.split()) for line in lines)
    if len(channels) != count(path, said, "Channels"):
        raise FormatError(f"{path}: {said['Channels']} channels but {len(channels)} lines on them; they must match")
    return _Header(
        rate_hz=real(path, said, "Sampling Rate", above=0),
        n_samples=count(path, said, "Samples"),
        channels=channels,
        info=_sections(path, chunks.get("info")),
    )


def _channel(path: Path, parts: Sequence[str]) -> Channel:
    """`Fp1 1.0e+00 3.9e-03 uV REF:CPz`: name, calibration, resolution, unit, and what follows by its mark."""
    said = dict(zip(("name", "calibration", "resolution", "unit"), parts, strict=False))
    name = said.get("name", "")
    marks = dict(part.split(":", 1) for part in parts[4:] if ":" in part)
    unit, factor = kept_unit(said.get("unit", ""))
    gain = real(path, said, "calibration") * real(path, said, "resolution")
    is_bipolar = re.fullmatch(r"BIP\d+", name, re.I)  # inputs for anything
    kind = kind_of(marks.get("TYPE", "")) or kind_of(name) or ("misc" if is_bipolar or unit != "uV" else "eeg")
    about = {"reference": marks["REF"]} if marks.get("REF") else {}
    return Channel(name=name, kind=kind, unit=unit, gain=gain * factor, about=about)


# Samples ------------------------------------------------------------------------------------------------------------


def _samples(path: Path, chunks: Mapping[str, _Chunk], header: _Header) -> Raw3:
    with path.open("rb") as file:
        width = {b"RIFF": 4, b"RF64": 8}[file.read(4)]
    order = np.frombuffer(_content(path, chunks["raw3/chan"]), "<i2").astype(np.int64)
    places = _content(path, chunks["raw3/ep"])
    numbers = np.frombuffer(places[: len(places) // width * width], f"<u{width}")
    first, n_bytes = chunks["raw3/data"]
    edges = np.append(numbers[1:], n_bytes).astype(np.int64)
    per_epoch = int(numbers[0]) if len(numbers) else 0
    n_channels = len(header.channels)
    if sorted(order.tolist()) != list(range(n_channels)):
        raise FormatError(f"{path}: an order of {len(order)} channels; each of the {n_channels} once is wanted")
    is_whole = 0 < header.n_samples <= per_epoch * (len(edges) - 1)
    if not is_whole or edges[0] != 0 or (np.diff(edges) <= 0).any() or edges[-1] > n_bytes:
        raise FormatError(
            f"{path}: {header.n_samples} samples in {len(edges) - 1} epochs of {per_epoch}, which do not hold them or "
            "do not follow one another: damaged"
        )
    code = np.memmap(path, np.uint8, mode="r", offset=first, shape=(n_bytes,))
    return Raw3(code, edges, per_epoch, header.n_samples, order, path.name)


def _segments(
    path: Path,
    samples: Raw3,
    rate_hz: float,
    start_s: float | None,
    triggers: Sequence[_Trigger],
    repairs: list[str],
) -> list[Segment]:
    """One, or as many as X.seg states, each at its own time."""
    later = _later_segments(path) if start_s is not None else []
    firsts = [0, *(samples.n - np.cumsum([n for _, n in later][::-1])[::-1]).tolist()]
    starts_s = [0.0, *(at_s - (start_s or 0.0) for at_s, _ in later)]
    lengths = np.diff([*firsts, samples.n])
    stops_s = np.array(starts_s) + lengths / rate_hz
    if (lengths <= 0).any() or (np.array(starts_s[1:]) < stops_s[:-1] - 1.5 / rate_hz).any():
        raise FormatError(f"{path}: its .seg states segments that overlap, or more samples than {samples.n}")
    lost = {t.at for t in triggers if t.code == "__" and 0 < t.at < samples.n} - set(firsts)
    repairs += [f"interrupted at sample {at} for an unknown time: times go on as if it had not been" for at in lost]
    return [
        Segment(
            samples=SampleRange(samples, first, first + int(n)),
            timebase=Timebase(rate_hz=rate_hz, start_s=at_s, n_samples=int(n)),
        )
        for first, n, at_s in zip(firsts, lengths, starts_s, strict=True)
    ]


def _later_segments(path: Path) -> list[tuple[float, int]]:
    """Start, in seconds of the vendor's calendar, and samples of every segment after the first."""
    beside = path.with_suffix(".seg")
    if not is_there(beside):
        return []
    rows = [line.split() for line in text_of(beside).splitlines() if line[:1].isdigit()]
    keys = ("day", "fraction", "samples")
    said = [dict(zip(keys, row, strict=False)) for row in rows]
    return [(_moment_s(beside, one, "day", "fraction"), count(beside, one, "samples")) for one in said]


def _moment_s(path: Path, entries: Mapping[str, str], day: str, fraction: str) -> float:
    """Days since the end of 1899, good to a second, and the fraction of that second."""
    return round(real(path, entries, day) * 86400) + real(path, entries, fraction)


def _seconds(path: Path, info: Mapping[str, str], day: str, fraction: str) -> float | None:
    """The start; None where it is not stated, or in no year there is."""
    if day not in info:
        return None
    found = _moment_s(path, {fraction: "0", **info}, day, fraction)
    return found if 0 < found < 86400 * 2_900_000 else None


# Events -------------------------------------------------------------------------------------------------------------


def _triggers(path: Path, repairs: list[str]) -> list[_Trigger]:
    """Those of X.evt, or of the file itself, in order of time."""
    from antio.libeep import pyeep

    handle = pyeep.read(str(path))
    if handle == -1:
        repairs.append("the vendor's library does not open it: without events")
        return []
    try:
        n = pyeep.get_trigger_count(handle)
        if n > MAX_EVENTS:
            raise FormatError(f"{path}: {n} events; up to {MAX_EVENTS} are wanted")
        rows = [pyeep.get_trigger(handle, k) for k in range(n)]
    finally:
        pyeep.close(handle)
    found = [_Trigger(at, lasts, code, *(text or "" for text in texts)) for code, at, lasts, *texts in rows]
    return sorted(found, key=lambda trigger: trigger.at)


def _times_s(samples: Sequence[int], segments: Sequence[Segment], rate_hz: float) -> FloatArray:
    """Times of samples counted over all segments."""
    firsts = np.cumsum([0, *(s.timebase.n_samples for s in segments[:-1])])
    which = np.maximum(np.searchsorted(firsts, samples, side="right") - 1, 0)
    starts_s = np.array([s.timebase.start_s for s in segments])
    return np.asarray(starts_s[which] + (np.asarray(samples) - firsts[which]) / rate_hz)


def _events(triggers: Sequence[_Trigger], segments: Sequence[Segment], rate_hz: float) -> list[Stream]:
    shown = [trigger for trigger in triggers if trigger.code != "__"]
    if not shown:
        return []
    labels = ["impedance" if t.impedances else t.condition or t.description or t.code for t in shown]
    table = {
        "code": tuple(t.code for t in shown),
        "text": tuple(t.description for t in shown),
        "duration_s": tuple(t.lasts / rate_hz for t in shown),
    }
    times_s = _times_s([t.at for t in shown], segments, rate_hz)
    return [Events(name="events", modality="sync", times_s=times_s, labels=tuple(labels), table=table)]


def _with_impedances(channels: Sequence[Channel], triggers: Sequence[_Trigger]) -> list[Channel]:
    """Channels with the first impedance that was measured of each, in kOhm; without where none was."""
    rows = [trigger.impedances.split() for trigger in triggers if trigger.impedances]
    if not rows or len(rows[0]) != len(channels):
        return list(channels)
    values = [float(value) for value in rows[0]]
    return [
        Channel(
            name=c.name, kind=c.kind, unit=c.unit, gain=c.gain,
            about={**c.about, **({"impedance_kohm": value} if value < _NO_IMPEDANCE_KOHM else {})},
        )
        for c, value in zip(channels, values, strict=True)
    ]  # fmt: skip


# Texts --------------------------------------------------------------------------------------------------------------


def _machine(info: Mapping[str, str]) -> dict[str, str]:
    said = {"manufacturer": info.get("MachineMake", ""), "model": info.get("MachineModel", "")}
    return {key: text for key, text in said.items() if text}


def _subject(info: Mapping[str, str]) -> dict[str, str]:
    """`SubjectDateOfBirth` are the numbers of C's `struct tm`: seconds first; months from 0, years from 1900."""
    parts = info.get("SubjectDateOfBirth", "").split()
    born = None
    if len(parts) >= 6 and all(part.lstrip("-").isdigit() for part in parts[3:6]):
        day, month, year = (int(part) for part in parts[3:6])
        born = date(1900 + year, month + 1, day) if 1 <= day <= 31 and 0 <= month <= 11 and year > 0 else None
    return subject_of(
        name=info.get("SubjectName", ""), born=born, sex=info.get("SubjectSex", ""), code=info.get("SubjectID", "")
    )
