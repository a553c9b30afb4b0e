import gzip
import struct

import mne
import numpy as np
import pytest

from neuroloom.ingest import Events, FormatError, Intervals, Signal, format_of, read
from neuroloom.ingest.formats import fif, head_of

REAL = (
    "eeg/fif/mne-python/test_ctf_comp_raw.fif",
    "eeg/fif/mne-testing-data/SSS/mgh70_raw.fif",
    "eeg/fif/mne-testing-data/misc/neuromag122_test_file-raw.fif",
    "eeg/fif/mne-testing-data/misc/test_elekta_3ch_raw.fif",
)


def stock(path):
    return mne.io.read_raw_fif(path, preload=True, allow_maxshield="yes", verbose="error")


def signals(recording):
    return [stream for stream in recording.streams if isinstance(stream, Signal)]


def raw_file(folder, *, name="x_raw.fif", n=100, first=20, notes=None, bads=(), codes=(), silent=slice(0), **saving):
    """Cz and EOG count up in microvolts, STI holds `codes` from sample 5 on; 10 Hz, buffers of 10 samples."""
    info = mne.create_info(["Cz", "EOG", "STI"], 10.0, ["eeg", "eog", "stim"])
    data = np.vstack([np.arange(n) * 1e-6, np.arange(n) * 2e-6, np.zeros(n)])
    data[2, 5 : 5 + len(codes)] = codes
    data[:, silent] = 0
    raw = mne.io.RawArray(data, info, first_samp=first, verbose="error")
    raw.info["bads"] = list(bads)
    raw.set_meas_date(1_000_000_000)
    if notes is not None:
        raw.set_annotations(mne.Annotations(*notes))
    raw.save(folder / name, **{"buffer_size_sec": 1.0, "verbose": "error"} | saving)
    return folder / name


def rewired(path, kind, **changed):
    """The file with the first tag of a kind changed: size, next, or the first number of its data."""
    data = bytearray(path.read_bytes())
    at = 0
    while struct.unpack_from(">i", data, at)[0] != kind:
        at += 16 + struct.unpack_from(">i", data, at + 8)[0]
    for field, value in changed.items():
        struct.pack_into(">i", data, at + {"type": 4, "size": 8, "next": 12, "data": 16}[field], value)
    path.write_bytes(bytes(data))
    return path


def without_directory(path):
    """As a file lies there while it is still being recorded."""
    return rewired(path, 101, data=-1)


@pytest.mark.parametrize("name", REAL)
def test_values_equal_those_of_mne(recordings_dir, name):
    theirs = stock(recordings_dir / name)
    (recording,) = read(recordings_dir / name)
    for signal in signals(recording):
        factor = 1e6 if signal.unit == "uV" else 1.0
        expected = theirs.get_data(picks=list(signal.channel_names)).T * factor
        assert np.allclose(np.vstack(signal.values()), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", REAL)
def test_no_channel_is_left_out(recordings_dir, name):
    (recording,) = read(recordings_dir / name)
    found = [channel for signal in signals(recording) for channel in signal.channel_names]
    assert sorted(found) == sorted(stock(recordings_dir / name).ch_names)


@pytest.mark.parametrize("name", REAL)
def test_first_sample_and_rate_equal_those_of_mne(recordings_dir, name):
    theirs = stock(recordings_dir / name)
    for signal in signals(read(recordings_dir / name)[0]):
        assert signal.segments[0].timebase.start_s == theirs.first_samp / theirs.info["sfreq"]
        assert signal.rate_hz == theirs.info["sfreq"]


def test_triggers_equal_those_of_mne(recordings_dir):
    path = recordings_dir / "eeg/fif/mne-testing-data/misc/test_elekta_3ch_raw.fif"
    theirs = mne.find_events(stock(path), shortest_event=1, consecutive=True, verbose="error")
    triggers = read(path)[0]["triggers"]
    assert (triggers.times_s * 1000).round().astype(int).tolist() == theirs[:, 0].tolist()
    assert triggers.labels == tuple(str(code) for code in theirs[:, 2])


def test_bad_channels_and_positions_equal_those_of_mne(recordings_dir):
    path = recordings_dir / "eeg/fif/mne-testing-data/SSS/mgh70_raw.fif"
    theirs, table = stock(path).info, read(path)[0]["eeg"].table
    assert [name for name, bad in zip(theirs["ch_names"], table["bad_in_file"], strict=True) if bad] == theirs["bads"]
    assert [table[axis][0] / 1e3 for axis in ("x_mm", "y_mm", "z_mm")] == pytest.approx(theirs["chs"][0]["loc"][:3])


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("mne-python/test_raw-eve.fif", "list of events"),
        ("mne-testing-data/MEG/sample/sample_audvis_trunc_raw-eve.fif", "events"),
    ],
)
def test_what_is_not_raw_is_refused_for_what_it_is(recordings_dir, name, holds):
    with pytest.raises(FormatError, match=holds):
        read(recordings_dir / "eeg/fif" / name)


