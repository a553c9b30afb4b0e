"""What becomes of a drop that a run has claimed: ingested, refused, sent back while it grows, or tried again.

ingest_claimed    reads it, publishes its sessions, records what became of it, moves its files last
finish_known      the same where its content is in the store already
fail              work ended without a result
held              the lease does not run out while the block goes on
renewed           the same for any lease
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DatabaseError

from neuroloom.pipeline.boxed.box import BrokenReaderError, Inside, Unboxed
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE, IN_FLIGHT, QUARANTINED, READY, RETRY, RUNNING, SETTLING, Drop
from neuroloom.pipeline.drops import custody, inbox
from neuroloom.pipeline.drops.growing import growing
from neuroloom.pipeline.noting import note_published
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

READER_ATTEMPTS = 2
Progress = Callable[[str], None]


class LeaseLostError(RuntimeError):
    """Another run has taken this drop over: whatever was done here must not be recorded."""


def finish_known(store: Store, catalog: Catalog, drop: Drop) -> None:
    """End a drop whose content is in the store already: its files join the originals."""
    if why := growing(Path(drop.folder), drop):
        catalog.drops.move(drop.id, SETTLING, frm=(READY, RUNNING), reason=why, fingerprint="")
        return
    earlier = catalog.drops.done_with(drop.digest)
    sessions = list(earlier.sessions) if earlier is not None else []
    custody.archive(store, drop, sessions)
    reason = f"already there: {', '.join(sessions)}"
    catalog.drops.move(drop.id, DONE, frm=(READY, RUNNING), reason=reason, sessions=sessions)


def fail(
    store: Store,
    catalog: Catalog,
    settings: Settings,
    drop: Drop,
    reason: str,
    *,
    error: object = None,
    now: float | None = None,
) -> str:
    """Work on a drop ended without a result: RETRY, or after the last attempt QUARANTINED. Gives the new state.

    error: what was raised, where anything was. A reader that crashed or hung does so again: its file is not tried more
    than READER_ATTEMPTS times. now: when it ended; the pause before the next attempt is counted from then.
    """
    at = time.time() if now is None else now
    most = settings.inbox.max_attempts
    if isinstance(error, BrokenReaderError):
        most = min(most, READER_ATTEMPTS)
    if drop.attempts < most:
        which = f"; attempt {drop.attempts} of {most}" if drop.attempts else ""
        line = f"{reason}{which}"
        catalog.drops.move(drop.id, RETRY, frm=IN_FLIGHT, owner=drop.owner, reason=line, changed_at=at, lease_until=0.0)
        return RETRY
    line = f"tried {drop.attempts} times, each time without a result: {reason}"
    if catalog.drops.move(drop.id, QUARANTINED, frm=IN_FLIGHT, owner=drop.owner, reason=line):
        custody.quarantine(store, drop, line)
    return QUARANTINED


def ingest_claimed(
    store: Store,
    catalog: Catalog,
    settings: Settings,
    drop: Drop,
    *,
    inside: Inside | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Ingest a drop this run has claimed and record what became of it; gives the results as `ingest --json` has them.

    inside: where its files are read. The originals move last, after the session is published and read back. Raises
    LeaseLostError where another run has taken over, BoxError where reading ended without a word, and whatever a reader
    raises that it should not have: the caller says `fail` then.
    """
    from neuroloom.pipeline.drops.ingesting import ingest_drop

    if inbox.fingerprint_now(store.inbox, drop.files) != drop.fingerprint:
        catalog.drops.move(drop.id, SETTLING, frm=(RUNNING,), owner=drop.owner, reason="it is growing", fingerprint="")
        return []
    with held(catalog, [drop.id], owner=drop.owner, lease_s=settings.ingest.lease_s):
        paths = [Path(drop.folder) / path for path in drop.paths]
        results = ingest_drop(
            paths,
            store,
            strict=settings.ingest.strict,
            inside=inside or Unboxed(),
            files=[Path(drop.folder) / file for file in drop.files],
            progress=progress or (lambda _: None),
        )
    if not catalog.drops.renew(drop.id, owner=drop.owner, lease_s=settings.ingest.lease_s):
        raise LeaseLostError(f"{drop.name}: another run has taken it over")
    store.check()
    _record(store, catalog, drop, [result.to_dict() for result in results])
    return [result.to_dict() for result in results]


def _record(store: Store, catalog: Catalog, drop: Drop, results: Sequence[dict[str, Any]]) -> None:
    sessions = [result["session"] for result in results if result["session"]]
    refused = [str(result["reason"]) for result in results if result["state"] == "quarantined"]
    note_published(store, catalog, sessions)
    if why := growing(Path(drop.folder), drop):  # what was read stays published; all of it becomes the next version
        catalog.drops.move(drop.id, SETTLING, frm=(RUNNING,), owner=drop.owner, reason=why, fingerprint="")
        return
    if refused and not sessions:
        reason = inbox.reason_of(refused[0], Path(drop.folder), drop.name)
        custody.quarantine(store, drop, reason)
        catalog.drops.move(drop.id, QUARANTINED, frm=(RUNNING,), owner=drop.owner, reason=reason, sessions=sessions)
        return
    folder = custody.archive(store, drop, sessions)
    known = all(result["state"] == "already" for result in results)
    reason = f"already there: {', '.join(sessions)}" if known else ""
    if refused:  # some of several sessions: the files stay together, and a retry finds them where they lie now
        custody.refused_lies_at(store, Path(drop.folder) / drop.name, folder / custody.FILES / drop.name)
        first = inbox.reason_of(refused[0], Path(drop.folder), drop.name)
        reason = f"{len(refused)} of {len(results)} sessions refused: {first}"
    catalog.drops.move(drop.id, DONE, frm=(RUNNING,), owner=drop.owner, reason=reason, sessions=sessions)


@contextmanager
def held(catalog: Catalog, drop_ids: Sequence[int], *, owner: str, lease_s: float) -> Iterator[None]:
    """Hold on to drops for as long as the block goes on: one that is worked on, others that wait for it."""
    with renewed(lambda: catalog.drops.hold(drop_ids, owner=owner, lease_s=lease_s), lease_s=lease_s):
        yield


@contextmanager
def renewed(renew: Callable[[], None], *, lease_s: float) -> Iterator[None]:
    """A lease is taken, and renewed by a thread for as long as the block goes on.

    A database that is away is asked again: nobody else can take what is held meanwhile either.

    Design rationale: it is taken in the caller's own thread, before the block begins. By the thread it would come at
    some instant of the block, and the calls that the block makes on the catalog would be others from run to run.
    """
    ended = threading.Event()

    def pause_after_renewal() -> float:
        try:
            renew()
        except DatabaseError:
            return min(1.0, lease_s / 4)
        return lease_s / 4

    def go_on(pause_s: float) -> None:
        while not ended.wait(pause_s):
            pause_s = pause_after_renewal()

    thread = threading.Thread(target=go_on, args=(pause_after_renewal(),), daemon=True, name="leases")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
