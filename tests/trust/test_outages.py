"""What the service rests on goes away while drops come in, and comes back: the catalog's database, the Prefect server.

The watcher is the real one. Where the database goes away, drops are worked on by a thread here, as runs do it; where
the server is killed, by the runs of a real `neuroloom up`. NEUROLOOM_OUTAGE_S says how long a database is away in
`make check-trust`, 60 where it says nothing.
"""

import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.exc import DBAPIError

from neuroloom.flows import watcher
from neuroloom.flows.environment import wait_for_server
from neuroloom.ingest import manifest
from neuroloom.ingest.digest import digest_of_file
from neuroloom.pipeline.catalog import Catalog, opening
from neuroloom.pipeline.catalog.tables import DONE, IN_FLIGHT, OPEN, QUARANTINED, RUNNING
from neuroloom.pipeline.drops.claimed import fail, ingest_claimed
from neuroloom.pipeline.drops.reconciling import NoRuns
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

from .. import servers
from .hostile_paths import brainvision

OUTAGE_S = float(os.environ.get("NEUROLOOM_OUTAGE_S", "60"))
PATIENCE_S = 120
SETTINGS = """
[inbox]
settle_s = 0.2
orphan_s = 0.5
scan_s = 0.1
retry_s = 0.5
[ingest]
sorter = "none"
lease_s = 2
min_free_bytes = 0
"""
UNBOXED = "[box]\non = false\n"
N_BEFORE, N_DURING = 2, 1
BROKEN = "broken"


def put(store, names):
    """Recordings like no other; each becomes whole at once, as a folder that is moved in."""
    for name in names:
        folder = store.root / name
        folder.mkdir()
        if name == BROKEN:
            (folder / "x.vhdr").write_text("Brain Vision Data Exchange Header File Version 1.0\n")
        else:
            brainvision(folder)
            number = int(name[-2:])
            np.arange(number, number + 100, dtype="<i2").tofile(folder / "x.eeg")
        (folder / "session.toml").write_text(f'subject = "{name}"\n')
        folder.rename(store.inbox / name)


class Worker(NoRuns):
    """Takes drops as runs do; where the database is away an attempt ends without a word, as a run that crashes."""

    def __init__(self, _settings):
        self.pool = ThreadPoolExecutor(1)
        self.n_cut_short = 0

    def __call__(self, drops):
        for drop in drops:
            self.pool.submit(self._work, drop.id)

    def _work(self, drop_id):
        store = Store.here()
        settings = Settings.of(store)
        try:
            catalog = Catalog.of(store)
        except DBAPIError:
            self.n_cut_short += 1
            return
        try:
            drop = catalog.drops.claim(drop_id, owner="", lease_s=settings.ingest.lease_s)
            if drop is not None:
                self._ingest(store, catalog, settings, drop)
        except DBAPIError:
            self.n_cut_short += 1
        finally:
            catalog.close()

    def _ingest(self, store, catalog, settings, drop):
        try:
            ingest_claimed(store, catalog, settings, drop)
        except Exception as error:  # noqa: BLE001 - Prefect's tasks stop here, too
            fail(store, catalog, settings, drop, f"the reader stopped ({type(error).__name__})")


@contextmanager
def watched(store, monkeypatch):
    worker, stop = Worker(None), threading.Event()
    monkeypatch.setattr(watcher, "Submitter", lambda _: worker)
    thread = threading.Thread(target=watcher.watch, args=(store, stop))
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join()
        worker.pool.shutdown()


def ended(store, expected, *, timeout_s=PATIENCE_S):
    """Wait until all these have come to an end, and give for how long."""
    catalog, began_s = Catalog.of(store), time.monotonic()
    try:
        while len(catalog.drops.every()) < len(expected) or catalog.drops.every(*OPEN) or os.listdir(store.inbox):
            if time.monotonic() > began_s + timeout_s:
                drops = [(d.name, d.state, d.reason) for d in catalog.drops.every()]
                pytest.fail(f"{drops}, {os.listdir(store.inbox)}")
            time.sleep(0.1)
        return time.monotonic() - began_s
    finally:
        catalog.close()


