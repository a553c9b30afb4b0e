import struct

import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

REAL = "eeg/kit/mne-python/test.sqd"
CHANNELS = ((2, 0.5), (0x101, 0.0), (-1, 0.0), (-2, 0.0), (0, 0.0))  # sensor, reference, trigger, EEG, none


def sqd_file(folder, *, channels=CHANNELS, n=10, bits=12, n_bits=16, data=None, **changed):
    """Channel k counts k, k + 10 ...; range 8.192 V over 12 bits is 2 mV a step; amplifier gain 2 x 5."""
    stated = {
        "version": 2, "revision": 4, "n_channels": len(channels), "rate": 500.0, "n": n, "kind": 1, "volts": 8.192,
        "count": 32, "system": 34, "channel_size": 76, "offset": 0.0,
    } | changed  # fmt: skip
    system = bytearray(1248)
    struct.pack_into("<3i", system, 0, stated["version"], stated["revision"], stated["system"])
    struct.pack_into("<i", system, 268, stated["n_channels"])
    struct.pack_into("<i", system, 528, 1_338_487_633)
    struct.pack_into("<i", system, 564, 10)
    struct.pack_into("<d3i", system, 716, stated["volts"], 0, n_bits, bits)
    rows = b""
    for kind, x_m in channels:
        row = bytearray(76)
        struct.pack_into("<i", row, 0, kind)
        if kind > 0:
            struct.pack_into("<3d", row, 4, x_m, 0.0, 0.0)
        elif kind == -2:
            row[12:15], row[26:34] = b"Cz\0", struct.pack("<d", 1e-6)
        rows += bytes(row)
    scales = np.array([(stated["offset"], 1e-9)] * len(channels), "<f8").tobytes()
    blocks = {1: bytes(system), 4: rows, 5: scales, 7: struct.pack("<i", 1 << 11 | 2),
              8: struct.pack("<idii", stated["kind"], stated["rate"], n, stated["n"])}  # fmt: skip
    values = np.arange(n)[:, np.newaxis] * 10 + np.arange(len(channels)) if data is None else data
    blocks[9] = values.astype(f"<i{n_bits // 8}").tobytes()
    at, entries = 512, {0: (0, 16, 32, stated["count"])}
    for k, content in blocks.items():
        size = stated["channel_size"] if k == 4 else 1248 if k == 1 else 16
        entries[k] = (stated.get(f"at_{k}", at), size, 1, 1)
        at += len(content)
    directory = b"".join(struct.pack("<Iiii", *entries.get(k, (0, 0, 0, 0))) for k in range(32))
    (folder / "x.sqd").write_bytes(directory + b"".join(blocks.values()))
    return folder / "x.sqd"


def test_values_equal_those_of_mne(recordings_dir, same_as_mne):
    path = recordings_dir / REAL
    assert format_of(path) == "kit"
    (recording,) = read(path)
    assert recording["magnetometers"].segments[0].samples.dtype == np.int16
    theirs = mne.io.read_raw_kit(path, preload=True, stim=None, verbose="error")
    same_as_mne(recording, theirs, rtol=1e-12)
    assert recording.start == theirs.info["meas_date"]


def test_places_are_those_of_mne_turned(recordings_dir):
    """MNE has x to the right and y forwards."""
    theirs = np.array([c["loc"][:3] for c in mne.io.read_raw_kit(recordings_dir / REAL, verbose="error").info["chs"]])
    table = read(recordings_dir / REAL)[0]["magnetometers"].table
    x, y, z = (np.array(table[f"{axis}_mm"]) / 1e3 for axis in "xyz")
    assert np.allclose(np.array([-y, x, z]).T, theirs[:157], rtol=1e-6)


@pytest.mark.parametrize("n_bits", [16, 32])
def test_every_kind_has_its_scale(tmp_path, n_bits):
    (recording,) = read(sqd_file(tmp_path, n_bits=n_bits))
    assert recording["magnetometers"].segments[0].samples.dtype == np.dtype(f"i{n_bits // 8}")
    assert recording["magnetometers"].values()[0][1, 0] == pytest.approx(10 * 2e-3 / 10 * 1e-9)
    assert recording["stim"].values()[0][1, 0] == pytest.approx(12 * 2e-3)
    assert recording["eeg"].values()[0][1, 0] == pytest.approx(13 * 1e-6 * 4 * 1e6)
    assert (recording["eeg"].channel_names, recording["misc"].channel_names) == (("Cz",), ("MISC 001",))
    assert recording["magnetometers"].table["x_mm"] == (500.0,)


def test_written_files_equal_those_of_mne(tmp_path, same_as_mne):
    path = sqd_file(tmp_path)
    theirs = mne.io.read_raw_kit(path, preload=True, stim=None, verbose="error")
    same_as_mne(read(path)[0], theirs, rtol=1e-12)


def test_a_trigger_line_gives_both_of_its_edges(tmp_path):
    data = np.zeros((10, 5))
    data[3:5, 2] = 2000
    events = read(sqd_file(tmp_path, data=data))[0]["triggers"]
    assert (events.times_s.tolist(), events.labels) == ([0.006, 0.01], ("high", "low"))


def test_a_cut_file_gives_its_whole_samples_and_says_so(tmp_path):
    path = sqd_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 9
    assert recording.repairs == ("header states 10 samples: 9, as many as there are",)


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"n_channels": 2_000_000_000}, "it is cut off, or it lies"),
        ({"n_channels": 0}, "0 channels"),
        ({"rate": 0.0}, "at 0.0 Hz"),
        ({"rate": float("inf")}, "at inf Hz"),
        ({"volts": float("nan")}, "range of its converter is nan V"),
        ({"n_bits": 32, "bits": 40}, "40 of 32 bits"),
        ({"kind": 2}, "holds an average"),
        ({"kind": 3}, "holds epochs"),
        ({"version": 1}, "version 1.4"),
        ({"offset": 0.5}, "state offsets"),
        ({"at_9": 4_000_000_000}, "no whole sample"),
        ({"at_4": 4_000_000_000}, "bytes at 4000000000"),
        ({"channel_size": 4}, "4 bytes per channel"),
        ({"channels": ((77, 0.0),)}, "channel 1 is of type 77"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=rf"x\.sqd: .*{match}"):
        read(sqd_file(tmp_path, **lie))


@pytest.mark.parametrize("count", [0, 5, 100])
def test_what_is_no_directory_is_not_claimed(tmp_path, count):
    assert format_of(sqd_file(tmp_path, count=count)) is None
