"""What the index page shows, as plain rows: whoever holds a catalog fills these, the page knows no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from neuroloom.pipeline.verdicts import Standing, Verdict, standing

DAY = timedelta(hours=24)


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
    published: when this version was. n_more: findings more than in the subject's session before, None for a first.
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
    published: datetime | None = None
    n_more: int | None = None


@dataclass(frozen=True, kw_only=True)
class QuarantineRow:
    """One refused drop, and why."""

    name: str
    reason: str
    when: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One training or study run. score: its main score, named by `metric`; page: relative to the index.

    before, change: the run before it with that score, and by how much this one's is higher. is_clear: their 95 %
    intervals do not overlap. reason: why it stands where it stands.
    """

    name: str
    state: str
    started: datetime | None = None
    metric: str = ""
    score: float | None = None
    page: str = ""
    verdict: str = ""
    before: str = ""
    change: float | None = None
    is_clear: bool = False
    reason: str = ""


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
    """Everything on the index page; rows in the order they are to be shown, the newest first.

    drops: those on their way, or the newest of them; waiting: how many there are, by state.
    """

    store: str
    made: datetime
    drops: tuple[DropRow, ...] = ()
    waiting: Mapping[str, int] = field(default_factory=dict)
    sessions: tuple[SessionRow, ...] = ()
    quarantine: tuple[QuarantineRow, ...] = ()
    runs: tuple[RunRow, ...] = ()
    health: HealthView = HealthView()

    @property
    def since(self) -> datetime:
        """From when on something is of today: the last `DAY`."""
        return self.made - DAY

    @property
    def came_in(self) -> list[SessionRow]:
        """Sessions published of late, the newest first."""
        found = [row for row in self.sessions if row.published is not None and row.published >= self.since]
        return sorted(found, key=lambda row: row.published or self.since, reverse=True)

    @property
    def n_waiting(self) -> int:
        """Drops that are still on their way."""
        return sum(self.waiting.values())

    @property
    def refused(self) -> list[QuarantineRow]:
        """What was refused of late."""
        return [row for row in self.quarantine if row.when is None or row.when >= self.since]

    @property
    def ran(self) -> list[RunRow]:
        """Runs of late, and those that are under way; the newest first."""
        return [row for row in self.runs if row.started is None or row.started >= self.since]

    @property
    def better(self) -> list[RunRow]:
        """Runs of late that can be set beside one before, those that clearly differ first."""
        return sorted((row for row in self.ran if row.change is not None), key=lambda row: not row.is_clear)

    @property
    def unjudged(self) -> list[SessionRow]:
        """Sessions that no reviewer has decided on."""
        return [row for row in self.sessions if not row.verdict]
