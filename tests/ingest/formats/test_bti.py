import shutil
import struct

import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read
from neuroloom.ingest.formats import bti

REAL = "eeg/bti/mne-python/test_pdf_linux"
DTYPES = {1: ">i2", 2: ">i4", 3: ">f4", 4: ">f8"}
CHANNELS = (("A1", 1, "T"), ("TRIGGER", 5, "bit"), ("X1", 4, "V"))  # name, type, unit


def padded(raw):
    return raw + bytes(-len(raw) % 8)


def config_file(folder, *, channels=CHANNELS, name="config", gain=2.0, block_bytes=12, **changed):
    stated = {"n_channels": len(channels), "n_blocks": 1} | changed
    head = bytearray(112)
    struct.pack_into(">h", head, 58, stated["n_channels"])
    struct.pack_into(">hh", head, 68, 1, stated["n_blocks"])
    block = bytearray(100)
    block[4:14] = b"B_Mag_Info"
    struct.pack_into(">I", block, 64, block_bytes)
    raw = padded(bytes(head) + bytes(128) + bytes(block)) + bytes(16)
    for number, (label, kind, _) in enumerate(channels, start=1):
        row = bytearray(92)
        row[: len(label)] = label.encode()
        struct.pack_into(">hH", row, 16, number, kind)
        struct.pack_into(">ff", row, 24, gain, 0.5)
        raw += padded(bytes(row))
        if kind == 1:
            device = bytearray(216)
            for k, value in ((3, 0.01), (7, 0.02), (11, 0.03)):
                struct.pack_into(">d", device, 48 + 8 * k, value)
            struct.pack_into(">h", device, 178, 1)
            raw += padded(bytes(device) + bytes(104))
        else:
            raw += padded(bytes({4: 76, 5: 78}[kind]))
    (folder / name).write_bytes(raw)
    return folder / name


def pdf_file(folder, *, channels=CHANNELS, kind=1, n=10, name="c,rfDC", codes=(), config=True, **changed):
    """Channels count up together at 100 Hz, the columns in reverse order of the header; codes from sample 3 on."""
    stated = {"n_channels": len(channels), "n_epochs": 1, "stated": n, "period": 0.01, "kind": kind}
    stated |= {"at": None} | changed
    data = np.arange(n * len(channels)).reshape(n, -1).astype(DTYPES.get(kind, ">i2"))
    if codes:
        data[:, 1] = 0
        data[3 : 3 + len(codes), 1] = codes
    raw = padded(data.tobytes())
    at = len(raw)
    head = bytearray(96)
    head[:7] = b"\0\1Bts\0\0"
    struct.pack_into(">hhiiii", head, 8, stated["kind"], 1, stated["n_epochs"], 0, 0, 0)
    struct.pack_into(">f", head, 28, stated["period"])
    struct.pack_into(">ih", head, 48, 1, stated["n_channels"])
    epoch = struct.pack(">i", stated["stated"]).ljust(56, b"\0")
    rows = b""
    for number, (label, _, unit) in enumerate(channels, start=1):
        row = bytearray(104)
        row[: len(label)], row[24 : 24 + len(unit)] = label.encode(), unit.encode()
        struct.pack_into(">hhf", row, 16, number, 0, 1.0)
        struct.pack_into(">i", row, 64, stated.get("column", len(channels) - number))
        rows += bytes(row)
    process = bytes(60) + struct.pack(">i", 1_348_401_098)
    tail = struct.pack(">Q", at if stated["at"] is None else stated["at"])
    (folder / name).write_bytes(raw + bytes(head) + epoch + rows + process + tail)
    if config:
        config_file(folder, channels=channels)
    return folder / name


def test_values_equal_those_of_mne(recordings_dir, same_as_mne):
    path = recordings_dir / REAL
    assert format_of(path) == "bti"
    others = [path.with_name(f"test_{what}_linux") for what in ("config", "hs")]
    theirs = mne.io.read_raw_bti(path, *others, rename_channels=False, convert=False, preload=True, verbose="error")
    (recording,) = read(path)
    assert recording["magnetometers"].segments[0].samples.dtype == np.int16
    same_as_mne(recording, theirs, rtol=1e-7)
    assert recording.start == theirs.info["meas_date"]


def test_places_equal_those_of_mne(recordings_dir):
    path = recordings_dir / REAL
    others = [path.with_name(f"test_{what}_linux") for what in ("config", "hs")]
    info = mne.io.read_raw_bti(path, *others, rename_channels=False, convert=False, verbose="error").info
    signal = read(path)[0]["magnetometers"]
    ours = np.array([signal.table[f"{axis}_mm"] for axis in "xyz"]).T / 1e3
    theirs = [info["chs"][info["ch_names"].index(name)]["loc"][:3] for name in signal.channel_names]
    assert np.allclose(ours, theirs, atol=1e-8)