def nothing_is_lost_or_doubled(store, expected):
    """Every drop in exactly one state, its originals kept once, and one sound version of each session."""
    catalog = Catalog.of(store)
    assert sorted((drop.name, drop.state) for drop in catalog.drops.every()) == sorted(expected.items())
    catalog.close()
    assert os.listdir(store.inbox) == []
    kept = [path for place in (store.originals, store.quarantine) for path in place.glob("*/files/**/*.vhdr")]
    assert Counter(path.parent.name for path in kept) == dict.fromkeys(expected, 1)
    signals = [digest_of_file(path) for path in store.originals.glob("*/files/**/*.eeg")]
    assert len(set(signals)) == len(signals) == list(expected.values()).count(DONE)
    versions = {name: [v.name for v in store.versions(name)] for name in store.session_ids()}
    assert list(versions.values()) == [["v001"]] * list(expected.values()).count(DONE)
    assert [damage for name in versions for damage in manifest.verify(store.latest(name))] == []


def outage(store, monkeypatch, caplog, away, length_s):
    """Drops come in before and while `away()` lasts; gives seconds to the end of all, and the worker."""
    names = [f"drop{n:02d}" for n in range(N_BEFORE + N_DURING)]
    expected = dict.fromkeys(names, DONE) | {BROKEN: QUARANTINED}
    with caplog.at_level(logging.WARNING, logger="neuroloom.watcher"), watched(store, monkeypatch) as worker:
        put(store, names[:N_BEFORE])
        catalog, ends_s = Catalog.of(store), time.monotonic() + PATIENCE_S
        while not catalog.drops.every(RUNNING) and time.monotonic() < ends_s:
            time.sleep(0.02)
        catalog.close()
        with away():
            put(store, [*names[N_BEFORE:], BROKEN])
            time.sleep(length_s)
        took_s = ended(store, expected)
    nothing_is_lost_or_doubled(store, expected)
    return took_s, worker


def said_once(caplog):
    """The lines of the watcher: that it waits, in one line, and that it looks again."""
    said = [record for record in caplog.records if record.name == "neuroloom.watcher"]
    assert [record.exc_info for record in said] == [None] * len(said)
    texts = [record.getMessage() for record in said]
    assert all("\n" not in text and "SELECT" not in text and "INSERT" not in text for text in texts), texts
    waits = [text for text in texts if text.startswith("the inbox waits: the catalog's database does not answer (")]
    return len(waits), len(texts) - len(waits), texts


@pytest.fixture
def store(tmp_path, monkeypatch):
    found = Store(tmp_path / "store").create()
    found.settings_file.write_text(SETTINGS + UNBOXED)
    monkeypatch.setenv("NEUROLOOM_STORE", str(found.root))
    return found


def answers(url):
    """Return when a database that is starting answers."""
    for _ in range(300):
        try:
            return Catalog.at(url).close()
        except DBAPIError:
            time.sleep(0.1)
    return pytest.fail(f"{url} did not start")


LENGTHS = [2.0, pytest.param(OUTAGE_S, marks=pytest.mark.trust)]


@pytest.mark.parametrize("length_s", LENGTHS)
def test_postgresql_is_stopped_and_started_while_drops_come_in(store, monkeypatch, caplog, tell, length_s):
    with servers.stoppable_postgres() as server:
        url = f"postgresql+psycopg://{servers.new_database(server.address, 'catalog')}"
        monkeypatch.setenv("NEUROLOOM_CATALOG_URL", url)

        @contextmanager
        def stopped():
            server.stop()
            yield
            server.start()
            answers(url)

        took_s, worker = outage(store, monkeypatch, caplog, stopped, length_s)
    waits, others, texts = said_once(caplog)
    assert (waits, others) == (1, 1), texts
    tell(f"PostgreSQL away for {length_s:g} s: 4 drops, {worker.n_cut_short} attempts cut short, "
         f"0 lost, 0 doubled, all ended {took_s:.0f} s after it was back")  # fmt: skip


