import struct

import mne
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from neuroloom.ingest import FormatError, Signal, format_of, read
from neuroloom.ingest.formats import _ctf_res4, ctf

REAL = "eeg/ctf/mne-testing-data/somMDYO-18av.ds"
NAMES = ("MLC11-606", "EEG01-606", "UPPT001", "SCLK01-177")
KINDS = (5, 9, 11, 17)


def ds_folder(folder, *, trials=1, n=10, names=NAMES, kinds=KINDS, clock=None, name="x.ds", files=1, n_before=0,
              averaged=0, **changed):  # fmt: skip
    """100 Hz; the first channel counts up in 1e-15 T, the second in 1e-6 V; UPPT001 is 0; the clock ticks at 100 Hz."""
    stated = {"rate": 100.0, "n": n, "n_channels": len(names), "trials": trials, "n_text": 5} | changed
    head = bytearray(1844)
    head[:8] = b"MEG41RS\0"
    struct.pack_into(">h", head, 776, averaged)
    head[778:786], head[1033:1043] = b"10:35:07", b"13/04/2000"
    struct.pack_into(">ih", head, 1288, stated["n"], stated["n_channels"])
    struct.pack_into(">ddh", head, 1296, stated["rate"], n / 100, stated["trials"])
    struct.pack_into(">i", head, 1316, n_before)
    struct.pack_into(">i", head, 1836, stated["n_text"])
    head += b"text\0" + struct.pack(">h", 1) + struct.pack(">dii", 100.0, 1, 1) + struct.pack(">hd", 1, 0.5)
    head += b"".join(channel.encode().ljust(32, b"\0") for channel in names)
    rows = np.zeros(len(names), _ctf_res4._ROW)
    rows["kind"], rows["proper_gain"], rows["q_gain"] = kinds, 1.0, 1.0
    scale = {5: 1e15, 9: 1e6, 17: 100.0}
    rows["proper_gain"] = [stated.get("gain", scale.get(kind, 1.0)) for kind in kinds]
    rows["coils"]["pos_cm"][:, 0] = (1, 2, 3)
    path = folder / name
    path.mkdir()
    (path / "x.res4").write_bytes(bytes(head) + rows.tobytes())
    data = np.zeros((trials, len(names), n), ">i4")
    count = np.arange(trials * n).reshape(trials, n)
    data[:, 0], data[:, 1] = count, 2 * count
    if "SCLK01-177" in names:
        data[:, -1] = count + 500 if clock is None else np.asarray(clock).reshape(trials, n)
    for k, part in enumerate(np.array_split(data, files)):
        (path / ("x.meg4" if k == 0 else f"x.{k}_meg4")).write_bytes(b"MEG41CP\0" + part.tobytes())
    return path


def runs(signal):
    return [(round(s.timebase.start_s, 6), s.timebase.n_samples) for s in signal.segments]


def test_averages_equal_what_mne_sets_end_to_end(recordings_dir):
    path = recordings_dir / REAL
    assert format_of(path) == "ctf"
    theirs = mne.io.read_raw_ctf(path, preload=True, verbose="error")
    signals = [s for s in read(path)[0].streams if isinstance(s, Signal)]
    assert {name for s in signals for name in s.channel_names} == set(theirs.ch_names)
    for signal in signals:
        first = 313 * (signal.provenance["average"]["class"] == "PlusMinus")
        expected = theirs.get_data(picks=list(signal.channel_names), start=first, stop=first + 313).T
        assert signal.segments[0].samples.dtype == np.int32
        assert np.allclose(signal.values()[0], expected, rtol=1e-12, atol=0)


def test_averages_count_from_their_event(recordings_dir):
    signal = read(recordings_dir / REAL)[0]["magnetometers Average"]
    assert (signal.start_s, signal.rate_hz) == (-62 / 1250, 1250)
    assert signal.provenance["average"] == {"of_trials": 302, "class": "Average"}


def test_bad_channels_equal_those_of_mne(recordings_dir):
    theirs = mne.io.read_raw_ctf(recordings_dir / REAL, verbose="error").info["bads"]
    signal = read(recordings_dir / REAL)[0]["magnetometers Average"]
    assert [n for n, bad in zip(signal.channel_names, signal.table["bad_in_file"], strict=True) if bad] == theirs


def test_places_are_those_of_mne_turned(recordings_dir):
    """In the device's own coordinates: sensors are as far apart as in those of MNE."""
    info = mne.io.read_raw_ctf(recordings_dir / REAL, verbose="error").info
    signal = read(recordings_dir / REAL)[0]["magnetometers Average"]
    theirs = np.array([info["chs"][info["ch_names"].index(name)]["loc"][:3] for name in signal.channel_names])
    ours = np.array([signal.table[f"{axis}_mm"] for axis in "xyz"]).T
    assert np.allclose(pdist(ours), pdist(theirs * 1e3), rtol=1e-6)


def test_trials_that_follow_one_another_are_one_segment(tmp_path):
    (recording,) = read(ds_folder(tmp_path, trials=3))
    assert runs(recording["magnetometers"]) == [(0.0, 30)]
    assert recording["magnetometers"].values()[0][:3, 0] == pytest.approx([0, 1e-15, 2e-15])
    assert recording["eeg"].values()[0][:3, 0] == pytest.approx([0, 2, 4])
    assert recording.start.isoformat() == "2000-04-13T10:35:07"


