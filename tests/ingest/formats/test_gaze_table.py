import codecs
import tracemalloc

import numpy as np
import pytest

from neuroloom.ingest import FormatError, Timebase, Timestamps, format_of, read

SHORT = "time_ms,x_left_px,y_left_px\n0,1,2\n4,3,4\n8,5,6\n"
# What the makers of these files say of them, as a lab would write it down.
TOLD = {
    "gaze-toy-example.csv": 'time_unit = "ms"\nunit = "px"',
    "gaze-with-loss.csv": 'time_unit = "ms"\nunit = "px"',
    "hbn_example.csv": 'time_unit = "ms"',
    "judo1000_example.csv": 'time_unit = "ms"\nunit = "px"',
    "potec_example.tsv": 'time_unit = "ms"\nunit = "px"',
    "sbsat_example.csv": 'time_unit = "ms"\nunit = "px"',
    "monocular_example.tsv": 'time_unit = "ms"',
    "binocular_example.csv": 'time_unit = "ms"',
    "gazebase_example.csv": 'time = "n"\ntime_unit = "ms"\nunit = "deg"',
    "gazebase_vr_example.csv": 'time = "n"\ntime_unit = "ms"\nunit = "deg"\nchannels = { x = "lx", y = "ly" }',
    "gazegraph_example.csv": 'header = ["x", "y"]\nrate_hz = 30\nunit = "norm"',
    "gaze_on_faces_example.csv": 'header = ["x", "y"]\nrate_hz = 60\nunit = "px"',
    "didec_example.txt": 'time_unit = "us"\nwhere = { Type = "SMP" }',
}


def table(path, text=SHORT, *, told=None, encoding="utf-8"):
    """A table, and its sidecar where one is given."""
    path.write_text(text, encoding=encoding)
    if told is not None:
        path.with_suffix(".toml").write_text(f'format = "gaze_table"\n{told}\n')
    return path


@pytest.fixture
def real(recordings_dir, tmp_path):
    """A copy of a real file, beside what is told of it."""

    def copy(name, told=None):
        path = tmp_path / name.rpartition("/")[2]
        path.write_bytes((recordings_dir / name).read_bytes())
        if told is not None:
            path.with_suffix(".toml").write_text(f'format = "gaze_table"\n{told}\n')
        return path

    return copy


@pytest.mark.parametrize("name", TOLD)
def test_a_real_table_is_read_once_it_is_told(real, name):
    (recording,) = read(real(f"gaze/csv_generic/pymovements/{name}", TOLD[name]))
    assert recording["gaze"].n_samples >= 9
    assert recording["gaze"].unit in ("px", "deg", "norm")


@pytest.mark.parametrize(
    "name",
    [name for name, told in TOLD.items() if "header" not in told and 'time = "n"' not in told and "Type" not in told],
)
def test_a_real_table_is_refused_as_long_as_its_units_are_not_stated(real, name):
    with pytest.raises(FormatError, match=r"do not state .*unit of time.*`time_unit = \"ms\"`") as refusal:
        read(real(f"gaze/csv_generic/pymovements/{name}"))
    assert len(str(refusal.value).splitlines()) == 1


def test_real_lost_samples_are_nan(real):
    gaze = read(real("gaze/csv_generic/pymovements/gaze-with-loss.csv", TOLD["gaze-with-loss.csv"]))[0]["gaze"]
    assert np.isnan(gaze.values()[0]).all(axis=1).sum() == 178
    assert isinstance(gaze.segments[0].timebase, Timebase)
    assert gaze.rate_hz == 250


def test_two_times_are_told_apart_by_the_sidecar(tmp_path):
    text = "time,ts,x_left_px,y_left_px\n0,0,1,2\n0,4,3,4\n"
    with pytest.raises(FormatError, match="which of time, ts is the time"):
        read(table(tmp_path / "s.csv", text))
    gaze = read(table(tmp_path / "s.csv", text, told='time = "ts"\ntime_unit = "ms"'))[0]["gaze"]
    assert gaze.segments[0].timebase == Timebase(rate_hz=250.0, n_samples=2)


def test_a_confidence_is_kept(tmp_path):
    (recording,) = read(table(tmp_path / "s.csv", "time_s,x_left_px,y_left_px,confidence\n0,1,2,0.5\n1,3,4,1\n"))
    assert recording["confidence"].values()[0].ravel().tolist() == [0.5, 1.0]


