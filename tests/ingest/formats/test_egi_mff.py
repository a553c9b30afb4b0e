import struct

import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, format_of, read
from neuroloom.ingest.formats import _xml, egi_mff

FOLDER = "eeg/egi_mff/mne-testing-data"
PAUSED, AVERAGED = f"{FOLDER}/test_egi_multiepoch_paused.mff", f"{FOLDER}/test_egi_evoked.mff"
START = "2020-01-01T10:00:00.000000+00:00"
OUTSIDE = '<!DOCTYPE x SYSTEM "file:///etc/passwd">'
ENTITY = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # mffpy leaves files open


def blocks_file(path, *blocks, rate=100, bits=32, header_bytes=None, offsets=None, n_channels=2, repeats=()):
    """Blocks (C, n) of numbers; those of `repeats` have no header of their own."""
    raw = b""
    for k, values in enumerate(blocks):
        c, n = values.shape
        if k in repeats:
            raw += struct.pack("<i", 0)
        else:
            size = 16 + 8 * c if header_bytes is None else header_bytes
            raw += struct.pack("<4i", 1, size, 4 * c * n, c if n_channels == 2 else n_channels)
            raw += struct.pack(f"<{c}i", *([4 * n * j for j in range(c)] if offsets is None else offsets))
            raw += struct.pack(f"<{c}i", *[rate << 8 | bits] * c)
        raw += values.astype("<f4").tobytes()
    path.write_bytes(raw)


def counting(first, n):
    """Two channels: the number of the sample, and ten times it."""
    return np.array([np.arange(first, first + n), 10 * np.arange(first, first + n)])


def mff_folder(
    folder, *, epochs=((0, 100_000, 1, 1),), blocks=None, start=START, events="", extra=None, gains="", **of_blocks
):
    path = folder / "x.mff"
    path.mkdir()
    texts = {
        "info.xml": f"<fileInfo><mffVersion>3</mffVersion><recordTime>{start}</recordTime></fileInfo>",
        "info1.xml": f"<dataInfo><fileDataType><EEG/></fileDataType>{gains}</dataInfo>",
        "epochs.xml": "<epochs>" + "".join(
            f"<epoch><beginTime>{a}</beginTime><endTime>{b}</endTime><firstBlock>{c}</firstBlock>"
            f"<lastBlock>{d}</lastBlock></epoch>" for a, b, c, d in epochs
        ) + "</epochs>",
        "sensorLayout.xml": "<s>" + "".join(
            f"<sensor><name>{n}</name><number>{k}</number><type>{t}</type></sensor>"
            for k, n, t in ((1, "", 0), (2, "VREF", 1), (3, "Nasion", 2))
        ) + "</s>",
    }  # fmt: skip
    if events:
        texts["Events_a.xml"] = f"<eventTrack><name>track</name>{events}</eventTrack>"
    for name, text in (texts | (extra or {})).items():
        (path / name).write_text(text)
    blocks_file(path / "signal1.bin", *(blocks or [counting(0, 10)]), **of_blocks)
    return path


def event(time, code, more=""):
    begin = f"<beginTime>2020-01-01T10:00:{time}+00:00</beginTime>"
    return f"<event>{begin}<duration>2000</duration><code>{code}</code>{more}</event>"


def runs(signal):
    return [(s.timebase.start_s, s.timebase.n_samples) for s in signal.segments]


def test_samples_equal_those_of_mne_and_pauses_are_gaps(recordings_dir):
    """MNE puts zeros where the acquisition was paused."""
    path = recordings_dir / PAUSED
    assert format_of(path) == "egi_mff"
    theirs = mne.io.read_raw_egi(path, preload=True, verbose="error")
    signal = read(path)[0]["eeg"]
    assert runs(signal) == [(0.0, 326), (1.772, 1722), (12.296, 1450)]
    assert list(signal.channel_names) == theirs.copy().pick("eeg").ch_names
    for segment, values in zip(signal.segments, signal.values(), strict=True):
        first = round(segment.timebase.start_s * 250)
        expected = theirs.get_data("eeg", start=first, stop=first + len(values)).T
        assert segment.samples.dtype == np.float32
        assert np.allclose(values * 1e-6, expected, rtol=3e-7, atol=0)  # MNE has gains as float32
    assert not theirs.get_data("eeg", start=330, stop=440).any()


def test_events_equal_those_of_mne_but_at_their_own_time(recordings_dir):
    theirs = mne.io.read_raw_egi(recordings_dir / PAUSED, verbose="error").annotations
    wanted = [(a["onset"], a["description"]) for a in theirs if a["description"] != "BAD_ACQ_SKIP"]
    ours = read(recordings_dir / PAUSED)[0]["events"]
    assert sorted(ours.labels) == sorted(code for _, code in wanted)
    assert ours.times_s == pytest.approx(sorted(onset for onset, _ in wanted), abs=0.5 / 250 + 1e-9)
    assert ours.times_s[0] == pytest.approx(0.882763)
    assert ours.table["key cel#"][1] == "1"


