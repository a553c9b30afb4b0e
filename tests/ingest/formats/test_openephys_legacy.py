import struct
from datetime import datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, Units, naming_files, read
from neuroloom.ingest.formats import openephys_legacy

MARKER = bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 255])


def header(channel="CH1", rate_hz=30000, gain=0.195, version="0.4"):
    text = (
        f"header.format = 'Open Ephys Data Format'; \nheader.version = {version}; \nheader.header_bytes = 1024;\n"
        f"header.date_created = '1-May-2024 100000';\nheader.channel = '{channel}';\n"
        f"header.sampleRate = {rate_hz};\nheader.blockLength = 1024;\nheader.bufferSize = 1024;\n"
        f"header.bitVolts = {gain};\n"
    )
    return text.encode().ljust(1024)


def continuous(path, *records, **stated):
    body = b"".join(
        struct.pack("<qHH", number, 1024, 0) + np.asarray(samples, ">i2").tobytes() + MARKER
        for number, samples in records
    )
    path.write_bytes(header(**stated) + body)
    return path


def events(path, *rows, version="0.4"):
    """Rows of sample number, position in the buffer, line, up or down."""
    body = b"".join(struct.pack("<qhBBBBH", number, at, 3, 100, state, line, 0) for number, at, line, state in rows)
    path.write_bytes(header(version=version) + body)
    return path


def spikes(path, *rows):
    """Rows of sample number and cluster, one channel of 40 samples."""
    body = b""
    for number, cluster in rows:
        body += struct.pack("<BqqHHHHHH3B2fH", 4, number, 0, 0, 1, 40, cluster, 0, 0, 0, 0, 0, 0.0, 0.0, 30000)
        body += bytes(80) + struct.pack("<fHH", 1000.0, 0, 0)
    path.write_bytes(header(channel="STp0") + body)
    return path


def full(first=0):
    return np.arange(first, first + 1024)


def filled(place):
    for k in (1, 2, 10):
        continuous(place / f"100_CH{k}.continuous", (2048, full(k)), (3072, full(k + 1024)), channel=f"CH{k}")
    continuous(place / "100_ADC1.continuous", (2048, full()), (3072, full()), channel="ADC1", gain=0.00015)
    events(place / "all_channels.events", (2100, 52, 0, 1), (2400, 0, 0, 0), (2500, 0, 3, 1))
    (place / "messages.events").write_text("2048 hello\nno number\n")
    return place


@pytest.fixture
def folder(tmp_path):
    return filled(tmp_path)


def test_samples_gains_and_start_equal_those_of_neo(folder):
    from neo.rawio import OpenEphysRawIO

    stock = OpenEphysRawIO(dirname=str(folder))
    stock.parse_header()
    recording = read(folder)[0]
    signal = recording["wideband"]
    assert signal.channel_names == tuple(stock.header["signal_channels"]["name"][:3]) == ("CH1", "CH2", "CH10")
    assert np.array_equal(signal.segments[0].samples[:], stock.get_analogsignal_chunk(0, 0, stream_index=0))
    assert signal.gain == pytest.approx(stock.header["signal_channels"]["gain"][:3])
    assert signal.start_s == pytest.approx(stock.get_signal_t_start(0, 0, 0))
    assert (recording["aux"].channel_names, recording["aux"].gain.tolist()) == (("ADC1",), [pytest.approx(150.0)])


def test_a_jump_of_the_sample_number_begins_a_segment(tmp_path):
    """Neo gives one stretch of 3072 samples, a third of them zeros."""
    path = continuous(tmp_path / "100_CH1.continuous", (0, full()), (2048, full(5)))
    (segments,) = [s.segments for s in read(path)[0].streams]
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in segments] == [(0.0, 1024), (2048 / 30000, 1024)]


def test_a_gap_of_one_sample_is_a_gap(tmp_path):
    path = continuous(tmp_path / "100_CH1.continuous", (0, full()), (1025, full()))
    assert len(read(path)[0]["wideband"].segments) == 2


def test_lines_messages_and_date(folder):
    recording = read(folder)[0]
    assert recording["ttl 100"].labels == ("0", "3")
    assert recording["ttl 100"].times_s == pytest.approx([2100 / 30000, 2500 / 30000])
    assert recording["ttl 100"].table["high_s"][0] == pytest.approx(0.01)
    assert recording["messages"].labels == ("hello",)
    assert recording.start == datetime(2024, 5, 1, 10, 0)


def test_events_of_version_0_1_are_placed_within_their_buffer(tmp_path):
    path = events(tmp_path / "all_channels.events", (2000, 100, 0, 1), version="0.1")
    assert read(path)[0]["ttl 100"].times_s.tolist() == [0.07]


def test_spikes_are_units_and_equal_those_of_neo(folder):
    from neo.rawio import OpenEphysRawIO

    spikes(folder / "STp0.0n0.spikes", (2100, 0), (2200, 1), (2300, 1))
    units = next(s for s in read(folder)[0].streams if isinstance(s, Units))
    assert units.table["kind"] == ("unsorted", "sorted")
    stock = OpenEphysRawIO(dirname=str(folder))
    stock.parse_header()
    for k, train in enumerate(units.spike_times_s):
        assert train == pytest.approx(stock.get_spike_timestamps(0, 0, k, 0, 1) / 30000)
        assert not stock.get_spike_timestamps(0, 0, k).size  # without bounds Neo takes samples for seconds


def test_an_experiment_is_one_drop_and_another_one_its_own(folder):
    continuous(folder / "100_CH1_2.continuous", (0, full()))
    continuous(folder / "100_CH2_2.continuous", (0, full()), channel="CH2")
    named = naming_files(folder)
    assert [path.name for path in named] == ["100_ADC1.continuous", "100_CH1_2.continuous"]
    assert len(openephys_legacy.files(named[0])) == 6
    assert [r.clock for r in read(folder)] == [folder.name, f"{folder.name} experiment2"]


def test_channels_of_two_rates_are_signals_of_their_own(tmp_path):
    continuous(tmp_path / "100_CH1.continuous", (0, full()))
    continuous(tmp_path / "101_CH1.continuous", (0, full()), rate_hz=1000)
    assert [(s.name, s.rate_hz) for s in read(tmp_path)[0].streams if isinstance(s, Signal)] == [
        ("wideband", 30000),
        ("lfp", 1000),
    ]


def test_a_name_that_two_channels_bear_is_numbered_and_noted(tmp_path):
    continuous(tmp_path / "100_CH1.continuous", (0, full()))
    continuous(tmp_path / "101_CH1.continuous", (0, full()))
    recording = read(tmp_path)[0]
    assert recording["wideband"].channel_names == ("CH1-0", "CH1-1")
    assert recording.repairs == ("2 channels are named 'CH1': 'CH1-0', 'CH1-1'",)


def test_a_record_without_its_marker_is_refused(tmp_path):
    path = continuous(tmp_path / "100_CH1.continuous", (0, full()), (1024, full()))
    raw = bytearray(path.read_bytes())
    raw[-1] = 7
    path.write_bytes(raw)
    with pytest.raises(FormatError, match="record 1 does not end with the marker"):
        read(path)


def test_half_a_record_at_the_end_is_left_out_and_noted(tmp_path):
    path = continuous(tmp_path / "100_CH1.continuous", (0, full()), (1024, full()))
    path.write_bytes(path.read_bytes()[:-500])
    recording = read(path)[0]
    assert recording["wideband"].n_samples == 1024
    assert "1570 bytes after the last whole record" in recording.repairs[0]
