"""What is where, and in which state: drops, sessions and runs in one small database.

    drop      something that lay in the inbox (or was given to `neuroloom ingest`), from first sight to its end
    session   a published version of a session; its truth is the manifest on disk
    run       a training or study run; its truth is its folder
    check     when a version was last read to the byte, and what was damaged
    alert     what people were told, or are to be told
    known     of which files it was told all since it was made
    lease     until when a run of the dashboard need not be heard of again

    SEEN -> SETTLING -> READY -> SUBMITTED -> RUNNING -> DONE
                          ^          |           |
                          +---- RETRY <----------+ --> QUARANTINED          (IGNORED: not a recording, left alone)

Design rationale: every change of state is one `UPDATE ... WHERE id = ? AND state IN (...)`. Whoever changes a row wins,
everybody else is told so, hence two watchers or two workers need no lock between them. A run that works on a drop holds
a lease it must renew; a killed machine renews nothing, so its drops come back by themselves.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Select, and_, create_engine, delete, event, func, inspect, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from neuroloom.pipeline._tables import (
    ALL,
    DONE,
    IGNORED,
    IN_FLIGHT,
    OPEN,
    QUARANTINED,
    READY,
    RETRY,
    RUNNING,
    SEEN,
    SESSIONS,
    SETTLING,
    STATES,
    SUBMITTED,
    WAITING,
    Base,
    CheckRow,
    ContentRow,
    DayRow,
    Drop,
    KnownRow,
    LeaseRow,
    RunRow,
    SessionRow,
)
from neuroloom.pipeline.migrations import bring_up_to_date
from neuroloom.pipeline.store import CATALOG_VARIABLE, CATALOG_WANTED, Store, StoreError

__all__ = [
    "ALL", "DONE", "IGNORED", "IN_FLIGHT", "OPEN", "QUARANTINED", "READY", "RETRY", "RUNNING", "SEEN", "SESSIONS",
    "SETTLING", "STATES", "SUBMITTED", "WAITING", "Catalog", "Drop", "RunRow", "SessionRow", "away", "digests_in",
]  # fmt: skip

BUSY_S = 30.0  # for so long SQLite waits for whoever holds the file


@dataclass(frozen=True)
class Catalog:
    """The catalog of one store. Make one with `Catalog.of(store)`; every method is one transaction."""

    engine: Engine

    @classmethod
    def of(cls, store: Store) -> Catalog:
        """Open the store's catalog; makes its tables where they are missing, and brings older ones up to date."""
        if not any(folder.is_dir() for folder in store.ways):  # one that is missing from a store is away
            store.create()
        return cls.at(store.catalog_url)

    @classmethod
    def at(cls, url: str) -> Catalog:
        """Open a catalog by database URL: SQLite in WAL mode, or PostgreSQL. Raises StoreError where it is no such."""
        engine = _sqlite(url) if url.startswith("sqlite") else _server(url)
        try:
            _make_tables(engine)
        except DatabaseError:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    # drops ---------------------------------------------------------------------------------------------------------

    def add_drop(self, name: str, *, folder: Path, **fields: Any) -> Drop | None:
        """A new drop; None where an open one of that name exists already (another watcher was first)."""
        drop = Drop(name=name, folder=str(folder), **fields)
        try:
            with self._session() as session, session.begin():
                session.add(drop)
        except IntegrityError:
            return None
        return drop

    def add_drops(self, fields: Sequence[Mapping[str, Any]]) -> None:
        """Many new drops in one transaction; those of a name that is open already are left out."""
        try:
            with self._session() as session, session.begin():
                session.add_all([Drop(**each) for each in fields])
        except IntegrityError:  # another watcher was first with some of them
            for each in fields:
                self.add_drop(each["name"], folder=Path(each["folder"]), **_without(each, "name", "folder"))

    def drop(self, drop_id: int) -> Drop | None:
        """The drop of that number."""
        with self._session() as session:
            return session.get(Drop, drop_id)

    def drops(self, *states: str) -> list[Drop]:
        """Every drop in one of these states (all where none is given), oldest first."""
        query = select(Drop).order_by(Drop.id)
        if states:
            query = query.where(Drop.state.in_(states))
        with self._session() as session:
            return list(session.scalars(query))

    def newest_drops(self, n: int, states: Sequence[str] = STATES) -> list[Drop]:
        """The last `n` drops that are in one of these states, newest first."""
        query = select(Drop).where(Drop.state.in_(states)).order_by(Drop.id.desc()).limit(n)
        with self._session() as session:
            return list(session.scalars(query))

    def drops_changed_since(self, at_s: float) -> list[Drop]:
        """Drops whose state has changed since then (seconds since 1970), oldest first."""
        with self._session() as session:
            return list(session.scalars(select(Drop).where(Drop.changed_at >= at_s).order_by(Drop.id)))

    def counts(self) -> dict[str, int]:
        """How many drops are in each state; states with none are left out."""
        with self._session() as session:
            rows = session.execute(select(Drop.state, func.count()).group_by(Drop.state))
            return {state: int(n) for state, n in rows}

    def done_among(self, digests: Iterable[str]) -> set[str]:
        """Those of these contents that are in the store already."""
        asked, found = sorted(set(digests)), set[str]()
        with self._session() as session:
            for first in range(0, len(asked), 500):
                some = asked[first : first + 500]
                found |= set(session.scalars(select(Drop.digest).where(Drop.state == DONE, Drop.digest.in_(some))))
        return found

    def done_with(self, digest: str) -> Drop | None:
        """The drop that already brought this content into the store."""
        query = select(Drop).where(Drop.digest == digest, Drop.state == DONE).order_by(Drop.id)
        with self._session() as session:
            return session.scalars(query).first()

    def move(self, drop_id: int, to: str, *, frm: Iterable[str], owner: str | None = None, **changes: Any) -> bool:
        """Change the state of a drop that is in one of `frm` (and belongs to `owner`, if given). True where it was.

        Moving twice is harmless: the second time the drop is no longer in `frm`, and False comes back.
        """
        condition = [Drop.id == drop_id, Drop.state.in_(tuple(frm))]
        if owner is not None:
            condition.append(Drop.owner == owner)
        values = {"state": to, "changed_at": time.time(), **changes}
        with self._session() as session, session.begin():
            return _n_changed(session, update(Drop).where(*condition).values(**values)) == 1

    def note(self, drop_ids: Sequence[int], *, frm: Iterable[str] = OPEN, **changes: Any) -> None:
        """Change fields of those of many drops that are in one of `frm`."""
        if "state" in changes:
            changes = {"changed_at": time.time(), **changes}
        with self._session() as session, session.begin():
            for first in range(0, len(drop_ids), 500):
                some = drop_ids[first : first + 500]
                session.execute(update(Drop).where(Drop.id.in_(some), Drop.state.in_(tuple(frm))).values(**changes))

    def submit(self, drop_id: int, *, lease_s: float, now: float | None = None) -> Drop | None:
        """READY -> SUBMITTED, before the work is handed over; None where another one did so first."""
        at = time.time() if now is None else now
        values = {"state": SUBMITTED, "changed_at": at, "lease_until": at + lease_s, "reason": "", "owner": ""}
        statement = update(Drop).where(Drop.id == drop_id, Drop.state == READY)
        with self._session() as session, session.begin():
            if _n_changed(session, statement.values(**values, submissions=Drop.submissions + 1)) != 1:
                return None
        return self.drop(drop_id)

    def hold(self, drop_ids: Sequence[int], *, owner: str, lease_s: float, now: float | None = None) -> None:
        """For another lease these are a run's: those handed over to it, or to nobody known, and those it works on."""
        until = (time.time() if now is None else now) + lease_s
        waits = and_(Drop.state == SUBMITTED, Drop.owner.in_(("", owner)))
        condition = (Drop.id.in_(drop_ids), or_(waits, and_(Drop.state == RUNNING, Drop.owner == owner)))
        with self._session() as session, session.begin():
            session.execute(update(Drop).where(*condition).values(owner=owner, lease_until=until))

    def claim(self, drop_id: int, *, owner: str, lease_s: float, now: float | None = None) -> Drop | None:
        """SUBMITTED or READY -> RUNNING for `owner`; None where another one holds it. Counts an attempt."""
        until = (time.time() if now is None else now) + lease_s
        changes = {"owner": owner, "lease_until": until, "attempts": Drop.attempts + 1, "reason": ""}
        condition = (Drop.id == drop_id, Drop.state.in_((SUBMITTED, READY)))
        with self._session() as session, session.begin():
            values = {"state": RUNNING, "changed_at": time.time(), **changes}
            if _n_changed(session, update(Drop).where(*condition).values(**values)) != 1:
                return None
        return self.drop(drop_id)

    def renew(self, drop_id: int, *, owner: str, lease_s: float, now: float | None = None) -> bool:
        """Hold on to a drop; False where it is no longer this owner's."""
        until = (time.time() if now is None else now) + lease_s
        return self.move(drop_id, RUNNING, frm=(RUNNING,), owner=owner, lease_until=until)

    def expired(self, *, longest_lease_s: float, now: float | None = None) -> list[Drop]:
        """Drops in flight whose lease has run out.

        A lease that ends later than any lease can means that the clock was set back; it counts as run out. One that was
        renewed since `now` ends a little later than that, too: hence twice the longest.
        """
        at = time.time() if now is None else now
        return [d for d in self.drops(*IN_FLIGHT) if not at < d.lease_until <= at + 2 * longest_lease_s]

    def hold_run(self, run: str, *, flow: str, lease_s: float, now: float | None = None) -> None:
        """For another lease a run of the dashboard need not be heard of."""
        until = (time.time() if now is None else now) + lease_s
        with self._session() as session, session.begin():
            _put(session, LeaseRow, [{"run": run, "flow": flow, "until": until}])

    def silent_runs(self, *, longest_lease_s: float, now: float | None = None) -> dict[str, str]:
        """Runs of the dashboard that were not heard of in time, and their flows; leases as in `expired`."""
        at = time.time() if now is None else now
        with self._session() as session:
            rows = session.scalars(select(LeaseRow).order_by(LeaseRow.run))
            return {row.run: row.flow for row in rows if not at < row.until <= at + 2 * longest_lease_s}

    def leased_runs(self) -> set[str]:
        """Runs of the dashboard that hold a lease, also one that has run out."""
        with self._session() as session:
            return set(session.scalars(select(LeaseRow.run)))

    def forget_lease(self, run: str) -> None:
        """A run of the dashboard has ended."""
        with self._session() as session, session.begin():
            session.execute(delete(LeaseRow).where(LeaseRow.run == run))

    # sessions and runs ---------------------------------------------------------------------------------------------

    def add_sessions(self, versions: Sequence[tuple[str, str, Mapping[str, Any], float, Sequence[str]]]) -> None:
        """Note published versions as (session, version, manifest, when, days); one that is noted gets this manifest."""
        columns = ("id", "version", "manifest", "published_at")
        rows = [dict(zip(columns, version[:4], strict=True)) for version in versions]
        with self._session() as session, session.begin():
            _put(session, SessionRow, rows)
            _put(session, ContentRow, [row for of in versions for row in _contents(*of[:3])])
            _put(session, DayRow, [row for name, version, _, _, days in versions for row in _days(name, version, days)])

    def announce(self, session_id: str, version: str, manifest: Mapping[str, Any], days: Sequence[str] = ()) -> None:
        """Say what a version will hold that is about to be published: it is found also where nobody says more of it.

        days: as `dates.days_in` has them.
        """
        with self._session() as session, session.begin():
            _put(session, ContentRow, _contents(session_id, version, manifest))
            _put(session, DayRow, _days(session_id, version, days))

    def knows(self, files: str) -> bool:
        """True where it was told of all these files since it was made, SESSIONS or ALL: since then it is told each."""
        with self._session() as session:
            return session.get(KnownRow, files) is not None

    def note_that_it_knows(self, files: str) -> None:
        """From now on it `knows` these files, SESSIONS or ALL; nothing is written where it does."""
        if self.knows(files):
            return
        with self._session() as session, session.begin():
            _put(session, KnownRow, [{"files": files}])

    def holding(self, digests: Iterable[str]) -> list[tuple[str, str]]:
        """The versions that hold all of these contents, as (session, version), oldest version first.

        One that was announced may never have been published.
        """
        wanted = sorted(set(digests))
        found: set[tuple[str, str]] | None = None
        with self._session() as session:
            for digest in wanted:
                query = select(ContentRow.id, ContentRow.version).where(ContentRow.digest == digest)
                holders = {(session_id, version) for session_id, version in session.execute(query)}
                found = holders if found is None else found & holders
                if not found:
                    return []
        return sorted(found or (), key=lambda row: (row[0], int(row[1][1:])))

    def ran_on(self, days: Iterable[str]) -> list[str]:
        """The sessions of which a version ran on one of these days and names nobody, by name."""
        asked, found = sorted(set(days)), set[str]()
        with self._session() as session:
            for first in range(0, len(asked), 500):
                some = asked[first : first + 500]
                found |= set(session.scalars(select(DayRow.id).where(DayRow.day.in_(some))))
        return sorted(found)

    def noted_versions(self) -> set[tuple[str, str]]:
        """Every (session, version) whose contents are noted, or announced."""
        with self._session() as session:
            rows = session.execute(select(ContentRow.id, ContentRow.version).distinct())
            return {(session_id, version) for session_id, version in rows}

    def known_versions(self) -> set[tuple[str, str]]:
        """Every (session, version) that is noted."""
        with self._session() as session:
            rows = session.execute(select(SessionRow.id, SessionRow.version))
            return {(session_id, version) for session_id, version in rows}

    def sessions(self, *keys: str) -> list[SessionRow]:
        """Every published version, by session and version. keys: of the manifest only these, which is read sooner."""
        return self._sessions(select(SessionRow.id, SessionRow.version), keys)

    def newest_sessions(self, *keys: str) -> list[SessionRow]:
        """The newest version of every session, by name. keys: of the manifest only these, which is read sooner."""
        newest_first = (func.length(SessionRow.version).desc(), SessionRow.version.desc())
        rank = func.row_number().over(partition_by=SessionRow.id, order_by=newest_first).label("rank")
        ranked = select(SessionRow.id, SessionRow.version, rank).subquery()
        return self._sessions(select(ranked.c.id, ranked.c.version).where(ranked.c.rank == 1), keys)

    def _sessions(self, which: Select[tuple[str, str]], keys: Sequence[str]) -> list[SessionRow]:
        wanted = which.subquery()
        said: Sequence[Any] = [SessionRow.manifest[key] for key in keys] or [SessionRow.manifest]
        query = (
            select(SessionRow.id, SessionRow.version, SessionRow.published_at, *said)
            .join(wanted, and_(SessionRow.id == wanted.c.id, SessionRow.version == wanted.c.version))
            .order_by(SessionRow.id, SessionRow.version)
        )
        with self._session() as session:
            rows = session.execute(query).all()
        return [
            SessionRow(
                id=row[0],
                version=row[1],
                published_at=row[2],
                manifest={key: v for key, v in zip(keys, row[3:], strict=True) if v is not None} if keys else row[3],
            )
            for row in rows
        ]

    def put_run(self, name: str, **fields: Any) -> None:
        """Note a run, or change what is noted of it."""
        with self._session() as session, session.begin():
            row = session.get(RunRow, name) or RunRow(name=name)
            for key, value in fields.items():
                setattr(row, key, value)
            session.add(row)

    def runs(self) -> list[RunRow]:
        """Every run, oldest first."""
        with self._session() as session:
            return list(session.scalars(select(RunRow).order_by(RunRow.started_at, RunRow.name)))

    def run_states(self) -> dict[str, str]:
        """The state of every run, by name."""
        with self._session() as session:
            return {name: state for name, state in session.execute(select(RunRow.name, RunRow.state))}

    def forget_version(self, session_id: str, version: str) -> None:
        """A version was deleted."""
        with self._session() as session, session.begin():
            for table in (SessionRow, ContentRow, DayRow, CheckRow):
                session.execute(delete(table).where(table.id == session_id, table.version == version))

    def forget_run(self, name: str) -> None:
        """A run was deleted."""
        with self._session() as session, session.begin():
            session.execute(delete(RunRow).where(RunRow.name == name))

    def forget_drop(self, drop_id: int) -> None:
        """A drop and all it became were deleted: its files' names are nobody's business any more."""
        with self._session() as session, session.begin():
            session.execute(delete(Drop).where(Drop.id == drop_id))

    # checks: see checking.py ---------------------------------------------------------------------------------------

    def note_check(self, session_id: str, version: str, **fields: Any) -> None:
        """Note what reading a version came to, in place of the time before."""
        with self._session() as session, session.begin():
            session.merge(CheckRow(id=session_id, version=version, **fields))

    def checks(self) -> dict[tuple[str, str], CheckRow]:
        """The last check of every version that has had one, by (session, version)."""
        with self._session() as session:
            return {(row.id, row.version): row for row in session.scalars(select(CheckRow))}

    def _session(self) -> AbstractContextManager[Session]:
        return Session(self.engine, expire_on_commit=False)


