"""What is published names nobody and dates nothing, unless the lab's settings ask to keep it.

    names      of `subject.toml` and of file headers: the subject's code stands wherever text of a recording has them,
               their words in any order, and each word of four letters or more alone
    numbers    that a clinic gave a patient: as names are
    birth      not published; the age at the session is
    dates      shifted by whole days, the same for all recordings of a subject: the time between sessions and the time
               of day stay; how many days follows from the store's secret and the subject's code

Design rationale: done to recordings before they are aligned, so that no later step can forget it. The secret lies in
the store (`.secret`, readable by its owner only) and in nothing that is published: with it a lab can undo the shift.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from itertools import permutations
from typing import Any

from neuroloom.ingest import ledger
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import MODALITIES, Events, Intervals, Stream
from neuroloom.pipeline.dates import keyed, shift_of
from neuroloom.pipeline.drops.persons import ORDINARY
from neuroloom.pipeline.settings import PrivacySettings
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.subjects import age_at

NAMED, BORN = ("name", "patient_id"), ("birth_date",)  # of a file's own words on the subject
MOST_WORDS = 4  # a header's text of more is no name, its words are not looked for one by one
SHORTEST_ALONE, SHORTEST_INSIDE_A_WORD = 4, 6  # letters: "Ann" is in "channel", "Mueller" in "muellerh"
DIGITS_OF_A_PATIENT = 5


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """How one subject's recordings are published.

    code: what the subject is called. names: what is replaced by it. shift: added to every date. kept: of the words of
    a header on the person, those that may be published.
    """

    code: str
    names: tuple[str, ...] = ()
    shift: timedelta = timedelta(0)
    kept: tuple[str, ...] = ()

    def applied(self, recording: Recording) -> Recording:
        """The recording with names and dates as they may be published."""
        together = recording.started_with
        return replace(
            recording,
            clock=self.text(recording.clock),
            files=tuple(file.with_name(self.text(file.name)) for file in recording.files),
            streams=tuple(self._stream(stream) for stream in recording.streams),
            start=self.date(recording.start),
            repairs=tuple(ledger.changed(line, self.text) for line in recording.repairs),
            subject=self._subject(recording),
            leads_to=None if recording.leads_to is None else self._map(recording.leads_to),
            started_with=together and (self.text(together[0]), together[1]),
        )

    def text(self, text: str) -> str:
        """A text with every name in it replaced by the code."""
        for pattern in patterns_of(self.names):
            text = pattern.sub(self.code, text)
        return text

    def _subject(self, recording: Recording) -> dict[str, str]:
        """What may be published of it; the age, which is not stated, for the date of birth, which may not be."""
        said = {key: value for key, value in recording.subject.items() if key not in (*NAMED, *BORN)}
        public = {key: self.text(value) for key, value in said.items()}
        born = recording.subject.get("birth_date", "")
        age = age_at(date.fromisoformat(born), recording.start) if born and not public.get("age") else ""
        kept = {key: recording.subject[key] for key in self.kept if recording.subject.get(key)}
        return public | ({"age": age} if age else {}) | kept

    def date(self, when: datetime | None) -> datetime | None:
        """A date as it may be published."""
        return None if when is None else when + self.shift

    def true_date(self, published: datetime | None) -> datetime | None:
        """The date that was published as this one."""
        return None if published is None else published - self.shift

    def _map(self, clock: Any) -> Any:
        return replace(clock, source=self.text(clock.source), target=self.text(clock.target))

    def _stream(self, stream: Stream) -> Stream:
        if not self.names:
            return stream
        table = {key: tuple(self._value(v) for v in column) for key, column in stream.table.items()}
        changed = replace(stream, name=self.text(stream.name), table=table, provenance=self._value(stream.provenance))
        if isinstance(changed, Events | Intervals):
            return replace(changed, labels=tuple(self.text(label) for label in changed.labels))
        return changed

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self._value(inner) for key, inner in value.items()}
        return [self._value(inner) for inner in value] if isinstance(value, list | tuple) else value


@cache
def patterns_of(names: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """What finds names in a text: as they are, their words in any order, longer words alone."""
    found = []
    for name in names:
        words = re.findall(r"[^\W_]+", name)
        if name.lower() in ORDINARY or name.lower() in MODALITIES:
            continue
        found.append(re.escape(name) if len(name) >= SHORTEST_INSIDE_A_WORD else _alone(re.escape(name)))
        if 2 <= len(words) <= MOST_WORDS:
            found += [_alone(r"[\W_]*".join(map(re.escape, order))) for order in permutations(words)]
            longer = [word for word in words if len(word) >= SHORTEST_ALONE and word.lower() not in ORDINARY]
            found += [_alone(re.escape(word)) for word in longer if word.lower() not in MODALITIES]
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in dict.fromkeys(found))


def _alone(pattern: str) -> str:
    """What it finds is no part of a longer word."""
    return rf"(?<![^\W\d_]){pattern}(?![^\W\d_])"


def stated_names(recordings: Iterable[Recording]) -> list[str]:
    """Names that headers state."""
    return [recording.subject["name"] for recording in recordings if recording.subject.get("name")]


def stated_numbers(recordings: Iterable[Recording]) -> list[str]:
    """Numbers of patients that headers state, of enough digits to be no other number."""
    found = [recording.subject.get("patient_id", "") for recording in recordings]
    return [number for number in found if sum(map(str.isdigit, number)) >= DIGITS_OF_A_PATIENT]


def names_somebody(code: str, names: Iterable[str]) -> bool:
    """True for a code, made of a file's name, that has a name in it, or a word of one."""
    told = [re.findall(r"[^\W_]+", name.lower()) for name in names]
    words = {word for one in told if len(one) <= MOST_WORDS for word in one}
    return any(word in code.lower() for word in words - ORDINARY if len(word) >= SHORTEST_ALONE)


def pseudonym(store: Store, names: Iterable[str]) -> str:
    """What a person is called where nothing but a name says who it is: always the same in this store."""
    words = sorted({word for name in names for word in re.findall(r"[^\W_]+", name.lower())})
    return "anon" + keyed(store, " ".join(words)).hex()[:8]


def privacy_of(store: Store, settings: PrivacySettings, code: str, names: Iterable[str]) -> Privacy:
    """How a subject's recordings are published by a store with these settings."""
    return Privacy(
        code=code,
        names=() if settings.keep_names else tuple(sorted({n for n in names if len(n) >= 3}, key=len, reverse=True)),
        shift=timedelta(0) if settings.keep_dates else shift_of(store, code),
        kept=(*(NAMED if settings.keep_names else ()), *(BORN if settings.keep_dates else ())),
    )
