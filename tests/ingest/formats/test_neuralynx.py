import shutil
import struct
import warnings
from datetime import datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, Timebase, Timestamps, Units, format_of, naming_files, read
from neuroloom.ingest.formats import neuralynx

REAL = "electrode/neuralynx/mne-testing-data"
LFP = ("LAHC1", "LAHC2", "LAHC3", "xAIR1")


CHEETAH = {
    "FileType": "NCS",
    "TimeCreated": "2024/05/01 10:00:00",
    "HardwareSubSystemType": "DigitalLynxSX",
    "ApplicationName": 'Cheetah "6.4.0"',
    "InputRange": 1000,
}


def header(**entries):
    entries = CHEETAH | {"ADChannel": 3} | entries
    text = "######## Neuralynx Data File Header\r\n" + "".join(f"-{key} {value}\r\n" for key, value in entries.items())
    return text.encode("latin-1").ljust(1 << 14, b"\x00")


def ncs(path, *records, rate_hz=2000, name="CSC1", **entries):
    """Records (time in µs, samples); each has room for 512."""
    entries = {"SamplingFrequency": rate_hz, "ADBitVolts": 1e-6, "AcqEntName": name} | entries
    body = b""
    for time_us, samples in records:
        block = np.zeros(512, "<i2")
        block[: len(samples)] = samples
        body += struct.pack("<QIII", time_us, 0, int(rate_hz), len(samples)) + block.tobytes()
    path.write_bytes(header(**entries) + body)
    return path


def nev(path, *records):
    body = b""
    for time_us, word, text in records:
        body += struct.pack("<hhhQhHh4x32x128s", 0, 0, 2, time_us, 11, word, 0, text)
    path.write_bytes(header(AcqEntName="Events") + body)
    return path


def ntt(path, *spikes):
    body = b"".join(struct.pack("<QII32x", time_us, 0, cell) + bytes(256) for time_us, cell in spikes)
    path.write_bytes(header(AcqEntName="TT1", ADBitVolts=1e-6, SamplingFrequency=32000) + body)
    return path


def full(first=0):
    return np.arange(first, first + 512)


@pytest.fixture
def real(recordings_dir):
    return read(recordings_dir / REAL)[0]


def test_the_real_folder_is_one_recording_of_one_segment_per_rate(real):
    """By the records' own times: 255,999 and 256,000 µs apart, never more. Neo cuts there; nothing is missing."""
    found = {s.name: (len(s.channel_names), [g.timebase.n_samples for g in s.segments]) for s in real.streams[:3]}
    assert found == {"lfp": (4, [11691]), "ecg": (1, [11691]), "wideband": (1, [187071])}


def test_no_sample_of_the_real_folder_moves_by_more_than_a_microsecond(real, recordings_dir):
    dtype = np.dtype([("us", "<u8"), ("head", "V12"), ("samples", "<i2", 512)])
    rows = np.fromfile(recordings_dir / REAL / "LAHCu1.ncs", dtype, offset=1 << 14)
    base = real["wideband"].segments[0].timebase
    assert isinstance(base, Timebase)
    midnight = rows["us"][0] // 86_400_000_000 * 86_400_000_000
    assert np.abs(base.seconds(np.arange(len(rows)) * 512) - (rows["us"] - midnight) / 1e6).max() < 1.01e-6


def test_samples_equal_those_of_matlab(real, recordings_dir):
    """The vendor's own MATLAB reader wrote the .mat files beside the recording."""
    from scipy.io import loadmat

    lfp = real["lfp"]
    for name in LFP:
        theirs = loadmat(recordings_dir / REAL / f"{name}.mat")
        samples = theirs["Samples"].T.ravel()[:11691]
        assert np.array_equal(lfp.channels((name,)).segments[0].samples[:].ravel(), samples)


def test_values_equal_those_of_mne(real, recordings_dir):
    import mne

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = mne.io.read_raw_neuralynx(recordings_dir / REAL, exclude_fname_patterns=["LAHCu1.ncs"], verbose="error")
        theirs = raw.get_data(picks=list(real["lfp"].channel_names)) * 1e6
    mine = real["lfp"].values()[0].T
    assert mine == pytest.approx(theirs)


