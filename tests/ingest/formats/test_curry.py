import shutil

import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read
from neuroloom.ingest.formats import curry

FOLDER = "eeg/curry/mne-testing-data"
REAL = (
    f"{FOLDER}/Ref_channel_omitted Curry7.dap",
    f"{FOLDER}/test_bdf_stim_channel Curry 7.dap",
    f"{FOLDER}/test_bdf_stim_channel Curry 8 ASCII.cdt.dpa",
    f"{FOLDER}/test_bdf_stim_channel Curry 8.cdt.dpa",
    "odd/curry/mne-testing-data/test_sfreq_0.dap",
)
STATED = {
    "DataFormat": "FLOAT", "DataByteOrder": "INTEL", "DataSampOrder": "SAMP", "NumSamples": "10", "NumTrials": "1",
    "NumChannels": "3", "SampleTimeUsec": "2000", "SampleFreqHz": "500", "StartYear": "2018", "StartMonth": "11",
    "StartDay": "21", "StartHour": "12", "StartMin": "53", "StartSec": "48", "StartMillisec": "525",
}  # fmt: skip
DATA = np.arange(30, dtype="<f4").reshape(10, 3)
NUMBERS = DATA.tobytes()


def group(suffix, unit, n, labels, *, places=None, flags=None):
    rows = [f"DEVICE_PARAMETERS{suffix} START", f"   DataUnit = {unit}", f"   NumChanThisGroup = {n}"]
    rows += [f"DEVICE_PARAMETERS{suffix} END", *listed(f"LABELS{suffix}", labels)]
    rows += listed(f"CHAN_IN_FILE{suffix}", places) if places else []
    rows += listed(f"TRIGGER_FLAGS{suffix}", flags) if flags else []
    rows += listed(f"SENSORS{suffix}", [f" {k + 1}\t-2.5\t 3" for k in range(len(labels))])
    return rows


def listed(name, rows):
    return [f"{name} START_LIST\t# Do not edit!", *map(str, rows), f"{name} END_LIST"]


TWO_GROUPS = group("", "uV", 2, ["Cz", "Pz"]) + group("_OTHERS", "uV", 1, ["STI"], flags=[1])


def cdt_file(folder, *, groups=TWO_GROUPS, data=NUMBERS, events=(), **changed):
    """Curry 8."""
    (folder / "x.cdt").write_bytes(data)
    rows = ["\ufeffDATA_PARAMETERS START", *(f"   {k} = {v}" for k, v in (STATED | changed).items() if v is not None)]
    (folder / "x.cdt.dpa").write_text("\n".join([*rows, "DATA_PARAMETERS END", *groups]))
    if events:
        numbers = [f"  {at}\t 0\t {code}\t-1\t {at}\t {at + lasts}\t 0" for at, code, lasts, _ in events]
        remarks = [remark for _, _, _, remark in events]
        rows = [*listed("NUMBER_LIST", numbers), *listed("REMARK_LIST", remarks)]
        (folder / "x.cdt.cef").write_text("\n".join(rows))
    return folder / "x.cdt.dpa"


def stock(path):
    data = curry.files(path)[1]
    return mne.io.read_raw_curry(data, preload=True, verbose="error")


@pytest.mark.filterwarnings("ignore")  # curryreader leaves files open
@pytest.mark.parametrize("name", REAL)
def test_values_equal_those_of_mne(recordings_dir, name, same_as_mne):
    path = recordings_dir / name
    assert format_of(path) == "curry"
    (recording,) = read(path)
    assert recording["eeg"].segments[0].samples.dtype == np.float32
    theirs = stock(path)
    unmarked = [s for s in recording.streams if s.name != "stim"]
    same_as_mne(type(recording)(clock="x", format="curry", files=(), streams=tuple(unmarked)), theirs.drop_channels(
        [channel for channel in theirs.ch_names if channel == "Trigger"]
    ))  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REAL[1:4])
def test_events_equal_those_of_mne(recordings_dir, name):
    theirs = stock(recordings_dir / name).annotations
    ours = read(recordings_dir / name)[0]["events"]
    assert ours.times_s == pytest.approx(theirs.onset)
    assert ours.labels == tuple(theirs.description)


@pytest.mark.filterwarnings("ignore")
def test_places_equal_those_of_mne(recordings_dir):
    theirs = stock(recordings_dir / REAL[0]).info["chs"]
    table = read(recordings_dir / REAL[0])[0]["eeg"].table
    assert np.allclose([table[f"{axis}_mm"] for axis in "xyz"], np.array([ch["loc"][:3] for ch in theirs[:3]]).T * 1e3)


def test_a_rate_of_0_is_that_of_the_interval_and_said(recordings_dir):
    (recording,) = read(recordings_dir / REAL[4])
    assert recording["eeg"].rate_hz == 500
    assert recording.repairs == ("SampleFreqHz=0: 500 Hz, as SampleTimeUsec=2000 says",)


@pytest.mark.parametrize("name", ["c,rfDC Curry 7.dap", "c,rfDC Curry 8.cdt.dpa"])
def test_real_parameters_without_samples_are_refused_by_name(recordings_dir, name):
    with pytest.raises(FormatError, match=r"the file of its samples 'c,rfDC Curry \d\.(dat|cdt)' is not beside it"):
        read(recordings_dir / FOLDER / name)


