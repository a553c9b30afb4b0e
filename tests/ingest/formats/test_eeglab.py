import zlib

import h5py
import mne
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from neuroloom.ingest import FormatError, format_of, read
from neuroloom.ingest.formats import _eeglab_fields, eeglab, head_of
from neuroloom.ingest.ledger import Defect

REAL = ("test_raw_2021.set", "test_raw_chanloc.set", "test_raw_chanloc_fids.set", "test_raw_event_duration.set")
COUNTING = np.arange(40, dtype=np.float32).reshape(20, 2).T  # two channels, 20 samples: 0, 2, 4 ... and 1, 3, 5 ...


def fields(*, data=COUNTING, channels=("Cz", "Pz"), events=(), **changed):
    """What EEGLAB writes, at 10 Hz."""
    n_channels, n_samples, n_epochs = (*data.shape, 1)[:3] if isinstance(data, np.ndarray) else (2, 20, 1)
    places = [{"labels": name} if isinstance(name, str) else name for name in channels]
    return {
        "data": data, "nbchan": float(n_channels), "pnts": float(n_samples), "trials": float(n_epochs), "srate": 10.0,
        "chanlocs": places, "event": list(events), "ref": "common",
    } | changed  # fmt: skip


def event(latency, kind="hit", **others):
    return {"type": kind, "latency": float(latency)} | others


def set_file(folder, *, side_by_side=False, name="x.set", **content):
    """MATLAB 5."""
    found = fields(**content)
    found = {key: _structs(value) for key, value in found.items()}
    savemat(folder / name, found if side_by_side else {"EEG": found}, appendmat=False, do_compression=True)
    return folder / name


def _structs(value):
    """A list of dicts as the array of structs that MATLAB makes of it."""
    if not isinstance(value, list) or not value:
        return np.zeros((0, 0)) if isinstance(value, list) else value
    array = np.zeros((1, len(value)), dtype=[(key, object) for key in value[0]])
    for k, row in enumerate(value):
        array[0, k] = tuple(row.values())
    return array


def h5_file(folder, *, side_by_side=False, **content):
    """MATLAB 7.3: arrays transposed, text as UTF-16, arrays of structs as references."""
    with h5py.File(folder / "x.set", "w", userblock_size=512) as file:
        home = file if side_by_side else file.create_group("EEG")
        refs = file.create_group("#refs#")
        for key, value in fields(**content).items():
            _h5_put(home, key, value, refs)
    with (folder / "x.set").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(128))
    return folder / "x.set"


def _h5_put(group, key, value, refs):
    if isinstance(value, str):
        item = group.create_dataset(key, data=np.frombuffer(value.encode("utf-16-le"), "<u2").reshape(-1, 1))
        item.attrs["MATLAB_class"] = np.bytes_("char")
    elif isinstance(value, list) and value:
        structs = group.create_group(key)
        for field in value[0]:
            places = [_h5_put(refs, f"r{len(refs)}", row[field], refs).ref for row in value]
            structs.create_dataset(field, data=np.array(places, dtype=h5py.ref_dtype).reshape(-1, 1))
    else:
        item = group.create_dataset(key, data=np.atleast_2d(np.asarray(value, dtype=None)).T)
        item.attrs["MATLAB_class"] = np.bytes_("double")
        if isinstance(value, list):
            item.attrs["MATLAB_empty"] = np.uint8(1)
    return group[key]


WRITERS = pytest.mark.parametrize("write", [set_file, h5_file])


def fdt_file(folder, *, name="x.fdt", cut=0, write=set_file, **content):
    """A .set that names `x.fdt`, which lies beside it as `name`."""
    (folder / name).write_bytes(COUNTING.T.tobytes()[: 160 - cut])
    return write(folder, **{"data": "x.fdt"} | content)


def runs(path):
    return [(s.timebase.start_s, s.timebase.n_samples) for s in read(path)[0]["eeg"].segments]


