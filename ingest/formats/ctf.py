"""CTF, a folder `X.ds`: `X.res4` describes, `X.meg4` (then `X.1_meg4` ...) holds int32, trial after trial.

    value = number / (proper gain * q gain) in T, V or as it is: all samples of a channel of a trial lie together
    SCLK01-177       the acquisition's clock: where trials do not follow one another, nothing was recorded between them;
                     from where it is 0 on, nothing was recorded
    MarkerFile.mrk   events; bad.segments intervals; BadChannels marks channels
    averages         a set of Signals per trial, called by its class, time 0 being the event averaged over

Trials without that clock follow one another where there is no time before a trigger: a continuous recording is saved
so. Others are refused, since nothing tells when they were.

Design rationale: MNE sets all trials end to end, averages too, and does not know the clock as a measure of time. The
folder's own coordinates are kept: those of the device, in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._annotations import Note, annotated
from neuroloom.ingest.formats._channel_list import signals_of
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._ctf_res4 import Res4, res4_of
from neuroloom.ingest.formats._ctf_texts import bad_channels, bad_segments, classes, markers
from neuroloom.ingest.formats._mapped import Blocks
from neuroloom.ingest.formats._mne_info import codes_of
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.formats._triggers import triggers
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Signal, Stream
from neuroloom.ingest.timebase import FloatArray, Timebase

TITLE = "CTF (.ds)"
MODALITY = "meg"
KEEPS = (
    "int32, gaps, averages, places of the coils, bad channels, markers, bad segments, codes; not head coils, not "
    "compensation coefficients (its grade is)"
)
TESTED_ON = (
    "a real folder of MNE-Python's testing data (averages); continuous data, the system clock and markers on folders "
    "written by this project only"
)

MAX_TRIGGERS = 1_000_000
MAX_AVERAGES = 100
_MAGIC = (b"MEG41RS\0", b"MEG42RS\0", b"MEG3RES\0", b"MEG4RES\0")
_DATA_MAGIC = b"MEG4"
_HEAD_BYTES = 8


def sniff(path: Path, head: bytes) -> bool:
    """True for a folder with a `.res4` that begins as it should, and a `.meg4` of the same stem."""
    try:
        return path.is_dir() and _res4_in(path) is not None
    except OSError:
        return False


def _res4_in(folder: Path) -> Path | None:
    found = [file for file in folder.glob("*.res4") if is_there(file) and not file.name.startswith(".")]
    if len(found) != 1 or not is_there(found[0].with_suffix(".meg4")):
        return None
    with found[0].open("rb") as file:
        return found[0] if file.read(8) in _MAGIC else None


def files(path: Path) -> tuple[Path, ...]:
    """Every file in the folder, the .res4 and the .meg4 first; links and folders in it are left out."""
    named = _named(path)
    first = (named, *_data_files(named))
    others = sorted(file for file in path.iterdir() if is_there(file) and file not in first)
    return (*first, *others)


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel, per trial where the trials are averages; codes, markers."""
    repairs: list[str] = []
    res4 = res4_of(_named(path))
    res4 = replace(res4, channels=_marked(path, res4, repairs))
    data = _maps(res4, repairs)
    if res4.n_averaged > 1:
        streams, starts_s = _averages(path, res4, data, repairs), np.zeros(0)
    else:
        segments, starts_s = _segments(path, res4, data, repairs)
        signals = signals_of(segments, res4.channels, repairs, stated=res4.stated)
        streams = [*signals, *triggers(signals, codes_of, most=MAX_TRIGGERS, repairs=repairs)]
    streams += annotated(_notes(path, res4, starts_s, repairs))
    return [
        Recording(
            clock=path.stem,
            format="ctf",
            files=(path,),
            streams=tuple(streams),
            start=res4.start,
            repairs=tuple(repairs),
            subject=_subject(res4.subject),
        )
    ]


def _subject(text: str) -> dict[str, str]:
    """The one field is for a number; a name is what some have put there."""
    return subject_of(code=text) if any(map(str.isdigit, text)) else subject_of(name=text)


