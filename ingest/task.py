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
    "S 21" = "left"
    "S 22" = "right"

Each column also gives `<column>_s`, when it occurred on the session clock (NaN where it did not).
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.streams import Events, Intervals


class TrialRule(BaseModel):
    """When a trial begins and ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    start: tuple[str, ...]
    stop: tuple[str, ...] = ()
    stop_after_s: float | None = None


class Task(BaseModel):
    """The codes of one task."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    trials_rule: TrialRule
    columns: dict[str, dict[str, str]] = {}

    @classmethod
    def read(cls, path: Path) -> Task:
        """From a `task.toml`. Raises FormatError, naming the file and the entry that is wrong."""
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
            given["trials_rule"] = given.pop("trials", None)
            return cls.model_validate(given)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{path}: {error}; TOML is wanted") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]).replace("trials_rule", "trials")
            raise FormatError(f"{path}: {where}: {first['msg']}") from error

    def knows(self, events: Events) -> bool:
        """True where a trial starts anywhere in these events."""
        return bool(set(self.trials_rule.start) & set(events.labels))

    def trials(self, events: Events) -> Intervals:
        """One interval per trial, labelled by the code that began it, with the task's columns."""
        starts = [i for i, label in enumerate(events.labels) if label in self.trials_rule.start]
        bounds = np.array([self._bounds(events, i, later) for i, later in _pairs(starts)]).reshape(-1, 2)
        table: dict[str, tuple[object, ...]] = {}
        for name, meanings in self.columns.items():
            found = [_first_within(events, start, stop, meanings) for start, stop in bounds]
            table[name] = tuple(meaning for meaning, _ in found)
            table[f"{name}_s"] = tuple(time_s for _, time_s in found)
        return Intervals(
            name="trials",
            modality="trials",
            bounds_s=bounds,
            labels=tuple(events.labels[i] for i in starts),
            table=table,
            provenance={"task": self.name, "events": events.name},
        )

    def _bounds(self, events: Events, start: int, later: int | None) -> tuple[float, float]:
        """A trial never runs into the next one."""
        begins_s = float(events.times_s[start])
        limit_s = float(events.times_s[later]) if later is not None else np.inf
        stops = [
            float(events.times_s[k])
            for k in range(start + 1, later if later is not None else len(events.labels))
            if events.labels[k] in self.trials_rule.stop
        ]
        stop_s = min(stops, default=np.inf)
        if self.trials_rule.stop_after_s is not None:
            stop_s = min(stop_s, begins_s + self.trials_rule.stop_after_s)
        stop_s = min(stop_s, limit_s)
        return begins_s, stop_s if np.isfinite(stop_s) else float(events.times_s[-1])


def _pairs(rows: list[int]) -> list[tuple[int, int | None]]:
    return list(zip(rows, [*rows[1:], None], strict=True)) if rows else []


def _first_within(events: Events, start_s: float, stop_s: float, meanings: dict[str, str]) -> tuple[str, float]:
    first, last = np.searchsorted(events.times_s, [start_s, stop_s])
    for k in range(first, last):
        if events.labels[k] in meanings:
            return meanings[events.labels[k]], float(events.times_s[k])
    return "", float("nan")
