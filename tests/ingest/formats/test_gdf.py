import struct

import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

REAL = "eeg/gdf/mne-testing-data/test_1ch.gdf"
MICRO, MILLI, NONE = 4275, 4274, 512
DTYPES = {3: "<i2", 5: "<i4", 16: "<f4", 17: "<f8", 2: "<u1"}


def gdf_file(folder, *, channels=(("Cz", MICRO, 2, 3),), n_records=5, events=(), version="2.10", mode=1, rate=10.0,
             **changed):  # fmt: skip
    """Channels are (name, unit, samples per record, type) and count up; a record lasts 0.2 s; 0.5 per bit."""
    n, is_old = len(channels), version < "1.9"
    stated = {"n_channels": n, "n_records": n_records, "above": 1, "below": 5, "blocks": n + 1} | changed
    head = bytearray(f"GDF {version}".encode().ljust(256, b"\0"))
    if is_old:
        head[168:184] = b"2018040114124450"
        struct.pack_into("<q", head, 184, 256 * stated["blocks"])
    else:
        struct.pack_into("<Q", head, 168, int((736786.5 + 1) * 2**32))
        struct.pack_into("<H", head, 184, stated["blocks"])
    struct.pack_into("<q2I", head, 236, stated["n_records"], stated["above"], stated["below"])
    struct.pack_into("<I" if is_old else "<H", head, 252, stated["n_channels"])
    names, codes, counts, kinds = zip(*channels, strict=True)
    rows = b"".join(name.encode().ljust(16, b"\0") for name in names) + bytes(80 * n)
    if is_old:
        rows += b"uV      " * n
    else:
        rows += b"uV\0\0\0\0" * n + struct.pack(f"<{n}H", *codes)
    rows += struct.pack(f"<{2 * n}d", *[-100.0] * n, *[100.0] * n)
    rows += struct.pack(f"<{2 * n}{'q' if is_old else 'd'}", *[-200] * n, *[200] * n)
    rows += bytes(80 * n) + struct.pack(f"<{2 * n}i", *counts, *kinds) + bytes(32 * n)
    data = b""
    for record in range(n_records):
        for count, kind in zip(counts, kinds, strict=True):
            values = np.arange(record * count, (record + 1) * count)
            data += (
                values.astype(DTYPES[kind]).tobytes()
                if kind != 279
                else b"".join(int(v - 3).to_bytes(3, "little", signed=True) for v in values)
            )
    table = b""
    if events:
        at, types, about, lasts = (np.array(column) for column in zip(*events, strict=True))
        number = struct.pack("<I", len(events))
        table = bytes([mode]) + (
            int(rate).to_bytes(3, "little") + number if version < "1.94" else number[:3] + struct.pack("<f", rate)
        )
        table += at.astype("<u4").tobytes() + types.astype("<u2").tobytes()
        table += about.astype("<u2").tobytes() + lasts.astype("<u4").tobytes() if mode == 3 else b""
    (folder / "x.gdf").write_bytes(bytes(head) + rows + data + table)
    return folder / "x.gdf"


def stock(path):
    return mne.io.read_raw_gdf(path, preload=True, verbose="error")


def test_values_equal_those_of_mne(recordings_dir, same_as_mne):
    path = recordings_dir / REAL
    assert format_of(path) == "gdf"
    (recording,) = read(path)
    assert (recording["ecg"].unit, recording["ecg"].segments[0].samples.dtype) == ("uV", np.float32)
    same_as_mne(recording, stock(path))


@pytest.mark.parametrize("version", ["1.25", "2.10", "2.20"])
def test_written_files_equal_those_of_mne(tmp_path, version, same_as_mne):
    channels = (("Cz", MICRO, 2, 3), ("EOG", MICRO, 2, 3))
    events = [(3, 769, 0, 0), (7, 770, 0, 0)]
    path = gdf_file(tmp_path, channels=channels, version=version, events=events)
    (recording,), theirs = read(path), stock(path)
    same_as_mne(recording, theirs)
    assert recording["events"].times_s == pytest.approx(theirs.annotations.onset)
    assert recording["events"].labels == tuple(theirs.annotations.description) == ("769", "770")


