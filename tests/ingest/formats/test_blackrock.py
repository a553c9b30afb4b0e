import struct
import warnings
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from neuroloom.ingest import Events, FormatError, Signal, Timebase, Timestamps, Units, format_of, naming_files, read
from neuroloom.ingest.formats import blackrock

REAL = (
    "electrode/blackrock/ndi-matlab/testData.ns2",
    "electrode/blackrock_nsx/mne-testing-data/Test_anonymized.ns3",
    "electrode/blackrock_nsx/mne-testing-data/test_BRSMPGRP_raw.ns3",
    "electrode/blackrock_nsx/mne-testing-data/test_NEURALCD_raw.ns3",
)
SET = "electrode/blackrock/ndi-matlab/testData.nev"
DATE = (2024, 5, 1, 6, 7, 8, 9, 10)  # the third is the day of the week
PTP = 1_000_000_000


@pytest.fixture
def neo_of():
    """Neo's reader of one file or set, parsed; PTP gaps become segments. It leaves its files open."""
    from neo.rawio import BlackrockRawIO

    opened = []

    def parsed(path, **how):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stock = BlackrockRawIO(filename=str(path), gap_tolerance_ms=0.0, **how)
            opened.append(stock)
            stock.parse_header()
        return stock

    yield parsed
    for stock in opened:
        for file in getattr(stock, "_nsx_fids", {}).values():
            file.close()


def nsx(path, *packets, magic=b"NEURALCD", period=1, hz=30000, channels=(("a", b"uV"), ("b", b"uV")), cut=0, **lies):
    """Data packets (tick, rows of samples) of channels whose bit is 0.25 of their unit; a count may be a lie."""
    major, minor = (3, 0) if magic == b"BRSMPGRP" else (2, 2)
    n = lies.get("n_channels", len(channels))
    head = struct.pack(
        "<8sBBI16s256sII8HI", magic, major, minor, 314 + 66 * len(channels), b"", b"", period, hz, *DATE, n
    )
    for i, (label, unit) in enumerate(channels):
        limits = lies.get("digital", (-1000, 1000))
        head += struct.pack(
            "<2sH16sBBhhhh16s20x", b"CC", lies.get("first_id", 1) + i, label.encode(), 1, i, *limits, -250, 250, unit
        )
    body = b""
    for tick, rows in packets:
        block = np.asarray(rows, dtype="<i2").reshape(-1, len(channels))
        body += struct.pack("<BQI" if major == 3 else "<BII", 1, tick, lies.get("count", len(block))) + block.tobytes()
    path.write_bytes((head + body)[: len(head + body) - cut])
    return path


def nev(path, *packets, magic=b"NEURALEV", version=(2, 3), hz=30000, labels=(), factors=(), program=b"Central", **lies):
    """Packets (tick, id, what follows) of 32 bytes, 36 in version 3.0."""
    wide = magic == b"BREVENTS"
    size = 36 if wide else 32
    extended = [struct.pack("<8sH16s6x", b"NEUEVLBL", i, label) for i, label in labels]
    extended += [struct.pack("<8sHBBH18x", b"NEUEVWAV", i, 1, i, nanovolts) for i, nanovolts in factors]
    n = 336 + 32 * len(extended)
    version = (3, 0) if wide else version
    head = struct.pack(
        "<8sBBHIIII8H32s256sI", magic, *version, 1, n, lies.get("size", size), hz, 30000, *DATE, program, b"",
        lies.get("n_extended", len(extended)),
    )  # fmt: skip
    body = b"".join((struct.pack("<QH" if wide else "<IH", t, i) + rest).ljust(size, b"\x00") for t, i, rest in packets)
    path.write_bytes(head + b"".join(extended) + body)
    return path


def counting(n, first=0):
    return np.arange(2 * first, 2 * (first + n)).reshape(n, 2)


def bases(signal):
    return [(s.timebase.start_s, s.timebase.n_samples) for s in signal.segments]


@pytest.mark.parametrize("name", REAL)
def test_samples_gains_and_starts_equal_those_of_neo(recordings_dir, name, neo_of):
    path = recordings_dir / name
    stock = neo_of(path, load_nev=False)
    signals = [s for s in read(path)[0].streams if isinstance(s, Signal)]
    theirs = stock.header["signal_channels"]
    places = np.concatenate([[list(theirs["id"]).index(str(i)) for i in s.table["electrode_id"]] for s in signals])
    for k in range(stock.segment_count(0)):
        mine = np.hstack([s.segments[k].samples[:] for s in signals])
        assert np.array_equal(mine, stock.get_analogsignal_chunk(0, k, stream_index=0)[:, places])
        assert signals[0].segments[k].timebase.start_s == pytest.approx(stock.get_signal_t_start(0, k, 0), abs=1e-12)
    scale = [{"mV": 1000, "uV": 1}[theirs["units"][i]] for i in places]
    assert np.concatenate([s.gain for s in signals]) == pytest.approx(theirs["gain"][places] * scale)
    assert np.concatenate([s.offset for s in signals]) == pytest.approx(theirs["offset"][places] * scale)


