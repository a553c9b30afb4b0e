"""Databases that a catalog lies in: SQLite in the store, or a server; and what one says that does not answer."""

from __future__ import annotations

import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError
from sqlalchemy.pool import NullPool

from neuroloom.pipeline.catalog.tables import Base
from neuroloom.pipeline.migrations import bring_up_to_date
from neuroloom.pipeline.store import CATALOG_VARIABLE, CATALOG_WANTED, StoreError

BUSY_S = 30.0  # for so long SQLite waits for whoever holds the file


def opened(url: str) -> Engine:
    """The database at a URL, with tables as they are now. Raises StoreError where it is none that a catalog lies in."""
    engine = _sqlite(url) if url.startswith("sqlite") else _server(url)
    try:
        _make_tables(engine)
    except DatabaseError:
        engine.dispose()
        raise
    return engine


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
