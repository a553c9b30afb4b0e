"""Everything a store needs to run by itself, started and ended together: `with serving(store) as served: ...`.

    prefect server   a process of its own, SQLite in the store, 127.0.0.1 only, nothing sent anywhere
    runner           a process of its own: the deployments with their schedules, and the inbox watcher
    review pages     a thread here

Server and runner start at once, the runner imports its flows while the server boots and waits until it answers.

Design rationale: processes instead of threads for the server and the runner: each is ended by a signal like any
program, and a reader that takes the runner down does not take the person's terminal with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from neuroloom.flows.environment import INGEST_DEPLOYMENT, LOCALHOST, embedded_environment, free_port, wait_for_server
from neuroloom.flows.pages import pages_served
from neuroloom.pipeline.boxed._limits import end_with_parent
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.config import Settings
from neuroloom.pipeline.drops.reconciling import is_idle
from neuroloom.pipeline.reviewing import review_index
from neuroloom.pipeline.store import Store

RUNNER_READY_S = 60.0
END_S = 15.0
BUSY, BUSY_S = 503, 60.0


class ServeError(OSError):
    """The server or the runner did not start, or ended by itself; the message names its log."""


class _Patient(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        ends_s = time.monotonic() + BUSY_S
        while (answer := super().handle_request(request)).status_code == BUSY and time.monotonic() < ends_s:
            answer.close()
            time.sleep(1)
        return answer


@dataclass(frozen=True, kw_only=True)
class Served:
    """A store that runs by itself.

    environment: for whoever wants to talk to its server. moved: what is not at the port that settings name, and that.
    """

    store: Store
    dashboard_url: str
    review_url: str
    environment: Mapping[str, str]
    processes: tuple[subprocess.Popen[bytes], ...]
    moved: Mapping[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raises ServeError where a part has ended."""
        for process, name in zip(self.processes, ("server", "runner"), strict=True):
            if process.poll() is not None:
                raise ServeError(f"the {name} ended by itself; {_look(self.store, name)}")

    def api(self) -> httpx.Client:
        """A client of the server's API, which asks again where its database is busy, as Prefect's own client does."""
        return httpx.Client(base_url=f"{self.dashboard_url}/api", timeout=30, transport=_Patient())


@contextmanager
def serving(store: Store, *, settings: Settings | None = None) -> Iterator[Served]:
    """Server, deployments, watcher and pages of a store for as long as the context lasts; all end with it.

    Raises ServeError where a part does not come up.
    """
    store.create().prefect_home.mkdir(exist_ok=True)
    settings = settings or Settings.of(store)
    port, review_port = free_port(settings.server.port), free_port(settings.server.review_port)
    address, review_url = f"http://{LOCALHOST}:{port}", f"http://{LOCALHOST}:{review_port}"
    environment = embedded_environment(store, port=port, review_url=review_url)
    with (
        _process("server", ["-m", "prefect", "server", "start"], store, environment) as server,
        _process("runner", ["-m", "neuroloom.flows.runner"], store, environment) as runner,
        pages_served(store, review_port),
    ):
        review_index(store)
        served = Served(
            store=store,
            dashboard_url=address,
            review_url=review_url,
            environment=environment,
            processes=(server, runner),
            moved={
                name: wanted
                for name, wanted, got in (
                    ("dashboard", settings.server.port, port),
                    ("review pages", settings.server.review_port, review_port),
                )
                if wanted not in (0, got)
            },
        )
        if not wait_for_server(f"{address}/api", lambda: server.poll() is not None):
            raise ServeError(f"the Prefect server did not come up at {address}; {_look(store, 'server')}")
        _wait_for_deployments(served)
        yield served


def wait_until_idle(served: Served, timeout_s: float, *, scan_s: float = 0.5) -> None:
    """Return when every drop has come to its end and its pages are written.

    Raises TimeoutError naming the drops that have not, ServeError where a part of the service ended.
    """
    store = served.store
    catalog = Catalog.of(store)
    ends_s = time.monotonic() + timeout_s
    try:
        while not is_idle(store, catalog) or _runs_going(served):
            served.check()
            if time.monotonic() > ends_s:
                waiting = ", ".join(f"{d.name} ({d.state} {d.reason})" for d in catalog.drops() if d.state != "DONE")
                raise TimeoutError(f"after {timeout_s:g} s these have not ended: {waiting or os.listdir(store.inbox)}")
            time.sleep(scan_s)
    finally:
        catalog.close()


def _runs_going(served: Served) -> bool:
    """True while a run that ingests is under way: it writes pages after the drop is done."""
    asked = {
        "flows": {"name": {"any_": [INGEST_DEPLOYMENT.partition("/")[0]]}},
        "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}},
    }
    with served.api() as client:
        return bool(client.post("/flow_runs/count", json=asked).raise_for_status().json())


def run_and_wait(
    served: Served,
    deployment: str,
    parameters: Mapping[str, object],
    *,
    timeout_s: float,
    progress: Callable[[], None] | None = None,
) -> None:
    """Start one run of a served deployment ("train/training") and return when it has completed.

    progress: called once a second. Raises ServeError where the run ends otherwise, TimeoutError where it does not end.
    """
    with served.api() as client:
        found = client.get(f"/deployments/name/{deployment}").raise_for_status().json()
        asked = {"parameters": dict(parameters), "state": {"type": "SCHEDULED"}, "idempotency_key": uuid.uuid4().hex}
        run_id = client.post(f"/deployments/{found['id']}/create_flow_run", json=asked).raise_for_status().json()["id"]
        ends_s = time.monotonic() + timeout_s
        while time.monotonic() < ends_s:
            served.check()
            state = client.get(f"/flow_runs/{run_id}").raise_for_status().json()["state"]
            if state["type"] == "COMPLETED":
                return
            if state["type"] in ("FAILED", "CRASHED", "CANCELLED"):
                said = " ".join((state["message"] or "no message").split())
                raise ServeError(f"{deployment} {state['type'].lower()}: {said}; see {_log(served.store, 'runner')}")
            if progress is not None:
                progress()
            time.sleep(1.0)
    raise TimeoutError(f"{deployment} has not ended after {timeout_s:g} s; see {served.dashboard_url}/runs")


def _look(store: Store, name: str) -> str:
    return f"{_log(store, name)} says why, and `neuroloom doctor` what is in its way"


def _log(store: Store, name: str) -> Path:
    return store.prefect_home / f"{name}.log"


@contextmanager
def _process(
    name: str, arguments: list[str], store: Store, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program with its output in a log, in a process group of its own that ends with the context."""
    with _log(store, name).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=dict(environment),
            cwd=store.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, signal.SIGTERM),  # also where this process is killed outright
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, and after a while make it."""
    for ask in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, ask)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=END_S)
            break
    with suppress(ProcessLookupError):  # a run whose parent has gone
        os.killpg(process.pid, signal.SIGKILL)


def _wait_for_deployments(served: Served) -> None:
    address = f"{served.dashboard_url}/api/deployments/name/{INGEST_DEPLOYMENT}"
    ends_s = time.monotonic() + RUNNER_READY_S
    while time.monotonic() < ends_s:
        served.check()
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.1)
    raise ServeError(f"the deployments were not registered; {_look(served.store, 'runner')}")