def test_places_equal_those_of_mne(recordings_dir):
    montage = mne.io.read_raw_egi(recordings_dir / PAUSED, verbose="error").get_montage()
    signal = read(recordings_dir / PAUSED)[0]["eeg"]
    ours = np.array([signal.table[f"{axis}_mm"] for axis in "xyz"]).T
    coordinates = montage.get_positions()["ch_pos"]
    apart = [np.linalg.norm(coordinates[name] - coordinates["E1"]) * 1e3 for name in signal.channel_names]
    assert np.allclose(np.linalg.norm(ours - ours[0], axis=1), apart, atol=1e-6)


def test_averages_equal_what_mne_sets_end_to_end(recordings_dir):
    path = recordings_dir / AVERAGED
    theirs = mne.io.read_raw_egi(path, preload=True, verbose="error")
    signals = [s for s in read(path)[0].streams if isinstance(s, Signal)]
    assert {s.modality for s in signals} == {"eeg", "ecg", "emg"}
    for signal in signals:
        first, last = (0, 5) if signal.provenance["average"]["category"] == "Category 1" else (5, 6)
        expected = theirs.get_data(picks=list(signal.channel_names), start=first, stop=last).T
        assert np.allclose(signal.values()[0] * 1e-6, expected, rtol=1e-6, atol=1e-12)
    assert [runs(s)[0] for s in signals[:2]] == [(-0.012, 5), (-0.004, 1)]


def test_bad_channels_equal_those_of_mne(recordings_dir):
    theirs = mne.io.read_raw_egi(recordings_dir / AVERAGED, verbose="error").info["bads"]
    streams = read(recordings_dir / AVERAGED)[0].streams
    bad = {n for s in streams for n, is_bad in zip(s.channel_names, s.table["bad_in_file"], strict=True) if is_bad}
    assert sorted(bad) == sorted(theirs)


def test_any_slice_is_what_the_whole_holds(tmp_path):
    blocks = [counting(0, 4), counting(4, 4), counting(8, 3)]
    path = mff_folder(tmp_path, blocks=blocks, repeats=(1,), epochs=[(0, 110_000, 1, 3)])
    samples = read(path)[0]["eeg"].segments[0].samples
    for first, last in ((0, 11), (3, 5), (4, 8), (10, 11), (6, 6)):
        assert samples[first:last][:, 1].tolist() == [10 * k for k in range(first, last)]
    assert samples[0:11:5][:, 0].tolist() == [0, 5, 10]


def test_gains_are_applied_channel_by_channel(tmp_path):
    text = '<calibration><beginTime>0</beginTime><type>{}</type><channels><ch n="2">{}</ch></channels></calibration>'
    path = mff_folder(tmp_path, gains=text.format("GCAL", "1.5") + text.format("ZCAL", "9"))
    assert read(path)[0]["eeg"].values()[0][1].tolist() == [1.0, 15.0]
    (path / "info1.xml").write_text((path / "info1.xml").read_text().replace("1.5", "x"))
    with pytest.raises(FormatError, match=r"info1\.xml: a gain is 'x'"):
        read(path)


def test_epochs_are_segments_at_their_times(tmp_path):
    epochs = [(0, 50_000, 1, 1), (200_000, 250_000, 2, 2)]
    (recording,) = read(mff_folder(tmp_path, blocks=[counting(0, 5), counting(5, 5)], epochs=epochs))
    assert runs(recording["eeg"]) == [(0.0, 5), (0.2, 5)]
    assert recording["eeg"].channel_names == ("E1", "VREF")


def test_times_are_nanoseconds_where_the_start_has_them(tmp_path):
    start = "2020-01-01T10:00:00.123456789+00:00"
    (recording,) = read(mff_folder(tmp_path, start=start, epochs=[(50_000_000, 150_000_000, 1, 1)]))
    assert runs(recording["eeg"]) == [(0.05, 10)]


def test_events_have_their_keys(tmp_path):
    keys = "<keys><key><keyCode>cel#</keyCode><data>3</data></key></keys>"
    events = read(mff_folder(tmp_path, events=event("00.050001", "B") + event("00.02", "A", keys)))[0]["events"]
    assert (events.labels, events.times_s.tolist()) == (("A", "B"), [0.02, 0.050001])
    assert (events.table["key cel#"], events.table["duration_s"]) == (("3", ""), (0.002, 0.002))


