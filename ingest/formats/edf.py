"""EDF, EDF+ and BDF: a header of ASCII fields, then data records that hold a stretch of every signal in turn.

    EDF int16, BDF int24     one Signal per rate, unit and modality; the file's own integers, rates never made equal
    EDF+D, BDF+D             records may be apart: a gap of any length is a new segment
    annotations (TAL)        onsets in seconds, kept as events, or as intervals where they last
    BDF Status               trigger codes in its low 16 bits: rising codes become sync events

Kemp et al. 1992 (EDF), Kemp and Olivan 2003 (EDF+).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._annotations import Note, annotated
from neuroloom.ingest.formats._channels import kind_of, numbered
from neuroloom.ingest.formats._dates import later
from neuroloom.ingest.formats._mapped import Records
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._triggers import rises
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect, note
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Signal, Stream
from neuroloom.ingest.timebase import Timebase

TITLE = "EDF, EDF+, BDF, BDF+"
MODALITY = "eeg"
KEEPS = (
    "int16 or int24, every rate as it is, gaps, annotations, codes of Status, the patient; not filters, not what it "
    "says of the equipment"
)
TESTED_ON = "real files of MNE-Python and its testing data; gaps (EDF+D) on files written by this project only"

_KINDS = {"sync": "stim"}  # modality: kind, where they differ
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the header states, per signal in the order of the file."""

    n_bytes: int
    sample_bytes: int
    start: datetime | None
    reserved: str
    n_records: int
    record_s: float
    labels: tuple[str, ...]
    units: tuple[str, ...]
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    counts: tuple[int, ...]
    patient: str

    @property
    def record_samples(self) -> int:
        """Samples of one data record over all signals."""
        return sum(self.counts)


def sniff(path: Path, head: bytes) -> bool:
    """True for version "0" padded with blanks (EDF) or byte 255 and "BIOSEMI" (BDF), with a header of whole signals."""
    if not (head[:8] == b"0       " or head[:8] == b"\xffBIOSEMI") or len(head) < 256:
        return False
    stated = _complete(head)[184:192]
    return re.fullmatch(rb"\d+ *", stated) is not None and int(stated) % 256 == 0


