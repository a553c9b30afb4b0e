"""What BIDS sidecars say of recordings, on a small dataset written here."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pytest

from neuroloom.ingest import FormatError, naming_files, read

VHDR = (
    "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile={stem}.eeg\n"
    "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=3\nSamplingInterval=2000\n"
    "[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\nCh1=Fz,,0.1,µV\nCh2=VEOG,,0.1,µV\nCh3=Pz,,0.1,µV\n"
)
CHANNELS = (
    "name\ttype\tunits\tstatus\tstatus_description\nFz\tEEG\tuV\tgood\tn/a\nVEOG\tVEOG\tuV\tgood\tn/a\n"
    "Pz\tEEG\tuV\tbad\tloose\n"
)
SIDE = {"SamplingFrequency": 500, "PowerLineFrequency": 50, "EEGReference": "Cz"}


def eeg(folder, stem, n=500):
    """A BrainVision recording of three channels at 500 Hz."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.vhdr").write_text(VHDR.format(stem=stem), encoding="utf-8")
    np.arange(3 * n, dtype="<i2").tofile(folder / f"{stem}.eeg")
    return folder / f"{stem}.vhdr"


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "study"
    path = eeg(root / "sub-01" / "eeg", "sub-01_task-rest_eeg")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t34\tF\n")
    (root / "task-rest_eeg.json").write_text(json.dumps(SIDE))
    (root / "sub-01" / "sub-01_scans.tsv").write_text(
        "filename\tacq_time\neeg/sub-01_task-rest_eeg.vhdr\t2024-05-01T10:00:00\n"
    )
    (path.parent / "sub-01_task-rest_channels.tsv").write_text(CHANNELS)
    (path.parent / "sub-01_electrodes.tsv").write_text("name\tx\ty\tz\nFz\t0\t0.08\t0.05\nPz\t0\tn/a\tn/a\n")
    (path.parent / "sub-01_coordsystem.json").write_text(
        '{"EEGCoordinateSystem": "CapTrak", "EEGCoordinateUnits": "m"}'
    )
    return path


def test_channels_of_a_type_make_a_signal_and_bad_ones_are_marked(dataset):
    (recording,) = read(dataset)
    assert [(s.name, s.modality, s.channel_names) for s in recording.streams] == [
        ("eeg", "eeg", ("Fz", "Pz")), ("eog", "eog", ("VEOG",)),
    ]  # fmt: skip
    assert recording["eeg"].table["bad_in_file"] == (False, True)
    assert recording["eeg"].table["status_description"] == ("", "loose")


def test_samples_are_the_files_own(dataset):
    (recording,) = read(dataset)
    assert recording["eeg"].values()[0][1].tolist() == pytest.approx([0.3, 0.5])
    assert recording["eog"].values()[0][1].tolist() == pytest.approx([0.4])


def test_electrodes_are_in_millimetres_and_unknown_places_are_nan(dataset):
    eeg_signal = read(dataset)[0]["eeg"]
    assert eeg_signal.table["y_mm"][0] == pytest.approx(80)
    assert np.isnan(eeg_signal.table["y_mm"][1])
    assert eeg_signal.provenance["positions"] == "CapTrak coordinates"


def test_the_json_above_holds_for_the_file_below(dataset):
    provenance = read(dataset)[0]["eeg"].provenance
    assert (provenance["power_line_hz"], provenance["reference"]) == (50, "Cz")


def test_participants_and_scans_tell_who_and_when(dataset):
    (recording,) = read(dataset)
    assert (recording.subject["sex"], recording.subject["age"]) == ("F", "P34Y")
    assert recording.start == datetime(2024, 5, 1, 10)


def test_a_rate_that_contradicts_the_file_is_said_and_the_files_is_kept(dataset):
    (dataset.parent / "sub-01_task-rest_eeg.json").write_text('{"SamplingFrequency": 250}')
    (recording,) = read(dataset)
    assert recording["eeg"].rate_hz == 500
    assert any("SamplingFrequency in its JSON is 250, the file's is 500 Hz" in line for line in recording.repairs)


def test_positions_without_a_unit_are_left_out_and_said(dataset):
    (dataset.parent / "sub-01_coordsystem.json").unlink()
    (recording,) = read(dataset)
    assert "x_mm" not in recording["eeg"].table
    assert any("no coordsystem.json states a unit" in line for line in recording.repairs)


def test_sidecars_of_another_task_are_not_its(dataset):
    (dataset.parents[2] / "task-other_eeg.json").write_text('{"PowerLineFrequency": 60}')
    assert read(dataset)[0]["eeg"].provenance["power_line_hz"] == 50


def test_a_damaged_sidecar_is_named(dataset):
    (dataset.parent / "sub-01_task-rest_channels.tsv").write_text(CHANNELS + "Oz\tEEG\n")
    with pytest.raises(FormatError, match=r"_channels\.tsv: line 5 has 2 cells; 5 are wanted"):
        read(dataset)


def test_what_holds_no_raw_data_is_not_looked_at(dataset):
    root = dataset.parents[2]
    eeg(root / "derivatives" / "clean" / "sub-01" / "eeg", "sub-01_task-rest_desc-clean_eeg")
    eeg(root / "sourcedata" / "sub-01", "sub-01_task-rest_eeg")
    assert naming_files(root) == [dataset]


def test_a_recording_that_no_format_knows_is_refused_by_name(dataset):
    (dataset.parent / "sub-01_task-rest_run-2_eeg.edf").write_bytes(b"no EDF at all")
    with pytest.raises(FormatError, match=r"run-2_eeg\.edf: its name says it is a recording \(BIDS\)"):
        read(dataset.parents[2])


def test_channels_named_otherwise_are_taken_in_the_order_of_the_file_over_all_its_signals(dataset):
    for file in (dataset.parent / "sub-01_task-rest_channels.tsv", dataset.parent / "sub-01_electrodes.tsv"):
        text = file.read_text()
        for own, other in (("\nFz", "\nA1"), ("\nVEOG\t", "\nA2\t"), ("\nPz", "\nA3")):
            text = text.replace(own, other)
        file.write_text(text)
    (recording,) = read(dataset)
    assert (recording["eeg"].channel_names, recording["eog"].channel_names) == (("Fz", "Pz"), ("VEOG",))
    assert recording["eeg"].table["sidecar_name"] == ("A1", "A3")
    assert recording["eog"].table["sidecar_name"] == ("A2",)
    assert recording["eeg"].table["bad_in_file"] == (False, True)
    assert recording["eeg"].table["y_mm"][0] == pytest.approx(80)