def test_values_equal_those_of_spikeinterface(recordings_dir):
    from spikeinterface.extractors import read_blackrock

    path = recordings_dir / SET
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = read_blackrock(path.with_suffix(".ns2"), stream_id="2")
        theirs = stock.get_traces(return_in_uV=True)
    for file in stock.neo_reader._nsx_fids.values():
        file.close()
    lfp = read(path)[0]["ns2 lfp"]
    assert lfp.unit == "uV"
    assert lfp.values()[0] == pytest.approx(theirs[:, :32], abs=1e-3)


def test_analog_inputs_lie_apart_from_electrodes(recordings_dir):
    recording = read(recordings_dir / SET)[0]
    assert (recording["ns2 lfp"].modality, len(recording["ns2 lfp"].channel_names)) == ("lfp", 32)
    assert (recording["ns2 aux"].modality, recording["ns2 aux"].channel_names) == ("aux", ("analog 1",))
    assert recording["ns2 aux"].gain == pytest.approx([152.562])  # 0.1526 mV in the file


def test_units_equal_those_of_neo_at_the_resolution_of_the_header(recordings_dir, neo_of):
    path = recordings_dir / SET
    stock = neo_of(path)
    units = read(path)[0]["units"]
    assert units.unit_names == tuple(stock.header["spike_channels"]["name"])
    for i, times_s in enumerate(units.spike_times_s):
        assert times_s == pytest.approx(stock.get_spike_timestamps(0, 0, i) / 30000)
    assert set(units.table["kind"]) == {"unsorted"}


def test_inputs_equal_those_of_neo(recordings_dir, neo_of):
    path = recordings_dir / SET
    stock, recording = neo_of(path), read(path)[0]
    names = list(stock.header["event_channels"]["name"])
    for theirs, mine in (("digital_input_port", "digital input"), ("analog_input_channel_1", "analog input 1")):
        ticks, _, labels = stock.get_event_timestamps(0, 0, names.index(theirs))
        assert recording[mine].times_s == pytest.approx(ticks / 30000)
        assert recording[mine].labels == tuple(labels)
        assert recording[mine].modality == "sync"


def test_stimulation_that_neo_leaves_out_is_kept(recordings_dir):
    """Trellis writes what it stimulated as packets 5121 and up, which version 2.2 does not know."""
    stimulation = read(recordings_dir / SET)[0]["stimulation"]
    assert len(stimulation.labels) == 320
    assert stimulation.labelled("129").times_s[:2] == pytest.approx([3211 / 30000, 33211 / 30000])


def test_the_set_is_one_recording_that_its_nev_names(recordings_dir):
    path = recordings_dir / SET
    assert naming_files(path.parent) == [path]
    assert blackrock.files(path) == (path, path.with_suffix(".ns2"))
    assert read(path)[0].start == datetime(2015, 3, 10, 20, 10, 51, 279000, tzinfo=UTC)


def test_a_label_ends_at_its_first_nul(recordings_dir):
    recording = read(recordings_dir / "electrode/blackrock_nsx/mne-testing-data/Test_anonymized.ns3")[0]
    assert recording["ns3 lfp"].channel_names[-1] == "RTMa08"  # 'RTMa08\0\x10\0\x02' in the file
    assert recording["ns3 lfp"].start_s == 3.8  # tick 114000


def test_all_samples_of_version_21_are_kept(recordings_dir):
    """Neo gives 99 of 100 and all of them one byte off: this file has a packet's head, which version 2.1 has not."""
    folder = recordings_dir / "odd/blackrock_nsx_v21/mne-testing-data"
    recording = read(folder / "test_NEURALSG_raw.ns3")[0]
    sibling = recordings_dir / "electrode/blackrock_nsx/mne-testing-data/test_NEURALCD_raw.ns3"
    mine, theirs = (r["ns3 lfp"].segments[0].samples[:] for r in (recording, read(sibling)[0]))
    assert np.array_equal(mine, theirs)
    assert recording["ns3 lfp"].unit == "a.u."
    assert "head of a data packet" in recording.repairs[0]


