"""A session handed on opens elsewhere with the same numbers."""

import gzip
import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import h5py
import mne_bids
import numpy as np
import pytest

from neuroloom.ingest import Events, Intervals, Segment, Session, Signal, Timebase, durable
from neuroloom.pipeline.care import _bids_tables
from neuroloom.pipeline.care.exporting import export_bids, export_portable
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.synthetic.sample_devices import record_person

SAMPLE = Path(__file__).parents[3] / "sample_data" / "person"
STEM = "sub-sample_ses-01_task-choice"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store")).create()
    return Session.open(Path(ingest_path(SAMPLE, store, sorter=None).file).parent)


@pytest.fixture(scope="module")
def dataset(session, tmp_path_factory):
    root = tmp_path_factory.mktemp("bids")
    return root, export_bids(session, root)


def read_back(root):
    path = mne_bids.BIDSPath(
        root=root, subject="sample", session="01", task="choice", datatype="eeg", suffix="eeg", extension=".vhdr"
    )
    return mne_bids.read_raw_bids(path, verbose="error")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_eeg_comes_back_through_mne_bids_with_the_same_volts(session, dataset):
    raw = read_back(dataset[0])
    ours = session["eeg"].values()[0].T * 1e-6
    assert raw.ch_names == list(session["eeg"].channel_names)
    assert np.abs(raw.get_data() - ours).max() < 1e-12


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_events_keep_their_times_relative_to_the_first_sample(session, dataset):
    annotations = read_back(dataset[0]).annotations
    onsets = [o for o, text in zip(annotations.onset, annotations.description, strict=True) if text == "S 11"]
    ours = session["markers"].labelled("S 11").times_s - session["eeg"].start_s
    assert onsets == pytest.approx(ours, abs=1e-3)


def test_gaze_is_eye_tracking_with_its_start_and_rate(session, dataset):
    path = next(p for p in dataset[1].files if "recording-gaze" in p.name)
    sidecar = json.loads(Path(str(path).replace(".tsv.gz", ".json")).read_text())
    assert sidecar["StartTime"] == session["gaze"].start_s
    assert sidecar["Columns"] == ["x_right", "y_right", "pupil_right"]
    assert sidecar["x_right"] == {"Units": "px"}
    with gzip.open(path, "rt") as file:
        first = [float(cell) for cell in file.readline().split("\t")]
    assert first[:2] == session["gaze"].values()[0][0].tolist()


def test_the_session_itself_goes_along(session, dataset):
    copies = {p.name for p in dataset[1].files if "sourcedata" in str(p)}
    assert copies == {"session.nwb", "manifest.json"}
    assert Session.open(dataset[0] / "sourcedata/sub-sample/ses-01").id == session.id


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nothing_in_a_dataset_is_replaced(session, dataset):
    with pytest.raises(FileExistsError):
        export_bids(session, dataset[0])


def test_wideband_traces_open_with_plain_hdf5_where_they_were_made_portable(tmp_path):
    record_person(tmp_path / "drop", duration_s=6, devices=("probe",))
    result = ingest_path(tmp_path / "drop", Store(tmp_path / "store").create(), sorter=None)
    session = Session.open(Path(result.file).parent)
    export_portable(session, tmp_path / "out")
    with h5py.File(tmp_path / "out" / "session.nwb") as file:
        data = file["acquisition/ap/data"]
        assert data.compression == "gzip"
        assert np.array_equal(data[:100], session["ap"].segments[0].samples[:100])


# EOG, ECG and EMG ----------------------------------------------------------------------------------------------------

BASE = Timebase(rate_hz=250.0, n_samples=500)


def signal(modality, names, *, base=BASE, device="amp", offset=0.0, **more):
    samples = np.arange(base.n_samples * len(names), dtype=np.int16).reshape(base.n_samples, len(names))
    n = len(names)
    return Signal(
        name=modality, modality=modality, device=device, channel_names=names, unit="uV", gain=np.full(n, 0.1),
        offset=np.full(n, offset), segments=(Segment(samples=samples, timebase=base),), **more,
    )  # fmt: skip


def recorded(*streams, **more):
    return Session(**{"subject": "07", "session": "1", "task": "rest", "clock": "amp", **more}, streams=streams)


EEG, EOG, ECG = signal("eeg", ("Fz", "Cz")), signal("eog", ("up",)), signal("ecg", ("heart",))
STEM_07 = "sub-07_ses-1_task-rest"


