"""When versions of sessions were last read to the byte, in the catalog: see `care/checking.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Engine

from neuroloom.pipeline.catalog._asking import changing, reading
from neuroloom.pipeline.catalog.tables import CheckRow


@dataclass(frozen=True)
class Checks:
    """The checks of one catalog."""

    engine: Engine

    def note(self, session_id: str, version: str, **fields: Any) -> None:
        """Note what reading a version came to, in place of the time before."""
        with changing(self.engine) as session:
            session.merge(CheckRow(id=session_id, version=version, **fields))

    def every(self) -> dict[tuple[str, str], CheckRow]:
        """The last check of every version that has had one, by (session, version)."""
        with reading(self.engine) as session:
            return {(row.id, row.version): row for row in session.scalars(select(CheckRow))}
