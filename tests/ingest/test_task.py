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


RICH = """name = "choice"
[trials]
start = ["New trial*"]
stop_after_s = 2.0
[columns.choice]
left = "left"
right = "right"
[fields.target]
label = "TARGET *"
[fields.hand]
column = "hand"
[streams]
choice = "keys"
"""


@pytest.fixture
def rich(tmp_path):
    (tmp_path / "task.toml").write_text(RICH)
    return Task.read(tmp_path / "task.toml")


def named(name, *pairs, **table):
    made = events(*pairs)
    return Events(name=name, times_s=made.times_s, labels=made.labels, table=table)


LOG = named(
    "log", (1.0, "New trial (0)"), (1.2, "TARGET 3"), (1.3, "left"), (5.0, "New trial (1)"), (5.2, "TARGET 4.5")
)


def test_a_star_stands_for_anything(rich):
    assert rich.trials(LOG, [named("keys")]).labels == ("New trial (0)", "New trial (1)")


def test_a_field_is_what_the_star_stands_for(rich):
    assert rich.trials(LOG, [named("keys")]).table["target"] == (3.0, 4.5)


def test_the_stream_that_is_named_is_the_one_that_is_looked_in(rich):
    trials = rich.trials(LOG, [named("keys", (1.5, "right"), (5.5, "left"))])
    assert trials.table["choice"] == ("right", "left")  # not the "left" at 1.3 s of the log
    assert trials.table["choice_s"] == (1.5, 5.5)


def test_a_field_may_be_a_column_of_events(rich):
    trials = rich.trials(LOG, [named("keys"), named("picks", (1.1, "a"), (1.4, "b"), (5.1, "c"), hand=("", "L", "R"))])
    assert trials.table["hand"] == ("L", "R")


def test_a_stream_that_is_not_there_is_named(rich):
    with pytest.raises(FormatError, match=r"\[streams\] choice: no 'keys'; there are log"):
        rich.trials(LOG)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("[fields.x]\nlabel = 'no star'\n", r"fields\.x: 'no star' holds 0 \"\*\"; one is wanted"),
        ("[fields.x]\n", r"fields\.x: either `column` or `label` is wanted"),
        ("[fields.choice]\ncolumn = 'a'\n", r"column 'choice' is in \[columns\] and in \[fields\]"),
        ("[streams]\nother = 'keys'\n", r"\[streams\] names 'other'; it may name trials and columns"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(tmp_path, lines, match):
    (tmp_path / "task.toml").write_text(TOML + lines)
    with pytest.raises(FormatError, match=match):
        Task.read(tmp_path / "task.toml")