def _complete(head: bytes) -> bytes:
    """A header that lacks a blank before the date, so that all that follows is a byte early, with that blank."""
    is_early = re.fullmatch(rb"\d\d\.\d\d\.\d\d\d\d\.\d\d\.\d\d\d+ *", head[167:191]) is not None
    return head[:167] + b" " + head[167:] if is_early else head


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording with a Signal per rate, unit and kind of channel, and its annotations and triggers."""
    repairs: list[str] = []
    header = _header(path, repairs)
    n_records = _whole_records(path, header, repairs)
    raw = np.memmap(
        path, np.uint8, mode="r", offset=header.n_bytes, shape=(n_records, header.record_samples * header.sample_bytes)
    )
    notes, onsets_s = _annotations(path, header, raw)
    runs = _runs(header, n_records, onsets_s)
    streams: list[Stream] = list(_signals(header, raw, runs, repairs))
    streams += annotated(notes)
    streams += _triggers(header, raw, runs)
    start = later(header.start, float(onsets_s[0]) if onsets_s.size else 0.0)
    if any(note.onset_s < 0 for note in notes):
        repairs.append("annotations before the first sample kept at their negative times")
    kind = "bdf" if header.sample_bytes == 3 else "edf"
    return [
        Recording(
            clock=path.stem,
            format=kind,
            files=(path,),
            streams=tuple(streams),
            start=start,
            repairs=tuple(repairs),
            subject=_subject(header.patient),
        )
    ]


def _header(path: Path, repairs: list[str]) -> _Header:
    with path.open("rb") as file:
        fixed = _complete(file.read(256))
        n_missing = len(fixed) - 256
        file.seek(256 - n_missing)
        n_signals = _count(path, fixed[252:256], "number of signals", least=1)
        size = path.stat().st_size
        if 256 * (n_signals + 1) > size:
            raise FormatError(f"{path}: header claims {n_signals} signals; the file has {size} bytes")
        rest = file.read(256 * n_signals)
    if n_missing:
        repairs.append(Defect("a blank is missing before the date, all that follows is a byte early: read from there"))
    sample_bytes = 3 if fixed[:1] == b"\xff" else 2
    columns = _columns(rest, n_signals)
    physical = [[_real(path, t, what) for t in columns[what]] for what in ("physical minimum", "physical maximum")]
    digital = [[_real(path, t, what) for t in columns[what]] for what in ("digital minimum", "digital maximum")]
    low, high = np.array(physical)
    dlow, dhigh = np.array(digital)
    notes = np.array([label in _ANNOTATIONS for label in columns["label"]])
    flat = (dhigh == dlow) & ~notes
    if flat.any():
        label = columns["label"][int(np.flatnonzero(flat)[0])]
        raise FormatError(f"{path}: digital minimum equals maximum for {label!r}; a range is wanted")
    span = np.where(dhigh == dlow, 1.0, dhigh - dlow)
    gain = (high - low) / span
    return _Header(
        n_bytes=_count(path, fixed[184:192], "header size", least=512) - n_missing,
        sample_bytes=sample_bytes,
        start=_start(fixed),
        reserved=fixed[192:236].decode("latin-1").strip(),
        n_records=_count(path, fixed[236:244], "number of data records", least=-1),
        record_s=_real(path, fixed[244:252].decode("latin-1"), "duration of a data record"),
        labels=tuple(columns["label"]),
        units=tuple(columns["unit"]),
        gain=gain,
        offset=low - gain * dlow,
        counts=tuple(_count(path, t.encode("latin-1"), "samples per record", least=1) for t in columns["samples"]),
        patient=_decoded(fixed[8:88]).strip(" \0"),
    )


def _columns(rest: bytes, n: int) -> dict[str, list[str]]:
    """The per-signal fields, each stored for all signals in a row."""
    widths = {
        "label": 16, "transducer": 80, "unit": 8, "physical minimum": 8, "physical maximum": 8,
        "digital minimum": 8, "digital maximum": 8, "filter": 80, "samples": 8, "reserved": 32,
    }  # fmt: skip
    found, at = {}, 0
    for name, width in widths.items():
        found[name] = [rest[at + i * width : at + (i + 1) * width].decode("latin-1").strip() for i in range(n)]
        at += n * width
    return found


def _count(path: Path, text: bytes, what: str, *, least: int) -> int:
    shown = text.decode("latin-1").strip()
    if not re.fullmatch(r"-?\d+", shown) or int(shown) < least:
        raise FormatError(f"{path}: {what} is {shown!r}; a whole number of {least} or more is wanted")
    return int(shown)


def _real(path: Path, text: str, what: str) -> float:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError as error:
        raise FormatError(f"{path}: {what} is {text.strip()!r}; a number is wanted") from error
    if not np.isfinite(value):
        raise FormatError(f"{path}: {what} is {value}; a finite number is wanted")
    return value


def _start(fixed: bytes) -> datetime | None:
    """`dd.mm.yy` and `hh.mm.ss` in local time; years 85 to 99 are 1985 to 1999."""
    try:
        day, month, year = (int(part) for part in fixed[168:176].split(b"."))
        hour, minute, second = (int(part) for part in fixed[176:184].split(b"."))
        return datetime(year + (1900 if year >= 85 else 2000), month, day, hour, minute, second)
    except ValueError:
        said = fixed[168:184].decode("ascii", "replace").strip()
        note(Defect(f"states {said!r} as its start, which is no date: start not known"))
        return None


def _subject(patient: str) -> dict[str, str]:
    """`MCH-0234567 F 02-MAY-1951 Haagse_Harry` as EDF+ has it; plain EDF has free text, all of which may be a name."""
    parts = re.fullmatch(r"(\S+) ([MFX]) (\d\d-[A-Za-z]{3}-\d{4}|X) (\S+).*", patient)
    if parts is None:
        return subject_of(name=patient)
    code, sex, born, name = parts.groups()
    return subject_of(name=name.replace("_", " "), born=born, sex=sex, code=code)


def _whole_records(path: Path, header: _Header, repairs: list[str]) -> int:
    """The data records that are really there; a header that says otherwise is mended, and that is noted."""
    record_bytes = header.record_samples * header.sample_bytes
    there, rest = divmod(path.stat().st_size - header.n_bytes, record_bytes)
    if there < 1:
        raise FormatError(f"{path}: no whole data record of {record_bytes} bytes; at least one is wanted")
    n = there if header.n_records == -1 else min(there, header.n_records) or there
    if header.n_records not in (-1, there):
        repairs.append(Defect(f"header states {header.n_records} data records, {there} are there", f"{n} data records"))
    if rest:
        repairs.append(Defect(f"{rest} bytes after the last whole data record left out"))
    if header.record_s <= 0 and any(label not in _ANNOTATIONS for label in header.labels):
        raise FormatError(f"{path}: a data record lasts {header.record_s} s; more than 0 is wanted")
    return n


def _annotations(path: Path, header: _Header, raw: NDArray[np.uint8]) -> tuple[list[Note], NDArray[np.float64]]:
    """All notes with onsets from the file's start, and the onset of each data record (empty for plain EDF)."""
    places = [i for i, label in enumerate(header.labels) if label in _ANNOTATIONS]
    if not places:
        return [], np.zeros(0)
    starts = np.concatenate([[0], np.cumsum(header.counts)]) * header.sample_bytes
    notes: list[Note] = []
    onsets = np.full(raw.shape[0], np.nan)
    for record in range(raw.shape[0]):
        for k, place in enumerate(places):
            tals = list(_tals(raw[record, starts[place] : starts[place + 1]].tobytes()))
            if k == 0 and tals:
                onsets[record] = tals[0][0]  # the first of each record keeps its time
            notes += [Note(onset, lasts, text) for onset, lasts, texts in tals for text in texts if text]
    if np.isnan(onsets).any():
        raise FormatError(
            f"{path}: data record {int(np.isnan(onsets).argmax())} states no time; EDF+ wants one in each"
        )
    since_first = (note._replace(onset_s=note.onset_s - onsets[0]) for note in notes)
    return sorted(since_first, key=lambda note: note.onset_s), onsets


