import re
from datetime import datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

EVENTS = "gaze/smi/EMDAT/SMI_Sample_67_Events.txt"
SAMPLES = "gaze/csv_generic/pymovements/didec_example.txt"
HEAD = "## [BeGaze]\n## Date:\t09.06.2015 15:27:25\n## Sample Rate:\t500\n## Subject:\tP07\n##\n"
NAMES = "Time\tType\tTrial\tL POR X [px]\tL POR Y [px]\tL Mapped Diameter [mm]\tL Validity\tL Event Info\tStimulus\n"


def samples(path, rows, head=HEAD):
    path.write_text(head + NAMES + rows)
    return path


@pytest.fixture
def real(recordings_dir):
    """The file, and its rows by kind."""
    path = recordings_dir / EVENTS
    rows = [line.split(",") for line in path.read_text().splitlines() if re.match(r"\w+ [LR],|UserEvent,", line)]
    return path, {kind: [r for r in rows if r[0].startswith(kind)] for kind in ("Fix", "Sac", "Blink", "User")}


def test_events_are_those_of_the_file(real):
    path, rows = real
    (recording,) = read(path)
    for name, kind in (("fixations", "Fix"), ("saccades", "Sac"), ("blinks", "Blink")):
        want = sorted(((int(r[3]), int(r[4])) for r in rows[kind]), key=lambda pair: pair[0])
        assert np.allclose(recording[name].bounds_s[:, 0] * 1e6, [start for start, _ in want])
        assert len(recording[name].labels) == len(want)
    assert recording["fixations"].labels[:2] == ("left", "right")
    assert len(recording["messages"].labels) == len(rows["User"]) == 416


def test_measures_have_the_names_of_all_readers(real):
    path, rows = real
    saccades = read(path)[0]["saccades"]
    first = next(r for r in rows["Sac"] if r[3] == "167531286064" and r[0] == "Saccade L")
    assert saccades.table["x_start"][0] == float(first[6])
    assert saccades.table["amplitude_deg"][0] == float(first[10]) == 3.70
    assert saccades.table["peak_velocity_deg_s"][0] == 149.36
    assert saccades.table["average_speed"][0] == 40.35
    assert read(path)[0]["fixations"].table["pupil_mean"][:2] == (16.42, 16.58)


def test_who_and_when(real):
    (recording,) = read(real[0])
    assert recording.start == datetime(2015, 6, 9, 15, 27, 25)  # dots: the day comes first
    assert recording.subject == {"name": "MT430PN56168"}  # may be a name, so it is treated as one


def test_real_samples(recordings_dir):
    (recording,) = read(recordings_dir / SAMPLES)
    gaze = recording["gaze"]
    assert gaze.values()[0][0] == pytest.approx([858.16, 516.11, 858.16, 516.11])
    times_s = gaze.segments[0].timebase.seconds(np.arange(2))
    assert times_s == pytest.approx([70590.726108, 70590.730097], abs=1e-9)
    assert recording["messages"].labels == ("test.bmp",)
    assert recording["stimuli"].labels == ("test.bmp",)


def test_samples_messages_and_runs_of_events(tmp_path):
    rows = "1000\tMSG\t1\t# Message: start\n"
    rows += "2000\tSMP\t1\t100\t200\t3.5\t1\tFixation\ta.png\n4000\tSMP\t1\t101\t201\t3.6\t1\tFixation\ta.png\n"
    rows += "6000\tSMP\t1\t0\t0\t0\t0\tBlink\ta.png\n8000\tSMP\t1\t102\t202\t3.6\t1\tSaccade\ta.png\n"
    (recording,) = read(samples(tmp_path / "s.txt", rows))
    assert np.isnan(recording["gaze"].values()[0]).all(axis=1).tolist() == [False, False, True, False]
    assert np.isnan(recording["pupil"].values()[0][2, 0])
    assert recording["validity"].values()[0].ravel().tolist() == [1, 1, 0, 1]
    assert recording["fixations"].bounds_s.tolist() == [[0.002, 0.004]]
    assert (recording["blinks"].labels, recording["saccades"].labels) == (("left",), ("left",))
    assert recording["messages"].labels == ("start",)
    assert recording.subject == {"subject_id": "P07"}


def test_a_rate_that_contradicts_the_times_is_refused(tmp_path):
    """Times in milliseconds would be read as microseconds, a thousand times too fast."""
    rows = "".join(f"{k * 2}\tSMP\t1\t100\t200\t3.5\t1\t-\t-\n" for k in range(20))
    with pytest.raises(FormatError, match="times give 500000 Hz as microseconds, but its Sample Rate is 500"):
        read(samples(tmp_path / "s.txt", rows))


def test_a_row_that_is_cut_short_is_named(tmp_path):
    rows = "".join(f"{k}000\tSMP\t1\t100\t200\t3.5\t1\t-\t-\n" for k in (2, 4)) + "6000\tSMP\t1\t100\n"
    with pytest.raises(FormatError, match="line 9 has 4 cells; 9 are wanted"):
        read(samples(tmp_path / "s.txt", rows))


def test_an_event_of_no_kind_is_refused(real, tmp_path):
    path = tmp_path / "events.txt"
    path.write_text(real[0].read_text()[:3000].rpartition("\n")[0] + "\nGlissade L,1,1,1,2,3\n")
    assert format_of(path) == "smi"
    with pytest.raises(FormatError, match="'Glissade L' is of no kind that its headers name"):
        read(path)


def test_what_the_preamble_says_of_the_screen_goes_with_the_gaze(tmp_path):
    said = "## Calibration Area:\t1680\t1050\n## Stimulus Dimension [mm]:\t474\t297\n## Head Distance [mm]:\t700\n##\n"
    rows = "2000\tSMP\t1\t100\t200\t3.5\t1\t-\t-\n4000\tSMP\t1\t100\t200\t3.5\t1\t-\t-\n"
    (recording,) = read(samples(tmp_path / "s.txt", rows, HEAD + said))
    assert recording["gaze"].provenance["screen"] == pytest.approx(
        {"width_px": 1680, "height_px": 1050, "width_cm": 47.4, "height_cm": 29.7, "distance_cm": 70}
    )
