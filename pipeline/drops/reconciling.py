"""One look at the inbox, and every step that is due: `Reconciler.step()`. The catalog is the truth, nobody is notified.

    leases that ran out -> what lies there now -> what has settled -> what may start

Called every few seconds by the watcher and by the flow `sweep` when [schedules] says (each hour by default), at the
same time or not at all for a while: each step looks at how things are, not at what happened, so nothing is lost and
nothing is done twice.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from neuroloom.ingest.formats import FormatError
from neuroloom.pipeline import subjects
from neuroloom.pipeline.boxed import sniffing
from neuroloom.pipeline.boxed.box import BoxError, Inside, Unboxed
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import (
    DONE,
    IGNORED,
    IN_FLIGHT,
    OPEN,
    QUARANTINED,
    READY,
    RETRY,
    SEEN,
    SETTLING,
    SUBMITTED,
    WAITING,
    Drop,
)
from neuroloom.pipeline.drops import custody, inbox
from neuroloom.pipeline.drops.claimed import fail, finish_known
from neuroloom.pipeline.drops.growing import being_written, waits_for
from neuroloom.pipeline.drops.inbox import Found, Scanner
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

Submit = Callable[[Sequence[Drop]], str | None]  # gives the name of the run, where it has one
Progress = Callable[[str], None]


ASK_AGAIN_S, ASK_RUNS_S = 30.0, 5.0


class SubmitError(RuntimeError):
    """Work could not be handed over (no server); it stays READY and is tried again at the next look."""


class Runs(Protocol):
    """Those to whom drops were handed over, asked by the names that `submit` gave."""

    def is_on_its_way(self, run: str, *, start_s: float) -> bool:
        """True where it waits for a free worker, or one has been starting it for no longer than that."""

    def has_ended(self, run: str) -> bool:
        """True where it is known to have come to its end, well or not."""

    def give_up(self, run: str, reason: str) -> None:
        """Its drops go to another run: it shall not begin, and is shown as crashed where it has begun."""


@dataclass(frozen=True)
class _Answer:
    """What was said, and when, of a drop that lies still: formats, "" or why it is not whole, and what it awaits."""

    form: str
    reason: str
    awaits: str
    at: float
    is_final: bool

    @classmethod
    def of(cls, said: list[Any] | BoxError, folder: Path, name: str, now: float) -> _Answer:
        """A reader that has ended is not asked again; what is missing may come without a change of the drop."""
        if isinstance(said, BoxError):
            return cls("", inbox.reason_of(f"while it was told apart: {said}", folder, name), "", now, True)
        form, *words = said
        reason, awaits = (inbox.reason_of(str(word), folder, name) if word else "" for word in words)
        return cls(str(form), reason, awaits, now, False)

    def holds(self, now: float) -> bool:
        """True where it need not be asked again yet."""
        return self.is_final or self.at <= now < self.at + ASK_AGAIN_S


class NoRuns:
    """Where runs have no names nothing is known of them."""

    def is_on_its_way(self, run: str, *, start_s: float) -> bool:
        """Never."""
        return False

    def has_ended(self, run: str) -> bool:
        """Never."""
        return False

    def give_up(self, run: str, reason: str) -> None:
        """Nothing."""


@dataclass
class Reconciler:
    """Takes every drop of one store one step further.

    submit: hands drops over to whoever does the work. runs: can be asked what became of it. inside: where files are
    told apart. clock: seconds since 1970; tests turn it by hand.

    Design rationale: how many runs there are at once is counted here, from the catalog. A limit of the server besides
    would count the runs of a dead machine for minutes, and nothing would begin meanwhile.
    """

    store: Store
    catalog: Catalog
    settings: Settings
    submit: Submit
    runs: Runs = field(default_factory=NoRuns)
    inside: Inside = field(default_factory=Unboxed)
    clock: Callable[[], float] = time.time
    scanner: Scanner = field(init=False)
    _answers: dict[str, _Answer] = field(default_factory=dict)  # by fingerprint
    _asked_s: float = -ASK_RUNS_S  # when runs were asked whether they have ended

    def __post_init__(self) -> None:
        self.scanner = Scanner(self.store.inbox, self.inside)
        custody.finish_moves(self.store)

    def step(self) -> dict[str, int]:
        """Every step that is due now; gives how many drops are in each state. Raises StoreAwayError, BoxAwayError."""
        self.store.check()
        now = self.clock()
        self._expire(now)
        found = self._look(now)
        self._settle(found, now)
        self._start(now)
        return self.catalog.drops.counts()

    def _expire(self, now: float) -> None:
        lease_s = self.settings.ingest.lease_s
        dead: dict[str, str] = {}
        on_their_way: dict[str, bool] = {}
        for drop in [*self.catalog.drops.expired(longest_lease_s=lease_s, now=now), *self._ended_early(now)]:
            if self._has_ended(drop):
                continue
            what = "the run was not heard of again"
            if drop.state == SUBMITTED:
                if drop.owner not in on_their_way:
                    on_their_way[drop.owner] = self._is_on_its_way(drop, now)
                if on_their_way[drop.owner]:
                    self.catalog.drops.hold([drop.id], owner=drop.owner, lease_s=lease_s, now=now)
                    continue
                what = "no run took it up"
            with self._keep_going(drop):
                fail(self.store, self.catalog, self.settings, drop, what, now=drop.lease_until - lease_s)
            dead[drop.owner] = what
        for run, what in dead.items():
            if run:
                self.runs.give_up(run, what)

    def _ended_early(self, now: float) -> list[Drop]:
        """Drops whose run ended before it took them up, as one does that finds no server: no lease need run out."""
        if 0 <= now - self._asked_s < ASK_RUNS_S:
            return []
        self._asked_s = now
        handed = [drop for drop in self.catalog.drops.every(SUBMITTED) if drop.owner and drop.lease_until > now]
        ended = {run for run in {drop.owner for drop in handed} if self.runs.has_ended(run)}
        return [drop for drop in handed if drop.owner in ended]

    def _is_on_its_way(self, drop: Drop, now: float) -> bool:
        ingest = self.settings.ingest
        waits_s = now - drop.changed_at
        return (
            bool(drop.owner)
            and 0 <= waits_s < ingest.queue_s
            and self.runs.is_on_its_way(drop.owner, start_s=ingest.lease_s)
        )

    def _look(self, now: float) -> dict[str, Found]:
        # The drops first: one that ends while the inbox is looked at is still known here, and not taken for a new one.
        open_drops = {drop.name: drop for drop in self.catalog.drops.every(*OPEN)}
        found = {f.name: f for f in self.scanner.scan()}
        owner = {file: lies.name for lies in found.values() for file in lies.files}
        for name, drop in open_drops.items():
            lies = found.get(name)
            if drop.state in IN_FLIGHT or (lies is not None and lies.fingerprint == drop.fingerprint):
                continue
            if self._has_ended(drop):  # also where a disk failed while its originals moved
                continue
            if lies is not None:
                changes = {"reason": "it is growing", **_seen(lies, now)}
                self.catalog.drops.move(drop.id, SETTLING, frm=(*WAITING, READY, RETRY), **changes)
            else:
                reason = f"belongs to {owner[name]}" if name in owner else "gone from the inbox"
                self.catalog.drops.move(drop.id, IGNORED, frm=(*WAITING, READY, RETRY), reason=reason)
        self._add_new(found, open_drops, now)
        return found

    def _add_new(self, found: Mapping[str, Found], open_drops: Mapping[str, Drop], now: float) -> None:
        """What is no part of a drop that is known. Last, since what had ended has taken its last files with it."""
        in_work = {file for drop in open_drops.values() if drop.state in IN_FLIGHT for file in drop.files}
        new = [lies for name, lies in found.items() if name not in open_drops and not in_work & {name, *lies.files}]
        new = [lies for lies in new if os.path.lexists(self.store.inbox / lies.name)]  # a look may have taken long
        folder = str(self.store.inbox)
        self.catalog.drops.add_many([{"name": lies.name, "folder": folder, **_seen(lies, now)} for lies in new])

    def _has_ended(self, drop: Drop) -> bool:
        """True where the files of a drop have left the inbox for good, and only the catalog does not know."""
        record = custody.ended(self.store, drop)
        if not record:
            return False
        state, reason = (QUARANTINED, str(record["reason"])) if "reason" in record else (DONE, "")
        return self.catalog.drops.move(drop.id, state, frm=OPEN, reason=reason, sessions=record.get("sessions", []))

    def _settle(self, found: dict[str, Found], now: float) -> None:
        settle_s = self.settings.inbox.settle_s
        moving, still = [], []
        marked: set[int] = set()
        waiting = self.catalog.drops.every(*WAITING)
        for drop in waiting:
            lies = found.get(drop.name)
            if lies is None or lies.fingerprint != drop.fingerprint:
                continue
            still_s = now - drop.stable_since
            with self._keep_going(drop):
                if still_s < 0:  # the clock was set back: wait anew
                    self.catalog.drops.note([drop.id], stable_since=now)
                elif lies.problem:
                    self._refuse(drop, lies.problem)
                elif not lies.marked and still_s < settle_s:
                    moving += [drop.id] if drop.state == SEEN else []
                elif not lies.marked and (file := being_written(self.store.inbox, drop.files)):
                    if drop.reason != waits_for(file):
                        self.catalog.drops.move(drop.id, SETTLING, frm=WAITING, reason=waits_for(file))
                elif drop.name in subjects.FILE_NAMES:
                    self._take_up(drop)
                else:
                    still.append(drop)
                    marked |= {drop.id} if lies.marked else set()
        self.catalog.drops.note(moving, frm=(SEEN,), state=SETTLING, reason=f"must lie still for {settle_s:g} s")
        self._probe(still, marked, _last_moved(waiting, still, now), now)

    def _probe(self, still: Sequence[Drop], marked: Set[int], moved: Mapping[str, float], now: float) -> None:
        """What has settled is told apart; it goes on where it is whole, else it waits, and in the end is refused.

        Where it only lacks what it can be read without, it goes on in the end, or at once where a `.done` marks it.
        moved: of `_last_moved`. A large file that is still being copied may be what the small one beside it waits for.
        """
        self._answers = {d.fingerprint: self._answers[d.fingerprint] for d in still if d.fingerprint in self._answers}
        due = [d for d in still if not (d.fingerprint in self._answers and self._answers[d.fingerprint].holds(now))]
        n_files = sum(len(drop.files) for drop in due)
        paths = [list(drop.paths) for drop in due]
        said = sniffing.answers(self.inside, sniffing.probed, self.store.inbox, paths, n_files=n_files) if due else []
        for drop, answer in zip(due, said, strict=True):
            self._answers[drop.fingerprint] = _Answer.of(answer, self.store.inbox, drop.name, now)
        patience = _in_words(self.settings.inbox.orphan_s)
        for drop in still:
            answered = self._answers[drop.fingerprint]
            in_the_end = "refused" if answered.reason else "read without it"
            waits = f"{answered.reason or answered.awaits}; {in_the_end} unless more of it comes within {patience}"
            has_waited = now - moved[_stem(drop)] >= self.settings.inbox.orphan_s
            with self._keep_going(drop):
                if not answered.reason and (has_waited or drop.id in marked or not answered.awaits):
                    self._is_whole(drop, answered.form)
                elif has_waited:
                    self._refuse(drop, answered.reason)
                elif drop.reason != waits:
                    changes = {"reason": waits, "format": answered.form}
                    self.catalog.drops.move(drop.id, SETTLING, frm=WAITING, **changes)

    def _is_whole(self, drop: Drop, form: str) -> None:
        digest = inbox.digest_of(self.store.inbox, drop.files)
        # Where it grew while it was read, the next look sees that.
        if inbox.fingerprint_now(self.store.inbox, drop.files) == drop.fingerprint:
            self.catalog.drops.move(drop.id, READY, frm=WAITING, reason="", digest=digest, format=form)

    def _take_up(self, drop: Drop) -> None:
        """What a `subject.toml` says is known from now on; the file joins the originals."""
        try:
            codes = subjects.take_up(self.store, self.store.inbox / drop.name)
        except FormatError as error:
            self._refuse(drop, inbox.one_line(error))
            return
        digest = inbox.digest_of(self.store.inbox, drop.files)
        self.catalog.drops.note([drop.id], digest=digest, format="subjects")
        custody.archive(self.store, self.catalog.drops.get(drop.id) or drop, [])
        self.catalog.drops.move(drop.id, DONE, frm=WAITING, reason=f"taken up: {', '.join(codes)}")

    def _refuse(self, drop: Drop, reason: str) -> None:
        if not os.path.lexists(self.store.inbox / drop.name):  # taken away just now: the next look says so
            return
        custody.quarantine(self.store, drop, reason)
        self.catalog.drops.move(drop.id, QUARANTINED, frm=WAITING, reason=reason)

    @contextmanager
    def _keep_going(self, drop: Drop) -> Iterator[None]:
        """What the disk refuses for one drop is noted and tried again at the next look; the others go on."""
        try:
            yield
        except OSError as error:
            self.catalog.drops.note([drop.id], reason=f"waits: {inbox.one_line(error)}")

    def _start(self, now: float) -> None:
        for drop in self.catalog.drops.every(RETRY):
            pause_s = self.settings.inbox.retry_s * 2 ** max(drop.attempts - 1, 0)
            if not drop.changed_at <= now < drop.changed_at + pause_s:
                self.catalog.drops.move(drop.id, READY, frm=(RETRY,))
        in_flight = self.catalog.drops.every(*IN_FLIGHT)
        busy = {drop.digest for drop in in_flight}
        n_runs = len({drop.owner or drop.id for drop in in_flight})
        for batch in self._batches(self.catalog.drops.every(READY), busy):
            if n_runs >= self.settings.ingest.in_flight:
                self._wait(batch, f"waits: {self.settings.ingest.in_flight} are being ingested")
            elif shortage := self._shortage(batch):
                self._wait(batch, shortage)
            elif self._hand_over(batch, now):
                n_runs += 1

    def _batches(self, ready: Sequence[Drop], busy: set[str]) -> Iterator[list[Drop]]:
        """Small new drops together, everything else alone; the same content only once at a time."""
        small: list[Drop] = []
        known = self.catalog.drops.done_among(drop.digest for drop in ready)
        for drop in ready:
            if drop.digest in busy:
                self._wait([drop], "waits: the same content is being ingested")
                continue
            busy.add(drop.digest)
            if drop.digest in known:
                with self._keep_going(drop):
                    finish_known(self.store, self.catalog, drop)
            elif drop.attempts == 0 and drop.n_bytes <= self.settings.ingest.small_bytes:
                small.append(drop)
            else:
                yield [drop]
        # A run takes longer to start than a small drop to read: as many share one as keeps all runs busy.
        size = min(self.settings.ingest.batch, max(1, math.ceil(len(small) / self.settings.ingest.in_flight)))
        for first in range(0, len(small), size):
            yield small[first : first + size]

    def _shortage(self, batch: Sequence[Drop]) -> str:
        wanted = self.settings.ingest.min_free_bytes + 3 * sum(drop.n_bytes for drop in batch)
        free = self.store.free_bytes()
        return "" if free >= wanted else f"waits: {free / 1e9:.1f} GB free on disk, {wanted / 1e9:.1f} GB wanted"

    def _wait(self, batch: Sequence[Drop], reason: str) -> None:
        self.catalog.drops.note([drop.id for drop in batch if drop.reason != reason], reason=reason)

    def _hand_over(self, batch: Sequence[Drop], now: float) -> bool:
        lease_s = self.settings.ingest.lease_s
        held = [d for drop in batch if (d := self.catalog.drops.submit(drop.id, lease_s=lease_s, now=now)) is not None]
        if not held:
            return False
        try:
            run = self.submit(held)
        except SubmitError as error:
            for drop in held:
                self.catalog.drops.move(drop.id, READY, frm=(SUBMITTED,), reason=f"waits: {inbox.one_line(error)}")
            return False
        if run:
            self.catalog.drops.hold([drop.id for drop in held], owner=run, lease_s=lease_s, now=now)
        return True


def _in_words(seconds: float) -> str:
    """ "20 s", "90 s", "10 min"."""
    return f"{seconds / 60:g} min" if seconds and seconds % 60 == 0 else f"{seconds:g} s"


def _stem(drop: Drop) -> str:
    return Path(drop.name).stem


def _last_moved(waiting: Sequence[Drop], still: Sequence[Drop], now: float) -> dict[str, float]:
    """When anything of that name, whatever its suffix, was last seen to change; now, where it is being written."""
    lie_still = {drop.id for drop in still}
    moved: dict[str, float] = {}
    for drop in waiting:
        at = drop.stable_since if drop.id in lie_still else now
        moved[_stem(drop)] = max(at, moved.get(_stem(drop), at))
    return moved


def _seen(lies: Found, now: float) -> dict[str, Any]:
    return {
        "paths": list(lies.paths),
        "files": list(lies.files),
        "fingerprint": lies.fingerprint,
        "n_bytes": lies.n_bytes,
        "stable_since": now,
    }


def is_idle(store: Store, catalog: Catalog) -> bool:
    """True where nothing in the inbox is being worked on, or still to be looked at."""
    return not catalog.drops.every(*OPEN) and not inbox.names(store.inbox)
