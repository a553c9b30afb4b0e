import struct
import warnings
from datetime import datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, format_of, read
from neuroloom.ingest.formats import abf

REAL = (
    "electrode/abf/pyABF/171116sh_0011.abf",
    "electrode/abf/pyABF/17o05027_ic_ramp.abf",
    "electrode/abf/pyABF/180415_aaron_temp.abf",
    "electrode/abf/pyABF/2018_11_16_sh_0006.abf",
    "electrode/abf/pyABF/2018_12_09_pCLAMP11_0001.abf",
    "electrode/abf/pyABF/2020_06_16_0001.abf",
    "electrode/abf/pyABF/File_axon_3.abf",
    "electrode/abf/pyABF/File_axon_5.abf",
    "electrode/abf/pyABF/File_axon_7.abf",
    "electrode/abf/pyABF/multichannelAbf1WithTags.abf",
    "electrode/abf/pyABF/pclamp11_4ch.abf",
    "odd/abf/pyABF/180329_ts_0005-badUnits.abf",
    "odd/abf/pyABF/18425108_abf1.abf",
    "odd/abf/pyABF/2020_06_16_0000.abf",
    "odd/abf/pyABF/invalidDate-abf2.abf",
)
TO_MICROVOLTS = {"V": 1e6, "mV": 1e3, "uV": 1.0}