def _named(path: Path) -> Path:
    found = _res4_in(path)
    if found is None:
        raise FormatError(f"{path}: no .res4 with a .meg4 of the same stem in it, or several; one is wanted")
    return found


def _data_files(res4: Path) -> list[Path]:
    """The .meg4, and the numbered ones that follow it."""
    found = [res4.with_suffix(".meg4")]
    while is_there(following := res4.with_suffix(f".{len(found)}_meg4")):
        found.append(following)
    return found


def _marked(path: Path, res4: Res4, repairs: list[str]) -> tuple[Any, ...]:
    """The channels, with a mark on those that BadChannels names."""
    bad = set(bad_channels(path))
    known = {channel.name.partition("-")[0] for channel in res4.channels} | {c.name for c in res4.channels}
    if bad - known:
        names = ", ".join(repr(name[:40]) for name in sorted(bad - known)[:10])
        repairs.append(Defect(f"BadChannels names {len(bad - known)} channels that are not there, {names}", "left out"))
    return tuple(
        replace(c, about={**c.about, "bad_in_file": c.name in bad or c.name.partition("-")[0] in bad})
        for c in res4.channels
    )


# Samples ------------------------------------------------------------------------------------------------------------


def _maps(res4: Res4, repairs: list[str]) -> list[NDArray[Any]]:
    """Per file its whole trials, shape (trials, C, samples)."""
    trial_bytes = 4 * len(res4.channels) * res4.n_samples
    found: list[NDArray[Any]] = []
    for file in _data_files(res4.path):
        size = file.stat().st_size
        with file.open("rb") as opened:
            magic = opened.read(_HEAD_BYTES)
        n_trials, rest = divmod(size - _HEAD_BYTES, trial_bytes)
        if not magic.startswith(_DATA_MAGIC) or n_trials < 1:
            raise FormatError(
                f"{file}: {size} bytes that begin with {magic!r}; a head of 8 and trials of {len(res4.channels)} "
                f"channels x {res4.n_samples} samples ({trial_bytes} bytes) are wanted"
            )
        if rest:
            repairs.append(Defect(f"{file.name}: {rest} bytes after the last whole trial left out"))
        shape = (n_trials, len(res4.channels), res4.n_samples)
        found.append(np.memmap(file, ">i4", mode="r", offset=_HEAD_BYTES, shape=shape))
    n_found = sum(len(one) for one in found)
    if n_found != res4.n_trials:
        repairs.append(Defect(f"{res4.path.name} states {res4.n_trials} trials", f"{n_found}, as many as there are"))
    return found


def _segments(
    path: Path, res4: Res4, data: Sequence[NDArray[Any]], repairs: list[str]
) -> tuple[list[Segment], FloatArray]:
    """Runs of trials that follow one another, and when each trial starts."""
    starts_s, n_valid = _starts(path, res4, data, repairs)
    trial_s = res4.n_samples / res4.rate_hz
    segments: list[Segment] = []
    first = 0
    for source in data:
        last = first + len(source)
        cuts = [k for k in range(first + 1, last) if starts_s[k] - starts_s[k - 1] > trial_s + 1.5 / res4.rate_hz]
        for a, b in pairwise([first, *cuts, last]):
            n = min((b - a) * res4.n_samples, n_valid - a * res4.n_samples)
            if n > 0:
                base = Timebase(rate_hz=res4.rate_hz, start_s=float(starts_s[a]), n_samples=n)
                segments.append(Segment(samples=Blocks(source[a - first : b - first], n), timebase=base))
        first = last
    return segments, starts_s


