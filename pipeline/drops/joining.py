"""A late device joins a published session: its clock, its zero and what it holds stay; a new version adds to it.

    published session (one clock)  +  recordings (each on its own)  ->  the same session with more streams

Pulses that the session already holds relate the newcomers to it, exactly as they would have at first. A drop that
shares a file's name with an earlier one takes the place of that whole drop; devices of other drops stay.

Design rationale: the streams that are there are taken as they are instead of being read again from the originals. A
probe is not sorted twice because gaze came a day later, its companion file is linked instead of copied, and a session
can be joined whose originals have moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.ingest.timebase import ClockMap
from neuroloom.pipeline.clocks.alignment import AlignmentError, PulseMatching
from neuroloom.pipeline.drops.assembly import align, carried_over, maps_to, one_per_clock, source_of


def joined(
    there: Session,
    recordings: Sequence[Recording],
    *,
    same_clock: Sequence[Sequence[str]] = (),
    start_uncertainty_s: float | None = None,
    rule: PulseMatching | None = None,
) -> Session:
    """The session with these recordings in it, not yet saved; the arguments are those of `align`.

    Raises AlignmentError where one of them cannot be proven to have been recorded beside the session.
    """
    files = [file for recording in recordings for file in recording.files]
    kept = _without(there, {file.name for file in files}, files[0])
    if not kept.streams:
        return align(
            recordings, subject=there.subject, session=there.session, task=there.task, run=there.run,
            same_clock=same_clock, start_uncertainty_s=start_uncertainty_s, rule=rule,
        )  # fmt: skip
    devices = _devices(kept)
    home = next(device for device in devices if device.clock == kept.clock)
    newcomers = one_per_clock(recordings, same_clock)
    doubled = sorted({r.clock for r in newcomers} & {device.clock for device in devices})
    if doubled:
        raise AlignmentError(f"{files[0]}: {there.id} has a device {doubled[0]!r} already; another name is wanted")
    known = {device.clock: _stays(kept, device.clock) for device in devices if device is not home}
    maps = maps_to(
        home, [*devices, *newcomers], rule or PulseMatching(), known=known, start_uncertainty_s=start_uncertainty_s
    )
    streams = carried_over(newcomers, maps, taken=kept.stream_names)
    return replace(
        kept,
        streams=(*kept.streams, *streams),
        clock_maps=(*kept.clock_maps, *(maps[recording.clock] for recording in newcomers)),
        sources=(*kept.sources, *(source_of(recording) for recording in newcomers)),
        path=None,
    )


def _devices(session: Session) -> list[Recording]:
    """What each device recorded, all on the session's clock already."""
    return [
        Recording(
            clock=str(source["clock"]),
            format=str(source["format"]),
            files=tuple(Path(name) for name in source["files"]),
            streams=tuple(s for s in session.streams if (s.device or session.clock) == source["clock"]),
            start=session.start if source["clock"] == session.clock else None,
            started_with=_started_with(source),
        )
        for source in session.sources
    ]


def _started_with(source: Mapping[str, Any]) -> tuple[str, float] | None:
    found = source.get("started_with")
    return (str(found[0]), float(found[1])) if found else None


def _stays(session: Session, clock: str) -> ClockMap:
    """From a device's times, which are on the session's clock already, to that clock: nothing moves."""
    fitted = next(m for m in session.clock_maps if m.source == clock)
    span_s = (float(fitted.seconds(fitted.span_s[0])), float(fitted.seconds(fitted.span_s[1])))
    return replace(fitted, offset_s=0.0, drift_ppm=0.0, anchor_s=0.0, span_s=span_s, knots=(), evidence=())


def _without(session: Session, file_names: set[str], path: Path) -> Session:
    """Less the drops that one of these files belonged to."""
    replaced = {source["drop"] for source in session.sources if file_names & set(source["files"])}
    gone = {source["clock"] for source in session.sources if source["drop"] in replaced}
    stays = [source for source in session.sources if source["drop"] not in replaced]
    if stays and session.clock in gone:
        others = ", ".join(sorted(str(source["clock"]) for source in stays))
        raise AlignmentError(
            f"{path}: takes the place of {session.clock}, whose clock {session.id} runs on; {others} came separately: "
            "drop all of them together"
        )
    return replace(
        session,
        streams=tuple(stream for stream in session.streams if (stream.device or session.clock) not in gone),
        clock_maps=tuple(m for m in session.clock_maps if m.source not in gone),
        sources=tuple(stays),
    )