def _put(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or replace what is no key of those that are there, whoever else does the same at once."""
    if not rows:
        return
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    keys = [column.name for column in inspect(table).primary_key]
    others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    if others:
        session.execute(statement.on_conflict_do_update(index_elements=keys, set_=others), list(rows))
    else:
        session.execute(statement.on_conflict_do_nothing(), list(rows))


def _contents(session_id: str, version: str, manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"digest": digest, "id": session_id, "version": version} for digest in sorted(digests_in(manifest))]


def _days(session_id: str, version: str, days: Sequence[str]) -> list[dict[str, str]]:
    return [{"day": day, "id": session_id, "version": version} for day in days]


def digests_in(manifest: Mapping[str, Any]) -> set[str]:
    """The contents of the files that a version was made from, as its manifest has them."""
    return {digest for source in manifest.get("sources", ()) for digest in source.get("digests", {}).values()}


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}


def _n_changed(session: Session, statement: Any) -> int:
    return int(session.execute(statement).rowcount)  # type: ignore[attr-defined]


def is_damage(error: DBAPIError) -> bool:
    """True where SQLite says that its file is none: "file is not a database", "database disk image is malformed"."""
    return type(error.orig) is sqlite3.DatabaseError


def away(error: DBAPIError) -> str:
    """What a database said that does not answer, in one line, without the statement that it was asked."""
    said = (str(error.orig).splitlines() or [type(error.orig).__name__])[0].strip()
    if is_damage(error):
        mend = "with nothing running, move catalog.sqlite* out of the store: it is made anew from the files"
        return f"the catalog is damaged ({said}); {mend}"
    if "readonly" in said:
        return f"the catalog cannot be written to ({said})"
    return f"the catalog's database does not answer ({said})"


def _make_tables(engine: Engine) -> None:
    try:
        bring_up_to_date(engine, Base.metadata)
    except DatabaseError:  # two processes opened a new catalog at once, and the other one was first
        bring_up_to_date(engine, Base.metadata)


def _server(url: str) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True)
    except ImportError as error:
        wanted = "`pip install neuroloom[server]` installs it"
        raise StoreError(f"{CATALOG_VARIABLE}: wants {error.name}, which is not installed; {wanted}") from error
    except (ArgumentError, ValueError) as error:  # which may hold the password
        raise StoreError(f"{CATALOG_VARIABLE}: is no database URL; {CATALOG_WANTED} is wanted") from error


def _read_only(path: Path) -> sqlite3.Connection:
    """A catalog in a store that may only be read: a backup, or somebody else's. Nobody writes what nobody may."""
    log = path.with_name(f"{path.name}-wal")
    unchanging = "" if log.is_file() and log.stat().st_size else "&immutable=1"  # else a lock would have to be written
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro{unchanging}", uri=True)


def _sqlite(url: str) -> Engine:
    path = Path(url.removeprefix("sqlite:///"))
    if path.is_file() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return create_engine(url, poolclass=NullPool, creator=partial(_read_only, path))
    # Losing the last commits with the power does no harm, the files tell them again: hence synchronous=NORMAL.
    # A connection per transaction: processes fork and threads come and go, and opening SQLite takes 0.1 ms.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_S * 1000:.0f}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
