"""One transaction each: to read, or to change; and rows that are put in place of those that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from neuroloom.pipeline.catalog.tables import Base


def reading(engine: Engine) -> Session:
    """What is read in the block stays as it was when the block has ended."""
    return Session(engine, expire_on_commit=False)


@contextmanager
def changing(engine: Engine) -> Iterator[Session]:
    """All that is changed in the block is, or where something is raised, nothing."""
    with reading(engine) as session, session.begin():
        yield session


def put(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
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


def n_changed(session: Session, statement: Any) -> int:
    """How many rows a statement has changed."""
    return int(session.execute(statement).rowcount)  # type: ignore[attr-defined]
