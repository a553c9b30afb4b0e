"""Two people, or two animals, never become one session, whatever their files are called."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import Session
from neuroloom.ingest.formats._fixed_names import named_by
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.drops.reading import read_session

from .patients import edf_file

NOBODY = "X X X X"
ANNA, BERT = "X1 F 01-JAN-1990 Anna_Apfel", "X2 M 02-FEB-1980 Bert_Birne"


def ingested(path, store):
    return ingest_path(path, store, sorter=None)


def with_one_more_record(edf):
    """What ten more seconds make of a file of one record: `edf_file` has 768 bytes of header, and the count at 236."""
    more = edf[768:].replace(b"+0\x14", b"+10\x14").replace(b"+3\x14", b"+13\x14").replace(b"\0\0", b"", 1)
    return edf[:236] + b"2".ljust(8) + edf[244:] + more


def both(tmp_path, one, other):
    """A folder of two recordings."""
    folder = tmp_path / "visit"
    folder.mkdir()
    edf_file(folder / "a.edf", patient=one)
    edf_file(folder / "b.edf", patient=other, seed=2)
    return folder


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (ANNA, BERT, "sexes"),
        (ANNA, "X1 F 02-FEB-1980 Anna_Apfel", "dates of birth"),
        ("X F X Anna_Apfel", "X F X Berta_Birne", "names"),
        ("4711 X X X", "4712 X X X", "patients' numbers"),
    ],
)
def test_two_people_in_one_folder_are_refused_without_naming_them(one, other, what, tmp_path, store):
    result = ingested(both(tmp_path, one, other), store)
    assert result.state == "quarantined"
    assert f"a.edf and b.edf state two {what}" in result.reason
    assert not {"apfel", "birne", "4711"} & set(result.reason.lower().replace("_", " ").split())
    with pytest.raises(ValueError, match="state two"):
        read_session(tmp_path / "visit")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("X F X Anna_Apfel", "X F X Apfel,_A."),
        ("X F X Apfel", "X F X apfela"),
        ("X F X Anna_Apfel", "X X X pilot_17"),
        (ANNA, NOBODY),
    ],
)
def test_one_person_written_in_two_ways_is_not_refused(one, other, tmp_path, store):
    folder = both(tmp_path, one, other)
    (folder / "session.toml").write_text('same_clock = [["a", "b"]]')
    assert ingested(folder, store).state == "ingested"


def test_the_lab_may_say_that_two_names_are_one_person_but_not_that_two_sexes_are(tmp_path, store):
    folder = both(tmp_path, "X F X Anna_Apfel", "X F X Berta_Birne")
    (folder / "session.toml").write_text('subject = "07"\nsame_clock = [["a", "b"]]')
    assert ingested(folder, store).state == "ingested"
    edf_file(folder / "b.edf", patient="X M X Bert_Birne", seed=3)
    assert "a.edf and b.edf state two sexes" in ingested(folder, store).reason


def test_a_header_that_contradicts_subject_toml_is_refused(tmp_path, store):
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "session.toml").write_text('subject = "07"')
    (folder / "subject.toml").write_text('[07]\nnames = ["Apfel"]\nsex = "F"\nbirth_date = 1990-01-01\n')
    for patient, what in (
        (BERT, "sex"),
        ("X F 02-FEB-1980 X", "date of birth"),
        ("X F X Berta_Birne", "name"),
    ):
        edf_file(folder / "a.edf", patient=patient)
        reason = ingested(folder, store).reason
        assert f"a.edf states another {what} than subject.toml has for 07" in reason
        assert "birne" not in reason.lower()
    edf_file(folder / "a.edf", patient=ANNA)
    assert ingested(folder, store).state == "ingested"


def test_a_late_device_of_another_sex_does_not_join(tmp_path, store):
    for name, patient, seed in (("one", "X F X X", 1), ("two", "X M X X", 2)):
        folder = tmp_path / name
        folder.mkdir()
        edf_file(folder / f"{name}.edf", patient=patient, seed=seed)
        (folder / "session.toml").write_text('subject = "07"\nsession = "1"')
    assert ingested(tmp_path / "one", store).state == "ingested"
    assert "two.edf states another sex" in ingested(tmp_path / "two", store).reason


def test_two_files_of_one_name_are_two_sessions_by_their_folders(tmp_path, store):
    names = []
    for seed, folder in enumerate((tmp_path / "rat1", tmp_path / "rat2")):
        folder.mkdir()
        names.append(ingested(edf_file(folder / "recording.edf", patient=NOBODY, seed=seed), store).session)
    assert names == ["sub-rat1_ses-01", "sub-rat2_ses-01"]


def test_another_recording_of_a_name_that_says_nothing_is_refused_and_the_same_grown_is_not(tmp_path, store):
    path = edf_file(tmp_path / "tuesday.edf", patient=NOBODY)
    first = ingested(path, store)
    path.write_bytes(with_one_more_record(path.read_bytes()))
    grown = ingested(path, store)
    assert (first.state, grown.state, grown.session) == ("ingested", "ingested", first.session)
    assert Path(grown.file).parent.name == "v002"
    edf_file(path, patient=NOBODY, seed=2)
    other = ingested(path, store)
    assert other.state == "quarantined"
    assert "tuesday.edf begins otherwise than the one before" in other.reason
    assert "session.toml" in other.reason
    assert len(store.versions(first.session)) == 2


def test_the_same_samples_on_another_day_are_taken_for_the_same_only_where_the_subject_is_known(tmp_path, store):
    for name, states in (("tuesday.edf", "quarantined"), ("sub-07.edf", "ingested")):
        ingested(edf_file(tmp_path / name, patient=NOBODY), store)
        assert ingested(edf_file(tmp_path / name, patient=NOBODY, day="07.05.24"), store).state == states


def test_a_corrected_recording_takes_its_place_where_subject_and_session_are_named(tmp_path, store):
    path = edf_file(tmp_path / "sub-07_ses-2.edf", patient=NOBODY)
    ingested(path, store)
    result = ingested(edf_file(path, patient=NOBODY, seed=2), store)
    assert (result.state, Path(result.file).parent.name) == ("ingested", "v002")
    (eeg,) = (s for s in Session.open(Path(result.file).parent).streams if s.modality == "eeg")
    assert len(np.asarray(eeg.segments[0].samples[0:5])) == 5


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("rat1/2024-05-06_10-00-00/Record Node 101/experiment1/recording1/structure.oebin", "2024-05-06_10-00-00"),
        ("rat1/kilosort4/params.py", "rat1"),
        ("rat1/CSC12.ncs", "rat1"),
        ("rat1/Events.nev", "rat1"),
        ("store/inbox/recording.edf", "recording"),
        ("rat1/monday.edf", "monday"),
    ],
)
def test_where_all_recordings_have_a_files_name_the_folder_tells(path, name, tmp_path):
    assert named_by(tmp_path / path) == name


def test_real_recordings_of_one_vendor_do_not_follow_each_other(tmp_path, store, recordings_dir):
    source = next(path for path in sorted((recordings_dir / "electrode" / "neuralynx").rglob("Events.nev"))).parent
    for name in ("rat1", "rat2"):
        shutil.copytree(source, tmp_path / name)
    with (tmp_path / "rat2" / "Events.nev").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    found = [ingested(tmp_path / name, store) for name in ("rat1", "rat2")]
    assert [one.session for one in found] == ["sub-rat1_ses-01", "sub-rat2_ses-01"], found
