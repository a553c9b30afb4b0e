"""What headers say of a person: not published, unless the lab asks for it."""

import re
from datetime import date
from pathlib import Path

import mne
import numpy as np
import pytest

from neuroloom.ingest import Session, read
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.drops.privacy import Privacy

from .patients import edf_file

PRIVATE = (b"haagse", b"harry", b"0234567", b"1951")
DRAWN = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|\.[0-9]{5,}"
)  # identifiers, digests, fractions: say nobody


def fif_file(path):
    info = mne.create_info(["Cz"], 100.0, "eeg")
    raw = mne.io.RawArray(np.random.default_rng(1).normal(0, 1e-5, (1, 1000)), info, verbose="error")
    raw.set_meas_date(1714989600)
    raw.info["subject_info"] = {
        "first_name": "Harry", "last_name": "Haagse", "birthday": date(1951, 5, 2), "sex": 2, "his_id": "MCH-0234567",
    }  # fmt: skip
    raw.set_annotations(mne.Annotations([3.0], [0.0], ["Harry sleeps, Haagse H."]))
    raw.save(path, verbose="error")
    return path


MADE = {
    "edf": lambda folder: edf_file(folder / "Haagse_Harry.edf"),
    "bdf": lambda folder: edf_file(folder / "HarryHaagse_rest.bdf", bdf=True),
    "fif": lambda folder: fif_file(folder / "harry_raw.fif"),
}


def ingested(path, store):
    result = ingest_path(path, store, sorter=None)
    assert result.state == "ingested", result.reason
    return Path(result.file).parent


@pytest.mark.parametrize("kind", MADE)
def test_the_reader_says_who_it_is(kind, tmp_path):
    told = read(MADE[kind](tmp_path))[0].subject
    assert set(told["name"].split()) == {"Haagse", "Harry"}
    assert (told["birth_date"], told["sex"], told["patient_id"]) == ("1951-05-02", "F", "MCH-0234567")


@pytest.mark.parametrize("kind", MADE)
def test_nothing_that_is_published_says_it(kind, store, tmp_path):
    folder = ingested(MADE[kind](tmp_path), store)
    assert not any(word in folder.parent.name.lower() for word in ("haagse", "harry"))
    for path in folder.iterdir():
        content = DRAWN.sub(b" ", path.read_bytes().lower())
        assert [word for word in PRIVATE if word in content] == [], path.name


@pytest.mark.parametrize("kind", MADE)
def test_age_and_sex_are_published_instead(kind, store, tmp_path):
    with Session.open(ingested(MADE[kind](tmp_path), store)) as session:
        assert session.sources[0]["subject"] == {"sex": "F", "age": "P73Y"}


def test_the_code_stands_in_a_note_where_the_name_was(store, tmp_path):
    with Session.open(ingested(edf_file(tmp_path / "sub-07_eeg.edf"), store)) as session:
        assert session.id == "sub-07_ses-01"
        assert session["annotations"].labels == ("07 sleeps, 07 H.",)


def test_a_person_known_by_name_only_is_called_the_same_each_time(store, tmp_path):
    one = ingested(edf_file(tmp_path / "Haagse_Harry_ses-01.edf"), store).parent.name
    other = ingested(fif_file(tmp_path / "harry_haagse_ses-02_raw.fif"), store).parent.name
    assert one.startswith("sub-anon")
    assert one.partition("_")[0] == other.partition("_")[0]


def test_it_is_published_where_the_settings_ask_for_it(store, tmp_path):
    store.settings_file.write_text("[privacy]\nkeep_names = true\nkeep_dates = true\n")
    with Session.open(ingested(edf_file(tmp_path / "Haagse_Harry.edf"), store)) as session:
        said = session.sources[0]["subject"]
        assert session["annotations"].labels == ("Harry sleeps, Haagse H.",)
    assert (said["name"], said["birth_date"], said["patient_id"]) == ("Haagse Harry", "1951-05-02", "MCH-0234567")


def test_names_may_be_kept_without_dates(store, tmp_path):
    store.settings_file.write_text("[privacy]\nkeep_names = true\n")
    with Session.open(ingested(edf_file(tmp_path / "Haagse_Harry.edf"), store)) as session:
        said = session.sources[0]["subject"]
    assert said == {"sex": "F", "age": "P73Y", "name": "Haagse Harry", "patient_id": "MCH-0234567"}


@pytest.mark.parametrize("patient", ["X X X X", "X,X", "anonymous", "0 X 25-JUN-1985 No_Name", "X F X X", ""])
def test_a_header_that_names_nobody_gives_no_name(tmp_path, patient):
    told = read(edf_file(tmp_path / "x.edf", patient=patient))[0].subject
    assert "name" not in told
    assert "patient_id" not in told


@pytest.mark.parametrize(
    ("name", "text", "published"),
    [
        ("Haagse Harry", "HARRY, haagse", "07"),
        ("Haagse Harry", "harry_haagse_rest.edf", "07_rest.edf"),
        ("Haagse Harry", "HarryHaagse1.edf", "071.edf"),
        ("Haagse Harry", "harrying", "harrying"),
        ("Ann", "Ann's channel of annotations", "07's channel of annotations"),
        ("Mueller", "muellerh.vhdr", "07h.vhdr"),
        ("test", "test-annotation", "test-annotation"),
        ("Eeg Person Test", "eeg of a person, test 1", "eeg of a person, test 1"),
        ("A sine wave and a block signal", "block 2 of a signal", "block 2 of a signal"),
    ],
)
def test_a_name_is_found_in_any_order_and_no_other_word_is(name, text, published):
    assert Privacy(code="07", names=(name,)).text(text) == published


def test_the_same_file_of_a_person_known_by_name_only_is_already_there(store, tmp_path):
    path = edf_file(tmp_path / "Haagse_Harry.edf")
    ingested(path, store)
    assert ingest_path(path, store, sorter=None).state == "already"
