"""The same work on many sessions, in threads and in two processes of Dask on one machine."""

import os
import time

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from neuroloom.flows.fanning import for_each
from neuroloom.flows.training import build_features
from neuroloom.ingest import Session
from neuroloom.pipeline.runs.feature_cache import build_features as features_of
from neuroloom.pipeline.settings import FanOutSettings
from neuroloom.pipeline.store import Store

from ..pipeline.conftest import simulate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore"),
]  # Dask and its server warn of one another
RUNNERS = ["threads", "dask"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with two published sessions."""
    store = Store(tmp_path_factory.mktemp("fanning") / "store").create()
    for subject in ("01", "02"):
        session = simulate(duration_s=20, n_units=3, seed=int(subject), subject=subject).session
        session.save(store.sessions / session.id / "v001")
    return store


@pytest.mark.parametrize("runner", RUNNERS)
def test_two_workers_work_at_the_same_time_and_results_come_in_order(tmp_path, runner):
    @task(cache_policy=NO_CACHE, persist_result=False)
    def meet(number: int, there: str) -> tuple[int, int]:
        """Waits for the other one, which is only there where both run at once."""
        open(os.path.join(there, str(number)), "w").close()
        while len(os.listdir(there)) < 2:
            time.sleep(0.05)
        return number, os.getpid()

    @flow
    def both():
        calls = [{"number": n, "there": str(tmp_path)} for n in range(2)]
        return for_each(meet, calls, FanOutSettings(runner=runner, workers=2))

    results = both()
    assert [number for number, _ in results] == [0, 1]
    assert len({pid for _, pid in results} - {os.getpid()}) == (2 if runner == "dask" else 0)


@pytest.mark.parametrize("runner", RUNNERS)
def test_one_that_fails_stops_no_other_and_is_told(tmp_path, runner):
    @task(cache_policy=NO_CACHE, persist_result=False)
    def fail_or_write(path: str) -> None:
        if not path:
            raise ValueError("no path")
        with open(path, "w") as file:
            file.write("done")

    @flow
    def both():
        calls = [{"path": ""}, {"path": str(tmp_path / "written")}]
        for_each(fail_or_write, calls, FanOutSettings(runner=runner, workers=2))

    with pytest.raises(ValueError, match="no path"):
        both()
    assert (tmp_path / "written").read_text() == "done"


@pytest.mark.parametrize("runner", RUNNERS)
def test_features_of_two_sessions_are_those_made_one_by_one(store, monkeypatch, tmp_path, runner):
    monkeypatch.setenv("NEUROLOOM_STORE", str(store.root))
    store.settings_file.write_text(f'[fan_out]\nrunner = "{runner}"\nworkers = 2\n')
    build_features(bin_s=0.05 if runner == "dask" else 0.1)
    made = sorted(path.parent.name for path in store.derived.glob("*/features.json"))
    for name in store.session_ids():
        with Session.open(store.latest(name)) as session:
            features_of(session, bin_s=0.05 if runner == "dask" else 0.1, folder=tmp_path)
    assert set(os.listdir(tmp_path)) <= set(made)
