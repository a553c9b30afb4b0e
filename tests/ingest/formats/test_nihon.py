import re
import shutil
import struct

import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, format_of, read
from neuroloom.ingest.formats import nihon

REAL = "eeg/nihon/mne-testing-data/MB0400FU"
DEVICE = b"EEG-1100C V01.00"


def block(start, n, *, electrodes=(0, 42), rate=100, first=0):
    """Channels count up from `first`, a word of marks behind them."""
    date = bytes.fromhex(start[2:8])
    head = bytearray(b"\x01TIME" + start[8:].encode() + b"000000")
    head = head.ljust(0x14, b"\0") + date + bytes(3)
    head += struct.pack("<HI", rate | 0xC000, n * 10 // rate) + bytes(6) + bytes([len(electrodes)])
    head += b"".join(bytes([number]).ljust(10, b"\0") for number in electrodes)
    samples = np.zeros((n, len(electrodes) + 1), "<u2")
    samples[:, :-1] = (np.arange(first, first + n)[:, np.newaxis] + 0x8000).astype("<u2")
    samples[5:, -1] = 3
    return bytes(head) + samples.tobytes()


def eeg_file(folder, *blocks, names="[ELECTRODE]\r\n0000=Cz\r\n0042=SpO2\r\n", log=(), device=DEVICE):
    head = bytearray(0x400)
    head[:16], head[0x81:0x91], head[0x91] = device, device, 1
    struct.pack_into("<I", head, 0x92, 0x400)
    control = bytearray(0x400)
    control[17] = len(blocks)
    at, data = 0x800, b""
    for k, content in enumerate(blocks):
        struct.pack_into("<I", control, 18 + 20 * k, at)
        at, data = at + len(content), data + content
    (folder / "x.EEG").write_bytes(bytes(head) + bytes(control) + data)
    if names:
        (folder / "x.21E").write_text(names, encoding="latin-1")
    if log:
        rows = b"".join(text.ljust(20, b"\0") + since + b"(" + when + b")".ljust(6, b"\0") for text, since, when in log)
        listed = bytearray(head)
        listed[0x10:0x1C] = b"x.PNT       "
        body = bytes(0x12) + bytes([len(log), 0]) + rows
        (folder / "x.LOG").write_bytes(bytes(listed) + body)
    return folder / "x.EEG"


def test_values_equal_those_of_mne(recordings_dir, same_as_mne):
    path = recordings_dir / f"{REAL}.EEG"
    assert format_of(path) == "nihon"
    (recording,) = read(path)
    theirs = mne.io.read_raw_nihon(path, preload=True, verbose="error")
    samples = recording["eeg"].segments[0].samples
    assert samples.dtype == np.int16
    unmarked = [stream for stream in recording.streams if stream.name != "marks"]
    same_as_mne(type(recording)(clock="x", format="nihon", files=(), streams=tuple(unmarked)), theirs)


def test_numbers_equal_those_of_the_vendors_own_export(recordings_dir):
    """Scales differ by a hundred-thousandth: EDF has eight letters for them."""
    found = {}
    for name in ("EEG", "EDF"):
        for signal in (s for s in read(recordings_dir / f"{REAL}.{name}")[0].streams if isinstance(s, Signal)):
            for channel, gain, values in zip(signal.channel_names, signal.gain, signal.values()[0].T, strict=True):
                found.setdefault(re.sub(r"^(EEG|POL) |-Ref$", "", channel), []).append(np.rint(values / gain))
    pairs = [columns for columns in found.values() if len(columns) == 2]
    assert len(pairs) == 25
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_events_equal_those_of_mne(recordings_dir):
    theirs = mne.io.read_raw_nihon(recordings_dir / f"{REAL}.EEG", verbose="error").annotations
    ours = read(recordings_dir / f"{REAL}.EEG")[0]["annotations"]
    assert ours.times_s == pytest.approx(theirs.onset)
    assert ours.labels == tuple(theirs.description)


def test_its_other_files_are_nobodys_and_come_along(recordings_dir):
    path = recordings_dir / f"{REAL}.EEG"
    assert [file.suffix for file in nihon.files(path)] == [".EEG", ".21E", ".PNT", ".LOG", ".11D", ".CMT", ".CN2"]
    assert {format_of(file) for file in nihon.files(path)[1:]} == {None}


def test_without_companions_it_is_read_and_said(recordings_dir, tmp_path):
    path = shutil.copy(recordings_dir / f"{REAL}.EEG", tmp_path)
    (recording,) = read(path)
    assert recording["eeg"].channel_names[:2] == ("FP1", "FP2")
    assert [line.split(" beside")[0] for line in recording.repairs] == ["no MB0400FU.21E", "no MB0400FU.LOG"]


def test_a_link_is_no_companion(recordings_dir, tmp_path):
    path = eeg_file(tmp_path, block("20190403160016", 10))
    (tmp_path / "x.LOG").symlink_to(recordings_dir / f"{REAL}.LOG")
    assert [file.name for file in nihon.files(path)] == ["x.EEG", "x.21E"]


def test_scales_go_by_the_number_of_the_electrode(tmp_path):
    """MNE goes by the name: an electrode called as a DC input is gets volts."""
    names = "[ELECTRODE]\n0000=DC01\n0042=Cz\n"
    (recording,) = read(eeg_file(tmp_path, block("20190403160016", 10), names=names))
    assert recording["eeg"].channel_names == ("DC01",)
    assert recording["eeg"].values()[0][1, 0] == pytest.approx(0.0977, abs=1e-3)
    assert recording["misc"].values()[0][1, 0] == pytest.approx(379.45, abs=0.01)


def test_blocks_lie_at_their_own_times(tmp_path):
    """MNE puts them end to end."""
    path = eeg_file(tmp_path, block("20190403160016", 100), block("20190403160030", 50, first=1000))
    (recording,) = read(path)
    segments = recording["eeg"].segments
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in segments] == [(0.0, 100), (14.0, 50)]
    assert segments[1].samples[:2].tolist() == [[1000], [1001]]


