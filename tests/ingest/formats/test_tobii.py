import csv
import io
from datetime import UTC, datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read
from neuroloom.pipeline import align

EMDAT = "gaze/tobii/EMDAT/TobiiV2"
OLD = "odd/gaze_tables/EMDAT/P63-All-Data.tsv"

LAB = "\t".join([
    "Recording timestamp [ms]", "Computer timestamp [μs]", "Sensor", "Participant name", "Recording name",
    "Recording date UTC", "Recording start time UTC", "Event", "Event value",
    "Gaze point left X [DACS px]", "Gaze point left Y [DACS px]", "Gaze point right X [DACS px]",
    "Gaze point right Y [DACS px]", "Gaze point left X [MCS norm]", "Gaze point left Y [MCS norm]",
    "Pupil diameter left [mm]", "Pupil diameter right [mm]", "Validity left", "Validity right",
    "Eye movement type", "Eye movement type index", "Gaze event duration [ms]", "Fixation point X [DACS px]",
    "Fixation point Y [DACS px]", "Presented Stimulus name",
])  # fmt: skip


def lab_row(
    ms, us, *, event="", sensor="Eye Tracker", left="960\t540", valid="Valid", move="Fixation\t1\t40\t961\t541"
):
    """A row of a Pro Lab export; blank cells where an event lies between samples."""
    about = "\t".join(["P07", "Recording1", "2024-05-01", "10:00:00.250"])
    gaze = f"{left}\t970\t545\t0,5\t0,5\t3,21\t3,3\t{valid}\tValid\t{move}\timage.png" if not event else "\t" * 15
    return f"{ms}\t{us}\t{sensor if not event else ''}\t{about}\t{event}\t{'v' if event else ''}\t{gaze}"


@pytest.fixture
def lab(tmp_path):
    """Four samples at 120 Hz with an event between: UTF-16 and decimal commas, as a German Windows writes them."""
    rows = [
        lab_row(100, 5_000_000),
        lab_row(108, 5_008_333),
        lab_row(110, 5_010_000, event="ImageStimulusStart"),
        lab_row(117, 5_016_667, left="\t", valid="Invalid", move="Saccade\t1\t16\t\t"),
        lab_row(125, 5_025_000, move="Saccade\t1\t16\t\t"),
    ]
    path = tmp_path / "lab.tsv"
    path.write_text("\n".join([LAB, *rows]) + "\n", encoding="utf-16")
    return path


def test_a_log_of_events_is_read_below_its_preamble(recordings_dir):
    (recording,) = read(recordings_dir / EMDAT / "P61-Event-Data.tsv")
    events = recording["events"]
    assert len(events.labels) == 1285
    assert events.times_s[:3].tolist() == [0.0, 8.091, 8.985]
    assert events.labels[:3] == ("ScreenRecStarted", "LeftMouseClick", "LeftMouseClick")
    assert events.table["Data1"][3] == "Load 1st Problem"
    assert recording.subject == {"subject_id": "P105"}
    assert recording.start == datetime(2011, 9, 27, 13, 13, 39)


@pytest.mark.parametrize(
    ("name", "n_rows"),
    [("P61-Fixation-Data.tsv", 4664), ("P62-Fixation-Data.tsv", 1482), ("P63-Fixation-Data.tsv", 1482)],
)
def test_fixations_are_intervals(recordings_dir, name, n_rows):
    path = recordings_dir / EMDAT / name
    text = path.read_text().split("\n\n")[-1].partition("FixationIndex")
    rows = list(csv.DictReader(io.StringIO("FixationIndex" + text[2]), delimiter="\t"))
    fixations = read(path)[0]["fixations"]
    assert len(fixations.labels) == len(rows) == n_rows
    assert np.allclose(fixations.bounds_s[:, 0] * 1e3, [float(r["Timestamp"]) for r in rows])
    assert np.allclose(np.diff(fixations.bounds_s)[:, 0] * 1e3, [float(r["FixationDuration"]) for r in rows])
    assert fixations.table["y_mean"] == tuple(float(r["MappedFixationPointY"]) for r in rows)
    assert set(fixations.labels) == {"both"}  # Eye: Average