@pytest.mark.parametrize("name", REAL)
def test_values_equal_those_of_mne(recordings_dir, name):
    path = recordings_dir / "eeg/eeglab/mne-testing-data" / name
    theirs = mne.io.read_raw_eeglab(path, preload=True, verbose="error", montage_units="mm")
    signal = read(path)[0]["eeg"]
    assert np.vstack(signal.values()) == pytest.approx(theirs.get_data().T * 1e6, rel=1e-6, abs=1e-9)
    assert signal.rate_hz == theirs.info["sfreq"]


@pytest.mark.parametrize("name", REAL[1:])
def test_channel_names_equal_those_of_mne(recordings_dir, name):
    path = recordings_dir / "eeg/eeglab/mne-testing-data" / name
    theirs = mne.io.read_raw_eeglab(path, verbose="error", montage_units="mm")
    assert list(read(path)[0]["eeg"].channel_names) == theirs.ch_names


def test_a_struct_without_fields_is_nothing(tmp_path):
    """MATLAB's `chaninfo = struct()`."""
    assert read(set_file(tmp_path, chaninfo={}))[0]["eeg"].n_samples == 20


def test_the_rows_of_a_matrix_of_letters_are_apart(tmp_path):
    path = h5_file(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["EEG/ref"]
        letters = np.frombuffer("ABCDEF".encode("utf-16-le"), "<u2").reshape(2, 3)
        file["EEG"].create_dataset("ref", data=letters.T).attrs["MATLAB_class"] = np.bytes_("char")
    assert read(path)[0]["eeg"].provenance["reference"] == "ABC DEF"


def test_samples_that_became_damaged_are_refused_by_name(tmp_path):
    path = h5_file(tmp_path)
    samples = read(path)[0]["eeg"].segments[0].samples
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(FormatError, match=r"x\.set: samples 3 to 5 cannot be read"):
        samples[3:5]


@pytest.mark.parametrize("name", [REAL[0], REAL[1], REAL[3]])
def test_events_equal_those_of_mne(recordings_dir, name):
    path = recordings_dir / "eeg/eeglab/mne-testing-data" / name
    theirs = mne.io.read_raw_eeglab(path, verbose="error", montage_units="mm").annotations
    events = read(path)[0]["events"]
    assert events.labels == tuple(theirs.description)
    assert events.times_s == pytest.approx(theirs.onset)


@pytest.mark.parametrize("name", [*REAL, "test_epochs_onefile.set"])
def test_fields_of_matlab_5_equal_those_of_scipy(recordings_dir, name):
    path = recordings_dir / "eeg/eeglab/mne-testing-data" / name
    theirs = loadmat(path, simplify_cells=True)
    theirs = theirs.get("EEG", theirs)
    ours = _eeglab_fields.of_matlab5(path)
    for key in ("nbchan", "pnts", "trials", "srate"):
        assert ours[key].item() == theirs[key]
    for key in ("event", "urevent", "chanlocs"):
        rows = theirs[key] if isinstance(theirs[key], list) else [theirs[key]] if isinstance(theirs[key], dict) else []
        assert [_shown(row) for row in _eeglab_fields.rows(ours[key])] == [_shown(row) for row in rows]


def _shown(row):
    return {
        key: _eeglab_fields.text(value.item() if isinstance(value, np.generic) else value) for key, value in row.items()
    }


def test_a_real_file_whose_fdt_is_missing_names_it(recordings_dir):
    path = recordings_dir / "odd/eeglab_missing_fdt/mne-testing-data/test_raw_h5.set"
    assert format_of(path) == "eeglab"
    with pytest.raises(FormatError, match=r"test_raw\.fdt"):
        read(path)


def test_no_other_matlab_file_is_claimed(recordings_dir):
    others = [*recordings_dir.rglob("*.mat"), *recordings_dir.rglob("*.nwb"), *recordings_dir.rglob("*.h5")]
    assert others
    assert not any(eeglab.sniff(path, head_of(path)) for path in others)


def test_a_struct_that_is_only_named_like_it_is_not_claimed(tmp_path):
    savemat(tmp_path / "x.set", {"EEG": {"data": np.zeros(3), "fs": 10.0}}, appendmat=False)
    assert format_of(tmp_path / "x.set") is None


@WRITERS
@pytest.mark.parametrize("side_by_side", [False, True])
def test_both_layouts_are_read(tmp_path, write, side_by_side):
    (recording,) = read(write(tmp_path, side_by_side=side_by_side, events=[event(3), event(5)]))
    signal = recording["eeg"]
    assert (signal.channel_names, signal.unit, signal.rate_hz) == (("Cz", "Pz"), "uV", 10.0)
    assert signal.segments[0].samples[1:3].tolist() == [[2, 3], [4, 5]]
    assert signal.segments[0].samples.dtype == np.float32
    assert recording["events"].times_s.tolist() == [0.2, 0.4]


@WRITERS
def test_samples_beside_it_are_mapped(tmp_path, write):
    path = fdt_file(tmp_path, write=write)
    samples = read(path)[0]["eeg"].segments[0].samples
    assert isinstance(samples, np.memmap)
    assert samples[1:3].tolist() == [[2, 3], [4, 5]]
    assert eeglab.files(path) == (path, tmp_path / "x.fdt")


def test_a_dat_file_holds_a_channel_after_the_other(tmp_path):
    (tmp_path / "x.dat").write_bytes(COUNTING.tobytes())
    samples = read(set_file(tmp_path, data="x.dat"))[0]["eeg"].segments[0].samples
    assert samples[1:3].tolist() == [[2, 3], [4, 5]]


def test_a_renamed_pair_is_read_and_said(tmp_path):
    path = fdt_file(tmp_path, name="y.fdt")
    (recording,) = read(path.rename(tmp_path / "y.set"))
    assert recording["eeg"].n_samples == 20
    assert recording.repairs == ("names 'x.fdt' for its samples, which is not beside it: 'y.fdt'",)


@pytest.mark.parametrize("name", ["../x.fdt", "/etc/passwd", "..\\x.fdt", "a/x.fdt", ""])
def test_samples_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(FormatError, match="plain file name"):
        read(fdt_file(tmp_path, data=name or " "))


def test_a_link_is_not_followed(tmp_path):
    path = fdt_file(tmp_path)
    (tmp_path / "x.fdt").rename(tmp_path / "elsewhere")
    (tmp_path / "x.fdt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="not beside it"):
        read(path)


def test_a_fdt_still_being_copied_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"152 bytes; x\.set states 2 channels x 20 samples, so 160 are wanted"):
        read(fdt_file(tmp_path, cut=8))


@WRITERS
def test_a_boundary_with_a_duration_is_a_gap(tmp_path, write):
    """Ten samples were cut out after sample 8. MNE lets later samples move up by a second; the file says otherwise."""
    path = write(tmp_path, events=[event(8.5, "boundary", duration=10.0), event(11, "hit", duration=0.0)])
    assert runs(path) == [(0.0, 8), (1.8, 12)]
    events = read(path)[0]["events"]
    assert events.labels == ("boundary", "hit")
    assert events.times_s.tolist() == [0.75, 2.0]
    assert mne.io.read_raw_eeglab(path, verbose="error").annotations.onset[1] == 1.0 if write is set_file else True


def test_gaps_add_up(tmp_path):
    cuts = [event(5.5, "boundary", duration=10.0), event(10.5, "boundary", duration=20.0)]
    assert runs(set_file(tmp_path, events=cuts)) == [(0.0, 5), (1.5, 5), (4.0, 10)]


@pytest.mark.parametrize("duration", [float("nan"), 0.0])
def test_a_boundary_of_unknown_length_parts_samples_and_is_said(tmp_path, duration):
    path = set_file(tmp_path, events=[event(8.5, "boundary", duration=duration)])
    assert runs(path) == [(0.0, 8), (0.8, 12)]
    assert "1 boundaries, the first before sample 9, do not say how many samples" in read(path)[0].repairs[0]


def test_a_boundary_that_was_a_marker_has_the_length_of_a_marker(tmp_path):
    path = set_file(tmp_path, events=[event(9, "boundary", duration=1.0, code="New Segment")])
    assert runs(path) == [(0.0, 8), (0.8, 12)]


def test_a_boundary_at_the_first_sample_parts_nothing(tmp_path):
    assert runs(set_file(tmp_path, events=[event(0.5, "boundary", duration=100.0)])) == [(0.0, 20)]


EPOCHS = COUNTING.reshape(2, 5, 4, order="F")  # four epochs of five samples
UREVENTS = [{"latency": latency} for latency in (103.0, 203.0, 303.0, 403.0)]


def epoch_events(*urevents):
    """The third sample of each epoch."""
    return [event(5 * k + 3, urevent=float(u), epoch=k + 1.0) for k, u in enumerate(urevents)]


@WRITERS
def test_epochs_lie_where_they_were_recorded(tmp_path, write):
    path = write(tmp_path, data=EPOCHS, events=epoch_events(1, 2, 3, 4), urevent=UREVENTS)
    assert runs(path) == [(10.0, 5), (20.0, 5), (30.0, 5), (40.0, 5)]
    (recording,) = read(path)
    assert recording["events"].times_s == pytest.approx([10.2, 20.2, 30.2, 40.2])
    assert recording["eeg"].segments[1].samples[0:2].tolist() == [[10, 11], [12, 13]]


def test_epochs_sorted_by_something_else_are_put_in_order_of_time(tmp_path):
    path = set_file(tmp_path, data=EPOCHS, events=epoch_events(4, 3, 2, 1), urevent=UREVENTS)
    assert runs(path) == [(10.0, 5), (20.0, 5), (30.0, 5), (40.0, 5)]
    assert read(path)[0]["eeg"].segments[0].samples[0:1].tolist() == [[30, 31]]


ONE_AFTER_THE_OTHER = [(0.0, 5), (1.5, 5), (3.0, 5), (4.5, 5)]  # five samples at 10 Hz, then a second


def test_real_epochs_equal_those_of_mne(recordings_dir):
    """Two of them share an event, so that they overlap in the recording: they lie one after the other here."""
    path = recordings_dir / "eeg/eeglab/mne-testing-data/test_epochs_onefile.set"
    stock = mne.read_epochs_eeglab(path, verbose="error")
    (recording,) = read(path)
    ours = np.stack(recording["eeg"].values()).transpose(0, 2, 1)
    assert np.allclose(ours * 1e-6, stock.get_data(), rtol=1e-9)
    assert runs(path) == [(pytest.approx(1.16 * k), 8) for k in range(4)]
    assert recording.repairs[-1].endswith("its 4 epochs are put 1 s apart, their true times not known")
    events = recording["events"]
    assert events.labels == ("S255", "S  8", "S  8", "S255", "S  9", "S255", "S  9")
    assert [events.times_s[k] for k in (0, 2, 3, 5)] == pytest.approx([0.06, 1.16 + 0.06, 2.32 + 0.06, 3.48 + 0.036])
    assert not any(isinstance(line, Defect) for line in recording.repairs)


def test_epochs_that_share_samples_lie_one_after_the_other(tmp_path):
    near = [{"latency": latency} for latency in (103.0, 107.0, 303.0, 403.0)]
    path = set_file(tmp_path, data=EPOCHS, events=epoch_events(1, 2, 3, 4), urevent=near)
    assert runs(path) == ONE_AFTER_THE_OTHER
    (recording,) = read(path)
    assert recording["events"].times_s == pytest.approx([0.2, 1.7, 3.2, 4.7])
    assert recording.repairs == (
        "epochs 1 and 2 overlap in time: its 4 epochs are put 1 s apart, their true times not known",
    )


def test_resampled_epochs_need_two_events_that_agree(tmp_path):
    """Old versions of EEGLAB leave some urevents at the rate before, so one event proves nothing."""
    content = {"data": EPOCHS, "urevent": [*UREVENTS, *({"latency": u["latency"] + 2} for u in UREVENTS)]}
    single, later = (
        epoch_events(1, 2, 3, 4),
        [event(e["latency"] + 2, urevent=e["urevent"] + 4, epoch=e["epoch"]) for e in epoch_events(1, 2, 3, 4)],
    )
    path = set_file(tmp_path, events=single, history="EEG = pop_resample( EEG, 10);", **content)
    assert runs(path) == ONE_AFTER_THE_OTHER
    assert "as the data were resampled and it has no two events with urevents" in read(path)[0].repairs[0]
    path = set_file(tmp_path, events=[*single, *later], history="EEG = pop_resample( EEG, 10);", **content)
    assert runs(path) == [(10.0, 5), (20.0, 5), (30.0, 5), (40.0, 5)]


def test_gaps_of_resampled_data_are_doubted(tmp_path):
    cut = [event(8.5, "boundary", duration=10.0)]
    (recording,) = read(set_file(tmp_path, events=cut, setname="x resampled"))
    assert "was resampled" in recording.repairs[0]


@WRITERS
def test_epochs_without_a_known_time_lie_one_after_the_other(tmp_path, write):
    path = write(tmp_path, data=EPOCHS, events=epoch_events(1, 2, 3), urevent=UREVENTS)
    assert runs(path) == ONE_AFTER_THE_OTHER
    assert "nothing tells when epoch 4 was recorded: its 4 epochs are put 1 s apart" in read(path)[0].repairs[0]
    samples = [segment.samples[0:1].tolist() for segment in read(path)[0]["eeg"].segments]
    assert samples == [[[0, 1]], [[10, 11]], [[20, 21]], [[30, 31]]]


@pytest.mark.parametrize("urevent", [1.0, 5.0])
def test_an_event_in_no_epoch_says_nothing_about_any(tmp_path, urevent):
    """Its urevent has a time that none of the epochs has, or none at all."""
    events = [*epoch_events(1, 2, 3, 4), event(99, urevent=urevent, epoch=float("nan"))]
    urevents = [*UREVENTS, {"latency": float("nan")}]
    assert len(runs(set_file(tmp_path, data=EPOCHS, events=events, urevent=urevents))) == 4


def test_epochs_whose_events_contradict_each_other_lie_one_after_the_other(tmp_path):
    events = [*epoch_events(1, 2, 3, 4), event(4, urevent=3.0, epoch=1.0)]
    path = set_file(tmp_path, data=EPOCHS, events=events, urevent=UREVENTS)
    assert runs(path) == ONE_AFTER_THE_OTHER
    assert "the events of epoch 1 do not agree" in read(path)[0].repairs[0]


def test_kinds_are_those_stated(tmp_path):
    channels = [{"labels": "A", "type": "EOG"}, {"labels": "B", "type": "Trigger"}]
    (recording,) = read(set_file(tmp_path, channels=channels))
    assert recording["eog"].table["kind"] == ("eog",)
    assert (recording["aux"].channel_names, recording["aux"].unit) == (("B",), "a.u.")


def test_positions_and_reference_are_kept_as_stored(tmp_path):
    channels = [{"labels": name, "X": 8.5, "Y": 0.0, "Z": -1.0, "ref": "Cz"} for name in ("A", "B")]
    signal = read(set_file(tmp_path, channels=channels))[0]["eeg"]
    assert [signal.table[f"{axis}_as_stored"][0] for axis in "xyz"] == [8.5, 0.0, -1.0]
    assert signal.table["reference"] == ("Cz", "Cz")
    assert signal.provenance["reference"] == "common"


def test_other_fields_of_events_are_columns(tmp_path):
    events = [event(3, duration=5.0, rt=0.31, side="left"), event(1, duration=0.0, rt=0.29, side="right")]
    table = read(set_file(tmp_path, events=events))[0]["events"].table
    assert table == {
        "duration_s": (0.0, 0.5), "type": ("hit", "hit"), "rt": (0.29, 0.31), "side": ("right", "left"),
    }  # fmt: skip


def test_numbers_as_event_types_are_labels(tmp_path):
    assert read(set_file(tmp_path, events=[event(3, 7.0), event(5, 2.5)]))[0]["events"].labels == ("7", "2.5")


def test_an_event_without_a_latency_is_left_out_and_said(tmp_path):
    (recording,) = read(set_file(tmp_path, events=[event(3), event(float("nan"))]))
    assert len(recording["events"].labels) == 1
    assert recording.repairs == ("1 events without a latency left out",)


def test_channels_without_or_with_equal_names_are_numbered(tmp_path):
    assert read(set_file(tmp_path, channels=["Cz"]))[0]["eeg"].channel_names == ("Ch1", "Ch2")
    assert read(set_file(tmp_path, channels=["Cz", "Cz"]))[0]["eeg"].channel_names == ("Cz-0", "Cz-1")


@WRITERS
@pytest.mark.parametrize(
    "lie", [{"nbchan": 1e9}, {"nbchan": -1.0}, {"pnts": 21.0}, {"pnts": 2.5}, {"srate": 0.0}, {"srate": float("nan")}]
)
def test_a_header_that_lies_is_refused(tmp_path, write, lie):
    with pytest.raises(FormatError, match=r"x\.set"):
        read(write(tmp_path, **lie))


def test_complex_samples_are_refused(tmp_path):
    with pytest.raises(FormatError, match="numbers of 2 channels x 20 samples x 1 epochs are wanted"):
        read(set_file(tmp_path, data=COUNTING + 1j))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(_eeglab_fields, "MAX_UNPACKED_BYTES", 1 << 20)
    path = set_file(tmp_path, data=np.zeros((2, 1_000_000), dtype=np.float32))
    assert path.stat().st_size < 20_000
    with pytest.raises(FormatError, match=r"more than 1 MB once unpacked.*separate \.fdt"):
        read(path)


def test_a_flipped_bit_of_packed_samples_is_noticed(tmp_path):
    path = set_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1  # of the checksum at the end of the packed bytes
    path.write_bytes(bytes(data))
    with pytest.raises(FormatError, match="damaged"):
        read(path)


def test_a_cut_file_is_refused(tmp_path):
    path = set_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match="damaged or cut off"):
        read(path)


