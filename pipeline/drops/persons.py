"""Whether recordings can be of one person, as far as their headers tell: two people never become one session.

    differing      what two of a drop's recordings say differently of the person
    unlike_known   what one says otherwise than the lab's `subject.toml`
    unlike_there   what one says otherwise than the session it would join

Sex and date of birth are what they are. Names are written in many ways, so two of them differ where they have no word
in common, and what has a digit in it is a code, which each device may have of its own: codes differ only between
files of one format. What is said here names files and never a person: it stands on pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from neuroloom.ingest.recording import Recording
from neuroloom.pipeline.subjects import UNKNOWN_SEX, Subject

SHORTEST_WORD = 3
# Words that headers have for names.
ORDINARY = {"test", "data", "patient", "subject", "participant", "proband", "person", "control", "pilot", "unknown"}


def differing(recordings: Sequence[Recording], *, is_told: bool) -> str:
    """As "a.edf and b.edf state two dates of birth", or "". is_told: the lab has said that they are of one person, so
    that names and codes may differ.
    """
    for one, other in combinations(recordings, 2):
        if what := _between(one.subject, other.subject, is_told=is_told, same_format=one.format == other.format):
            return f"{one.files[0].name} and {other.files[0].name} state two {what}"
    return ""


def unlike_known(recordings: Sequence[Recording], known: Subject) -> str:
    """As "a.edf states another sex", or ""."""
    about = {"sex": known.sex, "birth_date": known.birth_date.isoformat() if known.birth_date else ""}
    for recording in recordings:
        if what := _between(recording.subject, about, is_told=True, same_format=False):
            return f"{recording.files[0].name} states another {_ONE[what]}"
        stated = _words(recording.subject.get("name", ""))
        if stated and known.names and not any(_alike(stated, _words(name)) for name in known.names):
            return f"{recording.files[0].name} states another name"
    return ""


def unlike_there(recordings: Sequence[Recording], sources: Iterable[Mapping[str, Any]]) -> str:
    """The same. sources: of a published session, which has neither names nor birth."""
    there = {source.get("subject", {}).get("sex", "") for source in sources} - {"", UNKNOWN_SEX}
    for recording in recordings:
        said = {recording.subject.get("sex", "")} - {"", UNKNOWN_SEX}
        if said and there - said:
            return f"{recording.files[0].name} states another sex"
    return ""


_ONE = {"sexes": "sex", "dates of birth": "date of birth"}


def _between(one: Mapping[str, str], other: Mapping[str, str], *, is_told: bool, same_format: bool) -> str:
    """What is said differently, in the plural."""
    for key, what in (("sex", "sexes"), ("birth_date", "dates of birth")):
        said = {about[key] for about in (one, other) if about.get(key)} - {UNKNOWN_SEX}
        if len(said) > 1:
            return what
    if is_told:
        return ""
    names = _words(one.get("name", "")), _words(other.get("name", ""))
    if all(names):
        return "" if _alike(*names) else "names"
    codes = {about["patient_id"].casefold() for about in (one, other) if about.get("patient_id")}
    return "patients' numbers" if same_format and len(codes) > 1 else ""


def _words(name: str) -> set[str]:
    """The words of a name; none of what is no name but a code."""
    if re.search(r"\d", name):
        return set()
    return {word for word in re.findall(r"[^\W_]+", name.casefold()) if len(word) >= SHORTEST_WORD} - ORDINARY


def _alike(one: set[str], other: set[str]) -> bool:
    """A word in common, or one that is within another: "Mueller" and "muellerh"."""
    return not one or not other or any(a in b or b in a for a in one for b in other)
