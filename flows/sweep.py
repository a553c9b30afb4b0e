"""`sweep`: what the watcher does every few seconds, by the clock, in case the watcher is dead."""

from __future__ import annotations

from prefect import flow, get_run_logger

from neuroloom.flows.artifacts import counts_table
from neuroloom.flows.leases import living
from neuroloom.flows.submitting import Submitter
from neuroloom.flows.telling import tell_failure, tell_once
from neuroloom.pipeline.boxed.box import box_of
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.drops.reconciling import Reconciler
from neuroloom.pipeline.noting import rebuild
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store


@flow(name="sweep", flow_run_name="sweep", on_failure=[tell_failure], on_crashed=[tell_failure])
@living
def sweep() -> dict[str, int]:
    """Take every drop one step further, note sessions the catalog does not know, tell what is new; drops per state."""
    store = Store.here()
    catalog, settings = Catalog.of(store), Settings.of(store)
    n_sessions = rebuild(store, catalog)
    server = Submitter(settings.ingest)
    with box_of(store, settings.box, for_inbox=True) as inside:
        looks = Reconciler(store=store, catalog=catalog, settings=settings, submit=server, runs=server, inside=inside)
        counts = looks.step()
    counts_table(counts)
    get_run_logger().info("%d published versions; drops: %s", n_sessions, counts)
    catalog.close()
    tell_once(store, settings.alerts)
    return counts