def elsewhere(folder):
    """A 7.3 file whose `pnts` and `data` can be replaced by something that leads out of it."""
    h5_file(folder)
    with h5py.File(folder / "secret.h5", "w") as other:
        other["x"] = np.full((20, 2), 66.0, dtype="f4")
    file = h5py.File(folder / "x.set", "r+")
    del file["EEG/data"]
    return file


def test_links_to_another_file_are_refused(tmp_path):
    with elsewhere(tmp_path) as file:
        file["EEG/data"] = h5py.ExternalLink("secret.h5", "/x")
    with pytest.raises(FormatError, match="link"):
        read(tmp_path / "x.set")


def test_samples_kept_in_another_file_are_refused(tmp_path):
    with elsewhere(tmp_path) as file:
        file["EEG"].create_dataset("data", (20, 2), "f4", external=[(str(tmp_path / "secret.h5"), 0, 160)])
    with pytest.raises(FormatError, match="another file"):
        read(tmp_path / "x.set")


def test_a_virtual_dataset_is_refused(tmp_path):
    layout = h5py.VirtualLayout((20, 2), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "x", (20, 2))
    with elsewhere(tmp_path) as file:
        file["EEG"].create_virtual_dataset("data", layout)
    with pytest.raises(FormatError, match="another file"):
        read(tmp_path / "x.set")


