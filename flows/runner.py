"""`python -m neuroloom.flows.runner`: the deployments of a store, served; with the watcher of its inbox.

recordings   ingest-recording, as many at once as [ingest] in_flight says
sweep        every [server] sweep_minutes; a sweep that would start beside another is left out
"""

from __future__ import annotations

import argparse
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow
from prefect.schedules import Interval
from prefect.types.entrypoint import EntrypointType

from neuroloom.flows.recordings import ingest_recording
from neuroloom.flows.studying import study
from neuroloom.flows.sweep import sweep
from neuroloom.flows.training import build_features, evaluate, train
from neuroloom.flows.watcher import watch
from neuroloom.pipeline.config import Settings
from neuroloom.pipeline.store import Store

ANCHOR = datetime(2025, 1, 1, tzinfo=UTC)


def deployments(settings: Settings) -> list[RunnerDeployment]:
    """Everything a store serves, found by module (a file path would put `flows/` first on the import path)."""
    one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    every = Interval(timedelta(minutes=settings.server.sweep_minutes), anchor_date=ANCHOR)
    return [
        _deployment(ingest_recording, "recordings", concurrency_limit=settings.ingest.in_flight),
        _deployment(sweep, "sweep", schedule=every, concurrency_limit=one),
        _deployment(build_features, "features", concurrency_limit=1),
        _deployment(train, "training", concurrency_limit=1),
        _deployment(evaluate, "evaluation", concurrency_limit=1),
        _deployment(study, "studies", concurrency_limit=1),
    ]


def _deployment(flow: Flow[Any, Any], name: str, **options: Any) -> RunnerDeployment:
    make = cast(Callable[..., RunnerDeployment], flow.to_deployment)
    return make(name, entrypoint_type=EntrypointType.MODULE_PATH, **options)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", "runner", "watcher"), default="all")
    part = parser.parse_args().part
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    store = Store.here().create()
    settings = Settings.of(store)
    stop = threading.Event()
    if part == "watcher":
        watch(store, stop)
        return
    if part == "all":
        threading.Thread(target=watch, args=(store, stop), daemon=True, name="watcher").start()
    # One more than the recordings may take, so that the sweep and training never wait for them.
    limit = settings.ingest.in_flight + 2
    serve(*deployments(settings), limit=limit, pause_on_shutdown=False, print_starting_message=False)
    stop.set()


if __name__ == "__main__":
    main()