def rows_of(path):
    names, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_eog_and_ecg_of_one_clock_and_rate_are_channels_of_the_eeg(tmp_path):
    export_bids(recorded(EEG, EOG, ECG), tmp_path)
    folder = tmp_path / "sub-07" / "ses-1" / "eeg"
    rows = rows_of(folder / f"{STEM_07}_channels.tsv")
    assert [(row["name"], row["type"]) for row in rows] == [
        ("Fz", "EEG"), ("Cz", "EEG"), ("up", "EOG"), ("heart", "ECG"),
    ]  # fmt: skip
    path = mne_bids.BIDSPath(root=tmp_path, subject="07", session="1", task="rest", datatype="eeg", suffix="eeg")
    raw = mne_bids.read_raw_bids(path.update(extension=".vhdr"), verbose="error")
    assert raw.get_channel_types() == ["eeg", "eeg", "eog", "ecg"]
    ours = np.hstack([s.values()[0] for s in (EEG, EOG, ECG)]).T * 1e-6
    assert np.abs(raw.get_data() - ours).max() < 1e-12


def test_eog_at_another_rate_is_physiology_beside_the_eeg(tmp_path):
    slow = signal("eog", ("up",), base=Timebase(rate_hz=50.0, start_s=0.5, n_samples=10))
    (_, physio) = export_bids(recorded(EEG, slow), tmp_path).files
    assert physio.name == f"{STEM_07}_recording-eog_physio.tsv.gz"
    said = json.loads(Path(str(physio).replace(".tsv.gz", ".json")).read_text())
    assert (said["SamplingFrequency"], said["StartTime"], said["PhysioType"]) == (50.0, 0.5, "generic")


def test_emg_of_another_device_is_a_recording_of_its_own(tmp_path):
    found = export_bids(recorded(EEG, signal("emg", ("arm",), device="other")), tmp_path)
    assert [path.parent.name for path in found.files] == ["eeg", "emg"]


@pytest.mark.parametrize(
    ("where", "types"),
    [
        ("eeg/edf/mne-python/test_edf_stim_channel.edf", {"EEG": 21, "EOG": 2, "ECG": 2}),
        ("odd/bids/emg_Multimodal", {"EEG": 128, "EOG": 3}),
    ],
)
def test_real_recordings_with_eog_are_handed_on_and_come_back(where, types, recordings_dir, tmp_path):
    before, after = there_and_back(recordings_dir / where, tmp_path)
    rows = rows_of(next((tmp_path / "out").glob("sub-*/ses-*/eeg/*_channels.tsv")))
    assert {kind: sum(row["type"] == kind for row in rows) for kind in types} == types
    for name in ("eeg", "eog"):
        least_step = np.abs(before[name].gain)
        assert after[name].channel_names == before[name].channel_names
        assert (np.abs(after[name].values()[0] - before[name].values()[0]) <= least_step / 4).all()


def test_a_stream_that_cannot_go_is_left_out_with_a_reason(tmp_path):
    clean = replace(EEG, name="eeg clean", provenance={"made_by": "eeg_cleaning", "replaces": "eeg"})
    strange = replace(signal("ieeg", ("a",)), unit="a.u.")
    found = export_bids(recorded(EEG, clean, strange), tmp_path)
    assert found.left_out == {
        "eeg clean": "computed here of eeg; BIDS keeps that among derivatives; it is in sourcedata",
        "ieeg": "is in a.u.; BIDS wants volts of ieeg; it is in sourcedata",
    }


def test_offsets_of_integers_survive_to_a_small_part_of_the_least_step(tmp_path):
    odd = signal("eeg", ("Fz",), offset=12345.678)
    export_bids(recorded(odd), tmp_path / "out")
    raw = mne_bids.read_raw_bids(
        mne_bids.BIDSPath(root=tmp_path / "out", subject="07", session="1", task="rest", suffix="eeg",
                          datatype="eeg", extension=".vhdr"), verbose="error")  # fmt: skip
    wrong_uV = raw.get_data()[0] * 1e6 - odd.values()[0][:, 0]
    assert np.abs(wrong_uV).max() <= 0.1 / 256
    assert np.ptp(wrong_uV) < 1e-6


# All of it or nothing ------------------------------------------------------------------------------------------------


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("module", "name"), [(_bids_tables, "channel_rows"), (durable, "write_text")])
def test_an_export_that_fails_leaves_no_trace_and_can_be_asked_for_again(module, name, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise OSError("no space left on device")

    root = tmp_path / "out"
    with monkeypatch.context() as broken:
        broken.setattr(module, name, fails)
        with pytest.raises(OSError, match="no space left"):
            export_bids(recorded(EEG), root)
    assert not root.exists()
    export_bids(recorded(EEG), root)
    before = contents(root)
    with monkeypatch.context() as broken:
        broken.setattr(module, name, fails)
        with pytest.raises(OSError, match="no space left"):
            export_bids(recorded(EEG, session="2"), root)
    assert contents(root) == before
    assert not (root / "sub-07" / "ses-2").exists()
    export_bids(recorded(EEG, session="2"), root)


def test_an_export_that_was_killed_while_it_added_its_files_is_undone_by_the_next(tmp_path):
    whole, root = tmp_path / "whole", tmp_path / "out"
    export_bids(recorded(EEG), whole)
    names = sorted(path.relative_to(whole) for path in (whole / "sub-07" / "ses-1" / "eeg").iterdir())
    staging = root / ".neuroloom-export-x"
    for k, name in enumerate(names):  # the first three are in place, the others still where they were written
        target = (root if k < 3 else staging / "files") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole / name, target)
    (staging / "names.json").write_text(json.dumps({"names": [str(name) for name in names]}))
    export_bids(recorded(EEG), root)
    assert contents(root) == contents(whole)


