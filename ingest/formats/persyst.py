"""Persyst: a text `X.lay` in sections, and the `.dat` it names: int16 or int32, all channels of a sample together.

    [FileInfo]       rate, number of channels, type; microvolts = number * Calibration
    [ChannelMap]     name=place of the channel within a sample, counted from 1
    [SampleTimes]    sample=seconds of the day: where more than that many samples lie between two, nothing was recorded
    [Comments]       onset, duration, two numbers, text; seconds of recorded time since the first sample

Design rationale: MNE passes over SampleTimes, HeaderLength and the places in ChannelMap; what was recorded after a
pause then comes too early. A `.dat` named with the path it once had is looked for beside the `.lay`, by its own name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._annotations import Note, annotated
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._channels import columns_of, kind_of
from neuroloom.ingest.formats._companions import beside
from neuroloom.ingest.formats._dates import later
from neuroloom.ingest.formats._header_text import count, lines_of, real
from neuroloom.ingest.formats._mapped import Mapped, mapped, whole_samples
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Stream
from neuroloom.ingest.timebase import FloatArray, Timebase

TITLE = "Persyst (.lay, .dat)"
MODALITY = "eeg"
KEEPS = "int16 or int32, gaps, comments, start, the patient; not the staff, not medication"
TESTED_ON = (
    "a real file of MNE-Python's testing data (int32); int16, gaps and headers on files written by this project only"
)

_DTYPES = {"0": "<i2", "7": "<i4"}
_DATES = ("%Y.%m.%d", "%m/%d/%Y", "%d-%m-%Y")

Sections = Mapping[str, Mapping[str, str]]


def sniff(path: Path, head: bytes) -> bool:
    """True for a text whose section FileInfo names a file, its channels and their rate."""
    if not re.search(rb"^\[FileInfo\]\s*$", head, re.M | re.I):
        return False
    keys = {key.lower() for key in re.findall(rb"^(\w+)=", head, re.M)}
    return keys >= {b"file", b"samplingrate", b"calibration", b"waveformcount"}


def files(path: Path) -> tuple[Path, ...]:
    """The .lay and its .dat. Raises FormatError where that is not beside it."""
    return path, _data(path, _sections(path)[0], [])


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel in microvolts, comments as events and intervals."""
    repairs: list[str] = []
    sections, comments = _sections(path)
    info = sections.get("fileinfo", {})
    data = _data(path, sections, repairs)
    n_channels, rate_hz = count(path, info, "waveformcount"), real(path, info, "samplingrate", above=0)
    samples = _samples(path, data, info, n_channels, repairs)
    firsts, times_s = _sample_times(path, sections, len(samples.source), rate_hz, repairs)
    edges = [*firsts, samples.shape[0]]
    places = _places(path, sections, n_channels)
    columns = np.array(list(places.values()), dtype=np.int64)
    segments = [
        Segment(
            samples=columns_of(Mapped(samples.source[a:b]), columns),
            timebase=Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=b - a),
        )
        for a, b, start_s in zip(edges, edges[1:], times_s - times_s[0], strict=False)
    ]
    gain_uV = real(path, info, "calibration")
    streams: list[Stream] = [*signals_of(segments, [_channel(name, gain_uV) for name in places], repairs)]
    streams += annotated(_notes(path, comments, segments, rate_hz))
    return [
        Recording(
            clock=path.stem,
            format="persyst",
            files=(path, data),
            streams=tuple(streams),
            start=_start(sections.get("patient", {}), float(times_s[0])),
            repairs=tuple(repairs),
            subject=_subject(sections.get("patient", {})),
        )
    ]


def _sections(path: Path) -> tuple[Sections, list[str]]:
    """Section -> key -> value, both in lower case but for channels; and the lines of comments."""
    found: dict[str, dict[str, str]] = {}
    comments: list[str] = []
    name = ""
    for line in lines_of(path):
        if line.startswith("[") and line.endswith("]"):
            name = line[1:-1].strip().lower()
        elif name == "comments":
            comments.append(line)
        else:
            key, _, value = line.rpartition("=") if name == "channelmap" else line.partition("=")
            key = key.strip() if name == "channelmap" else key.strip().lower()
            found.setdefault(name, {})[key] = value.strip()
    return found, comments


def _data(path: Path, sections: Sections, repairs: list[str]) -> Path:
    """The file of samples, in the folder of the .lay whatever path is stated."""
    stated = sections.get("fileinfo", {}).get("file", "")
    name = re.split(r"[\\/]", stated)[-1]
    if name != stated:
        repairs.append(Defect(f"names {stated!r} for its samples", f"{name!r}, which is beside it"))
    return beside(path, name, "the file of its samples")