@pytest.mark.parametrize(("stored", "dtype"), [("short", "i2"), ("int", "i4"), ("single", "f4"), ("double", "f8")])
def test_samples_have_the_type_they_are_stored_in(tmp_path, stored, dtype):
    path = raw_file(tmp_path, fmt=stored)
    signal = read(path)[0]["eeg"]
    assert signal.segments[0].samples.dtype == np.dtype(dtype)
    assert np.vstack(signal.values())[:, 0] == pytest.approx(stock(path).get_data("Cz")[0] * 1e6, rel=1e-12)


def test_kinds_are_apart_and_in_microvolts(tmp_path):
    (recording,) = read(raw_file(tmp_path))
    assert [(s.name, s.modality, s.unit) for s in signals(recording)] == [
        ("eeg", "eeg", "uV"), ("eog", "eog", "uV"), ("stim", "sync", "V"),
    ]  # fmt: skip
    assert recording["eog"].values()[0][:3, 0] == pytest.approx([0, 2, 4])


def test_time_0_is_the_start_of_the_acquisition(tmp_path):
    """MNE shows these samples from 0 s on; the device's clock had run for 2 s."""
    (recording,) = read(raw_file(tmp_path, first=20))
    assert recording["eeg"].start_s == 2.0
    assert recording.start.timestamp() == 1_000_000_002


def test_any_slice_is_what_the_whole_holds(tmp_path):
    samples = read(raw_file(tmp_path))[0]["eeg"].segments[0].samples
    whole = samples[0:100][:, 0]
    for first, last in ((0, 3), (3, 10), (9, 11), (10, 20), (5, 95), (99, 100), (40, 40)):
        assert np.array_equal(samples[first:last][:, 0], whole[first:last])


def test_skipped_buffers_are_a_gap(tmp_path):
    """MNE fills these two seconds with zeros; nothing was recorded, so nothing is there."""
    path = raw_file(tmp_path, notes=([5.0], [2.0], ["BAD_ACQ_SKIP"]))
    (recording,) = read(path)
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in recording["eeg"].segments] == [(2.0, 50), (9.0, 30)]
    assert recording["eeg"].segments[1].samples[0:1][0, 0] == pytest.approx(70e-6)
    assert stock(path).n_times == 100


def test_a_skip_counted_in_samples_is_a_gap(tmp_path):
    """MNE knows skips counted in buffers only."""
    path = without_directory(raw_file(tmp_path))
    data = path.read_bytes()
    at = data.index(struct.pack(">3i", 300, 4, 120), data.index(struct.pack(">3i", 300, 4, 120)) + 16)
    path.write_bytes(data[:at] + struct.pack(">5i", 303, 3, 4, 0, 7) + data[at:])
    segments = read(path)[0]["eeg"].segments
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in segments] == [(2.0, 10), (3.7, 90)]


def test_zeros_that_stand_for_a_gap_are_left_out_and_said(tmp_path):
    """MNE writes zeros where a skip does not fit its buffers."""
    path = raw_file(tmp_path, notes=([5.2], [1.0], ["BAD_ACQ_SKIP"]), silent=slice(52, 62))
    (recording,) = read(path)
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in recording["eeg"].segments] == [(2.0, 52), (8.2, 38)]
    assert any("10 zeros that stand for a gap" in line for line in recording.repairs)


def test_samples_within_an_annotated_skip_are_kept_and_said(tmp_path):
    (recording,) = read(raw_file(tmp_path, notes=([5.2], [1.0], ["BAD_ACQ_SKIP"])))
    assert recording["eeg"].n_samples == 100
    assert recording["annotated stretches"].labels == ("BAD_ACQ_SKIP",)
    assert any("samples were recorded there" in line for line in recording.repairs)


