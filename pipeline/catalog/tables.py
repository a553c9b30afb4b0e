"""The tables of the catalog, and the states of a drop."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, Integer, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SEEN, SETTLING, READY, SUBMITTED, RUNNING = "SEEN", "SETTLING", "READY", "SUBMITTED", "RUNNING"
DONE, RETRY, QUARANTINED, IGNORED = "DONE", "RETRY", "QUARANTINED", "IGNORED"
STATES = (SEEN, SETTLING, READY, SUBMITTED, RUNNING, DONE, RETRY, QUARANTINED, IGNORED)
OPEN = (SEEN, SETTLING, READY, SUBMITTED, RUNNING, RETRY)
WAITING = (SEEN, SETTLING)
IN_FLIGHT = (SUBMITTED, RUNNING)
SESSIONS, ALL = "sessions", "all"

_OPEN_SQL = f"state IN ({', '.join(repr(state) for state in OPEN)})"


class Base(DeclarativeBase):
    """The tables of the catalog."""


class Drop(Base):
    """One thing that was dropped. Times are seconds since 1970.

    name: its name at the top of the inbox; among the open drops a name occurs once.
    paths: the files that name the recordings, relative to `folder`. files: all files, relative to `folder`.
    fingerprint: sizes and times of the whole file set. stable_since: since when it has not changed.
    digest: of the content, once it has settled. attempts: times work on it began. submissions: times handed over.
    lease_until, owner: until when and to which run it belongs, while SUBMITTED or RUNNING.
    """

    __tablename__ = "drops"
    __table_args__ = (
        Index(
            "one_open_drop_per_name",
            "name",
            unique=True,
            sqlite_where=text(_OPEN_SQL),
            postgresql_where=text(_OPEN_SQL),
        ),
        Index("drops_by_state", "state"),
        Index("drops_by_digest", "digest"),
        Index("drops_by_change", "changed_at"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String)
    folder: Mapped[str] = mapped_column(String)
    paths: Mapped[list[str]] = mapped_column(JSON, default=list)
    files: Mapped[list[str]] = mapped_column(JSON, default=list)
    format: Mapped[str] = mapped_column(String, default="")
    n_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    fingerprint: Mapped[str] = mapped_column(String, default="")
    stable_since: Mapped[float] = mapped_column(Float, default=0.0)
    digest: Mapped[str] = mapped_column(String, default="")
    state: Mapped[str] = mapped_column(String, default=SEEN)
    reason: Mapped[str] = mapped_column(String, default="")
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    submissions: Mapped[int] = mapped_column(Integer, default=0)
    lease_until: Mapped[float] = mapped_column(Float, default=0.0)
    owner: Mapped[str] = mapped_column(String, default="")
    sessions: Mapped[list[str]] = mapped_column(JSON, default=list)
    seen_at: Mapped[float] = mapped_column(Float, default=time.time)
    changed_at: Mapped[float] = mapped_column(Float, default=time.time)

    def as_dict(self) -> dict[str, Any]:
        """What `neuroloom inbox --json` shows of it."""
        shown = ("id", "name", "state", "reason", "format", "n_bytes", "digest", "attempts", "sessions")
        return {key: getattr(self, key) for key in shown} | {"n_files": len(self.files)}


class SessionRow(Base):
    """A published version of a session."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    version: Mapped[str] = mapped_column(String, primary_key=True)
    published_at: Mapped[float] = mapped_column(Float, default=0.0)
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class ContentRow(Base):
    """A file's content that a published version holds."""

    __tablename__ = "contents"

    digest: Mapped[str] = mapped_column(String, primary_key=True)
    id: Mapped[str] = mapped_column(String, primary_key=True)
    version: Mapped[str] = mapped_column(String, primary_key=True)


class KnownRow(Base):
    """Files of the store that the catalog was told all of since it was made: SESSIONS, or ALL."""

    __tablename__ = "known"

    files: Mapped[str] = mapped_column(String, primary_key=True)


class DayRow(Base):
    """A day on which a published version ran that names nobody, by its mark: see `dates.py`."""

    __tablename__ = "days"

    day: Mapped[str] = mapped_column(String, primary_key=True)
    id: Mapped[str] = mapped_column(String, primary_key=True)
    version: Mapped[str] = mapped_column(String, primary_key=True)


class LeaseRow(Base):
    """A run of the dashboard (its id there, its flow) that says until when it need not be heard of again."""

    __tablename__ = "leases"

    run: Mapped[str] = mapped_column(String, primary_key=True)
    flow: Mapped[str] = mapped_column(String, default="")
    until: Mapped[float] = mapped_column(Float, default=0.0)


class RunRow(Base):
    """A training or study run."""

    __tablename__ = "runs"

    name: Mapped[str] = mapped_column(String, primary_key=True)
    kind: Mapped[str] = mapped_column(String, default="train")
    state: Mapped[str] = mapped_column(String, default=RUNNING)
    reason: Mapped[str] = mapped_column(String, default="")
    started_at: Mapped[float] = mapped_column(Float, default=time.time)
    summary: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class CheckRow(Base):
    """When a published version was last read to the byte. damage: as `verify --json` has it; empty where it is sound.

    validator: what found it to be valid NWB; its bytes need not be validated again while that stays the same.
    """

    __tablename__ = "checks"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    version: Mapped[str] = mapped_column(String, primary_key=True)
    checked_at: Mapped[float] = mapped_column(Float, default=time.time)
    n_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    validator: Mapped[str] = mapped_column(String, default="")
    damage: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)


class AlertRow(Base):
    """One thing to tell by one way ("webhook", "mail"). told_at: 0 until it was; next_at: not to be tried before."""

    __tablename__ = "alerts"

    key: Mapped[str] = mapped_column(String, primary_key=True)
    way: Mapped[str] = mapped_column(String, primary_key=True)
    kind: Mapped[str] = mapped_column(String, default="")
    words: Mapped[str] = mapped_column(String, default="")
    at: Mapped[float] = mapped_column(Float, default=time.time)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    next_at: Mapped[float] = mapped_column(Float, default=0.0)
    told_at: Mapped[float] = mapped_column(Float, default=0.0)
    owner: Mapped[str] = mapped_column(String, default="")
    problem: Mapped[str] = mapped_column(String, default="")
