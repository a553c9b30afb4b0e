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
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

import httpx

from neuroloom.flows.environment import (
    INGEST_DEPLOYMENT,
    LOCALHOST,
    answers,
    embedded_environment,
    free_port,
    wait_for_server,
)
from neuroloom.flows.pages import pages_served
from neuroloom.ingest import durable
from neuroloom.pipeline.boxed._limits import end_with_parent
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.drops.reconciling import is_idle
from neuroloom.pipeline.reviewing import review_index
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

RUNNER_READY_S = 60.0
END_S = 15.0
BUSY, BUSY_S = 503, 60.0
STARTS_AGAIN, LATELY_S = 3, 3600.0
SAID = "neuroloom runner: "  # before what `runner.main` says of its end


class ServeError(OSError):
    """The server or the runner did not start, or ended by itself; the message names its log."""


class _Patient(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        ends_s = time.monotonic() + BUSY_S
        while (answer := super().handle_request(request)).status_code == BUSY and time.monotonic() < ends_s:
            answer.close()
            time.sleep(1)
        return answer


@dataclass(kw_only=True)
class Part:
    """A Python program with its output in a log, in a process group of its own; ends with `with part:`."""

    name: str
    arguments: Sequence[str]
    store: Store
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] = field(init=False)
    started_again: list[float] = field(default_factory=list)  # when, by the monotonic clock

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        _end(self.process)

    @property
    def has_ended(self) -> bool:
        """True where it ended by itself."""
        return self.process.poll() is not None

    def start_again(self) -> None:
        """What it left behind ends, and it starts anew. Raises ServeError where that was done too often lately."""
        now = time.monotonic()
        self.started_again = [at for at in self.started_again if now - at < LATELY_S]
        if len(self.started_again) >= STARTS_AGAIN:
            raise ServeError(
                f"the {self.name} ended by itself and was started again {STARTS_AGAIN} times within the hour; "
                f"{_look(self.store, self.name)}"
            )
        self.started_again.append(now)
        with suppress(ProcessLookupError):  # nobody would end these later
            os.killpg(self.process.pid, signal.SIGKILL)
        self._start()

    def _start(self) -> None:
        with _log(self.store, self.name).open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments],
                env=dict(self.environment),
                cwd=self.store.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, signal.SIGTERM),  # also where this process is killed outright
            )


@dataclass(frozen=True, kw_only=True)
class Served:
    """A store that runs by itself.

    environment: for whoever wants to talk to its server. moved: what is not at the port that settings name, and that.
    """

    store: Store
    dashboard_url: str
    review_url: str
    environment: Mapping[str, str]
    parts: tuple[Part, ...]
    moved: Mapping[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raises ServeError where a part has ended."""
        for part in self.parts:
            if part.has_ended:
                raise ServeError(f"the {part.name} ended by itself; {_look(self.store, part.name)}")

    def mend(self) -> list[str]:
        """Start again what has ended by itself; a line for each. Raises ServeError where one ends again and again.

        Waits for nothing: drops that cannot be handed over meanwhile wait in the inbox, and runs ask the server again.
        """
        ended = [part for part in self.parts if part.has_ended]
        for part in ended:
            part.start_again()
        return [f"the {p.name} ended by itself and is started again; see {_log(self.store, p.name)}" for p in ended]

    def api(self) -> httpx.Client:
        """A client of the server's API, which asks again where its database is busy, as Prefect's own client does."""
        return httpx.Client(base_url=f"{self.dashboard_url}/api", timeout=30, transport=_Patient())


@contextmanager
def serving(store: Store, *, settings: Settings | None = None) -> Iterator[Served]:
    """Server, deployments, watcher and pages of a store for as long as the context lasts; all end with it.

    Raises ServeError where a part does not come up, or another process serves this store.
    """
    store.create().prefect_home.mkdir(exist_ok=True)
    settings = settings or Settings.of(store)
    port, review_port = free_port(settings.server.port), free_port(settings.server.review_port)
    address, review_url = f"http://{LOCALHOST}:{port}", f"http://{LOCALHOST}:{review_port}"
    with (
        _alone(store, f"dashboard {address}, review pages {review_url}/index.html"),
        _all_parts(store, settings, port, review_port) as served,
    ):
        yield served


@contextmanager
def _alone(store: Store, addresses: str) -> Iterator[None]:
    """One process serves a store: two Prefect servers would share one database file."""
    with (store.prefect_home / "serving").open("a+") as file:
        try:
            durable.lock(file.fileno(), wait=False)
        except BlockingIOError as error:
            file.seek(0)
            said = f"{store.root}: is served already ({file.read().strip()})"
            raise ServeError(f"{said}; Ctrl-C there ends that") from error
        file.truncate(0)
        file.write(addresses)
        file.flush()
        yield


@contextmanager
def _all_parts(store: Store, settings: Settings, port: int, review_port: int) -> Iterator[Served]:
    address, review_url = f"http://{LOCALHOST}:{port}", f"http://{LOCALHOST}:{review_port}"
    environment = embedded_environment(store, port=port, review_url=review_url)
    part = partial(Part, store=store, environment=environment)
    with (
        part(name="server", arguments=["-m", "prefect", "server", "start"]) as server,
        part(name="runner", arguments=["-m", "neuroloom.flows.runner"]) as runner,
        pages_served(store, review_port),
    ):
        review_index(store)
        served = Served(
            store=store,
            dashboard_url=address,
            review_url=review_url,
            environment=environment,
            parts=(server, runner),
            moved={
                name: wanted
                for name, wanted, got in (
                    ("dashboard", settings.server.port, port),
                    ("review pages", settings.server.review_port, review_port),
                )
                if wanted not in (0, got)
            },
        )
        if not wait_for_server(f"{address}/api", lambda: server.has_ended):
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
                waiting = ", ".join(
                    f"{d.name} ({d.state} {d.reason})" for d in catalog.drops.every() if d.state != "DONE"
                )
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
    """What a part said last, where that is why it ended; else where to look."""
    last = (_log(store, name).read_text(encoding="utf-8", errors="replace").splitlines() or [""])[-1]
    if last.startswith(SAID):
        return last.removeprefix(SAID)
    return f"{_log(store, name)} says why, and `neuroloom doctor` what is in its way"


def _log(store: Store, name: str) -> Path:
    return store.prefect_home / f"{name}.log"


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
        if answers(address, timeout_s=5):
            return
        time.sleep(0.1)
    raise ServeError(f"the deployments were not registered; {_look(served.store, 'runner')}")
