"""What event codes mean: `task.toml` beside a recording maps codes to trials and to what was shown, chosen, reached.

    name = "choice"

    [trials]
    start = ["S 11", "S 12"]     # a trial begins at each of these codes
    stop = ["S 30"]              # and ends at the first of these after it; or
    stop_after_s = 1.6           # after so long; without either it lasts until the next one starts

    [columns.stimulus]           # per trial, the first of these codes within it; "" where none occurred
    "S 11" = "left"
    "S 12" = "right"

    [columns.choice]
    "Response 1" = "left"
    "Response 2" = "right"

    [streams]                    # where a code occurs in several event streams: which of them is meant
    trials = "picture"           # of start and stop
    choice = "response"          # of a column

    [fields.hand]                # a column taken from the table of the events themselves instead of from codes
    column = "hand_raised"       # of those that have such a column, the first within the trial

    [fields.target]              # or from the text of a message
    label = "TARGET *"           # "*" stands for the value

A code may hold "*" for anything ("New trial*", "TRIALID *"). Without `[streams]` a code is looked for in the stream
where trials start, then in the others; all streams of a session are on one clock. Each column also gives `<column>_s`,
when it occurred on the session clock (NaN where it did not).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._tables import typed
from neuroloom.ingest.streams import Events, Intervals


class TrialRule(BaseModel):
    """When a trial begins and ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    start: tuple[str, ...]
    stop: tuple[str, ...] = ()
    stop_after_s: float | None = None


class FieldRule(BaseModel):
    """Where a column comes from that no code stands for: a column of events, or what "*" stands for in their labels.

    Design rationale: no regular expressions, since a file that is dropped could hold one that never ends.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    column: str | None = None
    label: str | None = None

    @model_validator(mode="after")
    def _is_one(self) -> FieldRule:
        if (self.column is None) == (self.label is None):
            raise ValueError("either `column` or `label` is wanted")
        if self.label is not None and self.label.count("*") != 1:
            raise ValueError(f'{self.label!r} holds {self.label.count("*")} "*"; one is wanted')
        return self


@dataclass(frozen=True)
class _Found:
    """What a column holds of one trial: a value and when, seconds; "" and NaN where nothing occurred."""

    value: Any = ""
    time_s: float = float("nan")


class Task(BaseModel):
    """The codes of one task."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    trials_rule: TrialRule
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)
    fields_: dict[str, FieldRule] = Field(default_factory=dict)
    streams: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Task:
        """From a `task.toml`. Raises FormatError, naming the file and the entry that is wrong."""
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
            given["trials_rule"] = given.pop("trials", None)
            given["fields_"] = given.pop("fields", {})
            return cls.model_validate(given)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{path}: {error}; TOML is wanted") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            where = where.replace("trials_rule", "trials").replace("fields_", "fields")
            said = first["msg"].removeprefix("Value error, ")
            raise FormatError(f"{path}: {where or 'it'}: {said}") from error

    @model_validator(mode="after")
    def _names_are_its_own(self) -> Task:
        twice = sorted(self.columns.keys() & self.fields_.keys())
        if twice:
            raise ValueError(f"column {twice[0]!r} is in [columns] and in [fields]; one of them is wanted")
        unknown = sorted(self.streams.keys() - {"trials", *self.columns, *self.fields_})
        if unknown:
            raise ValueError(f"[streams] names {unknown[0]!r}; it may name trials and columns")
        return self

    def knows(self, events: Events) -> bool:
        """True where a trial starts anywhere in these events."""
        meant = self.streams.get("trials", events.name)
        return meant == events.name and any(_is_of(label, self.trials_rule.start) for label in events.labels)

    def trials(self, events: Events, others: Sequence[Events] = ()) -> Intervals:
        """One interval per trial, labelled by the code that began it, with the task's columns.

        events: where trials start. others: further streams, on the same clock, where columns may occur.
        Raises FormatError for a stream that is named and not there.
        """
        starts = [i for i, label in enumerate(events.labels) if _is_of(label, self.trials_rule.start)]
        bounds = np.array([self._bounds(events, i, later) for i, later in _pairs(starts)]).reshape(-1, 2)
        table: dict[str, tuple[Any, ...]] = {}
        rules: dict[str, Mapping[str, str] | FieldRule] = {**self.columns, **self.fields_}
        for name, rule in rules.items():
            says = _saying(rule)
            source = self._source(name, says, events, others)
            found = [_first_within(source, start_s, stop_s, says) for start_s, stop_s in bounds]
            values = tuple(one.value for one in found)
            table[name] = typed(values) if isinstance(rule, FieldRule) and rule.label is not None else values
            table[f"{name}_s"] = tuple(one.time_s for one in found)
        return Intervals(
            name="trials",
            modality="trials",
            bounds_s=bounds,
            labels=tuple(events.labels[i] for i in starts),
            table=table,
            provenance={"task": self.name, "events": events.name},
        )

    def _source(self, name: str, says: Says, events: Events, others: Sequence[Events]) -> Events:
        """The stream that a column is looked for in: the one that is named, else the first that has any of it."""
        known = [events, *(other for other in others if other.name != events.name)]
        if name in self.streams:
            named = [one for one in known if one.name == self.streams[name]]
            if not named:
                there = ", ".join(one.name for one in known)
                raise FormatError(f"task {self.name!r}: [streams] {name}: no {self.streams[name]!r}; there are {there}")
            return named[0]
        return next((one for one in known if any(says(one, k) is not None for k in range(len(one.labels)))), events)

    def _bounds(self, events: Events, start: int, later: int | None) -> tuple[float, float]:
        """A trial never runs into the next one."""
        begins_s = float(events.times_s[start])
        limit_s = float(events.times_s[later]) if later is not None else np.inf
        stops = [
            float(events.times_s[k])
            for k in range(start + 1, later if later is not None else len(events.labels))
            if _is_of(events.labels[k], self.trials_rule.stop)
        ]
        stop_s = min(stops, default=np.inf)
        if self.trials_rule.stop_after_s is not None:
            stop_s = min(stop_s, begins_s + self.trials_rule.stop_after_s)
        stop_s = min(stop_s, limit_s)
        return begins_s, stop_s if np.isfinite(stop_s) else float(events.times_s[-1])


