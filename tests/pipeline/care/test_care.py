"""Sessions are amended, traced and made anew; nothing that was published is lost on the way."""

import shutil
from pathlib import Path

import pytest

import neuroloom.ingest.formats as formats_folder
from neuroloom.ingest import Session, manifest, quality
from neuroloom.ingest.manifest import verify
from neuroloom.pipeline.care.amending import amend
from neuroloom.pipeline.care.outdated_runs import outdated, prepare_again
from neuroloom.pipeline.care.reingesting import reingest
from neuroloom.pipeline.care.tracing import Touch, affected
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.runs import preparing, run_config
from neuroloom.pipeline.store import StoreError
from neuroloom.pipeline.subjects import take_up

SAMPLE = Path(__file__).parents[3] / "sample_data" / "person"
ID, RIGHT = "sub-sample_ses-01_task-choice", "sub-08_ses-01_task-choice"
GAZE = f"{ID}_gaze.asc"
LABAMP = """
import numpy as np
from neuroloom.ingest import Recording, Segment, Signal, Timebase

TITLE, MODALITY, KEEPS, TESTED_ON = "Lab's amplifier", "eeg", "samples", "none"

def sniff(path, head):
    return head.startswith(b"labamp")

def files(path):
    return (path,)

def read(path):
    samples = np.frombuffer(path.read_bytes()[6:], np.uint8).astype(np.int16)[:, None]
    base = Timebase(rate_hz=100.0, n_samples=len(samples))
    eeg = Signal(
        name="eeg", modality="eeg", segments=(Segment(samples=samples, timebase=base),), channel_names=("Cz",),
        unit="uV", gain=np.ones(1), offset=np.zeros(1),
    )
    return [Recording(clock=path.stem, format="labamp", files=(path,), streams=(eeg,))]
"""


@pytest.fixture
def person(tmp_path):
    return Path(shutil.copytree(SAMPLE, tmp_path / "person"))


@pytest.fixture
def published(store, person):
    return Path(ingest_path(person, store, sorter=None, in_place=True).file).parent


# amend ---------------------------------------------------------------------------------------------------------------


def test_an_amended_session_has_its_right_name_and_follows_the_old_one(store, published):
    folder = amend(store, ID, subject="08", why="wrong code on the sheet")
    assert folder.parent.name == RIGHT
    said = manifest.read(folder)
    assert said["lineage"] == {"follows": manifest.digest_of(published), "why": "wrong code on the sheet"}
    assert verify(folder) == []


def test_the_wrong_code_is_nowhere_in_what_is_published(store, published):
    folder = amend(store, ID, subject="08", session="2", why="wrong code")
    said = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not [name for name, content in said.items() if b"sub-sample" in content or b"ses-01" in content]
    with Session.open(published) as wrong, Session.open(folder) as right:
        assert right.clock == wrong.clock.replace("sub-sample_ses-01", "sub-08_ses-2")
        one, other = (next(s for s in of.streams if s.name == "gaze") for of in (wrong, right))
        assert (one.segments[0].samples[:10] == other.segments[0].samples[:10]).all()
        assert {s.device for s in right.streams if s.device} <= {right.clock, *(m.source for m in right.clock_maps)}


def test_the_old_session_is_kept_and_listed_no_more(store, published):
    amend(store, ID, subject="08", why="wrong code")
    assert store.session_ids() == [RIGHT]
    assert verify(published) == []


def test_what_it_holds_stays_and_its_dates_move_with_the_subject(store, published):
    folder = amend(store, ID, subject="08", why="wrong code")
    with Session.open(published) as wrong, Session.open(folder) as right:
        assert right.stream_names == wrong.stream_names
        assert right.start != wrong.start
        assert right.start.time() == wrong.start.time()


