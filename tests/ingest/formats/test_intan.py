"""Files written after Intan's application notes on their data file formats, as Neo reads them too."""

import struct
from datetime import datetime

import numpy as np
import pytest

from neuroloom.ingest import Events, FormatError, format_of, naming_files, read
from neuroloom.ingest.formats import intan

RATE_HZ = 20_000


def text(word):
    raw = word.encode("utf-16-le")
    return struct.pack("<I", len(raw)) + raw


def channel(native, kind, order=0, *, rhs=False, ohm=1000.0):
    numbers = [order, order, kind, 1, 0, 0, *([0] if rhs else []), 0, 0, 0, 0]
    return text(native) + text(native) + struct.pack(f"<{len(numbers)}hff", *numbers, ohm, 0.0)


def rhd_header(channels, *, version=(3, 0), rate_hz=RATE_HZ, board=0, n_temperature=0, notch=0):
    head = struct.pack("<Ihhfh6fhff", 0xC6912702, *version, rate_hz, 1, *[1.0] * 6, notch, 1000.0, 1000.0)
    head += text("") * 3 + struct.pack("<hh", n_temperature, board) + text("n/a") + struct.pack("<h", 1)
    return head + text("Port A") + text("A") + struct.pack("<hhh", 1, len(channels), 0) + b"".join(channels)


def rhs_header(channels, *, has_dc=1, step_A=1e-6):
    head = struct.pack("<Ihhfh8fhffhh3f", 0xD69127AC, 3, 0, RATE_HZ, 1, *[1.0] * 8, 0, 1e3, 1e3, 0, 0, step_A, 1.0, 1.0)
    head += text("") * 3 + struct.pack("<hh", has_dc, 0) + text("n/a") + struct.pack("<h", 1)
    return head + text("Port A") + text("A") + struct.pack("<hhh", 1, len(channels), 0) + b"".join(channels)


CHANNELS = [channel("A-000", 0), channel("A-001", 0), channel("AUX1", 1), channel("VDD", 2), channel("ADC-0", 3),
            channel("DIN-01", 4, 1), channel("DIN-03", 4, 3)]  # fmt: skip


def block(number, n=128):
    """A block of 128: amplifiers count from 32768, the auxiliary from 0, line 1 up from the tenth to the twentieth."""
    word = np.zeros(n, "<u2")
    word[10:20] = 2
    word[15:18] |= 8
    return b"".join([
        np.arange(number, number + n).astype("<i4").tobytes(),
        (32768 + np.arange(2 * n)).astype("<u2").tobytes(),
        np.arange(n // 4).astype("<u2").tobytes(),
        np.array([44118], "<u2").tobytes(),
        np.full(n, 20000, "<u2").tobytes(),
        word.tobytes(),
    ])  # fmt: skip


def rhd(path, *numbers, **stated):
    path.write_bytes(rhd_header(CHANNELS, **stated) + b"".join(block(number) for number in numbers))
    return path


def neo_of(path):
    from neo.rawio import IntanRawIO

    stock = IntanRawIO(filename=str(path))
    stock.parse_header()
    return stock


def stream_of(stock, name):
    return list(stock.header["signal_streams"]["name"]).index(name)


@pytest.fixture
def whole(tmp_path):
    return rhd(tmp_path / "run_240501_102030.rhd", 0, 128, 256)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("amplifier", "RHD2000 amplifier channel"),
        ("auxiliary", "RHD2000 auxiliary input channel"),
        ("supply", "RHD2000 supply voltage channel"),
        ("adc", "USB board ADC input channel"),
    ],
)
def test_samples_gains_and_rates_equal_those_of_neo(whole, kind, name):
    stock, signal = neo_of(whole), read(whole)[0][kind]
    index = stream_of(stock, name)
    channels = stock.header["signal_channels"][
        stock.header["signal_channels"]["stream_id"] == stock.header["signal_streams"]["id"][index]
    ]
    assert np.array_equal(signal.segments[0].samples[:], stock.get_analogsignal_chunk(0, 0, stream_index=index))
    assert signal.channel_names == tuple(channels["id"])
    assert signal.gain == pytest.approx(channels["gain"])
    assert signal.offset == pytest.approx(channels["offset"])
    assert signal.rate_hz == pytest.approx(channels["sampling_rate"][0])