def test_a_shorter_log_of_events_has_every_row(recordings_dir):
    path = recordings_dir / EMDAT / "P62-Event-Data.tsv"
    rows = path.read_text().splitlines()
    first = next(k for k, row in enumerate(rows) if row.startswith("Timestamp"))
    times_ms = [float(row.split("\t")[0]) for row in rows[first + 1 :] if row.strip()]
    assert read(path)[0]["events"].times_s * 1e3 == pytest.approx(times_ms)


def test_exports_of_one_recording_share_its_clock(recordings_dir):
    names = ("P61-Event-Data.tsv", "P61-Fixation-Data.tsv")
    session = align(read(*(recordings_dir / EMDAT / name for name in names)), subject="61")
    (relation,) = session.clock_maps
    assert (relation.offset_s, relation.residual_ms) == (0.0, 0.0)
    assert relation.method.startswith("timestamps of one recording")


def test_an_eye_that_was_not_found_is_lost(recordings_dir):
    """Studio 2 writes -1280 and -1 there, and a validity of 4."""
    (recording,) = read(recordings_dir / OLD)
    assert np.isnan(recording["gaze"].values()[0]).all()
    assert np.isnan(recording["pupil"].values()[0]).all()
    assert recording["validity"].values()[0].tolist() == [[4.0, 4.0]] * 8
    assert recording["events"].labels == ("ScreenRecStarted", "LeftMouseClick")
    assert recording["gaze"].segments[0].timebase.start_s == 606.994606  # of MicroSecondTimestamp, not 606.995


def test_samples_of_pro_lab_have_the_finer_of_two_times_of_one_clock(lab):
    (recording,) = read(lab)
    times_s = recording["gaze DACS px"].segments[0].timebase.seconds(np.arange(4))
    assert np.allclose(times_s, [0.1, 0.108333, 0.116667, 0.125], atol=1e-6)
    assert recording["events"].times_s == pytest.approx([0.11])


def test_units_and_systems_of_coordinates_are_told_apart(lab):
    (recording,) = read(lab)
    pixels, shares = recording["gaze DACS px"], recording["gaze MCS norm"]
    assert pixels.channel_names == ("x_left", "y_left", "x_right", "y_right")
    assert pixels.values()[0][0].tolist() == [960.0, 540.0, 970.0, 545.0]
    assert (shares.unit, shares.values()[0][0].tolist()) == ("norm", [0.5, 0.5])
    assert np.isnan(pixels.values()[0][2]).tolist() == [True, True, False, False]
    assert recording["pupil"].values()[0][0] == pytest.approx([3.21, 3.3])
    assert recording["validity"].values()[0][:, 0].tolist() == [1.0, 1.0, 0.0, 1.0]


def test_runs_of_samples_are_fixations_saccades_and_stimuli(lab):
    (recording,) = read(lab)
    assert np.allclose(recording["fixations"].bounds_s, [[0.1, 0.14]])
    assert recording["fixations"].table == {"x_mean": (961.0,), "y_mean": (541.0,)}
    assert len(recording["saccades"].labels) == 1
    assert recording["stimuli"].labels == ("image.png",)


def test_who_and_when(lab):
    (recording,) = read(lab)
    assert recording.subject == {"subject_id": "P07"}
    assert recording.start == datetime(2024, 5, 1, 10, 0, 0, 350_000, tzinfo=UTC)  # its first sample is at 100 ms


def test_two_participants_in_one_export_are_refused(tmp_path):
    path = tmp_path / "all.tsv"
    rows = [lab_row(100, 5_000_000), lab_row(108, 5_008_333).replace("P07", "P08")]
    path.write_text("\n".join([LAB, *rows]) + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"holds 2 participants, P07, P08; export each alone"):
        read(path)


