"""The server profile, started by hand with the settings of docker-compose.yml: PostgreSQL, Redis, a Prefect server
that wants a password, a watcher and two workers on one store; one worker is killed while it works.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from neuroloom.ingest.manifest import verify
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE, OPEN, QUARANTINED, RUNNING
from neuroloom.pipeline.store import Store

from .. import servers

ROOT = Path(__file__).parents[2]
GAZE = next((ROOT / "sample_data" / "person").glob("*_gaze.asc"))
AUTH = "admin:test-only"
N_GOOD = 6
SETTINGS = """
[inbox]
settle_s = 0.5
orphan_s = 5
scan_s = 0.5
retry_s = 1
[ingest]
sorter = "none"
in_flight = 4
lease_s = 15
queue_s = 60
[schedules]
sweep = {every_minutes = 0.2}
"""


pytestmark = pytest.mark.slow  # minutes, and on busy cores a worker's death is noticed too late for its deadlines


@dataclass
class Machines:
    store: Store
    environment: dict[str, str]
    api: str
    workers: dict[Path, subprocess.Popen[bytes]]  # by log
    health: list[int]  # ports at which they say whether they ask for work

    def working(self, drop_id: int) -> subprocess.Popen[bytes]:
        """The worker that works on a drop."""
        began = re.compile(rf"Flow run 'drop \[(\d+, )*{drop_id}\b")
        (log,) = (log for log in self.workers if began.search(log.read_text(errors="replace")))
        return self.workers[log]

    def runs(self, **wanted) -> list[dict]:
        """What the server says of runs that match."""
        user, _, password = AUTH.partition(":")
        with httpx.Client(base_url=self.api, auth=(user, password)) as client:
            client_id = "00000000-0000-0000-0000-000000000001"
            csrf = client.get("/csrf-token", params={"client": client_id}).raise_for_status().json()["token"]
            headers = {"Prefect-Csrf-Token": csrf, "Prefect-Csrf-Client": client_id}
            return client.post("/flow_runs/filter", json=wanted, headers=headers).raise_for_status().json()

    def going_on(self) -> list[tuple[str, ...]]:
        """Runs of drops that have not ended: name, state, since when, what is said of it, when it was made."""
        return [
            (run["name"], state["type"], state["timestamp"], state["message"] or "", run["created"])
            for run in self.runs(flows={"name": {"any_": ["ingest-recording"]}})
            if (state := run["state"])["type"] in ("RUNNING", "PENDING", "SCHEDULED")
        ]

    def catalog(self) -> Catalog:
        return Catalog.at(self.environment["NEUROLOOM_CATALOG_URL"])

    def wait(self, until, timeout_s: float = 240) -> None:
        catalog, ends_s = self.catalog(), time.monotonic() + timeout_s
        try:
            while not until(catalog):
                if time.monotonic() > ends_s:
                    drops = [(d.name, d.state, d.reason) for d in catalog.drops.every()]
                    pytest.fail(f"after {timeout_s:g} s: {drops}; runs {self.going_on()}")
                time.sleep(0.5)
        finally:
            catalog.close()


def composed(service: str, place: dict[str, str]) -> dict[str, str]:
    """The environment of a service in docker-compose.yml, its hosts replaced by what was started here."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    found = {}
    for key, value in services[service]["environment"].items():
        text = re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda m: place.get(m[1], m[2] or ""), str(value))
        for there, here in (("@database/", f"@{place['database']}/"), ("server:4200", place["server"])):
            text = text.replace(there, here)
        found[key] = text
    return found