def test_consent_and_what_the_lab_says_are_those_of_the_right_person(store, person, tmp_path):
    subjects = """
        [sample]
        sex = "M"
        strain = "C57BL"
        consent = {given = 2024-02-01, scope = ["teaching"]}
        [08]
        sex = "F"
        consent = {given = 2024-02-01, scope = ["research"], document = "08.pdf"}
        """
    (tmp_path / "subject.toml").write_text(subjects)
    take_up(store, tmp_path / "subject.toml")
    ingest_path(person, store, sorter=None)
    folder = amend(store, ID, subject="08", why="wrong code")
    assert manifest.read(folder)["consent"] == {"scope": ["research"], "document": "08.pdf"}
    with Session.open(folder) as right:
        assert {source["subject"].get("sex") for source in right.sources} == {"F"}
        assert not any("strain" in source["subject"] for source in right.sources)
    another_task = amend(store, RIGHT, task="reach", why="wrong task")
    assert manifest.read(another_task)["consent"] == {"scope": ["research"], "document": "08.pdf"}


def test_of_a_person_whose_consent_nobody_knows_there_is_none(store, person, tmp_path):
    (tmp_path / "subject.toml").write_text("[sample.consent]\ngiven = 2024-02-01\n")
    take_up(store, tmp_path / "subject.toml")
    ingest_path(person, store, sorter=None)
    assert manifest.read(amend(store, ID, subject="08", why="wrong code"))["consent"] is None


def test_the_same_recordings_dropped_again_are_known_under_the_right_name(store, published, person):
    amend(store, ID, subject="08", why="wrong code")
    again = ingest_path(person, store, sorter=None)
    assert (again.state, again.session) == ("already", RIGHT)


def test_the_same_name_is_refused_and_so_is_a_session_that_has_another_by_now(store, published):
    with pytest.raises(StoreError, match="has this name already"):
        amend(store, ID, subject="sample", why="wrong code")
    amend(store, ID, subject="08", why="wrong code")
    with pytest.raises(StoreError, match=f"is {RIGHT} now"):
        amend(store, ID, subject="08", why="again")


def test_a_name_that_another_session_has_is_refused(store, published, person):
    shutil.copytree(published.parent, store.session_folder(RIGHT))
    with pytest.raises(StoreError, match=f"{RIGHT}: is there already"):
        amend(store, ID, subject="08", why="wrong code")


# affected ------------------------------------------------------------------------------------------------------------


def sessions(store, **touch):
    return [(row["session"], row["version"]) for row in affected(store, Touch(**touch))["sessions"]]


def test_sessions_are_found_by_reader_version_file_and_decision(store, published):
    digest = next(d for s in manifest.read(published)["sources"] for name, d in s["digests"].items() if name == GAZE)
    for touch in (
        {"reader": "eyelink"},
        {"library": "numpy", "version": ">1"},
        {"reader": "eyelink", "library": "numpy", "version": ">1"},
        {"file": GAZE},
        {"file": digest[:20]},
        {"decision": "pulses, linear"},
    ):
        assert sessions(store, **touch) == [(ID, "v001")], touch


def test_what_fits_in_part_is_not_affected(store, published):
    assert sessions(store, reader="fif") == []
    assert sessions(store, reader="eyelink", library="numpy", version="<1") == []
    assert sessions(store, file="nobody.asc") == []


def test_models_are_found_by_the_versions_they_were_trained_on(store, published):
    preparing.prepare_run(run_config.RunConfig(name="model", sessions=(ID,)), store)
    assert affected(store, Touch(reader="eyelink"))["runs"] == [{"run": "model", "sessions": [f"{ID} v001"]}]