def test_studio_3(tmp_path):
    names = [
        "StudioVersionRec", "RecordingTimestamp", "StudioEvent", "StudioEventData", "FixationIndex", "SaccadeIndex",
        "GazeEventType", "GazeEventDuration", "FixationPointX (MCSpx)", "FixationPointY (MCSpx)", "SaccadicAmplitude",
        "GazePointLeftX (ADCSpx)", "GazePointLeftY (ADCSpx)", "GazePointX (MCSpx)", "GazePointY (MCSpx)", "PupilLeft",
        "ValidityLeft", "EyePosLeftZ (ADCSmm)",
    ]  # fmt: skip
    rows = [
        ["3.4", "0", "", "", "1", "", "Fixation", "17", "500", "400", "", "501", "401", "301", "201", "3.1", "0", "600"],  # noqa: E501
        ["3.4", "17", "", "", "", "1", "Saccade", "16", "", "", "4.5", "520", "410", "", "", "3.2", "0", "600"],
        ["3.4", "20", "MovieStart", "a.avi", *[""] * 14],
        ["3.4", "33", "", "", "", "", "Unclassified", "17", "", "", "", "", "", "", "", "", "4", ""],
    ]  # fmt: skip
    path = tmp_path / "studio.csv"
    path.write_text("\n".join(",".join(row) for row in [names, *rows]) + "\n")
    (recording,) = read(path)
    assert recording["gaze DACS px"].values()[0][:2].tolist() == [[501.0, 401.0], [520.0, 410.0]]
    assert recording["eye position"].unit == "mm"
    assert recording["saccades"].table["amplitude_deg"] == (4.5,)
    assert recording["saccades"].bounds_s.tolist() == [[0.017, 0.033]]
    assert recording["events"].labels == ("MovieStart",)
    assert recording["events"].table["StudioEventData"] == ("a.avi",)


def test_a_time_without_a_unit_is_asked_for(tmp_path):
    path = tmp_path / "early.tsv"
    path.write_text("Recording timestamp\tGaze point X\tGaze point Y\n0\t1\t2\n8333\t3\t4\n")
    with pytest.raises(FormatError, match=r"'Recording timestamp' does not state its unit; .*early\.toml"):
        read(path)
    (tmp_path / "early.toml").write_text('format = "tobii"\ntime_unit = "us"\n')
    assert read(path)[0]["gaze"].rate_hz == pytest.approx(120, rel=1e-4)


def test_rows_of_other_sensors_are_left_out_and_said(tmp_path):
    text = "Recording timestamp [μs]\tSensor\tGaze point X [MCS px]\tGaze point Y [MCS px]\n"
    text += "0\tGyroscope\t\t\n10\tEye Tracker\t1\t2\n20010\tEye Tracker\t3\t4\n20020\tAccelerometer\t\t\n"
    (tmp_path / "glasses.tsv").write_text(text, encoding="utf-8")
    (recording,) = read(tmp_path / "glasses.tsv")
    base = recording["gaze"].segments[0].timebase
    assert (base.rate_hz, base.n_samples) == (pytest.approx(50.0), 2)
    assert base.start_s == pytest.approx(1e-5)
    assert recording.repairs == ("rows of other sensors left out: Accelerometer, Gyroscope",)


def test_a_damaged_row_is_named(lab):
    text = lab.read_text(encoding="utf-16").replace("3,21\t3,3\tValid", "wide\t3,3\tValid", 1)
    lab.write_text(text, encoding="utf-16")
    with pytest.raises(FormatError, match=r"line 2: Pupil diameter left \[mm\] is 'wide'; a number is wanted"):
        read(lab)


def test_a_table_of_another_tracker_is_not_its(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("Timestamp,Event,x\n0,go,1\n4,stop,2\n")
    assert format_of(path) == "event_table"
