"""Files written after Plexon's own header file (Plexon.h), as Neo reads them too."""

import struct
from datetime import datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, format_of, read

TICK_HZ = 40_000


def plx(
    path, *blocks, slow=(), spike=(), event=(), version=106, tick_hz=TICK_HZ, date=(2024, 5, 1, 10, 20, 30), **lies
):
    """slow: (channel, name, Hz); spike, event: (channel, name); blocks: (type, tick, channel, unit, samples)."""
    n_slow = lies.get("n_slow", len(slow))
    head = struct.pack(
        "<4si128s4i2i6iii", b"PLEX", version, b"", tick_hz, len(spike), len(event), n_slow, 32, 8, *date, 0, tick_hz
    )
    head += struct.pack("<d4B3H46x", 1e6, 1, 1, 12, 16, 3000, 5000, 1000) + bytes(4 * 1812)
    assert len(head) == 7504
    for channel, name in spike:
        head += struct.pack("<32s32s5i", name, b"", channel, 0, 0, 0, 1).ljust(1020, b"\0")
    for channel, name in event:
        head += struct.pack("<32si", name, channel).ljust(296, b"\0")
    for channel, name, rate_hz in slow:
        head += struct.pack("<32s6i", name, channel, rate_hz, lies.get("gain", 10), 1, 100, 0).ljust(296, b"\0")
    body = b""
    for kind, tick, channel, unit, samples in blocks:
        raw = np.asarray(samples, "<i2").tobytes()
        body += (
            struct.pack("<HHIHHHH", kind, tick >> 32, tick & 0xFFFFFFFF, channel, unit, bool(raw), len(raw) // 2) + raw
        )
    path.write_bytes(head + body[: len(body) - lies.get("cut", 0)])
    return path


def slow(tick, channel, samples):
    return (5, tick, channel, 0, samples)


def neo_of(path):
    from neo.rawio import PlexonRawIO

    stock = PlexonRawIO(filename=str(path), progress_bar=False)
    stock.parse_header()
    return stock


def filled(folder):
    """Two channels of 1 kHz without a gap, spikes of two classes, a strobed word and a line."""
    blocks = [slow(40 * 100 * k, c, np.arange(100) + 100 * k + 1000 * c) for k in range(3) for c in (0, 1)]
    blocks += [(1, 400, 1, 0, np.arange(32)), (1, 800, 1, 1, np.arange(32)), (1, 900, 1, 1, np.arange(32))]
    blocks += [(4, 2000, 257, 77, []), (4, 4000, 1, 0, []), (4, 8000, 258, 0, [])]
    return plx(
        folder / "a.plx",
        *blocks,
        slow=[(0, b"FP01", 1000), (1, b"FP02", 1000), (2, b"FP03", 1000)],
        spike=[(1, b"sig001")],
        event=[(1, b"Event001"), (257, b"Strobed"), (258, b"Start")],
    )


@pytest.fixture
def whole(tmp_path):
    return filled(tmp_path)


def test_samples_and_units_equal_those_of_neo(whole):
    stock, recording = neo_of(whole), read(whole)[0]
    signal = recording["FP"]
    assert (signal.modality, signal.channel_names) == ("lfp", ("FP01", "FP02"))
    mine = signal.segments[0].samples[:]
    assert np.array_equal(mine[:299], stock.get_analogsignal_chunk(0, 0, 0, 299, stream_index=0))
    assert not stock.get_analogsignal_chunk(0, 0, 0, 300, stream_index=0)[
        200:
    ].any()  # asked for all, Neo loses a block
    assert mine[299].tolist() == [299, 1299]
    units = recording["units"]
    assert units.unit_names == ("sig001#0", "sig001#1")
    for k, train in enumerate(units.spike_times_s):
        assert train == pytest.approx(stock.get_spike_timestamps(0, 0, k) / TICK_HZ)


def test_gains_count_the_bits_of_slow_samples(whole):
    """5000 mV over half of 16 bits, through 10 times 100. Neo counts the 12 bits of spikes: 16 times as much."""
    assert read(whole)[0]["FP"].gain == pytest.approx(1e3 * 5000 / (2**15 * 1000))
    assert neo_of(whole).header["signal_channels"]["gain"][0] == pytest.approx(16 * 5000 / (2**15 * 1000))


def test_events_equal_those_of_neo(whole):
    recording, stock = read(whole)[0], neo_of(whole)
    names = list(stock.header["event_channels"]["name"])
    for name in ("Strobed", "Event001", "Start"):
        ticks, _, labels = stock.get_event_timestamps(0, 0, names.index(name))
        assert recording[name].times_s == pytest.approx(ticks / TICK_HZ)
        if name == "Strobed":
            assert recording[name].labels == tuple(labels) == ("77",)
    assert [recording[name].modality for name in ("Strobed", "Event001", "Start")] == ["sync", "sync", "events"]


def test_a_date_is_kept(whole):
    assert read(whole)[0].start == datetime(2024, 5, 1, 10, 20, 30)


def test_a_pause_begins_a_segment_that_neo_closes(tmp_path):
    blocks = [slow(4000, 0, range(100)), slow(8000, 0, range(100, 200)), slow(80_000, 0, range(200, 300))]
    path = plx(tmp_path / "a.plx", *blocks, slow=[(0, b"WB01", 1000)])
    signal = read(path)[0]["WB"]
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in signal.segments] == [(0.1, 200), (2.0, 100)]
    stock = neo_of(path)
    assert (stock.segment_count(0), stock.get_signal_t_start(0, 0, 0), stock.get_signal_size(0, 0, 0)) == (1, 0.0, 300)