def test_a_chunk_that_unpacks_to_gigabytes_is_refused(tmp_path):
    with elsewhere(tmp_path) as file:
        file["EEG"].create_dataset("data", (1 << 29, 2), "f4", chunks=(1 << 27, 2), compression="gzip")
        file["EEG/pnts"][...] = float(1 << 29)
    with pytest.raises(FormatError, match="chunks of 1073741824 bytes"):
        read(tmp_path / "x.set")


def test_pieces_of_embedded_samples_are_read_from_hdf5_when_sliced(tmp_path):
    samples = read(h5_file(tmp_path))[0]["eeg"].segments[0].samples
    assert not isinstance(samples, np.ndarray)
    for first, last in ((0, 3), (3, 20), (7, 7)):
        assert samples[first:last].tolist() == COUNTING.T[first:last].tolist()


def test_nonsense_after_the_header_is_not_claimed(tmp_path):
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    for tail in (
        b"",
        b"\x0f\x00\x00\x00\xff\xff\xff\xff",
        b"\x0f\x00\x00\x00\x20\x00\x00\x00" + zlib.compress(bytes(64)),
    ):
        (tmp_path / "x.set").write_bytes(head + tail)
        assert not eeglab.sniff(tmp_path / "x.set", head_of(tmp_path / "x.set"))
