import csv

import numpy as np
import pytest

from neuroloom.ingest import FormatError, read

REPORTS = ("pupil-labs/mn2", "tobii/mn2", "tobii/pt2")
HEAD = "frame_idx\ttimestamp\tconfidence\terrorDeg\tdxCm\tdyCm\tgaze_ts\tgaze_x\tgaze_y\n"


@pytest.mark.parametrize("name", REPORTS)
def test_samples_are_on_the_trackers_clock_and_the_videos_is_kept(recordings_dir, name):
    path = recordings_dir / "gaze/glasses_tsv/GlassesTestCodeData" / name / "report.tsv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    (recording,) = read(path)
    gaze = recording["gaze"]
    bases = [segment.timebase for segment in gaze.segments]
    times_s = np.concatenate([base.seconds(np.arange(base.n_samples)) for base in bases])
    assert np.allclose(times_s, [float(row["gaze_ts"]) / 1e3 for row in rows])
    values = np.concatenate(gaze.values())
    assert np.allclose(values, [[float(r["gaze_x"]), float(r["gaze_y"])] for r in rows], rtol=1e-6)
    video_s = np.concatenate(recording["video time"].values()).ravel()
    assert video_s.tolist() == [float(row["timestamp"]) for row in rows]
    assert gaze.unit == "px"


def test_it_is_called_what_its_folder_is(recordings_dir):
    assert read(recordings_dir / "gaze/glasses_tsv/GlassesTestCodeData/tobii/pt2/report.tsv")[0].clock == "pt2"


def test_a_damaged_row_is_named(tmp_path):
    path = tmp_path / "report.tsv"
    sound = "0\t0.1\t1\t1\t1\t1\t100\t5\t6\n0\t0.1\t1\t1\t1\t1\t120\t5\t6\n"
    path.write_text(HEAD + sound + "0\t0.1\t1\t1\t1\t1\t140\t5\n")
    with pytest.raises(FormatError, match="line 4 has 8 cells; 9 are wanted"):
        read(path)
