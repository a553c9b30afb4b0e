"""Flows that look after a store by the clock: `verify`, `retrain`, `clean`."""

from __future__ import annotations

import time
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from neuroloom.flows.artifacts import Bar, checks_page, space_table
from neuroloom.flows.leases import living
from neuroloom.flows.telling import tell_failure
from neuroloom.flows.training import score, train_prepared
from neuroloom.pipeline.care import checking, retention
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.reviewing import review_index
from neuroloom.pipeline.runs import retraining
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

DAMAGED = "is damaged"


def _tell_other_failure(flow: Any, flow_run: Any, state: State[Any]) -> None:
    """Damage is told as damage."""
    if DAMAGED not in (state.message or ""):
        tell_failure(flow, flow_run, state)


@flow(name="verify", flow_run_name="verify", on_failure=[_tell_other_failure], on_crashed=[tell_failure])
@living
def verify(minutes: float | None = None) -> State[Any]:
    """Read published sessions to the byte, those first that waited longest. minutes: as the settings say, if left out.

    Fails where damage was found, so that nobody overlooks it; the message says what to do.
    """
    budget_s = 60 * (Settings.of(Store.here()).schedules.verify.budget_minutes if minutes is None else minutes)
    read_again(budget_s)
    store = Store.here()
    catalog = Catalog.of(store)
    found = checking.health(store, catalog)
    catalog.close()
    review_index(store)
    checks_page(found)
    if found.damaged:
        first = found.damaged[0]
        more = f"; and {len(found.damaged) - 1} more" if len(found.damaged) > 1 else ""
        return Failed(message=f"{first['session']} {first['version']} {DAMAGED}: {first['advice']}{more}")
    return Completed(message=found.sentence)


@task(task_run_name="read", cache_policy=NO_CACHE, persist_result=False)
def read_again(budget_s: float) -> int:
    """Gives how many versions were read; a bar shows how much of the time is over."""
    store = Store.here()
    catalog = Catalog.of(store)
    bar, began_s = Bar("of the time for reading"), time.monotonic()

    def tell(_result: dict[str, Any]) -> None:
        bar.move((time.monotonic() - began_s) / budget_s)

    results = checking.checked_some(store, catalog, budget_s=budget_s, progress=tell)
    bar.finish()
    n_bytes, seconds = sum(r["n_bytes"] for r in results), time.monotonic() - began_s
    log = get_run_logger()
    log.info("%d versions, %.0f MB, %.0f MB/s", len(results), n_bytes / 1e6, n_bytes / 1e6 / max(seconds, 1e-9))
    for row in checking.damage_rows(results):
        log.error("%(session)s %(version)s %(file)s %(dataset)s: damaged", row)
    catalog.close()
    return len(results)


@flow(name="retrain", flow_run_name="retrain", on_failure=[tell_failure], on_crashed=[tell_failure])
@living
def retrain() -> State[Any]:
    """Train `[schedules.retrain] config` on everything there is, if there is anything the last run has not seen."""
    store = Store.here()
    prepared = retraining.prepare_retraining(store, Settings.of(store).schedules.retrain.config)
    if not prepared.run:
        return Completed(message=prepared.why)
    get_run_logger().info("%s: %s", prepared.run, prepared.why)
    train_prepared(prepared.run)
    score(prepared.run)
    return Completed(message=f"{prepared.run}: {prepared.why}")


@flow(name="clean", flow_run_name="clean", on_failure=[tell_failure], on_crashed=[tell_failure])
@living
def clean(dry_run: bool = True) -> dict[str, int]:
    """Delete what `[retention]` gives up; with dry_run only show it. Gives {"bytes", "entries"}."""
    store = Store.here()
    catalog = Catalog.of(store)
    found = retention.space(store, catalog, Settings.of(store).retention)
    space_table(found)
    given_up = [entry for kind in found for entry in kind.may_go]
    if not dry_run:
        retention.clean(store, catalog, given_up, who="the clean flow")
    catalog.close()
    return {"bytes": sum(entry.n_bytes for entry in given_up), "entries": len(given_up)}
