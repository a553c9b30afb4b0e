"""What the index page shows, as plain rows: whoever holds a catalog fills these, the page knows no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from neuroloom.pipeline.verdicts import Standing, Verdict, standing


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What reviewers said of a session or a run, and what their form needs.

    kind: "sessions" or "runs". channels: stream -> names that can be called bad. found: those that quality found bad.
    """

    kind: str
    name: str
    history: Sequence[Verdict] = ()
    channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    found: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def holds(self) -> Standing:
        """What holds now."""
        return standing(self.history)


@dataclass(frozen=True, kw_only=True)
class DropRow:
    """One drop in the inbox. state: one of the catalog's (SEEN … DONE); reason: why it is in that state."""

    name: str
    state: str
    reason: str = ""
    when: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class SessionRow:
    """One published session. page: its review page, relative to the index; n_findings: what quality found.

    missing: modalities that are expected and not there yet. verdict: "accept", "reject" or "" of reviewers.
    """

    id: str
    subject: str
    start: datetime | None = None
    duration_s: float = 0.0
    modalities: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    version: str = ""
    n_findings: int = 0
    page: str = ""
    verdict: str = ""


@dataclass(frozen=True, kw_only=True)
class QuarantineRow:
    """One refused drop: why, and what a person can do about it."""

    name: str
    reason: str
    advice: str = ""
    when: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One training or study run. score: its main score, named by `metric`; page: relative to the index."""

    name: str
    state: str
    started: datetime | None = None
    n_sessions: int = 0
    metric: str = ""
    score: float | None = None
    page: str = ""
    verdict: str = ""


@dataclass(frozen=True, kw_only=True)
class DamageRow:
    """A damaged version, and what a person can do about it. what: files and datasets, with what is wrong."""

    session: str
    version: str
    what: tuple[str, ...]
    advice: str
    when: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class HealthView:
    """When published files were last read to the byte. checked, oldest: the last check and the oldest."""

    sentence: str = "nothing is published yet"
    checked: datetime | None = None
    oldest: datetime | None = None
    damaged: tuple[DamageRow, ...] = ()


@dataclass(frozen=True, kw_only=True)
class IndexView:
    """Everything on the index page; rows in the order they are to be shown."""

    store: str
    made: datetime
    drops: tuple[DropRow, ...] = ()
    sessions: tuple[SessionRow, ...] = ()
    quarantine: tuple[QuarantineRow, ...] = ()
    runs: tuple[RunRow, ...] = ()
    health: HealthView = HealthView()
