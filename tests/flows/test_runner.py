"""What a runner takes: everything, or what is for recordings, or what trains."""

import threading

from neuroloom.flows import runner, watcher
from neuroloom.pipeline.config import Settings
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