def test_annotations_lie_on_the_clock_of_the_samples(tmp_path):
    path = raw_file(tmp_path, notes=([1.0, 2.0, 4.0], [0.0, 3.0, 0.0], ["a:b", "BAD_move", "c"]))
    (recording,) = read(path)
    moments, stretches = recording["annotations"], recording["annotated stretches"]
    assert isinstance(moments, Events)
    assert isinstance(stretches, Intervals)
    assert (moments.times_s.tolist(), moments.labels) == ([3.0, 6.0], ("a:b", "c"))
    assert (stretches.bounds_s.tolist(), stretches.labels) == ([[4.0, 7.0]], ("BAD_move",))
    assert stock(path).annotations.onset.tolist() == [3.0, 4.0, 6.0]


def test_rising_codes_are_triggers(tmp_path):
    (recording,) = read(raw_file(tmp_path, first=0, codes=(3, 3, 0, 7, 8, 0)))
    triggers = recording["triggers"]
    assert (triggers.times_s.tolist(), triggers.labels) == ([0.5, 0.8, 0.9], ("3", "7", "8"))


def test_a_counter_is_no_trigger_line(tmp_path):
    (recording,) = read(raw_file(tmp_path, n=5000, codes=np.arange(1, 4000)))
    assert [stream.name for stream in recording.streams] == ["eeg", "eog", "stim"]
    assert any("STI: changes at 3999 samples" in line for line in recording.repairs)


def split_file(folder, **saving):
    return raw_file(folder, n=200_000, split_size="2MB", buffer_size_sec=1000, **saving)


@pytest.mark.parametrize("naming", ["neuromag", "bids"])
def test_parts_of_a_split_file_are_one_recording(tmp_path, naming):
    path = split_file(tmp_path, split_naming=naming)
    first = path if path.exists() else tmp_path / "x_split-01_raw.fif"
    assert [file.name for file in fif.files(first)] == [file.name for file in stock(first).filenames]
    (segment,) = read(first)[0]["eeg"].segments
    assert np.allclose(segment.samples[0:200_000][:, 0], np.arange(200_000) * 1e-6)


def test_a_later_part_is_nobodys(tmp_path):
    split_file(tmp_path)
    assert format_of(tmp_path / "x_raw.fif") == "fif"
    assert format_of(tmp_path / "x_raw-1.fif") is None


def test_a_missing_part_is_named(tmp_path):
    path = split_file(tmp_path)
    (tmp_path / "x_raw-1.fif").unlink()
    for attempt in (fif.files, read):
        with pytest.raises(FormatError, match=r"x_raw\.fif: its next part 'x_raw-1\.fif' is not beside it"):
            attempt(path)


@pytest.mark.parametrize("name", ["../evil.fif", "/tmp/e.fif", "..\\ab.fif"])
def test_a_part_elsewhere_is_refused(tmp_path, name):
    path = split_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"x_raw-1.fif", name.ljust(11, "x").encode()))
    with pytest.raises(FormatError, match="plain file name"):
        read(path)


def test_a_part_that_names_an_earlier_one_is_refused(tmp_path):
    path = split_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"x_raw-1.fif", b"x_raw.fif\x00\x00"))
    with pytest.raises(FormatError, match="plain file name"):
        read(path)
    second = tmp_path / "x_raw-1.fif"
    split_file(tmp_path, overwrite=True)
    second.write_bytes(second.read_bytes().replace(b"x_raw-2.fif", b"x_raw-1.fif"))
    with pytest.raises(FormatError, match="comes before it"):
        read(path)


def test_a_tag_that_points_at_itself_is_refused(tmp_path):
    """MNE follows it for ever."""
    path = without_directory(raw_file(tmp_path))
    rewired(path, 104, next=path.read_bytes().index(struct.pack(">ii", 104, 3)))
    with pytest.raises(FormatError, match="follows itself"):
        read(path)


def test_blocks_nested_without_end_are_refused(tmp_path):
    """MNE descends one call per level."""
    path = raw_file(tmp_path)
    data = path.read_bytes()
    start = struct.pack(">5i", 104, 3, 4, 0, 100)
    at = data.index(start)
    path.write_bytes(data[:at] + 2000 * start + data[at:])
    with pytest.raises(FormatError, match="nested more than 50 deep"):
        read(without_directory(path))


def test_a_file_without_a_directory_is_read_from_tag_to_tag(tmp_path):
    (recording,) = read(without_directory(raw_file(tmp_path)))
    assert recording["eeg"].n_samples == 100


