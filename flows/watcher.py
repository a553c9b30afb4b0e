"""The watcher: looks at the inbox every few seconds, and sooner where the file system says something changed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from neuroloom.flows.leases import Silent
from neuroloom.flows.submitting import Submitter
from neuroloom.pipeline.boxed.box import BoxAwayError, box_of
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.opening import away
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.drops.reconciling import Reconciler
from neuroloom.pipeline.noting import note_all, rebuild
from neuroloom.pipeline.reviewing import review_index
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

DATABASE = "database"
HEARTBEAT = "NEUROLOOM_HEARTBEAT"  # names a file whose time is that of the last look, well or not: for health checks
log = logging.getLogger("neuroloom.watcher")


def watch(store: Store, stop: threading.Event, deployments: Collection[str] = ()) -> None:
    """Reconcile until `stop` is set, by the settings as they are. A disk or database that is away is waited for.

    deployments: whose runs are asked after where nothing is heard of them.

    Design rationale: the file system's events only wake it. They are lost on network mounts and while nobody
    listens, so what is done depends on what lies there, never on what was announced.
    """
    watching = _Watching(store, deployments, Settings.of(store))
    wake = threading.Event()
    threading.Thread(target=_listen, args=(store.inbox, wake, stop), daemon=True, name="inbox events").start()
    complaint, beat = "", os.environ.get(HEARTBEAT, "")
    with watching.opened:
        while not stop.is_set():
            said = _looked(watching, complaint)
            if complaint and not said:
                log.warning("the inbox is looked at again")
            complaint = said
            if beat:
                Path(beat).touch()
            wake.wait(watching.settings.inbox.scan_s)
            wake.clear()


def _looked(watching: _Watching, complaint: str) -> str:
    """What kept a look from its end, "" where nothing did; it is said where it is not the complaint of before."""
    try:
        watching.look()
    except DBAPIError as error:
        watching.looks = None  # the database may have been lost: what it knew is read anew
        if complaint != DATABASE:  # what it says changes while it ends and starts
            log.warning("the inbox waits: %s", away(error))
        return DATABASE
    except (OSError, BoxAwayError, ConfigError) as error:
        if str(error) != complaint:
            log.warning("the inbox waits: %s", error)
        return str(error)
    except Exception as error:
        # A mistake of ours with one drop: nobody would look at the others any more.
        if str(error) != complaint:
            log.exception("a look at the inbox was cut short")
        return str(error) or type(error).__name__
    return ""


@dataclass
class _Watching:
    """What is kept from look to look. opened: what `looks` needs, closed where that is made anew."""

    store: Store
    deployments: Collection[str]
    settings: Settings
    opened: ExitStack = field(default_factory=ExitStack)
    looks: tuple[Reconciler, Silent] | None = None
    _read: Settings | None = None
    _shown: object = None
    _next_page_s: float = 0.0

    def look(self) -> None:
        """Settings, inbox, runs, front page. Raises what the disk, the database, the box or the settings raise."""
        self._go_by_settings()
        reconciler, silent = self.looks = self.looks or self._made()
        note_all(self.store, reconciler.catalog)
        news = reconciler.step(), reconciler.catalog.runs.states()
        silent.look()
        # The front page of a large store takes a while: nine tenths of the time are the inbox's.
        if news != self._shown and time.monotonic() >= self._next_page_s:
            began_s = time.monotonic()
            review_index(self.store)
            self._shown, self._next_page_s = news, time.monotonic() + 10 * (time.monotonic() - began_s)

    def _go_by_settings(self) -> None:
        """Take new ones where two looks have read the same: a file is empty while an editor writes it."""
        before, self._read = self._read, Settings.of(self.store)
        if self.settings != self._read == before:
            self.settings, self.looks = self._read, None

    def _made(self) -> tuple[Reconciler, Silent]:
        self.opened.close()  # what an attempt before has opened
        return _looks(self.store, self.settings, self.deployments, self.opened)


def _looks(store: Store, settings: Settings, deployments: Collection[str], box: ExitStack) -> tuple[Reconciler, Silent]:
    catalog = Catalog.of(store)
    box.callback(catalog.close)
    rebuild(store, catalog)
    server = Submitter(settings.ingest)
    inside = box.enter_context(box_of(store, settings.box, for_inbox=True))
    reconciler = Reconciler(store=store, catalog=catalog, settings=settings, submit=server, runs=server, inside=inside)
    return reconciler, Silent(store, catalog, settings, deployments)


def _listen(inbox: Path, wake: threading.Event, stop: threading.Event) -> None:
    from watchfiles import watch as changes

    try:
        for _ in changes(inbox, stop_event=stop, rust_timeout=1000, yield_on_timeout=False):
            wake.set()
    except (OSError, RuntimeError) as error:
        log.warning("no events from the file system (%s): the inbox is looked at by the clock alone", error)