def _tals(data: bytes) -> Iterator[tuple[float, float, list[str]]]:
    """Time-stamped annotation lists: `+onset[\\x15duration]\\x14text\\x14...\\x14\\x00`."""
    for tal in data.split(b"\x00"):
        head, _, texts = tal.partition(b"\x14")
        match = re.fullmatch(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?", head)
        if match:
            shown = [_decoded(text) for text in texts.split(b"\x14")]
            yield float(match[1]), float(match[2] or 0), shown


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        read_as = text.decode("latin-1")
        byte = text[error.start : error.start + 1].hex().upper()
        note(Defect(f"an annotation with byte 0x{byte}, no UTF-8", f"{read_as[:80]!r}, read as Latin-1"))
        return read_as


Run = tuple[int, int, float]  # first record, past the last, time of the first sample


def _runs(header: _Header, n_records: int, onsets_s: NDArray[np.float64]) -> list[Run]:
    """Unbroken runs of data records. In EDF+C and EDF records follow one another by definition."""
    if not header.reserved.startswith(("EDF+D", "BDF+D")) or not onsets_s.size:
        return [(0, n_records, 0.0)]
    times = onsets_s[:n_records] - onsets_s[0]
    # Half a sample of the fastest signal is as close as records can be said to follow.
    slack_s = 0.5 * header.record_s / max(header.counts)
    cuts = np.flatnonzero(np.abs(np.diff(times) - header.record_s) > slack_s) + 1
    edges = [0, *cuts.tolist(), n_records]
    return [(a, b, float(times[a])) for a, b in pairwise(edges)]


def _signals(header: _Header, raw: NDArray[np.uint8], runs: list[Run], repairs: list[str]) -> list[Signal]:
    names = numbered(header.labels, repairs, but=_ANNOTATIONS)
    starts = np.concatenate([[0], np.cumsum(header.counts)])
    groups: dict[tuple[int, str, str], list[int]] = {}
    units = [kept_unit(unit) for unit in header.units]
    for i, label in enumerate(header.labels):
        if label not in _ANNOTATIONS:
            groups.setdefault((header.counts[i], units[i][0], _modality(label, units[i][0])), []).append(i)
    signals = []
    for (count, unit, modality), members in groups.items():
        rate_hz = count / header.record_s
        alone = sum(key[2] == modality for key in groups) == 1
        places = [(int(starts[i]), count) for i in members]
        signals.append(
            Signal(
                name=modality if alone else f"{modality} {rate_hz:g} Hz {unit}",
                modality=modality,
                segments=_segments(header, raw, runs, places),
                channel_names=tuple(names[i] for i in members),
                unit=unit,
                gain=header.gain[members] * np.array([units[i][1] for i in members]),
                offset=header.offset[members] * np.array([units[i][1] for i in members]),
                table={"kind": (_KINDS.get(modality, modality),) * len(members)},
            )
        )
    return signals


def _modality(label: str, unit: str) -> str:
    """What a channel measures, as its name and unit tell; MNE takes the same names for trigger channels."""
    if label.lower() in ("status", "trigger"):
        return "sync"
    return (kind_of(label) or "eeg") if unit == "uV" else "aux"


def _segments(
    header: _Header, raw: NDArray[np.uint8], runs: list[Run], places: list[tuple[int, int]]
) -> tuple[Segment, ...]:
    """The channels at these places of a record, all of one rate, in each run."""
    kind = "<i3" if header.sample_bytes == 3 else "<i2"
    firsts = tuple(at * header.sample_bytes for at, _ in places)
    segments = []
    for first, last, start_s in runs:
        samples = Records(raw[first:last], firsts, places[0][1], kind)
        base = Timebase(rate_hz=places[0][1] / header.record_s, start_s=start_s, n_samples=samples.shape[0])
        segments.append(Segment(samples=samples, timebase=base))
    return tuple(segments)


def _triggers(header: _Header, raw: NDArray[np.uint8], runs: list[Run]) -> list[Stream]:
    """Codes that appear on a BDF Status channel, at the sample where they do."""
    if "Status" not in header.labels or header.sample_bytes != 3:
        return []
    place = header.labels.index("Status")
    at = int(np.concatenate([[0], np.cumsum(header.counts)])[place])
    segments = _segments(header, raw, runs, [(at, header.counts[place])])
    (codes,) = rises(segments, 1, lambda block: block & 0xFFFF)
    return [codes.events("triggers")] if codes.labels else []
