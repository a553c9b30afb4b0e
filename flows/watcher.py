"""The watcher: looks at the inbox every few seconds, and sooner where the file system says something changed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from neuroloom.flows.leases import Silent
from neuroloom.flows.submitting import Submitter
from neuroloom.pipeline.boxed.box import BoxAwayError, box_of
from neuroloom.pipeline.catalog import Catalog, away
from neuroloom.pipeline.config import ConfigError, Settings
from neuroloom.pipeline.drops.reconciling import Reconciler
from neuroloom.pipeline.noting import rebuild
from neuroloom.pipeline.reviewing import review_index
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
    settings = said = Settings.of(store)
    wake = threading.Event()
    threading.Thread(target=_listen, args=(store.inbox, wake, stop), daemon=True, name="inbox events").start()
    looks: tuple[Reconciler, Silent] | None = None
    shown: object = None
    next_page_s = 0.0  # the front page of a large store takes a while: nine tenths of the time are the inbox's
    complaint, beat = "", os.environ.get(HEARTBEAT, "")
    with ExitStack() as box:
        while not stop.is_set():
            try:
                said, before = Settings.of(store), said
                if looks is None or settings != said == before:  # a file is empty while an editor writes it
                    box.close()  # what an attempt before has opened
                    settings, looks = said, None
                    looks = _looks(store, settings, deployments, box)
                reconciler, silent = looks
                news = reconciler.step(), reconciler.catalog.run_states()
                silent.look()
                if news != shown and time.monotonic() >= next_page_s:
                    began_s = time.monotonic()
                    review_index(store)
                    shown, next_page_s = news, time.monotonic() + 10 * (time.monotonic() - began_s)
                if complaint:
                    log.warning("the inbox is looked at again")
                complaint = ""
            except DBAPIError as error:
                if complaint != DATABASE:  # what it says changes while it ends and starts
                    log.warning("the inbox waits: %s", away(error))
                complaint, looks = DATABASE, None  # it may have been lost: what it knew is read anew
            except (OSError, BoxAwayError, ConfigError) as error:
                if str(error) != complaint:
                    log.warning("the inbox waits: %s", error)
                complaint = str(error)
            except Exception as error:
                # A mistake of ours with one drop: nobody would look at the others any more.
                if str(error) != complaint:
                    log.exception("a look at the inbox was cut short")
                complaint = str(error)
            if beat:
                Path(beat).touch()
            wake.wait(settings.inbox.scan_s)
            wake.clear()


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
