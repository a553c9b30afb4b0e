import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, read
from neuroloom.ingest.formats import brainvision
from neuroloom.ingest.ledger import Defect

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


REAL_FOLDERS = (
    "eeg/brainvision/mne-python",
    "eeg/brainvision/mne-testing-data",
    "eeg/cnt_ant/mne-testing-data/CA_208_refs",
)


def test_every_real_header_equals_mne(recordings_dir):
    """Samples in SI units, names, rate, events. MNE drops events after the last sample (testv2 has 3), we do not."""
    headers = sorted(path for folder in REAL_FOLDERS for path in (recordings_dir / folder).glob("*.[va]hdr"))
    assert len(headers) == 18
    for path in headers:
        stock = mne.io.read_raw_brainvision(path, preload=True, verbose="error")
        (recording,) = read(path)
        signals = [stream for stream in recording.streams if isinstance(stream, Signal)]
        assert sorted(name for s in signals for name in s.channel_names) == sorted(stock.ch_names), path.name
        for signal in signals:
            assert signal.rate_hz == pytest.approx(stock.info["sfreq"], rel=1e-12)
            theirs = stock.get_data(picks=list(signal.channel_names)).T
            scale = {"uV": 1e-6, "µS": 1e-6, "uS": 1e-6}.get(signal.unit, 1.0)
            assert np.vstack(signal.values()) * scale == pytest.approx(theirs, rel=1e-9, abs=1e-15), path.name
        kept = [k for k, text in enumerate(stock.annotations.description) if not text.startswith("New Segment")]
        times_s = next((stream.times_s for stream in recording.streams if stream.name == "markers"), np.zeros(0))
        assert times_s[times_s < stock.duration] == pytest.approx(stock.annotations.onset[kept]), path.name


def test_a_v_amp_stores_a_channel_that_its_header_does_not_list(recordings_dir):
    (recording,) = read(recordings_dir / "eeg/brainvision/mne-testing-data/test_VAmp.ahdr", strict=True)
    assert (recording["eeg"].n_samples, len(recording["eeg"].channel_names)) == (4352, 6)
    assert np.abs(recording["eeg"].values()[0]).max() == 0.0
    assert "column 7, which a V-Amp stores and its header does not list, left out" in recording.repairs[0]


def v_amp(folder, n_stored):
    """Ten samples that count up, in so many columns; two are listed."""
    path = triplet(folder)
    text = path.read_text(encoding="utf-8").replace("Data Exchange Header File", "V-Amp Data Header File")
    path.write_text(text.replace("INT_16", "IEEE_FLOAT_32"), encoding="utf-8")
    (folder / "x.eeg").write_bytes(np.arange(10 * n_stored, dtype="<f4").tobytes())
    return path


def test_a_v_amp_without_that_channel_is_read_as_listed(tmp_path):
    assert read(v_amp(tmp_path, 3))[0]["eeg"].segments[0].samples[:2].tolist() == [[0, 1], [3, 4]]
    (tmp_path / "x.eeg").write_bytes(np.arange(20, dtype="<f4").tobytes())
    assert read(tmp_path / "x.vhdr")[0]["eeg"].segments[0].samples[:2].tolist() == [[0, 1], [2, 3]]


def test_a_channel_that_no_header_lists_is_not_read_as_noise(tmp_path):
    path = triplet(tmp_path)
    (tmp_path / "x.eeg").write_bytes(np.arange(3 * 11, dtype="<i2").tobytes())
    with pytest.raises(FormatError, match="66 bytes are no whole number of samples of 2 channels, but one of 3"):
        read(path)


def test_a_wrong_count_of_samples_is_shown(recordings_dir):
    (recording,) = read(recordings_dir / "eeg/brainvision/mne-testing-data/Analyzer_nV_Export.vhdr")
    assert [(d.found, d.used) for d in recording.repairs] == [("DataPoints=64", "DataPoints=2, as many as there are")]


@pytest.mark.parametrize("change", ["DataOrientation=VECTORIZED\nDataPoints=29", "DataOrientation=VECTORIZED"])
def test_channels_that_do_not_lie_where_the_header_says_are_refused(tmp_path, change):
    path = triplet(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("DataFormat", f"{change}\nDataFormat"), encoding="utf-8")
    if "DataPoints" not in change:
        (tmp_path / "x.eeg").write_bytes(bytes(122))
    with pytest.raises(FormatError, match=r"as many as stated are wanted|not the same number of samples"):
        read(path)


HIT = "Mk1=Stimulus,S1,3,1,0\n"


def diff_of(path):
    return [(defect.found, defect.used) for defect in read(path)[0].repairs if isinstance(defect, Defect)]


