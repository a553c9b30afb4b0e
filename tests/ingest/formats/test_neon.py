import json
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

DEMO = "gaze/neon_native/pl-neon-recording/demo_recording"
START_NS = 1_760_676_788_219_000_000


@pytest.fixture
def demo(recordings_dir):
    return recordings_dir / DEMO


@pytest.fixture
def parts(tmp_path):
    """Gaze in two parts, 18 s apart, at 200 Hz."""
    folder = tmp_path / "rec"
    folder.mkdir()
    (folder / "info.json").write_text(json.dumps({"start_time": START_NS, "data_format_version": "2.5"}))
    for part, first_ns in ((1, 10**9), (2, 20 * 10**9)):
        times = START_NS + first_ns + np.arange(4) * 5_000_000
        times.astype("<i8").tofile(folder / f"gaze ps{part}.time")
        np.arange(8, dtype="<f4").tofile(folder / f"gaze ps{part}.raw")
    return folder


def test_a_folder_is_one_recording(demo):
    assert format_of(demo) == "neon"
    (recording,) = read(demo)
    assert recording.clock == "demo_recording"
    assert recording.files[0] == demo


def test_gaze_is_what_lies_in_the_file(demo):
    gaze = read(demo)[0]["gaze"]
    assert np.array_equal(gaze.values()[0], np.fromfile(demo / "gaze ps1.raw", "<f4").reshape(-1, 2))
    times_ns = np.fromfile(demo / "gaze ps1.time", "<i8")
    assert gaze.segments[0].timebase.times_s.tolist() == ((times_ns - START_NS) / 1e9).tolist()
    assert np.array_equal(
        gaze.between(3.0, 3.1).values()[0], gaze.values()[0][((times_ns - START_NS) / 1e9 >= 3.0)][:20]
    )


def test_samples_stay_in_the_file_until_asked(demo):
    records = read(demo)[0]["gaze"].segments[0].samples.records
    assert isinstance(records, np.memmap)


def test_eye_state_and_imu_are_taken_apart_by_their_fields(demo):
    (recording,) = read(demo)
    state = np.fromfile(demo / "eye_state ps1.raw", "<f4").reshape(-1, 20)
    assert np.array_equal(recording["pupil"].values()[0], state[:, [0, 7]])
    assert np.array_equal(recording["eyeball center right"].values()[0], state[:, 8:11])
    imu = np.fromfile(demo / "imu ps1.raw", np.dtype([("t", "<i8"), ("v", "<f4", 10)]))
    assert np.array_equal(recording["acceleration"].values()[0], imu["v"][:, 3:6])
    assert recording["quaternion"].values()[0].shape == (969, 4)


def test_fixations_and_saccades_are_told_apart(demo):
    (recording,) = read(demo)
    assert (len(recording["fixations"].labels), len(recording["saccades"].labels)) == (23, 22)
    assert recording["saccades"].table["amplitude_deg"][0] == pytest.approx(16.228716)
    assert recording["blinks"].bounds_s.shape == (2, 2)


def test_it_began_when_it_says(demo):
    (recording,) = read(demo)
    assert recording["events"].labels == ("recording.begin", "recording.end")
    assert recording["events"].times_s.tolist() == [0.0, 11.219]
    assert recording.start == datetime(2025, 10, 17, 4, 53, 10, 103992, tzinfo=UTC)  # of the first sample
    assert recording.subject == {"name": "dom"}


def test_parts_are_segments(parts):
    gaze = read(parts)[0]["gaze"]
    assert [segment.timebase.start_s for segment in gaze.segments] == [1.0, 20.0]
    assert gaze.rate_hz == pytest.approx(200.0)


def test_a_tenth_part_comes_after_the_second(parts):
    for kind in ("raw", "time"):
        shutil.copy(parts / f"gaze ps2.{kind}", parts / f"gaze ps10.{kind}")
    times = np.fromfile(parts / "gaze ps10.time", "<i8") + 10**10
    times.tofile(parts / "gaze ps10.time")
    assert [segment.timebase.start_s for segment in read(parts)[0]["gaze"].segments] == [1.0, 20.0, 30.0]


def test_a_raw_file_that_was_cut_off_is_read_as_far_as_its_times_go(parts):
    raw = (parts / "gaze ps2.raw").read_bytes()
    (parts / "gaze ps2.raw").write_bytes(raw[:-5])
    (recording,) = read(parts)
    assert recording["gaze"].segments[1].timebase.n_samples == 3
    assert recording.repairs == ("gaze ps2.raw: 3.375 records and 4 times; the first 3 kept",)


@pytest.mark.parametrize("said", ['__import__("os").system("true")', "[('x', 'object')]", "[('x',)]", "[" * 5000])
def test_fields_are_data_and_never_run(parts, said):
    (parts / "gaze.dtype").write_text(said)
    with pytest.raises(FormatError, match=r"gaze\.dtype: .*names and types of fields are wanted"):
        read(parts)


def test_times_that_go_back_are_refused(parts):
    np.array([5, 4, 6, 7], "<i8").tofile(parts / "gaze ps1.time")
    with pytest.raises(FormatError, match="time 2 of gaze repeats or goes back"):
        read(parts)


def test_a_start_that_is_none_is_refused(parts):
    (parts / "info.json").write_text("{}")
    with pytest.raises(FormatError, match=r"info\.json: start_time is None; nanoseconds since 1970 are wanted"):
        read(parts)
