"""A person withdraws: what came from them goes, what came from others stays."""

import json
import re
from datetime import date

import pytest

from neuroloom.ingest.digest import digest_of_bytes
from neuroloom.ingest.durable import write_json
from neuroloom.ingest.formats import FormatError
from neuroloom.pipeline.care import retention, withdrawing
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED
from neuroloom.pipeline.drops import custody
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.scores import judging, predicting
from neuroloom.pipeline.scores.fidelity import fidelity_of_run
from neuroloom.pipeline.store import AMENDED, Store, StoreError
from neuroloom.pipeline.subjects import Subjects, take_up

from ...trust.hostile_paths import brainvision
from .test_checking import publish

SUBJECTS = {"07": {"names": ["Mueller"], "birth_date": "1990-05-01", "consent": {"given": "2024-02-01"}}, "08": {}}


@pytest.fixture
def store(tmp_path):
    """Subject 07 with two sessions (one published as 09's at first), subject 08 with one, and what came of them."""
    store = Store(tmp_path / "store").create()
    write_json(store.subjects_file, SUBJECTS)
    for session in ("sub-07_ses-1", "sub-09_ses-2", "sub-07_ses-2", "sub-08_ses-1"):
        publish(store, session)
    write_json(store.sessions / "sub-09_ses-2" / AMENDED, {"to": "sub-07_ses-2"})
    runs = {
        "both": {"sessions": ["sub-07_ses-1", "sub-08_ses-1"]},
        "after": {"sessions": ["sub-08_ses-1"], "start_from": "both"},
        "other": {"sessions": ["sub-08_ses-1"]},
    }
    for name, said in runs.items():
        store.run_folder(name).mkdir()
        write_json(store.run_folder(name) / preparing.REQUEST, {"name": name, **said})
    (store.run_folder("other") / "predicted-sub-07_ses-1.h5").write_bytes(b"x")
    store.run_folder("study").mkdir()
    write_json(store.run_folder("study") / "study.json", {"settings": {"teacher": {"session": "sub-07_ses-2"}}})
    for key in ("sub-07_ses-1_0123", "sub-07_ses-10_0123", "sub-08_ses-1_0123"):
        (store.derived / key).mkdir()
    for page in ("sub-07_ses-1", "sub-08_ses-1", "run-both", "run-other"):
        (store.review / f"{page}.html").write_text("page")
    drops = {"a": ["sub-07_ses-1"], "b": ["sub-07_ses-2", "sub-08_ses-1"]}
    for name, sessions in drops.items():
        (store.originals / name).mkdir()
        write_json(store.originals / name / "drop.json", {"sessions": sessions})
    return store


@pytest.fixture
def catalog(store):
    catalog = Catalog.of(store)
    yield catalog
    catalog.close()


GOES = {
    "runs/both", "runs/after", "runs/study", "runs/other/predicted-sub-07_ses-1.h5", "derived/sub-07_ses-1_0123",
    "review/sub-07_ses-1.html", "review/run-both.html", "originals/a", "sessions/sub-07_ses-1/v001",
    "sessions/sub-07_ses-2/v001", "sessions/sub-09_ses-2/v001",
}  # fmt: skip


def test_all_that_came_from_a_person_is_found_and_nothing_else(store):
    found = withdrawing.derived_from(store, "07")
    assert {entry.path.relative_to(store.root).as_posix() for _, entry in found.entries} == GOES
    assert [line for line in found.left if "originals/b: holds recordings of sub-08_ses-1, too" in line]


def test_looking_removes_nothing(store):
    withdrawing.derived_from(store, "07")
    assert all((store.root / path).exists() for path in GOES)
    assert not (store.root / retention.LOG).exists()


def test_withdrawal_removes_it_and_leaves_a_line_for_each(store, catalog):
    for name in ("both", "other"):
        catalog.runs.put(name, state=DONE)
    for name, sessions in (("Mueller.edf", ["sub-07_ses-1"]), ("b", ["sub-08_ses-1"])):
        catalog.drops.add(name, folder=store.inbox, state=DONE, sessions=sessions)
    withdrawing.withdraw(store, catalog, "07", who="Ada")
    assert not any((store.root / path).exists() for path in GOES)
    assert {line["what"] for line in retention.deletions(store)} == GOES
    assert {(line["who"], line["why"]) for line in retention.deletions(store)} == {("Ada", "withdrawn by 07")}
    assert store.session_ids(amended=True) == ["sub-08_ses-1"]
    assert [run.name for run in catalog.runs.every()] == ["other"]
    assert [drop.name for drop in catalog.drops.every()] == ["b"]


def test_of_the_person_only_the_code_and_the_end_of_the_consent_stay(store, catalog):
    withdrawing.withdraw(store, catalog, "07")
    kept = json.loads(store.subjects_file.read_text())["07"]
    assert set(kept) == {"consent"}
    assert kept["consent"]["given"] == "2024-02-01"
    assert "withdrawn" in Subjects.of(store).objection("sub-07_ses-1", date.today())


