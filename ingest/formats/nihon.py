"""Nihon Kohden (`.EEG`): blocks of 16-bit numbers, all channels of a sample together and a word of marks behind them.

    data blocks       each states when it began: between two that do not follow one another nothing was recorded
    X.21E             names of the electrodes, by their numbers; without it, the vendor's own names
    X.LOG             events, with a table of their fractions of a second
    X.PNT             the patient: number, name and date of birth at places that do not change
    X.CMT ...         belong to the recording and are not read

The scale goes by the number of the electrode: microvolts for electrodes, millivolts for the DC inputs and marks.

Design rationale: MNE marks the edge of two data blocks and puts no time between them; it looks a scale up by the name
of the channel, so that one renamed to another's name gets the other's.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._annotations import Note, annotated
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._channels import columns_of, kind_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._header_text import decoded, lines_of
from neuroloom.ingest.formats._mapped import mapped
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._triggers import triggers
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "Nihon Kohden (.EEG)"
MODALITY = "eeg"
KEEPS = (
    "16-bit numbers as int16, gaps between data blocks, names, events, the word of marks, the patient; not the staff"
)
TESTED_ON = (
    "a real file of MNE-Python's testing data (EEG-1100C), and the vendor's own export of it; several data blocks on "
    "files written by this project only"
)

DEVICES = (
    b"EEG-1100A V01.00", b"EEG-1100B V01.00", b"EEG-1100C V01.00", b"QI-403A   V01.00", b"QI-403A   V02.00",
    b"EEG-2100  V01.00", b"EEG-2100  V02.00", b"DAE-2100D V01.30", b"DAE-2100D V02.00", b"EEG-1200A V01.00",
)  # fmt: skip
MAX_TRIGGERS = 1_000_000
_COMPANIONS = (".21E", ".PNT", ".LOG", ".11D", ".CMT", ".CN2")
_PATIENT_BYTES = 1642
_LISTS_AT, _LIST_BYTES = 0x91, 20
_UV, _MV = (-3200.0, 3199.902, "uV"), (-12002.9, 12002.56, "mV")
_MARKS = "marks"
_HEAD = "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 FZ CZ PZ E PG1 PG2 A1 A2 T1 T2"


@dataclass(frozen=True, kw_only=True)
class _Block:
    """A data block: its start, and where its samples lie."""

    start: datetime | None
    rate_hz: int
    electrodes: tuple[int, ...]
    first: int
    n_samples: int


def sniff(path: Path, head: bytes) -> bool:
    """True for a device that is known, stated twice, where no file is said to come before this one."""
    is_device = head[:16] in DEVICES and head[0x81:0x91] in DEVICES
    return is_device and not head[0x10:0x20].strip(b"\0 ")


def files(path: Path) -> tuple[Path, ...]:
    """The .EEG, and what is beside it of its stem; links left out."""
    beside = [path.with_suffix(end) for suffix in _COMPANIONS for end in (suffix, suffix.lower())]
    found: list[Path] = []
    for file in beside:
        if is_there(file) and not any(file.samefile(other) for other in found):
            found.append(file)
    return (path, *found)


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind and unit, the log as events, marks as sync events."""
    repairs: list[str] = []
    with path.open("rb") as file:
        head = file.read(0x400)
    if len(head) < 0x400 or not sniff(path, head):
        raise FormatError(f"{path}: {head[:16]!r}; a device of Nihon Kohden is wanted, in a whole header")
    blocks = _blocks(path, head)
    segments = _segments(path, blocks, repairs)
    n_channels = len(blocks[0].electrodes)
    data = [replace(s, samples=columns_of(s.samples, np.arange(n_channels))) for s in segments]
    names = _names(path, repairs)
    channels = [_channel(number, names.get(number, f"UNK{number}")) for number in blocks[0].electrodes]
    streams: list[Stream] = [*signals_of(data, channels, repairs)]
    streams += _marks(segments, n_channels, repairs)
    streams += annotated(_notes(path, blocks, repairs))
    return [
        Recording(
            clock=path.stem,
            format="nihon",
            files=files(path),
            streams=tuple(streams),
            start=blocks[0].start,
            repairs=tuple(repairs),
            subject=_subject(path),
        )
    ]


def _subject(path: Path) -> dict[str, str]:
    """What X.PNT says, if it is there and whole."""
    beside = next((file for file in map(path.with_suffix, (".PNT", ".pnt")) if is_there(file)), None)
    if beside is None:
        return {}
    with beside.open("rb") as file:
        raw = file.read(_PATIENT_BYTES)
    code, name, born = (raw[at : at + n].partition(b"\0")[0] for at, n in ((1540, 10), (1582, 22), (1632, 10)))
    return subject_of(name=decoded(name), born=decoded(born), code=decoded(code))


# Blocks -------------------------------------------------------------------------------------------------------------