def test_its_other_files_are_nobodys_and_the_folder_is_one_recording(recordings_dir):
    folder = (recordings_dir / REAL).parent
    assert [format_of(folder / f"test_{what}_linux") for what in ("config", "hs")] == [None, None]
    (recording,) = read(folder)
    assert [file.name for file in recording.files] == ["test_pdf_linux", "test_config_linux", "test_hs_linux"]


@pytest.mark.parametrize("kind", DTYPES)
def test_every_type_of_number_has_its_scale(tmp_path, kind):
    (recording,) = read(pdf_file(tmp_path, kind=kind))
    signal = recording["magnetometers"]
    assert signal.segments[0].samples.dtype == np.dtype(DTYPES[kind]).newbyteorder("=")
    assert signal.segments[0].samples[:2,].tolist() == [[2], [5]]
    assert signal.gain.tolist() == [0.25 if kind <= 2 else 2.0]
    assert [signal.table[f"{axis}_mm"][0] for axis in "xyz"] == pytest.approx([10, 20, 30])
    assert (recording["misc"].unit, recording["misc"].segments[0].samples[:2].tolist()) == ("uV", [[0], [3]])


def test_codes_are_events(tmp_path):
    events = read(pdf_file(tmp_path, codes=(8, 8, 0, 12)))[0]["triggers"]
    assert events.times_s == pytest.approx([0.03, 0.06])
    assert events.labels == ("2", "3")


def test_the_config_is_found_by_its_name_or_by_what_it_holds(tmp_path):
    path = pdf_file(tmp_path, config=False)
    config_file(tmp_path, name="something")
    (tmp_path / "hs_file").write_bytes(b"shape")
    assert [file.name for file in bti.files(path)] == ["c,rfDC", "something", "hs_file"]
    config_file(tmp_path)
    assert [file.name for file in bti.files(path)] == ["c,rfDC", "config", "hs_file"]


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"c,rfDC: no config is beside it"):
        read(pdf_file(tmp_path, config=False))


def test_two_that_may_be_the_config_are_refused(tmp_path):
    path = pdf_file(tmp_path, config=False)
    config_file(tmp_path, name="one")
    config_file(tmp_path, name="two")
    with pytest.raises(FormatError, match="one, two may be its config"):
        read(path)


def test_a_config_that_is_a_link_is_not_followed(tmp_path):
    path = pdf_file(tmp_path)
    (tmp_path / "sub").mkdir()
    shutil.move(tmp_path / "config", tmp_path / "sub" / "c")
    (tmp_path / "config").symlink_to(tmp_path / "sub" / "c")
    with pytest.raises(FormatError, match="no config is beside it"):
        read(path)


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"n_epochs": 2_000_000_000}, "2000000000 epochs in a header of"),
        ({"n_channels": 32000}, "32000 channels"),
        ({"n_channels": 0}, "0 channels"),
        ({"stated": 2_000_000_000}, "2000000000 samples of 3 channels"),
        ({"stated": -1}, "-1 samples"),
        ({"period": 0.0}, "an interval of 0.0 s"),
        ({"period": float("nan")}, "an interval of nan s"),
        ({"column": 0}, "do not have a place each"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=rf"c,rfDC: .*{match}"):
        bti.read(pdf_file(tmp_path, **lie))


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"block_bytes": 4_000_000_000}, "a block of 4000000000 bytes"),
        ({"n_blocks": 3}, "ends behind the end"),
        ({"n_channels": 30000}, "it is cut off, or it lies"),
        ({"n_channels": 2}, r"says nothing of channel 'X1' \(number 3\)"),
        ({"gain": float("nan")}, "gain of 'X1' is nan"),
    ],
)
def test_a_config_that_lies_is_refused(tmp_path, lie, match):
    path = pdf_file(tmp_path)
    config_file(tmp_path, **lie)
    with pytest.raises(FormatError, match=rf"config: .*{match}"):
        read(path)


@pytest.mark.parametrize("at", [0, 1 << 30, 8])
def test_what_points_at_no_header_is_not_claimed(tmp_path, at):
    assert format_of(pdf_file(tmp_path, at=at)) is None


def test_several_epochs_are_refused(tmp_path):
    path = pdf_file(tmp_path)
    raw = path.read_bytes()
    at = struct.unpack(">Q", raw[-8:])[0]
    head = bytearray(raw[at : at + 96])
    struct.pack_into(">i", head, 12, 2)
    path.write_bytes(raw[:at] + bytes(head) + raw[at + 96 : at + 152] + raw[at + 96 :])
    with pytest.raises(FormatError, match="2 epochs, and nothing tells"):
        read(path)