@contextmanager
def part(arguments, environment, log):
    """A process of the profile, with what it started; all of it ends with the context."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    finally:
        for ask in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, ask)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    servers.need("prefect_redis")
    home = tmp_path_factory.mktemp("machines")
    store = Store(home / "store").create()
    store.settings_file.write_text(SETTINGS)
    with ExitStack() as stack:
        database, redis = stack.enter_context(servers.postgres()), stack.enter_context(servers.redis())
        for name in ("prefect", "neuroloom"):
            servers.new_database(database, name)
        port = servers.free_port()
        place = {"NEUROLOOM_DB_PASSWORD": servers.PASSWORD, "NEUROLOOM_PREFECT_AUTH": AUTH}
        place |= {"NEUROLOOM_PREFECT_PORT": str(port), "server": f"127.0.0.1:{port}"}
        place["database"] = database.rpartition("@")[2]
        here = {"NEUROLOOM_STORE": str(store.root), "PREFECT_HOME": str(home / "prefect")}
        # Times, not ways: a worker that looks sooner and says what it runs, and a server that finds its port.
        here |= {"PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_RUNNER_POLL_FREQUENCY": "2"}
        here |= {"PREFECT_REDIS_MESSAGING_PORT": str(redis)}
        here |= {"PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(port)}
        migrating = os.environ | composed("migrate", place) | here
        upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
        done = subprocess.run(upgrade, env=migrating, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        serving = os.environ | composed("server", place) | here
        server = stack.enter_context(part(["-m", "prefect", "server", "start"], serving, home / "server.log"))
        servers.wait_for(port, server, home / "server.log", timeout_s=120)
        environment = os.environ | composed("worker", place) | here
        runner = ["-m", "neuroloom.flows.runner"]
        logs = [home / f"worker-{n}.log" for n in range(2)]
        health, workers = [servers.free_port() for _ in logs], {}
        for log, port_of_it in zip(logs, health, strict=True):
            told = environment | {"PREFECT_RUNNER_SERVER_PORT": str(port_of_it)}
            workers[log] = stack.enter_context(part([*runner, "runner"], told, log))
        stack.enter_context(part([*runner, "watcher"], environment, home / "watcher.log"))
        yield Machines(store, environment, f"http://127.0.0.1:{port}/api", workers, health)


def test_the_schedule_makes_runs_here_too(machines):
    """Asked before a worker is killed: a run that it takes along keeps its kind from running for five minutes."""

    def completed(_catalog):
        runs = machines.runs(flows={"name": {"any_": ["sweep"]}})
        return any(run["auto_scheduled"] and run["state"]["type"] == "COMPLETED" for run in runs)

    machines.wait(completed, timeout_s=120)


def test_each_worker_says_that_it_asks_for_work(machines):
    """The route of the health check in docker-compose.yml."""

    def well(_catalog):
        with suppress(httpx.TransportError):  # it starts after the worker
            return all(httpx.get(f"http://localhost:{port}/health").status_code == 200 for port in machines.health)
        return False

    machines.wait(well, timeout_s=120)


@pytest.fixture(scope="module")
def counted(machines):
    """Drops come in, a worker is killed while it works on one, and everything comes to its end."""
    text = GAZE.read_text(encoding="utf-8")
    for n in range(N_GOOD):
        name = f"sub-{n:02d}_ses-01_task-choice_gaze.asc"
        (machines.store.inbox / name).write_text(f"** recording {n}\n{text}", encoding="utf-8")
    (machines.store.inbox / "broken.vhdr").write_text("Brain Vision Data Exchange Header File Version 1.0\n")
    begun = []
    machines.wait(lambda catalog: begun.extend(catalog.drops.every(RUNNING)) or begun)
    os.killpg(machines.working(begun[0].id).pid, signal.SIGKILL)
    machines.wait(lambda catalog: catalog.drops.counts().get(DONE, 0) >= 1)
    shutil.copyfile(machines.store.originals.glob("*/files/*.asc").__next__(), machines.store.inbox / "again.asc")
    machines.wait(lambda catalog: len(catalog.drops.every()) > N_GOOD + 1 and not catalog.drops.every(*OPEN))
    return machines


def test_every_drop_is_in_exactly_one_state_and_has_ended(counted):
    catalog = counted.catalog()
    drops, counts = catalog.drops.every(), catalog.drops.counts()
    catalog.close()
    assert counts == {DONE: N_GOOD + 1, QUARANTINED: 1}
    assert Counter(drop.name for drop in drops).most_common(1)[0][1] == 1
    assert not list(counted.store.inbox.iterdir())


def test_nothing_is_there_twice(counted):
    versions = {session: [v.name for v in counted.store.versions(session)] for session in counted.store.session_ids()}
    assert versions == {f"sub-{n:02d}_ses-01_task-choice": ["v001"] for n in range(N_GOOD)}
    assert len(list(counted.store.originals.glob("*/drop.json"))) in (N_GOOD, N_GOOD + 1)
    assert not [path for path in counted.store.staging.iterdir() if not path.name.startswith("box-")]


def test_every_session_is_sound(counted):
    assert [verify(counted.store.latest(session)) for session in counted.store.session_ids()] == [[]] * N_GOOD


def test_no_run_of_the_dead_worker_is_shown_as_going_on(counted):
    """Those of the other worker end soon: pages are made after a drop is done."""

    counted.wait(lambda _: not counted.going_on())
    runs = counted.runs(flows={"name": {"any_": ["ingest-recording"]}})
    assert Counter(run["state"]["type"] for run in runs)["CRASHED"] >= 1


def test_the_dashboard_wants_its_password_and_its_health_does_not(counted):
    assert httpx.get(f"{counted.api}/deployments/name/sweep/sweep").status_code == 401
    user, _, password = AUTH.partition(":")
    assert httpx.get(f"{counted.api}/deployments/name/sweep/sweep", auth=(user, password)).status_code == 200
    assert httpx.get(f"{counted.api}/ready").status_code == 200


def test_a_write_from_another_page_is_refused(counted):
    """CSRF protection: the password alone, as a browser would send it along, is not enough."""
    user, _, password = AUTH.partition(":")
    answer = httpx.post(f"{counted.api}/flows/", json={"name": "forged"}, auth=(user, password))
    assert answer.status_code == 403
