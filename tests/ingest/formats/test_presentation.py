import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

HEAD = (
    "Scenario - stroop\nLogfile written - 10/24/2013 14:02:03\n\n"
    "Subject\tTrial\tEvent Type\tCode\tTime\tTTime\tUncertainty\tDuration\tUncertainty\tReqTime\tReqDur\tStim Type\n\n"
)
ROWS = (
    "s01\t0\tPulse\t30\t10000\t0\t1\t\t\t\t\t\n"
    "s01\t1\tPicture\tred_left\t20000\t0\t1\t15000\t2\t0\tnext\thit\n"
    "s01\t1\tResponse\t2\t25432\t5432\t1\t\t\t\t\t\n"
    "s01\t2\tPicture\tred_right\t40000\t0\t1\tnext\t2\t0\tnext\tmiss\n"
)
SCORED = "\nEvent Type\tCode\tType\tResponse\tRT\tRT Uncertainty\tTime\tUncertainty\tDuration\n\n" + (
    "Picture\tred_left\thit\t2\t5432\t2\t20000\t1\t15000\nPicture\tred_right\tmiss\t\t\t\t40000\t1\tnext\n"
)


def log(path, text=HEAD + ROWS + SCORED, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def test_a_stream_per_type_of_event_in_seconds(tmp_path):
    path = log(tmp_path / "s01-stroop.log")
    assert format_of(path) == "presentation"
    (recording,) = read(path)
    assert recording["picture"].times_s.tolist() == pytest.approx([2.0, 4.0])
    assert recording["picture"].labels == ("red_left", "red_right")
    assert recording["response"].times_s.tolist() == pytest.approx([2.5432])
    assert recording.subject == {"subject_id": "s01"}


def test_pulses_are_sync(tmp_path):
    assert read(log(tmp_path / "a.log"))[0]["pulse"].modality == "sync"


def test_durations_and_uncertainties_are_kept_and_the_unknown_is_nan(tmp_path):
    table = read(log(tmp_path / "a.log"))[0]["picture"].table
    assert table["duration_s"][0] == pytest.approx(1.5)
    assert np.isnan(table["duration_s"][1])
    assert table["uncertainty_s"] == pytest.approx((1e-4, 1e-4))
    assert table["duration_uncertainty_s"] == pytest.approx((2e-4, 2e-4))
    assert table["trial"] == (1.0, 2.0)
    assert table["stimulus_type"] == ("hit", "miss")


def test_stimuli_as_scored_have_reaction_times(tmp_path):
    scored = read(log(tmp_path / "a.log"))[0]["scored stimuli"]
    assert scored.table["score"] == ("hit", "miss")
    assert scored.table["rt_s"][0] == pytest.approx(0.5432)
    assert np.isnan(scored.table["rt_s"][1])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_every_encoding_that_it_writes(tmp_path, encoding):
    path = log(tmp_path / "a.log", (HEAD + ROWS).replace("red_left", "gr\u00fcn"), encoding)
    assert format_of(path) == "presentation"
    assert read(path)[0]["picture"].labels[0] == "gr\u00fcn"


def test_a_time_that_is_no_number_is_named_by_its_line(tmp_path):
    path = log(tmp_path / "a.log", HEAD + ROWS.replace("25432", "2x"))
    with pytest.raises(FormatError, match="line 8: '2x' is no number; tenths of a millisecond are wanted"):
        read(path)


def test_a_row_cut_off_before_its_time_is_refused(tmp_path):
    with pytest.raises(FormatError, match="line 10: no time; tenths of a millisecond are wanted"):
        read(log(tmp_path / "a.log", HEAD + ROWS + "s01\t3\tPicture\tred"))


def test_two_subjects_in_a_log_are_refused(tmp_path):
    with pytest.raises(FormatError, match="holds 2 subjects, s01, s02; one is wanted"):
        read(log(tmp_path / "a.log", HEAD + ROWS + "s02\t3\tPicture\tred\t50000\n"))
