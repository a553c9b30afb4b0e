"""Files written after TDT's description of its tanks, as Neo reads them too."""

import struct
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, Units, format_of, naming_files, read
from neuroloom.ingest.formats import tdt

START_S, RATE_HZ = 1_714_557_600.0, 24_414.0625
N = 64


def row(kind, store, channel, time_s, offset, *, n_bytes=0, code=0, form=0, rate_hz=RATE_HZ):
    return struct.pack("<ii4sHHdqif", 10 + n_bytes // 4, kind, store, channel, code, time_s, offset, form, rate_hz)


def onset(store, time_s, value):
    return struct.pack("<ii4sHHddif", 10, 0x101, store, 0, 0, START_S + time_s, value, 0, 0.0)


def store(name, kind, n_channels, form=0):
    entries = {
        "StoreName": name, "HeadName": name, "Enabled": 1, "CircType": 0, "NumChan": n_channels, "StrobeMode": 0,
        "TankEvType": kind, "NumPoints": N, "DataFormat": form, "SampleFreq": RATE_HZ,
    }  # fmt: skip
    return "".join(f"NAME={key};TYPE=S;VALUE={value};\n" for key, value in entries.items())


class Block:
    """A block that chunks, spikes and epocs are added to."""

    def __init__(self, folder, name="Tank_Block-1"):
        folder.mkdir(parents=True, exist_ok=True)
        self.stem, self.rows, self.data = folder / name, [], b""

    def chunk(self, name, channel, time_s, samples, dtype="<f4", form=0, rate_hz=RATE_HZ, kind=0x8101):
        raw = np.asarray(samples, dtype).tobytes()
        where = {"n_bytes": len(raw), "form": form, "rate_hz": rate_hz}
        self.rows.append(row(kind, name, channel, START_S + time_s, len(self.data), **where))
        self.data += raw
        return self

    def snip(self, name, channel, time_s, code):
        self.rows.append(row(0x8201, name, channel, START_S + time_s, len(self.data), n_bytes=4, code=code))
        self.data += bytes(4)
        return self

    def written(self, *stores):
        marks = row(0, b"", 0, 0.0, 0), row(0x8801, b"\x01", 0, START_S, 0)
        end = row(0x8801, b"\x02", 0, START_S + 10, 0)
        path = self.stem.with_suffix(".tsq")
        path.write_bytes(b"".join([*marks, *self.rows, end]))
        self.stem.with_suffix(".tev").write_bytes(self.data)
        self.stem.with_suffix(".Tbk").write_text("[STOREHDRITEM]".join([*stores, "[USERNOTEDELIMITER]"]))
        self.stem.with_suffix(".tdx").write_bytes(b"")
        return path


def neo_of(path):
    from neo.rawio import TdtRawIO

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = TdtRawIO(dirname=str(path.with_suffix(".Tbk")))
        stock.parse_header()
    return stock


def filled(folder):
    block = Block(folder / "Block-1")
    for k in range(3):
        for channel in (1, 2):
            block.chunk(b"Wav1", channel, k * N / RATE_HZ, np.arange(N) + 1000 * channel + N * k)
    block.snip(b"eNe1", 1, 0.5, 0).snip(b"eNe1", 1, 0.6, 2).snip(b"eNe1", 1, 0.7, 2)
    block.rows += [onset(b"Tick", 1.0, 1.0), onset(b"Tick", 2.0, 2.5)]
    return block.written(store("Wav1", 0x8101, 2), store("eNe1", 0x8201, 1), store("Tick", 0x101, 1))


@pytest.fixture
def whole(tmp_path):
    return filled(tmp_path)


def test_samples_and_spikes_equal_those_of_neo(whole):
    stock, recording = neo_of(whole), read(whole)[0]
    signal = recording["Wav1"]
    assert (signal.modality, signal.channel_names) == ("wideband", ("Wav1 1", "Wav1 2"))
    assert np.array_equal(signal.segments[0].samples[:], stock.get_analogsignal_chunk(0, 0, stream_index=0))
    assert signal.rate_hz == pytest.approx(RATE_HZ)
    units = next(s for s in recording.streams if isinstance(s, Units))
    assert (units.unit_names, units.table["kind"]) == (("eNe1 1#0", "eNe1 1#2"), ("unsorted", "sorted"))
    for k, train in enumerate(units.spike_times_s):
        assert train == pytest.approx(stock.get_spike_timestamps(0, 0, k))


def test_epocs_are_labelled_by_their_value(whole):
    """Neo labels them by the bits of it: 4612811918334230528 for 2.5."""
    ticks = read(whole)[0]["Tick"]
    assert (ticks.labels, ticks.modality) == (("1", "2.5"), "sync")
    assert ticks.times_s == pytest.approx([1.0, 2.0])
    assert neo_of(whole).get_event_timestamps(0, 0, 0)[2][1] == str(np.float64(2.5).view("<i8"))


def test_it_begins_when_the_block_starts(whole):
    assert read(whole)[0].start == datetime.fromtimestamp(START_S, UTC)


def test_units_that_are_not_stated_are_not_claimed(whole):
    recording = read(whole)[0]
    assert recording["Wav1"].unit == "a.u."
    assert "not stated" in recording.repairs[0]


def test_a_chunk_that_comes_late_begins_a_segment_that_neo_closes(tmp_path):
    block = Block(tmp_path).chunk(b"Wav1", 1, 0.0, range(N)).chunk(b"Wav1", 1, 1.0, range(N))
    path = block.written(store("Wav1", 0x8101, 1))
    spans = [(s.timebase.start_s, s.timebase.n_samples) for s in read(path)[0]["Wav1"].segments]
    assert spans == [(0.0, N), (pytest.approx(1.0), N)]
    assert neo_of(path).get_signal_size(0, 0, 0) == 2 * N


def test_samples_stay_as_they_were_saved(tmp_path):
    block = Block(tmp_path).chunk(b"Raw1", 1, 0.0, range(-8, 8), dtype="<i2", form=2)
    samples = read(block.written(store("Raw1", 0x8101, 1, 2)))[0]["Raw1"].segments[0].samples
    assert (samples.dtype, samples[:].ravel().tolist()) == (np.dtype("<i2"), list(range(-8, 8)))


def test_channels_in_files_of_their_own(tmp_path):
    block = Block(tmp_path).chunk(b"Raw1", 1, 0.0, range(N), kind=0x8111)
    path = block.written(store("Raw1", 0x8111, 1))
    with pytest.raises(FormatError, match=r"\.sev file of Raw1 channel 1"):
        read(path)
    (tmp_path / "Tank_Block-1_Raw1_ch1.sev").write_bytes(np.arange(100, 100 + N).astype("<f4").tobytes())
    recording = read(path)[0]
    assert recording["Raw1"].segments[0].samples[:2].ravel().tolist() == [100, 101]
    assert {f.suffix for f in recording.files} == {".tsq", ".tev", ".Tbk", ".tdx", ".sev"}


def test_a_tank_of_two_blocks_is_two_recordings(tmp_path):
    for name in ("Block-1", "Block-2"):
        Block(tmp_path / name, f"Tank_{name}").chunk(b"Wav1", 1, 0.0, range(N)).written(store("Wav1", 0x8101, 1))
    assert [path.name for path in naming_files(tmp_path)] == ["Tank_Block-1.tsq", "Tank_Block-2.tsq"]
    assert [r.clock for r in read(tmp_path)] == ["Tank_Block-1", "Tank_Block-2"]


def test_stores_of_two_rates_are_signals_of_their_own(tmp_path):
    block = Block(tmp_path).chunk(b"Wav1", 1, 0.0, range(N)).chunk(b"LFP1", 1, 0.0, range(N), rate_hz=1017.25)
    path = block.written(store("Wav1", 0x8101, 1), store("LFP1", 0x8101, 1))
    assert {s.name: s.modality for s in read(path)[0].streams if isinstance(s, Signal)} == {
        "LFP1": "lfp",
        "Wav1": "wideband",
    }


def test_data_still_on_their_way_are_refused(whole):
    whole.with_suffix(".tev").write_bytes(whole.with_suffix(".tev").read_bytes()[:-400])
    with pytest.raises(FormatError, match=r"\.tev.*still being copied"):
        read(whole)


def test_an_index_without_data_is_refused(whole):
    whole.with_suffix(".tev").unlink()
    with pytest.raises(FormatError, match="the data are wanted"):
        tdt.files(whole)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (row(0x8101, b"Wav1", 1, START_S, 0, n_bytes=1 << 20), "goes beyond"),
        (row(0x8101, b"Wav1", 1, START_S, -8, n_bytes=8), "goes beyond"),
        (row(0x8101, b"Wav1", 1, START_S, 0, n_bytes=8, form=9), "data formats"),
        (row(0x8101, b"Wav1", 1, START_S, 0, n_bytes=8, rate_hz=0.0), "at \\[0.0\\] Hz"),
        (row(0x8101, b"Wav1", 1, float("nan"), 0, n_bytes=8), "entry is at"),
        (row(0x8101, b"Wav1", 1, 5.0, 0, n_bytes=8), "entry is at"),
    ],
)
def test_entries_that_lie_are_refused(tmp_path, entry, said):
    block = Block(tmp_path)
    block.rows, block.data = [entry], bytes(64)
    with pytest.raises(FormatError, match=said):
        read(block.written(store("Wav1", 0x8101, 1)))


def test_entries_of_forty_bytes_alone_are_no_tank(tmp_path):
    (tmp_path / "a.tsq").write_bytes(bytes(400))
    assert format_of(tmp_path / "a.tsq") is None
