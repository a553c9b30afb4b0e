"""GDF 1.x and 2.x (Schlögl, arXiv cs/0608052): a binary header, records of all channels as EDF has them, events.

    numbers of 8 to 64 bits, float32, float64    a Signal per kind, unit, rate and type; rates are never made equal
    events                                       codes at samples of their own rate; those that last are intervals

Design rationale: MNE brings all channels to the fastest rate, takes the rate of events for that of samples, and knows
volts of two scales only. Header and records are simple enough to be read here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._annotations import Note, annotated
from neuroloom.ingest.formats._channel_list import Channel, signals_of, uniquely
from neuroloom.ingest.formats._channels import kind_of
from neuroloom.ingest.formats._mapped import Records
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "GDF"
MODALITY = "eeg"
KEEPS = "numbers as stored, every rate as it is, events, the patient; not impedances, not filters"
TESTED_ON = (
    "a real file of MNE-Python's testing data (2.10, one channel of float32); other types, rates, events and 1.x on "
    "files written by this project only"
)

MAX_EVENTS = 1_000_000
_KINDS = {
    1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<i8", 8: "<u8", 16: "<f4", 17: "<f8", 279: "<i3",
}  # fmt: skip
_WIDTHS = {number: 3 if kind == "<i3" else np.dtype(kind).itemsize for number, kind in _KINDS.items()}
_PREFIXES = {
    0: "", 10: "Y", 9: "Z", 8: "E", 7: "P", 6: "T", 5: "G", 4: "M", 3: "k", 2: "h", 1: "da", 16: "d", 17: "c", 18: "m",
    19: "u", 20: "n", 21: "p", 22: "f", 23: "a",
}  # fmt: skip
_VOLTS, _NONE = 4256, 512
_SPARSE, _BREAK = 0x7FFF, 0x7FFE


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What the header states of a channel. at: its first byte within a record."""

    name: str
    unit: str
    gain: float
    offset: float
    count: int
    kind: int
    at: int


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the header states."""

    version: float
    n_bytes: int
    n_records: int
    record_s: float
    start: datetime | None
    rows: tuple[_Row, ...]
    subject: dict[str, str]

    @property
    def record_bytes(self) -> int:
        return sum(row.count * _WIDTHS[row.kind] for row in self.rows)


def sniff(path: Path, head: bytes) -> bool:
    """True for "GDF " and a version."""
    return re.match(rb"GDF \d\.\d", head) is not None


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind, unit, rate and type, and the events."""
    repairs: list[str] = []
    header = _header(path)
    n_records = _whole_records(path, header, repairs)
    shape = (n_records, header.record_bytes)
    raw = np.memmap(path, np.uint8, mode="r", offset=header.n_bytes, shape=shape)
    streams: list[Stream] = [*_signals(header, raw, repairs)]
    streams += _events(path, header, n_records, repairs)
    return [
        Recording(
            clock=path.stem,
            format="gdf",
            files=(path,),
            streams=tuple(streams),
            start=header.start,
            repairs=tuple(repairs),
            subject=header.subject,
        )
    ]


def _header(path: Path) -> _Header:
    size = path.stat().st_size
    with path.open("rb") as file:
        fixed = file.read(256)
        if len(fixed) < 256:
            raise FormatError(f"{path}: {len(fixed)} bytes; a GDF header has 256 and 256 per channel")
        version = float(re.sub(rb"[^\d.]", b"", fixed[4:8]) or 0)
        is_old = version < 1.9
        n_channels = struct.unpack_from("<I" if is_old else "<H", fixed, 252)[0]
        if n_channels < 1 or 256 * (n_channels + 1) > size:
            raise FormatError(f"{path}: states {n_channels} channels; its {size} bytes hold 1 or more, and samples")
        rest = file.read(256 * n_channels)
    n_bytes = struct.unpack_from("<q", fixed, 184)[0] if is_old else 256 * struct.unpack_from("<H", fixed, 184)[0]
    if not 256 * (n_channels + 1) <= n_bytes <= size:
        raise FormatError(f"{path}: a header of {n_bytes} bytes for {n_channels} channels in {size} bytes; it lies")
    n_records, above, below = struct.unpack_from("<q2I", fixed, 236)
    if not above or not below:
        raise FormatError(f"{path}: a record lasts {above}/{below} s; more than 0 is wanted")
    return _Header(
        version=version,
        n_bytes=n_bytes,
        n_records=n_records,
        record_s=above / below,
        start=_old_date(fixed) if is_old else _date(fixed),
        rows=tuple(_rows(path, rest, n_channels, is_old)),
        subject=subject_of(name=_text(fixed[8:88])) if is_old else _subject(fixed),
    )