def test_markers_that_no_line_names_are_taken_from_beside_it(tmp_path):
    path = triplet(tmp_path, rows=HIT)
    path.write_text(path.read_text(encoding="utf-8").replace("MarkerFile=x.vmrk\n", ""), encoding="utf-8")
    assert read(path)[0]["markers"].times_s.tolist() == [0.02]
    assert diff_of(path) == [("no MarkerFile line", "MarkerFile=x.vmrk, which is beside it")]
    assert tmp_path / "x.vmrk" in brainvision.files(path)
    with pytest.raises(FormatError, match=r"no MarkerFile line: MarkerFile=x\.vmrk"):
        read(path, strict=True)


def test_a_renamed_triplet_is_read_by_its_own_stem(tmp_path):
    path = triplet(tmp_path, data="old.eeg", markers="old.vmrk", rows=HIT)
    assert len(read(path)[0]["markers"].labels) == 1
    assert diff_of(path) == [
        ("DataFile=old.eeg, which is not beside it", "DataFile=x.eeg"),
        ("MarkerFile=old.vmrk, which is not beside it", "MarkerFile=x.vmrk"),
    ]


def test_samples_are_read_without_markers_that_are_not_there(tmp_path):
    path = triplet(tmp_path)
    (tmp_path / "x.vmrk").unlink()
    assert read(path)[0]["eeg"].n_samples == 30
    assert diff_of(path) == [("MarkerFile=x.vmrk, which is not beside it", "read without markers")]
    assert brainvision.awaited(path) == "x.vhdr: x.vmrk, its markers, is not beside it"
    with pytest.raises(FormatError, match="a file without faults is wanted"):
        read(path, strict=True)


@pytest.mark.parametrize("name", ["../x.vmrk", "/etc/passwd", "..\\x.vmrk"])
def test_markers_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(FormatError, match="plain file name"):
        read(triplet(tmp_path, markers=name))


def test_a_damaged_line_costs_one_marker(tmp_path):
    path = triplet(
        tmp_path, rows="Mk1=Stimulus,S1,3,1,0\nMk2=Stimulus\nMk3=Stimulus,S3,five,1\nMk4=Stimulus,S4,7,1,0\n"
    )
    assert read(path)[0]["markers"].labels == ("S1", "S4")
    assert diff_of(path) == [
        ("x.vmrk: 'Mk2=Stimulus' states no sample", "left out"),
        ("x.vmrk: 'Mk3=Stimulus,S3,five,1' states no sample", "left out"),
    ]
    with pytest.raises(FormatError, match=r"Mk2=Stimulus' states no sample"):
        read(path, strict=True)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (f"{HIT}Mk3=Stimulus,S3,5,1,0\n", "x.vmrk: the line of Mk2 is missing"),
        (f"{HIT}Mk9=Stimulus,S3,5,1,0\n", "x.vmrk: 7 lines, the first of Mk2, are missing"),
    ],
)
def test_missing_lines_are_told(tmp_path, rows, found):
    path = triplet(tmp_path, rows=rows)
    assert read(path)[0]["markers"].labels == ("S1", "S3")
    assert diff_of(path) == [(found, "read without")]


@pytest.mark.parametrize("sample", ["9" * 400, "9" * 5000])
def test_a_sample_beyond_any_recording_is_none(tmp_path, sample):
    path = triplet(tmp_path, rows=f"{HIT}Mk2=Stimulus,S2,{sample},1,0\n")
    assert read(path)[0]["markers"].labels == ("S1",)
    assert diff_of(path)[0][1] == "left out"


def test_of_many_damaged_lines_some_are_shown(tmp_path):
    path = triplet(tmp_path, rows="".join(f"Mk{k}=x\n" for k in range(1, 61)))
    assert len(diff_of(path)) == 21
    assert diff_of(path)[-1] == ("x.vmrk: 40 more lines that state no sample", "left out")


def test_two_lines_of_one_number_are_two_markers(tmp_path):
    path = triplet(tmp_path, rows=f"{HIT}Mk1=Stimulus,S2,0,1,0\n")
    assert read(path)[0]["markers"].labels == ("S2", "S1")
    assert diff_of(path) == [("x.vmrk: 'Mk1=Stimulus,S2,0,1,0' is at sample 0", "taken to be at 1, the first")]


def test_a_marker_file_without_its_section_is_told(tmp_path):
    path = triplet(tmp_path)
    (tmp_path / "x.vmrk").write_text("Brain Vision Data Exchange Marker File\n")
    assert diff_of(path) == [("x.vmrk: no [Marker Infos] section", "read without markers")]
