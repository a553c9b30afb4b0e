"""A store that runs by itself: real server, real runner, real watcher; drops go in, sessions and pages come out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import httpx
import pytest

from neuroloom.flows.serve import STARTS_AGAIN, Part, Served, ServeError, run_and_wait, serving, wait_until_idle
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.drops.custody import refused
from neuroloom.pipeline.runs import preparing, run_config, running, searching
from neuroloom.pipeline.runs.search_config import SearchConfig, SearchTable
from neuroloom.pipeline.scores import judging
from neuroloom.pipeline.store import Store

from .conftest import SAMPLE

SESSION = "sub-sample_ses-01_task-choice"
PATIENCE_S = 300  # nothing fails for being slow on a busy machine
SETTINGS = """
[inbox]
settle_s = 0.5
orphan_s = 2
scan_s = 0.5
[ingest]
sorter = "none"
[server]
port = 0
review_port = 0
[schedules.sweep]
every_minutes = 0.05
[schedules.verify]
every_minutes = 0.25
"""
RUN = run_config.RunConfig(
    name="short", sessions=(SESSION,), inputs=("eeg",), targets=("eeg",), length_s=1.0, steps=4, area_size=4
)


def new_store(folder: Path) -> Store:
    store = Store(folder).create()
    store.settings_file.write_text(SETTINGS)
    return store


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A served store into which a person, the same again, and a broken recording were dropped."""
    store = new_store(tmp_path_factory.mktemp("served") / "store")
    with serving(store) as found:
        shutil.copytree(SAMPLE, store.inbox / "person")
        (store.inbox / "broken.vhdr").write_text("Brain Vision Data Exchange Header File Version 1.0\n")
        wait_until_idle(found, timeout_s=PATIENCE_S)
        shutil.copytree(SAMPLE, store.inbox / "again")
        wait_until_idle(found, timeout_s=PATIENCE_S)
        yield found


def api(served, path, **query):
    with served.api() as client:
        return client.post(path, json=query).raise_for_status().json()


def test_a_drop_becomes_a_session_and_its_originals_are_kept(served):
    assert served.store.session_ids() == [SESSION]
    (folder,) = served.store.originals.glob("*-person")
    kept = {path.name: path.read_bytes() for path in (folder / "files" / "person").iterdir()}
    assert kept == {path.name: path.read_bytes() for path in SAMPLE.iterdir()}


def test_the_same_content_again_is_done_without_another_version(served):
    catalog = Catalog.of(served.store)
    again = [drop for drop in catalog.drops.every(DONE) if drop.name == "again"]
    catalog.close()
    assert again[0].reason == f"already there: {SESSION}"
    assert [path.name for path in served.store.versions(SESSION)] == ["v001"]


def test_a_broken_drop_is_in_quarantine_with_its_reason(served):
    catalog = Catalog.of(served.store)
    assert [drop.name for drop in catalog.drops.every(QUARANTINED)] == ["broken.vhdr"]
    catalog.close()
    (entry,) = refused(served.store)
    assert (entry.id, entry.reason[:26]) == ("broken.vhdr", "no [common infos] section;")
    assert not list(served.store.inbox.iterdir())


def test_pages_are_served_and_linked(served):
    with urllib.request.urlopen(f"{served.review_url}/index.html", timeout=10) as page:
        html = page.read().decode()
        policy = page.headers["Content-Security-Policy"]
    assert f'href="{SESSION}.html"' in html
    assert policy.startswith("default-src 'none'")
    with urllib.request.urlopen(f"{served.review_url}/{SESSION}.html", timeout=10) as page:
        assert "Streams on one clock" in page.read().decode()