def _rows(path: Path, rest: bytes, n: int, is_old: bool) -> list[_Row]:
    """Fields lie side by side, each for all channels in a row."""

    def column(at: int, kind: str) -> NDArray[Any]:
        return np.frombuffer(rest, kind, n, at * n)

    low, high = column(104, "<f8"), column(112, "<f8")
    dlow, dhigh = (column(at, "<i8" if is_old else "<f8").astype(np.float64) for at in (120, 128))
    counts, kinds = column(216, "<i4").tolist(), column(220, "<i4").tolist()
    codes = [0] * n if is_old else column(102, "<u2").tolist()
    rows, at = [], 0
    for k in range(n):
        name = _text(rest[16 * k : 16 * (k + 1)]) or f"Ch{k + 1}"
        span = dhigh[k] - dlow[k]
        gain = (high[k] - low[k]) / span if span else np.nan
        if kinds[k] not in _KINDS or counts[k] < 0 or not np.isfinite(gain):
            raise FormatError(
                f"{path}: {name!r} has numbers of type {kinds[k]}, {counts[k]} per record, {low[k]:g} to {high[k]:g} "
                f"for {dlow[k]:g} to {dhigh[k]:g}; one of the types {sorted(_KINDS)} and a scale is wanted"
            )
        spelled = _text(rest[96 * n + (8 if is_old else 6) * k :][: 8 if is_old else 6])
        unit, factor = kept_unit(_unit(codes[k], spelled))
        rows.append(
            _Row(
                name=name,
                unit=unit,
                gain=float(gain) * factor,
                offset=float(low[k] - gain * dlow[k]) * factor,
                count=counts[k],
                kind=kinds[k],
                at=at,
            )
        )
        at += counts[k] * _WIDTHS[kinds[k]]
    if at == 0:
        raise FormatError(f"{path}: its records hold no samples; some are wanted")
    return rows


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("latin-1").strip()


def _unit(code: int, spelled: str) -> str:
    """Base and prefix by number (ISO/IEEE 11073-10101); without one, the text that older files have."""
    base, prefix = code & ~0x1F, _PREFIXES.get(code & 0x1F)
    if base == _VOLTS and prefix is not None:
        return f"{prefix}V"
    if code in (0, _NONE):
        return spelled if code == 0 else ""
    return f"GDF unit {code}"


def _subject(fixed: bytes) -> dict[str, str]:
    """A number and a name, the sex in two bits, the day of birth."""
    code, _, name = _text(fixed[8:74]).partition(" ")
    return subject_of(name=name.replace("_", " "), born=_date(fixed, 176), sex=str(fixed[87] & 3), code=code)


def _date(fixed: bytes, at: int = 168) -> datetime | None:
    """Days since year 0, in 64 bits of which 32 are the fraction; 0 is none."""
    number = struct.unpack_from("<Q", fixed, at)[0]
    try:
        return datetime(1, 1, 1) + timedelta(days=number / 2**32 - 367) if number else None
    except OverflowError:
        return None


def _old_date(fixed: bytes) -> datetime | None:
    """`YYYYMMDDhhmmsscc`."""
    said = fixed[168:184].decode("latin-1")
    try:
        hundredths = int(said[14:16]) if said[14:16].isdigit() else 0
        return datetime.strptime(said[:14], "%Y%m%d%H%M%S").replace(microsecond=10_000 * hundredths)
    except ValueError:
        return None


def _whole_records(path: Path, header: _Header, repairs: list[str]) -> int:
    there = (path.stat().st_size - header.n_bytes) // header.record_bytes
    if there < 1:
        raise FormatError(f"{path}: no whole record of {header.record_bytes} bytes; at least one is wanted")
    if header.n_records > there:
        repairs.append(Defect(f"header states {header.n_records} records", f"{there}, as many as there are"))
    return there if header.n_records <= 0 else min(there, header.n_records)


