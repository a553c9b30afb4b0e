import gzip
import json
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, naming_files, read

REAL = "gaze/glasses_tsv/GlassesTestCodeData/Tobii sawtooth/50Hz"


@pytest.fixture
def real(recordings_dir):
    """The recording, and its lines as JSON reads them."""
    folder = recordings_dir / REAL
    with gzip.open(folder / "segments/1/livedata.json.gz", "rt") as file:
        return folder, [json.loads(line) for line in file]


def live(path, *lines):
    with gzip.open(path, "wt") as file:
        file.write("".join(json.dumps({"ts": ts, "s": 0} | said, separators=(",", ":")) + "\n" for ts, said in lines))
    return path


def test_the_folder_of_a_recording_is_one_recording(real):
    folder, _ = real
    assert naming_files(folder.parent) == [folder]
    (recording,) = read(folder)
    assert recording.start == datetime(2018, 10, 17, 7, 29, 49, tzinfo=UTC)
    assert recording.subject == {"subject_id": "mn1"}


def test_measurements_are_those_of_the_lines(real):
    folder, lines = real
    (recording,) = read(folder)
    gaze = [line for line in lines if "gp" in line]
    want = [line["gp"] if line["s"] == 0 else [np.nan, np.nan] for line in gaze]
    assert np.allclose(recording["gaze"].values()[0], want, equal_nan=True)
    times_s = recording["gaze"].segments[0].timebase.seconds(np.arange(len(gaze)))
    assert np.allclose(times_s * 1e6, [line["ts"] for line in gaze], atol=0.5)
    left = [line["pd"] if line["s"] == 0 else np.nan for line in lines if "pd" in line and line["eye"] == "left"]
    assert np.allclose(recording["pupil left"].values()[0].ravel(), left, equal_nan=True)
    assert recording["rotation"].n_samples == sum("gy" in line for line in lines)


def test_what_failed_is_lost(real):
    folder, lines = real
    n_failed = sum("gp" in line and line["s"] != 0 for line in lines)
    assert n_failed > 0
    assert np.isnan(read(folder)[0]["gaze"].values()[0]).all(axis=1).sum() == n_failed


def test_the_sync_port_and_the_video_are_events(real):
    folder, lines = real
    (recording,) = read(folder)
    sync, video = recording["sync out"], recording["video"]
    assert sync.modality == "sync"
    assert sync.labels[:3] == ("up", "down", "up")
    assert len(sync.labels) == sum("sig" in line for line in lines) == 33
    assert video.table["video_s"][1] == 0.639588


def test_segments_of_a_recording_are_on_one_clock(tmp_path):
    folder = tmp_path / "abc"
    (folder / "recording.json").parent.mkdir()
    (folder / "recording.json").write_text("{}")
    for number, first in ((1, 0), (2, 60_000_000)):
        (folder / "segments" / str(number)).mkdir(parents=True)
        lines = [(first + k * 20_000, {"gp": [0.5, 0.5]}) for k in range(3)]
        live(folder / "segments" / str(number) / "livedata.json.gz", *lines)
    (recording,) = read(folder)
    assert [s.timebase.start_s for s in recording["gaze"].segments] == [0.0, 60.0]


def test_events_that_a_program_sent_keep_its_time(tmp_path):
    path = live(tmp_path / "livedata.json.gz", (5_000_000, {"ets": 77_000_000, "type": "trial", "tag": "7"}))
    events = read(path)[0]["events"]
    assert (events.labels, events.table["sender_s"]) == (("trial 7",), (77.0,))


def test_an_end_that_is_missing_is_said(real, tmp_path):
    folder, _ = real
    raw = (folder / "segments/1/livedata.json.gz").read_bytes()
    (tmp_path / "livedata.json.gz").write_bytes(raw[: len(raw) // 2])
    (recording,) = read(tmp_path / "livedata.json.gz")
    assert 2000 < recording["gaze"].n_samples < 5000
    assert "livedata.json.gz: its end is missing: read as far as it goes" in recording.repairs


def test_a_number_that_is_none_is_refused_by_line(tmp_path):
    path = live(tmp_path / "livedata.json.gz", (0, {"gp": [0.5, 0.5]}), (20_000, {"gp": [0.5]}))
    with pytest.raises(FormatError, match=r"line 2: gp is \[0.5\]; 2 numbers are wanted"):
        read(path)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("neuroloom.ingest.formats.tobii_glasses.MAX_BYTES", 1000)
    path = live(tmp_path / "livedata.json.gz", *[(k, {"gp": [0.5, 0.5]}) for k in range(100)])
    with pytest.raises(FormatError, match="unpacks to too much; up to 1000 bytes are read"):
        read(path)


def test_other_packed_files_are_not_its(real, tmp_path):
    shutil.copy(real[0] / "segments/1/et.tslv.gz", tmp_path / "et.tslv.gz")
    assert format_of(tmp_path / "et.tslv.gz") is None