def test_a_cut_file_gives_its_whole_samples_and_says_so(tmp_path):
    path = without_directory(raw_file(tmp_path))
    data = path.read_bytes()
    at = data.index(struct.pack(">3f", 95e-6, 190e-6, 0))
    path.write_bytes(data[: at + 5])
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 95
    assert any("its last buffer states 10 samples: 5, as many" in line for line in recording.repairs)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (101, {"data": 40}),  # the directory is elsewhere
        (101, {"size": 0}),
        (200, {"data": 1_000_000_000}),  # channels
        (200, {"data": -3}),
        (300, {"type": 20}),  # complex samples
        (300, {"type": 77}),
        (300, {"size": 7}),
        (208, {"type": 10}),  # number of the first sample
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, kind, changed):
    path = rewired(without_directory(raw_file(tmp_path)), kind, **changed)
    with pytest.raises(FormatError, match=r"x_raw\.fif"):
        read(path)


def test_a_zipped_file_is_known_and_refused_with_advice(tmp_path):
    path = raw_file(tmp_path)
    zipped = tmp_path / "x_raw.fif.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert format_of(zipped) == "fif"
    with pytest.raises(FormatError, match="gunzip"):
        read(zipped)


def test_other_zipped_files_are_not_claimed(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"something else, long enough to hold a header of 36 bytes"))
    assert not fif.sniff(path, head_of(path))


def test_maxshield_data_are_kept_and_said(tmp_path):
    path = raw_file(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack(">iiiii", 104, 3, 4, 0, 102), struct.pack(">iiiii", 104, 3, 4, 0, 119)))
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 100
    assert any("MaxShield" in line for line in recording.repairs)


def test_bad_channels_are_marked(tmp_path):
    (recording,) = read(raw_file(tmp_path, bads=["EOG"]))
    assert (recording["eeg"].table["bad_in_file"], recording["eog"].table["bad_in_file"]) == ((False,), (True,))


def event_list(folder, name, rows=((25, 0, 3), (40, 3, 7))):
    mne.write_events(folder / name, np.array(rows), overwrite=True, verbose="error")
    return folder / name


@pytest.mark.parametrize("name", ["x_raw-eve.fif", "x-eve.fif", "x_raw_eve.fif"])
def test_a_list_of_events_beside_it_is_part_of_the_recording(tmp_path, name):
    path = raw_file(tmp_path)
    listed = event_list(tmp_path, name)
    (recording,) = read(tmp_path)
    events = recording[listed.stem]
    assert (events.times_s.tolist(), events.labels, events.modality) == ([2.5, 4.0], ("3", "7"), "sync")
    assert events.table["code_before"] == (0, 3)
    assert recording.files == fif.files(path) == (path, listed)


def test_a_real_list_of_events_equals_that_of_mne(recordings_dir, tmp_path):
    real = recordings_dir / "eeg/fif/mne-testing-data/MEG/sample/sample_audvis_trunc_raw-eve.fif"
    (tmp_path / "x_raw-eve.fif").write_bytes(real.read_bytes())
    raw_file(tmp_path)
    theirs = mne.read_events(real, verbose="error")
    ours = read(tmp_path)[0]["x_raw-eve"]
    assert (ours.times_s * 10).round().astype(int).tolist() == theirs[:, 0].tolist()
    assert ours.labels == tuple(map(str, theirs[:, 2]))


def test_what_only_has_the_name_of_a_list_is_not_taken(tmp_path):
    path = raw_file(tmp_path)
    (tmp_path / "x_raw-eve.fif").write_bytes(b"something else")
    assert fif.files(path) == (path,)


def test_a_list_of_events_that_is_a_link_is_not_taken(tmp_path):
    path = raw_file(tmp_path)
    (tmp_path / "y-eve.fif").write_bytes(event_list(tmp_path, "z-eve.fif").read_bytes())
    (tmp_path / "x-eve.fif").symlink_to(tmp_path / "y-eve.fif")
    assert fif.files(path) == (path,)


def test_a_list_of_half_a_row_is_refused(tmp_path):
    raw_file(tmp_path)
    listed = event_list(tmp_path, "x-eve.fif")
    rewired(listed, 3561, size=20)
    with pytest.raises(FormatError, match=r"^\S+x-eve\.fif: 5 numbers"):
        read(tmp_path / "x_raw.fif")


# Epochs -------------------------------------------------------------------------------------------------------------


