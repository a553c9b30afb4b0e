import numpy as np
import pytest

from neuroloom.ingest import Events, FormatError
from neuroloom.ingest.task import Task

TOML = """name = "choice"
[trials]
start = ["go"]
stop_after_s = 2.0
[columns.choice]
l = "left"
r = "right"
"""


@pytest.fixture
def task(tmp_path):
    (tmp_path / "task.toml").write_text(TOML)
    return Task.read(tmp_path / "task.toml")


def events(*pairs):
    return Events(name="e", times_s=np.array([t for t, _ in pairs]), labels=tuple(label for _, label in pairs))


def test_a_trial_takes_what_happened_within_it(task):
    trials = task.trials(events((1.0, "go"), (1.5, "l"), (5.0, "go"), (8.0, "r")))
    assert trials.bounds_s.tolist() == [[1.0, 3.0], [5.0, 7.0]]
    assert trials.table["choice"] == ("left", "")
    assert trials.table["choice_s"][0] == 1.5


def test_a_trial_never_runs_into_the_next(task):
    assert task.trials(events((1.0, "go"), (2.0, "go"))).bounds_s[0].tolist() == [1.0, 2.0]


def test_events_without_a_start_are_not_of_this_task(task):
    assert not task.knows(events((1.0, "l")))


def test_a_wrong_entry_is_named(tmp_path):
    (tmp_path / "task.toml").write_text('name = "x"\n[trials]\nbegin = ["a"]\n')
    with pytest.raises(FormatError, match=r"task\.toml: trials\."):
        Task.read(tmp_path / "task.toml")
