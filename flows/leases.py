"""Runs of the dashboard say that they live; those that have died without a word are shown as crashed.

@living          under `@flow`: its runs hold a lease in the catalog for as long as they go on
Silent.look()    asks after runs whose lease has run out; the watcher does so at each of its looks

Design rationale: a run whose worker was killed, or lost its power, stands as running for ever, since nobody is left who
could say otherwise. Prefect's own heartbeats are events, which are lost while the server is away. A run does not give
its lease back when it ends: it may still be killed, or find no server, before it has said so. One that was killed
before it took its lease is given one by `Silent`, and says nothing to that either.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from prefect import runtime

from neuroloom.flows.environment import INGEST_DEPLOYMENT
from neuroloom.flows.submitting import UNREACHABLE, end_run, runs_going_on
from neuroloom.pipeline.care.alerting import Alerts
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import IN_FLIGHT
from neuroloom.pipeline.drops.claimed import renewed
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

P = ParamSpec("P")
R = TypeVar("R")
INGEST = INGEST_DEPLOYMENT.partition("/")[0]  # whose drops are tried again, and told where that does not help
ASK_S = 60.0
log = logging.getLogger("neuroloom.leases")


def living(work: Callable[P, R]) -> Callable[P, R]:
    """What a flow does, under a lease."""

    @wraps(work)
    def lives(*args: P.args, **kwargs: P.kwargs) -> R:
        run, flow = runtime.flow_run.id, runtime.flow_run.flow_name
        with _lease(str(run), str(flow)) if run else nullcontext():  # called as a function it is no run
            return work(*args, **kwargs)

    # Types that are written as text are looked up where `work` is written, not here.
    lives.__signature__ = inspect.signature(work, eval_str=True)  # type: ignore[attr-defined]
    lives.__annotations__ = inspect.get_annotations(work, eval_str=True)
    return lives


@contextmanager
def _lease(run: str, flow: str) -> Iterator[None]:
    store = Store.here()
    catalog, lease_s = Catalog.of(store), Settings.of(store).ingest.lease_s
    hold = partial(catalog.leases.hold, run, flow=flow, lease_s=lease_s)
    try:
        with renewed(hold, lease_s=lease_s):
            yield
    finally:
        catalog.close()


@dataclass
class Silent:
    """Looks for runs that have died.

    deployments: "verify/verify" and so on, whose runs these are. steady: a clock that stands still while the machine
    sleeps.

    A run is taken for dead where its lease has run out, and another one has passed in which this process looked, the
    server answered, and nothing was heard: a machine that slept or lost its database finds its runs alive.
    """

    store: Store
    catalog: Catalog
    settings: Settings
    deployments: Collection[str]
    steady: Callable[[], float] = time.monotonic
    _asked_s: float = -ASK_S
    _since: dict[str, float] = field(default_factory=dict)  # by run, when it was first found silent

    def look(self) -> None:
        """Show as crashed what has died, and forget what has ended."""
        lease_s, now = self.settings.ingest.lease_s, self.steady()
        if self.deployments and now - self._asked_s >= ASK_S:
            self._asked_s = now
            self._lease_all()
        silent = self.catalog.leases.silent(longest_lease_s=lease_s)
        self._since = {run: self._since.get(run, now) for run in silent}
        for run, flow in silent.items():
            if now - self._since[run] >= lease_s:
                self._ask_after(run, flow)

    def _lease_all(self) -> None:
        """Those that have begun, or should have long ago, and hold neither lease nor drop get a lease that is over."""
        ingest = self.settings.ingest
        try:
            going_on = runs_going_on(self.deployments, starts_s=ingest.queue_s)
        except UNREACHABLE as error:
            log.info("nobody says which runs go on: %s", error)
            return
        holders = self.catalog.leases.held() | {drop.owner for drop in self.catalog.drops.every(*IN_FLIGHT)}
        for run in going_on.keys() - holders:
            self.catalog.leases.hold(run, flow=going_on[run], lease_s=0)

    def _ask_after(self, run: str, flow: str) -> None:
        try:
            has_died = end_run(run, "its worker was not heard of again")
        except UNREACHABLE as error:  # then it could not say either that it has ended
            log.info("run %s is not asked after: %s", run, error)
            self._since[run] = self.steady()
            return
        self.catalog.leases.forget(run)
        if has_died and flow != INGEST:
            Alerts(self.store, self.catalog, self.settings.alerts).note_failure(flow, run)
