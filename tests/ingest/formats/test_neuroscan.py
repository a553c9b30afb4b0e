import struct

import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

FOLDER = "eeg/cnt_neuroscan/mne-testing-data"
REAL = {"scan41_short.cnt": "int16", "test_CNT_events_mne_JWoess_clipped.cnt": "int32"}
EVENTS = {1: struct.Struct("<HBBi"), 2: struct.Struct("<HBBihhfBBB"), 3: struct.Struct("<HBBihhfBBB")}


def stock(recordings_dir, name):
    return mne.io.read_raw_cnt(recordings_dir / FOLDER / name, data_format=REAL[name], preload=True, verbose="error")


def cnt_file(folder, *, bits=16, n=20, names=("Cz", "VEOG"), rate=100, events=(), kind=2, tag=None, block=1, **header):
    """Channel k counts k, k + 2 ...; events are (sample, code, pad and mark). 0.5 uV per bit, baseline 10."""
    samples = np.arange(n * len(names), dtype=f"<i{bits // 8}").reshape(n, len(names))
    data = (
        samples.tobytes() if block == 1 else b"".join(samples[at : at + block].T.tobytes() for at in range(0, n, block))
    )
    first, width = 900 + 75 * len(names), bits // 8 * len(names)
    rows = b""
    for at, code, pad in events:
        place = at if kind == 3 else first + at * width
        rows += EVENTS[kind].pack(code, 0, pad, place, *(() if kind == 1 else (0, 0, 0.0, 0, 0, 0)))
    table = struct.pack("<Bii", kind, len(rows), 0) + rows
    stated = {"rate": rate, "stated": n, "table": first + len(data), "next": 0} | header
    if tag is not None:
        stated["next"] = first + len(data) + len(table)
        table += b"NSI TFF\0".ljust(52, b"\0") + bytes([tag])
    head = bytearray(b"Version 3.0".ljust(900, b"\0"))
    struct.pack_into("<i", head, 12, stated["next"])
    struct.pack_into("<H", head, 370, stated.get("n_channels", len(names)))
    struct.pack_into("<H", head, 376, stated["rate"])
    struct.pack_into("<i", head, 864, stated["stated"])
    struct.pack_into("<i", head, 886, stated["table"])
    struct.pack_into("<i", head, 894, block * bits // 8 if block > 1 else 1)
    head[225:245] = str(stated.get("date", "")).ljust(10).encode() + b"14:35:20\0\0"
    for k, name in enumerate(names):
        row = bytearray(name.encode().ljust(75, b"\0"))
        row[14] = k == stated.get("bad", -1)
        struct.pack_into("<h", row, 47, 10)
        struct.pack_into("<f", row, 59, 102.4)
        struct.pack_into("<f", row, 71, 1.0)
        head += row
    (folder / "x.cnt").write_bytes(bytes(head) + data + table)
    return folder / "x.cnt"


@pytest.mark.parametrize("name", REAL)
def test_values_equal_those_of_mne_told_the_right_type(recordings_dir, name, same_as_mne):
    path = recordings_dir / FOLDER / name
    assert format_of(path) == "neuroscan"
    (recording,) = read(path)
    assert recording["eeg"].segments[0].samples.dtype == REAL[name]
    same_as_mne(recording, stock(recordings_dir, name))


def test_events_lie_at_the_sample_they_point_at(recordings_dir):
    """An event holds the place of its sample in the file. MNE takes one sample off: its codes come 2.5 ms early.

    FieldTrip has them where they are here (test_fieldtrip.py).
    """
    name = "scan41_short.cnt"
    theirs, ours = stock(recordings_dir, name).annotations, read(recordings_dir / FOLDER / name)[0]["events"]
    assert ours.labels[:-1] == ("7", "7", "109", "7", "109") == tuple(theirs.description[:-1])
    assert ours.times_s[:-1] - theirs.onset[:-1] == pytest.approx(1 / 400)


def test_rejected_stretches_equal_those_of_mne(recordings_dir):
    name = "test_CNT_events_mne_JWoess_clipped.cnt"
    theirs = [a for a in stock(recordings_dir, name).annotations if a["description"] == "BAD_0"]
    ours = read(recordings_dir / FOLDER / name)[0]["rejected"].bounds_s
    assert np.diff(ours[:2]).ravel() == pytest.approx([a["duration"] for a in theirs], abs=0.0011)


def test_only_what_the_header_marks_is_bad(recordings_dir):
    """MNE reads a letter of the name as the mark: every channel of five letters or more is bad to it."""
    (recording,) = read(recordings_dir / FOLDER / "scan41_short.cnt")
    assert stock(recordings_dir, "scan41_short.cnt").info["bads"] == ["LEFT_EAR", "VEOGR"]
    assert not any(recording["eeg"].table["bad_in_file"])


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("evidence", ["tag", "count", "events"])
def test_each_evidence_alone_tells_the_bits(tmp_path, bits, evidence):
    told = {
        "tag": {"tag": bits == 32, "stated": 0},
        "count": {},
        "events": {"stated": 0, "events": [(at, 1, 0) for at in range(9)]},
    }
    (recording,) = read(cnt_file(tmp_path, bits=bits, **told[evidence]))
    assert recording["eeg"].segments[0].samples[:3].tolist() == [[0], [2], [4]]


def test_values_are_in_microvolts_less_the_baseline(tmp_path):
    (recording,) = read(cnt_file(tmp_path))
    assert recording["eeg"].values()[0][:3, 0] == pytest.approx([-5, -4, -3])
    assert recording["eog"].channel_names == ("VEOG",)


def test_without_evidence_the_file_is_refused_with_advice(tmp_path):
    with pytest.raises(FormatError, match=r"x\.cnt: samples may have 16 or 32 bits.*nothing in it tells.*x\.toml"):
        read(cnt_file(tmp_path, stated=0))


def test_evidence_that_disagrees_is_refused(tmp_path):
    with pytest.raises(FormatError, match="tag behind the data says 32 bits but the number of samples says 16"):
        read(cnt_file(tmp_path, tag=1))


def test_a_sidecar_settles_the_bits(tmp_path):
    path = cnt_file(tmp_path, stated=0)
    (tmp_path / "x.toml").write_text('format = "neuroscan"\nsample_bits = 16\n')
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 20
    assert recording.files == (path, tmp_path / "x.toml")


def test_samples_in_blocks_are_put_in_order(tmp_path):
    samples = read(cnt_file(tmp_path, block=5))[0]["eeg"].segments[0].samples
    for first, last in ((0, 20), (3, 4), (4, 11), (19, 20)):
        assert samples[first:last][:, 0].tolist() == list(range(2 * first, 2 * last, 2))


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_events_of_every_type(tmp_path, kind):
    events = read(cnt_file(tmp_path, kind=kind, events=[(5, 7, 0), (9, 0, 2), (12, 0, 0xE0)]))[0]["events"]
    assert events.times_s == pytest.approx([0.05, 0.09, 0.12])
    assert events.labels == ("7", "pad 2", "discontinuity")


@pytest.mark.parametrize(("date", "day"), [("01/25/18", 25), ("25/01/18", 25), ("03/03/18", 3), ("01/03/18", None)])
def test_a_date_that_can_be_read_two_ways_is_not_taken(tmp_path, date, day):
    (recording,) = read(cnt_file(tmp_path, date=date))
    assert (recording.start and recording.start.day) == day
    assert any("month/day" in line for line in recording.repairs) == (day is None)


def test_a_count_that_does_not_fit_is_mended_and_said(tmp_path):
    (recording,) = read(cnt_file(tmp_path, tag=0, stated=7))
    assert recording["eeg"].n_samples == 20
    assert recording.repairs == ("header states 7 samples, 20 lie before the table of events: those are read",)


def test_more_samples_than_there_are_are_not_claimed(tmp_path):
    (recording,) = read(cnt_file(tmp_path, tag=0, stated=2_000_000_000, table=0))
    assert recording["eeg"].n_samples < 50
    assert any("header states" in line and line.used.endswith(" samples") for line in recording.repairs)


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"n_channels": 0}, "states 0 channels"),
        ({"n_channels": 65535}, "states 65535 channels"),
        ({"rate": 0}, "sampling rate is 0 Hz"),
        ({"stated": 0, "table": 0}, "neither a number of samples"),
        ({"stated": -5, "table": 2_000_000_000}, "neither a number of samples"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=rf"x\.cnt: .*{match}"):
        read(cnt_file(tmp_path, **lie))


def test_a_cut_header_is_refused(tmp_path):
    path = cnt_file(tmp_path)
    path.write_bytes(path.read_bytes()[:980])
    with pytest.raises(FormatError, match=r"x\.cnt: states 2 channels"):
        read(path)


def test_a_cut_table_of_events_gives_those_that_are_there(tmp_path):
    path = cnt_file(tmp_path, events=[(5, 7, 0), (9, 8, 0)])
    path.write_bytes(path.read_bytes()[:-3])
    (recording,) = read(path)
    assert recording["events"].labels == ("7",)
    assert any("is cut off" in line for line in recording.repairs)
