"""Drops in the catalog: who may work on which, and what became of it.

    SEEN -> SETTLING -> READY -> SUBMITTED -> RUNNING -> DONE
                          ^          |           |
                          +---- RETRY <----------+ --> QUARANTINED          (IGNORED: not a recording, left alone)

Design rationale: every change of state is one `UPDATE ... WHERE id = ? AND state IN (...)`. Whoever changes a row wins,
everybody else is told so, hence two watchers or two workers need no lock between them. A run that works on a drop holds
a lease it must renew; a killed machine renews nothing, so its drops come back by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from neuroloom.pipeline.catalog._asking import changing, n_changed, reading
from neuroloom.pipeline.catalog.tables import DONE, IN_FLIGHT, OPEN, READY, RUNNING, STATES, SUBMITTED, Drop


@dataclass(frozen=True)
class Drops:
    """The drops of one catalog."""

    engine: Engine

    def add(self, name: str, *, folder: Path, **fields: Any) -> Drop | None:
        """A new drop; None where an open one of that name exists already (another watcher was first)."""
        drop = Drop(name=name, folder=str(folder), **fields)
        try:
            with changing(self.engine) as session:
                session.add(drop)
        except IntegrityError:
            return None
        return drop

    def add_many(self, fields: Sequence[Mapping[str, Any]]) -> None:
        """Many new drops in one transaction; those of a name that is open already are left out."""
        try:
            with changing(self.engine) as session:
                session.add_all([Drop(**each) for each in fields])
        except IntegrityError:  # another watcher was first with some of them
            for each in fields:
                self.add(each["name"], folder=Path(each["folder"]), **_without(each, "name", "folder"))

    def get(self, drop_id: int) -> Drop | None:
        """The drop of that number."""
        with reading(self.engine) as session:
            return session.get(Drop, drop_id)

    def every(self, *states: str) -> list[Drop]:
        """Every drop in one of these states (all where none is given), oldest first."""
        query = select(Drop).order_by(Drop.id)
        if states:
            query = query.where(Drop.state.in_(states))
        with reading(self.engine) as session:
            return list(session.scalars(query))

    def newest(self, n: int, states: Sequence[str] = STATES) -> list[Drop]:
        """The last `n` drops that are in one of these states, newest first."""
        query = select(Drop).where(Drop.state.in_(states)).order_by(Drop.id.desc()).limit(n)
        with reading(self.engine) as session:
            return list(session.scalars(query))

    def changed_since(self, at_s: float) -> list[Drop]:
        """Drops whose state has changed since then (seconds since 1970), oldest first."""
        with reading(self.engine) as session:
            return list(session.scalars(select(Drop).where(Drop.changed_at >= at_s).order_by(Drop.id)))

    def counts(self) -> dict[str, int]:
        """How many drops are in each state; states with none are left out."""
        with reading(self.engine) as session:
            rows = session.execute(select(Drop.state, func.count()).group_by(Drop.state))
            return {state: int(n) for state, n in rows}

    def done_among(self, digests: Iterable[str]) -> set[str]:
        """Those of these contents that are in the store already."""
        asked, found = sorted(set(digests)), set[str]()
        with reading(self.engine) as session:
            for first in range(0, len(asked), 500):
                some = asked[first : first + 500]
                found |= set(session.scalars(select(Drop.digest).where(Drop.state == DONE, Drop.digest.in_(some))))
        return found

    def done_with(self, digest: str) -> Drop | None:
        """The drop that already brought this content into the store."""
        query = select(Drop).where(Drop.digest == digest, Drop.state == DONE).order_by(Drop.id)
        with reading(self.engine) as session:
            return session.scalars(query).first()

    def move(self, drop_id: int, to: str, *, frm: Iterable[str], owner: str | None = None, **changes: Any) -> bool:
        """Change the state of a drop that is in one of `frm` (and belongs to `owner`, if given). True where it was.

        Moving twice is harmless: the second time the drop is no longer in `frm`, and False comes back.
        """
        condition = [Drop.id == drop_id, Drop.state.in_(tuple(frm))]
        if owner is not None:
            condition.append(Drop.owner == owner)
        values = {"state": to, "changed_at": time.time(), **changes}
        with changing(self.engine) as session:
            return n_changed(session, update(Drop).where(*condition).values(**values)) == 1

    def note(self, drop_ids: Sequence[int], *, frm: Iterable[str] = OPEN, **changes: Any) -> None:
        """Change fields of those of many drops that are in one of `frm`."""
        if "state" in changes:
            changes = {"changed_at": time.time(), **changes}
        with changing(self.engine) as session:
            for first in range(0, len(drop_ids), 500):
                some = drop_ids[first : first + 500]
                session.execute(update(Drop).where(Drop.id.in_(some), Drop.state.in_(tuple(frm))).values(**changes))

    def submit(self, drop_id: int, *, lease_s: float, now: float | None = None) -> Drop | None:
        """READY -> SUBMITTED, before the work is handed over; None where another one did so first."""
        at = time.time() if now is None else now
        values = {"state": SUBMITTED, "changed_at": at, "lease_until": at + lease_s, "reason": "", "owner": ""}
        statement = update(Drop).where(Drop.id == drop_id, Drop.state == READY)
        with changing(self.engine) as session:
            if n_changed(session, statement.values(**values, submissions=Drop.submissions + 1)) != 1:
                return None
        return self.get(drop_id)

    def hold(self, drop_ids: Sequence[int], *, owner: str, lease_s: float, now: float | None = None) -> None:
        """For another lease these are a run's: those handed over to it, or to nobody known, and those it works on."""
        until = (time.time() if now is None else now) + lease_s
        waits = and_(Drop.state == SUBMITTED, Drop.owner.in_(("", owner)))
        condition = (Drop.id.in_(drop_ids), or_(waits, and_(Drop.state == RUNNING, Drop.owner == owner)))
        with changing(self.engine) as session:
            session.execute(update(Drop).where(*condition).values(owner=owner, lease_until=until))

    def claim(self, drop_id: int, *, owner: str, lease_s: float, now: float | None = None) -> Drop | None:
        """SUBMITTED or READY -> RUNNING for `owner`; None where another one holds it. Counts an attempt."""
        until = (time.time() if now is None else now) + lease_s
        changes = {"owner": owner, "lease_until": until, "attempts": Drop.attempts + 1, "reason": ""}
        condition = (Drop.id == drop_id, Drop.state.in_((SUBMITTED, READY)))
        with changing(self.engine) as session:
            values = {"state": RUNNING, "changed_at": time.time(), **changes}
            if n_changed(session, update(Drop).where(*condition).values(**values)) != 1:
                return None
        return self.get(drop_id)

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
        return [d for d in self.every(*IN_FLIGHT) if not at < d.lease_until <= at + 2 * longest_lease_s]

    def forget(self, drop_id: int) -> None:
        """A drop and all it became were deleted: its files' names are nobody's business any more."""
        with changing(self.engine) as session:
            session.execute(delete(Drop).where(Drop.id == drop_id))


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}
