"""Other evidence than pulses for or against a clock map, from what two devices both saw of the same person and room.

    blinks              an eye tracker loses the eye while electrodes near it see the lid move
    saccadic spikes     eye muscles fire at the onset of a saccade (Keren et al. 2010, NeuroImage 49:2248)
    mains hum           both hear the same 50 or 60 Hz: its phase must not run apart (drift only, no offset)
    start times         what the devices' own dates say

Each says by how much the map's times come out too late, how well it knows that, and whether it confirms the map,
contradicts it, or cannot tell. `checked` keeps what they say with the maps. Nothing is corrected: pulses are better
evidence for how much, these for whether at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import ClockMap, CrossCheck
from neuroloom.pipeline.clocks._crosscheck_eyes import blink_check, saccade_check
from neuroloom.pipeline.clocks._crosscheck_hum import hum_check
from neuroloom.pipeline.clocks.discovery import PULSE_EDGES

CLOSE_S = 2.0  # start times of second precision on computers that are kept on time
ANOTHER_DAY_S = 13 * 3600.0  # no time zone explains more
FIRST_YEAR = 1986  # dates before were blanked (EDF: 1985), or a clock was never set, or shifted from such a date


def checked(session: Session) -> Session:
    """The session with what the checks say kept in its clock maps, after what finding the map has said."""
    maps = tuple(replace(clock, checks=(*_of_finding(clock), *_checks(session, clock))) for clock in session.clock_maps)
    return replace(session, clock_maps=maps)


def _of_finding(clock: ClockMap) -> tuple[CrossCheck, ...]:
    """What finding the map has said; what these checks said of an earlier version of the session is said anew."""
    return tuple(check for check in clock.checks if check.kind == PULSE_EDGES)


def _checks(session: Session, clock: ClockMap) -> Iterator[CrossCheck]:
    """Each device is checked against the session's own, and against those mapped before it."""
    others = [session.clock]
    for before in session.clock_maps:
        if before.source == clock.source:
            break
        others.append(before.source)
    for other in others:
        for check in (blink_check, saccade_check, hum_check):
            found = check(session, clock, other)
            if found is not None:
                yield found
    by_dates = _start_check(session, clock)
    if by_dates is not None:
        yield by_dates


def _start_check(session: Session, clock: ClockMap) -> CrossCheck | None:
    """The first sample of a device where its date puts it, against where the map does."""
    started = {str(source.get("clock", "")): _date(source.get("start")) for source in session.sources}
    mine, home = started.get(clock.source), started.get(session.clock)
    firsts = {s.device: s.start_s for s in reversed(session.streams) if isinstance(s, Signal) and s.segments}
    if mine is None or home is None or clock.source not in firsts or "start times" in clock.method:
        return None
    if (mine.tzinfo is None) != (home.tzinfo is None) or min(mine.year, home.year) < FIRST_YEAR:
        return None
    lag_s = firsts[clock.source] - firsts.get(session.clock, 0.0) - (mine - home).total_seconds()
    common: dict[str, Any] = {"kind": "start times", "against": session.clock, "lag_ms": lag_s * 1e3}
    if abs(lag_s) <= CLOSE_S:
        words = f"The devices' own start times agree with the map to {abs(lag_s):.1f} s."
        return CrossCheck(verdict="confirms", uncertainty_ms=CLOSE_S * 1e3, words=words, **common)
    if abs(lag_s) < ANOTHER_DAY_S:
        words = (
            f"The devices' own start times are {abs(lag_s):.0f} s off the map: one of their clocks or zones is wrong."
        )
        return CrossCheck(verdict="cannot tell", uncertainty_ms=CLOSE_S * 1e3, words=words, **common)
    days = abs(lag_s) / 86400
    words = f"By their start times the devices ran {days:.1f} days apart: are these recordings of one session?"
    return CrossCheck(verdict="contradicts", uncertainty_ms=CLOSE_S * 1e3, words=words, **common)


def _date(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None


def contradicted(clock: ClockMap) -> tuple[CrossCheck, ...]:
    """The checks that speak against a map."""
    return tuple(check for check in clock.checks if check.verdict == "contradicts")
