"""What headers say of the person, in the words of `Recording.subject`."""

import shutil
import struct
from datetime import date, datetime
from pathlib import Path

import h5py
import pytest

from neuroloom.ingest import read
from neuroloom.ingest.formats._subjects import dated, subject_of

REAL = {
    "eeg/nihon/mne-testing-data/MB0400FU.EEG": {
        "name": "Test_no_cap Asdf", "birth_date": "2019-01-01", "patient_id": "6416",
    },
    "eeg/bdf/mne-testing-data/multiple_annotation_chans.bdf": {
        "name": "OPSA614", "birth_date": "2000-01-01", "sex": "F",
    },
    "eeg/edf/mne-testing-data/subsecond_starttime.edf": {"birth_date": "1998-01-20", "sex": "F"},
    "eeg/persyst/mne-testing-data/sub-pt1_ses-02_task-monitor_acq-ecog_run-01_clip2.lay": {},
    "eeg/ctf/mne-testing-data/somMDYO-18av.ds": {"name": "Mme Giroud"},
    "eeg/nicolet/mne-python/test_nicolet_raw.head": {"patient_id": "102"},
    "eeg/egi_mff/mne-testing-data/test_egi_multiepoch_paused.mff": {"patient_id": "epoch_pause"},
    "eeg/fif/mne-testing-data/misc/neuromag122_test_file-raw.fif": {},
    "eeg/cnt_neuroscan/mne-testing-data/scan41_short.cnt": {},
}  # fmt: skip


@pytest.mark.parametrize("file", REAL)
def test_what_real_headers_say(recordings_dir, file):
    assert read(recordings_dir / file)[0].subject == REAL[file]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("02-MAY-1951", date(1951, 5, 2)),
        ("1951-05-02", date(1951, 5, 2)),
        ("1951/05/02", date(1951, 5, 2)),
        ("1951-05-02T00:00:00.000000-05:00", date(1951, 5, 2)),
        ("02/05/1951", None),  # the second of May, or the fifth of February
        ("30-DEC-1899", None),
        ("", None),
    ],
)
def test_a_date_is_taken_where_it_can_be_read_in_one_way(text, day):
    assert dated(text) == day


@pytest.mark.parametrize("name", ["", "X", "x,x", "No_Name", "anonymous", "N/A", "mne_anonymize mne_anonymize", "?"])
def test_who_is_nobody(name):
    assert subject_of(name=name, code=name) == {}


def test_a_sex_is_one_letter_however_it_is_spelled():
    spelled = ("female", "F", "2", "Male", "m", "1", "X", "0")
    assert [subject_of(sex=sex).get("sex", "") for sex in spelled] == ["F", "F", "F", "M", "M", "M", "", ""]


def test_a_moment_of_birth_is_its_day():
    assert subject_of(born=datetime(1951, 5, 2, 14)) == {"birth_date": "1951-05-02"}


def patched(source, folder, changes):
    """A copy of a real file with other bytes at some places, of the same length where they stand in binary."""
    content = bytearray(source.read_bytes())
    for at, new in changes.items():
        content[at : at + len(new)] = new
    path = folder / source.name
    path.write_bytes(content)
    return path


def test_a_patient_of_gdf(recordings_dir, tmp_path):
    """Days since year 0 in 64 bits, of which 32 are the fraction: 2 May 1951 is day 712710."""
    source = recordings_dir / "eeg/gdf/mne-testing-data/test_1ch.gdf"
    born = struct.pack("<Q", 712710 << 32)
    path = patched(source, tmp_path, {8: b"0234567 Haagse_Harry\0", 87: b"\x01", 176: born})
    wanted = {"name": "Haagse Harry", "birth_date": "1951-05-02", "sex": "M", "patient_id": "0234567"}
    assert read(path)[0].subject == wanted


def test_a_patient_of_neuroscan(recordings_dir, tmp_path):
    source = recordings_dir / "eeg/cnt_neuroscan/mne-testing-data/scan41_short.cnt"
    path = patched(source, tmp_path, {21: b"0234567\0", 121: b"Harry Haagse\0", 143: b"M"})
    assert read(path)[0].subject == {"name": "Harry Haagse", "sex": "M", "patient_id": "0234567"}


def test_a_patient_of_persyst(recordings_dir, tmp_path):
    folder = recordings_dir / "eeg/persyst/mne-testing-data"
    (lay,) = folder.glob("*.lay")
    for old, new in (
        ("FullName=No_Name", "First=Harry\nLast=Haagse"),
        ("Sex=X", "Sex=Male"),
        ("BirthDate=19-NOV-199", "BirthDate=02-MAY-1951"),
        ("ID=0", "ID=0234567"),
    ):
        text = (tmp_path / lay.name if (tmp_path / lay.name).exists() else lay).read_text()
        (tmp_path / lay.name).write_text(text.replace(old, new))
    shutil.copy(lay.with_suffix(".dat"), tmp_path)
    wanted = {"name": "Harry Haagse", "birth_date": "1951-05-02", "sex": "M", "patient_id": "0234567"}
    assert read(tmp_path / lay.name)[0].subject == wanted


def test_a_subject_of_snirf(recordings_dir, tmp_path):
    source = recordings_dir / "eeg/snirf/mne-testing-data/NIRx/NIRSport2/1.0.3/2021-05-05_001.snirf"
    path = Path(shutil.copy(source, tmp_path))
    path.chmod(0o644)
    with h5py.File(path, "a") as file:
        tags = file["nirs/metaDataTags"]
        tags["SubjectName"], tags["DateOfBirth"], tags["sex"] = "Harry Haagse", "1951-05-02", "2"
    assert read(path)[0].subject == {"name": "Harry Haagse", "birth_date": "1951-05-02", "sex": "F"}