def _listed(path: Path, raw: NDArray[np.uint8], at: int, n_at: int, first_at: int) -> Iterator[int]:
    """Addresses in a list of `raw[n_at]`, 20 bytes apart."""
    if not 0 <= at <= n_at < raw.size or first_at + _LIST_BYTES * int(raw[n_at]) > raw.size:
        raise FormatError(f"{path}: a list of blocks at byte {at} of {raw.size}; it lies beyond the end")
    for k in range(int(raw[n_at])):
        place = first_at + _LIST_BYTES * k
        yield struct.unpack_from("<I", raw[place : place + 4].tobytes())[0]


def _blocks(path: Path, head: bytes) -> list[_Block]:
    """All data blocks of all control blocks, in order of time. Raises FormatError where they are not alike."""
    raw = np.memmap(path, np.uint8, mode="r")
    found = [
        _block(path, raw, at)
        for control in _listed(path, raw, 0, _LISTS_AT, _LISTS_AT + 1)
        for at in _listed(path, raw, control, control + 17, control + 18)
    ]
    found = [block for block in found if block.n_samples]
    if not found:
        raise FormatError(f"{path}: holds no data block with samples; one at least is wanted")
    if len({(block.electrodes, block.rate_hz) for block in found}) > 1:
        raise FormatError(f"{path}: its {len(found)} data blocks differ in channels or rate; the same are wanted")
    return sorted(found, key=lambda block: (block.start or datetime.min, block.first))


def _block(path: Path, raw: NDArray[np.uint8], at: int) -> _Block:
    if not 0 < at <= raw.size - 0x27 or raw[at] != 1:
        raise FormatError(f"{path}: no data block at byte {at} of {raw.size}, where one is said to be")
    rate, tenths = struct.unpack_from("<HI", raw[at + 0x1A : at + 0x20].tobytes())
    n_channels = int(raw[at + 0x26])
    electrodes = raw[at + 0x27 : at + 0x27 + 10 * n_channels : 10].tolist()
    rate &= 0x3FFF
    if not rate or not n_channels or len(electrodes) < n_channels:
        raise FormatError(f"{path}: a data block of {n_channels} channels at {rate} Hz; some of both are wanted")
    return _Block(
        start=_start(raw[at : at + 0x1A].tobytes()),
        rate_hz=rate,
        electrodes=tuple(electrodes),
        first=at + 0x27 + 10 * n_channels,
        n_samples=tenths * rate // 10,
    )


def _start(head: bytes) -> datetime | None:
    """`TIME160016000000`, to the microsecond, and the date as pairs of digits in hexadecimal: 19 04 03."""
    said = re.fullmatch(rb"TIME(\d{6})(\d{6})?.*", head[1:17], re.S)
    try:
        day = head[0x14:0x17].hex()
        time = said[1].decode() if said else head[0x17:0x1A].hex()
        micro = int(said[2]) if said and said[2] else 0
        return datetime.strptime(f"20{day}{time}", "%Y%m%d%H%M%S").replace(microsecond=micro)
    except ValueError:
        return None


class _Signed:
    """Numbers stored with 0 as the lowest, as int16: nothing but the first bit changes."""

    def __init__(self, source: NDArray[Any]) -> None:
        self.source, self.shape, self.dtype = source, source.shape, np.dtype(np.int16)

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        return (np.ascontiguousarray(self.source[part]) ^ np.uint16(0x8000)).astype("u2", copy=False).view(np.int16)