def test_who_is_interrupted_still_finds_the_rest(store, catalog, monkeypatch):
    whole = retention.clean

    def cut_short(store, catalog, entries, **who):
        whole(store, catalog, entries[:4], **who)
        raise KeyboardInterrupt

    monkeypatch.setattr(retention, "clean", cut_short)
    with pytest.raises(KeyboardInterrupt):
        withdrawing.withdraw(store, catalog, "07")
    monkeypatch.undo()
    withdrawing.withdraw(store, catalog, "07")
    assert not any((store.root / path).exists() for path in GOES)


def test_somebody_unknown_is_told_who_is_known(store):
    with pytest.raises(StoreError, match=r"11: no such subject in .*; there are: 07, 08$"):
        withdrawing.derived_from(store, "11")


def test_nothing_is_trained_on_from_what_was_learned_of_somebody_who_withdrew(store):
    write_json(store.subjects_file, {"07": {"consent": {"given": "2024-02-01", "withdrawn": "2024-03-01"}}})
    for name in ("both", "after"):
        with pytest.raises(StoreError, match=r"sub-07_ses-1: consent was withdrawn on 2024-03-01; neither it"):
            running.train_run(name, store)
    asked = run_config.RunConfig(name="third", sessions=("sub-08_ses-1",), start_from="after")
    with pytest.raises(StoreError, match="consent was withdrawn"):
        preparing.prepare_run(asked, store)


@pytest.mark.parametrize(
    "use",
    [
        judging.evaluate_run,
        lambda name, store: judging.Look(name=name, store=store).pathways(),
        lambda name, store: predicting.predict_run(name, "sub-08_ses-1", store),
        fidelity_of_run,
        lambda name, store: fidelity_of_run("other", store, against=name),
        lambda name, store: running.run_and_data(store, name),
    ],
    ids=["evaluate", "evaluate --pathways", "predict", "fidelity", "fidelity --against", "in Python"],
)
@pytest.mark.parametrize("name", ["both", "after"])
def test_what_was_learned_of_somebody_who_withdrew_is_not_used(store, use, name, monkeypatch):
    write_json(store.subjects_file, {"07": {"consent": {"given": "2024-02-01", "until": "2024-03-01"}}})
    monkeypatch.setattr(running, "windows_of", lambda *_: None)
    monkeypatch.setattr(running, "open_run", lambda *_: None)
    with pytest.raises(StoreError, match=r"^sub-07_ses-1: consent ended on 2024-03-01; neither it nor a network that"):
        use(name, store)


# what was refused ----------------------------------------------------------------------------------------------------


def refuse(store, catalog, name, texts):
    """A drop in quarantine, with these files in its folder."""
    for file, text in texts.items():
        (store.inbox / name).mkdir(exist_ok=True)
        (store.inbox / name / file).write_text(text)
    files = [f"{name}/{file}" for file in texts]
    drop_id = catalog.drops.add(name, folder=store.inbox, files=files, digest=name, state=QUARANTINED).id
    return custody.quarantine(store, catalog.drops.get(drop_id), "bad header")


def refused_of_07(store, catalog):
    """By what tells it: `session.toml`, file name, name of the person."""
    return [
        refuse(store, catalog, "told", {"x.vhdr": "x", "session.toml": 'subject = "07"\n[broken\n'}),
        refuse(store, catalog, "named", {"sub-07_ses-1_eeg.vhdr": "x"}),
        refuse(store, catalog, "Mueller", {"mueller1.vhdr": "x"}),
        refuse(store, catalog, "who", {"subject.toml": '[07]\nnames = ["Mueller"]\nsex = "?"\n'}),
    ]


def test_what_was_refused_of_them_goes_too_and_its_names_leave_the_catalog(store, catalog):
    folders = refused_of_07(store, catalog)
    other = refuse(store, catalog, "other", {"x.vhdr": "x", "session.toml": 'subject = "08"\n'})
    found = withdrawing.withdraw(store, catalog, "07")
    assert sorted(entry.path for kind, entry in found.entries if kind == "refused") == sorted(folders)
    assert [folder for folder in (*folders, other) if folder.exists()] == [other]
    assert [drop.name for drop in catalog.drops.every()] == ["other"]
    assert digest_of_bytes(b"x") in json.loads((store.root / "withdrawn.json").read_text())["07"]["contents"]


def test_somebody_of_whom_everything_was_refused_can_withdraw(store, catalog):
    folder = refuse(store, catalog, "new", {"x.vhdr": "x", "session.toml": 'subject = "t01"\n'})
    assert [entry.path for _, entry in withdrawing.derived_from(store, "t01").entries] == [folder]
    withdrawing.withdraw(store, catalog, "t01")
    assert not folder.exists()


