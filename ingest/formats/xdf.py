"""XDF, as LabRecorder writes it: chunks of samples of many streams, each on the clock of the computer that sent it.

    stream header       XML: name, type, format, nominal rate, channels
    samples             values of all channels, with a time stamp or, without one, one interval after the last sample
    clock offsets       every few seconds: how far the recorder's clock is ahead of the stream's

One Recording per stream. Numbers stay in the file until they are sliced; texts become events. A stream with a nominal
rate gets the rate measured over each unbroken run of its time stamps; one without keeps every time stamp.
`leads_to` maps its clock to that of the recorder, which all streams of the file share.

Design rationale: pyxdf loads a file whole and skips, with a line in a log, over chunks that it cannot read. Here every
chunk is looked at before anything is made of it, what cannot be read is named in `repairs`, and no more is in memory
than a chunk, besides the time stamps of streams without a rate. pyxdf comes in where the clock of a stream was reset
during the recording (its computer started anew): what belongs together then is its judgement, and the times are those
it gives. Like pyxdf, a line is put through the time stamps of a run; but where they stay off it for seconds (one of the
project's example files: by 0.2 s), a line would be wrong by as much, and the time stamps are kept.
"""

from __future__ import annotations

import io
import logging
import mmap
import re
import struct
import warnings
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.clock_fit import evidence_of, fit_clock
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import ChannelSubset, Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import ClockMap, FloatArray, Timebase, Times, times_of

TITLE = "XDF"
MODALITY = "eeg"
TESTED_ON = "the example files of the XDF project; gaps, gaze and several clocks on files written by this project only"

MAX_STAMPS = 1 << 23  # of streams whose every time stamp is kept: those without a rate, or with a clock that was reset
MAX_XML_BYTES = 1 << 24
MAX_CHANNELS = 10_000
MAX_TEXTS = 1 << 20  # of a stream: they are held in memory
MAX_TIME_S = 1e15  # no clock counts further
BREAK_S, BREAK_SAMPLES = 1.0, 5  # a longer interval between samples is a gap (pyxdf: 1 s and 500 samples)
UNEVEN_MS, UNEVEN_S = 10.0, 10.0  # time stamps this far off their common rate, on average over so long, are kept
FEW_OFFSETS, FEW_OFFSETS_MS = 5, 1.0  # fewer give no drift; one or two no residual: a round trip on a network has less
OUTLIER_MS, OUTLIER_SPREADS = 0.1, 5.0  # an offset is left out where it is this far off, and by so many spreads
MAX_DRIFT = 0.01  # no clock that works is 1 % off
BLOCK_SAMPLES = 100_000

_HEADER, _STREAM, _SAMPLES, _OFFSET, _FOOTER = 1, 2, 3, 4, 6
_BOUNDARY = bytes.fromhex("43A546DCCBF5410FB30ED5467383CBE4")
_FORMATS = {
    "int8": "<i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "float32": "<f4", "double64": "<f8", "string": "",
}  # fmt: skip
_LENGTHS = {1: "<B", 4: "<I", 8: "<Q"}
_MODALITIES = {
    "eeg": "eeg", "meg": "meg", "ieeg": "ieeg", "ecog": "ieeg", "seeg": "ieeg", "emg": "emg", "eog": "eog",
    "ecg": "ecg", "ekg": "ecg", "gaze": "gaze", "eyetracker": "gaze", "eyetracking": "gaze", "pupil": "pupil",
    "mocap": "position", "position": "position", "markers": "events", "marker": "events", "stringmarker": "events",
    "stringmarkers": "events", "events": "events", "event": "events", "trigger": "events", "triggers": "events",
    "stim": "events",
}  # fmt: skip
_CHANNEL_MODALITIES = {
    "eeg": "eeg", "eog": "eog", "emg": "emg", "ecg": "ecg", "ekg": "ecg", "trigger": "sync", "triggers": "sync",
    "trig": "sync", "trg": "sync", "stim": "sync", "markers": "sync", "ttl": "sync", "misc": "aux", "aux": "aux",
    "accelerometer": "aux", "acc": "aux", "gyroscope": "aux", "diameter": "pupil", "pupil": "pupil",
    "pupildiameter": "pupil",
}  # fmt: skip


