import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

REAL = "eeg/persyst/mne-testing-data/sub-pt1_ses-02_task-monitor_acq-ecog_run-01_clip2.lay"
INFO = {
    "File": "x.dat", "FileType": "Interleaved", "SamplingRate": "10", "HeaderLength": "0", "Calibration": "0.5",
    "WaveformCount": "2", "DataType": "0",
}  # fmt: skip


def lay_file(folder, *, channels=("Cz-Ref=1", "EKG-Ref=2"), times=("0=3600.5",), comments=(), **info):
    dtype = "<i4" if info.get("DataType") == "7" else "<i2"
    data = bytes(int(info.get("HeaderLength", 0))) + np.arange(40, dtype=dtype).tobytes()
    (folder / "x.dat").write_bytes(data)
    rows = ["[FileInfo]", *(f"{key}={value}" for key, value in (INFO | info).items())]
    rows += ["[Patient]", "TestDate=2014.12.19", "TestTime=01:00:00", "[ChannelMap]", *channels]
    rows += ["[Comments]", *comments, "[SampleTimes]", *times]
    (folder / "x.lay").write_text("\n".join(rows) + "\n")
    return folder / "x.lay"


def runs(signal):
    return [(s.timebase.start_s, s.timebase.n_samples) for s in signal.segments]


def stock(path):
    return mne.io.read_raw_persyst(path, preload=True, verbose="error")


def test_values_equal_those_of_mne(recordings_dir, same_as_mne):
    """MNE shouts the names that the file spells with small letters, too."""
    path = recordings_dir / REAL
    assert format_of(path) == "persyst"
    (recording,) = read(path)
    theirs = stock(path)
    signals = [s for s in recording.streams if hasattr(s, "channel_names")]
    spelled = {name.upper(): name for signal in signals for name in signal.channel_names}
    same_as_mne(recording, theirs.rename_channels(spelled))
    assert recording["eeg"].segments[0].samples.dtype == np.int32
    assert recording["eeg"].channel_names[:2] == ("Fp1", "Fp2")


def test_comments_equal_those_of_mne(recordings_dir):
    theirs = stock(recordings_dir / REAL).annotations
    ours = read(recordings_dir / REAL)[0]["annotated stretches"]
    wanted = sorted(zip(theirs.onset, theirs.onset + theirs.duration, theirs.description, strict=True))
    assert sorted((*b, text) for b, text in zip(ours.bounds_s.tolist(), ours.labels, strict=True)) == wanted


def test_the_start_has_the_fraction_that_sample_times_state(recordings_dir):
    assert read(recordings_dir / REAL)[0].start.isoformat() == "2014-12-19T02:37:48.360000"


@pytest.mark.parametrize("kind", ["0", "7"])
def test_a_header_before_the_samples_is_skipped(tmp_path, kind):
    signal = read(lay_file(tmp_path, DataType=kind, HeaderLength="16"))[0]["eeg"]
    assert signal.values()[0][:3, 0].tolist() == [0, 1, 2]


def test_channels_lie_where_the_map_says(tmp_path):
    (recording,) = read(lay_file(tmp_path, channels=("EKG-Ref=2", "Cz-Ref=1")))
    assert recording["eeg"].segments[0].samples[:2].tolist() == [[0], [2]]
    assert (recording["ecg"].channel_names, recording["ecg"].table["reference"]) == (("EKG",), ("Ref",))


def test_a_pause_between_sample_times_is_a_gap(tmp_path):
    comments = ("0.5,0,0,1,before", "1.5,2,0,1,after, maybe")
    (recording,) = read(lay_file(tmp_path, times=("0=3600.5", "10=3661.5"), comments=comments))
    assert runs(recording["eeg"]) == [(0.0, 10), (61.0, 10)]
    assert recording["eeg"].segments[1].samples[:1].tolist() == [[20]]
    assert recording["annotations"].times_s.tolist() == [0.5]
    assert recording["annotated stretches"].bounds_s.tolist() == [[61.5, 63.5]]
    assert recording["annotated stretches"].labels == ("after, maybe",)


def test_a_time_that_goes_back_is_no_gap(tmp_path):
    (recording,) = read(lay_file(tmp_path, times=("0=3600.5", "10=3500", "99=4000")))
    assert runs(recording["eeg"]) == [(0.0, 20)]
    assert "SampleTimes: sample 10 is 101.500 s earlier than the ones before allow: ignored" in recording.repairs


@pytest.mark.parametrize("name", [r"D:\eeg\x.dat", "/data/x.dat", "../x.dat"])
def test_a_path_gives_only_the_name_that_is_looked_for_beside(tmp_path, name):
    (recording,) = read(lay_file(tmp_path, File=name))
    assert recording.files == (tmp_path / "x.lay", tmp_path / "x.dat")
    assert any(line.endswith(": 'x.dat', which is beside it") for line in recording.repairs)


def test_missing_samples_are_named(tmp_path):
    path = lay_file(tmp_path)
    (tmp_path / "x.dat").unlink()
    with pytest.raises(FormatError, match=r"x\.lay: .* 'x\.dat' is not beside it"):
        read(path)


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"WaveformCount": "1000000000"}, r"x\.dat: 80 bytes; at least one sample of 1000000000"),
        ({"WaveformCount": "3"}, "no whole number of samples of 3 channels, but one of 4"),
        ({"WaveformCount": "4"}, "4 channels but 2 places"),
        ({"channels": ("Cz-Ref=1", "Pz-Ref=1")}, "2 channels but 2 places"),
        ({"SamplingRate": "0"}, "samplingrate is '0'"),
        ({"SamplingRate": "1e999"}, "samplingrate is '1e999'"),
        ({"DataType": "4"}, "DataType '4'"),
        ({"Calibration": "x"}, "calibration is 'x'"),
        ({"HeaderLength": "0", "comments": ("one,0,0,1,x",)}, "onset is 'one'"),
        ({"times": ("zero=5",)}, "zero is 'zero'"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=match):
        read(lay_file(tmp_path, **lie))
