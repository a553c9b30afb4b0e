"""Runs whose worker died without a word are shown as crashed, and no others: on a real Prefect server."""

import os
import signal
import subprocess
import sys
import time

import pytest
from prefect import flow, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Completed, Pending, Running

from neuroloom.flows.leases import Silent, living
from neuroloom.pipeline.care.alerting import alerts_of
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import SUBMITTED
from neuroloom.pipeline.settings import AlertSettings, IngestSettings, Settings
from neuroloom.pipeline.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore"),
]  # a server for tests warns of much

LEASE_S = 10.0
DEPLOYMENTS = ("verify/verify", "ingest-recording/recordings")
HANGS = """
import time
from prefect import flow
from neuroloom.flows.leases import living

@flow(name="verify")
@living
def verify():
    time.sleep(600)

verify()
"""


@flow(name="verify")
def verifying():
    pass


@flow(name="train")
def training():
    pass


@flow(name="ingest-recording")
def ingesting():
    pass


class Place:
    """A store, its runs on the server, and a watcher whose clock is turned by hand."""

    def __init__(self, store):
        self.store, self.catalog, self.now = store, Catalog.of(store), 0.0
        ingest = IngestSettings(lease_s=LEASE_S, queue_s=0.001)  # what was to begin longer ago does so no more
        alerts = AlertSettings(mail_to=("lab@example.org",))
        settings = Settings(ingest=ingest, alerts=alerts)
        self.silent = Silent(store, self.catalog, settings, DEPLOYMENTS, steady=lambda: self.now)

    def run(self, work, state, *, heard_s_ago):
        with get_client(sync_client=True) as client:
            run = str(client.create_flow_run(work, state=state).id)
        self.hear(run, work.name, heard_s_ago)
        return run

    def served(self, work, state):
        """A run of a deployment, of which nothing was heard."""
        names = {flow: name for flow, _, name in (each.partition("/") for each in DEPLOYMENTS)}
        with get_client(sync_client=True) as client:
            flow_id = client.create_flow(work)
            deployment = client.create_deployment(flow_id, name=names.get(work.name, "theirs"))
            return str(client.create_flow_run_from_deployment(deployment, state=state).id)

    def hear(self, run, name="verify", s_ago=0.0):
        self.catalog.leases.hold(run, flow=name, lease_s=LEASE_S, now=time.time() - s_ago)

    def look_after(self, seconds):
        self.now += seconds
        self.silent.look()

    def leases(self):
        return set(self.catalog.leases.silent(longest_lease_s=LEASE_S, now=time.time() + 3600))

    def told(self):
        return [row.words.partition(";")[0] for row in alerts_of(self.catalog)]


@pytest.fixture
def place(tmp_path):
    made = Place(Store(tmp_path / "store").create())
    yield made
    made.catalog.close()


def said(run):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run).state.type.value


def test_a_run_that_was_not_heard_of_for_two_leases_is_shown_as_crashed_and_told(place):
    dead, lives = (place.run(verifying, Running(), heard_s_ago=s) for s in (60, 0))
    place.look_after(0)
    place.look_after(LEASE_S - 1)
    assert (said(dead), place.told()) == ("RUNNING", [])
    place.look_after(1)
    assert (said(dead), said(lives), place.told()) == ("CRASHED", "RUNNING", ["a run of verify failed"])
    assert place.leases() == {lives}


def test_a_run_whose_drops_another_one_has_taken_over_is_shown_as_crashed_and_not_told(place):
    superseded = place.run(ingesting, Running(), heard_s_ago=60)
    place.look_after(0)
    place.look_after(LEASE_S)
    assert (said(superseded), place.told()) == ("CRASHED", [])


def test_one_that_was_to_be_cancelled_is_shown_as_cancelled(place):
    dead = place.run(verifying, Cancelling(), heard_s_ago=60)
    place.look_after(0)
    place.look_after(LEASE_S)
    assert said(dead) == "CANCELLED"


def test_a_run_that_has_ended_is_forgotten_and_stays_as_it_is(place):
    ended = place.run(verifying, Completed(), heard_s_ago=60)
    place.look_after(0)
    place.look_after(LEASE_S)
    assert (said(ended), place.leases(), place.told()) == ("COMPLETED", set(), [])


def test_a_machine_that_slept_finds_its_runs_alive(place):
    lives = place.run(verifying, Running(), heard_s_ago=8 * 3600)
    place.look_after(0)
    place.hear(lives)
    place.look_after(LEASE_S)
    assert (said(lives), place.leases()) == ("RUNNING", {lives})


def test_a_run_that_could_not_reach_the_server_either_gets_another_lease_when_it_is_back(place):
    silent = place.run(verifying, Running(), heard_s_ago=60)
    place.look_after(0)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # a port at which nobody listens
        place.look_after(LEASE_S)
    place.look_after(LEASE_S - 1)
    assert said(silent) == "RUNNING"
    place.look_after(1)
    assert said(silent) == "CRASHED"


def test_a_run_that_died_before_it_took_its_lease_is_shown_as_crashed(place):
    states = ((verifying, Running()), (ingesting, Pending()), (training, Running()))
    runs = [place.served(work, state) for work, state in states]
    for _ in range(3):
        place.look_after(3 * LEASE_S)
    assert [said(run) for run in runs] == ["CRASHED", "CRASHED", "RUNNING"]


def test_a_run_that_was_not_begun_and_holds_a_drop_is_left_to_the_reconciler(place):
    waits = place.served(ingesting, Pending())
    drop = place.catalog.drops.add("a.rec", folder=place.store.inbox, state=SUBMITTED)
    place.catalog.drops.hold([drop.id], owner=waits, lease_s=LEASE_S)
    for _ in range(3):
        place.look_after(3 * LEASE_S)
    assert said(waits) == "PENDING"


def test_a_flow_is_heard_of_while_it_goes_on(place, monkeypatch):
    monkeypatch.setenv("NEUROLOOM_STORE", str(place.store.root))
    heard = []

    @flow(name="verify")
    @living
    def working(answer: int) -> int:
        ends_s = time.monotonic() + 20
        while not heard and time.monotonic() < ends_s:
            heard.extend(place.leases())
        return answer

    assert (working(7), len(heard)) == (7, 1)


def test_what_a_flow_does_holds_no_lease_where_it_is_called_as_a_function(place, monkeypatch):
    monkeypatch.setenv("NEUROLOOM_STORE", str(place.store.root))
    assert (living(lambda answer: (answer, place.leases()))(7)) == (7, set())


def test_a_run_whose_process_is_killed_is_shown_as_crashed(place):
    place.store.settings_file.write_text(f"[ingest]\nlease_s = {LEASE_S / 5}\n")
    environment = os.environ | {"NEUROLOOM_STORE": str(place.store.root), "PREFECT_API_URL": PREFECT_API_URL.value()}
    with subprocess.Popen([sys.executable, "-c", HANGS], env=environment, stderr=subprocess.DEVNULL) as process:
        ends_s = time.monotonic() + 60
        while not place.leases() and time.monotonic() < ends_s:
            time.sleep(0.1)
        (run,) = place.leases()
        time.sleep(LEASE_S / 2)  # longer than its lease
        place.look_after(0)
        place.look_after(LEASE_S)
        assert said(run) == "RUNNING"
        process.send_signal(signal.SIGKILL)
    ends_s = time.monotonic() + 30
    while not place.catalog.leases.silent(longest_lease_s=LEASE_S) and time.monotonic() < ends_s:
        time.sleep(0.1)
    place.look_after(0)
    place.look_after(LEASE_S)
    assert said(run) == "CRASHED"
