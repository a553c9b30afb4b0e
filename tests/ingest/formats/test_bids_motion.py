import gzip
import json

import numpy as np
import pandas as pd
import pytest

from neuroloom.ingest import FormatError, format_of, read
from neuroloom.ingest.formats import bids_motion
from neuroloom.ingest.timebase import Timestamps

REAL = "motion/mne-testing-data/MOTION/sub-S1/motion/sub-S1_tracksys-qualisys_motion.tsv.gz"
CHANNELS = "name\ttype\tunits\ttracked_point\nx\tPOS\tm\theel\ny\tPOS\tm\theel\ngx\tGYRO\tdeg/s\tn/a\n"
ROWS = "1\t2\t0.5\n3\tn/a\t1.5\n5\t6\t2.5\n"


def motion_file(folder, *, rows=ROWS, channels=CHANNELS, packed=True, stated=None):
    stem = folder / "sub-1_tracksys-a"
    (folder / "sub-1_tracksys-a_channels.tsv").write_text(channels)
    content = {"SamplingFrequency": 100, "TrackingSystemName": "a"} if stated is None else stated
    (folder / "sub-1_tracksys-a_motion.json").write_text(json.dumps(content))
    path = stem.with_name(f"{stem.name}_motion.tsv{'.gz' if packed else ''}")
    path.write_bytes(gzip.compress(rows.encode()) if packed else rows.encode())
    return path


def test_a_real_plain_table_equals_what_pandas_reads(recordings_dir):
    folder = recordings_dir / "odd/bids/emg_Multimodal/sub-01/motion"
    path = folder / "sub-01_task-pullstand_tracksys-mocap_motion.tsv"
    signal = read(path)[0]["position"]
    theirs = pd.read_csv(path, sep="\t", header=None).to_numpy()
    assert np.allclose(signal.values()[0], theirs, rtol=1e-15)
    assert signal.channel_names == tuple(pd.read_csv(next(folder.glob("*_channels.tsv")), sep="\t")["name"])


def test_a_real_file_equals_what_pandas_reads(recordings_dir):
    path = recordings_dir / REAL
    assert format_of(path) == "bids_motion"
    (recording,) = read(path)
    signal = recording["position"]
    theirs = pd.read_csv(path, sep="\t")
    assert list(signal.channel_names) == list(theirs.columns)
    assert np.allclose(signal.values()[0], theirs.to_numpy(), rtol=1e-15)
    assert (signal.rate_hz, signal.unit, signal.table["tracked_point"][0]) == (100.0, "m", "left_heel")
    assert any("a line of names above the numbers" in line for line in recording.repairs)


@pytest.mark.parametrize("packed", [True, False])
def test_types_and_units_are_apart(tmp_path, packed):
    path = motion_file(tmp_path, packed=packed)
    assert format_of(path) == "bids_motion"
    (recording,) = read(path)
    assert [(s.name, s.modality, s.unit) for s in recording.streams] == [
        ("position", "position", "m"), ("gyroscope", "behaviour", "deg/s"),
    ]  # fmt: skip
    assert np.array_equal(recording["position"].values()[0], [[1, 2], [3, np.nan], [5, 6]], equal_nan=True)


def test_the_measured_rate_wins(tmp_path):
    stated = {"SamplingFrequency": 100, "SamplingFrequencyEffective": 99.5, "StartTime": "2024-05-01T10:00:00"}
    (recording,) = read(motion_file(tmp_path, stated=stated))
    assert recording["position"].rate_hz == 99.5
    assert recording.start.isoformat() == "2024-05-01T10:00:00"


def test_a_column_of_times_is_the_time(tmp_path):
    channels = "name\ttype\tunits\nx\tPOS\tm\nt\tLATENCY\ts\n"
    (recording,) = read(motion_file(tmp_path, channels=channels, rows="1\t0\n2\t0.1\n3\t0.25\n4\t90\n"))
    first, second = recording["position"].segments
    assert isinstance(first.timebase, Timestamps)
    assert (first.timebase.times_s.tolist(), second.timebase.start_s) == ([0, 0.1, 0.25], 90.0)
    assert recording["position"].channel_names == ("x",)


@pytest.mark.parametrize("missing", ["motion.json", "channels.tsv"])
def test_a_missing_companion_is_named(tmp_path, missing):
    path = motion_file(tmp_path)
    (tmp_path / f"sub-1_tracksys-a_{missing}").unlink()
    with pytest.raises(FormatError, match=rf"'sub-1_tracksys-a_{missing}' is not beside it"):
        read(path)


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"rows": "1\t2\n"}, "rows of 2 numbers for 3 channels"),
        ({"rows": "1\t2\t3\n1\t2\tx\n"}, "after row 0"),
        ({"rows": "x\ty\tz\n"}, "holds no rows"),
        ({"stated": {}}, "SamplingFrequency is None"),
        ({"stated": {"SamplingFrequency": 0}}, "SamplingFrequency is 0"),
        ({"stated": {"SamplingFrequency": float("inf")}}, "SamplingFrequency is inf"),
        ({"stated": []}, "holds no object"),
        ({"channels": "name\ttype\nx\tPOS\n"}, "name, type and units are wanted"),
        ({"channels": "name\ttype\tunits\n"}, "0 channels"),
    ],
)
def test_what_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=match):
        bids_motion.read(motion_file(tmp_path, **lie))


def test_a_cut_file_is_refused(tmp_path):
    path = motion_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FormatError, match="damaged or cut off"):
        read(path)


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bids_motion, "MAX_TEXT_BYTES", 1 << 20)
    path = motion_file(tmp_path, rows=ROWS * 200_000)
    with pytest.raises(FormatError, match="more than 1 MB of text"):
        read(path)


def test_other_packed_tables_are_not_claimed(tmp_path):
    (tmp_path / "x.tsv.gz").write_bytes(gzip.compress(ROWS.encode()))
    (tmp_path / "x_motion.tsv.gz").write_bytes(gzip.compress(b"some prose\nand more of it\n"))
    assert format_of(tmp_path / "x.tsv.gz") is None
    assert format_of(tmp_path / "x_motion.tsv.gz") is None
