from itertools import pairwise

import mne
import numpy as np
import pytest

from neuroloom.ingest import Events, FormatError, Signal, read

REAL = (
    "eeg/edf/mne-python/test.edf",
    "eeg/edf/mne-python/duplicate_channel_labels.edf",
    "eeg/edf/mne-python/test_edf_stim_channel.edf",
    "eeg/edf/mne-testing-data/chtypes_edf.edf",
    "eeg/edf/mne-testing-data/test_edf_overlapping_annotations.edf",
    "eeg/bdf/mne-python/test.bdf",
    "eeg/bdf/mne-python/test_bdf_stim_channel.bdf",
)


def edf_file(path, onsets_s, *, kind="EDF+D", n_records=None, units=("uV", ""), label="Cz", cut=0):
    """One channel of 10 Hz whose samples count up from 0, in records of 1 s that start at `onsets_s`."""

    def field(*texts, width):
        return b"".join(str(text).encode().ljust(width) for text in texts)

    head = b"0       " + field("X X X X", "Startdate X X X X", width=80) + b"01.02.0312.00.00"
    head += (
        field(768, width=8)
        + field(kind, width=44)
        + field(len(onsets_s) if n_records is None else n_records, 1, width=8)
    )
    head += (
        field(2, width=4) + field(label, "EDF Annotations", width=16) + field("", "", width=80) + field(*units, width=8)
    )
    head += (
        field(-100, -1, width=8) + field(100, 1, width=8) + field(-1000, -32768, width=8) + field(1000, 32767, width=8)
    )
    head += field("", "", width=80) + field(10, 20, width=8) + field("", "", width=32)
    body = b""
    for k, onset in enumerate(onsets_s):
        body += np.arange(10 * k, 10 * k + 10, dtype="<i2").tobytes() + f"+{onset}\x14\x14\x00".encode().ljust(
            40, b"\x00"
        )
    path.write_bytes(head + body[: len(body) - cut])
    return path


@pytest.mark.parametrize("name", REAL)
def test_values_equal_those_of_mne(recordings_dir, name):
    path = recordings_dir / name
    reader = mne.io.read_raw_bdf if path.suffix == ".bdf" else mne.io.read_raw_edf
    stock = reader(path, preload=True, verbose="error")
    signals = [s for s in read(path)[0].streams if isinstance(s, Signal) and s.modality == "eeg"]
    assert signals
    for signal in signals:
        theirs = stock.get_data(picks=list(signal.channel_names)).T * 1e6
        assert np.abs(np.vstack(signal.values()) - theirs).max() < 1e-6


@pytest.mark.parametrize(
    ("label", "modality"),
    [("Cz", "eeg"), ("EOG left", "eog"), ("EKG1", "ecg"), ("EMG 3", "emg"), ("Status", "sync"), ("TRIGGER", "sync")],
)
def test_a_channel_is_what_its_label_says(tmp_path, label, modality):
    signal = read(edf_file(tmp_path / "x.edf", [0], label=label))[0][modality]
    assert (signal.modality, signal.channel_names) == (modality, (label,))


def test_muscles_are_no_eeg(recordings_dir):
    (signal,) = read(recordings_dir / "eeg/bids/bids-examples/emg_TwoHDsEMG/sub-01/emg/sub-01_task-isometric_emg.edf")[
        0
    ].streams
    assert (signal.modality, len(signal.channel_names)) == ("emg", 128)


def test_trigger_channels_are_those_of_mne(recordings_dir):
    path = recordings_dir / "eeg/edf/mne-python/test_stim_channel.edf"
    stock = mne.io.read_raw_edf(path, verbose="error")
    wanted = [stock.ch_names[i] for i in mne.pick_types(stock.info, stim=True)]
    assert list(read(path)[0]["sync"].channel_names) == wanted == ["stAtUs", "tRigGer"]


