import gzip
import json

import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read
from neuroloom.ingest.gaze_geometry import is_fit

STATED = {
    "SamplingFrequency": 100.0, "StartTime": -2.0, "Columns": ["cardiac", "trigger"], "cardiac": {"Units": "mV"},
}  # fmt: skip
GAZE = {
    "SamplingFrequency": 500.0, "StartTime": 0.0,
    "Columns": ["timestamp", "x_coordinate", "y_coordinate", "pupil_size"],
    "PhysioType": "eyetrack", "RecordedEye": "left", "SampleCoordinateSystem": "gaze-on-screen",
    "timestamp": {"Units": "ms"}, "x_coordinate": {"Units": "pixel"}, "y_coordinate": {"Units": "pixel"},
}  # fmt: skip
SCREEN = {
    "StimulusPresentation": {
        "ScreenDistance": 0.6, "ScreenOrigin": ["top", "left"],
        "ScreenResolution": [1024, 768], "ScreenSize": [0.4, 0.3],
    }
}  # fmt: skip


def physio(folder, rows, stated=STATED, stem="sub-01_task-rest_recording-ecg", json_stem=None):
    (folder / f"{json_stem or stem}_physio.json").write_text(json.dumps(stated))
    path = folder / f"{stem}_physio.tsv.gz"
    path.write_bytes(gzip.compress(rows.encode()))
    return path


def test_samples_have_their_rate_and_start_and_units(tmp_path):
    path = physio(tmp_path, "0.5\t0\n0.75\t0\nn/a\t1\n1.25\t1\n")
    assert format_of(path) == "bids_physio"
    (recording,) = read(path)
    ecg = recording["physio"]
    assert (ecg.rate_hz, ecg.start_s, ecg.channel_names) == (100.0, -2.0, ("cardiac",))
    scale = {"uV": 1000.0, "mV": 1.0}[ecg.unit]
    assert np.allclose(ecg.values()[0].ravel(), np.array([0.5, 0.75, np.nan, 1.25]) * scale, equal_nan=True)


def test_what_rises_in_the_trigger_is_an_event(tmp_path):
    (recording,) = read(physio(tmp_path, "0\t0\n0\t0\n0\t1\n0\t1\n"))
    events = [s for s in recording.streams if hasattr(s, "times_s")]
    assert [e.times_s.tolist() for e in events] == [pytest.approx([-1.98])]


def test_the_json_may_lie_above(tmp_path):
    folder = tmp_path / "sub-01"
    folder.mkdir()
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "task-rest_physio.json").write_text(json.dumps(STATED))
    path = folder / "sub-01_task-rest_physio.tsv.gz"
    path.write_bytes(gzip.compress(b"1\t0\n2\t0\n"))
    assert read(path)[0]["physio"].n_samples == 2


def test_gaze_is_gaze_of_its_eye_at_its_timestamps(tmp_path):
    path = physio(tmp_path, "1000\t10\t20\t3\n1002\t11\t21\t3\n1004\tn/a\tn/a\tn/a\n", GAZE)
    (recording,) = read(path)
    gaze = recording["gaze"]
    assert (gaze.unit, gaze.channel_names, gaze.rate_hz) == ("px", ("x_left", "y_left"), pytest.approx(500))
    assert np.isnan(gaze.values()[0][2]).all()
    assert recording["pupil"].channel_names == ("pupil_left",)
    assert is_fit(gaze)


def test_the_screen_that_events_json_states_goes_with_the_gaze(tmp_path):
    path = physio(tmp_path, "1000\t10\t20\t3\n1002\t11\t21\t3\n", GAZE)
    (tmp_path / "sub-01_task-rest_events.json").write_text(json.dumps(SCREEN))
    assert read(path)[0]["gaze"].provenance["screen"] == {
        "width_px": 1024.0, "height_px": 768.0, "width_cm": pytest.approx(40), "height_cm": pytest.approx(30),
        "distance_cm": pytest.approx(60),
    }  # fmt: skip


def test_gaze_in_the_world_is_none_on_a_screen(tmp_path):
    path = physio(tmp_path, "0\t1\t2\t3\n2\t1\t2\t3\n", GAZE | {"SampleCoordinateSystem": "gaze-in-world"})
    gaze = read(path)[0]["gaze"]
    assert gaze.provenance["coordinates"] == "gaze-in-world"
    assert not is_fit(gaze)


@pytest.mark.parametrize(
    ("stated", "rows", "match"),
    [
        ({"Columns": None}, "1\t0\n", "its JSON names no Columns"),
        ({"SamplingFrequency": 0}, "1\t0\n", "SamplingFrequency in its JSON is 0"),
        ({}, "1\t0\n1\n", "line 2 has 1 cells; 2 are wanted"),
        ({}, "1\t0\nx\t0\n", "line 2: 'x' is no number"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, stated, rows, match):
    with pytest.raises(FormatError, match=match):
        read(physio(tmp_path, rows, STATED | stated))


def test_a_packed_table_that_was_cut_off_is_refused(tmp_path):
    path = physio(tmp_path, "1.5\t0\n2.5\t0\n" * 1000)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(FormatError, match="is damaged after line"):
        read(path)