def _starts(path: Path, res4: Res4, data: Sequence[NDArray[Any]], repairs: list[str]) -> tuple[FloatArray, int]:
    """When each trial starts, by the system clock where there is one; and how many samples were recorded in all."""
    n_trials = sum(len(one) for one in data)
    trial_s = res4.n_samples / res4.rate_hz
    even_s = np.arange(n_trials, dtype=np.float64) * trial_s
    if res4.clock is None:
        if n_trials > 1 and res4.n_before > 0:
            raise FormatError(
                f"{path}: {n_trials} trials around triggers, and no system clock tells when they were recorded; "
                "continuous data are wanted"
            )
        return even_s, n_trials * res4.n_samples
    ticks = np.concatenate([one[:, res4.clock, 0].astype(np.float64) for one in data])
    n_valid = _n_recorded(res4, data, repairs)
    n_begun = -(-n_valid // res4.n_samples)
    starts_s = (ticks - ticks[0]) * res4.channels[res4.clock].gain
    late_s = np.diff(starts_s[:n_begun]) - trial_s
    if (late_s < -1.5 / res4.rate_hz).any():
        repairs.append(Defect("the system clock goes back between trials: taken to follow one another"))
        return even_s, n_valid
    # Ticks are coarser than samples: what follows within one is taken to follow at once.
    follows = np.abs(late_s) <= 1.5 / res4.rate_hz
    found = even_s.copy()
    for k in range(1, n_begun):
        found[k] = found[k - 1] + trial_s if follows[k - 1] else starts_s[k]
    return found, n_valid


def _n_recorded(res4: Res4, data: Sequence[NDArray[Any]], repairs: list[str]) -> int:
    """Samples before the clock is 0, which it is where nothing was recorded any more."""
    n_before = 0
    for source in data:
        for k in range(len(source)):
            stopped = np.flatnonzero(source[k, res4.clock] == 0)
            if stopped.size and n_before + k * res4.n_samples + stopped[0] > 0:
                n = n_before + k * res4.n_samples + int(stopped[0])
                repairs.append(
                    f"the system clock stops after {n} samples: what follows was not recorded and is left out"
                )
                return n
        n_before += len(source) * res4.n_samples
    return n_before


def _averages(path: Path, res4: Res4, data: Sequence[NDArray[Any]], repairs: list[str]) -> list[Stream]:
    trials = [source[k : k + 1] for source in data for k in range(len(source))]
    if len(trials) > MAX_AVERAGES:
        raise FormatError(f"{path}: {len(trials)} averages; up to {MAX_AVERAGES} are wanted")
    repairs.append(f"averages of {res4.n_averaged} trials: time 0 is the event that was averaged over")
    called = classes(path)
    base = Timebase(rate_hz=res4.rate_hz, start_s=-res4.n_before / res4.rate_hz, n_samples=res4.n_samples)
    found: list[Stream] = []
    for k, trial in enumerate(trials):
        name = called.get(k, f"trial {k + 1}")
        stated = {**res4.stated, "average": {"of_trials": res4.n_averaged, "class": name}}
        segment = Segment(samples=Blocks(trial, res4.n_samples), timebase=base)
        signals: list[Signal] = signals_of([segment], res4.channels, repairs, stated=stated)
        found += [replace(s, name=f"{s.name} {name}" if len(trials) > 1 else s.name) for s in signals]
    return found


def _notes(path: Path, res4: Res4, starts_s: FloatArray, repairs: list[str]) -> list[Note]:
    """Markers count from the trigger of their trial, bad segments from its first sample."""
    notes = []
    n_lost = 0
    for trial, time_s, label in markers(path):
        if 0 <= trial < len(starts_s):
            notes.append(Note(float(starts_s[trial]) + res4.n_before / res4.rate_hz + time_s, 0.0, label))
        else:
            n_lost += 1
    for trial, start_s, stop_s in bad_segments(path):
        if 1 <= trial <= len(starts_s) and stop_s >= start_s:
            notes.append(Note(float(starts_s[trial - 1]) + start_s, stop_s - start_s, "bad segment"))
        else:
            n_lost += 1
    if n_lost:
        repairs.append(Defect(f"{n_lost} markers and bad segments in trials that are not there left out"))
    return sorted(notes, key=lambda note: note.onset_s)