def _samples(path: Path, data: Path, info: Mapping[str, str], n_channels: int, repairs: list[str]) -> Mapped:
    kind = info.get("datatype", "")
    if kind not in _DTYPES or info.get("filetype", "Interleaved").lower() != "interleaved":
        raise FormatError(
            f"{path}: DataType {kind!r}, FileType {info.get('filetype')!r}; 0 (16 bits) or 7 (32 bits), Interleaved, "
            "is wanted"
        )
    offset = count(path, info, "headerlength", least=0) if info.get("headerlength") else 0
    n_samples = whole_samples(data, n_channels, np.dtype(_DTYPES[kind]).itemsize, repairs, offset=offset)
    return Mapped(mapped(data, _DTYPES[kind], (n_samples, n_channels), offset=offset))


def _places(path: Path, sections: Sections, n_channels: int) -> dict[str, int]:
    """Name -> column of every channel, in the order they have within a sample."""
    stated = sections.get("channelmap", {})
    places = {name: count(path, stated, name) - 1 for name in stated}
    if sorted(places.values()) != list(range(n_channels)):
        raise FormatError(f"{path}: {n_channels} channels but {len(places)} places in ChannelMap; they must match")
    return dict(sorted(places.items(), key=lambda item: item[1]))


def _channel(name: str, gain_uV: float) -> Channel:
    """`Fp1-Ref`: the name, and what it was measured against."""
    own, dash, _ = re.sub(r"-REF$", "\0", name, flags=re.I).partition("\0")
    about = {"reference": name[len(own) + 1 :]} if dash else {}
    return Channel(name=own, kind=kind_of(own) or "eeg", unit="uV", gain=gain_uV, about=about)


def _sample_times(
    path: Path, sections: Sections, n_samples: int, rate_hz: float, repairs: list[str]
) -> tuple[list[int], FloatArray]:
    """First sample of each unbroken run, and its second of the day."""
    stated = sections.get("sampletimes", {})
    rows = sorted((count(path, {key: key}, key, least=0), real(path, stated, key)) for key in stated)
    runs = [(first, time_s) for first, time_s in rows if first < n_samples]
    kept = [runs[0]] if runs and runs[0][0] == 0 else [(0, 0.0)]
    for first, time_s in runs[1:]:
        gap_s = time_s - kept[-1][1] - (first - kept[-1][0]) / rate_hz
        if gap_s > 1.5 / rate_hz:
            kept.append((first, time_s))
        elif gap_s < -1.5 / rate_hz:
            repairs.append(
                Defect(f"SampleTimes: sample {first} is {-gap_s:.3f} s earlier than the ones before allow: ignored")
            )
    return [first for first, _ in kept], np.array([time_s for _, time_s in kept])


def _notes(path: Path, comments: Sequence[str], segments: Sequence[Segment], rate_hz: float) -> list[Note]:
    """Comments count recorded time, so that what comes after a pause is as much later."""
    firsts = np.cumsum([0] + [s.timebase.n_samples for s in segments[:-1]]) / rate_hz
    notes = []
    for line in comments:
        parts = line.split(",", 4)
        said = dict(zip(("onset", "duration"), parts, strict=False))
        onset_s, lasts_s = real(path, said, "onset"), real(path, said, "duration")
        k = max(int(np.searchsorted(firsts, onset_s, side="right")) - 1, 0)
        onset_s += segments[k].timebase.start_s - float(firsts[k])
        notes.append(Note(onset_s, max(lasts_s, 0.0), parts[4].strip() if len(parts) > 4 else ""))
    return sorted(notes, key=lambda note: note.onset_s)


def _subject(patient: Mapping[str, str]) -> dict[str, str]:
    name = patient.get("fullname") or " ".join(patient.get(key, "") for key in ("first", "mi", "last"))
    code = patient.get("medicalrecordn") or patient.get("id", "")
    return subject_of(name=name, born=patient.get("birthdate", ""), sex=patient.get("sex", ""), code=code)


def _start(patient: Mapping[str, str], second_of_day: float) -> datetime | None:
    """The date, and the second of the day of the first sample where the stated time agrees with it."""
    for pattern in _DATES:
        try:
            start = datetime.strptime(f"{patient['testdate']} {patient['testtime']}", f"{pattern} %H:%M:%S")
        except (KeyError, ValueError):
            continue
        exact = later(datetime(start.year, start.month, start.day), second_of_day)
        return exact if exact is not None and abs(exact - start) < timedelta(seconds=1) else start
    return None
