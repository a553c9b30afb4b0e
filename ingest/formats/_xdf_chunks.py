"""Chunks of an XDF file: every stream with its header, where its samples lie, its texts and its clock offsets.

chunk       length (1, 4 or 8 bytes, after a byte that says how many), tag (2 bytes), content; a boundary now and then
samples     how many; for each a byte 8 and a time stamp, or a byte 0; its values

sources_of     all streams, every chunk looked at: one that cannot be is left out, and noted
stamps_of      the time stamps of a stream, chunk by chunk
Samples        its numbers, taken from the file when sliced
"""

from __future__ import annotations

import mmap
import re
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError, _gzip
from neuroloom.ingest.formats._dates import iso_date
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.timebase import FloatArray

MAX_XML_BYTES = 1 << 24
MAX_CHANNELS = 10_000
MAX_TEXTS = 1 << 20  # of a stream: they are held in memory
MAX_TIME_S = 1e15  # no clock counts further

HEADER, STREAM, SAMPLES, OFFSET, FOOTER = 1, 2, 3, 4, 6
_BOUNDARY = bytes.fromhex("43A546DCCBF5410FB30ED5467383CBE4")
FORMATS = {
    "int8": "<i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "float32": "<f4", "double64": "<f8", "string": "",
}  # fmt: skip
_LENGTHS = {1: "<B", 4: "<I", 8: "<Q"}


@dataclass(eq=False)
class Source:
    """A stream of the file: what its header says, where its samples lie, and what else its chunks hold."""

    id: int
    info: ElementTree.Element
    name: str
    format: str
    n_channels: int
    nominal_hz: float
    counts: array[int] = field(default_factory=lambda: array("q"))  # samples of each chunk
    bounds: array[int] = field(default_factory=lambda: array("q"))  # first byte of their values, and the end, in turn
    text_times_s: array[float] = field(default_factory=lambda: array("d"))
    texts: list[tuple[str, ...]] = field(default_factory=list)
    offset_times_s: array[float] = field(default_factory=lambda: array("d"))
    offset_values_s: array[float] = field(default_factory=lambda: array("d"))
    stated_count: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers, as they lie in the file."""
        return np.dtype(FORMATS[self.format])

    @property
    def sample_bytes(self) -> int:
        """Of the numbers of one sample."""
        return self.n_channels * self.dtype.itemsize

    @property
    def interval_s(self) -> float:
        """Between samples, as the header has it; 0 for a stream without a rate."""
        return 1 / self.nominal_hz if self.nominal_hz else 0.0

    @property
    def is_regular(self) -> bool:
        """True for numbers at a rate; a sender may say that some can be missing, as frames of a video."""
        may_drop = said(self.info, "desc/synchronization/can_drop_samples").lower() == "true"
        return self.format != "string" and self.nominal_hz > 0 and not may_drop

    @property
    def n_samples(self) -> int:
        return sum(self.counts)


def sources_of(path: Path, raw: mmap.mmap, repairs: list[str]) -> tuple[list[Source], datetime | None]:
    """Every stream with the places of its samples, and when the file was begun."""
    if raw[:2] == _gzip.SIGNATURE:
        raise _gzip.refusal(path)
    if raw[:4] != b"XDF:":
        raise FormatError(f"{path}: does not begin with 'XDF:'; an XDF file does")
    sources: dict[int, Source] = {}
    losses: Losses = {}
    start: datetime | None = None
    for tag, at, end in _chunks(raw, losses):
        if tag == HEADER:
            start = iso_date(said(_xml(path, raw[at:end]), "datetime"))
        if tag not in (STREAM, SAMPLES, OFFSET, FOOTER):
            continue
        (number,) = struct.unpack_from("<I", raw, at)
        if tag == STREAM:
            if number in sources:
                raise FormatError(f"{path}: stream {number} has two headers; one is wanted")
            sources[number] = _source(path, number, raw[at + 4 : end])
        elif number not in sources:
            _lose(losses, "chunks of a stream without a header", at, end)
        elif not _took(path, raw, sources[number], tag, at + 4, end):
            _lose(losses, f"chunks of {sources[number].name} that contradict themselves", at, end)
    if not sources:
        raise FormatError(f"{path}: has no stream; at least one is wanted")
    repairs += [f"{n} {what}, {size} bytes, the first at byte {at}: left out" for what, (n, size, at) in losses.items()]
    for source in sources.values():
        if source.stated_count not in (None, source.n_samples):
            repairs.append(
                Defect(
                    f"{source.name}: its footer counts {source.stated_count} samples",
                    f"{source.n_samples}, as many as there are",
                )
            )
    return list(sources.values()), start


Losses = dict[str, tuple[int, int, int]]  # what was left out: how many, bytes, the first of them


def _lose(losses: Losses, what: str, at: int, end: int) -> None:
    n, size, first = losses.get(what, (0, 0, at))
    losses[what] = (n + 1, size + end - at, first)


def _chunks(raw: mmap.mmap, losses: Losses) -> Iterator[tuple[int, int, int]]:
    """Tag and content (from, to) of every chunk; where one cannot be, reading goes on after the next boundary."""
    at = 4
    while at < len(raw):
        found = _chunk(raw, at)
        if found is None:
            following = raw.find(_BOUNDARY, at)
            stop = len(raw) if following < 0 else following + len(_BOUNDARY)
            _lose(losses, "stretches that are no whole chunk", at, stop)
            at = stop
        else:
            yield found
            at = found[2]


def _chunk(raw: mmap.mmap, at: int) -> tuple[int, int, int] | None:
    length = _length_at(raw, at, len(raw))
    if length is None:
        return None
    n_bytes, at = length
    if n_bytes < 2 or at + n_bytes > len(raw):
        return None
    (tag,) = struct.unpack_from("<H", raw, at)
    least = {STREAM: 6, SAMPLES: 6, OFFSET: 22, FOOTER: 6}.get(tag, 2)
    return (tag, at + 2, at + n_bytes) if n_bytes >= least else None


def _length_at(raw: mmap.mmap | bytes, at: int, end: int) -> tuple[int, int] | None:
    """A length of 1, 4 or 8 bytes, and what follows it; None where there is none."""
    code = _LENGTHS.get(raw[at]) if at < end else None
    if code is None or at + 1 + struct.calcsize(code) > end:
        return None
    return struct.unpack_from(code, raw, at + 1)[0], at + 1 + struct.calcsize(code)


def _xml(path: Path, data: bytes) -> ElementTree.Element:
    """Raises FormatError for what is no XML, or defines entities: those can grow without bound, or name other files."""
    if len(data) > MAX_XML_BYTES or b"<!" in data.replace(b"<![CDATA[", b"").replace(b"<!--", b""):
        raise FormatError(f"{path}: a header of {len(data)} bytes, too long or with definitions; plain XML is wanted")
    try:
        return ElementTree.fromstring(data.decode("utf-8", "replace"))
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: a header is no XML ({error})") from error


def said(element: ElementTree.Element, tag: str) -> str:
    """The text of an element within another, "" where there is none."""
    return (element.findtext(tag) or "").strip()


def plain(text: str) -> str:
    """A name from the file as one printable line."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()[:100]