def test_no_real_recording_is_incomplete(recordings_dir):
    assert [blackrock.incomplete(recordings_dir / name) for name in (*REAL, SET)] == [""] * 5


def test_the_last_sample_of_version_21_is_kept(tmp_path):
    path = tmp_path / "x.ns5"
    path.write_bytes(
        struct.pack("<8s16sIIII", b"NEURALSG", b"30 kS/s", 1, 2, 1, 129) + counting(5).astype("<i2").tobytes()
    )
    assert read(path)[0]["ns5 wideband"].segments[0].samples[:].ravel().tolist() == [0, 2, 4, 6, 8]
    assert read(path)[0]["ns5 aux"].channel_names == ("ainp1",)


def test_version_21_takes_its_unit_from_the_nev(tmp_path):
    samples = counting(3).astype("<i2").tobytes()
    (tmp_path / "x.ns5").write_bytes(struct.pack("<8s16sIIII", b"NEURALSG", b"", 1, 2, 1, 2) + samples)
    recording = read(nev(tmp_path / "x.nev", version=(2, 1), factors=((1, 250), (2, 250))))[0]
    assert recording["ns5 wideband"].unit == "uV"
    assert recording["ns5 wideband"].values()[0].ravel().tolist() == [0, 0.25, 0.5, 0.75, 1, 1.25]


def test_a_pause_is_a_gap(tmp_path, neo_of):
    path = nsx(tmp_path / "x.ns5", (0, counting(30)), (60, counting(15, 30)))
    signal = read(path)[0]["ns5 wideband"]
    assert (signal.modality, signal.rate_hz) == ("wideband", 30000)
    assert bases(signal) == [(0.0, 30), (0.002, 15)]
    assert [s.samples[:1].tolist() for s in signal.segments] == [[[0, 1]], [[60, 61]]]
    stock = neo_of(path)
    assert [stock.get_signal_t_start(0, k, 0) for k in (0, 1)] == [0.0, 0.002]


def test_packets_that_follow_one_another_are_one_segment(tmp_path):
    """Neo makes two segments of them, though nothing is missing."""
    signal = read(nsx(tmp_path / "x.ns3", (0, counting(4)), (60, counting(4, 4)), period=15))[0]["ns3 lfp"]
    assert bases(signal) == [(0.0, 8)]
    samples = signal.segments[0].samples
    for first, last in pairwise([0, 3, 4, 6, 8]):
        assert samples[first:last][:, 0].tolist() == list(range(2 * first, 2 * last, 2))
    assert samples[1:8:3][:, 0].tolist() == [2, 8, 14]


def ptp(path, ticks):
    """One packet per sample, as Gemini writes them, on 20 May 2024 from midnight."""
    midnight = int(datetime(2024, 5, 20, tzinfo=UTC).timestamp()) * PTP
    packets = [(midnight + tick, counting(1, k)) for k, tick in enumerate(ticks)]
    return nsx(path, *packets, magic=b"BRSMPGRP", hz=PTP)


def test_ptp_times_count_from_midnight(tmp_path, neo_of):
    path = ptp(tmp_path / "x.ns5", [PTP + round(k * 1e9 / 30000) for k in range(5)])
    (segment,) = read(path)[0]["ns5 wideband"].segments
    assert isinstance(segment.timebase, Timebase)
    assert segment.timebase.start_s == 1.0
    assert segment.timebase.rate_hz == pytest.approx(30000, rel=1e-4)
    assert segment.samples[:, 0].tolist() == [0, 2, 4, 6, 8]
    assert np.array_equal(segment.samples[:], neo_of(path).get_analogsignal_chunk(0, 0, stream_index=0))


def test_a_lost_ptp_sample_is_a_gap(tmp_path):
    signal = read(ptp(tmp_path / "x.ns5", [33333 * k for k in (0, 1, 2, 4, 5)]))[0]["ns5 wideband"]
    assert bases(signal) == [(0.0, 3), (4 * 33333e-9, 2)]
    assert signal.segments[1].samples[0, 0] == 6


def test_ptp_times_that_wander_are_kept_as_they_are(tmp_path):
    signal = read(ptp(tmp_path / "x.ns5", [0, 33333, 70000, 100000]))[0]["ns5 wideband"]
    assert isinstance(signal.segments[0].timebase, Timestamps)
    assert signal.segments[0].timebase.times_s.tolist() == [0, 33333e-9, 70000e-9, 100000e-9]


def test_ptp_times_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(FormatError, match=r"x\.ns5: its times make no sense"):
        read(ptp(tmp_path / "x.ns5", [0, 1 << 62, (1 << 63) - 10**10, (1 << 63) + 10**10]))


