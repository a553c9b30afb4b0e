"""What is published names nobody and dates nothing."""

import shutil
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from neuroloom.ingest import FormatError, Session, manifest
from neuroloom.pipeline.dates import LONGEST_SHIFT_DAYS, SHORTEST_SHIFT_DAYS, shift_of
from neuroloom.pipeline.drops.ingesting import ingest_drop, ingest_path
from neuroloom.pipeline.drops.privacy import privacy_of
from neuroloom.pipeline.runs.preparing import prepare_run
from neuroloom.pipeline.runs.run_config import RunConfig
from neuroloom.pipeline.settings import PrivacySettings
from neuroloom.pipeline.store import Store, StoreError
from neuroloom.pipeline.subjects import Subjects, take_up

SAMPLE = Path(__file__).parents[3] / "sample_data" / "person"
SUBJECTS = """[07]
names = ["Mueller", "muellerh"]
species = "Homo sapiens"
sex = "F"
birth_date = 1990-05-01
[07.consent]
given = 2024-02-01
scope = ["research"]
document = "consent-07.pdf"
"""
TRUE_START = datetime(2024, 5, 6, 10, 0)


@pytest.fixture
def drop(tmp_path):
    """The sample person's folder, with her name in every file's name and in a message of the eye tracker."""
    folder = tmp_path / "drop"
    folder.mkdir()
    for path in SAMPLE.iterdir():
        name = path.name.replace("sub-sample", "sub-Mueller")
        data = path.read_bytes().replace(b"sub-sample", b"sub-Mueller").replace(b"DISPLAY_COORDS", b"Frau MUELLER sits")
        (folder / name).write_bytes(data)
    (folder / "session.toml").write_text('task = "choice"\n')
    (folder / "subject.toml").write_text(SUBJECTS)
    return folder


@pytest.fixture
def published(store, drop):
    result = ingest_path(drop, store, sorter=None)
    assert result.state == "ingested", result.reason
    return Path(result.file).parent


def test_the_code_stands_where_the_name_was(published):
    with Session.open(published) as session:
        assert session.id == "sub-07_ses-01_task-choice"
        assert session["messages"].labels[0].startswith("Frau 07 sits")


def test_no_file_that_is_published_holds_the_name(published):
    for path in published.iterdir():
        assert b"mueller" not in path.read_bytes().lower()


def test_dates_are_shifted_by_whole_days_and_the_originals_are_not(published, store, drop):
    shift = shift_of(store, "07")
    with Session.open(published) as session:
        assert session.start == TRUE_START + shift
        assert {source["dates"] for source in session.sources} == {"shifted"}
    assert timedelta(days=-LONGEST_SHIFT_DAYS) <= shift <= timedelta(days=-SHORTEST_SHIFT_DAYS)
    assert "20240506" in next(drop.glob("*.vmrk")).read_text()


def test_the_age_is_published_instead_of_the_birth_date(published):
    with Session.open(published) as session:
        about = session.sources[0]["subject"]
    assert (about["age"], about["sex"], about["species"]) == ("P34Y", "F", "Homo sapiens")
    assert "birth_date" not in about


def test_consent_lies_beside_the_session_without_its_dates(published):
    assert manifest.read(published)["consent"] == {"scope": ["research"], "document": "consent-07.pdf"}


def test_names_and_dates_are_kept_where_the_settings_ask_for_it(store, drop):
    store.settings_file.write_text("[privacy]\nkeep_names = true\nkeep_dates = true\n")
    with Session.open(Path(ingest_path(drop, store, sorter=None).file).parent) as session:
        assert session.start == TRUE_START
        assert session["messages"].labels[0].startswith("Frau MUELLER")


def test_the_shift_is_the_same_for_a_subject_and_another_for_the_next(store):
    assert shift_of(store, "07") == shift_of(store, "07")
    assert len({shift_of(store, code) for code in "abcdefgh"}) > 6
    private = privacy_of(store, PrivacySettings(), "07", ())
    assert private.true_date(private.date(TRUE_START)) == TRUE_START