def _source(path: Path, number: int, data: bytes) -> Source:
    info = _xml(path, data)
    name, form = plain(said(info, "name")) or f"stream {number}", said(info, "channel_format")
    if form not in FORMATS:
        raise FormatError(f"{path}: {name!r} has samples of format {form!r}; one of {', '.join(FORMATS)} is wanted")
    n_channels, rate_hz = _number(info, "channel_count"), _number(info, "nominal_srate")
    if not (1 <= n_channels <= MAX_CHANNELS and n_channels == int(n_channels)):
        shown = said(info, "channel_count")
        raise FormatError(f"{path}: {name!r} has {shown!r} channels; 1 to {MAX_CHANNELS} are wanted")
    if not 0 <= rate_hz < np.inf:
        raise FormatError(f"{path}: {name!r} has a rate of {said(info, 'nominal_srate')!r}; 0 Hz or more are wanted")
    return Source(number, info, name, form, int(n_channels), rate_hz)


def _number(info: ElementTree.Element, tag: str) -> float:
    try:
        return float(said(info, tag))
    except ValueError:
        return float("nan")


def _took(path: Path, raw: mmap.mmap, source: Source, tag: int, at: int, end: int) -> bool:
    """Adds what a chunk holds to its stream; False where its parts do not add up to its length."""
    if tag == OFFSET:
        time_s, value_s = struct.unpack_from("<dd", raw, at)
        if end - at != 16 or not (abs(time_s) < MAX_TIME_S and abs(value_s) < MAX_TIME_S):
            return False
        source.offset_times_s.append(time_s)
        source.offset_values_s.append(value_s)
        return True
    if tag == FOOTER:
        try:
            count = _number(_xml(path, raw[at:end]), "sample_count")
        except FormatError:
            return False
        source.stated_count = int(count) if 0 <= count < 2**63 else None
        return True
    head = _length_at(raw, at, end)
    if head is None:
        return False
    if source.format != "string":
        return _took_numbers(raw, source, *head, end)
    if head[0] * (1 + 2 * source.n_channels) > end - head[1]:
        return False
    if (len(source.texts) + head[0]) * source.n_channels > MAX_TEXTS:
        raise FormatError(f"{path}: {source.name!r} has more than {MAX_TEXTS} texts; up to so many are wanted")
    return _took_texts(raw, source, *head, end)


def _took_numbers(raw: mmap.mmap, source: Source, n: int, at: int, end: int) -> bool:
    found = _places(raw, source, n, at, end)
    if found is None or not (np.abs(_explicit(raw, at, end, *found)) < MAX_TIME_S).all():
        return False
    source.counts.append(n)
    source.bounds.extend((at, end))
    return True