def abf1(path, values, *, n_channels=1, sweeps=(), tags=(), episodes=0, **fields):
    """An ABF 1 of int16 at 1 kHz per channel whose bit is 0.01 mV, with what is given written over it."""
    head = bytearray(6144)
    body = np.asarray(values, "<i2").tobytes()
    body += bytes(-len(body) % 512)
    at_sweeps = 12 + len(body) // 512
    listed = b"".join(struct.pack("<ii", *sweep) for sweep in sweeps).ljust(512, b"\0")
    noted = b"".join(struct.pack("<i56shh", tick, text.ljust(56), kind, 0) for tick, text, kind in tags)
    places = {
        0: b"ABF ", 4: struct.pack("<f", 1.8), 8: struct.pack("<h", 5), 10: struct.pack("<i", len(values)),
        16: struct.pack("<i", episodes), 20: struct.pack("<ii", 20240501, 36000), 40: struct.pack("<i", 12),
        44: struct.pack("<ii", at_sweeps + 1, len(tags)), 92: struct.pack("<ii", at_sweeps, len(sweeps)),
        120: struct.pack("<h", n_channels), 122: struct.pack("<f", 1000 / n_channels), 130: struct.pack("<f", 100.0),
        138: struct.pack("<i", len(values) // max(episodes, 1)), 244: struct.pack("<f", 10.0),
        252: struct.pack("<i", 1000), 410: struct.pack("<16h", *range(n_channels), *[-1] * (16 - n_channels)),
        442: b"".join(b"IN %-7d" % k for k in range(16)), 602: b"mV      " * 16,
        **{at: struct.pack("<16f", *[1.0] * 16) for at in (730, 922, 1050)},
    }  # fmt: skip
    for at, raw in (places | fields.get("over", {})).items():
        head[at : at + len(raw)] = raw
    path.write_bytes(bytes(head) + body + listed + noted)
    return path


def neo_of(path):
    from neo.rawio import AxonRawIO

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = AxonRawIO(str(path))
        stock.parse_header()
    return stock


def sweeps_of(signal):
    return [(s.timebase.start_s, s.timebase.n_samples) for s in signal.segments]


@pytest.mark.parametrize("name", REAL)
def test_sweeps_samples_and_gains_equal_those_of_neo(recordings_dir, name):
    stock, signals = (
        neo_of(recordings_dir / name),
        [s for s in read(recordings_dir / name)[0].streams if isinstance(s, Signal)],
    )
    channels = stock.header["signal_channels"]
    for k in range(stock.segment_count(0)):
        mine = np.hstack([s.segments[k].samples[:] for s in signals])
        assert np.array_equal(mine, stock.get_analogsignal_chunk(0, k, stream_index=0))
        assert signals[0].segments[k].timebase.start_s == pytest.approx(stock.get_signal_t_start(0, k, 0), abs=1e-9)
    assert len(signals[0].segments) == stock.segment_count(0)
    factor = np.array([TO_MICROVOLTS.get(unit, 1.0) for unit in channels["units"]])
    assert np.concatenate([s.gain for s in signals]) == pytest.approx(channels["gain"] * factor)
    assert np.concatenate([s.offset for s in signals]) == pytest.approx(channels["offset"] * factor)


def test_sweeps_keep_the_gaps_between_them(recordings_dir):
    signal = read(recordings_dir / "electrode/abf/pyABF/File_axon_3.abf")[0]["adc"]
    assert sweeps_of(signal)[:3] == [(0.0, 20644), (90.0, 20644), (180.0, 20644)]


def test_sweeps_of_any_length_begin_when_they_were_triggered(recordings_dir):
    signal = read(recordings_dir / "odd/abf/pyABF/2020_06_16_0000.abf")[0]["adc"]
    starts_s, lengths = zip(*sweeps_of(signal), strict=True)
    assert starts_s == pytest.approx((1.4479, 4.4979, 14.7479))
    assert lengths == (3540, 70040, 16040)


def test_tags_have_their_text_and_are_timed_in_synch_units(recordings_dir):
    """Neo says 721.5 s, in a recording of 300: it divides units of 12.5 µs by the rate of 20 kHz."""
    path = recordings_dir / "electrode/abf/pyABF/2018_11_16_sh_0006.abf"
    tags = read(path)[0]["tags"]
    assert (tags.times_s.tolist(), tags.labels) == ([pytest.approx(180.3776)], ("+drug at 3min",))
    stock = neo_of(path)
    wrong = stock.rescale_event_timestamp(stock.get_event_timestamps(0, 0, 0)[0], "float64", 0)
    assert wrong[0] == pytest.approx(721.5, abs=0.1)


def test_tags_of_version_1_have_their_text_and_time(recordings_dir):
    """As pyABF 2.3.8 gives them; Neo gives two empty tags at 0."""
    tags = read(recordings_dir / "electrode/abf/pyABF/multichannelAbf1WithTags.abf")[0]["tags"]
    assert tags.labels == ("+TGOT", "-TGOT")
    assert tags.times_s == pytest.approx([173.9776, 294.8608])


def test_a_date_that_is_none_is_none(recordings_dir):
    for name in ("invalidDate-abf1.abf", "invalidDate-abf2.abf"):
        assert read(recordings_dir / "odd/abf/pyABF" / name)[0].start is None


def test_sweeps_without_times_are_placed_as_the_protocol_says_and_it_is_noted(recordings_dir):
    """Neo makes one stretch of 6 s of these 50 sweeps."""
    recording = read(recordings_dir / "odd/abf/pyABF/invalidDate-abf1.abf")[0]
    assert sweeps_of(recording["adc"])[:2] == [(0.0, 2400), (0.12, 2400)]
    assert len(recording["adc"].segments) == 50
    assert recording.repairs == ("no times of its 50 sweeps: placed 0.12 s apart, as its protocol has them",)


def test_floats_are_values_already(recordings_dir):
    signal = read(recordings_dir / "electrode/abf/pyABF/File_axon_7.abf")[0]["adc"]
    assert (signal.segments[0].samples.dtype, signal.gain.tolist(), signal.unit) == (np.dtype("<f4"), [1.0], "pA")


def test_channels_are_taken_apart_and_sweeps_timed(tmp_path):
    path = abf1(tmp_path / "a.abf", range(12), n_channels=2, sweeps=[(0, 4), (20_000, 8)])
    recording = read(path)[0]
    signal = recording["adc"]
    assert (signal.channel_names, signal.unit, signal.gain.tolist()) == (("IN 0", "IN 1"), "uV", [10.0, 10.0])
    assert sweeps_of(signal) == [(0.0, 2), (2.0, 4)]
    assert signal.segments[1].samples[:].tolist() == [[4, 5], [6, 7], [8, 9], [10, 11]]
    assert recording.start == datetime(2024, 5, 1, 10, 0)


def test_what_an_external_trigger_tagged_is_sync(tmp_path):
    path = abf1(tmp_path / "a.abf", range(4), sweeps=[(0, 4)], tags=[(30, b"", 2), (10, b"drug", 1), (20, b"", 2)])
    recording = read(path)[0]
    assert recording["external tags"].times_s == pytest.approx([0.002, 0.003])
    assert recording["tags"].labels == ("drug",)


def test_a_file_that_is_cut_off_is_refused_and_said_to_be_incomplete(tmp_path):
    path = abf1(tmp_path / "a.abf", range(2000), sweeps=[(0, 2000)])
    path.write_bytes(path.read_bytes()[:7000])
    assert "cut off" in abf.incomplete(path)
    with pytest.raises(FormatError, match=r"a\.abf.*cut off"):
        read(path)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({120: struct.pack("<h", 99)}, "99 channels"),
        ({122: struct.pack("<f", float("nan"))}, "interval between samples is nan"),
        ({922: bytes(64)}, "has gain inf"),
        ({100: struct.pack("<h", 7)}, "data format 7"),
        ({10: struct.pack("<i", -5)}, "states -5 values"),
        ({96: struct.pack("<i", 1 << 30)}, "1073741824 sweeps"),
        ({92: struct.pack("<ii", 1 << 30, 1)}, "beyond its"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, over, said):
    path = abf1(tmp_path / "a.abf", range(40), sweeps=[(0, 40)], over=over)
    with pytest.raises(FormatError, match=said):
        read(path)


def test_sweeps_that_overlap_are_refused(tmp_path):
    path = abf1(tmp_path / "a.abf", range(40), sweeps=[(0, 20), (10, 20)])
    with pytest.raises(FormatError, match="before the one before it has ended"):
        read(path)


def test_four_letters_alone_are_no_abf(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"ABF is a format")
    assert format_of(tmp_path / "a.txt") is None
