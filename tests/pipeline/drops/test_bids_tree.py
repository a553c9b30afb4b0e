"""A BIDS dataset dropped as a folder: a session per subject, session, task and run."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import Session
from neuroloom.pipeline.drops.ingesting import ingest_drop

VHDR = (
    "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile={stem}.eeg\n"
    "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=2\nSamplingInterval=2000\n"
    "[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\nCh1=Fz,,0.1,µV\nCh2=Pz,,0.1,µV\n"
)
RUNS = ("sub-01_task-go_run-1", "sub-01_task-go_run-2", "sub-02_task-go_run-1")


def run(root, stem):
    """Two seconds of EEG at 500 Hz, events in it, and a pulse that was recorded from a second before it on."""
    folder = root / stem[:6] / "eeg"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}_eeg.vhdr").write_text(VHDR.format(stem=f"{stem}_eeg"), encoding="utf-8")
    np.random.default_rng(RUNS.index(stem)).integers(-99, 99, 2000).astype("<i2").tofile(folder / f"{stem}_eeg.eeg")
    (folder / f"{stem}_events.tsv").write_text("onset\tduration\ttrial_type\n0.5\t0\tgo\n1.0\t0\tleft\n")
    stated = {"SamplingFrequency": 10, "StartTime": -1.0, "Columns": ["cardiac"], "cardiac": {"Units": "mV"}}
    (folder / f"{stem}_recording-ecg_physio.json").write_text(json.dumps(stated))
    (folder / f"{stem}_recording-ecg_physio.tsv.gz").write_bytes(gzip.compress(b"1\n2\n" * 20))


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "study"
    for stem in RUNS:
        run(root, stem)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t34\tF\nsub-02\t30\tM\n")
    return root


def ingested(store, root):
    results = ingest_drop([root], store, sorter=None, in_place=True)
    return {result.session: result for result in results}


def test_every_run_is_a_session(dataset, store):
    results = ingested(store, dataset)
    assert sorted(results) == [
        "sub-01_ses-01_task-go_run-1", "sub-01_ses-01_task-go_run-2", "sub-02_ses-01_task-go_run-1",
    ]  # fmt: skip
    assert {result.state for result in results.values()} == {"ingested"}


def test_events_and_physiology_count_from_the_first_sample_of_the_eeg(dataset, store):
    result = ingested(store, dataset)["sub-01_ses-01_task-go_run-1"]
    with Session.open(Path(result.file).parent) as session:
        (events,) = (s for s in session.streams if s.modality == "events")
        (ecg,) = (s for s in session.streams if "physio" in s.name)
        assert events.times_s.tolist() == pytest.approx([0.5, 1.0])
        assert (session["eeg"].start_s, ecg.start_s) == (0.0, pytest.approx(-1.0))


def test_a_task_toml_at_the_top_holds_for_every_run(dataset, store):
    (dataset / "task.toml").write_text(
        'name = "go"\n[trials]\nstart = ["go"]\nstop_after_s = 1.0\n[columns.choice]\nleft = "left"\n'
    )
    for result in ingested(store, dataset).values():
        with Session.open(Path(result.file).parent) as session:
            assert session["trials"].table["choice"][0] == "left"


def test_one_broken_run_does_not_stop_the_others(dataset, store):
    (dataset / "sub-01" / "eeg" / "sub-01_task-go_run-2_eeg.eeg").unlink()
    states = [r.state for r in ingest_drop([dataset], store, sorter=None, in_place=True)]
    assert sorted(states) == ["ingested", "ingested", "quarantined"]


def test_again_is_already_there(dataset, store):
    ingested(store, dataset)
    assert {result.state for result in ingested(store, dataset).values()} == {"already"}