def test_values_equal_those_of_neo_where_it_reads_the_folder(real, recordings_dir, tmp_path):
    from neo.rawio import NeuralynxRawIO

    for name in (*LFP, "xEKG1"):
        shutil.copyfile(recordings_dir / REAL / f"{name}.ncs", tmp_path / f"{name}.ncs")
    stock = NeuralynxRawIO(dirname=str(tmp_path))
    stock.parse_header()
    chunks = [stock.get_analogsignal_chunk(0, k, stream_index=0) for k in range(stock.segment_count(0))]
    assert [len(chunk) for chunk in chunks] == [3072, 5120, 3499]
    channels = stock.header["signal_channels"]
    places = [list(channels["name"]).index(name) for name in real["lfp"].channel_names]
    assert np.array_equal(np.concatenate(chunks)[:, places], real["lfp"].segments[0].samples[:])
    assert real["lfp"].gain == pytest.approx(channels["gain"][places])


def test_it_begins_when_its_first_sample_was_taken(real):
    assert real.start == datetime(2023, 11, 2, 13, 39, 55, 972006)
    assert real["events"].times_s[0] == pytest.approx(real["wideband"].start_s, abs=1e-3)


def test_a_folder_is_one_drop_named_by_its_first_file(recordings_dir):
    named = naming_files(recordings_dir / REAL)
    assert [path.name for path in named] == ["Events.nev"]
    assert len(neuralynx.files(named[0])) == 7


def test_any_other_file_alone_is_itself(recordings_dir):
    recording = read(recordings_dir / REAL / "LAHC2.ncs")[0]
    assert [file.name for file in recording.files] == ["LAHC2.ncs"]
    assert recording["lfp"].channel_names == ("LAHC2",)


def test_a_record_that_comes_late_begins_a_segment(tmp_path):
    path = ncs(tmp_path / "CSC1.ncs", (1_000_000, full()), (1_256_000, full(512)), (3_000_000, [7, 8]))
    segments = read(path)[0]["lfp"].segments
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in segments] == [(1.0, 1024), (3.0, 2)]
    assert segments[0].samples[510:514].ravel().tolist() == [510, 511, 512, 513]
    assert segments[1].samples[:].ravel().tolist() == [7, 8]


def test_samples_that_are_not_valid_are_left_out_and_their_time_is_a_gap(tmp_path):
    path = ncs(tmp_path / "CSC1.ncs", (0, [1, 2, 3]), (256_000, full()))
    assert [s.timebase.n_samples for s in read(path)[0]["lfp"].segments] == [3, 512]


def test_a_clock_that_wavers_keeps_its_own_times(tmp_path):
    """20 µs early and late in turn, less than half a sample: no gap, and no rate fits to 1 µs."""
    path = ncs(tmp_path / "CSC1.ncs", (0, full()), (256_020, full()), (511_980, full()), (768_000, full()))
    (segment,) = read(path)[0]["lfp"].segments
    assert isinstance(segment.timebase, Timestamps)
    assert segment.timebase.seconds([0, 512, 1024, 1536]) == pytest.approx([0, 0.25602, 0.51198, 0.768])


def test_a_file_that_goes_on_after_a_pause_is_the_same_channel(tmp_path):
    ncs(tmp_path / "CSC1.ncs", (0, full()))
    ncs(tmp_path / "CSC1_0001.ncs", (9_000_000, full()))
    (signal,) = read(tmp_path)[0].streams
    assert signal.channel_names == ("CSC1",)
    assert [s.timebase.start_s for s in signal.segments] == [0.0, 9.0]


def test_channels_with_other_gaps_are_signals_of_their_own(tmp_path):
    ncs(tmp_path / "CSC1.ncs", (0, full()), (256_000, full()))
    ncs(tmp_path / "CSC2.ncs", (0, full()), (900_000, full()), name="CSC2")
    assert [[len(s.segments), *s.channel_names] for s in read(tmp_path)[0].streams] == [[1, "CSC1"], [2, "CSC2"]]


def test_an_inverted_input_has_a_negative_gain(tmp_path):
    path = ncs(tmp_path / "CSC1.ncs", (0, full()), InputInverted="True")
    assert read(path)[0]["lfp"].gain.tolist() == [-1.0]


def test_a_header_of_the_first_cheetahs_is_understood(tmp_path):
    """It states 1893 Hz and samples every 528 µs, 1e6 / 1893 without its fraction."""
    path = ncs(tmp_path / "CSC1.ncs", (0, full()), (270_336, full()), rate_hz=1893, NLX_Base_Class_Type="CscAcqEnt")
    (signal,) = read(path)[0].streams
    assert signal.rate_hz == pytest.approx(1e6 / 528)
    assert len(signal.segments) == 1