def _segments(path: Path, blocks: Sequence[_Block], repairs: list[str]) -> list[Segment]:
    """All channels and the word of marks behind them. A block starts when it says, or right behind the last."""
    width = len(blocks[0].electrodes) + 1
    found: list[Segment] = []
    for block in blocks:
        there = min(block.n_samples, (path.stat().st_size - block.first) // (2 * width))
        if there < block.n_samples:
            repairs.append(
                Defect(f"a data block states {block.n_samples} samples", f"{max(there, 0)}, as many as there are")
            )
        if there < 1:
            continue
        expected_s = found[-1].timebase.stop_s if found else 0.0
        start_s = expected_s
        if block.start is not None and blocks[0].start is not None:
            start_s = (block.start - blocks[0].start).total_seconds()
        if abs(start_s - expected_s) <= 1.0:  # blocks state whole seconds mostly
            start_s = expected_s
        elif start_s < expected_s:
            repairs.append(f"a data block begins {expected_s - start_s:.3f} s before the last one ends: it follows it")
            start_s = expected_s
        base = Timebase(rate_hz=float(block.rate_hz), start_s=start_s, n_samples=there)
        found.append(Segment(samples=_Signed(mapped(path, "<u2", (there, width), offset=block.first)), timebase=base))
    if not found:
        raise FormatError(f"{path}: no whole sample of {2 * width} bytes; at least one is wanted")
    return found


# Channels -----------------------------------------------------------------------------------------------------------


def _default_names() -> dict[int, str]:
    """The vendor's numbers of electrodes."""
    names = _HEAD.split()
    names += [f"X{k}" for k in range(1, 12)] + [f"NA{k}" for k in range(1, 6)] + [f"DC{k:02}" for k in range(1, 33)]
    names += ["BN1", "BN2", "Mark1", "Mark2"] + [f"NA{k}" for k in range(6, 28)]
    names += ["X12/BP1", "X13/BP2", "X14/BP3", "X15/BP4"] + [f"X{k}" for k in range(16, 166)] + ["NA28", "Z"]
    return dict(enumerate(names))


def _names(path: Path, repairs: list[str]) -> dict[int, str]:
    """Of the .21E over the vendor's own."""
    names = _default_names()
    table = next((file for file in files(path)[1:] if file.suffix.upper() == ".21E"), None)
    if table is None:
        repairs.append(f"no {path.stem}.21E beside it: electrodes have the names of the vendor")
        return names
    is_listed = False
    for line in lines_of(table):
        if line.startswith("["):
            is_listed = "ELECTRODE" in line or "REFERENCE" in line
        elif is_listed and (said := re.fullmatch(r"(\d{1,5})\s*=\s*(.+)", line)):
            names[int(said[1])] = said[2].strip()
    return names


def _channel(number: int, name: str) -> Channel:
    is_dc = 42 <= number <= 73 or number in (76, 77)
    low, high, spelled = _MV if is_dc else _UV
    unit, factor = kept_unit(spelled)
    gain = (high - low) / 65535
    kind = "misc" if is_dc else "bio" if re.match(r"X\d", name) else kind_of(name) or "eeg"
    return Channel(
        name=name,
        kind=kind,
        unit=unit,
        gain=gain * factor,
        offset=(low + 32768 * gain) * factor,
        about={"electrode": number},
    )


def _marks(segments: Sequence[Segment], column: int, repairs: list[str]) -> list[Stream]:
    """The word behind the channels and the codes that appear in it; nothing where it never changes."""
    marks = Signal(
        name=_MARKS,
        modality="sync",
        segments=tuple(replace(s, samples=columns_of(s.samples, np.array([column]))) for s in segments),
        channel_names=(_MARKS,),
        unit="a.u.",
        gain=np.ones(1),
        offset=np.full(1, 32768.0),
    )

    def codes(signal: Signal, samples: NDArray[Any]) -> NDArray[Any]:
        return samples.astype(np.int64) + 32768

    events = triggers([marks], codes, most=MAX_TRIGGERS, repairs=repairs)
    return [marks, *events] if events else []


# Log ----------------------------------------------------------------------------------------------------------------


def _notes(path: Path, blocks: Sequence[_Block], repairs: list[str]) -> list[Note]:
    """Events of the log: seconds since the start, or by their dates where there are several data blocks."""
    log = next((file for file in files(path)[1:] if file.suffix.upper() == ".LOG"), None)
    if log is None:
        repairs.append(f"no {path.stem}.LOG beside it: no events")
        return []
    raw = np.memmap(log, np.uint8, mode="r") if log.stat().st_size else np.zeros(0, np.uint8)
    if raw.size < 0x400 or raw[:16].tobytes() not in DEVICES:
        raise FormatError(f"{log}: {raw[:16].tobytes()!r}; a log of Nihon Kohden is wanted")
    n_blocks = int(raw[_LISTS_AT])
    notes = []
    for k in range(n_blocks):
        rows = _rows(raw, k)
        finer = _rows(raw, k + 22) if n_blocks <= 21 else []
        for j, row in enumerate(rows):
            notes.append(_note(row, finer[j] if len(finer) == len(rows) else b"", blocks))
    known = [note for note in notes if note is not None]
    if len(known) < len(notes):
        repairs.append(Defect(f"{len(notes) - len(known)} rows of the log state no time: left out"))
    return sorted(known, key=lambda note: note.onset_s)


def _rows(raw: NDArray[np.uint8], k: int) -> list[bytes]:
    """Rows of 45 bytes of the k-th block of the log."""
    place = _LISTS_AT + 1 + _LIST_BYTES * k
    (at,) = struct.unpack_from("<I", raw[place : place + 4].tobytes()) if place + 4 <= raw.size else (0,)
    if not 0 < at <= raw.size - 0x14:
        return []
    rows = raw[at + 0x14 : at + 0x14 + 45 * int(raw[at + 0x12])].tobytes()
    return [rows[j : j + 45] for j in range(0, len(rows) - 44, 45)]


def _note(row: bytes, finer: bytes, blocks: Sequence[_Block]) -> Note | None:
    """`text`, `hhmmss` since the start, `(yymmddhhmmss)`; in the finer table more text and microseconds."""
    text = decoded((row[:20] + finer[:20]).replace(b"\0", b"")).strip()
    fraction_s = int(finer[24:30]) / 1e6 if finer[24:30].isdigit() else 0.0
    if len(blocks) > 1 and blocks[0].start is not None:
        try:
            when = datetime.strptime("20" + row[27:39].decode("latin-1"), "%Y%m%d%H%M%S")
            return Note((when - blocks[0].start).total_seconds() + fraction_s, 0.0, text)
        except ValueError:
            pass
    said = re.fullmatch(rb"(\d\d)(\d\d)(\d\d)", row[20:26])
    if said is None:
        return None
    hours, minutes, seconds = (int(part) for part in said.groups())
    return Note(3600 * hours + 60 * minutes + seconds + fraction_s, 0.0, text)