def test_values_are_as_intan_says(whole):
    recording = read(whole)[0]
    assert recording["amplifier"].values()[0][:2, 0] == pytest.approx([0.0, 0.195])
    assert recording["supply"].values()[0][0, 0] == pytest.approx(3.3, abs=1e-4)
    assert recording["amplifier"].table["impedance_ohm"] == (1000.0, 1000.0)


def test_any_slice_of_blocks_is_that_of_the_whole(whole):
    samples = read(whole)[0]["amplifier"].segments[0].samples
    everything = samples[:]
    for part in (slice(0, 1), slice(127, 129), slice(5, 300, 7), slice(200, 384), slice(9, 9)):
        assert np.array_equal(samples[part], everything[part])


def test_lines_that_go_up_bear_the_name_of_their_channel(whole):
    lines = next(s for s in read(whole)[0].streams if isinstance(s, Events))
    assert (lines.name, lines.modality, lines.labels[:2]) == ("din", "sync", ("DIN-01", "DIN-03"))
    assert lines.times_s[:2] == pytest.approx([10 / RATE_HZ, 15 / RATE_HZ])
    assert lines.table["high_s"][:2] == pytest.approx((10 / RATE_HZ, 3 / RATE_HZ))


def test_numbers_that_jump_are_a_gap(tmp_path):
    path = rhd(tmp_path / "a.rhd", 0, 128, 1000)
    recording = read(path)[0]
    spans = [(s.timebase.start_s, s.timebase.n_samples) for s in recording["amplifier"].segments]
    assert spans == [(0.0, 256), (1000 / RATE_HZ, 128)]
    assert [s.timebase.n_samples for s in recording["auxiliary"].segments] == [64, 32]
    with pytest.raises(Exception, match="Timestamps are not continuous"):
        neo_of(path)


def test_a_name_that_two_channels_bear_is_numbered_and_noted(tmp_path):
    head = rhd_header([channel("A-000", 0), channel("A-000", 0), *CHANNELS[2:]])
    (tmp_path / "a.rhd").write_bytes(head + block(0))
    recording = read(tmp_path / "a.rhd")[0]
    assert recording["amplifier"].channel_names == ("A-000-0", "A-000-1")
    assert recording.repairs == ("amplifier: 2 channels are named 'A-000': 'A-000-0', 'A-000-1'",)


def test_files_that_go_on_are_one_recording(tmp_path):
    first = rhd(tmp_path / "run_240501_102030.rhd", 0, 128)
    rhd(tmp_path / "run_240501_102130.rhd", 256, 384)
    other = rhd(tmp_path / "run_240501_110000.rhd", 0)
    assert naming_files(tmp_path) == [first, other]
    recording = read(first)[0]
    assert [s.timebase.n_samples for s in recording["amplifier"].segments] == [512]
    assert recording["amplifier"].segments[0].samples[255:257].tolist() == [[32895, 33023], [32768, 32896]]
    assert recording.start == datetime(2024, 5, 1, 10, 20, 30)


def test_a_recording_before_its_trigger_begins_below_0(tmp_path):
    recording = read(rhd(tmp_path / "a.rhd", -128, 0))[0]
    assert recording["amplifier"].start_s == -128 / RATE_HZ


def test_version_1_has_blocks_of_60_and_no_reference(tmp_path):
    head = struct.pack("<Ihhfh6fhff", 0xC6912702, 1, 0, RATE_HZ, 1, *[1.0] * 6, 0, 1000.0, 1000.0) + text("") * 3
    head += struct.pack("<h", 1) + text("Port A") + text("A") + struct.pack("<hhh", 1, 1, 1) + channel("A-000", 0)
    body = np.arange(60).astype("<u4").tobytes() + np.arange(60).astype("<u2").tobytes()
    (tmp_path / "a.rhd").write_bytes(head + body)
    signal = read(tmp_path / "a.rhd")[0]["amplifier"]
    assert signal.segments[0].samples[:].ravel().tolist() == list(range(60))
    assert np.array_equal(signal.segments[0].samples[:], neo_of(tmp_path / "a.rhd").get_analogsignal_chunk(0, 0))


def test_temperatures_are_hundredths_of_a_degree(tmp_path):
    channels = [channel("A-000", 0)]
    body = np.arange(128).astype("<i4").tobytes() + bytes(256) + np.array([2512], "<i2").tobytes()
    (tmp_path / "a.rhd").write_bytes(rhd_header(channels, n_temperature=1) + body)
    assert read(tmp_path / "a.rhd")[0]["temperature"].values()[0].tolist() == [[pytest.approx(25.12)]]


