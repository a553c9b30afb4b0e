"""Cells of a study as tasks, on a real server: the same tables as on the command line, resumed, and one that fails."""

import filecmp
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from neuroloom.flows import studying as flow
from neuroloom.pipeline import studying
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import distill, stabilise

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore"),
]  # the server's own warnings
SMALL = {
    "distill": """
seeds = 2
curve = [4, 8, 16]
budgets = [8]
channels = [4]
snr_db = [0.0]
at = [4, 0.0]
presets = {}
strengths = [10.0]
units = 8
n_test = 20
length = 8
schooling = {steps = 20, validate_every = 10, batch_size = 8}
[teacher]
kind = "hidden_markov"
n_symbols = 6
n_topics = 2
successors = 2
width = 16
blocks = 1
heads = 2
context = 8
steps = 3
batch = 4
""",
    "stabilise": """
systems = ["toggle"]
teacher = {channels = 1, units = 12, context = 6, longest_trained = 6, steps = 50}
gains = [0.9, 1.5]
lengths = [3]
seeds = 2
arms = ["behaviour", "local", "gru"]
units = 16
n_channels = 4
pool = 200
n_test = 50
schooling = {steps = 300, learning_rate = 5e-3}
""",
}


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of the test's own, and room for two cells at once on any machine."""
    store = Store(tmp_path / "store").create()
    monkeypatch.setenv("NEUROLOOM_STORE", str(store.root))
    monkeypatch.setattr(os, "cpu_count", lambda: 2 * torch.get_num_threads())
    return store


def by_command_line(name, folder):
    store = Store(folder).create()
    studying.run_study(studying.prepare_study(name, store, text=SMALL[name], name="x"), store)
    return store.run_folder("x")


def tasks():
    with get_client(sync_client=True) as client:
        return [run.name for run in client.read_task_runs(limit=200)]


@pytest.mark.parametrize("name", SMALL)
def test_tables_are_those_of_the_command_line_to_the_bit(store, tmp_path, name):
    other = by_command_line(name, tmp_path / "other")
    flow.study(name, settings=SMALL[name], run_name="x")
    mine = store.run_folder("x")
    names = sorted(path.relative_to(other) for kind in ("*.csv", "cells/*.json") for path in other.glob(kind))
    assert len(names) > 8
    same, changed, absent = filecmp.cmpfiles(other, mine, names, shallow=False)
    assert (sorted(same), changed, absent) == (names, [], [])


def test_one_that_fails_is_named_the_others_are_done_and_the_same_again_does_it_alone(store, monkeypatch):
    solve, asked = stabilise.solve, []

    def spoiled(bench, settings, keys):
        asked.append(keys[0]["arm"])
        if keys[0]["arm"] == "local" and keys[0]["gain"] == 1.5 and asked.count("again") == 0:
            raise ValueError("no more memory")
        return solve(bench, settings, keys)

    monkeypatch.setattr(stabilise, "solve", spoiled)
    with pytest.raises(RuntimeError, match=r"1 of 5 failed.*arm local, gain 1\.5, length 3: no more memory"):
        flow.study("stabilise", settings=SMALL["stabilise"], run_name="x")
    assert studying.progress_of("x", store) == (8, 10)
    asked[:] = ["again"]
    flow.study("stabilise", settings=SMALL["stabilise"], run_name="x")
    assert asked == ["again", "local"]
    assert (store.review / "run-x.html").is_file()
    assert {"system toggle, arm gru, gain None, length 3", "teacher of x", "report of x"} <= set(tasks())


def test_a_flow_that_is_killed_goes_on_where_it_was(store, tmp_path):
    code = (
        f"from neuroloom.flows.studying import study; study('stabilise', settings={SMALL['stabilise']!r}, run_name='x')"
    )
    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value(), "OMP_NUM_THREADS": "1"}
    cells = store.run_folder("x") / "cells"
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL) as running:
        while len(list(cells.glob("*.json"))) < 2:
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert 2 <= len(before) < 10
    flow.study("stabilise", settings=SMALL["stabilise"], run_name="x")
    assert studying.progress_of("x", store) == (10, 10)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_as_many_at_once_as_cores_hold_and_one_where_cells_disturb_each_other(store):
    run = studying.prepare_study("stabilise", store, text=SMALL["stabilise"], name="x")
    assert flow._fan_out(run, store).n_workers == 2
    assert distill.SIDE_BY_SIDE
    assert flow._fan_out(studying.prepare_study("mindread", store), store).n_workers == 1
    store.settings_file.write_text("[fan_out]\nworkers = 1\n")
    assert flow._fan_out(run, store).n_workers == 1