@pytest.mark.parametrize("length_s", LENGTHS)
def test_sqlite_is_locked_by_another_program_while_drops_come_in(store, monkeypatch, caplog, tell, length_s):
    monkeypatch.setattr(opening, "BUSY_S", 0.2)  # else nobody notices a lock of less than half a minute

    @contextmanager
    def locked():
        holder = sqlite3.connect(store.root / "catalog.sqlite", timeout=60, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        yield
        holder.execute("ROLLBACK")
        holder.close()

    took_s, worker = outage(store, monkeypatch, caplog, locked, length_s)
    waits, others, texts = said_once(caplog)
    assert waits == others, texts
    assert waits in (1, 2, 3), texts  # a look that has nothing to write is none that waits
    tell(f"SQLite locked for {length_s:g} s: 4 drops, {worker.n_cut_short} attempts cut short, "
         f"0 lost, 0 doubled, all ended {took_s:.0f} s after it was free")  # fmt: skip


def test_sqlite_is_deleted_while_the_inbox_is_watched(store, monkeypatch):
    """What it knew is read anew from the files, and what comes in afterwards is taken as ever."""
    expected = {"drop00": DONE, BROKEN: QUARANTINED}
    with watched(store, monkeypatch):
        put(store, list(expected))
        ended(store, expected)
        for path in store.root.glob("catalog.sqlite*"):
            path.unlink()
        put(store, ["drop01"])
        ended(store, expected | {"drop01": DONE})
    nothing_is_lost_or_doubled(store, expected | {"drop01": DONE})


def processes_of(store, *words):
    """Processes with this store in their environment, and these words in their command."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            environment = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if f"NEUROLOOM_STORE={store.root}" in environment and set(words) <= set(command):
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_up_starts_a_killed_server_again_and_every_drop_ends_once(store, tell):
    ports = "[server]\nport = 0\nreview_port = 0\n"
    store.settings_file.write_text(SETTINGS.replace("lease_s = 2", "lease_s = 20") + ports)
    names = [f"drop{n:02d}" for n in range(6)]
    expected = dict.fromkeys(names, DONE) | {BROKEN: QUARANTINED}
    command = [sys.executable, "-m", "neuroloom.flows.main", "up", "--store", str(store.root)]
    with (store.root / "told").open("wb") as told, subprocess.Popen(command, stdout=told, stderr=told) as up:
        try:
            said = store.root / "told"
            until(lambda: "inbox  " in said.read_text(), up)
            put(store, [*names, BROKEN])
            catalog = Catalog.of(store)
            until(lambda: catalog.drops.every(RUNNING), up)
            in_flight = {drop.id for drop in catalog.drops.every(*IN_FLIGHT)}
            (server,) = processes_of(store, "prefect", "server", "start")
            os.kill(server, signal.SIGKILL)
            until(lambda: "the server ended by itself and is started again" in said.read_text(), up)
            killed_s = time.monotonic()
            address = re.search(r"dashboard +(\S+)", said.read_text())[1]
            until(lambda: wait_for_server(f"{address}/api"), up)
            began_s = time.monotonic()
            until(lambda: not in_flight & {drop.id for drop in catalog.drops.every(*OPEN)}, up)
            first_s = time.monotonic() - began_s
            ended(store, expected, timeout_s=240)
            all_s = time.monotonic() - began_s
            attempts = sum(drop.attempts for drop in catalog.drops.every())
            catalog.close()
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(timeout=60)
    nothing_is_lost_or_doubled(store, expected)
    assert said.read_text().count("is started again") == 1
    assert not processes_of(store, "prefect", "server", "start")
    tell(f"server killed in the middle of 7 drops: started again, back after {began_s - killed_s:.0f} s; then the "
         f"{len(in_flight)} in flight ended after {first_s:.0f} s, all after {all_s:.0f} s, {attempts} attempts; "
         "0 lost, 0 doubled")  # fmt: skip


def until(holds, up, timeout_s=PATIENCE_S):
    ends_s = time.monotonic() + timeout_s
    while not holds():
        assert up.poll() is None, "it ended"
        assert time.monotonic() < ends_s, "in vain"
        time.sleep(0.1)