def test_another_store_shifts_by_another_secret(store, tmp_path):
    other = Store(tmp_path / "other").create()
    assert [shift_of(store, code) for code in "abcd"] != [shift_of(other, code) for code in "abcd"]
    assert store.secret_file.stat().st_mode & 0o077 == 0


def test_the_same_drop_again_is_already_there(published, store, drop, tmp_path):
    again = ingest_path(Path(shutil.copytree(drop, tmp_path / "again")), store, sorter=None)
    assert again.state == "already"


def test_what_was_said_once_holds_for_later_drops(published, store, tmp_path):
    """Gaze of another task comes alone, without a word about whose it is but the file's name."""
    text = next(SAMPLE.glob("*.asc")).read_text()
    path = tmp_path / "muellerH_rest.asc"
    path.write_text(text)
    result = ingest_path(path, store, sorter=None)
    assert result.session == "sub-07_ses-01"


def test_subjects_can_be_handed_over_alone(store, tmp_path):
    (tmp_path / "subject.toml").write_text(SUBJECTS)
    (result,) = ingest_drop([tmp_path / "subject.toml"], store)
    assert result.state == "ingested"
    assert Subjects.of(store)["07"].names == ("Mueller", "muellerh")
    assert store.subjects_file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[07]\nnames = ["Al"]\n', "too short"),
        ("[07]\nsex = 'female'\n", "one of F, M, O, U"),
        ("[07]\nbirth_date = 'May'\n", "birth_date"),
        ("['Frau Mueller']\nsex = 'F'\n", "is no code"),
        ("[07]\nnmaes = ['Mueller']\n", "nmaes"),
    ],
)
def test_what_is_said_is_checked_and_named(store, tmp_path, text, wrong):
    path = tmp_path / "subject.toml"
    path.write_text(text)
    with pytest.raises(FormatError, match=wrong) as refused:
        take_up(store, path)
    assert "subject.toml" in str(refused.value)
    assert Subjects.of(store).root == {}


def test_two_people_named_in_one_drop_are_refused(store, tmp_path, drop):
    (drop / "subject.toml").write_text(SUBJECTS + '[08]\nnames = ["choice"]\n')
    result = ingest_path(drop, store, sorter=None)
    assert result.state == "quarantined"
    assert "names two subjects, 07 and 08" in result.reason


# Consent -------------------------------------------------------------------------------------------------------------


def test_a_run_names_whose_consent_was_withdrawn(store, published, tmp_path):
    (tmp_path / "subject.toml").write_text(SUBJECTS + "withdrawn = 2025-03-01\n")
    take_up(store, tmp_path / "subject.toml")
    session_id = published.parent.name
    with pytest.raises(StoreError, match=f"{session_id}: consent was withdrawn on 2025-03-01; neither it nor"):
        prepare_run(RunConfig(name="run", sessions=(session_id,)), store)


def test_a_run_on_all_sessions_leaves_it_out(store, published, tmp_path):
    (tmp_path / "subject.toml").write_text(SUBJECTS + "until = 2025-03-01\n")
    take_up(store, tmp_path / "subject.toml")
    with pytest.raises(StoreError, match="no session to train on"):
        prepare_run(RunConfig(name="run"), store)


@pytest.mark.parametrize(
    ("consent", "objection"),
    [
        ({}, ""),
        ({"until": "2025-03-01"}, ""),
        ({"until": "2025-02-28"}, "consent ended on 2025-02-28"),
        ({"withdrawn": "2025-03-01"}, "consent was withdrawn on 2025-03-01"),
        ({"withdrawn": "2025-03-02"}, ""),
    ],
)
def test_consent_holds_up_to_its_last_day(consent, objection):
    known = Subjects.model_validate({"07": {"consent": {"given": "2024-02-01", **consent}}})
    assert known.objection("sub-07_ses-01", date(2025, 3, 1)) == objection
