import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

STATES = "StimulusCode 4 0 0 2\nFlag 1 0 0 0\nWide 10 0 0 6\nSourceTime 16 0 2 0\n"
PARAMETERS = {
    "SamplingRate": "200Hz",
    "ChannelNames": "3 C3 Cz EOG1",
    "SourceChGain": "3 0.1 0.1muV 1e-7V",
    "SourceChOffset": "3 0 -5 0",
    "StorageTime": "Wed%20May%2009%2010:20:30%202007",
    "SubjectName": "Harry",
}


def dat_file(folder, *, kind="int16", n=8, first="BCI2000V= 1.1 ", n_states=4, states=STATES, **changed):
    """Three channels count up together; StimulusCode is 3 at samples 2 and 3, 5 at 6; Wide is 600 at 4."""
    stated = {**PARAMETERS, **changed}
    lines = [f"Section string {name}= {value} // why" for name, value in stated.items() if value]
    body = f"[ State Vector Definition ] \r\n{states}[ Parameter Definition ] \r\n" + "\r\n".join(lines) + "\r\n\r\n"
    tail = f"SourceCh= 3 StatevectorLen= {n_states}" + (f" DataFormat= {kind}" if first else "") + "\r\n"
    n_bytes = len(f"{first}HeaderLen= 00000 {tail}".encode() + body.encode())
    head = f"{first}HeaderLen= {n_bytes:05d} {tail}".encode() + body.encode()
    vectors = np.zeros((n, n_states), np.uint8)
    if n_states >= 4 and n:
        vectors[2:4, 0], vectors[6, 0] = 3 << 2, 5 << 2
        vectors[4, :2] = (600 << 6) & 255, 600 << 6 >> 8
        vectors[:, 2] = np.arange(n)
    samples = np.arange(3 * n).reshape(n, 3).astype({"int16": "<i2", "int32": "<i4", "float32": "<f4"}.get(kind, "<i2"))
    frames = np.hstack([samples.view(np.uint8).reshape(n, 3 * samples.itemsize), vectors])
    path = folder / "x.dat"
    path.write_bytes(head + frames.tobytes())
    return path


@pytest.mark.parametrize("kind", ["int16", "int32", "float32"])
def test_numbers_are_those_of_mne(tmp_path, kind):
    """MNE has the numbers as they are, and calls them volts."""
    path = dat_file(tmp_path, kind=kind)
    assert format_of(path) == "bci2000"
    (recording,) = read(path)
    theirs = mne.io.read_raw_bci2k(path, preload=True, verbose="error")
    assert recording["eeg"].rate_hz == theirs.info["sfreq"] == 200
    ours = np.hstack([recording[name].segments[0].samples[0:8] for name in ("eeg", "eog")])
    assert ours.dtype == np.dtype(kind)
    assert np.array_equal(ours, theirs.get_data()[:3].T)


def test_values_are_in_microvolts_by_gain_and_offset(tmp_path):
    (recording,) = read(dat_file(tmp_path))
    assert recording["eeg"].values()[0][1] == pytest.approx([0.3, (4 + 5) * 0.1])
    assert recording["eog"].values()[0][1] == pytest.approx([0.5])
    assert {recording[name].unit for name in ("eeg", "eog")} == {"uV"}


def test_stimulus_codes_are_those_of_mne(tmp_path):
    path = dat_file(tmp_path)
    theirs = mne.find_events(
        mne.io.read_raw_bci2k(path, preload=True, verbose="error"), verbose="error", min_duration=0
    )
    events = read(path)[0]["StimulusCode"]
    assert [(round(t * 200), int(code)) for t, code in zip(events.times_s, events.labels, strict=True)] == [
        (2, 3),
        (6, 5),
    ]
    assert theirs[:, [0, 2]].tolist() == [[2, 3], [6, 5]]


def test_a_state_across_bytes_is_whole(tmp_path):
    events = read(dat_file(tmp_path))[0]["Wide"]
    assert (events.labels, events.times_s.tolist()) == (("600",), [0.02])


def test_states_that_are_clocks_or_never_change_are_no_events(tmp_path):
    names = [stream.name for stream in read(dat_file(tmp_path))[0].streams]
    assert names == ["eeg", "eog", "StimulusCode", "Wide"]


def test_names_start_and_person(tmp_path):
    (recording,) = read(dat_file(tmp_path))
    assert recording["eeg"].channel_names == ("C3", "Cz")
    assert recording.start.isoformat() == "2007-05-09T10:20:30"
    assert recording.subject == {"patient_id": "Harry"}


def test_a_newer_start_is_iso(tmp_path):
    assert read(dat_file(tmp_path, StorageTime="2018-10-18T12:00:01"))[0].start.isoformat() == "2018-10-18T12:00:01"


def test_version_1_0_states_neither_itself_nor_a_type(tmp_path):
    (recording,) = read(dat_file(tmp_path, first=""))
    assert recording["eeg"].segments[0].samples[1:2].tolist() == [[3, 4]]


def test_without_gains_there_is_no_unit_and_that_is_said(tmp_path):
    (recording,) = read(dat_file(tmp_path, SourceChGain=""))
    assert recording["eeg"].unit == "a.u."
    assert recording.repairs == ("no SourceChGain of its 3 channels: numbers without a unit",)


def test_without_states_there_are_no_events(tmp_path):
    assert [stream.name for stream in read(dat_file(tmp_path, n_states=0, states=""))[0].streams] == ["eeg", "eog"]


def test_a_part_of_a_sample_at_the_end_is_left_out_and_said(tmp_path):
    path = dat_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 7
    assert recording.repairs == ("7 bytes after the last whole sample left out",)


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"n": 0}, "no whole sample of 10 bytes"),
        ({"SamplingRate": "fast"}, "SamplingRate is 'fast'"),
        ({"SamplingRate": ""}, "SamplingRate is ''"),
        ({"SourceChGain": "3 0.1 much 0.1"}, "SourceChGain is 'much'"),
        ({"kind": "int24"}, "DataFormat is 'int24'"),
        ({"states": "Far 8 0 4 0\n"}, "does not lie in a vector of 4 bytes"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, changed, wrong):
    with pytest.raises(FormatError, match=wrong) as refused:
        read(dat_file(tmp_path, **changed))
    assert "x.dat" in str(refused.value)
