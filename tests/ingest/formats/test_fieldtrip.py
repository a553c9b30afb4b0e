import h5py
import mne
import numpy as np
import pytest
from scipy.io import savemat

from neuroloom.ingest import FormatError, format_of, read
from neuroloom.ingest.formats import _fieldtrip_fields

FOLDER = "eeg/fieldtrip_mat/mne-testing-data"
COUNTING = np.arange(20.0).reshape(10, 2).T  # two channels, 10 samples at 10 Hz: 0, 2, 4 ... and 1, 3, 5 ...
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # MNE's, on files without its own info


def cells(values, *, column=False):
    found = np.empty((len(values), 1) if column else (1, len(values)), dtype=object)
    for k, value in enumerate(values):
        found.ravel()[k] = value
    return found


def fields(*, trials=(COUNTING,), times=None, labels=("Cz", "EOG"), sampleinfo=None, **others):
    times = [np.arange(trial.shape[1]) / 10.0 for trial in trials] if times is None else times
    found = {"label": cells(labels, column=True), "trial": cells(trials), "fsample": 10.0}
    found["time"] = cells([np.atleast_2d(time) for time in times])
    if sampleinfo is not None:
        found["sampleinfo"] = np.array(sampleinfo, dtype=float)
    return {key: value for key, value in (found | others).items() if value is not None}


def mat_file(folder, *, name="data", **content):
    savemat(folder / "x.mat", {name: fields(**content), "cfg": {"a": 1.0}}, do_compression=True)
    return folder / "x.mat"