def test_trials_apart_by_the_clock_are_segments(tmp_path):
    """MNE sets them end to end."""
    clock = np.concatenate([np.arange(10), np.arange(10, 20), np.arange(50, 60)]) + 500
    (recording,) = read(ds_folder(tmp_path, trials=3, clock=clock))
    assert runs(recording["magnetometers"]) == [(0.0, 20), (0.5, 10)]
    assert recording["magnetometers"].segments[1].samples[:2].tolist() == [[20], [21]]


def test_what_follows_the_end_of_the_clock_was_not_recorded(tmp_path):
    clock = np.where(np.arange(30) < 14, np.arange(30) + 500, 0)
    (recording,) = read(ds_folder(tmp_path, trials=3, clock=clock))
    assert runs(recording["magnetometers"]) == [(0.0, 14)]
    assert any("stops after 14 samples" in line for line in recording.repairs)


def test_several_data_files_follow_one_another(tmp_path):
    path = ds_folder(tmp_path, trials=4, files=2)
    (recording,) = read(path)
    assert runs(recording["magnetometers"]) == [(0.0, 20), (0.2, 20)]
    assert np.concatenate([s.samples[:][:, 0] for s in recording["magnetometers"].segments]).tolist() == list(range(40))
    assert [file.name for file in ctf.files(path)] == ["x.res4", "x.meg4", "x.1_meg4"]


def test_trials_around_triggers_without_a_clock_are_refused(tmp_path):
    path = ds_folder(tmp_path, trials=2, names=NAMES[:3], kinds=KINDS[:3], n_before=4)
    with pytest.raises(FormatError, match=r"x\.ds: 2 trials around triggers"):
        read(path)


def test_pieces_without_a_trigger_follow_one_another(tmp_path):
    (recording,) = read(ds_folder(tmp_path, trials=2, names=NAMES[:3], kinds=KINDS[:3]))
    assert runs(recording["eeg"]) == [(0.0, 20)]


def test_markers_and_bad_segments_lie_in_their_trials(tmp_path):
    clock = np.concatenate([np.arange(10), np.arange(30, 40)]) + 500
    path = ds_folder(tmp_path, trials=2, clock=clock)
    (path / "MarkerFile.mrk").write_text(
        "NUMBER OF MARKERS:\n1\n\nNAME:\ngo\nNUMBER OF SAMPLES:\n3\nLIST OF SAMPLES:\nTRIAL NUMBER\t\tTIME\n"
        "+0\t\t+0.03\n+1\t\t+0.05\n+7\t\t0\n\n"
    )
    (path / "bad.segments").write_text("2\t\t0.01\t\t0.04\n")
    (recording,) = read(path)
    assert recording["annotations"].times_s == pytest.approx([0.03, 0.35])
    assert recording["annotated stretches"].bounds_s[0] == pytest.approx([0.31, 0.34])
    assert any("1 markers and bad segments" in line for line in recording.repairs)


def test_the_folder_is_one_recording_whatever_its_name(tmp_path):
    path = ds_folder(tmp_path, name="sub-01_meg")
    assert format_of(path) == "ctf"
    assert read(tmp_path)[0].files == (path,)


@pytest.mark.parametrize("missing", ["x.res4", "x.meg4"])
def test_without_one_of_its_files_it_is_no_recording(tmp_path, missing):
    path = ds_folder(tmp_path)
    (path / missing).unlink()
    assert format_of(path) is None
    with pytest.raises(FormatError, match="one is wanted"):
        ctf.read(path)


def test_a_link_to_samples_is_not_followed(tmp_path):
    path = ds_folder(tmp_path)
    (path / "x.meg4").rename(tmp_path / "elsewhere")
    (path / "x.meg4").symlink_to(tmp_path / "elsewhere")
    assert format_of(path) is None


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"n_channels": 32000}, "do not hold 32000 channels"),
        ({"n_channels": -1}, "-1 channels"),
        ({"rate": 0.0}, "0.0 Hz"),
        ({"rate": float("nan")}, "nan Hz"),
        ({"n": 10, "n_before": 11}, "11 before its trigger"),
        ({"gain": 0.0}, "gain of 'MLC11-606' is 0.0"),
        ({"n_text": 2_000_000_000}, "it is cut off"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=rf"x\.res4: .*{match}"):
        read(ds_folder(tmp_path, **lie))


def test_samples_that_do_not_fit_the_header_are_refused(tmp_path):
    path = ds_folder(tmp_path)
    (path / "x.meg4").write_bytes((path / "x.meg4").read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"x\.meg4: 167 bytes"):
        read(path)
    (path / "x.meg4").write_bytes(b"something" * 100)
    with pytest.raises(FormatError, match="begin with b'somethin'"):
        read(path)


def test_fewer_trials_than_stated_are_said(tmp_path):
    path = ds_folder(tmp_path, trials=2)
    raw = bytearray((path / "x.res4").read_bytes())
    struct.pack_into(">h", raw, 1312, 9)
    (path / "x.res4").write_bytes(bytes(raw))
    assert "x.res4 states 9 trials: 2, as many as there are" in read(path)[0].repairs