def test_real_times_that_repeat_are_refused_by_line(real):
    """2 kHz in whole milliseconds: two samples at one time."""
    with pytest.raises(FormatError, match="line 3: time is 1699033, as in the row before"):
        read(real("gaze/csv_generic/pymovements/emtec_example.csv", 'time_unit = "ms"\nunit = "px"'))


def test_a_real_table_with_broken_rows_is_refused_by_line(real):
    with pytest.raises(FormatError, match="line 2 has 3 cells; 5 are wanted"):
        read(real("gaze/csv_generic/pymovements/missing_values_example.csv", 'time_unit = "ms"'))


def test_a_tobii_studio_export_is_read_below_its_preamble(real):
    told = 'time = "MicroSecondTimestamp"\ntime_unit = "us"\nunit = "px"\nlost_value = [-1280, -1024, -1]\n'
    (recording,) = read(real("odd/gaze_tables/EMDAT/P63-All-Data.tsv", told + 'where = { StimuliName = "ScreenRec" }'))
    assert recording["gaze"].channel_names == ("x_left", "y_left", "x_right", "y_right", "x", "y")
    assert np.isnan(recording["pupil"].values()[0]).all()
    assert "2 rows left out, as `where` asks" in recording.repairs


def test_names_state_channels_and_units(tmp_path):
    (recording,) = read(
        table(tmp_path / "s.csv", "time_ms,x_left_px,y_left_px,pupil_left,trial\n0,1,2,9,a\n4,3,4,8,a\n")
    )
    gaze, pupil = recording["gaze"], recording["pupil"]
    assert (gaze.channel_names, gaze.unit, pupil.channel_names, pupil.unit) == (
        ("x_left", "y_left"),
        "px",
        ("pupil_left",),
        "a.u.",
    )
    assert gaze.segments[0].timebase == Timebase(rate_hz=250.0, n_samples=2)
    assert gaze.values()[0].tolist() == [[1, 2], [3, 4]]
    assert recording.repairs == ("columns left out: trial",)


@pytest.mark.parametrize(
    ("header", "channel", "unit"),
    [
        ("Recording timestamp [ms];Gaze point left X [px];Gaze point left Y [px]", "x_left", "px"),
        ("gaze_timestamp_s;gaze_x_dva;gaze_y_dva", "x", "deg"),
        ("TimestampUs;GazePointXRightPixels;GazePointYRightPixels", "x_right", "px"),
        ("t (ms);R POR X [px];R POR Y [px]", "x_right", "px"),
        ("time [µs];xL_deg;yL_deg", "x_left", "deg"),
    ],
)
def test_many_spellings_are_understood(tmp_path, header, channel, unit):
    gaze = read(table(tmp_path / "s.txt", f"{header}\n0;1,5;2\n4;3;4\n"))[0]["gaze"]
    assert (gaze.channel_names[0], gaze.unit) == (channel, unit)
    assert gaze.values()[0][0].tolist() == [1.5, 2.0]  # a decimal comma


def test_a_place_without_a_unit_beside_one_with_a_unit_is_left_out_and_said(tmp_path):
    (recording,) = read(table(tmp_path / "s.csv", "time_s,x_left_pix,y_left_pix,x_left_pos,y_left_pos\n0,1,2,3,4\n"))
    assert recording["gaze"].channel_names == ("x_left", "y_left")
    assert recording.repairs == ("columns left out: x_left_pos, y_left_pos",)


def test_two_units_are_two_signals(tmp_path):
    (recording,) = read(table(tmp_path / "s.csv", "time_s,x_left_pix,y_left_pix,x_left_deg,y_left_deg\n0,1,2,3,4\n"))
    assert {stream.name for stream in recording.streams} == {"gaze px", "gaze deg"}


def test_the_sidecar_says_what_names_leave_open_and_has_the_word_on_columns_it_names(tmp_path):
    text = "time,x_left_pix,y_left_pix,x_left_pos,y_left_pos\n0,1,2,3,4\n"
    (open_,) = read(table(tmp_path / "s.csv", text, told='time_unit = "ms"\nunit = "deg"'))
    assert {stream.name for stream in open_.streams} == {"gaze px", "gaze deg"}
    named = 'time = "time"\ntime_unit = "ms"\nunit = "mm"\nchannels = { x = "x_left_pix", y = "y_left_pix" }'
    assert read(table(tmp_path / "s.csv", text, told=named))[0]["gaze"].unit == "mm"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings_are_found(tmp_path, encoding):
    text = "# Augenbewegung von Müller\n" + SHORT.replace(",", "\t").replace("\n", "\r\n")
    assert read(table(tmp_path / "s.tsv", text, encoding=encoding))[0]["gaze"].n_samples == 3


