"""ANT Neuro eego CNT: real files against MNE, and every method of coding in files written here against antio."""

import shutil
import struct

import mne
import numpy as np
import pytest
from antio.libeep import read_cnt
from antio.parser import read_triggers

from neuroloom.ingest import FormatError, Signal, format_of, read

REAL = "eeg/cnt_ant/mne-testing-data"
GAP = f"{REAL}/CA_208/test_CA_208_amp_disconnection.cnt"
NOTES = f"{REAL}/user_annotations/test-user-annotation.cnt"
FILES = (
    GAP,
    NOTES,
    f"{REAL}/CA_208/test_CA_208.cnt",
    f"{REAL}/CA_208_refs/test-ref.cnt",
    f"{REAL}/NA_271/test-na-271.cnt",
)
VALUES = np.array([[5, 6, 4, 9, -300, 7], [70_000, 70_001, 69_999, 70_000, 70_010, 70_005]])


class Bits:
    """Numbers of any width, the highest bit first."""

    def __init__(self):
        self.text = ""

    def add(self, value, width):
        self.text += format(int(value) & ((1 << width) - 1), f"0{width}b")
        return self

    def bytes(self):
        padded = self.text + "0" * (-len(self.text) % 8)
        return int(padded, 2).to_bytes(len(padded) // 8, "big")


def coded(values, method, before=None):
    """A channel in an epoch: differences in 6 bits, those that need more in 12 or 24 behind the announcing -32."""
    wide = method >= 8
    if method in (0, 8):
        return bytes([method << 4]) + values.astype(">i4" if wide else ">i2").tobytes()
    steps = np.diff(values)
    if method & 7 == 2:
        steps = np.append(steps[:1], np.diff(steps))
    if method & 7 == 3:
        steps = steps - np.diff(before)
    few, many = 6, 24 if wide else 12
    bits = (
        Bits().add(method, 4).add(few, 6 if wide else 4).add(many, 6 if wide else 4).add(values[0], 32 if wide else 16)
    )
    for step in steps:
        bits.add(step, few) if -32 < step < 32 else bits.add(-32, few).add(step, many)
    return bits.bytes()


def cnt_file(folder, *, methods=(1, 9), values=VALUES, riff=False, order=(0, 1), **changed):
    """Two channels of 6 samples in epochs of 4."""
    kind, width = ("I", 4) if riff else ("Q", 8)
    stated = {"n": values.shape[1], "per_epoch": 4, "n_channels": 2} | changed

    def chunk(name, content):
        return name + struct.pack(f"<{kind}", len(content)) + content + b"\0" * (len(content) % 2)

    code, edges = b"", []
    for first in range(0, values.shape[1], 4):
        part = values[:, first : first + 4]
        edges.append(len(code))
        code += b"".join(coded(part[i], methods[k], part[order[k - 1]]) for k, i in enumerate(order))
    ep = np.array([stated["per_epoch"], *edges], f"<u{width}").tobytes()
    chan = np.array(order, "<i2").tobytes()
    raw3 = chunk(b"LIST", b"raw3" + chunk(b"chan", chan) + chunk(b"data", code) + chunk(b"ep  ", ep))
    text = (
        f"[File Version]\n4.2\n[Sampling Rate]\n500.0\n[Samples]\n{stated['n']}\n[Channels]\n{stated['n_channels']}\n"
    )
    text += "[Basic Channel Data]\n;label  calibration factor\nFp1 2.0 0.5 uV REF:CPz\nBIP1 1.0 0.25 uV\n"
    info = "[StartDate]\n45518.5\n[StartFraction]\n0.25\n[SubjectName]\nHaagse Harry\n[SubjectSex]\nM\n"
    info += "[SubjectDateOfBirth]\n0 0 0 2 4 51 0 0 0\n"
    body = b"CNT " + raw3 + chunk(b"eeph", text.encode()) + chunk(b"info", info.encode())
    path = folder / "x.cnt"
    path.write_bytes((b"RIFF" if riff else b"RF64") + struct.pack(f"<{kind}", len(body)) + body)
    return path


def integers(path):
    signals = [stream for stream in read(path)[0].streams if isinstance(stream, Signal)]
    return np.hstack([signal.segments[0].samples[0 : signal.segments[0].samples.shape[0]] for signal in signals]).T


@pytest.mark.parametrize("file", FILES)
def test_values_equal_those_of_mne(recordings_dir, file):
    path = recordings_dir / file
    assert format_of(path) == "ant"
    raw = mne.io.read_raw_ant(path, preload=True, verbose="error")
    signals = [stream for stream in read(path)[0].streams if isinstance(stream, Signal)]
    assert sorted(name for signal in signals for name in signal.channel_names) == sorted(raw.ch_names)
    for signal in signals:
        theirs = raw.get_data(picks=list(signal.channel_names)).T
        # MNE has them as float32 of microvolts.
        assert np.allclose(np.vstack(signal.values()) * 1e-6, theirs, rtol=2.0**-23, atol=0)
        assert signal.rate_hz == raw.info["sfreq"]


@pytest.mark.parametrize("file", FILES)
def test_the_start_is_that_of_mne(recordings_dir, file):
    theirs = mne.io.read_raw_ant(recordings_dir / file, verbose="error").info["meas_date"].replace(tzinfo=None)
    assert abs((read(recordings_dir / file)[0].start - theirs).total_seconds()) < 1e-5


def test_a_loss_of_the_amplifier_is_a_gap(recordings_dir):
    """MNE sets the second segment right behind the first; 12.420013 s are between the two starts that are stated."""
    signal = read(recordings_dir / GAP)[0]["eeg"]
    bounds = [(segment.timebase.start_s, segment.timebase.n_samples) for segment in signal.segments]
    assert [n for _, n in bounds] == [6075, 3497]
    assert [start_s for start_s, _ in bounds] == pytest.approx([0.0, 12.420013], abs=1e-6)


def test_events_after_a_gap_are_as_much_later(recordings_dir):
    events = read(recordings_dir / GAP)[0]["events"]
    assert events.labels[2:4] == ("Amplifier disconnected", "Amplifier reconnected")
    assert events.times_s[2:4] == pytest.approx([6.073, 12.420013], abs=1e-6)


def test_notes_of_users_have_their_codes_and_durations(recordings_dir):
    raw = mne.io.read_raw_ant(recordings_dir / NOTES, verbose="error")
    order = np.argsort(raw.annotations.onset)
    events = read(recordings_dir / NOTES)[0]["events"]
    assert events.times_s == pytest.approx(raw.annotations.onset[order])
    assert events.table["duration_s"] == pytest.approx(raw.annotations.duration[order])
    assert events.labels[1:3] == ("user-annot", "user-annot-2")
    assert events.table["code"][1:3] == ("1000", "1000")


def test_impedances_are_those_of_antio(recordings_dir):
    path = recordings_dir / REAL / "NA_271/test-na-271.cnt"
    *_, impedances, _ = read_triggers(read_cnt(path))
    assert read(path)[0]["eeg"].table["impedance_kohm"] == pytest.approx(impedances[0])


def test_without_its_evt_a_loss_is_told_by_the_file_itself(recordings_dir, tmp_path):
    path = shutil.copy(recordings_dir / GAP, tmp_path / "x.cnt")
    (recording,) = read(path)
    assert recording.repairs == ("interrupted at sample 6075 for an unknown time: times go on as if it had not been",)
    assert recording["events"].table["code"] == ("9001", "9002")


@pytest.mark.parametrize("methods", [(0, 8), (1, 9), (2, 10), (1, 11)])
@pytest.mark.parametrize("riff", [False, True])
def test_every_method_of_coding(tmp_path, methods, riff):
    path = cnt_file(tmp_path, methods=methods, riff=riff)
    assert np.array_equal(integers(path), VALUES)
    theirs = mne.io.read_raw_ant(path, preload=True, verbose="error").get_data() * 1e6
    assert np.allclose(theirs, VALUES * [[1.0], [0.25]])


def test_channels_coded_in_another_order_are_put_in_that_of_the_header(tmp_path):
    assert np.array_equal(integers(cnt_file(tmp_path, order=(1, 0), methods=(9, 1))), VALUES)


def test_any_slice_of_epochs_is_that_of_the_whole(tmp_path):
    samples = read(cnt_file(tmp_path))[0]["eeg"].segments[0].samples
    for part in (slice(3, 5), slice(None, None, 2), slice(4, 4), slice(5, 2)):
        assert np.array_equal(samples[part][:, 0], VALUES[0][part])


def test_integers_beyond_24_bits_are_exact(tmp_path):
    values = np.array([[1, 2, 3, 4, 5, 6], [2**30 + 1, 2**30 + 2, 2**30 + 3, -(2**30) - 1, 0, 1]])
    assert np.array_equal(integers(cnt_file(tmp_path, values=values, methods=(0, 8))), values)


def test_a_reference_belongs_to_its_channel_and_a_bipolar_input_is_no_eeg(tmp_path):
    (recording,) = read(cnt_file(tmp_path))
    assert recording["eeg"].table["reference"] == ("CPz",)
    assert recording["misc"].channel_names == ("BIP1",)
    assert recording["misc"].modality == "aux"


def test_the_person_is_told_apart_from_the_recording(tmp_path):
    assert read(cnt_file(tmp_path))[0].subject == {"name": "Haagse Harry", "birth_date": "1951-05-02", "sex": "M"}


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"n": 60}, "60 samples in 2 epochs of 4"),
        ({"n": 0}, "Samples is '0'"),
        ({"n_channels": 3}, "3 channels but 2 lines"),
        ({"per_epoch": 40}, "more bytes than it has"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, changed, wrong):
    with pytest.raises(FormatError, match=wrong) as refused:
        integers(cnt_file(tmp_path, **changed))
    assert "x.cnt" in str(refused.value)


def test_an_unknown_method_is_refused(tmp_path):
    path = cnt_file(tmp_path)
    content = path.read_bytes()
    at = content.index(b"data") + 12
    path.write_bytes(content[:at] + b"\x40" + content[at + 1 :])
    with pytest.raises(FormatError, match="a method that is unknown"):
        integers(path)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = cnt_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match="cut off"):
        read(path)