def test_ticks_of_five_bytes_are_whole(tmp_path):
    path = plx(tmp_path / "a.plx", slow((1 << 32) + 40, 0, range(10)), slow=[(0, b"WB01", 1000)])
    assert read(path)[0]["WB"].start_s == pytest.approx(((1 << 32) + 40) / TICK_HZ)


def test_channels_of_other_lengths_are_signals_of_their_own(tmp_path):
    """Neo refuses them."""
    blocks = [slow(0, 0, range(10)), slow(0, 1, range(20))]
    path = plx(tmp_path / "a.plx", *blocks, slow=[(0, b"AI01", 1000), (1, b"AI02", 1000)])
    found = [(s.name, s.modality, s.n_samples) for s in read(path)[0].streams if isinstance(s, Signal)]
    assert found == [("AI-0", "aux", 10), ("AI-1", "aux", 20)]
    with pytest.raises(Exception, match="same number of samples"):
        neo_of(path)


def test_a_name_that_two_channels_bear_is_numbered_and_noted(tmp_path):
    blocks = [slow(0, 0, range(10)), slow(0, 1, range(10))]
    path = plx(tmp_path / "a.plx", *blocks, slow=[(0, b"FP01", 1000), (1, b"FP01", 1000)])
    recording = read(path)[0]
    assert recording["FP"].channel_names == ("FP01-0", "FP01-1")
    assert recording.repairs == ("2 channels are named 'FP01': 'FP01-0', 'FP01-1'",)


def test_a_block_cut_off_is_left_out_and_noted(tmp_path):
    path = plx(tmp_path / "a.plx", slow(0, 0, range(10)), slow(400, 0, range(10)), slow=[(0, b"WB01", 1000)], cut=5)
    recording = read(path)[0]
    assert recording["WB"].n_samples == 10
    assert recording.repairs == ("31 bytes after the last whole data block left out",)


@pytest.mark.parametrize(
    ("lies", "said"),
    [
        ({"n_slow": 1 << 20}, "n_slow is 1048576"),
        ({"n_slow": 60_000}, "cut off"),
        ({"gain": 0}, "gain of 0"),
        ({"tick_hz": 0}, "ticks per second"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path, lies, said):
    path = plx(tmp_path / "a.plx", slow(0, 0, range(10)), slow=[(0, b"WB01", 1000)], **lies)
    with pytest.raises(FormatError, match=said):
        read(path)


def test_blocks_that_overlap_are_refused(tmp_path):
    path = plx(tmp_path / "a.plx", slow(0, 0, range(10)), slow(40, 0, range(10)), slow=[(0, b"WB01", 1000)])
    with pytest.raises(FormatError, match="before the one before it has ended"):
        read(path)


def test_four_letters_alone_are_no_plx(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"PLEX and more")
    assert format_of(tmp_path / "a.txt") is None
