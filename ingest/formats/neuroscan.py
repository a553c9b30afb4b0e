"""Neuroscan CNT: a header of 900 bytes and 75 per channel, samples of int16 or int32, then a table of events.

    microvolts = (number - baseline) * sensitivity * calibration / 204.8
    events           stimulus codes, keyboard and response pad; stretches that were rejected by eye, as intervals

The header does not say how many bits a sample has. What tells is, in this order, the tag behind the data that newer
versions write, a count of samples that fits the bytes there are, and events, which lie at whole samples. Where these
do not tell, or do not agree, the file is refused, and `<stem>.toml` beside it settles it:

    format = "neuroscan"
    sample_bits = 16        or 32

Design rationale: MNE asks for the type and opens either one, a thousandfold apart. It also puts each event a sample
early, and marks channels of five letters and more as bad; the tests say where.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._channels import kind_of
from neuroloom.ingest.formats._mapped import Blocks, Mapped, mapped
from neuroloom.ingest.formats._sidecars import Stated, read_toml, sidecar, validated
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Segment, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "Neuroscan CNT"
MODALITY = "eeg"
KEEPS = (
    "int16 or int32, codes, keys, rejected stretches, bad channels, places on the plan of the head, the patient; not "
    "filters, not epoched (.eeg) or averaged (.avg) files"
)
TESTED_ON = (
    "two real files of MNE-Python's testing data, one of int16 and one of int32; samples in blocks and events of "
    "types 1 and 3 on files written by this project only"
)

MAX_EVENTS = 1_000_000
_FORM = "neuroscan"
_HEAD, _ROW = 900, 75
_EVENTS = {1: struct.Struct("<HBBi"), 2: struct.Struct("<HBBihhfBBB"), 3: struct.Struct("<HBBihhfBBB")}
_MARKS = {0xC: "reject", 0xD: "accept", 0xB: "dc correction", 0xE: "discontinuity"}
_MANY = 8  # events at whole samples of 32 bits, of which half would not be were there 16


class _Sidecar(Stated):
    """What `<stem>.toml` states of the file beside it."""

    format: Literal["neuroscan"] = "neuroscan"
    sample_bits: Literal[16, 32] | None = None


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the header states, and where things lie."""

    n_channels: int
    rate_hz: float
    n_stated: int
    table_at: int
    next_at: int
    block_bytes: int
    size: int

    @property
    def data_at(self) -> int:
        """First byte of the samples."""
        return _HEAD + _ROW * self.n_channels


class _Event(NamedTuple):
    """at: a byte of the file (types 1 and 2), or a sample (type 3)."""

    code: int
    key: int
    pad: int
    mark: int
    at: int


def sniff(path: Path, head: bytes) -> bool:
    """True for what begins with "Version 3" and has a header of Neuroscan's length."""
    return head[:9] == b"Version 3" and len(head) >= _HEAD + _ROW