@pytest.mark.parametrize(("kind", "n_channels", "n_samples"), [("eeg", 128, 512), ("emg", 10, 256)])
def test_a_blank_that_is_missing_before_the_date_is_put_back(recordings_dir, kind, n_channels, n_samples):
    """MNE refuses both; one byte later each field is in its place, and the records end with the file."""
    path = recordings_dir / f"odd/bids/emg_Multimodal/sub-01/{kind}/sub-01_task-pullstand_{kind}.edf"
    (recording,) = read(path)
    assert recording.repairs[0].startswith("a blank is missing before the date")
    assert recording.start.isoformat() == "2025-09-23T12:00:00"
    raw = np.frombuffer(path.read_bytes()[-2 * 256 * (n_channels if kind == "emg" else 131) :], "<i2").reshape(-1, 256)
    samples = recording[kind].segments[0].samples
    assert np.array_equal(samples[0:256], raw[:n_channels].T)


def test_a_slow_channel_keeps_its_own_samples(recordings_dir):
    """MNE gives this channel 11000 samples; 1408 were recorded."""
    slow = read(recordings_dir / "eeg/edf/mne-python/test_uneven_samp.edf")[0]["eeg 12.8 Hz uV"]
    assert slow.n_samples == 1408


def test_annotations_equal_those_of_mne(recordings_dir):
    path = recordings_dir / "eeg/edf/mne-testing-data/chtypes_edf.edf"
    stock = mne.io.read_raw_edf(path, verbose="error").annotations
    events = read(path)[0]["annotations"]
    assert events.labels == tuple(stock.description)
    assert events.times_s == pytest.approx(stock.onset)


def test_triggers_equal_those_of_mne(recordings_dir):
    path = recordings_dir / "eeg/bdf/mne-python/test_bdf_stim_channel.bdf"
    stock = mne.find_events(
        mne.io.read_raw_bdf(path, verbose="error"), verbose="error", shortest_event=1, consecutive=True
    )
    triggers = read(path)[0]["triggers"]
    assert isinstance(triggers, Events)
    assert triggers.times_s * 500 == pytest.approx(stock[:, 0])


def test_gaps_stay_gaps(tmp_path):
    (recording,) = read(edf_file(tmp_path / "gaps.edf", [0, 1, 5]))
    bases = [segment.timebase for segment in recording["eeg"].segments]
    assert [(base.start_s, base.n_samples) for base in bases] == [(0.0, 20), (5.0, 10)]


def test_values_are_in_microvolts(tmp_path):
    signal = read(edf_file(tmp_path / "x.edf", [0], units=("mV", "")))[0]["eeg"]
    assert signal.unit == "uV"
    assert signal.values()[0][:3, 0] == pytest.approx([0, 100, 200])  # a tenth of a millivolt per bit


def test_any_slice_is_what_the_whole_holds(tmp_path):
    samples = read(edf_file(tmp_path / "x.edf", [0, 1, 2]))[0]["eeg"].segments[0].samples
    for first, last in pairwise([0, 3, 10, 17, 30]):
        assert samples[first:last][:, 0].tolist() == list(range(first, last))


def test_a_cut_file_gives_its_whole_records_and_says_so(tmp_path):
    (recording,) = read(edf_file(tmp_path / "cut.edf", [0, 1, 2], cut=7))
    assert recording["eeg"].n_samples == 20
    assert "3 data records, 2 are there" in recording.repairs[0]


@pytest.mark.parametrize("lie", [b"999999999", b"-3      ", b"nan     "])
def test_a_header_that_lies_is_refused(tmp_path, lie):
    path = edf_file(tmp_path / "lie.edf", [0])
    data = bytearray(path.read_bytes())
    data[256 + 2 * (16 + 80 + 8 + 8 + 8 + 8 + 8 + 80) :][:8] = lie[:8]
    at = 256 + 2 * (16 + 80 + 8 + 8 + 8 + 8 + 8 + 80)
    data[at : at + 8] = lie[:8]
    path.write_bytes(bytes(data))
    with pytest.raises(FormatError, match=r"lie\.edf"):
        read(path)