def test_dates_as_the_first_cheetahs_wrote_them(tmp_path):
    path = ncs(tmp_path / "CSC1.ncs", (0, full()))
    stated = b"## Time Opened (m/d/y): 1/2/2000  (h:m:s.ms) 18:28:39.821\r\n"
    text, rest = path.read_bytes()[: 1 << 14].rstrip(b"\x00"), path.read_bytes()[1 << 14 :]
    text = text.replace(b"-TimeCreated 2024/05/01 10:00:00\r\n", stated)
    path.write_bytes(text.ljust(1 << 14, b"\x00") + rest)
    assert read(path)[0].start == datetime(2000, 1, 2, 18, 28, 39, 821000)


def test_lines_that_go_up_are_sync_events_per_port(tmp_path):
    port = b"TTL Input on AcqSystem1_0 board 0 port %d value (0x%04X)."
    nev(
        tmp_path / "Events.nev",
        (0, 0, b"Starting Recording"),
        (1_000_000, 1, port % (0, 1)),
        (1_500_000, 3, port % (0, 3)),
        (2_000_000, 4, port % (1, 4)),
        (2_500_000, 0, port % (0, 0)),
    )
    recording = read(tmp_path / "Events.nev")[0]
    assert (recording["ttl board 0 port 0"].times_s.tolist(), recording["ttl board 0 port 0"].labels) == (
        [1.0, 1.5],
        ("0", "1"),
    )
    assert recording["ttl board 0 port 1"].labels == ("2",)
    assert recording["events"].labels[0] == "Starting Recording"


def test_spikes_are_units_by_cell(tmp_path):
    ntt(tmp_path / "TT1.ntt", (1_010_000, 0), (1_020_000, 2), (1_030_000, 2))
    (units,) = read(tmp_path)[0].streams
    assert units.unit_names == ("TT1#0", "TT1#2")
    assert units.table["kind"] == ("unsorted", "sorted")
    assert [t.tolist() for t in units.spike_times_s] == [[1.01], [1.02, 1.03]]
    assert units.is_sorted


def test_gaps_and_spikes_equal_those_of_neo(tmp_path):
    from neo.rawio import NeuralynxRawIO

    ncs(tmp_path / "CSC1.ncs", (1_000_000, full()), (1_256_000, [5, 6, 7]), (3_000_000, full(9)))
    ntt(tmp_path / "TT1.ntt", (1_010_000, 0), (1_020_000, 2), (3_030_000, 2))
    stock = NeuralynxRawIO(dirname=str(tmp_path), gap_tolerance_ms=0.1)
    stock.parse_header()
    recording = read(tmp_path)[0]
    signal, units = recording["lfp"], next(s for s in recording.streams if isinstance(s, Units))
    for k, segment in enumerate(signal.segments):
        assert np.array_equal(segment.samples[:], stock.get_analogsignal_chunk(0, k, stream_index=0))
        assert segment.timebase.start_s - 1 == pytest.approx(stock.get_signal_t_start(0, k, 0))
    assert stock.segment_count(0) == len(signal.segments) == 2
    theirs = [stock.get_spike_timestamps(0, k, unit) / 1e6 for unit in range(2) for k in range(2)]
    assert np.concatenate(theirs).tolist() == np.concatenate(units.spike_times_s).tolist() == [1.01, 1.02, 3.03]


def test_a_rate_of_nothing_is_refused(tmp_path):
    path = ncs(tmp_path / "CSC1.ncs", (0, full()), rate_hz=0)
    with pytest.raises(FormatError, match=r"CSC1\.ncs.*SamplingFrequency"):
        read(path)


def test_records_that_go_back_are_refused(tmp_path):
    path = ncs(tmp_path / "CSC1.ncs", (1_000_000, full()), (0, full()))
    with pytest.raises(FormatError, match="before the one before it has ended"):
        read(path)


def test_a_record_of_too_many_samples_is_refused(tmp_path):
    path = ncs(tmp_path / "CSC1.ncs", (0, full()))
    raw = bytearray(path.read_bytes())
    raw[(1 << 14) + 16 : (1 << 14) + 20] = struct.pack("<I", 1 << 30)
    path.write_bytes(raw)
    with pytest.raises(FormatError, match="512 is the most"):
        read(path)


def test_half_a_header_is_refused(tmp_path):
    (tmp_path / "CSC1.ncs").write_bytes(header()[:4000])
    assert format_of(tmp_path / "CSC1.ncs") == "neuralynx"
    with pytest.raises(FormatError, match="cut off, or still being copied"):
        read(tmp_path / "CSC1.ncs")
