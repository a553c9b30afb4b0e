"""Whether a file that comes under a name which a session has already is that recording again, or another one.

A recording that was mended, or that has grown, takes the place of the one before. Devices call their files alike,
though, and two animals' `recording.edf` must not follow each other as versions of one session. So it is taken for the
same where

    the lab has named subject and session                it says so itself
    it begins with the same samples, or the same events  and where nothing names the subject no date contradicts it
    the lab has named the subject                        and both began within its length
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Signal, Stream
from neuroloom.pipeline.drops.assembly import length_s, seconds_between
from neuroloom.pipeline.drops.persons import unlike_there

N_SAMPLES, N_EVENTS = 200, 10  # of the beginning that are compared
SHORTEST_S = 1.0  # as exactly as headers have a start


def objection(there: Session, recordings: Sequence[Recording], *, subject_told: bool, session_told: bool) -> str:
    """Why these recordings are not what the session holds already, "" where they are, or are others of it."""
    if what := unlike_there(recordings, there.sources):
        return what
    if subject_told and session_told:
        return ""
    for recording in recordings:
        names = {file.name for file in recording.files}
        for source in there.sources:
            is_it = names & set(source["files"]) and source["clock"] == recording.clock
            if is_it and not _is_same(there, source, recording, subject_told):
                return f"{recording.files[0].name} begins otherwise than the one before"
    return ""


def _is_same(there: Session, source: Mapping[str, Any], recording: Recording, subject_told: bool) -> bool:
    before = datetime.fromisoformat(source["start"]) if source.get("start") else None
    apart_s = seconds_between(before, recording.start)
    if apart_s is not None:
        at_once = abs(apart_s) <= max(length_s(recording), SHORTEST_S)
        if at_once == subject_told:  # both speak for it, or both against
            return at_once
    return _begin_alike(there, recording)


def _begin_alike(there: Session, recording: Recording) -> bool:
    """Whether every stream that both have begins in the same way, and there is one."""
    mine = {name: stream for stream in recording.streams for name in (stream.name, f"{recording.clock} {stream.name}")}
    pairs = [
        (stream, mine[stream.name])
        for stream in there.streams
        if stream.name in mine and (stream.device or there.clock) == recording.clock
    ]
    found = [is_alike for one, other in pairs if (is_alike := _alike(one, other)) is not None]
    return bool(found) and all(found)


def _alike(one: Stream, other: Stream) -> bool | None:
    """None where neither tells."""
    if isinstance(one, Signal) and isinstance(other, Signal):
        if not (one.segments and other.segments) or one.channel_names != other.channel_names:
            return False
        mine, theirs = (np.asarray(signal.segments[0].samples[:N_SAMPLES]) for signal in (one, other))
        n = min(len(mine), len(theirs))
        return bool(np.array_equal(mine[:n], theirs[:n], equal_nan=mine.dtype.kind == "f"))
    if isinstance(one, Events) and isinstance(other, Events):
        n = min(len(one.labels), len(other.labels), N_EVENTS)
        return one.labels[:n] == other.labels[:n] if n else None
    return None
