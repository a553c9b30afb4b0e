"""Recordings of several devices become one Session: their common pulses are found, and every time is carried over.

recordings, each on its own clock
  -> those that share a clock (a probe's two bands, or as the lab says) become one
  -> a relation that the device itself measured (XDF clock offsets) is taken as it is
  -> pulse lines of each: events, messages, analog pulses, barcodes (`pulse_lines.py`)
  -> the pair of lines that proves most, and the map it proves (`discovery.py`)
  -> where a device shares nothing with the session's own, it may share pulses with one that does
  -> without any pulses, acquisition start times, with their uncertainty stated
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from neuroloom.ingest.clock_map import through
from neuroloom.ingest.ledger import entries
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Units
from neuroloom.ingest.timebase import ClockMap
from neuroloom.pipeline.clocks.alignment import AlignmentError, PulseMatching
from neuroloom.pipeline.clocks.discovery import StartPrior, shared_map
from neuroloom.pipeline.clocks.pulse_lines import PulseLine, pulse_lines
from neuroloom.pipeline.drops.identity import identity

UNKNOWN_DRIFT_PPM = 50.0  # two quartz clocks, where only their start is known
# The session runs on the clock of the device whose samples matter most to the millisecond.
REFERENCE_ORDER = ("wideband", "lfp", "units", "ieeg", "eeg", "meg", "fnirs")


def align(
    recordings: Sequence[Recording],
    *,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    run: str | None = None,
    reference: str | None = None,
    same_clock: Sequence[Sequence[str]] = (),
    start_uncertainty_s: float | None = None,
    rule: PulseMatching | None = None,
) -> Session:
    """One session on one clock, time 0 being the first sample of the reference device.

    same_clock: groups of devices that run on one clock although their files do not say so; the first names it.
    reference: clock of the device to go by; by default the one with the widest band of neural data.
    start_uncertainty_s: how far off the devices' start times may be against each other, where the lab knows it better
        than the files do (computers whose clocks are kept together).
    subject, session, task, run: by default from BIDS-like names (`sub-01_ses-02_task-reach_eeg.vhdr`).
    Raises AlignmentError where a device cannot be proven to relate to the others, or two subjects are mixed.
    """
    if not recordings:
        raise AlignmentError("no recordings; at least one is needed")
    names = identity(recordings, is_told=subject is not None)
    recordings = one_per_clock(recordings, same_clock)
    home = _reference(recordings, reference)
    zero_s = first_time_s(home)
    maps = maps_to(home, recordings, rule or PulseMatching(), start_uncertainty_s=start_uncertainty_s)
    shifted = {clock: replace(m, offset_s=m.offset_s - zero_s) for clock, m in maps.items()}
    shifted[home.clock] = _shift(home, -zero_s)
    return Session(
        subject=subject or names["sub"],
        session=session or names["ses"],
        task=names["task"] if task is None else task,
        run=names["run"] if run is None else run,
        clock=home.clock,
        start=home.start,
        streams=carried_over(recordings, shifted),
        clock_maps=tuple(m for clock, m in shifted.items() if clock != home.clock),
        sources=tuple(source_of(recording) for recording in recordings),
    )


def one_per_clock(recordings: Sequence[Recording], same_clock: Sequence[Sequence[str]] = ()) -> list[Recording]:
    """Recordings of one clock taken together; streams of one name get that of their file in front.

    Raises AlignmentError where `same_clock` names a device that is not there.
    """
    known = [recording.clock for recording in recordings]
    renamed = {name: group[0] for group in same_clock for name in group}
    missing = sorted(set(renamed) - set(known))
    if missing:
        raise AlignmentError(f"{recordings[0].files[0].parent}: no device {missing[0]!r}; there are {known}")
    together: dict[str, list[Recording]] = {}
    for recording in recordings:
        together.setdefault(renamed.get(recording.clock, recording.clock), []).append(recording)
    return [_together(clock, parts) for clock, parts in together.items()]


def _together(clock: str, parts: Sequence[Recording]) -> Recording:
    if len(parts) == 1:
        return replace(parts[0], clock=clock)
    names = [stream.name for part in parts for stream in part.streams]
    streams = [
        stream if names.count(stream.name) == 1 else replace(stream, name=f"{part.files[0].stem} {stream.name}")
        for part in parts
        for stream in part.streams
    ]
    return Recording(
        clock=clock,
        format=", ".join(dict.fromkeys(part.format for part in parts)),
        files=tuple(dict.fromkeys(file for part in parts for file in part.files)),
        streams=tuple(streams),
        start=min((part for part in parts if part.start is not None), key=first_time_s, default=parts[0]).start,
        repairs=tuple(repair for part in parts for repair in part.repairs),
        subject=next((part.subject for part in parts if part.subject), {}),
        leads_to=next((part.leads_to for part in parts if part.leads_to is not None), None),
        start_uncertainty_s=max(part.start_uncertainty_s for part in parts),
        started_with=next((part.started_with for part in parts if part.started_with is not None), None),
    )


def first_time_s(recording: Recording) -> float:
    """Time of the recording's first sample on its own clock; of its first event or spike where it has no samples."""
    signals = [s for s in recording.streams if isinstance(s, Signal) and s.segments]
    starts = [_start_s(stream) for stream in (signals or recording.streams)]
    return min((start for start in starts if start is not None), default=0.0)