Says = Callable[[Events, int], Any]  # what an event says for a column, None for nothing


def _saying(rule: Mapping[str, str] | FieldRule) -> Says:
    if not isinstance(rule, FieldRule):
        plain = {code: meaning for code, meaning in rule.items() if "*" not in code}
        patterns = [(code, meaning) for code, meaning in rule.items() if "*" in code]
        return lambda events, k: _meaning(events.labels[k], plain, patterns)
    if rule.label is not None:
        before, _, after = rule.label.partition("*")
        return lambda events, k: _between(events.labels[k], before, after)
    column = str(rule.column)
    return lambda events, k: _cell(events.table[column][k]) if column in events.table else None


def _meaning(label: str, plain: Mapping[str, str], patterns: Sequence[tuple[str, str]]) -> str | None:
    if label in plain:
        return plain[label]
    return next((meaning for code, meaning in patterns if fnmatchcase(label, _escaped(code))), None)


def _between(label: str, before: str, after: str) -> str | None:
    if len(label) < len(before) + len(after) or not (label.startswith(before) and label.endswith(after)):
        return None
    return label[len(before) : len(label) - len(after)].strip() or None


def _cell(value: Any) -> Any:
    """A value of a table of events; what says nothing is none."""
    is_nothing = value in ("", "n/a") or (isinstance(value, float) and np.isnan(value))
    return None if is_nothing else value


def _is_of(label: str, codes: Sequence[str]) -> bool:
    return label in codes or any("*" in code and fnmatchcase(label, _escaped(code)) for code in codes)


def _escaped(code: str) -> str:
    """Only "*" stands for something: "?" and "[" are letters of a code."""
    return code.replace("[", "[[]").replace("?", "[?]")


def _pairs(rows: list[int]) -> list[tuple[int, int | None]]:
    return list(zip(rows, [*rows[1:], None], strict=True)) if rows else []


def _first_within(events: Events, start_s: float, stop_s: float, says: Says) -> _Found:
    first, last = np.searchsorted(events.times_s, [start_s, stop_s])
    for k in range(first, last):
        value = says(events, k)
        if value is not None:
            return _Found(value, float(events.times_s[k]))
    return _Found()
