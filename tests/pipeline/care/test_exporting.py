"""A session handed on opens elsewhere with the same numbers."""

import gzip
import json
from pathlib import Path

import h5py
import mne_bids
import numpy as np
import pytest

from neuroloom.ingest import Session
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
    onsets = [o for o, text in zip(annotations.onset, annotations.description, strict=True) if text == "markers/S 11"]
    ours = session["markers"].labelled("S 11").times_s - session["eeg"].start_s
    assert onsets == pytest.approx(ours, abs=1e-3)


def test_gaze_is_eye_tracking_with_its_start_and_rate(session, dataset):
    path = next(p for p in dataset[1].files if "recording-gaze" in p.name)
    sidecar = json.loads(Path(str(path).replace(".tsv.gz", ".json")).read_text())
    assert sidecar["StartTime"] == session["gaze"].start_s
    assert sidecar["Columns"] == ["x_right", "y_right"]
    with gzip.open(path, "rt") as file:
        first = [float(cell) for cell in file.readline().split("\t")]
    assert first == pytest.approx(session["gaze"].values()[0][0], rel=1e-6)


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
