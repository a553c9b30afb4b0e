"""What the doctor finds: each of these was made wrong by hand, and is named."""

import base64
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from neuroloom.flows import doctor
from neuroloom.flows.doctor import checks
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    made = Store(tmp_path / "store").create()
    made.settings_file.write_text("[server]\nport = 0\nreview_port = 0\n")
    return made


def found(store, name):
    return next((row["ok"], row["found"]) for row in checks(store) if row["check"] == name)


def drop(store, name="a.edf", **fields):
    catalog = Catalog.of(store)
    catalog.drops.add(name, folder=store.inbox, **fields)
    catalog.close()


def test_a_new_store_is_well(store):
    wrong = [row for row in checks(store) if not row["ok"] and row["check"] != "file events"]
    assert wrong == []


def test_a_port_that_another_program_has_is_named(store):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        store.settings_file.write_text(f"[server]\nport = {port}\nreview_port = 0\n")
        ok, words = found(store, "ports")
    assert not ok
    assert words.startswith(f"dashboard: {port}, taken by another program")


def test_both_ports_are_named_where_both_are_taken(store):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [taken.getsockname()[1] for taken in (one, other)]
        store.settings_file.write_text("[server]\nport = {}\nreview_port = {}\n".format(*ports))
        assert found(store, "ports")[1].startswith("dashboard: {}, review pages: {}, taken by another".format(*ports))


def test_one_cause_is_said_once():
    assert [row["check"] for row in checks(Store(Path("/proc/none"))) if not row["ok"]] == ["store"]


def test_a_broken_catalog_is_said_once(store):
    (store.root / "catalog.sqlite").write_bytes(b"no database" * 100)
    assert [row["check"] for row in checks(store) if not row["ok"]] == ["catalog"]
    assert "file is not a database" in found(store, "catalog")[1]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("[inbox]\nsettle_seconds = 3", "inbox.settle_seconds: no such setting (settle_s?); known here: settle_s, "),
        ("[schedules.verify]\ncorn = ''", "schedules.verify.corn: no such setting (cron?); known here: on, "),
        ("[inbx]", "inbx: no such setting (inbox?); known here: inbox, "),
    ],
)
def test_a_setting_that_there_is_not_is_named_with_those_there_are(store, said, told):
    store.settings_file.write_text(said)
    assert told in found(store, "settings")[1]


def test_a_lease_that_ran_out_is_named(store):
    drop(store, state="RUNNING", lease_until=time.time() - 5)
    assert found(store, "leases") == (
        False, "a.edf: held by a worker that died; `neuroloom up` frees what it held",
    )  # fmt: skip


def test_a_drop_that_nothing_takes_is_named(store):
    drop(store, state="READY", changed_at=time.time() - 3600)
    ok, words = found(store, "service")
    assert not ok
    assert "a.edf" in words


def test_a_server_that_does_not_answer_is_named(store, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    ok, words = found(store, "service")
    assert not ok
    assert "no Prefect server answers at http://127.0.0.1:9/api" in words


def test_a_drop_that_waits_for_something_else_is_named_with_that(store):
    for name in ("a.edf", "b.edf"):
        drop(store, name=name, state="READY", changed_at=time.time() - 3600, reason="waits: 1.0 GB free on disk")
    assert found(store, "service") == (False, "a.edf and 1 more: waits: 1.0 GB free on disk")


def test_what_lies_in_an_inbox_that_nothing_watches_is_named(store, monkeypatch):
    (store.inbox / "a.edf").write_bytes(b"0")
    drop(store, name="b.edf", state="SEEN")
    (store.inbox / "b.edf").write_bytes(b"0")
    assert found(store, "service")[0]
    monkeypatch.setattr(doctor.time, "time", lambda now=time.time: now() + 3600)
    assert found(store, "service") == (False, "a.edf: nothing watches the inbox; `neuroloom up` does")


def test_a_disk_with_less_room_than_the_settings_want_is_named(store):
    store.settings_file.write_text("[ingest]\nmin_free_bytes = 900000000000000000\n")
    ok, words = found(store, "free disk")
    assert not ok
    assert words.endswith("GB free; 900000000.0 GB are wanted (ingest.min_free_bytes)")


def test_a_mail_server_that_cannot_be_reached_is_named(store):
    store.settings_file.write_text('[alerts]\nmail_to = ["a@b"]\nsmtp_host = "127.0.0.1"\nsmtp_port = 9\n')
    ok, words = found(store, "alerts")
    assert not ok
    assert words.startswith("no mail can be sent by 127.0.0.1:9: Connection refused; [alerts] smtp_host")


class WantsAPassword(BaseHTTPRequestHandler):
    def do_GET(self):
        right = self.headers.get("authorization") == "Basic " + base64.b64encode(b"admin:right").decode()
        self.send_response(200 if right or self.path.endswith("/ready") else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_a_server_that_wants_another_password_is_named(store, monkeypatch, password):
    with HTTPServer(("127.0.0.1", 0), WantsAPassword) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", f"admin:{password}")
        ok, words = found(store, "service")
        server.shutdown()
    assert (ok, "wants another password" in words) == (password == "right", password == "wrong")


def test_a_clock_that_was_set_back_is_named(store):
    drop(store, changed_at=time.time() + 3600)
    ok, words = found(store, "clock")
    assert not ok
    assert "in the future" in words


def test_a_disk_with_another_clock_is_named(store, monkeypatch):
    monkeypatch.setattr(doctor.time, "time", lambda now=time.time: now() - 60)
    ok, words = found(store, "clock")
    assert not ok
    assert "+60 s" in words


def test_a_secret_that_others_can_read_is_named(store):
    store.secret_file.write_text("x")
    store.secret_file.chmod(0o644)
    assert found(store, "secrets")[0] is False
    store.secret_file.chmod(0o600)
    assert found(store, "secrets")[0] is True


def test_an_extra_that_is_asked_for_and_not_there_is_named(store, monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert found(store, "extras")[0] is True
    store.settings_file.write_text("[ingest]\nica = true\n")
    ok, words = found(store, "extras")
    assert not ok
    assert "pip install neuroloom[ica]" in words


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_written_is_named(store):
    store.inbox.chmod(0o500)
    assert found(store, "store")[0] is False