def test_events_in_several_blocks_go_by_their_dates(tmp_path):
    log = [(b"late", b"000002", b"190403160031")]
    path = eeg_file(tmp_path, block("20190403160016", 100), block("20190403160030", 50), log=log)
    assert read(path)[0]["annotations"].times_s.tolist() == [15.0]


def test_marks_are_sync_events(tmp_path):
    (recording,) = read(eeg_file(tmp_path, block("20190403160016", 10)))
    assert (recording["triggers"].times_s.tolist(), recording["triggers"].labels) == ([0.05], ("3",))
    assert recording["marks"].values()[0][[4, 5], 0].tolist() == [0, 3]


def test_a_cut_block_gives_its_whole_samples_and_says_so(tmp_path):
    path = eeg_file(tmp_path, block("20190403160016", 10))
    path.write_bytes(path.read_bytes()[:-3])
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 9
    assert "a data block states 10 samples: 9, as many as there are" in recording.repairs


def test_blocks_that_differ_are_refused(tmp_path):
    path = eeg_file(tmp_path, block("20190403160016", 10), block("20190403160030", 10, electrodes=(0,)))
    with pytest.raises(FormatError, match="2 data blocks differ in channels"):
        read(path)


def test_a_log_that_is_none_is_refused(tmp_path):
    path = eeg_file(tmp_path, block("20190403160016", 10))
    (tmp_path / "x.LOG").write_bytes(b"something else")
    with pytest.raises(FormatError, match=r"x\.LOG: .*a log of Nihon Kohden is wanted"):
        read(path)


@pytest.mark.parametrize(
    ("at", "number", "match"),
    [
        (0x92, 0xFFFFFFFF, "list of blocks at byte 4294967295"),
        (0x400 + 18, 0xFFFFFFF0, "no data block at byte 4294967280"),
        (0x400 + 18, 5, "no data block at byte 5"),
        (0x800 + 0x1C, 0, "no data block with samples"),
        (0x800 + 0x1C, 0xFFFFFFFF, None),
        (0x800 + 0x1A, 0, "at 0 Hz"),
    ],
)
def test_addresses_and_counts_that_lie_are_refused(tmp_path, at, number, match):
    path = eeg_file(tmp_path, block("20190403160016", 10))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, at, number)
    path.write_bytes(bytes(data))
    if match is None:
        assert any("as many as there are" in line for line in read(path)[0].repairs)
    else:
        with pytest.raises(FormatError, match=rf"x\.EEG: .*{match}"):
            read(path)
