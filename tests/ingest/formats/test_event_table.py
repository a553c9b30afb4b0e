import csv

import numpy as np
import pytest

from neuroloom.ingest import FormatError, Recording, Segment, Signal, Timebase, format_of, read
from neuroloom.pipeline import align

BIDS = "eeg/bids/bids-examples/eeg_matchingpennies/sub-05/eeg/sub-05_task-matchingpennies_events.tsv"
STUDIO = "gaze/tobii/EMDAT/TobiiV2/P61-Event-Data.tsv"


def table(folder, text, *, name="sub-01_task-rest_events.tsv", told=None):
    """A table of events, and its sidecar where one is given."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    if told is not None:
        path.with_suffix(".toml").write_text(f'format = "event_table"\n{told}\n')
    return path


def test_real_events_hold_every_column_with_its_type(recordings_dir):
    path = recordings_dir / BIDS
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    (recording,) = read(path)
    events = recording["events"]
    assert recording.clock == path.stem
    assert events.times_s.tolist() == [float(row["onset"]) for row in rows]
    assert events.labels == tuple(row["trial_type"] for row in rows)
    assert set(events.table) == set(rows[0]) - {"onset", "duration"} | {"duration_s"}
    assert [type(events.table[key][0]) for key in ("trial", "latency", "hand_raised")] == [int, float, str]


def test_every_real_events_file_is_read(recordings_dir):
    paths = [*recordings_dir.glob("eeg/bids/**/*_events.tsv"), *recordings_dir.glob("odd/bids/**/*_events.tsv")]
    assert len(paths) == 8
    assert [read(path)[0]["events"].times_s.size for path in sorted(paths)] == [300] * 7 + [150]


def test_real_onsets_are_the_samples_that_the_table_counts(recordings_dir):
    events = read(recordings_dir / "odd/bids/emg_Multimodal/sub-01/sub-01_task-pullstand_events.tsv")[0]["events"]
    assert events.times_s * 256 == pytest.approx(events.table["sample"], abs=0.01)


def test_onsets_count_from_the_first_sample_of_the_recording_beside(tmp_path):
    eeg = Signal(
        name="eeg",
        modality="eeg",
        segments=(Segment(samples=np.zeros((90, 1)), timebase=Timebase(rate_hz=10, start_s=100.0, n_samples=90)),),
        channel_names=("Cz",),
        unit="uV",
        gain=np.ones(1),
        offset=np.zeros(1),
    )
    path = tmp_path / "sub-01_task-rest_eeg.edf"
    recording = Recording(clock=path.stem, format="edf", files=(path,), streams=(eeg,))
    session = align([recording, *read(table(tmp_path, "onset\ttrial_type\n0.5\tgo\n"))])
    assert next(s for s in session.streams if s.name == "events").times_s.tolist() == [0.5]
    assert session.clock_maps[0].method == "onsets from its first sample"


def test_a_lab_may_declare_a_vendors_table_itself(recordings_dir, tmp_path):
    text = (recordings_dir / STUDIO).read_text()
    assert format_of(table(tmp_path, text, name="log.tsv")) == "tobii"
    events = read(table(tmp_path, text, name="log.tsv", told='time_unit = "ms"'))[0]["events"]
    assert events.times_s[:3].tolist() == [0.0, 8.091, 8.985]
    assert events.labels[:3] == ("ScreenRecStarted", "LeftMouseClick", "LeftMouseClick")
    assert events.table["Data1"][3] == "Load 1st Problem"


def test_bids_seconds_and_missing_durations(tmp_path):
    events = read(table(tmp_path, "onset\tduration\ttrial_type\n1.5\t0.2\tgo\n2\tn/a\tstop\n"))[0]["events"]
    assert events.times_s.tolist() == [1.5, 2.0]
    assert events.labels == ("go", "stop")
    assert events.table["duration_s"][0] == 0.2
    assert np.isnan(events.table["duration_s"][1])


@pytest.mark.parametrize(
    ("header", "row", "label"),
    [
        ("trial_type\tvalue", "go\t7", "go"),
        ("trial_type\tvalue", "n/a\t7", "7"),
        ("value\tname", "7\tgo", "7"),
        ("sample\tword\tother", "3\tgo\tstop", "go"),
        ("sample", "3", "event"),
    ],
)
def test_the_label_is_the_first_column_that_says_something(tmp_path, header, row, label):
    events = read(table(tmp_path, f"onset\tduration\t{header}\n1\t0\t{row}\n"))[0]["events"]
    assert events.labels == (label,)


def test_columns_keep_their_types(tmp_path):
    text = "onset\tint\tfloat\tgap\tcode\tword\n1\t5\t0.5\t3\t007\tgo\n2\t-6\t2\tn/a\t012\tn/a\n"
    made = read(table(tmp_path, text))[0]["events"].table
    assert (made["int"], made["float"], made["code"], made["word"]) == (
        (5, -6),
        (0.5, 2.0),
        ("007", "012"),
        ("go", "n/a"),
    )
    assert made["gap"][0] == 3.0
    assert np.isnan(made["gap"][1])


def test_rows_out_of_order_are_sorted_and_said(tmp_path):
    (recording,) = read(table(tmp_path, "onset\ttrial_type\n3\tc\n1\ta\n2\tb\n"))
    assert recording["events"].labels == ("a", "b", "c")
    assert recording.repairs == ("1 rows earlier than the row before, the first at 1 after 3 s: sorted by onset",)


def test_a_row_without_an_onset_is_left_out_and_said(tmp_path):
    (recording,) = read(table(tmp_path, "onset\ttrial_type\n1\ta\nn/a\tb\n2\tc\n"))
    assert recording["events"].labels == ("a", "c")
    assert recording.repairs == ("1 rows without an onset, lines 3, left out",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("3\t0", "line 4 has 2 cells; 3 are wanted"),
        ("3\t0\tgo\tmore", "line 4 has 4 cells; 3 are wanted"),
        ("soon\t0\tgo", "line 4: onset is 'soon'; a number is wanted"),
        ("inf\t0\tgo", "line 4: onset is 'inf'; a number is wanted"),
    ],
)
def test_a_damaged_row_is_refused_by_line(tmp_path, row, message):
    with pytest.raises(FormatError, match=message):
        read(table(tmp_path, f"onset\tduration\ttrial_type\n1\t0\ta\n2\t0\tb\n{row}\n"))


def test_no_event_at_all_is_refused(tmp_path):
    with pytest.raises(FormatError, match="at least one event is wanted"):
        read(table(tmp_path, "onset\tduration\ttrial_type\n"))


@pytest.mark.parametrize(
    ("text", "times_s", "labels"),
    [
        ("time_ms,event\n500,go\n750,stop\n", [0.5, 0.75], ("go", "stop")),
        ("onset [s];condition\n0,5;go\n1;stop\n", [0.5, 1.0], ("go", "stop")),
        ("nr\tTimestamp (us)\tMarker\n1\t500\tS 1\n2\t750\tS 2\n", [0.0005, 0.00075], ("S 1", "S 2")),
        ("onset_s duration_ms code\n1 200 5\n2 300 6\n", [1.0, 2.0], ("5", "6")),
    ],
)
def test_names_state_the_unit_of_time(tmp_path, text, times_s, labels):
    events = read(table(tmp_path, text, name="log.csv"))[0]["events"]
    assert events.times_s == pytest.approx(times_s)
    assert events.labels == labels


def test_a_duration_is_converted_only_where_its_unit_is_stated(tmp_path):
    known = read(table(tmp_path, "time_ms,event,duration_ms\n1,a,200\n", name="known.csv"))[0]["events"]
    unknown = read(table(tmp_path, "time_ms,event,duration\n1,a,200\n", name="unknown.csv"))[0]["events"]
    assert known.table["duration_s"] == pytest.approx((0.2,))
    assert unknown.table["duration"] == (200,)


def test_the_sidecar_states_what_names_do_not(tmp_path):
    told = 'onset = "when"\ntime_unit = "ms"\nlabel = "what"\nduration = "long"\n'
    told += 'clock = "rig"\nstart = 2024-05-01T10:00:00'
    (recording,) = read(table(tmp_path, "when,what,long\n1000,go,250\n", name="log.csv", told=told))
    events = recording["events"]
    assert (events.times_s.tolist(), events.labels, events.table["duration_s"]) == ([1.0], ("go",), (0.25,))
    assert (recording.clock, recording.start.hour) == ("rig", 10)
    assert [file.name for file in recording.files] == ["log.csv", "log.toml"]


def test_a_real_table_of_fixations_has_its_durations_in_another_unit_than_its_times(recordings_dir, tmp_path):
    """Times in microseconds, durations in milliseconds: fixation 2 lasts from 1564666170500000 to 1564666170740000."""
    text = (recordings_dir / "gaze/tobii/EMDAT/Tobii4C/4Ctest_fixation.csv").read_text()
    told = 'onset = "start"\ntime_unit = "us"\nduration = "duration"\nduration_unit = "ms"'
    events = read(table(tmp_path, text, name="fixations.csv", told=told))[0]["events"]
    assert events.labels[:2] == ("saccade", "fixation")
    assert events.table["duration_s"][1] == 0.24
    assert events.table["end"][1] * 1e-6 - events.times_s[1] == pytest.approx(0.24, abs=1e-6)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ('time_unit = "h"', "time_unit"),
        ('units = "ms"', "units: Extra inputs"),
        ('label = "whom"', "no line names the columns whom"),
        ('onset = "what"\ntime_unit = "s"', "line 2: what is 'go'"),
    ],
)
def test_a_wrong_sidecar_is_named(tmp_path, told, message):
    with pytest.raises(FormatError, match=message):
        read(table(tmp_path, "time,what\n1,go\n", name="log.csv", told=told))


def test_a_marker_column_beside_samples_is_no_event_table(tmp_path):
    rows = "".join(f"{4 * k},1.5,{k % 2}\n" for k in range(200))
    with pytest.raises(FormatError, match="rows come every 4 ms, as samples do"):
        read(table(tmp_path, "time_ms,Cz,marker\n" + rows, name="eeg.csv"))


def test_no_file_is_gaze_and_events_at_once(tmp_path):
    both = "time_ms,x_left_px,y_left_px,event\n0,1,2,go\n4,3,4,stop\n"
    assert format_of(table(tmp_path, both, name="a.csv")) == "gaze_table"
    assert format_of(table(tmp_path, both, name="b.csv", told="")) == "event_table"
    assert format_of(table(tmp_path, "onset\tx\ty\ttime\n1\t2\t3\t4\n")) == "event_table"


@pytest.mark.parametrize(
    "text",
    [
        "name\ttype\tunits\nCz\tEEG\tuV\n",
        "filename\tacq_time\neeg/a.edf\t2025-09-23T12:00:00\n",
        "cluster_id\tgroup\n4\tgood\n",
        "The onset of the event, and its label.\n1 2 3\n",
        '{"onset": {"Description": "Onset of a button release"}}\n',
        "[BeGaze]\nTime,Event\n1,a\n",
    ],
)
def test_other_texts_are_not_claimed(tmp_path, text):
    assert format_of(table(tmp_path, text, name="other.tsv")) is None