def test_a_session_that_is_there_is_refused_by_name(tmp_path):
    export_bids(recorded(EEG), tmp_path)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="sub-07_ses-1_task-rest is in that dataset already"):
        export_bids(recorded(EEG), tmp_path)
    assert contents(tmp_path) == before


def test_a_session_without_anything_for_bids_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no EEG, iEEG, EMG, gaze or pupil"):
        export_bids(recorded(Events(name="events", times_s=np.array([1.0]), labels=("a",))), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# What a session holds ------------------------------------------------------------------------------------------------


def test_status_says_what_the_file_and_our_checks_say(tmp_path):
    told = replace(EEG, table={"bad_in_file": (True, False), "status_description": ("loose", "")})
    quality = {"eeg": {"bad_channels": ["Fz", "Cz"], "reasons": {"Fz": ["said by the file: loose"], "Cz": ["flat"]}}}
    export_bids(recorded(told, quality=quality), tmp_path)
    rows = rows_of(tmp_path / "sub-07" / "ses-1" / "eeg" / f"{STEM_07}_channels.tsv")
    assert [(row["status"], row["status_description"]) for row in rows] == [
        ("bad", "loose"), ("bad", "found by neuroloom: flat"),
    ]  # fmt: skip


def test_people_of_a_dataset_keep_what_it_says_of_them_and_get_what_is_known(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\tage\nsub-07\tA\tn/a\nsub-08\tB\t50\n")
    sources = ({"subject": {"sex": "F", "age": "P34Y"}},)
    export_bids(recorded(EEG, sources=sources), tmp_path)
    assert rows_of(tmp_path / "participants.tsv") == [
        {"participant_id": "sub-07", "group": "A", "age": "34", "sex": "F"},
        {"participant_id": "sub-08", "group": "B", "age": "50", "sex": "n/a"},
    ]


@pytest.mark.parametrize(
    ("age", "told"), [("P34Y", "34"), ("P90Y/", "90+"), ("P6M", "0.5"), ("P0Y/", "n/a"), ("", "n/a"), ("old", "n/a")]
)
def test_ages_are_told_in_years(age, told):
    assert _bids_tables.participant(recorded(EEG, sources=({"subject": {"age": age}},)))["age"] == told


def test_places_are_electrodes_in_the_system_they_are_in(tmp_path):
    places = {"x_mm": (0.0, np.nan), "y_mm": (80.0, np.nan), "z_mm": (50.0, np.nan)}
    export_bids(recorded(replace(EEG, table=places, provenance={"positions": "CapTrak coordinates"})), tmp_path)
    folder = tmp_path / "sub-07" / "ses-1" / "eeg"
    assert rows_of(folder / "sub-07_ses-1_electrodes.tsv") == [
        {"name": "Fz", "x": "0.0", "y": "80.0", "z": "50.0"}, {"name": "Cz", "x": "n/a", "y": "n/a", "z": "n/a"},
    ]  # fmt: skip
    said = json.loads((folder / "sub-07_ses-1_coordsystem.json").read_text())
    assert said == {"EEGCoordinateSystem": "CapTrak", "EEGCoordinateUnits": "mm"}


def test_each_run_of_a_recording_with_gaps_has_its_own_events_and_none_is_lost(tmp_path):
    second = replace(EEG.segments[0], timebase=Timebase(rate_hz=250.0, start_s=10.0, n_samples=500))
    gapped = replace(EEG, segments=(*EEG.segments, second))
    cue = Events(name="events", times_s=np.array([1.0, 5.0, 10.5]), labels=("a", "in the gap", "b"), device="amp")
    export_bids(recorded(gapped, cue, run="2", start=datetime(2001, 1, 1)), tmp_path)
    folder = tmp_path / "sub-07" / "ses-1"
    found = [rows_of(path) for path in sorted((folder / "eeg").glob("*_events.tsv"))]
    assert [[(row["onset"], row["trial_type"]) for row in rows] for rows in found] == [
        [("1.0", "a"), ("5.0", "in the gap")], [("0.5", "b")],
    ]  # fmt: skip
    scans = rows_of(folder / "sub-07_ses-1_scans.tsv")
    assert [row["acq_time"] for row in scans] == ["2001-01-01T00:00:00", "2001-01-01T00:00:10"]
    assert "run-202_eeg.vhdr" in scans[1]["filename"]


# There and back ------------------------------------------------------------------------------------------------------


def there_and_back(source, tmp_path):
    """A drop as a session, and the session that its export becomes."""
    sessions = []
    for k, drop in enumerate((source, tmp_path / "out")):
        store = Store(tmp_path / f"store{k}").create()
        sessions.append(Session.open(Path(ingest_path(drop, store, sorter=None).file).parent))
        if not k:
            export_bids(sessions[0], drop := tmp_path / "out")
    return sessions


def agree(one, other):
    """Streams of moments are equal: labels, times, and every column."""
    assert other.labels == one.labels
    times = ("times_s",) if isinstance(one, Events) else ("bounds_s",)
    for name in times:
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-9)
    assert other.modality == one.modality
    assert dict(other.table).keys() == dict(one.table).keys()
    for key, column in one.table.items():
        assert np.array_equal(np.array(column), np.array(other.table[key]), equal_nan=isinstance(column[0], float)), key


@pytest.fixture(scope="module")
def pennies(recordings_dir, tmp_path_factory):
    """The real sidecars of a dataset, with made-up samples of its first minute."""
    source, folder = recordings_dir / "eeg/bids/bids-examples/eeg_matchingpennies", tmp_path_factory.mktemp("pennies")
    own = folder / "data" / "sub-05" / "eeg"
    shutil.copytree(source / "sub-05" / "eeg", own, copy_function=shutil.copyfile)
    for path in source.glob("*.*"):
        shutil.copyfile(path, folder / "data" / path.name)
    values = np.random.default_rng(0).normal(0, 100, (5000 * 60, 10)).astype("<f4")
    values.tofile(own / "sub-05_task-matchingpennies_eeg.eeg")
    vmrk, tsv = next(own.glob("*.vmrk")), next(own.glob("*_events.tsv"))
    lines = vmrk.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("Mk") or int(line.split(",")[2]) <= len(values)]
    vmrk.write_text("\n".join(kept) + "\n")
    head, *rows = tsv.read_text().splitlines()
    tsv.write_text("\n".join([head, *(row for row in rows if float(row.split("\t")[0]) < 60)]) + "\n")
    return (folder / "data", *there_and_back(folder / "data", folder), folder / "out")


