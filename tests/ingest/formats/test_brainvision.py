import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, read

REAL = ("test_highpass.vhdr", "test_old_layout_latin1_software_filter.vhdr", "testv2.vhdr", "test_mixed_lowpass.vhdr")


def triplet(folder, *, data="x.eeg", markers="x.vmrk", resolution="0.5", unit="µV", rows=""):
    """Two channels at 100 Hz, 30 samples that count up."""
    header = "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"
    header += f"DataFile={data}\nMarkerFile={markers}\nDataFormat=BINARY\nNumberOfChannels=2\nSamplingInterval=10000\n"
    header += "[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\n"
    header += f"Ch1=Cz,,{resolution},{unit}\nCh2=Pz,,{resolution},{unit}\n"
    (folder / "x.vhdr").write_text(header, encoding="utf-8")
    (folder / "x.eeg").write_bytes(np.arange(60, dtype="<i2").tobytes())
    text = "Brain Vision Data Exchange Marker File, Version 1.0\n[Marker Infos]\n" + rows
    (folder / "x.vmrk").write_text(text, encoding="utf-8")
    return folder / "x.vhdr"


@pytest.mark.parametrize("name", REAL)
def test_values_equal_those_of_mne(recordings_dir, name):
    path = recordings_dir / "eeg/brainvision/mne-python" / name
    stock = mne.io.read_raw_brainvision(path, preload=True, verbose="error")
    signal = read(path)[0]["eeg"]
    assert np.vstack(signal.values()) == pytest.approx(stock.get_data(picks=list(signal.channel_names)).T * 1e6)


def test_markers_equal_those_of_mne(recordings_dir):
    path = recordings_dir / "eeg/brainvision/mne-python/test_highpass.vhdr"
    stock = mne.io.read_raw_brainvision(path, verbose="error").annotations
    markers = read(path)[0]["markers"]
    kept = [k for k, text in enumerate(stock.description) if not text.startswith("New Segment")]
    assert markers.times_s == pytest.approx(stock.onset[kept])


def test_other_units_are_kept_apart(recordings_dir):
    recording = read(recordings_dir / "eeg/brainvision/mne-python/test.vhdr")[0]
    assert {s.unit for s in recording.streams if isinstance(s, Signal)} >= {"uV", "S", "C"}


def test_original_integers_and_gain_are_kept(tmp_path):
    signal = read(triplet(tmp_path))[0]["eeg"]
    assert signal.segments[0].samples[0:2].tolist() == [[0, 1], [2, 3]]
    assert signal.gain.tolist() == [0.5, 0.5]


def test_a_dated_new_segment_is_a_gap(tmp_path):
    rows = "Mk1=New Segment,,1,1,0,20200101120000000000\nMk2=New Segment,,11,1,0,20200101120005000000\n"
    bases = [s.timebase for s in read(triplet(tmp_path, rows=rows))[0]["eeg"].segments]
    assert [(base.start_s, base.n_samples) for base in bases] == [(0.0, 10), (5.0, 20)]


@pytest.mark.parametrize("name", ["../x.eeg", "/etc/passwd", "..\\x.eeg", "a/b.eeg"])
def test_a_data_file_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(FormatError, match="plain file name"):
        read(triplet(tmp_path, data=name))


def test_a_missing_companion_is_named(tmp_path):
    path = triplet(tmp_path)
    (tmp_path / "x.eeg").unlink()
    with pytest.raises(FormatError, match=r"x\.eeg"):
        read(path)
