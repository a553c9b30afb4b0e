import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

REAL = "eeg/nicolet/mne-python/test_nicolet_raw"
HEAD = {
    "start_ts": "2015-01-01 12:00:00.250",
    "num_samples": "5",
    "sample_freq": "256",
    "conversion_factor": "0.5",
    "num_channels": "2",
    "elec_names": "[FP1,EOG1]",
    "pat_id": "102",
    "duration_in_sec": "2",
    "sample_bytes": "2",
}


def head_file(folder, **changed):
    (folder / "x.data").write_bytes(np.arange(10, dtype="<i2").tobytes())
    (folder / "x.head").write_text("".join(f"{key}={value}\n" for key, value in (HEAD | changed).items()))
    return folder / "x.head"


def test_values_equal_those_of_mne(recordings_dir, same_as_mne):
    path = recordings_dir / f"{REAL}.head"
    assert format_of(path) == "nicolet"
    (recording,) = read(path)
    same_as_mne(recording, mne.io.read_raw_nicolet(path.with_suffix(".data"), "eeg", preload=True, verbose="error"))
    assert recording["eeg"].segments[0].samples.dtype == np.int16


def test_the_data_alone_are_nobodys(recordings_dir):
    assert format_of(recordings_dir / f"{REAL}.data") is None


def test_kinds_are_apart(tmp_path):
    (recording,) = read(head_file(tmp_path))
    assert recording["eeg"].values()[0][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert recording["eog"].channel_names == ("EOG1",)
    assert recording.start.isoformat() == "2015-01-01T12:00:00.250000"


def test_missing_data_are_named(tmp_path):
    path = head_file(tmp_path)
    (tmp_path / "x.data").unlink()
    with pytest.raises(FormatError, match=r"x\.head: .* 'x\.data' is not beside it"):
        read(path)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("num_channels", "1000000000", "1000000000 channels but 2 names"),
        ("num_samples", "1000000000000000", "still being copied, or cut off"),
        ("num_samples", "-5", "num_samples is '-5'"),
        ("sample_freq", "0", "sample_freq is '0'"),
        ("sample_freq", "nan", "sample_freq is 'nan'"),
        ("conversion_factor", "inf", "conversion_factor is 'inf'"),
        ("sample_bytes", "4", "sample_bytes is 4"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, key, value, match):
    with pytest.raises(FormatError, match=match):
        read(head_file(tmp_path, **{key: value}))