def test_a_letter_of_latin_1_far_down_is_found(tmp_path):
    rows = "".join(f"{k},1,2,a\n" for k in range(20_000))
    path = table(tmp_path / "s.csv", "time_ms,x_left_px,y_left_px,note\n" + rows)
    path.write_bytes(path.read_bytes() + codecs.encode("20000,1,2,grün\n", "latin-1"))
    assert read(path)[0]["gaze"].n_samples == 20_001


def test_blanks_and_quotes_separate_cells(tmp_path):
    assert read(table(tmp_path / "a.txt", SHORT.replace(",", "   ")))[0]["gaze"].n_samples == 3
    quoted = 'time_ms,x_left_px,y_left_px,word\n0,1,2,"no, yes"\n4,"3",4,x\n'
    assert read(table(tmp_path / "b.csv", quoted))[0]["gaze"].values()[0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("lost", ["", ".", "-", "NA", "n/a", "nan", "NULL"])
def test_a_cell_that_holds_nothing_is_a_lost_sample(tmp_path, lost):
    values = read(table(tmp_path / "s.csv", SHORT.replace("3,4", f"{lost},{lost}")))[0]["gaze"].values()[0]
    assert np.isnan(values[1]).all()
    assert np.isfinite(values[[0, 2]]).all()


def test_a_number_is_lost_only_where_it_is_declared_so(tmp_path):
    text = "time_ms,x_left_px,y_left_px,pupil_left\n0,0,0,0\n1,0,7,5\n2,-1,-1,-1\n"
    (kept,) = read(table(tmp_path / "s.csv", text))
    (lost,) = read(table(tmp_path / "s.csv", text, told="lost_value = [0, -1]"))
    assert kept["gaze"].values()[0].tolist() == [[0, 0], [0, 7], [-1, -1]]
    assert "2 samples at exactly (0, 0) or (-1, -1) kept" in kept.repairs[0]
    assert np.isnan(lost["gaze"].values()[0]).tolist() == [[True, True], [False, False], [True, True]]
    assert np.isnan(lost["pupil"].values()[0][:, 0]).tolist() == [True, False, True]


def test_irregular_times_are_kept_and_a_pause_is_a_gap(tmp_path):
    rows = "".join(f"{t},1,2\n" for t in (0, 10, 21, 30, 5000, 5010, 5021))
    segments = read(table(tmp_path / "s.csv", "time_ms,x_left_px,y_left_px\n" + rows))[0]["gaze"].segments
    assert [segment.timebase.n_samples for segment in segments] == [4, 3]
    assert isinstance(segments[0].timebase, Timestamps)
    assert segments[1].timebase.start_s == 5.0


def test_a_bids_json_states_units(tmp_path):
    path = table(tmp_path / "sub-01_gaze.tsv", "time\tx\ty\n0\t1\t2\n10\t3\t4\n")
    said = '{"time": {"Units": "ms"}, "x": {"Units": "pixels"}, "y": {"Units": "pixels"}, "SamplingFrequency": 100}'
    path.with_suffix(".json").write_text(said)
    (recording,) = read(path)
    assert (recording["gaze"].unit, recording["gaze"].rate_hz) == ("px", 100)
    assert [file.name for file in recording.files] == ["sub-01_gaze.tsv", "sub-01_gaze.json"]


def test_a_tracked_position_is_told_from_gaze(tmp_path):
    text = "time_ms,x_px,y_px\n0,1,2\n4,3,4\n"
    with pytest.raises(FormatError, match="whether they are of gaze"):
        read(table(tmp_path / "rat.csv", text))
    (recording,) = read(table(tmp_path / "rat.csv", text, told='modality = "position"\nclock = "camera"'))
    assert recording.clock == "camera"
    assert recording["position"].modality == "position"


def test_rows_of_one_trial_can_be_picked(tmp_path):
    text = "time_ms,x_left_px,y_left_px,trial\n0,1,2,1\n4,3,4,1\n0,5,6,2\n4,7,8,2\n"
    with pytest.raises(FormatError, match=r"line 4: time_ms is 0, less than in the row before.*`where`"):
        read(table(tmp_path / "s.csv", text))
    (recording,) = read(table(tmp_path / "s.csv", text, told="where = { trial = 2 }"))
    assert recording["gaze"].values()[0].tolist() == [[5, 6], [7, 8]]
    assert recording.repairs == ("2 rows left out, as `where` asks",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("12,7", "line 5 has 2 cells; 3 are wanted"),
        ("12,7,8,9", "line 5 has 4 cells; 3 are wanted"),
        ("12,7,eight", "line 5: y_left_px is 'eight'; a number is wanted"),
        ("12,7,1_0", "line 5: y_left_px is '1_0'"),
        (",7,8", "line 5: time_ms is nan; a time is wanted in every row"),
        ("inf,7,8", "line 5: time_ms is inf; a time is wanted in every row"),
        ("8,7,8", "line 5: time_ms is 8, as in the row before"),
        ("x" * 2_000_000, "a line of more than"),
    ],
)
def test_a_damaged_row_is_refused_by_line(tmp_path, row, message):
    with pytest.raises(FormatError, match=message) as refusal:
        read(table(tmp_path / "s.csv", SHORT + row + "\n"))
    assert str(refusal.value).startswith(str(tmp_path / "s.csv"))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("speed = 3", "speed: Extra inputs"),
        ('time_unit = "h"', "time_unit"),
        ('time = "t"', "no line names the columns t"),
        ('time = "time_ms"\nrate_hz = 3', "exclude each other"),
        ('channels = { z = "x_left_px" }', "channels"),
        ('channels = { x = "x_left_px" }\nwhere = { trial = 1 }', "no line names the columns trial, x_left_px"),
        ("where = { y_left_px = 99 }", "no rows below its header that `where` asks for"),
        ("unit =", "TOML is wanted"),
        ("rate_hz = nan", "rate_hz"),
        ("start = 2024-05-01", "start"),
    ],
)
def test_a_wrong_sidecar_is_named(tmp_path, told, message):
    with pytest.raises(FormatError, match=message) as refusal:
        read(table(tmp_path / "s.csv", told=told))
    assert len(str(refusal.value).splitlines()) == 1