def _signals(header: _Header, raw: NDArray[np.uint8], repairs: list[str]) -> list[Signal]:
    """Channels of one count per record and one type share samples; then a Signal per kind and unit of them."""
    channels = uniquely([_channel(row) for row in header.rows], repairs)
    groups: dict[tuple[int, int], list[int]] = {}
    for k, row in enumerate(header.rows):
        if row.count:
            groups.setdefault((row.count, row.kind), []).append(k)
    found: list[Signal] = []
    for (per_record, kind), members in groups.items():
        places = tuple(header.rows[k].at for k in members)
        samples = Records(raw, places, per_record, _KINDS[kind])
        base = Timebase(rate_hz=per_record / header.record_s, n_samples=samples.shape[0])
        found += signals_of([Segment(samples=samples, timebase=base)], [channels[k] for k in members], repairs)
    names = [signal.name for signal in found]
    return [
        replace(s, name=f"{s.name} {s.rate_hz:g} Hz {s.segments[0].samples.dtype}") if names.count(s.name) > 1 else s
        for s in found
    ]


def _channel(row: _Row) -> Channel:
    kind = kind_of(row.name) or ("eeg" if row.unit == "uV" else "misc")
    return Channel(name=row.name, kind=kind, unit=row.unit, gain=row.gain, offset=row.offset)


# Events -------------------------------------------------------------------------------------------------------------


def _events(path: Path, header: _Header, n_records: int, repairs: list[str]) -> list[Events | Intervals]:
    """Those of a moment as sync events, those that last as intervals, labelled by their codes."""
    with path.open("rb") as file:
        file.seek(header.n_bytes + n_records * header.record_bytes)
        mode, rate_hz, n = _table_head(file.read(8), header)
        width = {1: 6, 3: 12}.get(mode, 0)
        if not width or n == 0:
            return []
        if n > MAX_EVENTS:
            raise FormatError(f"{path}: {n} events; up to {MAX_EVENTS} are wanted")
        table = file.read(n * width)
    if len(table) < n * width:
        repairs.append(Defect(f"table of events, of which {len(table)} of {n * width} bytes are there, left out"))
        return []
    at, codes = np.frombuffer(table, "<u4", n), np.frombuffer(table, "<u2", n, 4 * n).tolist()
    about = np.frombuffer(table, "<u2", n, 6 * n).tolist() if mode == 3 else [0] * n
    lasts = np.frombuffer(table, "<u4", n, 8 * n).tolist() if mode == 3 else [0] * n
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        rate_hz = max(row.count for row in header.rows) / header.record_s
        repairs.append(Defect(f"events state no rate: taken to count samples at {rate_hz:g} Hz"))
    notes = [
        Note((place - 1) / rate_hz, last / rate_hz, str(code), f"{channel}" if channel else "")
        for place, code, channel, last in zip(at.tolist(), codes, about, lasts, strict=True)
        if code != _SPARSE
    ]
    if len(notes) < n:
        repairs.append(f"{n - len(notes)} values that are no samples (code 0x7fff) left out")
    if _BREAK in codes:
        repairs.append("was interrupted for an unknown time (code 0x7ffe): times go on as if it had not been")
    return _named(annotated(sorted(notes, key=lambda note: note.onset_s)))


def _table_head(head: bytes, header: _Header) -> tuple[int, float, int]:
    """Mode, rate and number of events, in the order they came before and since version 1.94."""
    if len(head) < 8:
        return 0, 0.0, 0
    if header.version < 1.94:
        return head[0], float(int.from_bytes(head[1:4], "little")), int.from_bytes(head[4:8], "little")
    return head[0], struct.unpack_from("<f", head, 4)[0], int.from_bytes(head[1:4], "little")


def _named(found: Sequence[Stream]) -> list[Events | Intervals]:
    events = [replace(s, name="events", modality="sync") for s in found if isinstance(s, Events)]
    return [*events, *(replace(s, name="lasting events") for s in found if isinstance(s, Intervals))]