def files(path: Path) -> tuple[Path, ...]:
    """The file, and the sidecar where one is beside it."""
    beside = sidecar(path, _FORM)
    return (path,) if beside is None else (path, beside)


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel in microvolts, events, rejected stretches."""
    repairs: list[str] = []
    beside = sidecar(path, _FORM)
    side = validated(beside, _Sidecar, read_toml(beside)) if beside is not None else _Sidecar()
    with path.open("rb") as file:
        head = file.read(_HEAD)
        header = _header(path, head)
        rows = file.read(_ROW * header.n_channels)
    kind, events = _table(path, header, repairs)
    bits = side.sample_bits or _bits(path, header, kind, events)
    frame_bytes = bits // 8 * header.n_channels
    n_samples = _n_samples(path, header, frame_bytes, repairs)
    samples = _samples(path, header, bits, n_samples)
    base = Timebase(rate_hz=header.rate_hz, n_samples=n_samples)
    streams: list[Stream] = list(
        signals_of([Segment(samples=samples, timebase=base)], _channels(path, rows), repairs, stated=_POSITIONS)
    )
    first = header.data_at if kind != 3 else 0
    placed = [(event, (event.at - first) / (frame_bytes if kind != 3 else 1)) for event in events]
    streams += _streams(placed, base, repairs)
    return [
        Recording(
            clock=side.clock or path.stem,
            format=_FORM,
            files=files(path),
            streams=tuple(streams),
            start=side.start or _start(head, repairs),
            repairs=tuple(repairs),
            subject=_subject(head),
        )
    ]


def _header(path: Path, head: bytes) -> _Header:
    if len(head) < _HEAD:
        raise FormatError(f"{path}: {len(head)} bytes; a Neuroscan header has {_HEAD}")
    n_channels, rate_hz = (struct.unpack_from("<H", head, at)[0] for at in (370, 376))
    size = path.stat().st_size
    found = _Header(
        n_channels=n_channels,
        rate_hz=float(rate_hz),
        n_stated=struct.unpack_from("<i", head, 864)[0],
        table_at=struct.unpack_from("<i", head, 886)[0],
        next_at=struct.unpack_from("<i", head, 12)[0],
        block_bytes=struct.unpack_from("<i", head, 894)[0],
        size=size,
    )
    if not n_channels >= 1 or found.data_at >= size:
        raise FormatError(f"{path}: states {n_channels} channels; its {size} bytes hold 1 or more, and their samples")
    if rate_hz == 0:
        raise FormatError(f"{path}: sampling rate is 0 Hz; a rate above 0 is wanted")
    if found.n_stated <= 0 and not found.data_at < found.table_at <= size:
        raise FormatError(
            f"{path}: states neither a number of samples nor where they end; continuous data are wanted, epochs (.eeg) "
            "and averages (.avg) are not read"
        )
    return found


# Samples ------------------------------------------------------------------------------------------------------------


def _bits(path: Path, header: _Header, kind: int, events: Sequence[_Event]) -> int:
    """16 or 32, where what tells is of one mind. Raises FormatError where it is not."""
    told = {
        "the tag behind the data": _told_by_tag(path, header),
        "the number of samples": _told_by_count(header),
        "the events": _told_by_events(header, events) if kind in (1, 2) else 0,
    }
    found = {what: bits for what, bits in told.items() if bits}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    why = " but ".join(f"{what} says {bits} bits" for what, bits in found.items()) or "nothing in it tells"
    raise FormatError(
        f"{path}: samples may have 16 or 32 bits, a different scale each: {why}; a {path.stem}.toml beside it with "
        f'`format = "{_FORM}"` and `sample_bits = 16` or `32` is wanted'
    )


def _told_by_tag(path: Path, header: _Header) -> int:
    if not 0 < header.next_at <= header.size - 53:
        return 0
    with path.open("rb") as file:
        file.seek(header.next_at)
        tag = file.read(53)
    return {0: 16, 1: 32}.get(tag[52], 0) if tag.startswith(b"NSI TFF\0") else 0


def _told_by_count(header: _Header) -> int:
    n_values = header.n_stated * header.n_channels
    n_bytes = header.table_at - header.data_at
    return {2: 16, 4: 32}.get(n_bytes // n_values, 0) if n_values > 0 and n_bytes > 0 and not n_bytes % n_values else 0


def _told_by_events(header: _Header, events: Sequence[_Event]) -> int:
    places = {event.at - header.data_at for event in events}
    if len(places) < 2 or any(place % (2 * header.n_channels) for place in places):
        return 0
    odd = any(place % (4 * header.n_channels) for place in places)
    return 16 if odd else 32 if len(places) >= _MANY else 0


def _n_samples(path: Path, header: _Header, frame_bytes: int, repairs: list[str]) -> int:
    """As stated, unless the place of the table of events says otherwise in whole samples, or fewer are there."""
    by_table, rest = divmod(header.table_at - header.data_at, frame_bytes)
    is_whole = rest == 0 and by_table > 0 and header.table_at <= header.size
    stated = header.n_stated
    if is_whole and stated != by_table:
        if stated > 0:
            repairs.append(f"header states {stated} samples, {by_table} lie before the table of events: those are read")
        return by_table
    there = (header.size - header.data_at) // frame_bytes
    if stated <= 0 or there < 1:
        raise FormatError(f"{path}: no whole sample of {frame_bytes} bytes; at least one is wanted")
    if stated > there:
        repairs.append(Defect(f"header states {stated} samples, {there} are there", f"{min(stated, there)} samples"))
    return min(stated, there)


def _samples(path: Path, header: _Header, bits: int, n_samples: int) -> Mapped | Blocks:
    """All channels of a sample together, or so many bytes of one channel after another."""
    per_block = max(header.block_bytes // (bits // 8), 1)
    kind = f"<i{bits // 8}"
    if per_block == 1:
        return Mapped(mapped(path, kind, (n_samples, header.n_channels), offset=header.data_at))
    shape = (-(-n_samples // per_block), header.n_channels, per_block)
    return Blocks(mapped(path, kind, shape, offset=header.data_at), n_samples)


_POSITIONS = {"positions": "x and y on the plan of the head that the acquisition shows, in its own unit"}


def _channels(path: Path, rows: bytes) -> list[Channel]:
    found = []
    for at in range(0, len(rows), _ROW):
        row = rows[at : at + _ROW]
        name = row[:10].partition(b"\0")[0].decode("latin-1").strip() or f"Ch{at // _ROW + 1}"
        (baseline,) = struct.unpack_from("<h", row, 47)
        sensitivity, calibration = (struct.unpack_from("<f", row, k)[0] for k in (59, 71))
        x, y = (float(v) for v in struct.unpack_from("<ff", row, 19))
        gain = sensitivity * calibration / 204.8
        if not np.isfinite(gain):
            raise FormatError(f"{path}: sensitivity of {name!r} is {sensitivity}; a finite one is wanted")
        about = {"bad_in_file": bool(row[14]), "x_as_stored": x, "y_as_stored": y}
        kind = kind_of(name) or "eeg"
        found.append(Channel(name=name, kind=kind, unit="uV", gain=gain, offset=-baseline * gain, about=about))
    return found


# Events -------------------------------------------------------------------------------------------------------------


def _table(path: Path, header: _Header, repairs: list[str]) -> tuple[int, list[_Event]]:
    """Type of the table and its events; none where there is no table."""
    if not header.data_at < header.table_at <= header.size - 9:
        return 0, []
    with path.open("rb") as file:
        file.seek(header.table_at)
        kind, n_bytes, _ = struct.unpack("<Bii", file.read(9))
        if kind not in _EVENTS or n_bytes < 0:
            repairs.append(
                Defect(f"no table of events at byte {header.table_at}, as the header states", "read without events")
            )
            return 0, []
        layout = _EVENTS[kind]
        if n_bytes > MAX_EVENTS * layout.size:
            raise FormatError(f"{path}: {n_bytes // layout.size} events; up to {MAX_EVENTS} are wanted")
        content = file.read(n_bytes)
    if len(content) < n_bytes:
        repairs.append(
            Defect(f"table of events of {n_bytes} bytes is cut off", f"the whole events in {len(content)} bytes")
        )
    rows = layout.iter_unpack(content[: len(content) // layout.size * layout.size])
    return kind, [_Event(row[0], row[1], row[2] & 0xF, row[2] >> 4, row[3]) for row in rows]


def _streams(placed: Sequence[tuple[_Event, float]], base: Timebase, repairs: list[str]) -> list[Stream]:
    """Codes and keys as events; from a "reject" to the next "accept" an interval."""
    placed = sorted(placed, key=lambda one: one[1])
    n_late = sum(at >= base.n_samples for _, at in placed)
    if n_late:
        repairs.append(f"{n_late} events at or after the end of the samples: kept")
    if any(event.mark == 0xE and 0 < at < base.n_samples for event, at in placed):
        repairs.append("the recording was interrupted for an unknown time: times go on as if it had not been")
    shown = [(event, at) for event, at in placed if event.mark not in (0xC, 0xD) or _kind(event)[0] != "mark"]
    streams: list[Stream] = []
    if shown:
        kinds = [_kind(event) for event, _ in shown]
        streams.append(
            Events(
                name="events",
                modality="sync",
                times_s=base.seconds([at for _, at in shown]),
                labels=tuple(label for _, label in kinds),
                table={"kind": tuple(kind for kind, _ in kinds)},
            )
        )
    bounds_s = _rejected(placed, base)
    if bounds_s:
        labels = ("rejected",) * len(bounds_s)
        streams.append(Intervals(name="rejected", bounds_s=np.array(bounds_s), labels=labels))
    return streams


def _kind(event: _Event) -> tuple[str, str]:
    """What an event is, and its label."""
    if event.pad:
        return "response pad", f"pad {event.pad}"
    if event.key:
        return "keyboard", f"key {event.key}"
    if event.code or event.mark not in _MARKS:
        return "stimulus", str(event.code)
    return "mark", _MARKS[event.mark]


def _rejected(placed: Sequence[tuple[_Event, float]], base: Timebase) -> list[tuple[float, float]]:
    found, since = [], None
    for event, at in placed:
        if event.mark == 0xC and since is None:
            since = at
        elif event.mark == 0xD and since is not None:
            found.append((float(base.seconds(since)), float(base.seconds(at))))
            since = None
    if since is not None:
        found.append((float(base.seconds(since)), max(base.stop_s, float(base.seconds(since)))))
    return found


def _subject(head: bytes) -> dict[str, str]:
    """A number, a name and a sex, of 20, 20 and 1 letters."""
    code, name, sex = (head[a:b].partition(b"\0")[0].decode("latin-1") for a, b in ((21, 41), (121, 141), (143, 144)))
    return subject_of(name=name, sex=sex, code=code)


def _start(head: bytes, repairs: list[str]) -> datetime | None:
    """`01/25/18` or `25/01/18`, and `14:35:20`; None where it cannot be told which number is the month."""
    said = re.match(r"\s*(\d\d?)[/.-](\d\d?)[/.-](\d\d)\D+(\d\d?):(\d\d):(\d\d)", head[225:247].decode("latin-1"))
    if said is None:
        return None
    one, two, year, hour, minute, second = (int(part) for part in said.groups())
    if one != two and max(one, two) <= 12:
        # Without the date itself: repairs are published, dates are shifted.
        repairs.append("its date may be month/day or day/month: not taken")
        return None
    month, day = (one, two) if one <= 12 else (two, one)
    try:
        return datetime(year + (1900 if year >= 85 else 2000), month, day, hour, minute, second)
    except ValueError:
        return None