def test_stimulation_and_dc_of_a_stimulator(tmp_path):
    """Intan's own reader: volts = -0.01923 * (word - 512). Neo has it the other way round."""
    channels = [channel("A-000", 0, rhs=True)]
    words = np.zeros(128, "<u2")
    words[[3, 4, 5]] = [5, 0x100 | 7, 0x8000 | 2]
    body = np.arange(128).astype("<i4").tobytes() + np.full(128, 32768, "<u2").tobytes()
    body += np.full(128, 612, "<u2").tobytes() + words.tobytes()
    path = tmp_path / "a.rhs"
    path.write_bytes(rhs_header(channels) + body)
    recording, stock = read(path)[0], neo_of(path)
    assert recording["stim"].values()[0][3:6, 0] == pytest.approx([5.0, -7.0, 2.0])
    assert recording["stim"].unit == "uA"
    theirs = stock.get_analogsignal_chunk(0, 0, stream_index=stream_of(stock, "Stim channel"))
    assert np.array_equal(recording["stim"].segments[0].samples[:], theirs)
    assert recording["dc"].values()[0][0, 0] == pytest.approx(-1.923)


@pytest.fixture(params=["signal", "channel"])
def apart(request, tmp_path):
    """The header alone, with a file per kind or per channel beside it."""
    folder = tmp_path / "run_240501_102030"
    folder.mkdir()
    (folder / "info.rhd").write_bytes(rhd_header(CHANNELS))
    np.r_[0:200, 300:400].astype("<i4").tofile(folder / "time.dat")
    amplifiers, word = np.arange(-300, 300).reshape(300, 2).astype("<i2"), np.zeros(300, "<u2")
    word[10:20], word[310 - 100 :] = 2, 8
    if request.param == "signal":
        amplifiers.tofile(folder / "amplifier.dat")
        word.tofile(folder / "digitalin.dat")
        np.full(300, 7, "<u2").tofile(folder / "analogin.dat")
    else:
        for k in range(2):
            np.ascontiguousarray(amplifiers[:, k]).tofile(folder / f"amp-A-00{k}.dat")
        for bit in (1, 3):
            (word >> bit & 1).astype("<u2").tofile(folder / f"board-DIN-0{bit}.dat")
        np.full(300, 7, "<u2").tofile(folder / "board-ADC-0.dat")
    return folder / "info.rhd"


def test_samples_in_files_of_their_own(apart):
    recording = read(apart)[0]
    signal = recording["amplifier"]
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in signal.segments] == [(0.0, 200), (0.015, 100)]
    assert signal.segments[0].samples[:2].tolist() == [[-300, -299], [-298, -297]]
    assert signal.values()[0][0].tolist() == [pytest.approx(-58.5), pytest.approx(-58.305)]
    assert recording["din"].labels == ("DIN-01", "DIN-03")
    assert recording["din"].times_s == pytest.approx([10 / RATE_HZ, 310 / RATE_HZ])
    assert recording["adc"].segments[0].samples[:1].tolist() == [[7]]
    assert recording.start == datetime(2024, 5, 1, 10, 20, 30)


def test_their_folder_is_one_drop(apart):
    assert naming_files(apart.parent) == [apart]
    assert set(intan.files(apart)) == set(apart.parent.iterdir())


def test_a_block_cut_off_is_left_out_and_noted(whole):
    whole.write_bytes(whole.read_bytes()[:-10])
    recording = read(whole)[0]
    assert recording["amplifier"].n_samples == 256
    assert "after the last whole data block" in recording.repairs[0]


def test_a_header_that_lies_is_refused(tmp_path):
    whole = rhd_header(CHANNELS)
    lies = {
        "ends early": whole[:100],
        "sampled at -1.0 Hz": rhd_header(CHANNELS, rate_hz=-1.0),
        "is of kind 9": rhd_header([channel("A", 9)]),
        "a text of": whole[:48] + struct.pack("<I", 1 << 30) + whole[52:],
        "no whole data block": whole,
    }
    for said, raw in lies.items():
        (tmp_path / "a.rhd").write_bytes(raw)
        assert format_of(tmp_path / "a.rhd") == "intan"
        with pytest.raises(FormatError, match=said):
            read(tmp_path / "a.rhd")