def test_physiology_has_its_own_kinds_and_units(tmp_path):
    sensors = "<sensor><name>ECG</name><unit>mV</unit></sensor><sensor><name>Resp</name><unit>bar</unit></sensor>"
    extra = {"info2.xml": "<d><fileDataType><PNSData/></fileDataType></d>", "pnsSet.xml": f"<p>{sensors}</p>"}
    path = mff_folder(tmp_path, extra=extra)
    blocks_file(path / "signal2.bin", counting(0, 10))
    (recording,) = read(path)
    assert recording["ecg"].values()[0][1, 0] == 1000.0
    assert (recording["bio"].unit, recording["bio"].channel_names) == ("bar", ("Resp",))


def test_a_last_block_that_is_cut_is_left_out_and_said(tmp_path):
    path = mff_folder(tmp_path, blocks=[counting(0, 5), counting(5, 5)], epochs=[(0, 100_000, 1, 2)])
    (path / "signal1.bin").write_bytes((path / "signal1.bin").read_bytes()[:-1])
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 5
    assert any("its last block, which is cut off, left out" in line for line in recording.repairs)


@pytest.mark.parametrize("name", ["info.xml", "epochs.xml", "signal1.bin"])
def test_without_what_it_needs_a_folder_is_no_mff(tmp_path, name):
    path = mff_folder(tmp_path)
    (path / name).unlink()
    assert format_of(path) is None


def test_links_are_not_followed(tmp_path):
    path = mff_folder(tmp_path)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    (path / "folder").symlink_to(tmp_path / "secret")
    (path / "link.xml").symlink_to(tmp_path / "secret" / "file")
    assert {file.name for file in egi_mff.files(path)} == {
        "info.xml", "info1.xml", "epochs.xml", "sensorLayout.xml", "signal1.bin",
    }  # fmt: skip
    (path / "signal1.bin").rename(tmp_path / "elsewhere")
    (path / "signal1.bin").symlink_to(tmp_path / "elsewhere")
    assert format_of(path) is None


@pytest.mark.parametrize("name", ["info.xml", "info1.xml", "epochs.xml", "sensorLayout.xml", "Events_a.xml"])
@pytest.mark.parametrize(
    "declared",
    [
        BOMB,
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        "<!doctype x>",
    ],
)
def test_a_document_type_is_refused_before_any_parser_sees_it(tmp_path, name, declared, monkeypatch):
    path = mff_folder(tmp_path, events=event("00.02", "A"))
    text = (path / name).read_text()
    (path / name).write_text(f'<?xml version="1.0" encoding="UTF-8"?>{declared}{text}')
    parsed = []
    monkeypatch.setattr(_xml, "_parsed", lambda file, text, real=_xml._parsed: parsed.append(file) or real(file, text))
    with pytest.raises(FormatError, match=rf"{name}: declares a document type"):
        read(path)
    assert path / name not in parsed


@pytest.mark.parametrize("encoding", ["utf-16", "utf-7", "cp037", "nonsense"])
def test_an_encoding_that_can_hide_one_is_refused(tmp_path, encoding):
    path = mff_folder(tmp_path)
    declared = f'<?xml version="1.0" encoding="{encoding}"?>{BOMB}<fileInfo/>'
    (path / "info.xml").write_bytes(declared.encode("ascii") + b"<!-- <fileInfo mff -->")
    with pytest.raises(FormatError, match="encoded as"):
        egi_mff.read(path)
    if encoding == "utf-16":
        (path / "info.xml").write_bytes(declared.encode("utf-16"))
        with pytest.raises(FormatError, match=r"info\.xml: "):
            egi_mff.read(path)


def test_xml_nested_without_end_is_refused(tmp_path):
    path = mff_folder(tmp_path, extra={"epochs.xml": "<a>" * 100_000})
    with pytest.raises(FormatError, match="nested too deep"):
        read(path)


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"epochs": ()}, r"epochs\.xml: no epoch"),
        ({"epochs": [(5, 5, 1, 1)]}, "an epoch from 5 to 5"),
        ({"epochs": [("x", 5, 1, 1)]}, "beginTime of epoch is 'x'"),
        ({"epochs": [(0, 100_000, 7, 9)]}, "no epoch whose blocks are there"),
        ({"epochs": [(0, 100_000, 1, 1), (50_000, 150_000, 1, 1)]}, "starts before the one before it has ended"),
        ({"start": "yesterday"}, "recordTime is 'yesterday'"),
        ({"n_channels": 1_000_000_000}, r"signal1\.bin: a block of 1000000000 channels"),
        ({"n_channels": -1}, r"signal1\.bin: a block of -1 channels"),
        ({"header_bytes": 4}, "a header of 4 bytes"),
        ({"bits": 16}, "16 bits"),
        ({"rate": 0}, "0 Hz"),
        ({"offsets": [0, 0]}, "one after the other, is wanted"),
        ({"repeats": (0,)}, "0 at byte 0; the flag of a block"),
    ],
)
def test_what_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=match):
        read(mff_folder(tmp_path, **lie))