def test_before_the_clock_was_set_back_nothing_is_kept(tmp_path):
    """Two devices that are started together set their clocks to 0 shortly after the files begin."""
    spike = bytes(2)
    nsx(tmp_path / "x.ns5", (900, counting(3)), (0, counting(9, 3)))
    path = nev(tmp_path / "x.nev", (9000, 1, spike), (9001, 1, spike), (3, 1, spike), (9003, 1, spike))
    recording = read(path)[0]
    assert bases(recording["ns5 wideband"]) == [(0.0, 9)]
    assert recording["units"].spike_times_s[0].tolist() == [3 / 30000, 9003 / 30000]
    assert [line.partition(":")[0] for line in recording.repairs] == ["x.ns5", "x.nev"]


def test_a_clock_set_back_late_is_refused(tmp_path):
    path = nsx(tmp_path / "x.ns5", (900, counting(30)), (0, counting(3)))
    with pytest.raises(FormatError, match=r"x\.ns5: its clock was set back after 0\.001 s"):
        read(path)


def test_ticks_of_32_bits_go_on_after_40_hours(tmp_path):
    turn = 2**32
    path = nev(tmp_path / "x.nev", (turn - 6000, 1, b""), (6000, 1, b""))
    assert np.diff(read(path)[0]["units"].spike_times_s[0]) == pytest.approx([0.4])


def test_millivolts_and_microvolts_are_kept_as_microvolts(tmp_path):
    signal = read(nsx(tmp_path / "x.ns5", (0, [[4, 4]]), channels=(("a", b"mV"), ("b", b"uV"))))[0]["ns5 wideband"]
    assert signal.unit == "uV"
    assert signal.values()[0].tolist() == [[1000.0, 1.0]]


@pytest.mark.parametrize(("first_id", "channels"), [(1, (("ainp1", b"mV"),)), (129, (("photodiode", b"mV"),))])
def test_analog_inputs_are_known_by_label_or_number(tmp_path, first_id, channels):
    path = nsx(tmp_path / "x.ns5", (0, [[1]]), channels=channels, first_id=first_id)
    assert [s.name for s in read(path)[0].streams] == ["ns5 aux"]


def test_electrodes_beyond_128_are_no_analog_inputs(tmp_path):
    path = nsx(tmp_path / "x.ns5", (0, [[1]]), channels=(("e200", b"uV"),), first_id=200)
    assert [s.name for s in read(path)[0].streams] == ["ns5 wideband"]


def test_units_are_one_per_electrode_and_class(tmp_path):
    kinds = {0: "unsorted", 2: "sorted", 255: "noise"}
    path = nev(tmp_path / "x.nev", *((30 * k, 12, bytes([c])) for k, c in enumerate(kinds)), labels=((12, b"M1-12"),))
    units = read(path)[0]["units"]
    assert isinstance(units, Units)
    assert units.unit_names == ("ch12#0", "ch12#2", "ch12#255")
    assert units.table["kind"] == tuple(kinds.values())
    assert units.table["channel"] == ("M1-12",) * 3
    assert [t.tolist() for t in units.spike_times_s] == [[0.0], [0.001], [0.002]]


def test_times_are_in_the_resolution_of_the_header(tmp_path):
    path = nev(tmp_path / "x.nev", (500, 3, b""), hz=1000)
    assert read(path)[0]["units"].spike_times_s[0].tolist() == [0.5]


def test_digital_and_serial_input_are_told_apart_and_in_order(tmp_path):
    digital, serial = struct.pack("<BxH", 1, 7), struct.pack("<BxH", 129, 65)
    recording = read(nev(tmp_path / "x.nev", (60, 0, digital), (30, 0, digital), (90, 0, serial)))[0]
    assert isinstance(recording["digital input"], Events)
    assert recording["digital input"].times_s.tolist() == [0.001, 0.002]
    assert recording["digital input"].labels == ("7", "7")
    assert recording["serial input"].labels == ("65",)


def test_comments_of_several_packets_are_joined(tmp_path):
    def comment(text, charset=0):
        return struct.pack("<BBI", charset, 0, 0) + text

    path = nev(
        tmp_path / "x.nev",
        (30, 0xFFFF, comment(b"patient said yes, a".ljust(20))),
        (0xFFFFFFFF, 0xFFFF, comment(b"nd no")),
        (60, 0xFFFF, comment("µ?".encode("utf-16-le"), charset=1)),
    )
    comments = read(path)[0]["comments"]
    assert comments.labels == ("patient said yes, a nd no", "µ?")
    assert comments.times_s.tolist() == [0.001, 0.002]


