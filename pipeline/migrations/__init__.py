"""The catalog's tables from one version to the next, by alembic; whoever opens an older catalog brings it up to date.

    versions/NNNN_what.py    a step each: `revision`, `down_revision`, `upgrade`; the last one that was taken stands in
                             the table `alembic_version`

A change of a table is a new file in `versions`; `tests/pipeline/test_migrations.py` compares what the steps make with
what the classes in `catalog/tables.py` say, and `tests/older` holds catalogs that older code has written.

Design rationale: the version is one cheap question at every opening, and alembic, which takes a tenth of a second to
import, is imported only where the answer is not the newest. A new catalog is made in one go and marked as newest.
A step runs in one transaction under a lock, so that two machines which open an old catalog at once take it once.
"""

from __future__ import annotations

import pkgutil
from pathlib import Path

from sqlalchemy import Connection, MetaData, create_engine, inspect, text
from sqlalchemy.engine import Engine

from neuroloom.pipeline.migrations import versions
from neuroloom.pipeline.store import StoreError

LOCK = 7_110_846  # of PostgreSQL, any number that nobody else locks by
BEFORE_ALEMBIC = (("alerts", "0003"), ("contents", "0002"), ("drops", "0001"))  # newest first: a table, what it tells
VERSION_TABLE = "alembic_version"


class CatalogVersionError(StoreError):
    """A catalog is of a version that this neuroloom does not know."""


def known() -> tuple[str, ...]:
    """The revisions that the code at hand knows, oldest first."""
    return tuple(sorted(info.name.partition("_")[0] for info in pkgutil.iter_modules(versions.__path__)))


def newest() -> str:
    """The revision that the code at hand wants."""
    return known()[-1]


def bring_up_to_date(engine: Engine, tables: MetaData) -> None:
    """Make the tables of a new catalog; take those of an older one, step by step, to the newest version.

    Raises CatalogVersionError where a newer neuroloom has been at the catalog.
    """
    if current(engine) == newest():
        return
    with engine.begin() as connection:
        _lock(connection)
        stated, found = _stated(connection), _found(connection)
        if found is None:
            tables.create_all(connection)
        if stated is None:
            _stamp(connection, found or newest())
        if found not in (None, newest()):
            _upgrade(connection, str(found))


def current(engine: Engine) -> str | None:
    """The revision a catalog says it has; None where it says none."""
    with engine.connect() as connection:
        return _stated(connection)


def at_rest(url: str) -> str | None:
    """The revision of the catalog at a database URL, which is left as it is; None where there is none yet."""
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).is_file():
        return None
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return _found(connection)
    finally:
        engine.dispose()


def _found(connection: Connection) -> str | None:
    """The revision a catalog says it has, or, of one that says none, that its tables tell."""
    names = inspect(connection).get_table_names()
    return _stated(connection) or next((revision for table, revision in BEFORE_ALEMBIC if table in names), None)


def _stated(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    row = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).first()
    return None if row is None else str(row[0])


def _lock(connection: Connection) -> None:
    """Until this transaction ends nobody else changes tables."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _stamp(connection: Connection, revision: str) -> None:
    connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:revision)"), {"revision": revision})


def _upgrade(connection: Connection, found: str) -> None:
    if found not in known():
        raise CatalogVersionError(
            f"the catalog is of version {found}, this neuroloom knows up to {newest()}; a newer neuroloom is wanted"
        )
    from alembic.config import Config
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    steps = list(ScriptDirectory.from_config(config).iterate_revisions("head", found))
    with Operations.context(MigrationContext.configure(connection)):
        for step in reversed(steps):
            step.module.upgrade()
            said = {"revision": step.revision}
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = :revision"), said)
