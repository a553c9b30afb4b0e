import json
from datetime import UTC, datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, read

T0 = 1_700_000_000_000_000_001
GAZE = "section id,recording id,timestamp [ns],gaze x [px],gaze y [px],worn,fixation id,blink id"
GAZE += ",azimuth [deg],elevation [deg]\n"


def filled(folder):
    """Three samples at 200 Hz, a fixation, a saccade, a blink and an event, as Pupil Labs documents them."""
    rows = "".join(f"s,r,{T0 + k * 5_000_000},{600 + k}.5,700,1.0,{k},,{k}.25,-1\n" for k in range(3))
    (folder / "gaze.csv").write_text(GAZE + rows)
    head = "section id,recording id,{} id,start timestamp [ns],end timestamp [ns],duration [ms]"
    start, stop = T0, T0 + 5_000_000
    (folder / "blinks.csv").write_text(head.format("blink") + f"\ns,r,1,{start},{stop},5\n")
    (folder / "fixations.csv").write_text(
        head.format("fixation") + f",fixation x [px],fixation y [px]\ns,r,1,{start},{stop},5,601.5,700\n"
    )
    (folder / "saccades.csv").write_text(
        head.format("saccade") + ",amplitude [px],amplitude [deg],mean velocity [px/s],peak velocity [px/s]\n"
        f"s,r,1,{start},{stop},5,90,6.5,1000,2000\n"
    )
    (folder / "events.csv").write_text(f"recording id,timestamp [ns],name,type\nr,{T0 - 1_000_000_000},go,recording\n")
    imu = "section id,recording id,timestamp [ns],gyro x [deg/s],gyro y [deg/s],gyro z [deg/s]\n"
    (folder / "imu.csv").write_text(imu + f"s,r,{T0},1,2,3\ns,r,{T0 + 9_000_000},4,5,6\n")
    (folder / "info.json").write_text(json.dumps({"wearer_name": "Anna Muster"}))
    return folder


@pytest.fixture
def export(tmp_path):
    return filled(tmp_path)


def test_an_export_is_one_recording_with_units_as_its_names_state(export):
    (recording,) = read(export)
    units = {s.name: s.unit for s in recording.streams if hasattr(s, "unit")}
    assert units == {"gaze": "px", "gaze direction": "deg", "worn": "a.u.", "gyroscope": "deg/s"}
    assert recording["gaze"].values()[0].tolist() == [[600.5, 700.0], [601.5, 700.0], [602.5, 700.0]]
    assert recording["gyroscope"].values()[0].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def test_nanoseconds_are_whole_until_they_are_small(export):
    """As floating point 1.7e18 is rounded to 256 ns."""
    (recording,) = read(export)
    assert recording["gaze"].start_s == 1.0  # the event before it is the recording's zero
    assert recording["gaze"].rate_hz == pytest.approx(200.0, rel=1e-12)
    assert recording["events"].times_s.tolist() == [0.0]
    assert recording.start == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_vendors_events_have_the_names_of_all_readers(export):
    (recording,) = read(export)
    assert recording["fixations"].table == {"x_mean": (601.5,), "y_mean": (700.0,)}
    assert recording["saccades"].table["amplitude_deg"] == (6.5,)
    assert recording["saccades"].table["peak_velocity_px_s"] == (2000.0,)
    assert np.allclose(recording["blinks"].bounds_s, [[1.0, 1.005]])


def test_the_wearer_is_a_name_and_no_code(export):
    assert read(export)[0].subject == {"name": "Anna Muster"}


def test_a_time_that_is_no_whole_number_is_refused(export):
    (export / "gaze.csv").write_text(GAZE + f"s,r,{T0},1,2,1,1,,0,0\ns,r,1.7e18,1,2,1,1,,0,0\n")
    with pytest.raises(FormatError, match=r"line 3: timestamp \[ns\] is '1.7e18'; whole nanoseconds are wanted"):
        read(export)