def test_a_reader_of_another_package_has_the_version_of_that_package(store, tmp_path, monkeypatch):
    there = tmp_path / "site"
    about = there / "labamp_reader-0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: labamp-reader\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[neuroloom.formats]\nlabamp = labamp\n")
    (there / "labamp.py").write_text(LABAMP)
    monkeypatch.syspath_prepend(there)
    for cached in (formats_folder.formats, manifest.library_versions):
        cached.cache_clear()
    try:
        (tmp_path / "a.labamp").write_bytes(b"labamp" + bytes(range(100)))
        assert ingest_path(tmp_path / "a.labamp", store, sorter=None).state == "ingested"
        assert sessions(store, reader="labamp", version="<0.2") == [("sub-a_ses-01", "v001")]
        assert sessions(store, reader="labamp", version=">=0.2") == []
        assert sessions(store, reader="labamp", library="neuroloom", version=">0.0.0.dev0") == [
            ("sub-a_ses-01", "v001")
        ]
    finally:
        for cached in (formats_folder.formats, manifest.library_versions):
            cached.cache_clear()


def test_nothing_to_look_for_and_no_version_are_refused():
    with pytest.raises(StoreError, match="nothing to look for"):
        Touch()
    with pytest.raises(StoreError, match="version 'new'"):
        Touch(version="new")


# reingest ------------------------------------------------------------------------------------------------------------


def test_a_check_that_came_later_makes_a_new_version_of_the_sessions_it_finds_something_in(store, person, monkeypatch):
    known = quality.checks()
    with monkeypatch.context() as before:
        before.setattr(quality, "checks", lambda: {"timing": known["timing"]})
        ingest_path(person, store, sorter=None, in_place=True)
    found = reingest(store, ID, why="new checks", sorter=None)
    assert (found["state"], found["changed"]) == ("reingested", ["quality of eeg"])
    assert reingest(store, ID, why="again", sorter=None)["state"] == "unchanged"


def test_the_same_readers_change_nothing_and_publish_nothing(store, published):
    found = reingest(store, ID, why="a check", sorter=None)
    assert (found["state"], found["changed"]) == ("unchanged", [])
    assert [path.name for path in store.versions(ID)] == ["v001"]
    assert list(store.staging.iterdir()) == []


def test_a_reader_that_reads_otherwise_makes_a_new_version_and_says_what_changed(store, published, monkeypatch):
    from neuroloom.ingest.formats import formats

    eyelink = formats()["eyelink"]
    read = eyelink.read

    def mended(path):
        from dataclasses import replace

        return [replace(r, streams=tuple(s for s in r.streams if s.name != "messages")) for r in read(path)]

    monkeypatch.setattr(eyelink, "read", mended)
    found = reingest(store, ID, why="messages were wrong", sorter=None)
    assert (found["state"], found["version"]) == ("reingested", "v002")
    assert all("messages" in name for name in found["changed"])
    lineage = manifest.read(store.latest(ID))["lineage"]
    assert lineage == {"follows": manifest.digest_of(published), "why": "messages were wrong"}


def test_a_model_of_an_older_version_is_prepared_again_on_the_newest_once(store, published):
    preparing.prepare_run(run_config.RunConfig(name="model", sessions=(ID,), steps=7), store)
    assert outdated(store, {ID}) == []
    shutil.copytree(published, published.with_name("v002"))
    assert outdated(store, {ID}) == ["model"]
    assert outdated(store, {"sub-another"}) == []
    assert prepare_again(store, "model") == "model-2"
    assert (preparing.requested(store, "model-2").steps, preparing.session_versions(store, "model-2")) == (
        7,
        {ID: "v002"},
    )
    assert preparing.session_versions(store, "model") == {ID: "v001"}
    assert outdated(store, {ID}) == []


def test_a_session_of_two_drops_is_made_of_both_again(store, person):
    for kind in ("eeg.vhdr", "gaze.asc"):
        ingest_path(person / f"{ID}_{kind}", store, sorter=None, in_place=True)
    assert reingest(store, ID, why="a check", sorter=None)["state"] == "unchanged"


def test_originals_that_are_gone_are_named(store, published, person):
    shutil.rmtree(person)
    with pytest.raises(StoreError, match="is not there any more"):
        reingest(store, ID, why="a check", sorter=None)