def test_a_bids_dataset_comes_out_as_it_went_in(pennies):
    source, _, _, out = pennies
    stem, own = "sub-05_ses-01_task-matchingpennies", out / "sub-05" / "ses-01" / "eeg"
    before = source / "sub-05" / "eeg" / "sub-05_task-matchingpennies_channels.tsv"
    assert rows_of(own / f"{stem}_channels.tsv") == rows_of(before)
    events, told = (rows_of(path) for path in (own / f"{stem}_events.tsv", before.with_name(
        "sub-05_task-matchingpennies_events.tsv")))  # fmt: skip
    assert list(events[0]) == list(told[0])
    for row, wanted in zip(events, told, strict=True):
        for key, value in wanted.items():
            assert row[key] == value or float(row[key]) == float(value), key
    (person,) = rows_of(out / "participants.tsv")
    assert person == {"participant_id": "sub-05", "age": "25", "sex": "F", "handedness": "r"}
    said = json.loads((own / f"{stem}_eeg.json").read_text())
    assert (said["EEGReference"], said["PowerLineFrequency"]) == ("unipolar, placed on Fz", 50)


def test_what_comes_back_of_a_bids_dataset_is_the_session(pennies):
    _, before, after, _ = pennies
    assert (after.id, sorted(after.stream_names)) == (before.id, sorted(before.stream_names))
    assert np.abs(after["eeg"].values()[0] - before["eeg"].values()[0]).max() < 1e-12
    assert after["eeg"].table == before["eeg"].table
    assert after.quality["eeg"]["reasons"] == before.quality["eeg"]["reasons"]
    for name in ("events", "markers", "eeg artefacts"):
        agree(before[name], after[name])
    assert [s["subject"] for s in after.sources] == [s["subject"] for s in before.sources]


def test_what_comes_back_of_the_sample_data_is_the_session(tmp_path):
    before, after = there_and_back(SAMPLE, tmp_path)
    assert set(before.stream_names) <= set(after.stream_names)
    for name in ("eeg", "gaze", "pupil"):
        assert np.allclose(after[name].values()[0], before[name].values()[0], rtol=0, atol=1e-9, equal_nan=True)
        assert after[name].channel_names == before[name].channel_names
    assert after.quality["eeg"]["bad_channels"] == before.quality["eeg"]["bad_channels"]
    for name in before.stream_names:
        if isinstance(before[name], Events | Intervals):
            agree(before[name], after[name])
