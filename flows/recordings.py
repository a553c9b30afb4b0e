"""`ingest-recording`: one run takes the drops it was handed from claimed to published.

One run per recording (small ones in batches): a process of its own, so memory, a crash or a cancellation stay with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from prefect import flow, get_client, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from neuroloom.flows import artifacts
from neuroloom.flows.leases import living
from neuroloom.pipeline.boxed.box import Inside, box_of
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import Drop
from neuroloom.pipeline.drops.claimed import fail, held, ingest_claimed
from neuroloom.pipeline.reviewing import review_index, review_session
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

# Where files are read. No parameter of the task: Prefect looks into parameters, and copies what it finds there.
_inside: ContextVar[Inside] = ContextVar("inside")


@flow(name="ingest-recording", flow_run_name="drop {drop_ids}", validate_parameters=True)
@living
def ingest_recording(drop_ids: list[int]) -> State[Any]:
    """Ingest these drops of the store NEUROLOOM_STORE names; one that fails does not stop the next."""
    store = Store.here()
    catalog, settings = Catalog.of(store), Settings.of(store)
    owner = str(runtime.flow_run.id)
    lease_s = settings.ingest.lease_s
    with held(catalog, drop_ids, owner=owner, lease_s=lease_s), box_of(store, settings.box) as inside:
        _inside.set(inside)
        outcomes = [_ingest_one(store, catalog, settings, drop_id, owner) for drop_id in drop_ids]
    sessions = [session for outcome in outcomes for session in outcome["sessions"]]
    if sessions:
        name_run(sessions)
    write_index_page.with_options(task_run_name="index page")(return_state=True)
    n_failed = sum(outcome["failed"] for outcome in outcomes)
    catalog.close()
    if n_failed:
        return Failed(message=f"{n_failed} of {len(drop_ids)} ended without a result; they are tried again")
    return Completed(message=f"{len(drop_ids)} drops, {len(sessions)} sessions")


def _ingest_one(store: Store, catalog: Catalog, settings: Settings, drop_id: int, owner: str) -> dict[str, Any]:
    drop = catalog.drops.claim(drop_id, owner=owner, lease_s=settings.ingest.lease_s)
    if drop is None:
        get_run_logger().info("drop %d has ended, or another run holds it", drop_id)
        return {"sessions": [], "failed": False}
    state = ingest_claimed_drop(drop_id, return_state=True)
    if not state.is_completed():
        why = f"the reader stopped ({(state.message or 'no message')[:200]})"
        fail(store, catalog, settings, drop, why, error=state.result(raise_on_failure=False))
        return {"sessions": [], "failed": True}
    results = state.result()
    for result in results:
        show_result.with_options(task_run_name=f"pages of drop {drop_id}")(drop_id, result, return_state=True)
    return {"sessions": [r["session"] for r in results if r["session"]], "failed": False}


@task(task_run_name="drop {drop_id}", cache_policy=NO_CACHE, persist_result=False)
def ingest_claimed_drop(drop_id: int) -> list[dict[str, Any]]:
    """Read, align, sort, publish one claimed drop; results as `neuroloom ingest --json` has them."""
    store = Store.here()
    catalog, settings = Catalog.of(store), Settings.of(store)
    drop = _claimed(catalog, drop_id)
    progress = artifacts.Progress(f"drop {drop_id}", get_run_logger())
    results = ingest_claimed(store, catalog, settings, drop, inside=_inside.get(), progress=progress)
    progress.finish()
    catalog.close()
    return results


@task(cache_policy=NO_CACHE, persist_result=False)
def show_result(drop_id: int, result: dict[str, Any]) -> None:
    """The run's artifacts, and the review page of the session."""
    if result["state"] == "quarantined":
        artifacts.refusal_page(drop_id, str(result["reason"]))
        return
    artifacts.session_page(result)
    review_session(Store.here(), str(result["session"]))


@task(cache_policy=NO_CACHE, persist_result=False)
def write_index_page() -> None:
    """The front page: inbox, quarantine, sessions, runs."""
    review_index(Store.here())


def name_run(sessions: Sequence[str]) -> None:
    """Name the run after what came out: codes of subject, session and task."""
    more = f" and {len(sessions) - 1} more" if len(sessions) > 1 else ""
    with get_client(sync_client=True) as client:
        client.update_flow_run(runtime.flow_run.id, name=f"{sessions[0]}{more}")


def _claimed(catalog: Catalog, drop_id: int) -> Drop:
    drop = catalog.drops.get(drop_id)
    if drop is None:
        raise LookupError(f"drop {drop_id} is not in the catalog")
    return drop