def h5_file(folder, *, name="data", **content):
    """MATLAB 7.3."""
    with h5py.File(folder / "x.mat", "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for key, value in fields(**content).items():
            _put(file.require_group(name), key, value, refs)
    with (folder / "x.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(128))
    return folder / "x.mat"


def _put(group, key, value, refs):
    if isinstance(value, dict):
        for name, inner in value.items():
            _put(group.require_group(key), name, inner, refs)
    elif isinstance(value, str):
        item = group.create_dataset(key, data=np.frombuffer(value.encode("utf-16-le"), "<u2").reshape(-1, 1))
        item.attrs["MATLAB_class"] = np.bytes_("char")
    elif isinstance(value, np.ndarray) and value.dtype == object:
        names = [f"r{len(refs) + k}" for k in range(value.size)]
        for name, inner in zip(names, value.ravel(), strict=True):
            _put(refs, name, inner, refs)
        places = np.array([refs[name].ref for name in names], dtype=h5py.ref_dtype).reshape(value.shape).T
        group.create_dataset(key, data=places).attrs["MATLAB_class"] = np.bytes_("cell")
    else:
        group.create_dataset(key, data=np.atleast_2d(value).T)


WRITERS = pytest.mark.parametrize("write", [mat_file, h5_file])


def values_of(recording):
    """Channel -> all its samples, trials in a row."""
    signals = [s for s in recording.streams if hasattr(s, "channel_names")]
    return {
        name: np.concatenate([part[:, k] for part in signal.values()])
        for signal in signals
        for k, name in enumerate(signal.channel_names)
    }


def test_continuous_values_equal_those_of_mne(recordings_dir):
    path = recordings_dir / FOLDER / "CNT/raw_v7.mat"
    assert format_of(path) == "fieldtrip"
    theirs = mne.io.read_raw_fieldtrip(path, None)
    ours = values_of(read(path)[0])
    assert all(np.array_equal(ours[name], row) for name, row in zip(theirs.ch_names, theirs.get_data(), strict=True))


@pytest.mark.parametrize("name", ["CNT/epoched_v7.mat", "EGI/epoched_v7.mat", "EGI/epoched_v73.mat"])
def test_trials_equal_those_of_mne(recordings_dir, name):
    path = recordings_dir / FOLDER / name
    assert format_of(path) == "fieldtrip"
    theirs = mne.read_epochs_fieldtrip(path, None)
    (recording,) = read(path)
    ours = values_of(recording)
    for channel, trials in zip(theirs.ch_names, theirs.get_data(copy=False).transpose(1, 0, 2), strict=True):
        assert np.array_equal(ours[channel], trials.ravel())
    zeros_s, starts_s = recording["trials"].table["zero_s"], recording["trials"].bounds_s[:, 0]
    assert starts_s - np.array(zeros_s) == pytest.approx(theirs.tmin)


@pytest.mark.parametrize("name", ["CNT/averaged_v7.mat", "EGI/averaged_v7.mat", "EGI/averaged_v73.mat"])
def test_averages_equal_those_of_mne_and_say_so(recordings_dir, name):
    """MNE lets the time of an average begin at 0; the file has it begin 10 ms before the event."""
    theirs = mne.read_evoked_fieldtrip(recordings_dir / FOLDER / name, None)
    (recording,) = read(recordings_dir / FOLDER / name)
    ours = values_of(recording)
    assert all(np.array_equal(ours[channel], row) for channel, row in zip(theirs.ch_names, theirs.data, strict=True))
    assert recording.streams[0].start_s == pytest.approx(-0.01)
    assert any(line.startswith("an average") for line in recording.repairs)


def test_samples_are_those_of_the_recording_they_were_taken_from(recordings_dir):
    """FieldTrip, and this project, read the same Neuroscan file: equal microvolts, and triggers at the same samples."""
    (cnt,) = read(recordings_dir / "eeg/cnt_neuroscan/mne-testing-data/scan41_short.cnt")
    ours = values_of(cnt)
    theirs = values_of(read(recordings_dir / FOLDER / "CNT/raw_v7.mat")[0])
    assert len(theirs) == 125
    assert all(np.allclose(ours[name][:2001], theirs[name], rtol=1e-6) for name in theirs)
    trials = read(recordings_dir / FOLDER / "CNT/epoched_v7.mat")[0]["trials"]
    assert trials.table["zero_s"] == pytest.approx(cnt["events"].times_s[:3])
    assert trials.labels == cnt["events"].labels[:3] == ("7", "7", "109")


def test_places_equal_those_of_mne(recordings_dir):
    path = recordings_dir / FOLDER / "EGI/epoched_v7.mat"
    theirs = mne.read_epochs_fieldtrip(path, None).info["chs"]
    table = read(path)[0]["eeg"].table
    ours = np.array([table[f"{axis}_mm"] for axis in "xyz"]).T / 1e3
    assert np.allclose(ours, [channel["loc"][:3] for channel in theirs])


@WRITERS
def test_a_trial_lies_where_it_was_cut_from(tmp_path, write):
    trials = [COUNTING[:, :4], COUNTING[:, 4:8]]
    times = [[-0.1, 0.0, 0.1, 0.2]] * 2
    path = write(tmp_path, trials=trials, times=times, sampleinfo=[[51, 54], [21, 24]], trialinfo=[[7.0], [9.0]])
    (recording,) = read(path)
    assert [(s.timebase.start_s, s.samples[:1].tolist()) for s in recording["eeg"].segments] == [
        (2.0, [[8.0]]), (5.0, [[0.0]]),
    ]  # fmt: skip
    assert recording["trials"].labels == ("9", "7")
    assert recording["trials"].table["zero_s"] == pytest.approx((2.1, 5.1))


@WRITERS
def test_one_trial_without_a_place_has_its_own_times(tmp_path, write):
    (recording,) = read(write(tmp_path, times=[np.arange(10) / 10 + 3]))
    assert (recording["eeg"].start_s, recording["eeg"].n_samples, recording["eeg"].rate_hz) == (3.0, 10, 10.0)
    assert recording["eog"].channel_names == ("EOG",)


@WRITERS
def test_trials_without_a_place_are_refused(tmp_path, write):
    with pytest.raises(FormatError, match="2 trials, and no sampleinfo that fits"):
        read(write(tmp_path, trials=[COUNTING, COUNTING], sampleinfo=[[1, 5], [20, 29]]))


def test_trials_that_overlap_are_refused(tmp_path):
    with pytest.raises(FormatError, match=r"overlap at 0\.500 s"):
        read(mat_file(tmp_path, trials=[COUNTING, COUNTING], sampleinfo=[[1, 10], [6, 15]]))


@WRITERS
def test_the_header_states_units(tmp_path, write):
    header = {"label": cells(["Cz", "EOG"]), "chanunit": cells(["mV", "unknown"]), "chantype": cells(["eeg", "eog"])}
    (recording,) = read(write(tmp_path, hdr=header))
    assert (recording["eeg"].unit, recording["eeg"].values()[0][1, 0]) == ("uV", 2000.0)
    assert recording["eog"].unit == "a.u."


def test_a_sidecar_states_the_unit(tmp_path):
    path = mat_file(tmp_path)
    (tmp_path / "x.toml").write_text('format = "fieldtrip"\nunit = "uV"\n')
    (recording,) = read(path)
    assert (recording["eeg"].unit, recording.repairs) == ("uV", ())
    assert recording.files == (path, tmp_path / "x.toml")


def test_what_elec_says_of_sensors_is_no_unit_of_samples(tmp_path):
    elec = {"label": cells(["Cz"]), "chanpos": [[1.0, 2, 3]], "unit": "cm", "chanunit": cells(["V"])}
    signal = read(mat_file(tmp_path, elec=elec, labels=("Cz", "x1")))[0]["eeg"]
    assert (signal.unit, signal.table["z_mm"]) == ("a.u.", (30.0,))


def test_each_structure_is_a_recording(tmp_path):
    savemat(tmp_path / "x.mat", {"one": fields(), "two": fields(), "other": 5.0})
    assert [recording.clock for recording in read(tmp_path / "x.mat")] == ["x one", "x two"]


def test_samples_of_version_73_are_read_when_sliced(tmp_path):
    samples = read(h5_file(tmp_path))[0]["eeg"].segments[0].samples
    assert samples[3:5].tolist() == [[6.0], [8.0]]
    (tmp_path / "x.mat").write_bytes((tmp_path / "x.mat").read_bytes()[:600])
    with pytest.raises(FormatError, match=r"x\.mat: samples 3 to 5 cannot be read"):
        samples[3:5]


@WRITERS
@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"labels": ("Cz",)}, "numbers of 1 channels x 10 times are wanted"),
        ({"times": [np.arange(9.0)]}, "numbers of 2 channels x 9 times"),
        ({"fsample": 0.0}, "fsample is 0.0 Hz"),
        ({"fsample": float("nan")}, "fsample is nan Hz"),
        ({"times": [np.zeros(10)], "fsample": None}, "repeat, jump back"),
        ({"trial": 5.0}, "no cells of as many trials"),
        ({"trial": cells(["text"])}, "trial 1 has no samples"),
    ],
)
def test_a_structure_that_lies_is_refused(tmp_path, write, lie, match):
    with pytest.raises(FormatError, match=rf"x\.mat: .*{match}"):
        read(write(tmp_path, **lie))


def test_a_damaged_file_is_refused(tmp_path):
    path = mat_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match=r"x\.mat"):
        read(path)


def test_what_unpacks_to_too_much_is_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(_fieldtrip_fields, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(FormatError, match=r"data takes more than .* save it with -v7\.3"):
        read(mat_file(tmp_path))


def test_samples_in_another_file_are_refused(tmp_path):
    path = h5_file(tmp_path)
    with h5py.File(path, "r+") as file:
        name = file[file["data/trial"][0, 0]].name
        del file[name]
        file.create_dataset(name, (10, 2), "f8", external=[("secret.bin", 0, 160)])
        file["data/trial"][0, 0] = file[name].ref
    with pytest.raises(FormatError, match="another file"):
        read(path)


def test_other_matlab_files_are_not_claimed(recordings_dir, tmp_path):
    savemat(tmp_path / "x.mat", {"data": {"label": "a", "time": 5.0}})
    assert format_of(tmp_path / "x.mat") is None
    assert (
        format_of(recordings_dir / "electrode_behaviour/mat_nelpy/nelpy-example-data/linear-track/spikes.mat") is None
    )