def test_a_run_is_named_by_what_it_made_and_shows_its_artifacts(served):
    (run,) = api(served, "/flow_runs/filter", flow_runs={"name": {"any_": [SESSION]}})
    assert run["state"]["type"] == "COMPLETED"
    artifacts = api(served, "/artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}})
    assert {"markdown", "table", "progress"} <= {artifact["type"] for artifact in artifacts}
    assert any(f"{served.review_url}/{SESSION}.html" in str(artifact["data"]) for artifact in artifacts)


def test_nothing_that_names_a_person_is_a_parameter(served):
    runs = api(served, "/flow_runs/filter", flows={"name": {"any_": ["ingest-recording"]}})
    assert all(set(run["parameters"]) == {"drop_ids"} for run in runs)


def test_a_store_that_is_served_is_not_served_twice(served):
    with (
        pytest.raises(ServeError, match=rf"is served already \(dashboard {served.dashboard_url}, "),
        serving(served.store),
    ):
        pass


def test_every_deployment_is_there(served):
    names = {deployment["name"] for deployment in api(served, "/deployments/filter")}
    on_request = {"recordings", "features", "training", "form", "evaluation", "searches", "studies"}
    assert names == on_request | {"sweep", "verify", "retrain", "clean"}


def test_schedules_are_there_and_those_that_are_off_are_paused(served):
    active = {
        deployment["name"]: [schedule["active"] for schedule in deployment["schedules"]]
        for deployment in api(served, "/deployments/filter")
        if deployment["schedules"]
    }
    assert active == {"sweep": [True], "verify": [True], "retrain": [False], "clean": [False]}


def test_what_runs_by_the_clock_never_runs_beside_itself(served):
    limits = {
        deployment["name"]: (deployment["concurrency_limit"], deployment["concurrency_options"])
        for deployment in api(served, "/deployments/filter")
        if deployment["schedules"]
    }
    assert {limit for limit, _ in limits.values()} <= {1, None}
    assert {options["collision_strategy"] for _, options in limits.values()} == {"CANCEL_NEW"}


def test_the_schedule_really_makes_runs(served):
    """SQLAlchemy 2.1 and some servers look healthy and never make one."""
    assert scheduled_run(served, "sweep", "COMPLETED")


def test_the_scheduled_verify_reads_what_was_published_and_the_front_page_says_so(served):
    said = "1 of 1 published versions were read back, every byte: none is damaged"
    assert scheduled_run(served, "verify", "COMPLETED", says=said)
    shown = {artifact["key"] for artifact in api(served, "/artifacts/filter")}
    assert {"verify", "damage"} <= shown
    assert "1 of 1 published versions" in (served.store.review / "index.html").read_text()


def test_missed_runs_start_as_one_and_the_others_are_cancelled(served):
    """What a restart finds: three runs of one schedule that are late."""
    with served.api() as client:
        found = client.get("/deployments/name/clean/clean").raise_for_status().json()
        late = {"state": {"type": "SCHEDULED"}, "parameters": {"dry_run": True}, "tags": ["missed"]}
        made = [
            client.post(f"/deployments/{found['id']}/create_flow_run", json=late).raise_for_status().json()["id"]
            for _ in range(3)
        ]
        ends_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_s:
            states = sorted(client.get(f"/flow_runs/{run}").raise_for_status().json()["state"]["type"] for run in made)
            if not {"SCHEDULED", "PENDING", "RUNNING"} & set(states):
                break
            time.sleep(1)
    assert states == ["CANCELLED", "CANCELLED", "COMPLETED"]


def scheduled_run(served, name, state, *, says="", timeout_s=PATIENCE_S):
    ends_s = time.monotonic() + timeout_s
    while time.monotonic() < ends_s:
        runs = api(served, "/flow_runs/filter", flows={"name": {"any_": [name]}})
        ended = [run for run in runs if run["auto_scheduled"] and run["state"]["type"] == state]
        ended = [run for run in ended if says in (run["state"]["message"] or "")]
        if ended:
            return ended[0]
        time.sleep(1)
    pytest.fail(f"no scheduled {name} came to {state}: {[run['state']['type'] for run in runs]}")


def test_a_training_is_typed_into_a_form(served):
    asked = {"name": "short", "sessions": [SESSION], "inputs": ["eeg"], "targets": ["eeg"]}
    asked |= {"length_s": 1.0, "steps": 4, "area_size": 4, "network": {"kind": "gru"}}
    run_and_wait(served, "train-new/form", {"new": asked}, timeout_s=PATIENCE_S)
    assert preparing.requested(served.store, "short").network == {"kind": "gru"}
    assert running.progress_of(served.store, "short") == (4, 4)
    assert judging.scores_of("short", served.store)["scores"]
    assert (served.store.review / "run-short.html").is_file()
    keys = {artifact["key"] for artifact in api(served, "/artifacts/filter")}
    assert {"run-short", "run-short-scores"} <= keys


@pytest.mark.slow
def test_a_training_in_two_processes_is_typed_into_the_form_and_comes_to_the_numbers_of_one(served):
    asked = {"sessions": [SESSION], "inputs": ["eeg"], "targets": ["eeg"], "length_s": 1.0, "steps": 4, "area_size": 4}
    losses = {}
    for n in (1, 2):
        new = {"name": f"by{n}", **asked, "training": {"processes": n}}
        run_and_wait(served, "train-new/form", {"new": new}, timeout_s=PATIENCE_S)
        rows = [row for row in running.metrics_of(f"by{n}", served.store) if "loss" in row]
        losses[n] = [row["loss"] for row in rows]
        assert judging.scores_of(f"by{n}", served.store)["scores"]
    assert preparing.requested(served.store, "by2").training["processes"] == 2
    assert len(losses[2]) == 4
    assert losses[2] == pytest.approx(losses[1], rel=1e-3)
    ends = api(served, "/artifacts/filter", artifacts={"type": {"any_": ["progress"]}})
    assert {float(bar["data"]) for bar in ends if bar["description"] == "training by2"} == {100.0}


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"network": {"kind": "big"}}, {"stpes": 4}])
def test_what_cannot_be_trained_is_refused_by_the_form(served, wrong):
    with pytest.raises(httpx.HTTPStatusError) as refused:
        run_and_wait(served, "train-new/form", {"new": {"name": "wrong", **wrong}}, timeout_s=PATIENCE_S)
    assert refused.value.response.status_code in (409, 422)


