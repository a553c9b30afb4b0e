"""People are told once, by every way, without names; an endpoint that does not answer is tried again."""

import http.server
import json
import socketserver
import threading
from contextlib import contextmanager

import pytest

from neuroloom.pipeline.care.alerting import Alerts, alerts_of
from neuroloom.pipeline.catalog.tables import QUARANTINED, RETRY
from neuroloom.pipeline.settings import AlertSettings


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def webhook():
    """A local endpoint: `.got` are the documents that came; `.answers` the codes it gives, 200 when there are none."""

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append(json.loads(body))
            self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
            self.end_headers()

        def log_message(self, *_):
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.got, server.answers = [], []
    with serving(server) as found:
        yield found


@pytest.fixture
def mailbox():
    """A local SMTP sink: `.got` are the mails that came."""

    class Sink(socketserver.StreamRequestHandler):
        def handle(self):
            self.say("220 sink")
            while line := self.rfile.readline().strip().decode():
                word = line.split()[0].upper()
                if word == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (text := self.rfile.readline().rstrip(b"\r\n")) != b".":
                        lines.append(text.decode())
                    self.server.got.append("\n".join(lines))
                self.say("221 bye" if word == "QUIT" else "250 ok")
                if word == "QUIT":
                    return

        def say(self, text):
            self.wfile.write(f"{text}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Sink)
    server.got = []
    with serving(server) as found:
        yield found


def url(server):
    return f"http://127.0.0.1:{server.server_address[1]}/hook"


def refused(catalog, store, name="Mueller_Anna.edf", reason="Mueller_Anna.edf: torn"):
    said = {"state": QUARANTINED, "reason": reason, "format": "edf", "n_bytes": 2_000_000}
    return catalog.drops.add(name, folder=store.inbox, **said)


def test_a_refused_drop_is_posted_once_without_its_name(catalog, store, webhook):
    drop = refused(catalog, store)
    alerts = Alerts(store, catalog, AlertSettings(webhook=url(webhook)), link="http://127.0.0.1:4280")
    assert [alerts.tell(), alerts.tell()] == [1, 0]
    (got,) = webhook.got
    assert got["alerts"][0]["kind"] == "quarantine"
    assert got["text"] == f"- drop {drop.id} (edf, 2.0 MB) was refused; `neuroloom inbox` says why"
    assert "Anna" not in json.dumps(got)
    assert got["link"] == "http://127.0.0.1:4280"


def test_a_mail_tells_the_same(catalog, store, mailbox):
    refused(catalog, store)
    settings = AlertSettings(mail_to=("lab@example.org",), smtp_host="127.0.0.1", smtp_port=mailbox.server_address[1])
    assert Alerts(store, catalog, settings).tell() == 1
    (got,) = mailbox.got
    assert "Subject: neuroloom store: 1 to look at (quarantine)" in got
    assert "To: lab@example.org" in got
    assert "was refused" in got
    assert "Anna" not in got


def test_an_endpoint_that_fails_is_tried_again_after_a_pause_that_doubles(catalog, store, webhook):
    refused(catalog, store)
    webhook.answers += [500, 503]
    alerts = Alerts(store, catalog, AlertSettings(webhook=url(webhook), retry_s=30))
    began = alerts_time(catalog)
    told = [alerts.tell(began + after) for after in (0, 29, 31, 89, 92, 1000)]
    assert told == [0, 0, 0, 0, 1, 0]
    assert len(webhook.got) == 3


def test_it_is_given_up_after_the_most_tries_and_says_why(catalog, store, webhook):
    refused(catalog, store)
    webhook.answers += [500] * 5
    alerts = Alerts(store, catalog, AlertSettings(webhook=url(webhook), retry_s=1, most_tries=2))
    began = alerts_time(catalog)
    for after in (0, 100, 200, 300):
        alerts.tell(began + after)
    assert len(webhook.got) == 2
    assert [row.problem for row in alerts_of(catalog)] == ["the webhook answered 500"]


def test_a_way_that_fails_does_not_repeat_the_other(catalog, store, webhook, mailbox):
    refused(catalog, store)
    webhook.answers += [500]
    settings = AlertSettings(
        webhook=url(webhook),
        mail_to=("lab@example.org",),
        smtp_host="127.0.0.1",
        smtp_port=mailbox.server_address[1],
    )
    began = alerts_time(catalog)
    for after in (0, 100):
        Alerts(store, catalog, settings).tell(began + after)
    assert (len(webhook.got), len(mailbox.got)) == (2, 1)


def test_nobody_there_is_no_error(catalog, store):
    refused(catalog, store)
    settings = AlertSettings(webhook="http://127.0.0.1:9/", mail_to=("a@b",), smtp_host="127.0.0.1", smtp_port=9)
    assert Alerts(store, catalog, settings).tell() == 0
    assert {row.problem for row in alerts_of(catalog)} == {
        "the webhook did not take it (ConnectError)",
        "127.0.0.1 did not take the mail (ConnectionRefusedError)",
    }


def test_many_are_one_message(catalog, store, webhook):
    for n in range(25):
        refused(catalog, store, name=f"{n}.edf")
    assert Alerts(store, catalog, AlertSettings(webhook=url(webhook))).tell() == 25
    assert len(webhook.got) == 1
    assert webhook.got[0]["text"].endswith("- and 5 more")


def test_damage_is_told_with_file_and_dataset_and_again_where_more_is_damaged(catalog, store, webhook):
    alerts = Alerts(store, catalog, AlertSettings(webhook=url(webhook)))
    damage = [{"file": "session.nwb", "dataset": "/acquisition/eeg/data", "problem": "its content has changed"}]
    for _ in range(2):
        catalog.checks.note("sub-07_ses-2", "v001", damage=damage)
        alerts.tell()
    catalog.checks.note("sub-07_ses-2", "v001", damage=[*damage, {"file": "x.nwb", "dataset": "", "problem": "gone"}])
    alerts.tell()
    assert [len(got["alerts"]) for got in webhook.got] == [1, 1]
    assert "session.nwb /acquisition/eeg/data" in webhook.got[0]["text"]


def test_a_training_that_stopped_is_told_and_one_that_a_person_stopped_is_not(catalog, store, webhook):
    catalog.runs.put("reach", state=RETRY, reason="stopped: out of memory")
    catalog.runs.put("gaze", state=RETRY, reason="stopped: KeyboardInterrupt")
    assert Alerts(store, catalog, AlertSettings(webhook=url(webhook))).tell() == 1
    assert "run reach stopped" in webhook.got[0]["text"]


def test_a_failed_run_of_the_dashboard_is_told(catalog, store, webhook):
    alerts = Alerts(store, catalog, AlertSettings(webhook=url(webhook)))
    alerts.note_failure("sweep", "1234")
    assert alerts.tell() == 1
    assert "a run of sweep failed" in webhook.got[0]["text"]


def test_what_is_not_asked_for_is_not_told(catalog, store, webhook):
    refused(catalog, store)
    alerts = Alerts(store, catalog, AlertSettings(webhook=url(webhook), on=("damage",)))
    alerts.note_failure("sweep", "1234")
    assert alerts.tell() == 0


def test_old_refusals_are_no_news_when_alerts_are_turned_on(catalog, store, webhook):
    drop = refused(catalog, store)
    catalog.drops.note([drop.id], frm=(QUARANTINED,), changed_at=drop.changed_at - 8 * 86400)
    assert Alerts(store, catalog, AlertSettings(webhook=url(webhook))).tell() == 0


def test_of_two_machines_that_look_one_tells(catalog, store, webhook):
    for n in range(5):
        refused(catalog, store, name=f"{n}.edf")
    several = [Alerts(store, catalog, AlertSettings(webhook=url(webhook))) for _ in range(4)]
    threads = [threading.Thread(target=alerts.tell) for alerts in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    several[0].tell()
    told = [each["words"] for got in webhook.got for each in got["alerts"]]
    assert sorted(told) == sorted(set(told))
    assert len(told) == 5


def test_the_webhook_may_come_from_the_environment(catalog, store, webhook, monkeypatch):
    monkeypatch.setenv("NEUROLOOM_WEBHOOK", url(webhook))
    refused(catalog, store)
    assert Alerts(store, catalog, AlertSettings()).tell() == 1


def alerts_time(catalog):
    """A little after the newest drop, by the drops' own clock."""
    return max(drop.changed_at for drop in catalog.drops.every()) + 1