def _reference(recordings: Sequence[Recording], name: str | None) -> Recording:
    if name is not None:
        for recording in recordings:
            if recording.clock == name:
                return recording
        raise AlignmentError(f"no device {name!r}; there are {[r.clock for r in recordings]}")

    def rank(recording: Recording) -> tuple[int, int]:
        held = [s.modality for s in recording.streams]
        best = min((REFERENCE_ORDER.index(m) for m in held if m in REFERENCE_ORDER), default=len(REFERENCE_ORDER))
        return best, -max((s.n_samples for s in recording.streams if isinstance(s, Signal)), default=0)

    return min(recordings, key=rank)


def maps_to(
    home: Recording,
    recordings: Sequence[Recording],
    rule: PulseMatching,
    *,
    known: Mapping[str, ClockMap] | None = None,
    start_uncertainty_s: float | None = None,
) -> dict[str, ClockMap]:
    """A map to the home clock for every other device, directly or by way of another one.

    known: maps of devices that are placed already. start_uncertainty_s: as for `align`.
    Raises AlignmentError for a device that cannot be placed.
    """
    finder = _Finder(rule, start_uncertainty_s)
    maps: dict[str, ClockMap] = dict(known or {})
    waiting = [r for r in recordings if r is not home and r.clock not in maps]
    placed = [home, *(r for r in recordings if r.clock in maps)]
    reasons: dict[str, str] = {}
    while waiting:
        progressed = False
        for recording in list(waiting):
            for other in placed:
                try:
                    found = finder.between(recording, other)
                except AlignmentError as error:
                    reasons.setdefault(recording.clock, str(error))
                    continue
                maps[recording.clock] = found if other is home else through(found, maps[other.clock])
                waiting.remove(recording)
                placed.append(recording)
                progressed = True
                break
        if not progressed:
            for recording in waiting:
                maps[recording.clock] = finder.by_start_times(recording, home, reasons.get(recording.clock, ""))
            return maps
    return maps


class _Finder:
    """Finds the map between two devices; looks for a device's pulse lines once."""

    def __init__(self, rule: PulseMatching, start_uncertainty_s: float | None) -> None:
        self.rule, self.start_uncertainty_s = rule, start_uncertainty_s
        self._lines: dict[str, tuple[PulseLine, ...]] = {}

    def between(self, recording: Recording, other: Recording) -> ClockMap:
        """The map from one to the other. Raises AlignmentError where nothing proves one."""
        if _counts_from_first_sample(recording, other):
            return replace(
                _shift(recording, first_time_s(other)), target=other.clock, method="onsets from its first sample"
            )
        if _counted_from(recording) is not None and _counted_from(recording) == _counted_from(other):
            return replace(_shift(recording, 0.0), target=other.clock, method="both count from one first sample")
        mine, theirs = recording.leads_to, other.leads_to
        if mine is not None and theirs is not None and mine.target == theirs.target:
            return through(mine, theirs.inverse())
        lines, others = self._lines_of(recording), self._lines_of(other)
        if not lines or not others:
            lacking = recording if not lines else other
            raise AlignmentError(f"{lacking.files[0].name}: no pulses or events; shared pulses are needed")
        try:
            return shared_map(
                lines,
                others,
                source=recording.clock,
                target=other.clock,
                rule=self.rule,
                prior=self._start_prior(recording, other),
            )
        except AlignmentError as error:
            raise AlignmentError(
                f"{recording.files[0].name}: no pulse pattern shared with {other.files[0].name}: {error}"
            ) from error

    def by_start_times(self, recording: Recording, home: Recording, reason: str) -> ClockMap:
        """The map that start times give. Raises AlignmentError where these are not known, or exclude each other."""
        prior = self._start_prior(recording, home)
        if prior is None and (recording.start is None or home.start is None):
            raise AlignmentError(f"{reason}; and no start times to fall back on")
        if prior is None:
            raise AlignmentError(f"{reason}; and start times of which only one states its time zone")
        found = replace(_shift(recording, prior.offset_s), target=home.clock, method="acquisition start times")
        start_s, stop_s = (float(found.seconds(t)) for t in found.span_s)
        if stop_s < first_time_s(home) or start_s > _last_time_s(home):
            raise AlignmentError(f"{reason}; and by their start times the two did not run at the same time")
        return replace(
            found,
            residual_ms=prior.uncertainty_s * 1e3,
            evidence=((prior.at_s, 0.0),),  # known best where it began; from there on the clocks drift apart
            wander_ppm=UNKNOWN_DRIFT_PPM,
            notes=(f"start times are all there is: {reason}",) if reason else (),
        )

    def _lines_of(self, recording: Recording) -> tuple[PulseLine, ...]:
        if recording.clock not in self._lines:
            self._lines[recording.clock] = pulse_lines(recording)
        return self._lines[recording.clock]

    def _start_prior(self, recording: Recording, other: Recording) -> StartPrior | None:
        """What start times say, None where they are not known or cannot be compared."""
        mine, theirs = first_time_s(recording), first_time_s(other)
        together, with_it = recording.started_with, other.started_with
        if together is not None and with_it is not None and together[0] == with_it[0]:
            uncertainty_s = max(together[1], with_it[1])
            return StartPrior(offset_s=theirs - mine, uncertainty_s=uncertainty_s, at_s=mine)
        apart_s = seconds_between(other.start, recording.start)
        if apart_s is None:
            return None
        stated_s = max(recording.start_uncertainty_s, other.start_uncertainty_s)
        known_s = stated_s if self.start_uncertainty_s is None else self.start_uncertainty_s
        return StartPrior(offset_s=apart_s + theirs - mine, uncertainty_s=known_s, at_s=mine)