def test_interrupted_before_the_names_are_gone_what_they_told_is_found_again(store, catalog, monkeypatch):
    folders = refused_of_07(store, catalog)
    monkeypatch.setattr(retention, "clean", lambda *_, **__: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        withdrawing.withdraw(store, catalog, "07")
    monkeypatch.undo()
    withdrawing.withdraw(store, catalog, "07")
    assert not any(folder.exists() for folder in folders)


def test_refused_drops_of_several_or_of_nobody_stay_and_are_told(store, catalog):
    both = {"sub-07_eeg.vhdr": "x", "sub-08_eeg.vhdr": "y"}
    stay = [refuse(store, catalog, "both", both), refuse(store, catalog, "nobody", {"x.vhdr": "x"})]
    left = withdrawing.withdraw(store, catalog, "07").left
    assert all(folder.exists() for folder in stay)
    assert "quarantine/both: speaks of 08, too; take out by hand what is not theirs" in left
    assert "1 in quarantine that do not say whose they are (nobody): look at them by hand" in left


def test_what_the_lab_wrote_of_them_goes_and_what_waits_in_the_inbox_is_told(store, catalog):
    subject(store.inbox, '[07]\nnames = ["Mueller"]\n')
    drop_id = catalog.drops.add(
        "subject.toml", folder=store.inbox, files=["subject.toml"], digest="d" * 64, state=DONE
    ).id
    kept = custody.archive(store, catalog.drops.get(drop_id), [])
    (store.inbox / "sub-07_ses-3_eeg.edf").write_text("x")
    left = withdrawing.withdraw(store, catalog, "07").left
    assert not kept.exists()
    assert catalog.drops.get(drop_id) is None
    assert [line for line in left if line.startswith(f"{store.inbox}/sub-07_ses-3_eeg.edf: waits in the inbox")]


def test_a_place_in_the_inbox_that_is_empty_again_is_no_file_that_was_left(store, tmp_path):
    places = {"a": store.inbox / "gone", "b": tmp_path / "outside.edf"}
    (tmp_path / "outside.edf").write_text("x")
    for name, path in places.items():
        (store.originals / f"{name}-in-place").mkdir()
        record = {"sessions": ["sub-07_ses-1"], "paths": [str(path)]}
        write_json(store.originals / f"{name}-in-place" / "origin.json", record)
    told = [line for line in withdrawing.derived_from(store, "07").left if "ingested where it lies" in line]
    assert told == [f"{tmp_path}/outside.edf: was ingested where it lies, outside of the store"]


# what comes in again -------------------------------------------------------------------------------------------------


@pytest.fixture
def withdrawn(store, catalog, tmp_path):
    """A recording of 11, who has withdrawn since, and one of 12 with the same header; in folders of their own."""
    for code in ("11", "12"):
        folder = tmp_path / code
        folder.mkdir()
        brainvision(folder)
        (folder / "x.eeg").write_bytes(bytes(range(int(code), int(code) + 200)) * 10)
        (folder / "session.toml").write_text(f'subject = "{code}"\n')
    subject(tmp_path, "[11]\nconsent = {given = 2024-02-01}\n")
    take_up(store, tmp_path / "subject.toml")
    assert ingest_path(tmp_path / "11", store).state == "ingested"
    withdrawing.withdraw(store, catalog, "11")
    return tmp_path


def subject(folder, text):
    (folder / "subject.toml").write_text(text)


def test_what_was_removed_is_refused_under_whatever_code(store, withdrawn):
    (withdrawn / "11" / "session.toml").write_text('subject = "99"\n')
    again = ingest_path(withdrawn / "11", store)
    assert again.state == "quarantined"
    said = (
        r"11: holds what was removed when 11 withdrew on \S+: x.vhdr, x.eeg; take these files out, or say in a subject"
    )
    assert re.match(said, again.reason)
    assert ingest_path(withdrawn / "12", store).state == "ingested"


def test_a_small_recording_of_theirs_among_others_is_refused_by_its_files_names(store, withdrawn):
    for path in (withdrawn / "11").glob("x.*"):
        text = path.read_bytes().replace(b"x.eeg", b"y.eeg")  # one of them has another header now
        (withdrawn / "12" / f"y{path.suffix}").write_bytes(text)
    (withdrawn / "12" / "x.eeg").write_bytes(bytes(range(12, 212)) * 1000)
    mixed = ingest_path(withdrawn / "12", store)
    assert mixed.state == "quarantined"
    assert re.match(r"12: holds what was removed when 11 withdrew on \S+: y.eeg; take these files out", mixed.reason)
    for path in (withdrawn / "12").glob("y.*"):
        path.unlink()
    assert ingest_path(withdrawn / "12", store).state == "ingested"


def test_the_consent_of_before_is_no_new_one(store, withdrawn):
    with pytest.raises(FormatError, match="11 withdrew on"):
        take_up(store, withdrawn / "subject.toml")
    assert "withdrawn" in Subjects.of(store).objection("sub-11_ses-01", date.today())


def test_who_consents_again_is_taken_in_again(store, withdrawn):
    subject(withdrawn, f"[11]\nconsent = {{given = {date.today()}}}\n")
    take_up(store, withdrawn / "subject.toml")
    assert ingest_path(withdrawn / "11", store).state == "ingested"


def test_a_withdrawal_that_was_interrupted_still_knows_what_it_removed(store, withdrawn, catalog):
    withdrawing.withdraw(store, catalog, "11")
    assert ingest_path(withdrawn / "11", store).state == "quarantined"
