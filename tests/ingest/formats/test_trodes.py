import numpy as np
import pytest

from neuroloom.ingest import FormatError, read

REAL = "electrode_behaviour/mat_nelpy/nelpy-example-data/linear-track/trajectory.videoPositionTracking"
PLACES = np.dtype([("time", "<u4"), ("x", "<u2"), ("y", "<u2"), ("x2", "<u2"), ("y2", "<u2")])
PLACE_FIELDS = "<time uint32><xloc uint16><yloc uint16><xloc2 uint16><yloc2 uint16>"


def export(path, records, *, fields=PLACE_FIELDS, rate="30000", more="", end="<End settings>\n"):
    header = f"<Start settings>\nclockrate: {rate}\n{more}Fields: {fields}\n{end}"
    path.write_bytes(header.encode() + np.asarray(records).tobytes())
    return path


def places(*rows):
    """Rows of time, x, y; a second light never seen."""
    return np.array([(*row, 0, 0) for row in rows], dtype=PLACES)


def line(path, *changes, name=""):
    """A digital line: times in samples, and states."""
    records = np.array(list(changes), dtype=np.dtype([("time", "<u4"), ("state", "u1")]))
    return export(path, records, fields="<time uint32><state uint8>", more=name)


def test_positions_equal_the_packed_records(recordings_dir):
    path = recordings_dir / REAL
    raw = np.frombuffer(path.read_bytes().partition(b"<End settings>\n")[2], PLACES)
    (recording,) = read(path)
    position = recording["position"]
    _, first = np.unique(raw["time"], return_index=True)
    assert position.unit == "px"
    assert np.array_equal(np.vstack(position.values()), np.stack([raw["x"][first], raw["y"][first]], axis=1))
    assert position.segments[0].timebase.times_s == pytest.approx(raw["time"][first] / 30000, abs=1e-9)


def test_a_frame_written_twice_is_kept_once_and_said(recordings_dir):
    (recording,) = read(recordings_dir / REAL)
    assert recording["position"].n_samples == 118_964  # of 118965
    assert "1 records at the time of the one before, 0 of another place, left out" in recording.repairs[1]


def test_seconds_are_samples_over_the_clock_rate(tmp_path):
    (recording,) = read(export(tmp_path / "run.1.videoPositionTracking", places((30000, 5, 6), (45000, 7, 8))))
    assert recording.clock == "run"
    assert recording["position"].segments[0].timebase.seconds([0, 1]).tolist() == [1.0, 1.5]
    assert recording["position"].values()[0].tolist() == [[5, 6], [7, 8]]


def test_a_second_light_is_kept_where_it_was_seen(tmp_path):
    seen = np.array([(0, 1, 2, 3, 4), (500, 1, 2, 0, 0)], dtype=PLACES)
    assert read(export(tmp_path / "a.dat", seen))[0]["position"].channel_names == ("x", "y", "x2", "y2")


def test_a_second_place_at_one_time_is_left_out_and_said(tmp_path):
    (recording,) = read(export(tmp_path / "a.dat", places((0, 1, 1), (500, 2, 2), (500, 9, 9), (1000, 3, 3))))
    assert recording["position"].values()[0].tolist() == [[1, 1], [2, 2], [3, 3]]
    assert "1 records at the time of the one before, 1 of another place, left out" in recording.repairs[-1]


def test_a_pause_is_a_gap(tmp_path):
    rows = places(*((500 * k, k, k) for k in range(4)), *((90000 + 500 * k, k, k) for k in range(3)))
    segments = read(export(tmp_path / "a.dat", rows))[0]["position"].segments
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in segments] == [(0.0, 4), (3.0, 3)]
    assert segments[1].samples[1:3].tolist() == [[1, 1], [2, 2]]


def test_times_that_go_back_are_refused_by_record(tmp_path):
    with pytest.raises(FormatError, match=r"a\.dat: record 2 is at 400 after one at 500"):
        read(export(tmp_path / "a.dat", places((0, 1, 1), (500, 2, 2), (400, 3, 3))))


def test_a_counter_that_runs_over_counts_on(tmp_path):
    (recording,) = read(export(tmp_path / "a.dat", places((2**32 - 500, 1, 1), (0, 2, 2), (500, 3, 3))))
    assert recording["position"].segments[0].timebase.seconds(2) == pytest.approx((2**32 + 500) / 30000)
    assert "ran over" in " ".join(recording.repairs)


def test_rising_edges_are_pulses_and_the_first_record_is_none(tmp_path):
    path = line(tmp_path / "run.dio_Din1.dat", (0, 1), (300, 0), (3000, 1), (3300, 0), (6000, 1), name="ID: Din1\n")
    (recording,) = read(path)
    pulses = recording["Din1"]
    assert recording.clock == "run"
    assert pulses.modality == "sync"
    assert pulses.times_s.tolist() == [0.1, 0.2]
    assert set(pulses.labels) == {"Din1"}


def test_a_cut_file_gives_its_whole_records_and_says_so(tmp_path):
    path = export(tmp_path / "a.dat", places((0, 1, 1), (500, 2, 2)))
    path.write_bytes(path.read_bytes()[:-5])
    (recording,) = read(path)
    assert recording["position"].n_samples == 1
    assert "7 bytes after the last whole record" in recording.repairs[0]


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"rate": "fast"}, "clockrate is 'fast'"),
        ({"rate": "0"}, "above 0"),
        ({"rate": "nan"}, "above 0"),
        ({"fields": "<time uint32><xloc object>"}, "field xloc is of 'object'"),
        ({"fields": "<time uint32><xloc 2*uint16><yloc uint16>"}, "field xloc"),
        ({"fields": "<time uint32><wave 999999999*int16>"}, "field wave"),
        ({"fields": "<time double><state uint8>"}, "whole numbers"),
        ({"fields": "<voltage int16>"}, "a time and other fields"),
        ({"fields": "<time uint32><wave 40*int16>"}, "fields time, wave"),
        ({"end": ""}, "no line <End settings>"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie, message):
    path = export(tmp_path / "lie.dat", np.zeros(99, "<u4"), **lie)
    with pytest.raises(FormatError, match=message) as refusal:
        read(path)
    assert str(refusal.value).startswith(str(path))


def test_no_record_is_refused(tmp_path):
    with pytest.raises(FormatError, match="no whole record"):
        read(export(tmp_path / "a.dat", places()))