def seconds_between(one: datetime | None, other: datetime | None) -> float | None:
    """From one to the other; None where one is not known, or only one has a time zone."""
    if one is None or other is None or (one.tzinfo is None) != (other.tzinfo is None):
        return None
    return (other - one).total_seconds()


def _counted_from(recording: Recording) -> str | None:
    """BIDS: times in `X_events.tsv` and `X_recording-Y_physio.tsv.gz` count from the first sample of `X_eeg.*`; X."""
    said = re.fullmatch(r"(.+?)(?:_recording-[A-Za-z0-9+]+)?_(?:events|physio|stim)\..*", recording.files[0].name)
    return said[1] if said else None


def _counts_from_first_sample(recording: Recording, other: Recording) -> bool:
    stem = _counted_from(recording)
    return stem is not None and _counted_from(other) is None and other.files[0].name.startswith(stem + "_")


def _shift(recording: Recording, offset_s: float) -> ClockMap:
    return ClockMap(
        source=recording.clock,
        target=recording.clock,
        offset_s=offset_s,
        span_s=(first_time_s(recording), _last_time_s(recording)),
        residual_ms=0.0,
        n_matched=0,
        n_lost=0,
        n_extra=0,
        method="own clock",
    )


def _start_s(stream: Stream) -> float | None:
    match stream:
        case Signal():
            return stream.start_s if stream.segments else None
        case Events():
            return float(stream.times_s[0]) if stream.times_s.size else None
        case Intervals():
            return float(stream.bounds_s[:, 0].min()) if stream.bounds_s.size else None
        case Units():
            return min((float(t[0]) for t in stream.spike_times_s if t.size), default=None)


def _stop_s(stream: Stream) -> float | None:
    match stream:
        case Signal():
            return stream.stop_s if stream.segments else None
        case Events():
            return float(stream.times_s[-1]) if stream.times_s.size else None
        case Intervals():
            return float(stream.bounds_s[:, 1].max()) if stream.bounds_s.size else None
        case Units():
            return max((float(t[-1]) for t in stream.spike_times_s if t.size), default=None)


def _last_time_s(recording: Recording) -> float:
    stops = [_stop_s(stream) for stream in recording.streams]
    return max((stop for stop in stops if stop is not None), default=0.0)


def length_s(recording: Recording) -> float:
    """From its first sample to its last, seconds."""
    return _last_time_s(recording) - first_time_s(recording)


def carried_over(
    recordings: Sequence[Recording], maps: Mapping[str, ClockMap], *, taken: Sequence[str] = ()
) -> tuple[Stream, ...]:
    """Every stream on the session clock; one whose name is `taken` or occurs twice gets its device's in front."""
    names = [*taken, *(stream.name for recording in recordings for stream in recording.streams)]
    carried: list[Stream] = []
    for recording in recordings:
        for stream in recording.streams:
            name = stream.name if names.count(stream.name) == 1 else f"{recording.clock} {stream.name}"
            carried.append(replace(stream.on(maps[recording.clock]), name=name, device=recording.clock))
    return tuple(carried)


def source_of(recording: Recording) -> dict[str, Any]:
    """What a session keeps of where a recording came from; digests are added by whoever reads the files."""
    return {
        "clock": recording.clock,
        "format": recording.format,
        "files": [file.name for file in recording.files],
        "repairs": entries(recording.repairs),
        "start": recording.start.isoformat() if recording.start else None,
        "subject": dict(recording.subject),
    } | ({} if recording.started_with is None else {"started_with": list(recording.started_with)})