def test_a_sidecar_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text('format = "gaze_table"\nlost_value = 1\n')
    (tmp_path / "s.toml").symlink_to(tmp_path / "elsewhere")
    assert [file.name for file in read(table(tmp_path / "s.csv"))[0].files] == ["s.csv"]


def test_names_that_a_terminal_would_obey_are_shown_as_they_are_not(tmp_path):
    with pytest.raises(FormatError) as refusal:
        read(table(tmp_path / "s.csv", "time\u200b,x\u202e,time,x_left,y_left\n0,1,2,3,4\n"))
    assert str(refusal.value).isprintable()


def test_memory_stays_near_the_size_of_the_text(tmp_path):
    rows = "".join(f"{k},{k % 1000}.5,{k % 700}.25\n" for k in range(300_000))
    path = table(tmp_path / "s.csv", "time_ms,x_left_px,y_left_px\n" + rows)
    del rows
    tracemalloc.start()
    gaze = read(path)[0]["gaze"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert gaze.n_samples == 300_000
    assert peak < 4 * path.stat().st_size + 16_000_000


@pytest.mark.parametrize(
    "text",
    [
        "name\tx\ty\tz\nA1\t0.1\t0.2\t0.3\n",
        "name\ttype\tunits\nCz\tEEG\tuV\n",
        "participant_id\tage\nsub-01\t30\n",
        "pre\tpost\ttype\tsynapses\nADAL\tADFL\tchemical\t1\n",
        "** CONVERTED FROM x.edf\nSTART\t1\tLEFT\n",
        "typeThis=imec\nfileSizeBytes=2\n",
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n",
        "def look(time, x, y):\n    return time, x, y\n",
        "id,start_timestamp,duration,norm_pos_x,norm_pos_y\n1,0.5,20,0.1,0.2\n",
        "Timestamp,Duration,GazePointX,GazePointY\n1,20,3,4\n",
    ],
)
def test_other_texts_are_not_claimed(tmp_path, text):
    assert format_of(table(tmp_path / "other.csv", text)) in (None, "eyelink", "brainvision", "spikeglx")
