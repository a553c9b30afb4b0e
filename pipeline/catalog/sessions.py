"""Published versions of sessions in the catalog: their manifests, their contents, and the days on which they ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, delete, func, select
from sqlalchemy.engine import Engine

from neuroloom.pipeline.catalog._asking import changing, put, reading
from neuroloom.pipeline.catalog.tables import CheckRow, ContentRow, DayRow, SessionRow


@dataclass(frozen=True)
class Sessions:
    """The published versions of one catalog."""

    engine: Engine

    def add(self, versions: Sequence[tuple[str, str, Mapping[str, Any], float, Sequence[str]]]) -> None:
        """Note published versions as (session, version, manifest, when, days); one that is noted gets this manifest."""
        columns = ("id", "version", "manifest", "published_at")
        rows = [dict(zip(columns, version[:4], strict=True)) for version in versions]
        with changing(self.engine) as session:
            put(session, SessionRow, rows)
            put(session, ContentRow, [row for of in versions for row in _contents(*of[:3])])
            put(session, DayRow, [row for name, version, _, _, days in versions for row in _days(name, version, days)])

    def announce(self, session_id: str, version: str, manifest: Mapping[str, Any], days: Sequence[str] = ()) -> None:
        """Say what a version will hold that is about to be published: it is found also where nobody says more of it.

        days: as `dates.days_in` has them.
        """
        with changing(self.engine) as session:
            put(session, ContentRow, _contents(session_id, version, manifest))
            put(session, DayRow, _days(session_id, version, days))

    def holding(self, digests: Iterable[str]) -> list[tuple[str, str]]:
        """The versions that hold all of these contents, as (session, version), oldest version first.

        One that was announced may never have been published.
        """
        wanted = sorted(set(digests))
        found: set[tuple[str, str]] | None = None
        with reading(self.engine) as session:
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
        with reading(self.engine) as session:
            for first in range(0, len(asked), 500):
                some = asked[first : first + 500]
                found |= set(session.scalars(select(DayRow.id).where(DayRow.day.in_(some))))
        return sorted(found)

    def announced(self) -> set[tuple[str, str]]:
        """Every (session, version) that is announced, or noted."""
        with reading(self.engine) as session:
            rows = session.execute(select(ContentRow.id, ContentRow.version).distinct())
            return {(session_id, version) for session_id, version in rows}

    def known(self) -> set[tuple[str, str]]:
        """Every (session, version) that is noted."""
        with reading(self.engine) as session:
            rows = session.execute(select(SessionRow.id, SessionRow.version))
            return {(session_id, version) for session_id, version in rows}

    def every(self, *keys: str) -> list[SessionRow]:
        """Every published version, by session and version. keys: of the manifest only these, which is read sooner."""
        return self._read(select(SessionRow.id, SessionRow.version), keys)

    def newest(self, *keys: str) -> list[SessionRow]:
        """The newest version of every session, by name. keys: of the manifest only these, which is read sooner."""
        newest_first = (func.length(SessionRow.version).desc(), SessionRow.version.desc())
        rank = func.row_number().over(partition_by=SessionRow.id, order_by=newest_first).label("rank")
        ranked = select(SessionRow.id, SessionRow.version, rank).subquery()
        return self._read(select(ranked.c.id, ranked.c.version).where(ranked.c.rank == 1), keys)

    def forget(self, session_id: str, version: str) -> None:
        """A version was deleted."""
        with changing(self.engine) as session:
            for table in (SessionRow, ContentRow, DayRow, CheckRow):
                session.execute(delete(table).where(table.id == session_id, table.version == version))

    def _read(self, which: Select[tuple[str, str]], keys: Sequence[str]) -> list[SessionRow]:
        wanted = which.subquery()
        said: Sequence[Any] = [SessionRow.manifest[key] for key in keys] or [SessionRow.manifest]
        query = (
            select(SessionRow.id, SessionRow.version, SessionRow.published_at, *said)
            .join(wanted, and_(SessionRow.id == wanted.c.id, SessionRow.version == wanted.c.version))
            .order_by(SessionRow.id, SessionRow.version)
        )
        with reading(self.engine) as session:
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


def digests_in(manifest: Mapping[str, Any]) -> set[str]:
    """The contents of the files that a version was made from, as its manifest has them."""
    return {digest for source in manifest.get("sources", ()) for digest in source.get("digests", {}).values()}


def _contents(session_id: str, version: str, manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"digest": digest, "id": session_id, "version": version} for digest in sorted(digests_in(manifest))]


def _days(session_id: str, version: str, days: Sequence[str]) -> list[dict[str, str]]:
    return [{"day": day, "id": session_id, "version": version} for day in days]
