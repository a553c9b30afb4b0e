"""Leases of runs of the dashboard in the catalog: who was heard of, and until when that is enough."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.engine import Engine

from neuroloom.pipeline.catalog._asking import changing, put, reading
from neuroloom.pipeline.catalog.tables import LeaseRow


@dataclass(frozen=True)
class Leases:
    """The leases of one catalog."""

    engine: Engine

    def hold(self, run: str, *, flow: str, lease_s: float, now: float | None = None) -> None:
        """For another lease a run of the dashboard need not be heard of."""
        until = (time.time() if now is None else now) + lease_s
        with changing(self.engine) as session:
            put(session, LeaseRow, [{"run": run, "flow": flow, "until": until}])

    def silent(self, *, longest_lease_s: float, now: float | None = None) -> dict[str, str]:
        """Runs of the dashboard that were not heard of in time, and their flows; leases as in `Drops.expired`."""
        at = time.time() if now is None else now
        with reading(self.engine) as session:
            rows = session.scalars(select(LeaseRow).order_by(LeaseRow.run))
            return {row.run: row.flow for row in rows if not at < row.until <= at + 2 * longest_lease_s}

    def held(self) -> set[str]:
        """Runs of the dashboard that hold a lease, also one that has run out."""
        with reading(self.engine) as session:
            return set(session.scalars(select(LeaseRow.run)))

    def forget(self, run: str) -> None:
        """A run of the dashboard has ended."""
        with changing(self.engine) as session:
            session.execute(delete(LeaseRow).where(LeaseRow.run == run))
