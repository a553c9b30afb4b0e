"""Alerts beside the work: a thread that tells people what is new, and the hook by which a failed run becomes news."""

from __future__ import annotations

import logging
import threading
from typing import Any

from sqlalchemy.exc import DBAPIError

from neuroloom.flows.environment import review_url
from neuroloom.pipeline.care.alerting import Alerts
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.opening import away
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

log = logging.getLogger("neuroloom.alerts")


def tell_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """A Prefect hook: note that this run failed. The run's message stays on the dashboard: it may name files."""
    store = Store.here()
    catalog = Catalog.of(store)
    try:
        Alerts(store, catalog, Settings.of(store).alerts).note_failure(str(flow.name), str(flow_run.id))
    finally:
        catalog.close()


def keep_telling(store: Store, stop: threading.Event) -> None:
    """Tell what is new until `stop` is set. A thread of its own: an endpoint that hangs holds up nothing else."""
    complaint, settings = "", Settings.of(store).alerts
    while not stop.is_set():
        try:
            settings = Settings.of(store).alerts
            if tell_once(store, settings):
                complaint = ""
        except (OSError, DBAPIError, ConfigError) as error:
            said = away(error) if isinstance(error, DBAPIError) else str(error)
            if said != complaint:
                log.warning("nobody can be told: %s", said)
            complaint = said
        stop.wait(settings.look_s)


def tell_once(store: Store, settings: Any) -> int:
    """Gather and send; gives how many things were told."""
    catalog = Catalog.of(store)
    try:
        return Alerts(store, catalog, settings, link=review_url()).tell()
    finally:
        catalog.close()
