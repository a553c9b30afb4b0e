"""What quality checks and readers found, as sentences.

`Session.quality` maps a stream's name to findings of any shape; what is understood becomes a sentence, what is not is
shown as it is, and nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Signal
from neuroloom.pipeline.review.text import count, number, span
from neuroloom.pipeline.review.timeline import gaps

MOST_FINDINGS = 200
MOST_LISTED = 12
_UNITS = {"ms": "ms", "s": "s", "hz": "Hz", "uV": "µV", "ppm": "ppm", "deg": "°", "px": "px", "percent": "%"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence about a stream, a clock or a file. is_bad: something a reviewer should look at."""

    about: str
    words: str
    is_bad: bool = False


def bad_channels(session: Session, stream: str) -> dict[str, str]:
    """Channel -> why it is bad (maybe ""), from a list of names, a mapping to reasons, or rows with name and reason."""
    found = session.quality.get(stream)
    listed = found.get("bad_channels", ()) if isinstance(found, Mapping) else ()
    if isinstance(listed, Mapping):
        return {str(name): _reason(reason) for name, reason in listed.items()}
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        return {}
    named: dict[str, str] = {}
    for entry in listed:
        if isinstance(entry, Mapping):
            named[str(entry.get("name", entry.get("channel", "?")))] = _reason(entry.get("reason", ""))
        else:
            named[str(entry)] = ""
    return named


def findings(session: Session) -> tuple[Finding, ...]:
    """Everything worth telling, bad things first; at most `MOST_FINDINGS`, the last saying how many more there are."""
    found = [*_of_quality(session), *_of_streams(session), *_of_sources(session)]
    found.sort(key=lambda finding: not finding.is_bad)
    if len(found) > MOST_FINDINGS:
        more = Finding(about="", words=f"{len(found) - MOST_FINDINGS} further findings are not listed here.")
        return (*found[:MOST_FINDINGS], more)
    return tuple(found)


def _of_quality(session: Session) -> Iterator[Finding]:
    for about, found in session.quality.items():
        bad = bad_channels(session, about)
        for name, reason in bad.items():
            yield Finding(
                about=about, words=f"Channel {name} is bad" + (f": {reason}." if reason else "."), is_bad=True
            )
        if not isinstance(found, Mapping):
            yield Finding(about=about, words=_value(found))
            continue
        for key, value in found.items():
            if key != "bad_channels":
                yield from _of_entry(about, str(key), value)


def _of_entry(about: str, key: str, value: object) -> Iterator[Finding]:
    if isinstance(value, Mapping) and value:
        for inner, part in list(value.items())[: MOST_LISTED + 1]:
            yield Finding(about=about, words=f"{_sentence_key(key)}, {inner}: {_value(part)}.")
        return
    name, unit = _split_unit(key)
    shown = _value(value)
    yield Finding(about=about, words=f"{_sentence_key(name)}: {shown}{' ' + unit if unit and shown != 'none' else ''}.")


def _of_streams(session: Session) -> Iterator[Finding]:
    for stream in session.streams:
        if not isinstance(stream, Signal):
            continue
        missing = gaps(stream)
        if missing:
            total_s = sum(stop_s - start_s for start_s, stop_s in missing)
            words = f"{count(len(missing), 'gap')}, {span(total_s)} without samples in all; nothing was filled in."
            yield Finding(about=stream.name, words=words)
        if not stream.segments:
            yield Finding(about=stream.name, words="Holds no samples.", is_bad=True)
    mapped = {clock_map.source for clock_map in session.clock_maps} | {session.clock, ""}
    for device in sorted({stream.device for stream in session.streams} - mapped):
        words = f"No clock map leads to {session.clock}: its times are as the device wrote them."
        yield Finding(about=device, words=words, is_bad=True)


def _of_sources(session: Session) -> Iterator[Finding]:
    for source in session.sources:
        for repair in source.get("repairs", ()):
            yield Finding(
                about=str(source.get("clock", source.get("format", ""))), words=f"Mended in reading: {repair}"
            )


def _reason(reason: object) -> str:
    text = "; ".join(str(part) for part in reason) if isinstance(reason, (list, tuple)) else str(reason or "")
    return text.strip().rstrip(".")


def _value(value: object) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, np.ndarray):
        plain = plain.tolist() if plain.size <= MOST_LISTED else f"{plain.size} values"
    if isinstance(plain, (list, tuple, set, frozenset)):
        listed = [_value(part) for part in list(plain)[:MOST_LISTED]]
        more = f" and {len(plain) - MOST_LISTED} more" if len(plain) > MOST_LISTED else ""
        return ", ".join(listed) + more if listed else "none"
    if isinstance(plain, Mapping):
        return ", ".join(f"{key} {_value(part)}" for key, part in list(plain.items())[:MOST_LISTED]) or "none"
    return number(plain) if isinstance(plain, (int, float)) else str(plain)


def _split_unit(key: str) -> tuple[str, str]:
    name, _, suffix = key.rpartition("_")
    return (name, _UNITS[suffix]) if name and suffix in _UNITS else (key, "")


def _sentence_key(key: str) -> str:
    words = key.removeprefix("n_").replace("_", " ").strip()
    return words[:1].upper() + words[1:]