def test_a_folder_is_one_recording_with_all_its_files(recordings_dir, tmp_path):
    for file in curry.files(recordings_dir / REAL[1]):
        shutil.copy(file, tmp_path)
    (recording,) = read(tmp_path)
    assert sorted(file.suffix for file in recording.files) == [".cef", ".dap", ".dat", ".rs3"]


def test_a_trigger_channel_gives_its_codes(tmp_path):
    data = DATA.copy()
    data[:, 2] = [0, 0, 5, 5, 0, 7, 0, 0, 0, 0]
    (recording,) = read(cdt_file(tmp_path, data=data.tobytes()))
    assert recording["eeg"].channel_names == ("Cz", "Pz")
    assert (recording["triggers"].times_s.tolist(), recording["triggers"].labels) == ([0.004, 0.01], ("5", "7"))


def test_magnetometers_are_in_tesla(tmp_path):
    groups = group("_MAG1", "fT", 1, ["A1"]) + group("", "uV", 2, ["Cz", "EOG"])
    (recording,) = read(cdt_file(tmp_path, groups=groups))
    assert (recording["magnetometers"].unit, recording["magnetometers"].values()[0][1, 0]) == (
        "T",
        pytest.approx(3e-15),
    )
    assert recording["eog"].channel_names == ("EOG",)


def test_channels_lie_where_the_file_says(tmp_path):
    groups = group("", "uV", 3, ["Cz", "Ref", "Pz"], places=[2, 0, 1]) + group("_OTHERS", "uV", 1, ["ECG"], places=[3])
    (recording,) = read(cdt_file(tmp_path, groups=groups))
    assert recording["eeg"].channel_names == ("Pz", "Cz")
    assert recording["eeg"].segments[0].samples[1:2].tolist() == [[3, 4]]
    assert recording["eeg"].table["x_mm"] == (3.0, 1.0)


def test_samples_that_lie_channel_by_channel_are_turned(tmp_path):
    """curryreader takes them for samples of all channels."""
    signal = read(cdt_file(tmp_path, data=DATA.T.tobytes(), DataSampOrder="CHAN"))[0]["eeg"]
    assert signal.segments[0].samples[2:4].tolist() == [[6, 7], [9, 10]]


def test_samples_as_text_are_numbers(tmp_path):
    text = "\n".join("\t".join(map(str, row)) for row in DATA.tolist()).encode()
    signal = read(cdt_file(tmp_path, data=text, DataByteOrder="ASCII"))[0]["eeg"]
    assert signal.segments[0].samples[2:4].tolist() == [[6, 7], [9, 10]]


def test_a_remark_is_the_label_of_its_event(tmp_path):
    events = [(5, 7, 0, ""), (2, 9, 3, "blink <b>")]
    found = read(cdt_file(tmp_path, events=events))[0]["events"]
    assert (found.labels, found.table["code"]) == (("blink <b>", "7"), (9, 7))
    assert found.table["duration_s"] == (0.006, 0.0)


def test_missing_samples_are_named(tmp_path):
    path = cdt_file(tmp_path)
    (tmp_path / "x.cdt").unlink()
    with pytest.raises(FormatError, match=r"x\.cdt\.dpa: the file of its samples 'x\.cdt' is not beside it"):
        read(path)


def test_samples_that_are_a_link_are_refused(tmp_path):
    path = cdt_file(tmp_path)
    (tmp_path / "x.cdt").rename(tmp_path / "y.bin")
    (tmp_path / "x.cdt").symlink_to(tmp_path / "y.bin")
    with pytest.raises(FormatError, match="not beside it"):
        read(path)


def test_fewer_samples_than_stated_are_read_and_said(tmp_path):
    (recording,) = read(cdt_file(tmp_path, NumSamples="1000000000"))
    assert recording["eeg"].n_samples == 10
    assert "x.cdt.dpa states 1000000000 samples, 10 are there: 10 samples" in recording.repairs


@pytest.mark.parametrize(
    ("lie", "match"),
    [
        ({"NumChannels": "1000000000"}, r"x\.cdt: 120 bytes; whole samples of 1000000000 float32"),
        ({"NumChannels": "5"}, "5 channels but 3 in its groups"),
        ({"NumChannels": "0"}, "NumChannels is '0'"),
        ({"NumTrials": "4"}, "4 epochs"),
        ({"SampleTimeUsec": "0", "SampleFreqHz": "0"}, "one is wanted"),
        ({"SampleTimeUsec": "-5"}, "SampleTimeUsec is '-5'"),
        ({"SampleTimeUsec": "nan"}, "SampleTimeUsec is 'nan'"),
        ({"DataGuid": "{2912E8D8-F5C8-4E25-A8E7-A1385967DA09}"}, "compressed"),
        ({"groups": group("", "uV", 10**9, ["Cz"])}, "1000000000 channels; fewer"),
        ({"groups": group("", "uV", 3, ["Cz"], places=[1, 1, 2])}, "3 channels but 2"),
        ({"DataByteOrder": "ASCII", "data": b"1 2 x\n"}, "rows of 3 numbers are wanted"),
        ({"data": DATA.tobytes()[:-3]}, "still being copied, cut off"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, lie, match):
    with pytest.raises(FormatError, match=match):
        read(cdt_file(tmp_path, **lie))
