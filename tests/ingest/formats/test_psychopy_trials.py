from datetime import datetime

import pytest

from neuroloom.ingest import FormatError, format_of, read

NAMES = (
    "word,congruent,trials.thisRepN,trials.thisN,thisRow.t,stim.started,stim.stopped,key.started,key.keys,key.rt,"
    "participant,date,expName,psychopyVersion,expStart"
)
ABOUT = "07,2024-05-01_10h00.00.000,stroop,2023.2.3,2024-05-01 10h00.05.500000 +0200"
ROWS = (
    f",,,,1.5,,,,,,{ABOUT}",  # instructions, outside the loop
    f"red,1,0,0,5.0,5.25,6.25,5.25,left,0.5,{ABOUT}",
    f"blue,0,0,1,7.0,7.25,8.25,7.25,None,,{ABOUT}",
)


def table(path, rows=ROWS, names=NAMES):
    path.write_text("\n".join([names, *rows]) + "\n")
    return path


def test_a_row_of_a_loop_is_a_trial_until_the_next_begins(tmp_path):
    path = table(tmp_path / "07_stroop.csv")
    assert format_of(path) == "psychopy_trials"
    trials = read(path)[0]["trials"]
    assert trials.bounds_s.tolist() == [[5.0, 7.0], [7.0, 8.25]]
    assert trials.labels == ("trials", "trials")
    assert trials.table["word"] == ("red", "blue")
    assert trials.table["congruent"] == (1.0, 0.0)


def test_a_row_outside_any_loop_is_left_out_and_said(tmp_path):
    assert read(table(tmp_path / "a.csv"))[0].repairs == ("1 rows outside any loop are no trials: left out",)


def test_components_start_and_keys_come_a_reaction_time_later(tmp_path):
    (recording,) = read(table(tmp_path / "a.csv"))
    assert recording["components"].times_s.tolist() == [5.25, 5.25, 7.25, 7.25]
    assert recording["components"].labels == ("stim", "key", "stim", "key")
    assert (recording["responses"].times_s.tolist(), recording["responses"].labels) == ([5.75], ("left",))


def test_several_keys_of_one_component_come_as_lists(tmp_path):
    row = f"red,1,0,0,5.0,5.25,6.25,5.25,\"['left', 'right']\",\"[0.5, 0.75]\",{ABOUT}"
    responses = read(table(tmp_path / "a.csv", (row,)))[0]["responses"]
    assert (responses.times_s.tolist(), responses.labels) == ([5.75, 6.0], ("left", "right"))


def test_who_and_when(tmp_path):
    (recording,) = read(table(tmp_path / "a.csv"))
    assert recording.subject == {"subject_id": "07"}
    assert recording.start == datetime.fromisoformat("2024-05-01T10:00:07.000000+02:00")  # expStart + the first row


def test_a_table_without_times_is_refused(tmp_path):
    path = table(tmp_path / "a.csv", ("red,0,0,07", "blue,0,1,07"), "word,trials.thisRepN,trials.thisN,participant")
    with pytest.raises(FormatError, match=r"do not tell when a row began; thisRow\.t or <component>\.started"):
        read(path)


def test_two_participants_in_a_table_are_refused(tmp_path):
    rows = (ROWS[1], ROWS[2].replace("07,", "08,"))
    with pytest.raises(FormatError, match="holds 2 participants, 07, 08; one is wanted"):
        read(table(tmp_path / "a.csv", rows))


def test_a_damaged_row_is_named(tmp_path):
    rows = (*ROWS, ROWS[1], "red,1,0")
    with pytest.raises(FormatError, match="line 6 has 3 cells; 15 are wanted"):
        read(table(tmp_path / "a.csv", rows))


def test_rows_without_any_time_are_counted(tmp_path):
    (recording,) = read(table(tmp_path / "a.csv", (*ROWS[1:], f"green,1,0,2,,,,,,,{ABOUT}")))
    assert recording.repairs == ("1 rows without any time left out",)
    assert len(recording["trials"].labels) == 2