def epochs_file(folder, at, *, n=1000, tmax=1.0, baseline=None, decim=1, metadata=None, notes=None, **saving):
    """Epochs from 0.2 s before `at` on, codes 1 and 2 in turn, of `n` samples at 10 Hz that begin with number 20."""
    raw = stock(raw_file(folder, n=n, notes=notes))
    events = np.array([[sample, 0, 1 + k % 2] for k, sample in enumerate(at)])
    epochs = mne.Epochs(raw, events, {"left": 1, "right": 2}, -0.2, tmax, baseline=baseline, decim=decim,
                        metadata=metadata, preload=True, picks="all", verbose="error")  # fmt: skip
    (folder / "x_raw.fif").unlink()
    epochs.save(folder / "x-epo.fif", verbose="error", **saving)
    return folder / "x-epo.fif"


@pytest.mark.parametrize("fmt", ["single", "double"])
@pytest.mark.parametrize("decim", [1, 2])
def test_epochs_lie_at_their_times_with_the_values_of_mne(tmp_path, fmt, decim):
    path = epochs_file(tmp_path, [50, 90, 400], fmt=fmt, decim=decim)
    theirs = mne.read_epochs(path, verbose="error")
    (recording,) = read(path)
    eeg = recording["eeg"]
    assert [s.timebase.start_s for s in eeg.segments] == pytest.approx([4.8, 8.8, 39.8])
    assert eeg.rate_hz == 10 / decim
    expected = theirs.get_data(picks=["Cz"])[:, 0] * 1e6
    assert np.allclose([values[:, 0] for values in eeg.values()], expected, rtol=1e-12, atol=0)
    assert recording["events"].times_s.tolist() == [5.0, 9.0, 40.0]
    assert recording["events"].labels == ("left", "right", "left")
    assert recording.start.timestamp() == pytest.approx(1_000_000_000 + 4.8)


def test_epochs_that_overlap_lie_one_after_the_other_and_that_is_said(tmp_path):
    path = epochs_file(tmp_path, [50, 55, 400], notes=([1.0], [0.0], ["blink"]))
    (recording,) = read(path)
    assert [s.timebase.start_s for s in recording["eeg"].segments] == pytest.approx([0.0, 2.3, 4.6])
    assert recording["events"].times_s == pytest.approx([0.2, 2.5, 4.8])
    assert recording.repairs[0].startswith("epochs 1 and 2 overlap in time: its 3 epochs are put 1 s apart")
    assert recording.repairs[1].startswith("1 annotations left out")


def test_metadata_baseline_and_annotations_of_epochs_are_kept(tmp_path):
    import pandas

    rows = pandas.DataFrame({"rt_s": [0.4, np.nan], "word": ["rot", "grün"]})
    path = epochs_file(tmp_path, [50, 400], metadata=rows, baseline=(None, 0), notes=([3.0], [0.0], ["blink"]))
    (recording,) = read(path)
    table = recording["events"].table
    assert (table["word"], table["code"]) == (("rot", "grün"), (1, 2))
    assert table["rt_s"] == pytest.approx((0.4, np.nan), nan_ok=True)
    assert recording.repairs == ("x-epo.fif: the mean from -0.2 s to 0 s is subtracted from each epoch; kept so",)
    assert recording["annotations"].times_s == pytest.approx([5.0])


def test_split_epochs_are_one_recording(tmp_path):
    path = epochs_file(tmp_path, range(50, 119_000, 700), n=120_000, tmax=60.0, fmt="double", split_size="2MB")
    assert len(list(tmp_path.iterdir())) > 1
    (recording,) = read(tmp_path)
    assert len(recording["eeg"].segments) == 170
    assert set(recording.files) == set(tmp_path.iterdir())
    expected = mne.read_epochs(path, verbose="error").get_data(picks=["Cz"])[:, 0] * 1e6
    assert np.allclose([values[:, 0] for values in recording["eeg"].values()], expected, rtol=1e-12, atol=0)


def test_any_slice_of_epochs_is_that_of_the_whole(tmp_path):
    samples = read(epochs_file(tmp_path, [50, 90]))[0]["eeg"].segments[1].samples
    assert np.array_equal(samples[3:9:2], samples[:][3:9:2])


@pytest.mark.parametrize(
    ("kind", "changed", "said"),
    [
        (302, {"size": 1 << 30}, "cut off"),
        (302, {"type": (1 << 30) | 20}, "epochs of type 20"),
        (302, {"size": 400}, "as many bytes as they take"),
        (3803, {"data": 0}, "0.0 Hz before decimation"),
    ],
)
def test_epochs_that_lie_are_refused(tmp_path, kind, changed, said):
    path = rewired(without_directory(epochs_file(tmp_path, [50, 90])), kind, **changed)
    with pytest.raises(FormatError, match=said):
        read(path)
