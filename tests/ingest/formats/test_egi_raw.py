import struct

import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

REAL = "eeg/egi_raw/mne-testing-data/egi_dig_test.raw"
DTYPES = {2: ">i2", 4: ">f4", 6: ">f8"}


def raw_file(folder, *, version=4, n=10, codes=("DIN1", "DIN2"), bits=0, value_range=0, pulses=(), **changed):
    """Two channels count up together; `pulses` are (sample, code)."""
    stated = {"rate": 100, "n_channels": 2, "stated": n, "n_codes": len(codes), "month": 12} | changed
    head = struct.pack(">i6hi5h", version, 2016, stated["month"], 13, 11, 25, 6, 920, stated["rate"],
                       stated["n_channels"], 1, bits, value_range)  # fmt: skip
    head += struct.pack(">ih", stated["stated"], stated["n_codes"]) + b"".join(code.encode() for code in codes)
    frames = np.zeros((n, 2 + len(codes)), DTYPES.get(version, ">f4"))
    frames[:, :2] = np.arange(2 * n).reshape(n, 2)
    for at, code in pulses:
        frames[at, 2 + codes.index(code)] = 1
    (folder / "x.raw").write_bytes(head + frames.tobytes())
    return folder / "x.raw"


def stock(path):
    return mne.io.read_raw_egi(path, preload=True, verbose="error")


def test_values_equal_those_of_mne(recordings_dir, same_as_mne):
    path = recordings_dir / REAL
    assert format_of(path) == "egi_raw"
    (recording,) = read(path)
    assert recording["eeg"].segments[0].samples.dtype == np.float32
    theirs = stock(path)
    same_as_mne(recording, theirs.pick("eeg"))


def test_events_equal_those_of_mne(recordings_dir):
    theirs = stock(recordings_dir / REAL).annotations
    ours = read(recordings_dir / REAL)[0]["events"]
    wanted = sorted(zip(theirs.onset.round(6), theirs.description, strict=True))
    assert sorted(zip(ours.times_s.round(6), ours.labels, strict=True)) == wanted


def test_the_start_is_that_of_the_header(recordings_dir):
    assert read(recordings_dir / REAL)[0].start.isoformat() == "2016-12-13T11:25:06.920000"


@pytest.mark.parametrize("version", DTYPES)
def test_every_type_of_number(tmp_path, version):
    samples = read(raw_file(tmp_path, version=version))[0]["eeg"].segments[0].samples
    assert samples.dtype == np.dtype(DTYPES[version]).newbyteorder("=")
    assert samples[2:4].tolist() == [[4, 5], [6, 7]]


def test_a_stated_range_is_in_microvolts(tmp_path):
    signal = read(raw_file(tmp_path, version=2, bits=4, value_range=8))[0]["eeg"]
    assert signal.values()[0][1].tolist() == [1.0, 1.5]


def test_a_code_counts_once_per_run_and_from_the_first_sample_on(tmp_path):
    pulses = [(0, "DIN2"), (3, "DIN1"), (4, "DIN1"), (8, "DIN1")]
    events = read(raw_file(tmp_path, pulses=pulses))[0]["events"]
    assert (events.times_s.tolist(), events.labels) == ([0.0, 0.03, 0.08], ("DIN2", "DIN1", "DIN1"))


def test_a_cut_file_gives_its_whole_samples_and_says_so(tmp_path):
    path = raw_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 9
    assert recording.repairs == ("header states 10 samples, 9 are there: 9 samples",)


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"version": 5}, "is cut into segments"),
        ({"n_channels": 32767}, "no whole sample"),
        ({"n_codes": 32767}, "32767 event codes"),
        ({"n_codes": -1}, "-1 event codes"),
        ({"stated": -1}, "-1 samples"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie, match):
    path = raw_file(tmp_path, **lie)
    assert format_of(path) == "egi_raw"
    with pytest.raises(FormatError, match=rf"x\.raw: .*{match}"):
        read(path)


@pytest.mark.parametrize("lie", [{"rate": 0}, {"n_channels": 0}, {"month": 13}])
def test_what_cannot_be_a_header_is_not_claimed(tmp_path, lie):
    assert format_of(raw_file(tmp_path, **lie)) is None
