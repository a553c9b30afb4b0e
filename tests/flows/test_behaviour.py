"""Logs of PsychoPy and Presentation beside a recording, from the command line to trials and targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import Session

PRESENTATION = (
    "Scenario - stroop\nLogfile written - 10/24/2013 14:02:03\n\n"
    "Subject\tTrial\tEvent Type\tCode\tTime\tTTime\tUncertainty\tDuration\n\n"
    "s01\t1\tPicture\tword_left\t20000\t0\t1\t15000\ns01\t1\tResponse\t1\t25000\t5000\t1\t\n"
    "s01\t2\tPicture\tword_right\t40000\t0\t1\t15000\ns01\t2\tResponse\t2\t46000\t6000\t1\t\n"
    "s01\t3\tPicture\tend\t60000\t0\t1\t15000\n"
)
PRESENTATION_TASK = """name = "stroop"
[trials]
start = ["word_*"]
stop_after_s = 1.5
[columns.side]
word_left = "left"
word_right = "right"
[columns.choice]
1 = "left"
2 = "right"
[streams]
choice = "response"
"""
PSYCHOPY = (
    "5.0000 \tEXP \tNew trial (rep=0, index=0): OrderedDict([('word', 'red')])\n"
    "5.5000 \tDATA \tKeypress: left\n"
    "7.0000 \tEXP \tNew trial (rep=0, index=1): OrderedDict([('word', 'blue')])\n"
    "7.2500 \tDATA \tKeypress: right\n"
    "9.0000 \tEXP \twindow1: mouseVisible = True\n"
)
PSYCHOPY_TASK = """name = "stroop"
[trials]
start = ["New trial*"]
stop_after_s = 1.0
[columns.choice]
left = "left"
right = "right"
[fields.word]
label = "New trial (rep=0, index=*"
[streams]
choice = "keypresses"
"""


def session_of(neuroloom, folder):
    """Ingested by the command line; of what it printed the session is opened."""
    said = neuroloom("ingest", folder, "--json")
    assert said.code == 0, said.err
    (result,) = said.document["results"]
    assert "trials" in [stream["name"] for stream in result["streams"]]
    return Session.open(Path(result["file"]).parent)


@pytest.fixture
def drop(tmp_path):
    folder = tmp_path / "sub-01_ses-01_task-stroop"
    folder.mkdir()
    return folder


def test_a_presentation_log_becomes_trials_with_what_was_shown_and_chosen(neuroloom, drop):
    (drop / "s01-stroop.log").write_text(PRESENTATION)
    (drop / "task.toml").write_text(PRESENTATION_TASK)
    with session_of(neuroloom, drop) as session:
        trials = session["trials"]
        assert list(trials.labels) == ["word_left", "word_right"]
        assert list(trials.table["side"]) == ["left", "right"]
        assert list(trials.table["choice"]) == ["left", "right"]
        assert np.subtract(trials.table["choice_s"], trials.bounds_s[:, 0]) == pytest.approx([0.5, 0.6])
        assert np.diff(trials.bounds_s)[:, 0] == pytest.approx([1.5, 1.5])


def test_a_psychopy_log_becomes_trials_with_keys_and_conditions(neuroloom, drop):
    (drop / "s01.log").write_text(PSYCHOPY)
    (drop / "task.toml").write_text(PSYCHOPY_TASK)
    with session_of(neuroloom, drop) as session:
        trials = session["trials"]
        assert list(trials.table["choice"]) == ["left", "right"]
        assert np.subtract(trials.table["choice_s"], trials.bounds_s[:, 0]) == pytest.approx([0.5, 0.25])
        assert [str(word) for word in trials.table["word"]] == [
            "0): OrderedDict([('word', 'red')])", "1): OrderedDict([('word', 'blue')])",
        ]  # fmt: skip


def test_a_task_whose_codes_do_not_occur_is_refused_with_what_there_is(neuroloom, drop):
    (drop / "s01.log").write_text(PSYCHOPY)
    (drop / "task.toml").write_text('name = "x"\n[trials]\nstart = ["go"]\n')
    said = neuroloom("ingest", drop, "--json")
    assert said.code == 3
    assert "none of its codes is in the events" in said.document["results"][0]["reason"]
