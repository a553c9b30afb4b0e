"""What is where, and in which state, in one small database.

    drops      something that lay in the inbox (or was given to `neuroloom ingest`), from first sight to its end
    sessions   published versions of sessions; their truth is the manifest on disk
    runs       training and study runs; their truth is their folder
    checks     when a version was last read to the byte, and what was damaged
    leases     until when runs of the dashboard need not be heard of again

    tables     the rows, and the states of a drop; `migrations/` leads from older ones to these
    opening    SQLite, or a server; what a database says that does not answer

What people were told, or are to be told, is a table of `care/alerting.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Engine

from neuroloom.pipeline.catalog._asking import changing, put, reading
from neuroloom.pipeline.catalog.checks import Checks
from neuroloom.pipeline.catalog.drops import Drops
from neuroloom.pipeline.catalog.leases import Leases
from neuroloom.pipeline.catalog.opening import opened
from neuroloom.pipeline.catalog.runs import Runs
from neuroloom.pipeline.catalog.sessions import Sessions
from neuroloom.pipeline.catalog.tables import KnownRow
from neuroloom.pipeline.store import Store


@dataclass(frozen=True)
class Catalog:
    """The catalog of one store. Make one with `Catalog.of(store)`; every method of its parts is one transaction."""

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
        return cls(opened(url))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @property
    def drops(self) -> Drops:
        return Drops(self.engine)

    @property
    def sessions(self) -> Sessions:
        return Sessions(self.engine)

    @property
    def runs(self) -> Runs:
        return Runs(self.engine)

    @property
    def checks(self) -> Checks:
        return Checks(self.engine)

    @property
    def leases(self) -> Leases:
        return Leases(self.engine)

    def knows(self, files: str) -> bool:
        """True where it was told of all these files since it was made, SESSIONS or ALL: since then it is told each."""
        with reading(self.engine) as session:
            return session.get(KnownRow, files) is not None

    def note_that_it_knows(self, files: str) -> None:
        """From now on it `knows` these files, SESSIONS or ALL; nothing is written where it does."""
        if self.knows(files):
            return
        with changing(self.engine) as session:
            put(session, KnownRow, [{"files": files}])
