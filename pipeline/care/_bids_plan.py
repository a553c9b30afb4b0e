"""What of a session goes where in a BIDS dataset, and what its files are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroloom.ingest._nwb_layout import VOLTS
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal
from neuroloom.ingest.timebase import Timebase

DATATYPES = {"eeg": "eeg", "ieeg": "ieeg", "lfp": "ieeg"}  # of what has a file of its own
ORDER = ("eeg", "ieeg", "emg")  # onsets count from the first of them
BESIDE = ("eog", "ecg", "emg")  # recorded with another on one clock, at one rate, they are channels of its file
EYES = ("gaze", "pupil")


@dataclass(frozen=True, kw_only=True)
class File:
    """Signals of one clock and rate that make one recording of a dataset, the one it is named after first."""

    datatype: str
    signals: tuple[Signal, ...]

    @property
    def first(self) -> Signal:
        return self.signals[0]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What goes where. files: the one that onsets count from first."""

    files: tuple[File, ...]
    physio: tuple[tuple[Signal, ...], ...]
    left_out: dict[str, str]


def plan_of(session: Session) -> Plan:
    """A place for each stream that BIDS has one for, and why the others have none."""
    left_out: dict[str, str] = {}
    electric: list[Signal] = []
    slow: list[Signal] = []
    for stream in session.streams:
        if isinstance(stream, Events | Intervals):
            continue
        if why := _why_not(stream):
            left_out[stream.name] = f"{why}; it is in sourcedata"
        elif isinstance(stream, Signal):
            (slow if stream.modality in EYES else electric).append(stream)
    files: list[File] = []
    beside = [signal for signal in electric if signal.modality in BESIDE]
    for signal in electric:
        if signal.modality in DATATYPES:
            mine = [other for other in beside if _is_together(signal, other)]
            beside = [other for other in beside if not any(other is one for one in mine)]
            files.append(File(datatype=DATATYPES[signal.modality], signals=(signal, *mine)))
    files += [File(datatype="emg", signals=(signal,)) for signal in beside if signal.modality == "emg"]
    slow += [signal for signal in beside if signal.modality != "emg"]
    files.sort(key=lambda one: (one.first.device != session.clock, ORDER.index(one.datatype)))
    return Plan(files=tuple(files), physio=tuple(_in_tables(slow)), left_out=left_out)


def _in_tables(signals: Sequence[Signal]) -> Iterator[tuple[Signal, ...]]:
    """What lies in one table: gaze and the pupil that was seen with it; all else by itself."""
    rest = list(signals)
    while rest:
        first = rest.pop(0)
        mine = [s for s in rest if first.modality in EYES and s.modality in EYES and _is_together(first, s)]
        rest = [signal for signal in rest if not any(signal is one for one in mine)]
        yield (first, *mine)


def _why_not(stream: Any) -> str:
    """Why a stream has no place in the dataset, "" where it has one."""
    if not isinstance(stream, Signal) or stream.modality not in (*DATATYPES, *BESIDE, *EYES):
        return f"{stream.modality} is not handed on as BIDS"
    if not stream.segments or not stream.channel_names:
        return "holds no samples"
    if stream.provenance.get("replaces"):
        return f"computed here of {stream.provenance['replaces']}; BIDS keeps that among derivatives"
    if stream.modality in EYES:
        return ""
    if stream.unit not in VOLTS:
        return f"is in {stream.unit}; BIDS wants volts of {stream.modality}"
    if not all(isinstance(segment.timebase, Timebase) for segment in stream.segments):
        return "has times of its own instead of one rate, which BIDS has no place for"
    return ""


def _is_together(one: Signal, other: Signal) -> bool:
    """Whether two signals were recorded on one clock, at the same moments."""
    times, others = ([segment.timebase for segment in signal.segments] for signal in (one, other))
    return one.device == other.device and times == others


def folder_of(session: Session) -> Path:
    """`sub-01/ses-01`, in the dataset."""
    return Path(f"sub-{session.subject}", f"ses-{session.session}")


def stem_of(session: Session, datatype: str, acquisition: str | None, run: str | None) -> str:
    """`sub-01_ses-01_task-rest`, with an acquisition and a run where there are any; MNE-BIDS checks it."""
    import mne_bids

    path = mne_bids.BIDSPath(
        subject=session.subject,
        session=session.session,
        task=plain(session.task or "rest"),
        acquisition=acquisition,
        run=run,
        datatype=datatype,
    )
    return str(path.basename)


def plain(name: str) -> str:
    """A name in letters and digits, as BIDS wants it."""
    return "".join(c for c in name if c.isalnum()) or "signal"


def run_of(session: Session, number: int, n_segments: int) -> str | None:
    """The run of a segment; of a session that is a run itself 1 becomes 101, 102 and so on."""
    if n_segments == 1:
        return session.run or None
    return f"{session.run}{number:02d}" if session.run else str(number)


def stems_of(session: Session, one: File, plan: Plan) -> list[str]:
    """A stem per segment of a recording."""
    several = sum(other.datatype == one.datatype for other in plan.files) > 1
    acquisition = plain(one.first.name) if several else None
    n = len(one.first.segments)
    return [stem_of(session, one.datatype, acquisition, run_of(session, k, n)) for k in range(1, n + 1)]