@pytest.mark.slow
def test_the_trials_of_a_search_are_tasks_in_processes(served):
    table = SearchTable(trials=2, parallel=2, space={"training.learning_rate": [0.001, 0.01]})
    asked = SearchConfig(**{**RUN.model_dump(), "name": "find", "search": table.model_dump()})
    searching.prepare_search(asked, served.store)
    run_and_wait(served, "search/searches", {"run": "find"}, timeout_s=300)
    assert len(document_of(served.store.run_folder("find") / "trials.json")["trials"]) == 2
    assert judging.scores_of("find", served.store)["scores"]
    assert "search-find" in {artifact["key"] for artifact in api(served, "/artifacts/filter")}
    names = {run["name"] for run in api(served, "/task_runs/filter")}
    assert {"trial 0 of find", "trial 1 of find"} <= names


def test_settings_of_a_study_that_are_typed_into_the_form_take_effect_cell_by_cell(served):
    text = """
systems = ["toggle"]
teacher = {channels = 1, units = 12, context = 6, longest_trained = 6, steps = 20}
gains = [0.7]
lengths = [3]
seeds = 1
arms = ["behaviour", "local"]
units = 8
n_channels = 4
pool = 40
n_test = 10
schooling = {steps = 2}
"""
    asked = {"name": "stabilise", "settings": text, "run_name": "typed"}
    run_and_wait(served, "study/studies", asked, timeout_s=PATIENCE_S)
    table = (served.store.run_folder("typed") / "toggle_right.csv").read_text()
    assert table.count(",0.7,3,") == 2
    names = {run["name"] for run in api(served, "/task_runs/filter")}
    assert {f"system toggle, arm {arm}, gain 0.7, length 3" for arm in ("behaviour", "local")} <= names
    ends = api(served, "/artifacts/filter", artifacts={"type": {"any_": ["progress"]}})
    assert [float(bar["data"]) for bar in ends if bar["description"] == "cells of typed"] == [100.0]
    assert (served.store.review / "run-typed.html").is_file()


def test_features_are_made_on_request_and_shown(served):
    run_and_wait(served, "build-features/features", {"session_ids": [SESSION]}, timeout_s=PATIENCE_S)
    keys = {artifact["key"] for artifact in api(served, "/artifacts/filter")}
    assert "features-sub-sample-ses-01-task-choice" in keys


def test_a_deployment_that_fails_says_where_to_look(served):
    with pytest.raises(ServeError, match=r"train/training failed: .*runner\.log"):
        run_and_wait(served, "train/training", {"run": "nobody"}, timeout_s=PATIENCE_S)


def short_lived(store, seconds):
    code = f"import time; time.sleep({seconds})"
    return Part(name="server", arguments=["-c", code], store=store, environment=dict(os.environ))


def service(store, part):
    return Served(store=store, dashboard_url="", review_url="", environment={}, parts=(part,))


def test_a_part_that_was_killed_is_started_again_and_said(tmp_path):
    store = new_store(tmp_path / "store")
    store.prefect_home.mkdir()
    with short_lived(store, 600) as part:
        assert service(store, part).mend() == []
        killed = part.process
        killed.kill()
        killed.wait()
        (line,) = service(store, part).mend()
        assert line.startswith("the server ended by itself and is started again; see ")
        assert part.process.pid != killed.pid
        assert service(store, part).mend() == []
    assert part.process.returncode is not None


def test_a_part_that_cannot_begin_says_why_where_up_is_seen(tmp_path):
    store = new_store(tmp_path / "store")
    store.settings_file.write_text("[server]\nport = 0\nreview_port = 0\n[schedules.verify]\ncron = 'bad'\n")
    wanted = r"the runner ended by itself; neuroloom\.toml: schedules\.verify\.cron: found 'bad'; five fields"
    with pytest.raises(ServeError, match=wanted), serving(store):
        pass


def test_a_part_that_ends_again_and_again_is_given_up_by_name(tmp_path):
    store = new_store(tmp_path / "store")
    store.prefect_home.mkdir()
    with short_lived(store, 0) as part:
        for _ in range(STARTS_AGAIN):
            part.process.wait()
            assert len(service(store, part).mend()) == 1
        part.process.wait()
        with pytest.raises(ServeError, match=r"the server ended by itself and was started again 3 times .*server\.log"):
            service(store, part).mend()


@pytest.mark.parametrize("end", [signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_up_prints_its_addresses_and_ends_with_ctrl_c_or_its_terminal(tmp_path, end):
    store = new_store(tmp_path / "store")
    command = [sys.executable, "-m", "neuroloom.flows.main", "up", "--store", str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        told = [up.stdout.readline() for _ in range(3)]
        address = told[0].split()[1]
        with urllib.request.urlopen(f"{address}/api/ready", timeout=10) as ready:
            assert ready.status == 200
        up.send_signal(end)
        assert up.wait(timeout=60) == 0
    assert [line.split()[0] for line in told] == ["dashboard", "review", "inbox"]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{address}/api/ready", timeout=5)
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and str(store.root) in _command(pid)]


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