def _places(
    raw: mmap.mmap, source: Source, n: int, at: int, end: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
    """Where in a chunk the values of each sample start, and which have a time stamp before them.

    A sample is a byte 8 and a time stamp, or a byte 0; then its values. None where that does not add up.
    """
    n_stamped, rest = divmod(end - at - n * (1 + source.sample_bytes), 8)
    if rest or not 0 <= n_stamped <= n:
        return None
    if n_stamped in (0, n):
        stamped = np.full(n, n_stamped > 0)
    else:
        flags, place = bytearray(n), at
        for k in range(n):
            if place >= end:
                return None
            flags[k] = raw[place] == 8
            place += 1 + source.sample_bytes + 8 * flags[k]
        stamped = np.frombuffer(flags, np.bool_)
    sizes = 1 + source.sample_bytes + 8 * stamped.astype(np.int64)
    starts = np.cumsum(sizes)
    body = np.frombuffer(raw, np.uint8, end - at, at)
    if n and (starts[-1] != end - at or not np.array_equal(body[starts - sizes], 8 * stamped)):
        return None
    return starts - source.sample_bytes, stamped


def _explicit(raw: mmap.mmap, at: int, end: int, starts: NDArray[np.int64], stamped: NDArray[np.bool_]) -> FloatArray:
    """The time stamps that are there."""
    body = np.frombuffer(raw, np.uint8, end - at, at)
    return np.ascontiguousarray(body[(starts[stamped] - 8)[:, None] + np.arange(8)]).view("<f8").ravel()


def _took_texts(raw: mmap.mmap, source: Source, n: int, at: int, end: int) -> bool:
    """Texts are few and go to memory."""
    times_s, rows = array("d"), []
    last_s = source.text_times_s[-1] if source.text_times_s else 0.0
    for _ in range(n):
        if at >= end or raw[at] not in (0, 8) or at + 1 + raw[at] > end:
            return False
        last_s = struct.unpack_from("<d", raw, at + 1)[0] if raw[at] else last_s + source.interval_s
        at += 1 + raw[at]
        row = []
        for _ in range(source.n_channels):
            length = _length_at(raw, at, end)
            if length is None or sum(length) > end:
                return False
            row.append(raw[length[1] : sum(length)].decode("utf-8", "replace").replace("\x00", "?"))
            at = sum(length)
        times_s.append(last_s)
        rows.append(tuple(row))
    if at != end or not (np.abs(times_s) < MAX_TIME_S).all():
        return False
    source.text_times_s.extend(times_s)
    source.texts += rows
    source.counts.append(n)
    return True


def stamps_of(raw: mmap.mmap, source: Source) -> Iterator[FloatArray]:
    """Time stamps chunk by chunk; a sample without one comes a nominal interval after the one before."""
    if source.format == "string":
        yield np.array(source.text_times_s, dtype=np.float64)
    before_s = 0.0
    for n, at, end in zip(source.counts, source.bounds[::2], source.bounds[1::2], strict=False):
        found = _places(raw, source, n, at, end)
        if found is None or not n:
            continue
        _, stamped = found
        known_s = np.concatenate([[before_s], _explicit(raw, at, end, *found)])
        samples = np.arange(n)
        last = np.maximum.accumulate(np.where(stamped, samples, -1))  # -1 is the last of the chunk before
        stamps_s = known_s[np.cumsum(stamped)] + (samples - last) * source.interval_s
        before_s = float(stamps_s[-1])
        yield stamps_s


class Samples:
    """Samples (T, C) of a stream from number `first` on, taken from the file when sliced."""

    def __init__(self, raw: mmap.mmap, source: Source, first: int, n: int) -> None:
        self.raw, self.source, self.first = raw, source, first
        self.edges = np.concatenate([[0], np.cumsum(np.array(source.counts, dtype=np.int64))])
        self.shape = (n, source.n_channels)
        self.dtype = source.dtype.newbyteorder("=")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        start, stop, step = part.indices(self.shape[0])
        out = np.empty((max(stop - start, 0), self.shape[1]), self.dtype)
        start, stop = start + self.first, stop + self.first
        chunk = max(int(np.searchsorted(self.edges, start, side="right")) - 1, 0)
        for k in range(chunk, len(self.source.counts)):
            low, high = max(start, int(self.edges[k])), min(stop, int(self.edges[k + 1]))
            if self.edges[k] >= stop:
                break
            if high > low:
                shift = int(self.edges[k])
                out[low - start : high - start] = self._rows(k, low - shift, high - shift)
        return out[::step]

    def _rows(self, k: int, first: int, stop: int) -> NDArray[Any]:
        """Some samples of a chunk; that it adds up was seen before."""
        n, at, end = self.source.counts[k], self.source.bounds[2 * k], self.source.bounds[2 * k + 1]
        size = self.source.sample_bytes
        body = np.frombuffer(self.raw, np.uint8, end - at, at)
        if (end - at) % n == 0 and (end - at) // n in (1 + size, 9 + size):
            picked = body.reshape(n, -1)[first:stop, -size:]
        else:
            found = _places(self.raw, self.source, n, at, end)
            starts = found[0][first:stop] if found is not None else np.zeros(0, dtype=np.int64)
            picked = body[starts[:, None] + np.arange(size)]
        return np.ascontiguousarray(picked).view(self.source.dtype)