def test_events_of_version_30_have_wide_times(tmp_path):
    frame = struct.pack("<HIII", 1, 250, 8333, 4)
    path = nev(tmp_path / "x.nev", (5 * PTP, 0xFFFE, frame), (6 * PTP, 0xFFFC, b"\x02"), magic=b"BREVENTS", hz=PTP)
    recording = read(path)[0]
    assert recording["video frames"].times_s.tolist() == [5.0]
    assert recording["video frames"].labels == ("250",)
    assert recording["video frames"].table["elapsed_ms"] == (8333,)
    assert recording["button"].labels == ("2",)


def test_what_is_left_out_of_a_nev_is_named(tmp_path):
    recording = read(nev(tmp_path / "x.nev", (1, 5, b""), (2, 0xFFFD, b""), (0xFFFFFFFF, 5, b"")))[0]
    assert recording.repairs == (
        "x.nev: 1 packets 0x8000 (continuing another packet) left out",
        "x.nev: 1 packets 0xfffd (tracked objects) left out",
    )


def test_without_a_nev_each_file_is_a_recording_of_the_same_clock(tmp_path):
    paths = [nsx(tmp_path / f"x.ns{k}", (0, counting(2))) for k in (2, 5)]
    assert naming_files(tmp_path) == paths
    recordings = read(*paths)
    assert [r.clock for r in recordings] == ["x", "x"]
    assert len({stream.name for r in recordings for stream in r.streams}) == 2


def test_a_link_beside_the_nev_is_no_companion(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x.ns5").symlink_to(nsx(tmp_path / "elsewhere" / "x.ns5", (0, counting(2))))
    path = nev(tmp_path / "x.nev", (1, 5, b""))
    assert blackrock.files(path) == (path,)


def test_a_recording_that_was_never_closed_gives_what_it_has(tmp_path):
    recording = read(nsx(tmp_path / "x.ns5", (0, counting(4)), count=0))[0]
    assert recording["ns5 wideband"].n_samples == 4
    assert "never closed" in recording.repairs[0]


def test_an_empty_packet_is_passed_over(tmp_path):
    assert bases(read(nsx(tmp_path / "x.ns5", (0, []), (3, counting(4))))[0]["ns5 wideband"]) == [(0.0001, 4)]


def test_a_file_still_growing_is_refused_and_incomplete(tmp_path):
    path = nsx(tmp_path / "x.ns5", (0, counting(4)), cut=3)
    assert "states 4 samples, 3 are there" in blackrock.incomplete(path)
    with pytest.raises(FormatError, match="still being copied, or cut off"):
        read(path)


def test_duplicate_labels_are_numbered(tmp_path):
    recording = read(nsx(tmp_path / "x.ns5", (0, counting(1)), channels=(("e", b"uV"), ("e", b"uV"))))[0]
    assert recording["ns5 wideband"].channel_names == ("e-0", "e-1")
    assert recording.repairs[0] == "x.ns5: 2 channels are named 'e': 'e-0', 'e-1'"


@pytest.mark.parametrize(
    "lie",
    [
        {"n_channels": 10**9},
        {"n_channels": 0},
        {"count": 2**32 - 1},
        {"period": 0},
        {"hz": 0},
        {"digital": (5, 5)},
        {"cut": 200},
        {"cut": 17},
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie):
    path = nsx(tmp_path / "lie.ns5", (0, counting(2)), **lie)
    assert format_of(path) == "blackrock"
    with pytest.raises(FormatError, match=r"lie\.ns5"):
        read(path)


@pytest.mark.parametrize("lie", [{"n_extended": 10**9}, {"size": 4}, {"size": 2**32 - 1}, {"hz": 0}])
def test_a_nev_that_lies_is_refused(tmp_path, lie):
    path = nev(tmp_path / "lie.nev", (1, 5, b""), **lie)
    with pytest.raises(FormatError, match=r"lie\.nev"):
        read(path)


def test_a_companion_of_another_format_is_refused_by_name(tmp_path):
    (tmp_path / "x.ns5").write_bytes(b"something else")
    with pytest.raises(FormatError, match=r"x\.ns5: begins with b'somethin'"):
        read(nev(tmp_path / "x.nev", (1, 5, b"")))


def test_a_date_that_cannot_be_is_none(tmp_path):
    path = nsx(tmp_path / "x.ns5", (0, counting(1)))
    data = bytearray(path.read_bytes())
    data[294:310] = bytes(16)
    path.write_bytes(data)
    assert read(path)[0].start is None
