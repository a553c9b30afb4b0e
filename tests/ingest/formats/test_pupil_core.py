import csv

import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, naming_files, read

CORE = "gaze/pupil_core_csv/pupil-tutorials/10_merge_fixation_and_blink_ids_into_gaze_dataframe"
GAZE = "gaze_timestamp,world_index,confidence,norm_pos_x,norm_pos_y,base_data\n"


@pytest.fixture
def export(recordings_dir):
    return recordings_dir / CORE


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_of_an_export_are_one_recording(export):
    assert [path.name for path in naming_files(export)] == ["gaze_positions.csv"]
    (recording,) = read(export)
    assert [file.name for file in recording.files] == ["gaze_positions.csv", "blinks.csv", "fixations.csv"]
    assert recording.clock == export.name


def test_gaze_and_confidence_are_those_of_the_table(export):
    rows = rows_of(export / "gaze_positions.csv")
    (recording,) = read(export)
    gaze = recording["gaze"]
    assert gaze.unit == "norm"
    assert np.allclose(gaze.values()[0], [[float(r["norm_pos_x"]), float(r["norm_pos_y"])] for r in rows], rtol=1e-6)
    assert gaze.segments[0].timebase.times_s.tolist() == [float(r["gaze_timestamp"]) for r in rows]
    assert np.allclose(recording["confidence"].values()[0][:, 0], [float(r["confidence"]) for r in rows])
    normal = recording["gaze normal left"].values()[0][:, 2]
    assert np.allclose(normal, [float(r["gaze_normal1_z"] or "nan") for r in rows], equal_nan=True)
    assert "base_data" in recording.repairs[0]  # every column that is not read is named


def test_blinks_last_seconds_and_fixations_milliseconds(export):
    (recording,) = read(export)
    blinks, fixations = rows_of(export / "blinks.csv"), rows_of(export / "fixations.csv")
    assert np.allclose(recording["blinks"].bounds_s[:, 1], [float(r["end_timestamp"]) for r in blinks])
    lasts_s = np.diff(recording["fixations"].bounds_s, axis=1)[:, 0]
    assert np.allclose(lasts_s, [float(r["duration"]) / 1e3 for r in fixations])
    assert recording["fixations"].table["x_mean"] == tuple(float(r["norm_pos_x"]) for r in fixations)
    assert set(recording["fixations"].table) == {"x_mean", "y_mean", "dispersion_deg", "confidence"}


def test_blinks_alone_are_a_recording(export, tmp_path):
    (tmp_path / "blinks.csv").write_bytes((export / "blinks.csv").read_bytes())
    assert [stream.name for stream in read(tmp_path)[0].streams] == ["blinks"]


def test_pupils_are_told_apart_by_eye_and_method(tmp_path):
    (tmp_path / "gaze_positions.csv").write_text(GAZE + "1.0,0,0.9,0.5,0.4,a b\n1.1,0,0.8,0.6,0.4,c\n")
    pupil = "pupil_timestamp,world_index,eye_id,confidence,norm_pos_x,norm_pos_y,diameter,method,diameter_3d\n"
    pupil += "1.00,0,0,0.9,0,0,40,2d c++,\n1.00,0,0,0.9,0,0,41,pye3d 0.3.0 real-time,3.1\n"
    pupil += "1.01,0,1,0.7,0,0,50,2d c++,\n1.01,0,1,0.7,0,0,51,pye3d 0.3.0 real-time,3.2\n"
    (tmp_path / "pupil_positions.csv").write_text(pupil)
    (recording,) = read(tmp_path)
    assert recording["pupil left pye3d mm"].values()[0].ravel() == pytest.approx([3.2])
    assert recording["pupil right 2d px"].values()[0].tolist() == [[40.0]]
    assert "pupil right 2d mm" not in [stream.name for stream in recording.streams]


def test_annotations_are_events(tmp_path):
    (tmp_path / "gaze_positions.csv").write_text(GAZE + "1.0,0,0.9,0.5,0.4,a\n1.1,0,0.8,0.6,0.4,c\n")
    (tmp_path / "annotations.csv").write_text("index,timestamp,label,duration\n4,1.05,go,0\n2,1.01,ready,0\n")
    assert read(tmp_path)[0]["annotations"].labels == ("ready", "go")


def test_samples_of_two_eyes_out_of_order_are_sorted_and_said(tmp_path):
    path = tmp_path / "gaze_positions.csv"
    path.write_text(GAZE + "1.0,0,1,0.1,0,a\n1.2,0,1,0.3,0,b\n1.1,0,1,0.2,0,c\n1.1,0,1,0.2,0,c\n")
    (recording,) = read(path)
    assert recording["gaze"].values()[0][:, 0] == pytest.approx([0.1, 0.2, 0.3])
    assert (
        "1 samples of gaze earlier than the one before, the first at 1.100000 after 1.200000 s: sorted by time"
        in recording.repairs
    )
    assert "1 samples of gaze at the time of the one before left out" in recording.repairs


def test_a_damaged_row_is_named(tmp_path):
    path = tmp_path / "gaze_positions.csv"
    path.write_text(GAZE + "1.0,0,1,0.1,0,a\n1.1,0,1,nought,0,b\n")
    with pytest.raises(FormatError, match="line 3: norm_pos_x is 'nought'; a number is wanted"):
        read(path)


def test_another_table_of_that_name_is_not_its(tmp_path):
    path = tmp_path / "gaze_positions.csv"
    path.write_text("time_ms,x_left_px,y_left_px\n0,1,2\n4,3,4\n")
    assert format_of(path) == "gaze_table"
