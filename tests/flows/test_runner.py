"""What a runner takes: everything, or what is for recordings, or what trains."""

import threading
import time
from types import SimpleNamespace

import pytest

from neuroloom.flows import runner, telling, watcher
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE
from neuroloom.pipeline.listing import listed_sessions
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store


def names(only):
    return [deployment.name for deployment in runner.deployments(Settings(), only)]


def test_each_deployment_is_for_recordings_or_for_training():
    assert names("recordings") == ["recordings", "sweep", "verify", "clean"]
    assert names("recordings") + names("training") == names("")
    assert {"training", "form", "retrain", "searches"} < set(names("training"))


def test_a_watcher_leaves_the_time_of_its_last_look_also_where_that_was_in_vain(tmp_path, monkeypatch):
    store = Store(tmp_path / "store").create()
    beat, stop = tmp_path / "beat", threading.Event()
    monkeypatch.setenv(watcher.HEARTBEAT, str(beat))

    def in_vain(*_):
        stop.set()
        raise OSError("away")

    monkeypatch.setattr(watcher, "_looks", in_vain)
    watcher.watch(store, stop, ["verify/verify"])
    assert beat.is_file()


def until(is_so):
    ends_s = time.monotonic() + 20
    while not is_so() and time.monotonic() < ends_s:
        time.sleep(0.01)
    assert is_so()


def test_a_watcher_waits_while_settings_are_wrong_and_goes_by_them_when_they_are_mended(tmp_path, monkeypatch, caplog):
    store = Store(tmp_path / "store").create()
    store.settings_file.write_text("[inbox]\nscan_s = 0.01\n")
    gone_by, stop = [], threading.Event()
    catalog = SimpleNamespace(runs=SimpleNamespace(states=dict), knows=lambda _: True)
    nothing = SimpleNamespace(step=dict, look=dict, catalog=catalog)

    def looks(_store, settings, *_):
        gone_by.append(settings.inbox.scan_s)
        return nothing, nothing

    monkeypatch.setattr(watcher, "_looks", looks)
    monkeypatch.setattr(watcher, "review_index", lambda _: None)
    thread = threading.Thread(target=watcher.watch, args=(store, stop))
    thread.start()
    try:
        until(lambda: len(gone_by) == 1)
        store.settings_file.write_text("[inbox]\nscan_s = 'often'\n")
        until(lambda: "the inbox waits" in caplog.text)
        assert "inbox.scan_s: Input should be a valid number" in caplog.text
        store.settings_file.write_text("[inbox]\nscan_s = 0.02\n")
        until(lambda: len(gone_by) == 2)
    finally:
        stop.set()
        thread.join()
    assert gone_by == [0.01, 0.02]
    assert "the inbox is looked at again" in caplog.text


def test_a_watcher_rebuilds_a_lost_catalog_also_where_a_page_has_noted_the_sessions_first(tmp_path, monkeypatch):
    store = Store(tmp_path / "store").create()
    (store.originals / "x").mkdir()
    (store.originals / "x" / "drop.json").write_text('{"name": "a.edf", "folder": "x"}')
    listed_sessions(store)
    catalog, stop = Catalog.of(store), threading.Event()
    looks = SimpleNamespace(step=stop.set, look=dict, catalog=catalog)
    monkeypatch.setattr(watcher, "_looks", lambda *_: (looks, looks))
    watcher.watch(store, stop)
    assert [(drop.name, drop.state) for drop in catalog.drops.every()] == [("a.edf", DONE)]
    catalog.close()


def test_alerts_are_told_again_when_settings_are_mended(tmp_path, monkeypatch, caplog):
    store = Store(tmp_path / "store").create()
    store.settings_file.write_text("[alerts]\nlook_s = 0.01\n")
    told, stop = [], threading.Event()
    monkeypatch.setattr(telling, "tell_once", lambda _, settings: told.append(settings.look_s))
    thread = threading.Thread(target=telling.keep_telling, args=(store, stop))
    thread.start()
    try:
        until(lambda: told)
        store.settings_file.write_text("[alerts]\nlook_s = 0\n")
        until(lambda: "nobody can be told" in caplog.text)
        store.settings_file.write_text("[alerts]\nlook_s = 0.02\n")
        until(lambda: 0.02 in told)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("settings", "url", "told"),
    [
        ("[inbox]\nscan = 1\n", "http://127.0.0.1:9/api", "neuroloom.toml: inbox.scan: no such setting (scan_s?)"),
        ("", "http://127.0.0.1:9/api", "PREFECT_API_URL: no Prefect server answers at http://127.0.0.1:9/api"),
        ("", "", "PREFECT_API_URL: no Prefect server answers at no address"),
    ],
)
def test_what_keeps_a_worker_from_serving_is_one_line(tmp_path, monkeypatch, capsys, settings, url, told):
    store = Store(tmp_path / "store").create()
    store.settings_file.write_text(settings)
    monkeypatch.setenv("NEUROLOOM_STORE", str(store.root))
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setattr("neuroloom.flows.environment.SERVER_READY_S", 0.1)
    monkeypatch.setattr("sys.argv", ["runner", "runner"])
    with pytest.raises(SystemExit, match="2"):
        runner.main()
    said = capsys.readouterr().err
    assert (said.startswith("neuroloom runner: "), told in said, said.count("\n")) == (True, True, 1)
