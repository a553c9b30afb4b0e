import ast

import numpy as np
import pytest

from neuroloom.ingest import FormatError, read

REAL = "gaze/tobii/EMDAT/Tobii4C/4Ctest.csv"
HEAD = "device_time_stamp,system_time_stamp,left_gaze_point_on_display_area_x,left_gaze_point_on_display_area_y,"
HEAD += "left_gaze_point_validity,left_pupil_diameter,left_pupil_validity\n"


@pytest.fixture
def real(recordings_dir):
    """The file, and its whole rows as Python reads them: every second line is blank, the last one is cut short."""
    path = recordings_dir / REAL
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    names = lines[0].split(";")
    return path, [dict(zip(names, line.split(";"), strict=True)) for line in lines[1:-1]]


def test_gaze_is_that_of_the_tuples(real):
    path, rows = real
    (recording,) = read(path)
    gaze = recording["gaze"]
    assert (gaze.channel_names, gaze.unit) == (("x_left", "y_left", "x_right", "y_right"), "norm")
    left = [ast.literal_eval(row["left_gaze_point_on_display_area"].replace("nan", "None")) for row in rows]
    valid = [row["left_gaze_point_validity"] == "1" for row in rows]
    want = np.array([place if ok else (np.nan, np.nan) for place, ok in zip(left, valid, strict=True)], dtype=float)
    assert np.allclose(gaze.values()[0][:, :2], want, equal_nan=True, rtol=1e-6)
    assert np.isnan(want).any()


def test_samples_are_on_the_trackers_clock_and_the_computers_is_kept(real):
    path, rows = real
    (recording,) = read(path)
    base = recording["gaze"].segments[0].timebase
    times_s = base.seconds(np.arange(base.n_samples))
    assert np.allclose(times_s, [int(row["device_time_stamp"]) / 1e6 for row in rows], rtol=0, atol=1e-6)
    system_s = recording["system time"].values()[0].ravel()
    assert np.allclose(
        system_s, [(float(r["system_time_stamp"]) - float(rows[0]["system_time_stamp"])) / 1e6 for r in rows]
    )


def test_a_last_row_that_was_cut_short_is_left_out_and_said(real):
    assert "the last row is cut short, line 909 has 11 cells left out" in read(real[0])[0].repairs[0]


def test_a_column_per_coordinate_serves_as_well(tmp_path):
    path = tmp_path / "gaze.csv"
    path.write_text(HEAD + "1000,50,0.5,0.25,1,3.5,1\n11000,10050,0.6,0.35,0,3.6,1\n")
    (recording,) = read(path)
    assert recording["gaze"].values()[0][0].tolist() == [0.5, 0.25]
    assert np.isnan(recording["gaze"].values()[0][1]).all()
    assert recording["pupil"].values()[0].ravel() == pytest.approx([3.5, 3.6])
    assert recording["gaze"].start_s == 0.001


def test_damage_in_the_middle_is_refused_by_line(tmp_path):
    path = tmp_path / "gaze.csv"
    path.write_text(HEAD + "1000,50,0.5,0.25,1,3.5,1\n11000,10050\n21000,20050,0.5,0.25,1,3.5,1\n")
    with pytest.raises(FormatError, match="line 3 has 2 cells; 7 are wanted"):
        read(path)
