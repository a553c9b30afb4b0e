"""Files written after CED's description of the SON filing system, as Neo reads them too."""

import struct
from datetime import datetime

import numpy as np
import pytest

from neuroloom.ingest import Events, FormatError, Signal, Units, format_of, read

TICK_S = 1e-5


def pascal(word, n):
    return bytes([len(word)]) + word.ljust(n - 1)


def adc(title, blocks, *, divide=100, unit=b"mV", scale=6.5536, offset=1.0):
    """blocks: (tick, samples); a sample every `divide` ticks, 0.001 units per bit."""
    written = [(t, t + divide * (len(s) - 1), np.asarray(s, "<i2").tobytes(), len(s)) for t, s in blocks]
    return (1, title, struct.pack("<ff", scale, offset) + pascal(unit, 6), divide, 0, written)


def marks(kind, title, rows, *, extra=0, head=b""):
    """rows: (tick, codes, what follows)."""
    body = b"".join(
        struct.pack("<i", tick) + (bytes(codes) if kind >= 5 else b"") + rest.ljust(extra) for tick, codes, rest in rows
    )
    return (kind, title, head, 1, extra, [(rows[0][0], rows[-1][0], body, len(rows))])


def son(path, *channels, system=9, us_per_time=10, **lies):
    """Blocks of 512 bytes from byte 4096 on, every block of a channel naming the next."""
    unit, at = (512 if system == 9 else 1), 4096
    rows, body = b"", b""
    for kind, title, head, divide, extra, blocks in channels:
        places = []
        for _, _, raw, _ in blocks:
            places.append(at)
            at += -(-(20 + len(raw)) // 512) * 512
        for k, (first, last, raw, n) in enumerate(blocks):
            after = places[k + 1] // unit if k + 1 < len(places) else -1
            whole = struct.pack("<iiiiHH", -1, lies.get("after", after), first, last, 1, n) + raw
            body += whole + bytes(-len(whole) % 512)
        row = struct.pack("<hiiiHHhHhh", 0, -1, places[0] // unit, places[-1] // unit, len(blocks), extra, 0, 0, 0, 0)
        row += (
            bytes(72) + struct.pack("<iih", 0, divide, 0) + pascal(title, 10) + struct.pack("<fBb", 0.0, kind, 0) + head
        )
        rows += row.ljust(140, b"\0")
    date = bytes([50, 30, 20, 10, 1, 5])
    head = struct.pack("<h10s8shhhi", system, b"(C) CED 87", b"", us_per_time, 1, 0, 0)
    head += struct.pack("<hhhhhid", lies.get("n_channels", len(channels)), 0, 0, 0, lies.get("os", 0), 0, 1e-6)
    head += date + struct.pack("<h", 2024)
    path.write_bytes((head.ljust(512, b"\0") + rows).ljust(4096, b"\0") + body)
    return path


def neo_of(path):
    from neo.rawio import Spike2RawIO

    stock = Spike2RawIO(filename=str(path))
    stock.parse_header()
    return stock


def filled(folder):
    """A waveform of 1 kHz with a pause, and a channel of every other kind."""
    return son(
        folder / "a.smr",
        adc(b"Press", [(0, range(100)), (10_000, range(100, 150)), (50_000, range(5))]),
        marks(3, b"Rise", [(10, (), b""), (20, (), b"")]),
        marks(4, b"Level", [(1000, (), b""), (1500, (), b""), (3000, (), b"")], head=b"\1\0"),
        marks(5, b"DigMark", [(5, (7, 0, 0, 0), b""), (6, (9, 1, 0, 0), b"")]),
        marks(6, b"Spikes", [(100, (0, 0, 0, 0), b""), (200, (2, 0, 0, 0), b""), (300, (2, 0, 0, 0), b"")], extra=64),
        marks(8, b"Notes", [(400, (0, 0, 0, 0), b"drug on\0")], extra=20),
    )


@pytest.fixture
def whole(tmp_path):
    return filled(tmp_path)


def test_samples_gains_and_pauses_equal_those_of_neo(whole):
    stock, signal = neo_of(whole), read(whole)[0]["Press"]
    assert [s.timebase.n_samples for s in signal.segments] == [150, 5]
    assert [s.timebase.start_s for s in signal.segments] == pytest.approx([0.0, 0.5])
    for k, segment in enumerate(signal.segments):
        assert np.array_equal(segment.samples[:], stock.get_analogsignal_chunk(0, k, stream_index=0))
        assert segment.timebase.start_s == pytest.approx(stock.get_signal_t_start(0, k, 0))
    channels = stock.header["signal_channels"]
    assert signal.gain == pytest.approx(channels["gain"] * 1e3)
    assert signal.offset == pytest.approx(channels["offset"] * 1e3)
    assert (signal.unit, signal.rate_hz) == ("uV", pytest.approx(channels["sampling_rate"][0]))


def test_events_and_markers(whole):
    recording, stock = read(whole)[0], neo_of(whole)
    names = list(stock.header["event_channels"]["name"])
    assert recording["Rise"].times_s == pytest.approx(stock.get_event_timestamps(0, 0, names.index("Rise"))[0] * TICK_S)
    assert (recording["DigMark"].labels, recording["DigMark"].modality) == (("7", "9"), "sync")
    assert recording["DigMark"].table["codes"] == ("7 0 0 0", "9 1 0 0")
    assert (recording["Notes"].labels, recording["Notes"].modality) == (("drug on",), "events")


def test_a_level_gives_its_rises_and_how_long_it_was_high(whole):
    level = read(whole)[0]["Level"]
    assert level.times_s == pytest.approx([0.01, 0.03])
    assert level.table["high_s"] == pytest.approx((0.005, np.nan), nan_ok=True)


def test_spikes_are_units_by_code_and_equal_those_of_neo(whole):
    stock, units = neo_of(whole), next(s for s in read(whole)[0].streams if isinstance(s, Units))
    assert (units.unit_names, units.table["kind"]) == (("Spikes#0", "Spikes#2"), ("unsorted", "sorted"))
    for k, train in enumerate(units.spike_times_s):
        assert train == pytest.approx(stock.get_spike_timestamps(0, 0, k) * TICK_S)


def test_events_outside_the_samples_are_kept(tmp_path):
    """Neo leaves out both."""
    rows = [(10, (), b""), (90_000, (), b"")]
    path = son(tmp_path / "a.smr", adc(b"Press", [(1000, range(10))]), marks(3, b"Rise", rows))
    assert read(path)[0]["Rise"].times_s == pytest.approx([1e-4, 0.9])
    assert not neo_of(path).get_event_timestamps(0, 0, 0)[0].size


def test_channels_that_pause_differently_are_signals_of_their_own(tmp_path):
    path = son(
        tmp_path / "a.smr",
        adc(b"One", [(0, range(10)), (5000, range(10))]),
        adc(b"Two", [(0, range(10)), (1000, range(10))]),
    )
    found = {s.name: len(s.segments) for s in read(path)[0].streams if isinstance(s, Signal)}
    assert found == {"One": 2, "Two": 1}


def test_channels_of_one_pattern_are_one_signal(tmp_path):
    path = son(tmp_path / "a.smr", adc(b"WB1", [(0, range(9))], divide=5), adc(b"WB2", [(0, range(9))], divide=5))
    (signal,) = read(path)[0].streams
    assert (signal.name, signal.modality, signal.channel_names) == ("wideband", "wideband", ("WB1", "WB2"))


def test_a_title_that_two_channels_bear_is_numbered_and_noted(tmp_path):
    path = son(tmp_path / "a.smr", adc(b"WB", [(0, range(9))], divide=5), adc(b"WB", [(0, range(9))], divide=5))
    recording = read(path)[0]
    assert recording["wideband"].channel_names == ("WB-0", "WB-1")
    assert recording.repairs == ("2 channels are named 'WB': 'WB-0', 'WB-1'",)


def test_a_version_of_bytes_instead_of_blocks(tmp_path):
    path = son(tmp_path / "a.smr", adc(b"Press", [(0, range(10))]), system=8)
    assert read(path)[0]["Press"].n_samples == 10
    assert np.array_equal(neo_of(path).get_analogsignal_chunk(0, 0, 0, 10).ravel(), np.arange(10))


def test_a_date_is_kept(whole):
    assert read(whole)[0].start == datetime(2024, 5, 1, 10, 20, 30, 500_000)


def test_a_chain_that_leads_out_of_the_file_ends_there_and_is_noted(tmp_path):
    path = son(tmp_path / "a.smr", adc(b"Press", [(0, range(10)), (1000, range(10))]), after=1 << 20)
    recording = read(path)[0]
    assert recording["Press"].n_samples == 10
    assert "lies beyond the file" in recording.repairs[0]


def test_a_chain_that_turns_back_is_refused(tmp_path):
    path = son(tmp_path / "a.smr", adc(b"Press", [(0, range(10)), (1000, range(10))]), after=8)
    with pytest.raises(FormatError, match="before the one before it has ended"):
        read(path)


@pytest.mark.parametrize(
    ("lies", "said"),
    [({"os": 1}, "Macintosh"), ({"n_channels": 999}, "cut off"), ({"us_per_time": 0}, "ticks of 0")],
)
def test_headers_that_lie_are_refused(tmp_path, lies, said):
    path = son(tmp_path / "a.smr", adc(b"Press", [(0, range(10))]), **lies)
    assert format_of(path) == "spike2"
    with pytest.raises(FormatError, match=said):
        read(path)


def test_every_stream_is_of_the_file(whole):
    assert [type(s).__name__ for s in read(whole)[0].streams].count("Events") == 4
    assert all(isinstance(s, Signal | Events | Units) for s in read(whole)[0].streams)
