"""What quality checks and readers found: sentences for what stands out, a table for all that was measured.

`Session.quality` holds per stream what `ingest.quality.quality` gives: bad channels with reasons, notes, and numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroloom.ingest.ledger import is_defect, told
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Signal
from neuroloom.pipeline.clocks.crosschecks import contradicted
from neuroloom.pipeline.review.text import listed, number

MOST_FINDINGS = 200
MOST_LISTED = 12
SUMMARY = ("bad_channels", "reasons", "notes")  # all else in a stream's quality is numbers, by check
_UNITS = {"ms": "ms", "s": "s", "hz": "Hz", "uV": "µV", "ppm": "ppm", "deg": "°", "px": "px", "percent": "%"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence about a stream, a clock or a file. is_bad: something a reviewer should look at."""

    about: str
    words: str
    is_bad: bool = False


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number that a check measured, or the spread of one per channel, as text."""

    check: str
    name: str
    value: str


def bad_channels(session: Session, stream: str) -> dict[str, str]:
    """Channel -> why it is bad, of one stream."""
    found = session.quality.get(stream, {})
    reasons = found.get("reasons", {})
    return {str(name): "; ".join(map(str, reasons.get(name, ()))) for name in found.get("bad_channels", ())}


def findings(session: Session) -> tuple[Finding, ...]:
    """Everything worth telling, bad things first; at most `MOST_FINDINGS`, the last saying how many more there are."""
    found = [*_of_quality(session), *_of_clocks(session), *_of_streams(session), *_of_sources(session)]
    found.sort(key=lambda finding: not finding.is_bad)
    if len(found) > MOST_FINDINGS:
        more = Finding(about="", words=f"{len(found) - MOST_FINDINGS} further findings are not listed here.")
        return (*found[:MOST_FINDINGS], more)
    return tuple(found)


def measures(session: Session, stream: str) -> tuple[Measure, ...]:
    """What every check measured on one stream."""
    found = session.quality.get(stream, {})
    return tuple(
        Measure(check=str(check), name=_words(name), value=_shown(name, value))
        for check, values in found.items()
        if check not in SUMMARY and isinstance(values, Mapping)
        for name, value in _flat(values)
    )


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name} ")
        else:
            yield f"{before}{name}", value


def _of_quality(session: Session) -> Iterator[Finding]:
    for about, found in session.quality.items():
        for name, reason in bad_channels(session, about).items():
            yield Finding(
                about=about, words=f"Channel {name} is bad" + (f": {reason}." if reason else "."), is_bad=True
            )
        for note in found.get("notes", ()):
            words = str(note)
            yield Finding(about=about, words=f"{words[:1].upper()}{words[1:]}.")


def _of_clocks(session: Session) -> Iterator[Finding]:
    for clock in session.clock_maps:
        for check in contradicted(clock):
            words = f"Its clock map is contradicted by {check.kind}: {check.words}"
            yield Finding(about=clock.source, words=words, is_bad=True)
        for note in clock.notes:
            yield Finding(about=clock.source, words=f"{note[:1].upper()}{note[1:]}.")


def _of_streams(session: Session) -> Iterator[Finding]:
    for modality in session.missing:
        yield Finding(about="session", words=f"{modality} is expected and not here yet.", is_bad=True)
    for stream in session.streams:
        if isinstance(stream, Signal) and not stream.segments:
            yield Finding(about=stream.name, words="Holds no samples.", is_bad=True)
    mapped = {clock_map.source for clock_map in session.clock_maps} | {session.clock, ""}
    for device in sorted({stream.device for stream in session.streams} - mapped):
        words = f"No clock map leads to {session.clock}: its times are as the device wrote them."
        yield Finding(about=device, words=words, is_bad=True)


def _of_sources(session: Session) -> Iterator[Finding]:
    for source in session.sources:
        about = str(source.get("clock", source.get("format", "")))
        for entry in source.get("repairs", ()):
            what = "Mended in reading" if is_defect(entry) else "Of the reading"
            yield Finding(about=about, words=f"{what}: {told(entry)}")
        if unread := [str(name) for name in source.get("unread", ())]:
            yield Finding(about="", words=f"Beside it lay what nothing here reads: {listed(unread)}.")


def _shown(name: str, value: Any) -> str:
    """A value as text: one per channel as its median and its span."""
    _, unit = _split_unit(name)
    if isinstance(value, list) and value and all(v is None or isinstance(v, int | float) for v in value):
        known = np.array([v for v in value if v is not None], dtype=np.float64)
        if not known.size:
            return "not known"
        if len(value) > 1:
            low, middle, high = (number(float(v)) for v in (known.min(), np.median(known), known.max()))
            return f"{middle} (median of {len(value)}; {low} to {high})" + (f" {unit}" if unit else "")
        value = float(known[0])
    if isinstance(value, list):
        listed = ["–".join(map(str, v)) if isinstance(v, list) else str(v) for v in value[:MOST_LISTED]]
        more = f" and {len(value) - MOST_LISTED} more" if len(value) > MOST_LISTED else ""
        return ", ".join(listed) + more if listed else "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    shown = number(value) if isinstance(value, int | float) else str(value)
    return f"{shown} {unit}" if unit else shown


def _split_unit(key: str) -> tuple[str, str]:
    name, _, suffix = key.rpartition("_")
    return (name, _UNITS[suffix]) if name and suffix in _UNITS else (key, "")


def _words(key: str) -> str:
    name, _ = _split_unit(key)
    return name.replace("_", " ").strip()