@dataclass(eq=False)
class _Source:
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
        return np.dtype(_FORMATS[self.format])

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
        may_drop = _said(self.info, "desc/synchronization/can_drop_samples").lower() == "true"
        return self.format != "string" and self.nominal_hz > 0 and not may_drop

    @property
    def n_samples(self) -> int:
        return sum(self.counts)


def sniff(path: Path, head: bytes) -> bool:
    """True for the four bytes that an XDF file begins with, zipped or not."""
    if head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 4)
        except zlib.error:
            return False
    return head[:4] == b"XDF:"


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording per stream, on the stream's own clock; a stream that is empty and without offsets is only named."""
    if path.stat().st_size < 4:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; an XDF file begins with 'XDF:'")
    repairs: list[str] = []
    with path.open("rb") as file:
        raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sources, start = _sources(path, raw, repairs)
    clocks = _clocks(path, sources)
    recordings = [_recording(path, raw, source, clock) for source, clock in zip(sources, clocks, strict=True)]
    empty = [r for r in recordings if r.leads_to is None and not any(_length(stream) for stream in r.streams)]
    repairs += [f"{r.clock}: holds no samples and no clock offsets: left out" for r in empty]
    kept = [recording for recording in recordings if recording not in empty]
    if not kept:
        raise FormatError(f"{path}: {len(recordings)} streams, none with samples; at least one is wanted")
    kept[0] = replace(kept[0], repairs=(*repairs, *kept[0].repairs))
    return _with_starts(kept, start)


# ---- chunks


def _sources(path: Path, raw: mmap.mmap, repairs: list[str]) -> tuple[list[_Source], datetime | None]:
    """Every stream with the places of its samples, and when the file was begun."""
    if raw[:2] == b"\x1f\x8b":
        raise FormatError(f"{path}: is compressed, so no part of it can be read alone; unzip it first (gunzip)")
    if raw[:4] != b"XDF:":
        raise FormatError(f"{path}: does not begin with 'XDF:'; an XDF file does")
    sources: dict[int, _Source] = {}
    losses: Losses = {}
    start: datetime | None = None
    for tag, at, end in _chunks(raw, losses):
        if tag == _HEADER:
            start = _date(_said(_xml(path, raw[at:end]), "datetime"))
        if tag not in (_STREAM, _SAMPLES, _OFFSET, _FOOTER):
            continue
        (number,) = struct.unpack_from("<I", raw, at)
        if tag == _STREAM:
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
                f"{source.name}: its footer counts {source.stated_count} samples, {source.n_samples} are there"
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
    least = {_STREAM: 6, _SAMPLES: 6, _OFFSET: 22, _FOOTER: 6}.get(tag, 2)
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