def test_values_have_their_unit(tmp_path):
    channels = (("Cz", MICRO, 2, 3), ("Pz", MILLI, 2, 3), ("x", NONE, 2, 3), ("T", 6048, 2, 3))
    (recording,) = read(gdf_file(tmp_path, channels=channels))
    assert recording["eeg"].values()[0][:3].tolist() == [[0, 0], [0.5, 500], [1, 1000]]
    assert [s.unit for s in recording.streams] == ["uV", "a.u.", "GDF unit 6048"]


def test_rates_and_types_are_never_made_equal(tmp_path):
    """MNE brings the second channel to 20 Hz."""
    channels = (("Cz", MICRO, 4, 3), ("Pz", MICRO, 2, 3), ("C3", MICRO, 4, 279), ("u", NONE, 4, 2))
    (recording,) = read(gdf_file(tmp_path, channels=channels))
    assert [(s.name, s.rate_hz, s.n_samples) for s in recording.streams] == [
        ("eeg 20 Hz int16", 20, 20), ("eeg 10 Hz int16", 10, 10), ("eeg 20 Hz int32", 20, 20), ("misc", 20, 20),
    ]  # fmt: skip
    assert recording.streams[2].segments[0].samples[1:6][:, 0].tolist() == [-2, -1, 0, 1, 2]
    assert recording.streams[1].segments[0].samples[3:5].tolist() == [[3], [4]]


def test_events_count_at_their_own_rate(tmp_path):
    """MNE divides by the rate of the samples."""
    events = read(gdf_file(tmp_path, events=[(3, 769, 0, 0)], rate=100.0))[0]["events"]
    assert events.times_s.tolist() == [0.02]


def test_events_that_last_are_intervals(tmp_path):
    events = [(1, 769, 2, 5), (3, 770, 0, 0), (9, 0x7FFF, 1, 77)]
    (recording,) = read(gdf_file(tmp_path, events=events, mode=3))
    assert recording["lasting events"].bounds_s.tolist() == [[0.0, 0.5]]
    assert recording["lasting events"].table["channels"] == ("2",)
    assert recording["events"].labels == ("770",)
    assert any("0x7fff" in line for line in recording.repairs)


def test_the_start_is_that_of_the_header(tmp_path):
    assert read(gdf_file(tmp_path, version="1.25"))[0].start.isoformat() == "2018-04-01T14:12:44.500000"
    path = gdf_file(tmp_path)
    assert read(path)[0].start == stock(path).info["meas_date"].replace(tzinfo=None)


def test_a_cut_file_gives_its_whole_records_and_says_so(tmp_path):
    path = gdf_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 8
    assert recording.repairs == ("header states 5 records: 4, as many as there are",)


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"n_channels": 0}, "states 0 channels"),
        ({"n_channels": 65535}, "states 65535 channels"),
        ({"blocks": 1}, "a header of 256 bytes for 1 channels"),
        ({"blocks": 65535}, "it lies"),
        ({"above": 0}, "a record lasts 0/5 s"),
        ({"below": 0}, "a record lasts 1/0 s"),
        ({"channels": (("Cz", MICRO, 2_000_000_000, 3),), "n_records": 0}, "no whole record"),
        ({"channels": (("Cz", MICRO, -2, 3),), "n_records": 0}, "-2 per record"),
        ({"channels": (("Cz", MICRO, 2, 18),), "n_records": 0}, "numbers of type 18"),
        ({"channels": (("Cz", MICRO, 0, 3),), "n_records": 0}, "hold no samples"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=rf"x\.gdf: .*{match}"):
        read(gdf_file(tmp_path, **lie))


def test_a_cut_table_of_events_is_left_out_and_said(tmp_path):
    path = gdf_file(tmp_path, events=[(3, 769, 0, 0)])
    path.write_bytes(path.read_bytes()[:-1])
    assert any("table of events, of which" in line for line in read(path)[0].repairs)
