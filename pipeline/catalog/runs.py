"""Training and study runs in the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.engine import Engine

from neuroloom.pipeline.catalog._asking import changing, reading
from neuroloom.pipeline.catalog.tables import RunRow


@dataclass(frozen=True)
class Runs:
    """The runs of one catalog."""

    engine: Engine

    def put(self, name: str, **fields: Any) -> None:
        """Note a run, or change what is noted of it."""
        with changing(self.engine) as session:
            row = session.get(RunRow, name) or RunRow(name=name)
            for key, value in fields.items():
                setattr(row, key, value)
            session.add(row)

    def every(self) -> list[RunRow]:
        """Every run, oldest first."""
        with reading(self.engine) as session:
            return list(session.scalars(select(RunRow).order_by(RunRow.started_at, RunRow.name)))

    def states(self) -> dict[str, str]:
        """The state of every run, by name."""
        with reading(self.engine) as session:
            return {name: state for name, state in session.execute(select(RunRow.name, RunRow.state))}

    def forget(self, name: str) -> None:
        """A run was deleted."""
        with changing(self.engine) as session:
            session.execute(delete(RunRow).where(RunRow.name == name))
