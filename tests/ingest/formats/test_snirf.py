import h5py
import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, format_of, read
from neuroloom.ingest.timebase import Timestamps

FOLDER = "eeg/snirf/mne-testing-data"
REAL = (
    "MNE-NIRS/20220217/20220217_nirx_15_3_recording.snirf",
    "NIRx/NIRSport2/1.0.3/2021-04-23_005.snirf",
    "NIRx/NIRSport2/1.0.3/2021-05-05_001.snirf",
)
DATA = np.arange(20.0).reshape(10, 2)
CHANNELS = ({"wavelengthIndex": 1}, {"wavelengthIndex": 2})


def nirs(group, *, data=DATA, times=(0.0, 0.1), channels=CHANNELS, tags=(), stim=(), aux=()):
    """Two channels from source 1 to detector 1 at 760 and 850 nm."""
    block = group.create_group("data1")
    block["dataTimeSeries"], block["time"] = data, np.asarray(times)
    for k, channel in enumerate(channels, start=1):
        for key, value in ({"sourceIndex": 1, "detectorIndex": 1, "dataType": 1, "dataTypeIndex": 1} | channel).items():
            block[f"measurementList{k}/{key}"] = value
    stated = {"TimeUnit": "s", "LengthUnit": "cm", "MeasurementDate": "2021-04-23", "MeasurementTime": "13:29:03Z"}
    for key, value in (stated | dict(tags)).items():
        group[f"metaDataTags/{key}"] = value
    group["probe/wavelengths"] = [760.0, 850.0]
    group["probe/sourcePos3D"], group["probe/detectorPos3D"] = [[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]
    for k, (name, rows) in enumerate(stim, start=1):
        group[f"stim{k}/name"], group[f"stim{k}/data"] = name, rows
    for k, (name, values, at) in enumerate(aux, start=1):
        group[f"aux{k}/name"], group[f"aux{k}/dataTimeSeries"], group[f"aux{k}/time"] = name, values, at
    return group


def snirf_file(folder, **content):
    with h5py.File(folder / "x.snirf", "w") as file:
        file["formatVersion"] = "1.1"
        nirs(file.create_group("nirs"), **content)
    return folder / "x.snirf"


@pytest.mark.parametrize("name", REAL)
def test_values_equal_those_of_mne(recordings_dir, name):
    path = recordings_dir / FOLDER / name
    assert format_of(path) == "snirf"
    theirs = mne.io.read_raw_snirf(path, preload=True, verbose="error")
    signal = read(path)[0]["fnirs"]
    assert list(signal.channel_names) == theirs.ch_names
    assert np.array_equal(np.vstack(signal.values()), theirs.get_data().T)
    assert signal.rate_hz == pytest.approx(theirs.info["sfreq"], rel=1e-4)


@pytest.mark.parametrize("name", REAL)
def test_wavelengths_and_places_equal_those_of_mne(recordings_dir, name):
    theirs = mne.io.read_raw_snirf(recordings_dir / FOLDER / name, verbose="error").info["chs"]
    table = read(recordings_dir / FOLDER / name)[0]["fnirs"].table
    assert list(table["wavelength_nm"]) == [channel["loc"][9] for channel in theirs]
    for what, at in (("source", 3), ("detector", 6)):
        ours = np.array([table[f"{what}_{axis}_mm"] for axis in "xyz"]).T / 1e3
        assert np.allclose(ours, [channel["loc"][at : at + 3] for channel in theirs], rtol=1e-6)


@pytest.mark.parametrize("name", [REAL[0], REAL[2]])
def test_stimuli_equal_those_of_mne(recordings_dir, name):
    """MNE cuts those that last beyond the last sample."""
    theirs = mne.io.read_raw_snirf(recordings_dir / FOLDER / name, verbose="error").annotations
    ours = read(recordings_dir / FOLDER / name)[0]["stimuli"]
    assert ours.times_s == pytest.approx(theirs.onset)
    assert ours.labels == tuple(theirs.description)
    assert all(whole >= cut for whole, cut in zip(ours.table["duration_s"], theirs.duration, strict=True))


def test_accelerometers_are_kept_at_their_own_rate(recordings_dir):
    """MNE leaves them out."""
    (recording,) = read(recordings_dir / FOLDER / REAL[2])
    assert recording["misc"].channel_names[:2] == ("accelerometer_1_x", "accelerometer_1_y")
    assert recording["misc"].rate_hz == pytest.approx(100.6, abs=0.01)
    assert recording["misc"].segments[0].samples[:2][:, 0] == pytest.approx([-1.973, -1.98])


def test_a_start_and_an_interval_stand_for_all_times(tmp_path):
    (recording,) = read(snirf_file(tmp_path, times=(5.0, 0.1)))
    assert (recording["fnirs"].start_s, recording["fnirs"].rate_hz) == (5.0, 10.0)
    assert recording.start.isoformat() == "2021-04-23T13:29:08+00:00"


def test_uneven_times_are_kept_and_pauses_are_gaps(tmp_path):
    times = np.array([0, 100, 210, 300, 400, 500, 5000, 5100, 5200, 5300])
    (recording,) = read(snirf_file(tmp_path, times=times, tags={"TimeUnit": "ms"}))
    first, second = recording["fnirs"].segments
    assert isinstance(first.timebase, Timestamps)
    assert first.timebase.times_s.tolist() == [0, 0.1, 0.21, 0.3, 0.4, 0.5]
    assert (second.timebase.start_s, second.samples[0:1].tolist()) == (5.0, [[12, 13]])


def test_processed_data_have_their_unit(tmp_path):
    channels = [{"dataType": 99999, "dataTypeLabel": label, "dataUnit": "uM"} for label in ("HbO", "HbR")]
    signal = read(snirf_file(tmp_path, channels=channels))[0]["fnirs"]
    assert (signal.channel_names, signal.unit) == (("S1_D1 hbo", "S1_D1 hbr"), "uM")
    assert signal.table["data_type"] == ("HbO", "HbR")
    assert "wavelength_nm" not in signal.table


def test_an_offset_is_added(tmp_path):
    path = snirf_file(tmp_path)
    with h5py.File(path, "r+") as file:
        file["nirs/data1/dataOffset"] = [100.0, 200.0]
    assert read(path)[0]["fnirs"].values()[0][0].tolist() == [100, 201]


def test_channels_in_arrays_are_the_same(tmp_path):
    path = snirf_file(tmp_path)
    before = read(path)[0]["fnirs"]
    with h5py.File(path, "r+") as file:
        block = file["nirs/data1"]
        for k in (1, 2):
            del block[f"measurementList{k}"]
        for key, last in {"sourceIndex": 1, "detectorIndex": 1, "wavelengthIndex": 2, "dataType": 1}.items():
            block[f"measurementLists/{key}"] = [1, last]
    after = read(path)[0]["fnirs"]
    assert (after.channel_names, dict(after.table)) == (before.channel_names, dict(before.table))


def test_each_nirs_is_a_recording(tmp_path):
    with h5py.File(tmp_path / "x.snirf", "w") as file:
        file["formatVersion"] = "1.1"
        for name in ("nirs1", "nirs2"):
            nirs(file.create_group(name))
    assert [recording.clock for recording in read(tmp_path / "x.snirf")] == ["x nirs1", "x nirs2"]


def test_samples_are_read_when_sliced(tmp_path):
    path = snirf_file(tmp_path)
    signal = read(path)[0]["fnirs"]
    for first, last in ((0, 3), (3, 10), (7, 7)):
        assert signal.segments[0].samples[first:last].tolist() == DATA[first:last].tolist()
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(FormatError, match=r"x\.snirf: samples 0 to 3 cannot be read"):
        signal.segments[0].samples[0:3]


def rewired(path, name, make):
    with h5py.File(path, "r+") as file:
        del file[name]
        make(file)
    return path


@pytest.mark.parametrize(
    "name", ["nirs/data1/dataTimeSeries", "nirs/data1/time", "nirs/probe/wavelengths", "nirs/stim1/data", "nirs/stim1"]
)
def test_links_out_of_the_file_are_refused(tmp_path, name):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = DATA
    path = snirf_file(tmp_path, stim=[("a", [[0.0, 1.0, 1.0]])])

    def link(file):
        file[name] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")

    with pytest.raises(FormatError, match="is a link"):
        read(rewired(path, name, link))


def test_values_in_another_file_are_refused(tmp_path):
    def external(file):
        file["nirs/data1"].create_dataset("dataTimeSeries", (10, 2), "f8", external=[("secret.bin", 0, 160)])

    with pytest.raises(FormatError, match="another file"):
        read(rewired(snirf_file(tmp_path), "nirs/data1/dataTimeSeries", external))


def test_a_chunk_that_unpacks_to_gigabytes_is_refused(tmp_path):
    def bomb(file):
        file["nirs/data1"].create_dataset("dataTimeSeries", (1 << 28, 2), "f8", chunks=(1 << 27, 2), compression="gzip")

    with pytest.raises(FormatError, match="in chunks of 2147483648 bytes"):
        read(rewired(snirf_file(tmp_path), "nirs/data1/dataTimeSeries", bomb))


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"times": np.arange(9)}, "9 times for 10 samples"),
        ({"times": (0.0, 0.0)}, "an interval of 0.0 s"),
        ({"times": np.zeros(10)}, "repeat, jump back"),
        ({"times": np.full(10, np.nan)}, "repeat, jump back"),
        ({"channels": CHANNELS[:1]}, "measurementList2"),
        ({"channels": ({"sourceIndex": 0}, {})}, "source 0 to detector 1"),
        ({"data": np.zeros((0, 2))}, "numbers of .T, C. are wanted"),
        ({"data": np.array([[b"a", b"b"]])}, "numbers of .T, C. are wanted"),
        ({"tags": {"TimeUnit": "fortnight"}}, "TimeUnit is 'fortnight'"),
    ],
)
def test_a_file_that_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=rf"x\.snirf: .*{match}"):
        read(snirf_file(tmp_path, **lie))


def test_places_without_a_unit_are_left_out_and_said(tmp_path):
    (recording,) = read(snirf_file(tmp_path, tags={"LengthUnit": "foot"}))
    assert "source_x_mm" not in recording["fnirs"].table
    assert any("LengthUnit is 'foot'" in line for line in recording.repairs)


def test_the_modality_is_fnirs(tmp_path):
    assert [s.modality for s in read(snirf_file(tmp_path))[0].streams if isinstance(s, Signal)] == ["fnirs"]
