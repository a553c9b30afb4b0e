"""`python -m neuroloom.flows.runner`: the deployments of a store, served; with the watcher of its inbox.

recordings   ingest-recording, as many at once as are handed over (`reconciling.py`)
verify, sweep, retrain, clean   when [schedules] says, see scheduling.py
features, training, form (a training whose settings are typed in), evaluation, searches, studies   on request

`runner --only training` takes what trains (retrain included) and nothing else, `--only recordings` the others: so that
a machine with an accelerator can be kept for training.
"""

from __future__ import annotations

import argparse
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import httpx
from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow
from prefect.types.entrypoint import EntrypointType

from neuroloom.flows.care import clean, retrain, verify
from neuroloom.flows.environment import wait_for_server
from neuroloom.flows.recordings import ingest_recording
from neuroloom.flows.scheduling import ONE, schedules_of
from neuroloom.flows.searching import search
from neuroloom.flows.studying import study
from neuroloom.flows.sweep import sweep
from neuroloom.flows.telling import keep_telling
from neuroloom.flows.training import build_features, evaluate, train, train_new
from neuroloom.flows.watcher import watch
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store, StoreError

ONLY = ("recordings", "training")


class ServerAwayError(OSError):
    """No Prefect server answers: the message says where."""


def deployments(settings: Settings, only: str = "") -> list[RunnerDeployment]:
    """Everything a store serves, found by module (a file path would put `flows/` first on the import path).

    only: those of one of `ONLY`.
    """
    by_the_clock = schedules_of(settings)
    clean_now = {"dry_run": False}  # by the clock it deletes; started by hand it shows, unless told otherwise
    by_the_clock["clean"] = replace(by_the_clock["clean"], parameters=clean_now)
    recordings = [
        _deployment(ingest_recording, "recordings"),
        _deployment(sweep, "sweep", schedule=by_the_clock["sweep"], concurrency_limit=ONE),
        _deployment(verify, "verify", schedule=by_the_clock["verify"], concurrency_limit=ONE),
        _deployment(clean, "clean", schedule=by_the_clock["clean"], concurrency_limit=ONE),
    ]
    training = [
        _deployment(retrain, "retrain", schedule=by_the_clock["retrain"], concurrency_limit=ONE),
        _deployment(build_features, "features", concurrency_limit=1),
        _deployment(train, "training", concurrency_limit=1),
        _deployment(train_new, "form", concurrency_limit=1),
        _deployment(evaluate, "evaluation", concurrency_limit=1),
        _deployment(search, "searches", concurrency_limit=1),
        _deployment(study, "studies", concurrency_limit=1),
    ]
    return {"recordings": recordings, "training": training, "": [*recordings, *training]}[only]


def _deployment(flow: Flow[Any, Any], name: str, **options: Any) -> RunnerDeployment:
    make = cast(Callable[..., RunnerDeployment], flow.to_deployment)
    return make(name, entrypoint_type=EntrypointType.MODULE_PATH, **options)


def main() -> None:
    """Serve until interrupted; what keeps it from that is one line on stderr, and exit 2."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", "runner", "watcher"), default="all")
    parser.add_argument("--only", choices=ONLY, default="", help="what a runner takes; everything if it is left out")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        _serve(asked.part, asked.only)
    except KeyboardInterrupt:
        parser.exit(130)
    except (ConfigError, StoreError, ServerAwayError) as error:
        parser.exit(2, f"neuroloom runner: {error}\n")
    except httpx.HTTPStatusError as error:
        said = f"the Prefect server at {error.request.url.host} answered {error.response.status_code}"
        parser.exit(2, f"neuroloom runner: {said}; PREFECT_API_AUTH_STRING is what lets a worker in\n")


def _serve(part: str, only: str) -> None:
    store = Store.here().create()
    settings = Settings.of(store)
    stop = threading.Event()
    address = os.environ.get("PREFECT_API_URL", "")
    if not wait_for_server(address) and part != "watcher":  # which looks at the inbox until one is there
        raise ServerAwayError(f"PREFECT_API_URL: no Prefect server answers at {address or 'no address'}")
    if part != "runner":
        threading.Thread(target=keep_telling, args=(store, stop), daemon=True, name="alerts").start()
    looked_after = [f"{each.flow_name}/{each.name}" for each in deployments(settings)]
    if part == "watcher":
        watch(store, stop, looked_after)
        return
    if part == "all":
        threading.Thread(target=watch, args=(store, stop, looked_after), daemon=True, name="watcher").start()
    # More than the recordings may take, so that what runs by the clock and training never wait for them.
    limit = settings.ingest.in_flight + 3
    serve(*deployments(settings, only), limit=limit, pause_on_shutdown=False, print_starting_message=False)
    stop.set()


if __name__ == "__main__":
    main()
