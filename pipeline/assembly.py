"""Recordings of several devices become one Session: their common pulses are found, and every time is carried over.

recordings, each on its own clock
  -> those that share a clock (a probe's two bands, or as the lab says) become one
  -> a relation that the device itself measured (XDF clock offsets) is taken as it is
  -> pulse lines of each: sync events, then other events, whole and by label
  -> for every pair of lines the map their patterns prove; the best-supported one is kept
  -> where a device shares nothing with the session's own, it may share pulses with one that does
  -> without any pulses, acquisition start times, with their uncertainty stated
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Units
from neuroloom.ingest.timebase import ClockMap, FloatArray
from neuroloom.pipeline.alignment import AlignmentError, PulseMatching, align_pulses
from neuroloom.pipeline.identity import identity

MAX_LINES = 8  # pulse lines tried per device, the fullest first
START_UNCERTAINTY_MS = 1000.0  # headers state the second; what two computers' clocks differ by is not in any file
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
    rule: PulseMatching | None = None,
) -> Session:
    """One session on one clock, time 0 being the first sample of the reference device.

    same_clock: groups of devices that run on one clock although their files do not say so; the first names it.
    reference: clock of the device to go by; by default the one with the widest band of neural data.
    subject, session, task, run: by default from BIDS-like names (`sub-01_ses-02_task-reach_eeg.vhdr`).
    Raises AlignmentError where a device cannot be proven to relate to the others, or two subjects are mixed.
    """
    if not recordings:
        raise AlignmentError("no recordings; at least one is needed")
    names = identity(recordings)
    recordings = one_per_clock(recordings, same_clock)
    home = _reference(recordings, reference)
    zero_s = first_time_s(home)
    maps = maps_to(home, recordings, rule or PulseMatching())
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
    )


def first_time_s(recording: Recording) -> float:
    """Time of the recording's first sample on its own clock; of its first event or spike where it has no samples."""
    signals = [s for s in recording.streams if isinstance(s, Signal) and s.segments]
    starts = [_start_s(stream) for stream in (signals or recording.streams)]
    return min((start for start in starts if start is not None), default=0.0)


def pulse_lines(recording: Recording) -> dict[str, FloatArray]:
    """Times of everything in a recording that another device may have seen too, by name: shapes (P,), seconds."""
    lines: dict[str, FloatArray] = {}
    for stream in sorted((s for s in recording.streams if isinstance(s, Events)), key=lambda s: s.modality != "sync"):
        lines[stream.name] = stream.times_s
        labels = sorted(set(stream.labels))
        if 1 < len(labels) <= 64:
            lines |= {f"{stream.name} {label}": stream.labelled(label).times_s for label in labels}
    fullest = sorted(lines, key=lambda name: -lines[name].size)[:MAX_LINES]
    return {name: lines[name] for name in fullest}


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
) -> dict[str, ClockMap]:
    """A map to the home clock for every other device, directly or by way of another one.

    known: maps of devices that are placed already. Raises AlignmentError for a device that cannot be placed.
    """
    maps: dict[str, ClockMap] = dict(known or {})
    waiting = [r for r in recordings if r is not home and r.clock not in maps]
    placed = [home, *(r for r in recordings if r.clock in maps)]
    reasons: dict[str, str] = {}
    while waiting:
        progressed = False
        for recording in list(waiting):
            for other in placed:
                try:
                    found = _between(recording, other, rule)
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
                maps[recording.clock] = _by_start_times(recording, home, reasons.get(recording.clock, ""))
            return maps
    return maps


def _between(recording: Recording, other: Recording, rule: PulseMatching) -> ClockMap:
    """The map with the most evidence over all pairs of pulse lines.

    Evidence is pulses matched times the share of both lines that they are: many pulses count for more than few, and
    the line of the pulses alone for more than one that mixes them with other events.
    """
    if _counts_from_first_sample(recording, other):
        return replace(
            _shift(recording, first_time_s(other)), target=other.clock, method="onsets from its first sample"
        )
    if _counted_from(recording) is not None and _counted_from(recording) == _counted_from(other):
        return replace(_shift(recording, 0.0), target=other.clock, method="both count from one first sample")
    mine, theirs = recording.leads_to, other.leads_to
    if mine is not None and theirs is not None and mine.target == theirs.target:
        return through(mine, theirs.inverse())
    lines, others = pulse_lines(recording), pulse_lines(other)
    if not lines or not others:
        lacking = recording if not lines else other
        raise AlignmentError(f"{lacking.files[0].name}: no pulses or events; shared pulses are needed")
    best: ClockMap | None = None
    reason = ""
    for (name, times), (other_name, other_times) in product(lines.items(), others.items()):
        if best is not None and _most_evidence(times.size, other_times.size) <= _evidence(best):
            continue
        try:
            found = align_pulses(times, other_times, source=recording.clock, target=other.clock, rule=rule)
        except AlignmentError as error:
            reason = reason or str(error)
            continue
        if best is None or _evidence(found) > _evidence(best):
            best = replace(found, method=f"{found.method} ({name} = {other_name})")
    if best is None:
        raise AlignmentError(f"{recording.files[0].name}: no pulse pattern shared with {other.files[0].name}: {reason}")
    return best


def _evidence(found: ClockMap) -> float:
    return 2 * found.n_matched**2 / max(2 * found.n_matched + found.n_lost + found.n_extra, 1)


def _most_evidence(n_pulses: int, n_others: int) -> float:
    return 2 * min(n_pulses, n_others) ** 2 / max(n_pulses + n_others, 1)


def _counted_from(recording: Recording) -> str | None:
    """BIDS: times in `X_events.tsv` and `X_recording-Y_physio.tsv.gz` count from the first sample of `X_eeg.*`; X."""
    said = re.fullmatch(r"(.+?)(?:_recording-[A-Za-z0-9+]+)?_(?:events|physio|stim)\..*", recording.files[0].name)
    return said[1] if said else None


def _counts_from_first_sample(recording: Recording, other: Recording) -> bool:
    stem = _counted_from(recording)
    return stem is not None and _counted_from(other) is None and other.files[0].name.startswith(stem + "_")


def _by_start_times(recording: Recording, home: Recording, reason: str) -> ClockMap:
    if recording.start is None or home.start is None:
        raise AlignmentError(f"{reason}; and no start times to fall back on")
    if (recording.start.tzinfo is None) != (home.start.tzinfo is None):
        raise AlignmentError(f"{reason}; and start times of which only one states its time zone")
    offset_s = (recording.start - home.start).total_seconds() + first_time_s(home) - first_time_s(recording)
    found = replace(_shift(recording, offset_s), target=home.clock, method="acquisition start times")
    start_s, stop_s = (float(found.seconds(t)) for t in found.span_s)
    if stop_s < first_time_s(home) or start_s > _last_time_s(home):
        raise AlignmentError(f"{reason}; and by their start times the two did not run at the same time")
    return replace(found, residual_ms=START_UNCERTAINTY_MS)


def through(first: ClockMap, second: ClockMap) -> ClockMap:
    """One map for two in a row; their residuals add as independent errors."""
    offset_s = float(second.seconds(first.seconds(first.anchor_s))) - first.anchor_s
    return replace(
        first,
        target=second.target,
        offset_s=offset_s,
        drift_ppm=(first.slope * second.slope - 1) * 1e6,
        residual_ms=(first.residual_ms**2 + second.residual_ms**2) ** 0.5,
        method=f"{first.method}, by way of {first.target}",
    )


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
        "repairs": list(recording.repairs),
        "start": recording.start.isoformat() if recording.start else None,
        "subject": dict(recording.subject),
    }
