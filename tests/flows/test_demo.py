"""The README's main command, as a user runs it: the long way round, hence slow."""

import subprocess
import sys

import pytest

from neuroloom.pipeline.store import Store


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What two demos in a row on one store said."""
    store = tmp_path_factory.mktemp("demo") / "store"
    command = [sys.executable, "-m", "neuroloom.flows.main", "demo", "--store", str(store)]
    runs = [subprocess.run(command, capture_output=True, text=True, timeout=1200) for _ in range(2)]
    return Store(store), runs


@pytest.mark.slow
def test_the_truth_is_approached(told):
    _, (first, _) = told
    assert first.returncode == 0, first.stderr
    for what in ("clocks: recovered beside true", "units: sorted beside true", "of truth", "index.html"):
        assert what in first.stderr


@pytest.mark.slow
def test_a_second_demo_finds_everything_there(told):
    store, (_, second) = told
    assert second.returncode == 0, second.stderr
    assert [path.name for path in store.versions("sub-demo_ses-01_task-choice")] == ["v001"]


@pytest.mark.slow
def test_every_page_is_written(told):
    store, _ = told
    assert {"index.html", "run-demo.html", "sub-demo_ses-01_task-choice.html"} == {
        p.name for p in store.review.iterdir()
    }