def _said(element: ElementTree.Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _plain(text: str) -> str:
    """A name from the file as one printable line."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()[:100]


def _source(path: Path, number: int, data: bytes) -> _Source:
    info = _xml(path, data)
    name, form = _plain(_said(info, "name")) or f"stream {number}", _said(info, "channel_format")
    if form not in _FORMATS:
        raise FormatError(f"{path}: {name!r} has samples of format {form!r}; one of {', '.join(_FORMATS)} is wanted")
    n_channels, rate_hz = _number(info, "channel_count"), _number(info, "nominal_srate")
    if not (1 <= n_channels <= MAX_CHANNELS and n_channels == int(n_channels)):
        shown = _said(info, "channel_count")
        raise FormatError(f"{path}: {name!r} has {shown!r} channels; 1 to {MAX_CHANNELS} are wanted")
    if not 0 <= rate_hz < np.inf:
        raise FormatError(f"{path}: {name!r} has a rate of {_said(info, 'nominal_srate')!r}; 0 Hz or more are wanted")
    return _Source(number, info, name, form, int(n_channels), rate_hz)


def _number(info: ElementTree.Element, tag: str) -> float:
    try:
        return float(_said(info, tag))
    except ValueError:
        return float("nan")


def _took(path: Path, raw: mmap.mmap, source: _Source, tag: int, at: int, end: int) -> bool:
    """Adds what a chunk holds to its stream; False where its parts do not add up to its length."""
    if tag == _OFFSET:
        time_s, value_s = struct.unpack_from("<dd", raw, at)
        if end - at != 16 or not (abs(time_s) < MAX_TIME_S and abs(value_s) < MAX_TIME_S):
            return False
        source.offset_times_s.append(time_s)
        source.offset_values_s.append(value_s)
        return True
    if tag == _FOOTER:
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


def _took_numbers(raw: mmap.mmap, source: _Source, n: int, at: int, end: int) -> bool:
    found = _places(raw, source, n, at, end)
    if found is None or not (np.abs(_explicit(raw, at, end, *found)) < MAX_TIME_S).all():
        return False
    source.counts.append(n)
    source.bounds.extend((at, end))
    return True


def _places(
    raw: mmap.mmap, source: _Source, n: int, at: int, end: int
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


def _took_texts(raw: mmap.mmap, source: _Source, n: int, at: int, end: int) -> bool:
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


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


# ---- recordings


def _clocks(path: Path, sources: Sequence[_Source]) -> list[str]:
    """A name for each stream's clock; the ids are added where names are equal, or like that of the recorder's clock."""
    names = [source.name for source in sources]
    if len({*names, "LSL"}) <= len(names):
        names = [f"{source.name} {source.id}" for source in sources]
    return [f"{path.stem} {name}" for name in names]


def _recording(path: Path, raw: mmap.mmap, source: _Source, clock: str) -> Recording:
    repairs: list[str] = []
    try:
        timing = _timing(path, raw, source, clock, repairs)
        streams = (
            [_texts(source, timing)] if source.format == "string" else _numbers(path, raw, source, timing, repairs)
        )
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{path}: {source.name!r}: {error}") from error
    return Recording(
        clock=clock,
        format="xdf",
        files=(path,),
        streams=tuple(streams),
        repairs=tuple(repairs),
        leads_to=timing.leads_to,
    )


def _length(stream: Stream) -> int:
    return stream.n_samples if isinstance(stream, Signal) else len(stream.labels) if isinstance(stream, Events) else 0


def _with_starts(recordings: Sequence[Recording], start: datetime | None) -> list[Recording]:
    """When each stream began: the file's date, and by how much it came later than the first that runs at a rate.

    None for events and other streams without a rate that nothing relates to the others: they may begin at any time.
    """
    if start is None:
        return list(recordings)
    begun = [(r, _first_s(r)) for r in recordings]
    on_lsl = {r.clock: float(r.leads_to.seconds(t)) for r, t in begun if r.leads_to is not None and t is not None}
    regular = [
        r.clock for r in recordings if any(isinstance(s, Signal) and s.is_regular and s.segments for s in r.streams)
    ]
    zero_s = min((on_lsl[clock] for clock in regular if clock in on_lsl), default=None)
    dated = []
    for recording in recordings:
        seconds = on_lsl[recording.clock] - zero_s if recording.clock in on_lsl and zero_s is not None else None
        seconds = 0.0 if seconds is None and recording.clock in regular else seconds
        dated.append(replace(recording, start=_later(start, seconds)))
    return dated


def _later(start: datetime, seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else start + timedelta(seconds=seconds)
    except OverflowError:
        return None


def _first_s(recording: Recording) -> float | None:
    times = [s.start_s for s in recording.streams if isinstance(s, Signal) and s.segments]
    times += [float(s.times_s[0]) for s in recording.streams if isinstance(s, Events) and s.times_s.size]
    return min(times, default=None)


# ---- time

Blocks = Callable[[], Iterator[FloatArray]]


@dataclass(frozen=True, eq=False)
class _Timing:
    """How a stream's clock relates to the recorder's, and the time stamps of its samples, block by block."""

    leads_to: ClockMap | None
    blocks: Blocks
    cuts: tuple[int, ...] = ()  # samples before which its clock was reset

    def all_s(self, path: Path, source: _Source) -> FloatArray:
        """Every time stamp; for streams that keep them."""
        if source.n_samples > MAX_STAMPS:
            raise FormatError(
                f"{path}: {source.name!r} has {source.n_samples} samples without a rate or with a clock that was "
                f"reset; up to {MAX_STAMPS} are wanted"
            )
        return np.concatenate([np.zeros(0), *self.blocks()])


def _timing(path: Path, raw: mmap.mmap, source: _Source, clock: str, repairs: list[str]) -> _Timing:
    own = _Timing(None, lambda: _stamps(raw, source))
    offsets = np.array([source.offset_times_s, source.offset_values_s], dtype=np.float64)
    lsl = f"{path.stem} LSL"
    if source.n_samples and _jumps(offsets).any():
        reset = _reset(path, source, clock, lsl, offsets, own, repairs)
        if reset is not None:
            return reset
    return replace(own, leads_to=_relation(clock, lsl, offsets))


def _stamps(raw: mmap.mmap, source: _Source) -> Iterator[FloatArray]:
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


def _relation(clock: str, lsl: str, offsets: NDArray[np.float64]) -> ClockMap | None:
    """A line through the offsets that fit, bent where held-out ones ask for it; None without any."""
    times_s, values_s = offsets
    if not times_s.size:
        return None
    anchor_s = float(np.median(times_s))
    offset_s, slope, fits = _line(times_s - anchor_s, values_s)
    times_s, values_s, n_extra = times_s[fits], values_s[fits], int((~fits).sum())
    relation = ClockMap(
        source=clock,
        target=lsl,
        offset_s=offset_s,
        drift_ppm=slope * 1e6,
        anchor_s=anchor_s,
        span_s=(float(times_s.min()), float(times_s.max())),
        residual_ms=0.0,
        n_matched=times_s.size,
        n_lost=0,
        n_extra=n_extra,
        method="XDF clock offsets",
    )
    if times_s.size >= FEW_OFFSETS:
        relation = _bent(relation, times_s, values_s)
    residuals_ms = (times_s + values_s - relation.seconds(times_s)) * 1e3
    return replace(relation, residual_ms=_residual_ms(residuals_ms), evidence=evidence_of(times_s, residuals_ms))


def _bent(relation: ClockMap, times_s: FloatArray, values_s: FloatArray) -> ClockMap:
    """The line, or a broken one where that predicts held-out offsets better; what was tried is kept."""
    order = np.unique(times_s, return_index=True)[1]
    fit = fit_clock(times_s[order], values_s[order])
    known = replace(relation, wander_ppm=fit.wander_ppm, tried=fit.tried)
    if not fit.knots:
        return known
    at_s = np.array([at for at, _ in fit.knots])
    return replace(known.through_points(at_s, at_s + fit.lag(at_s)), method="XDF clock offsets, piecewise")


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float, NDArray[np.bool_]]:
    """Offset at x = 0, slope, and which points the line rests on.

    The slope is the median over pairs half the points apart (Theil's incomplete method, 1950), which a quarter of the
    points may contradict; then least squares over those that lie near that line.
    """
    slope, half, order = 0.0, x.size // 2, np.argsort(x, kind="stable")
    if x.size >= FEW_OFFSETS:
        dx, dy = (v[order][-half:] - v[order][:half] for v in (x, y))
        slope = float(np.median(dy[dx > 0] / dx[dx > 0])) if (dx > 0).any() else 0.0
    slope = slope if abs(slope) < MAX_DRIFT else 0.0
    offset = float(np.median(y - slope * x))
    residuals = np.abs(y - offset - slope * x)
    fits = residuals <= max(OUTLIER_SPREADS * 1.4826 * float(np.median(residuals)), OUTLIER_MS * 1e-3)
    if slope and fits.sum() >= FEW_OFFSETS:
        dx, dy = x[fits] - x[fits].mean(), y[fits] - y[fits].mean()
        slope = float(dx @ dy / (dx @ dx)) if dx.any() else slope
        offset = float(y[fits].mean() - slope * x[fits].mean())
    return offset, slope, fits


def _residual_ms(residuals_ms: FloatArray) -> float:
    found = _rms(residuals_ms)
    return max(found, FEW_OFFSETS_MS) if residuals_ms.size < 3 else found


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _jumps(offsets: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Between which offsets the clock went back, or jumped by more than a second against the recorder's."""
    if offsets.shape[1] < 2:
        return np.zeros(0, dtype=np.bool_)
    steps_s = np.diff(offsets[1])
    return np.asarray((np.diff(offsets[0]) < 0) | (np.abs(steps_s - np.median(steps_s)) > 1.0))


def _reset(
    path: Path,
    source: _Source,
    clock: str,
    lsl: str,
    offsets: NDArray[np.float64],
    own: _Timing,
    repairs: list[str],
) -> _Timing | None:
    """The time stamps as pyxdf puts them on the recorder's clock; None where it finds no reset."""
    times_s, firsts = _by_pyxdf(path, source, own.all_s(path, source), offsets)
    if not firsts:
        return None
    repairs.append(f"{source.name}: {len(firsts)} resets of its clock: its times are those of the recorder's clock")
    cuts = np.flatnonzero(_jumps(offsets)) + 1
    maps = [m for part in np.split(offsets, cuts, axis=1) if (m := _relation(clock, lsl, part)) is not None]
    n_matched = sum(m.n_matched for m in maps)
    recorder_s = offsets.sum(axis=0)
    relation = ClockMap(
        source=clock,
        target=lsl,
        offset_s=0.0,
        span_s=(float(recorder_s.min()), float(recorder_s.max())),
        residual_ms=float(np.sqrt(sum(m.n_matched * m.residual_ms**2 for m in maps) / n_matched)),
        n_matched=n_matched,
        n_lost=0,
        n_extra=sum(m.n_extra for m in maps),
        method=f"XDF clock offsets, {len(firsts)} resets",
    )
    return _Timing(relation, lambda: iter([times_s]), tuple(firsts))


def _by_pyxdf(
    path: Path, source: _Source, stamps_s: FloatArray, offsets: NDArray[np.float64]
) -> tuple[FloatArray, list[int]]:
    """Time stamps on the recorder's clock as pyxdf puts them there, and the first sample after each reset it finds."""
    import pyxdf

    log, quiet = logging.getLogger("pyxdf.pyxdf"), logging.NullHandler()
    log.addHandler(quiet)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = _times_only(source, stamps_s, offsets)
            (stream,), _ = pyxdf.load_xdf(file, synchronize_clocks=True, dejitter_timestamps=False)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path}: the clock of {source.name!r} was reset; pyxdf fails on it ({reason})") from error
    finally:
        log.removeHandler(quiet)
    runs = stream["info"]["clock_segments"]
    return np.asarray(stream["time_stamps"], dtype=np.float64), [int(first) for first, _ in runs[1:]]


def _times_only(source: _Source, stamps_s: FloatArray, offsets: NDArray[np.float64]) -> io.BytesIO:
    """An XDF file of the stream's time stamps and offsets: all that pyxdf needs, and nothing it could stumble over."""
    info = "<info><name>x</name><type></type><channel_count>1</channel_count><channel_format>int8</channel_format>"
    info += f"<nominal_srate>{source.nominal_hz}</nominal_srate></info>"
    rows = np.zeros(stamps_s.size, dtype=[("length", "u1"), ("stamp_s", "<f8"), ("value", "i1")])
    rows["length"], rows["stamp_s"] = 8, stamps_s
    bodies = [(_STREAM, info.encode()), (_SAMPLES, b"\x08" + struct.pack("<Q", rows.size) + rows.tobytes())]
    bodies += [(_OFFSET, struct.pack("<dd", *offset)) for offset in offsets.T.tolist()]
    chunks = [b"\x08" + struct.pack("<QHI", 6 + len(body), tag, 1) + body for tag, body in bodies]
    return io.BytesIO(b"XDF:" + b"".join(chunks))


# ---- runs of samples at one rate


@dataclass
class _Run:
    """Sums over the time stamps of an unbroken run, for the line that comes nearest to them."""

    first: int
    n: int = 0
    zero_s: float = 0.0
    sums: FloatArray = field(default_factory=lambda: np.zeros(4))  # of x, x*x, t, x*t

    def add(self, stamps_s: FloatArray) -> None:
        """More time stamps; x counts samples, t seconds, both from the first of the run."""
        if not self.n:
            self.zero_s = float(stamps_s[0])
        x = np.arange(self.n, self.n + stamps_s.size, dtype=np.float64)
        t = stamps_s - self.zero_s
        self.sums += (x.sum(), x @ x, t.sum(), x @ t)
        self.n += stamps_s.size

    def timebase(self, nominal_hz: float) -> Timebase:
        """The measured rate; that of the header where there is but one sample."""
        if self.n < 2:
            return Timebase(rate_hz=nominal_hz, start_s=self.zero_s, n_samples=self.n)
        x, xx, t, xt = self.sums
        interval_s = float((self.n * xt - x * t) / (self.n * xx - x * x))
        if interval_s <= 0:
            raise ValueError(f"the time stamps of {self.n} samples do not go on; times that increase are wanted")
        start_s = self.zero_s + float(t - interval_s * x) / self.n
        return Timebase(rate_hz=1 / interval_s, start_s=start_s, n_samples=self.n)


def _runs(source: _Source, timing: _Timing) -> list[_Run]:
    """A run ends where the next sample comes much later, earlier, or after a reset."""
    runs: list[_Run] = []
    limit_s = max(BREAK_S, BREAK_SAMPLES * source.interval_s)
    at, before_s = 0, 0.0
    for stamps_s in timing.blocks():
        far = np.abs(np.diff(stamps_s, prepend=before_s)) > limit_s
        far[[cut - at for cut in timing.cuts if at <= cut < at + far.size]] = True
        far[0] |= not runs
        firsts = np.flatnonzero(far).tolist()
        if firsts[:1] != [0]:
            runs[-1].add(stamps_s[: firsts[0] if firsts else None])
        for first, stop in pairwise([*firsts, stamps_s.size]):
            runs.append(_Run(at + first))
            runs[-1].add(stamps_s[first:stop])
        at, before_s = at + stamps_s.size, float(stamps_s[-1])
    return runs


def _bases(path: Path, source: _Source, runs: Sequence[_Run]) -> list[Timebase]:
    bases = [run.timebase(source.nominal_hz) for run in runs]
    for run, (earlier, later) in zip(runs[1:], pairwise(bases), strict=True):
        if later.start_s < earlier.stop_s - 0.5 / later.rate_hz:
            raise FormatError(
                f"{path}: {source.name!r} goes back from {earlier.stop_s:.3f} s to {later.start_s:.3f} s at sample "
                f"{run.first}, and no clock offsets tell by how much; times that go on are wanted"
            )
    return bases


def _off(
    source: _Source, timing: _Timing, runs: Sequence[_Run], bases: Sequence[Timebase]
) -> tuple[float, float, float]:
    """How far time stamps lie from those of the bases, ms: root mean square, most, and most over `UNEVEN_S`.

    Jitter goes to and fro from sample to sample and is gone from the last; what remains is no jitter.
    """
    step = max(int(UNEVEN_S * source.nominal_hz), 20)
    sums_s = np.zeros(source.n_samples // step + 1)
    squares = most_s = 0.0
    at = 0
    firsts = np.array([run.first for run in runs])
    starts_s, rates_hz = np.array([(base.start_s, base.rate_hz) for base in bases]).T
    for stamps_s in timing.blocks():
        samples = np.arange(at, at + stamps_s.size)
        which = np.searchsorted(firsts, samples, side="right") - 1
        off_s = stamps_s - starts_s[which] - (samples - firsts[which]) / rates_hz[which]
        squares, most_s = squares + float(off_s @ off_s), max(most_s, float(np.abs(off_s).max()))
        np.add.at(sums_s, samples // step, off_s)
        at += stamps_s.size
    n_whole = at // step
    lasting_s = float(np.abs(sums_s[:n_whole]).max()) / step if n_whole else 0.0
    return (squares / at) ** 0.5 * 1e3, most_s * 1e3, lasting_s * 1e3


def _increasing(path: Path, source: _Source, times_s: FloatArray, repairs: list[str]) -> FloatArray:
    """Time stamps one after another; equal ones are set apart by next to nothing, in their order."""
    steps_s = np.diff(times_s)
    if (steps_s < -BREAK_S).any():
        at = int(steps_s.argmin()) + 1
        raise FormatError(
            f"{path}: {source.name!r} goes back by {-steps_s.min():.3f} s at sample {at}, and no clock offsets tell by "
            "how much; times that go on are wanted"
        )
    if (steps_s > 0).all():
        return times_s
    least_s = max(1e-8, 4 * float(np.spacing(np.abs(times_s).max())))
    ramp_s = np.arange(times_s.size) * least_s
    apart_s = np.maximum.accumulate(times_s - ramp_s) + ramp_s
    n, moved_ms = int((steps_s <= 0).sum()), float(np.abs(apart_s - times_s).max()) * 1e3
    repairs.append(f"{source.name}: {n} time stamps repeat or go back: moved on by up to {moved_ms:.3g} ms")
    return np.asarray(apart_s)


# ---- streams


def _texts(source: _Source, timing: _Timing) -> Events:
    """Texts as events in order of time; those of further channels are columns."""
    times_s = next(timing.blocks())
    order = np.argsort(times_s, kind="stable")
    columns = [tuple(source.texts[i][k] for i in order) for k in range(source.n_channels)]
    names, _, _ = _channels(source, [])
    is_codes = bool(source.texts) and all(re.fullmatch(r"\s*-?\d{1,10}\s*", text) for text in columns[0])
    return Events(
        name="markers",
        modality="sync" if is_codes else "events",
        times_s=times_s[order],
        labels=columns[0],
        table=dict(zip(names[1:], columns[1:], strict=True)),
        provenance=_provenance(source),
    )


def _numbers(path: Path, raw: mmap.mmap, source: _Source, timing: _Timing, repairs: list[str]) -> list[Stream]:
    """Numbers as one Signal per modality and unit; codes that come when they come, and those that rise, as events."""
    provenance = _provenance(source)
    firsts, times = [], []
    if source.n_samples and source.is_regular:
        runs = _runs(source, timing)
        firsts, times = [run.first for run in runs], _regular(path, source, timing, runs, provenance, repairs)
    elif source.n_samples:
        stamps_s = timing.all_s(path, source)
        if _type(source) == "events" and source.n_channels == 1 and source.n_samples <= MAX_TEXTS:
            return [_codes(raw, source, stamps_s)]
        firsts, times = [0], [times_of(_increasing(path, source, stamps_s, repairs))]
    segments = [
        Segment(samples=_Samples(raw, source, first, base.n_samples), timebase=base)
        for first, base in zip(firsts, times, strict=True)
    ]
    signals = _signals(source, segments, provenance, repairs)
    return [*signals, *_triggers(signals, repairs)]


def _regular(
    path: Path,
    source: _Source,
    timing: _Timing,
    runs: Sequence[_Run],
    provenance: dict[str, Any],
    repairs: list[str],
) -> list[Times]:
    """The rate measured over each run; the time stamps themselves where they follow no rate."""
    bases = _bases(path, source, runs)
    rms_ms, most_ms, lasting_ms = _off(source, timing, runs, bases)
    provenance |= {
        "nominal_rate_hz": source.nominal_hz,
        "time_stamps_off_one_rate_ms": {"rms": rms_ms, "most": most_ms},
    }
    if lasting_ms <= UNEVEN_MS:
        return list(bases)
    told = f"{source.name}: time stamps stay {lasting_ms:.0f} ms off one rate for seconds"
    if source.n_samples > MAX_STAMPS:
        repairs.append(f"{told}, and are too many to be kept: times are those of one rate")
        return list(bases)
    repairs.append(f"{told}: kept as they are")
    stamps_s = np.split(timing.all_s(path, source), [run.first for run in runs[1:]])
    return [times_of(_increasing(path, source, part, repairs)) for part in stamps_s]


def _codes(raw: mmap.mmap, source: _Source, times_s: FloatArray) -> Events:
    order = np.argsort(times_s, kind="stable")
    values = _Samples(raw, source, 0, source.n_samples)[0 : source.n_samples][:, 0]
    labels = tuple(f"{value:.15g}" for value in values[order].tolist())
    return Events(
        name="markers", modality="sync", times_s=times_s[order], labels=labels, provenance=_provenance(source)
    )


def _signals(
    source: _Source, segments: Sequence[Segment], provenance: Mapping[str, Any], repairs: list[str]
) -> list[Signal]:
    names, units, types = _channels(source, repairs)
    modality = "sync" if _type(source) == "events" else _type(source)
    groups: dict[tuple[str, str], list[int]] = {}
    for i, type_ in enumerate(types):
        groups.setdefault((_CHANNEL_MODALITIES.get(_key(type_), modality), units[i][0]), []).append(i)
    signals = []
    for (modality, unit), members in groups.items():
        columns = np.array(members, dtype=np.int64)
        is_all = len(members) == source.n_channels
        signals.append(
            Signal(
                name=modality if sum(other == modality for other, _ in groups) == 1 else f"{modality} {unit}",
                modality=modality,
                segments=tuple(
                    s if is_all else replace(s, samples=ChannelSubset(s.samples, columns)) for s in segments
                ),
                channel_names=tuple(names[i] for i in members),
                unit=unit,
                gain=np.array([units[i][1] for i in members]),
                offset=np.zeros(len(members)),
                table={"kind": tuple(types[i] for i in members)} if any(types[i] for i in members) else {},
                provenance=provenance,
            )
        )
    return signals


def _channels(source: _Source, repairs: list[str]) -> tuple[list[str], list[tuple[str, float]], list[str]]:
    """Per channel its name, unit with gain, and type, as the header has them; names numbered where they must be."""
    found = source.info.findall("desc/channels/channel")
    if len(found) not in (0, source.n_channels):
        repairs.append(f"{source.name}: describes {len(found)} of its {source.n_channels} channels: left unnamed")
    if len(found) != source.n_channels:
        found = [ElementTree.Element("channel") for _ in range(source.n_channels)]
    names = [_plain(_said(channel, "label")) or f"ch{i + 1}" for i, channel in enumerate(found)]
    counts, seen = Counter(names), Counter[str]()
    if len(counts) < len(names):
        repairs.append(f"{source.name}: {len(names) - len(counts)} channels have the name of another: numbered")
        for i, name in enumerate(names):
            names[i] = f"{name}-{seen[name]}" if counts[name] > 1 else name
            seen[name] += 1
    units = [kept_unit(_plain(_said(channel, "unit"))) for channel in found]
    return names, units, [_plain(_said(channel, "type")) for channel in found]


def _type(source: _Source) -> str:
    return _MODALITIES.get(_key(_said(source.info, "type")), "aux")


def _key(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _provenance(source: _Source) -> dict[str, Any]:
    """What the stream is called, where it came from and what it is, in the words of its sender."""
    said = {key: _plain(_said(source.info, key)) for key in ("name", "type", "source_id")}
    said["reference"] = _plain(_said(source.info, "desc/reference/label"))
    return {f"stream_{key}" if key != "reference" else key: text for key, text in said.items() if text}


def _triggers(signals: Sequence[Signal], repairs: list[str]) -> list[Events]:
    """Codes that appear on a channel of triggers, at the sample where they do."""
    found = []
    for signal in (s for s in signals if s.modality == "sync"):
        for k, channel in enumerate(signal.channel_names):
            times_s, labels = _rises(signal, k)
            if len(labels) > min(max(1000, signal.n_samples // 4), MAX_TEXTS):
                repairs.append(f"{channel}: changes at {len(labels)} samples; kept as samples, not as triggers")
            elif labels:
                found.append(Events(name=f"triggers {channel}", modality="sync", times_s=times_s, labels=labels))
    return [replace(found[0], name="triggers")] if len(found) == 1 else found


def _rises(signal: Signal, channel: int) -> tuple[FloatArray, tuple[str, ...]]:
    times_s, labels = [np.zeros(0)], []
    for segment in signal.segments:
        before: NDArray[Any] | None = None
        for start in range(0, segment.samples.shape[0], BLOCK_SAMPLES):
            now = np.nan_to_num(segment.samples[start : start + BLOCK_SAMPLES][:, channel])
            earlier = np.concatenate([now[:1] if before is None else before, now[:-1]])
            up = np.flatnonzero((now != earlier) & (now != 0))
            times_s.append(np.asarray(segment.timebase.seconds(start + up)))
            labels += [f"{code:.15g}" for code in now[up].tolist()]
            before = now[-1:]
    return np.concatenate(times_s), tuple(labels)


class _Samples:
    """Samples (T, C) of a stream from number `first` on, taken from the file when sliced."""

    def __init__(self, raw: mmap.mmap, source: _Source, first: int, n: int) -> None:
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
