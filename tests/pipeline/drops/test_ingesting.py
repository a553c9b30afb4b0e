"""From a folder of files to a published session, in this process."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from neuroloom.ingest import FormatError, Session, manifest, naming_files
from neuroloom.pipeline.boxed.box import Unboxed
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.dates import days_in
from neuroloom.pipeline.drops import making
from neuroloom.pipeline.drops.ingesting import ingest_drop, ingest_path, published, ran_on
from neuroloom.pipeline.drops.reading import Drop
from neuroloom.pipeline.noting import note_new, rebuild
from neuroloom.pipeline.reviewing import review_index
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.synthetic.sample_devices import record_person
from neuroloom.pipeline.synthetic.truth import clock_truths

from ...trust.scenes import marked

SAMPLE = Path(__file__).parents[3] / "sample_data" / "person"
EEG, GAZE = "sub-sample_ses-01_task-choice_eeg", "sub-sample_ses-01_task-choice_gaze"


@pytest.fixture
def person(tmp_path):
    """A copy, so that a test may spoil it."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "person"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_of_devices_becomes_one_session(person, store):
    result = ingest_path(person, store, sorter=None)
    assert (result.state, result.session) == ("ingested", "sub-sample_ses-01_task-choice")
    assert result.format == "brainvision, eyelink"
    assert {"eeg", "gaze", "trials"} <= {stream["name"] for stream in result.streams}
    assert [sync["to"] for sync in result.sync] == [EEG]


def test_originals_are_left_as_they_were(person, store):
    before = contents(person)
    ingest_path(person, store, sorter=None, archive=True)
    assert contents(person) == before
    assert contents(store.originals / "person") == before


def test_true_clocks_are_recovered_from_the_files(tmp_path, store):
    record_person(tmp_path / "drop", duration_s=40, seed=3)
    session = Session.open(Path(ingest_path(tmp_path / "drop", store, sorter=None).file).parent)
    truths = clock_truths(session, 40)
    assert {truth.device for truth in truths} == {"eeg", "gaze"}
    assert max(truth.worst_error_ms for truth in truths) < 0.5


def test_wideband_traces_give_an_lfp_and_areas_stay_with_their_channels(tmp_path, store):
    record_person(tmp_path / "drop", duration_s=10, seed=3, devices=("probe",))
    session = Session.open(Path(ingest_path(tmp_path / "drop", store, sorter=None).file).parent)
    lfp = next(stream for stream in session.streams if stream.modality == "lfp")
    assert lfp.rate_hz < 2000
    assert list(lfp.table["area"]) == ["V1"] * 8 + ["PPC"] * 8


def test_the_same_content_is_ingested_once(person, store, tmp_path):
    first = ingest_path(person, store, sorter=None)
    again = ingest_path(Path(shutil.copytree(person, tmp_path / "copy")), store, sorter=None)
    assert (again.state, again.file) == ("already", first.file)
    assert len(list(store.sessions.glob("*/v*"))) == 1


def test_other_content_of_the_same_session_is_a_new_version(person, store):
    first = ingest_path(person, store, sorter=None)
    with (person / f"{EEG}.vmrk").open("a") as markers:
        markers.write("Mk999=Stimulus,S 99,20000,1,0\n")
    second = ingest_path(person, store, sorter=None)
    assert (Path(first.file).parent.name, Path(second.file).parent.name) == ("v001", "v002")
    assert Session.open(Path(first.file).parent).id == second.session


def test_published_finds_a_session_by_what_it_was_made_of(person, store):
    result = ingest_path(person, store, sorter=None)
    digests = [d for s in Session.open(Path(result.file).parent).sources for d in s["digests"].values()]
    assert published(store, digests) == Path(result.file).parent
    assert published(store, [*digests, "blake3:00"]) is None


@pytest.fixture
def published_by_hand(store):
    """Gives a version that says it was made of a content; nobody told the catalog."""

    def made(session, version, digest):
        folder = store.session_folder(session) / version
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"sources": [{"digests": {"x.edf": digest}}]}))
        return folder

    return made


def test_a_version_whose_writer_was_killed_before_it_was_noted_is_found(store, published_by_hand):
    catalog = Catalog.of(store)
    note_new(store, catalog)
    catalog.sessions.announce("sub-a_ses-01", "v001", {"sources": [{"digests": {"x.edf": "1"}}]})
    catalog.close()
    assert published(store, ["1"]) is None
    assert published_by_hand("sub-a_ses-01", "v001", "1") == published(store, ["1"])


def test_what_was_announced_under_a_version_that_another_content_took_is_not_taken_for_it(store, published_by_hand):
    catalog = Catalog.of(store)
    note_new(store, catalog)
    for digest in ("1", "2"):
        catalog.sessions.announce("sub-a_ses-01", "v001", {"sources": [{"digests": {"x.edf": digest}}]})
    catalog.close()
    published_by_hand("sub-a_ses-01", "v001", "2")
    assert published(store, ["1"]) is None


def test_where_the_catalog_was_deleted_what_is_published_is_found(store, published_by_hand):
    folder = published_by_hand("sub-a_ses-01", "v001", "1")
    assert published(store, ["1"]) == folder


def test_one_broken_file_stops_no_other(person, store, tmp_path):
    broken = tmp_path / "broken.vhdr"
    broken.write_text("Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile=no.eeg\n")
    results = ingest_drop([broken, person], store, sorter=None)
    assert [result.state for result in results] == ["quarantined", "ingested"]
    assert "broken.vhdr" in results[0].reason
    assert "\n" not in results[0].reason


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("session.toml", "subject = ", "session.toml"),
        ("session.toml", 'subjekt = "1"\n', "subjekt"),
        ("session.toml", 'expects = ["gazee"]\n', "no modality"),
        ("session.toml", '[areas]\nap = "V1"\n', "[areas] names 'ap'"),
        ("task.toml", '[trials]\nstart = ["S 99"]\n', "task.toml"),
    ],
)
def test_a_wrong_sidecar_is_named(person, store, name, text, wanted):
    (person / name).write_text(text)
    result = ingest_path(person, store, sorter=None)
    assert result.state == "quarantined"
    assert wanted in result.reason


def test_areas_must_fit_the_channels(person, store):
    (person / "session.toml").write_text('[areas]\neeg = ["V1", "M1"]\n')
    result = ingest_path(person, store, sorter=None)
    assert result.state == "quarantined"
    assert "session.toml" in result.reason
    assert "19" in result.reason


def test_a_companion_names_no_recording_of_its_own(person):
    assert [path.name for path in naming_files(person)] == [f"{EEG}.vhdr", f"{GAZE}.asc"]
    assert {path.name for path in Drop(paths=(person,)).files()} == set(contents(person))


def test_a_folder_of_nothing_known_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FormatError, match="no file in it is of a known format"):
        naming_files(tmp_path)


def test_links_in_a_drop_are_not_followed(person, tmp_path):
    outside = tmp_path / "outside.asc"
    (person / f"{GAZE}.asc").rename(outside)
    (person / f"{GAZE}.asc").symlink_to(outside)
    assert [path.name for path in naming_files(person)] == [f"{EEG}.vhdr"]


def test_published_times_are_those_of_the_files(person, store):
    session = Session.open(Path(ingest_path(person, store, sorter=None).file).parent)
    eeg = next(stream for stream in session.streams if stream.name == "eeg")
    first = eeg.between(0.0, 0.1)
    raw = np.fromfile(person / f"{EEG}.eeg", "<i2").reshape(-1, 19)
    assert np.array_equal(first.segments[0].samples[:10], raw[:10])


def test_content_that_a_session_already_holds_is_already_there(person, store):
    ingest_path(person, store, sorter=None)
    assert ingest_path(person / f"{GAZE}.asc", store, sorter=None).state == "already"


def test_loose_files_of_one_session_are_one_session(person, store):
    results = ingest_drop([person / f"{EEG}.vhdr", person / f"{GAZE}.asc"], store, sorter=None)
    assert [result.state for result in results] == ["ingested", "ingested"]
    assert results[0].file == results[1].file
    assert {"eeg", "gaze"} <= {stream["name"] for stream in results[1].streams}


def test_a_late_device_joins_its_session_in_a_new_version(person, store):
    first = ingest_path(person / f"{EEG}.vhdr", store, sorter=None)
    late = ingest_path(person / f"{GAZE}.asc", store, sorter=None)
    assert (Path(first.file).parent.name, Path(late.file).parent.name) == ("v001", "v002")
    assert {"eeg", "gaze"} <= {stream["name"] for stream in late.streams}
    together = ingest_path(person, Store(store.root / "other").create(), sorter=None)
    assert late.sync == together.sync
    lineage = manifest.read(Path(late.file).parent)["lineage"]
    assert lineage["follows"] == manifest.digest_of(Path(first.file).parent)


def test_a_device_that_comes_first_keeps_the_clock(person, store):
    """Gaze is published first, so its clock stays the session's when the EEG joins."""
    first = ingest_path(person / f"{GAZE}.asc", store, sorter=None)
    late = ingest_path(person / f"{EEG}.vhdr", store, sorter=None)
    assert Session.open(Path(late.file).parent).clock == GAZE
    gaze = [next(s for s in result.streams if s["name"] == "gaze") for result in (first, late)]
    assert gaze[0] == gaze[1]


def test_another_recording_of_the_same_name_does_not_join(person, store, tmp_path):
    """Gaze of another day under the same name: no pulses in common, so it is refused and says what is there."""
    record_person(tmp_path / "other", duration_s=40, seed=99, subject="sample", devices=("gaze",))
    ingest_path(person / f"{EEG}.vhdr", store, sorter=None)
    text = (tmp_path / "other" / f"{GAZE}.asc").read_text()
    (tmp_path / f"{GAZE}.asc").write_text(text.replace("May  6 10:00:00 2024", "May  7 10:00:00 2024"))
    late = ingest_path(tmp_path / f"{GAZE}.asc", store, sorter=None)
    assert late.state == "quarantined"
    assert "is there already" in late.reason
    assert len(list(store.sessions.glob("*/v*"))) == 1


def test_a_corrected_file_takes_the_place_of_its_drop_and_later_devices_stay(person, store):
    ingest_path(person / f"{EEG}.vhdr", store, sorter=None)
    ingest_path(person / f"{GAZE}.asc", store, sorter=None)
    text = (person / f"{GAZE}.asc").read_text()
    (person / f"{GAZE}.asc").write_text(text.replace("DISPLAY_COORDS", "SCREEN"))
    third = ingest_path(person / f"{GAZE}.asc", store, sorter=None)
    session = Session.open(Path(third.file).parent)
    assert Path(third.file).parent.name == "v003"
    assert session.stream_names.count("gaze") == 1
    assert session["messages"].labels[0].startswith("SCREEN")
    assert "eeg" in session.stream_names


def unnamed(person, kind):
    """One device's files under names that say nothing."""
    folder = person.parent / kind
    folder.mkdir()
    for file in person.glob(f"*_{kind}.*"):
        text = file.read_bytes().replace(EEG.encode(), b"tuesday")
        (folder / f"tuesday{file.suffix}").write_bytes(text)
    return next(path for path in folder.iterdir() if path.suffix in (".vhdr", ".asc"))


def test_files_that_name_nobody_are_one_session_where_they_ran_together_and_share_pulses(person, store):
    first = ingest_path(unnamed(person, "eeg"), store, sorter=None)
    second = ingest_path(unnamed(person, "gaze").rename(person.parent / "track.asc"), store, sorter=None)
    assert (first.session, second.session) == ("sub-tuesday_ses-01", "sub-tuesday_ses-01")
    assert {"eeg", "gaze"} <= {stream["name"] for stream in second.streams}


def test_files_that_name_nobody_and_share_no_pulses_stay_apart(person, store, tmp_path):
    """Somebody else's gaze at the same time: acquisition dates alone do not make it the same person."""
    record_person(tmp_path / "other", duration_s=40, seed=99, subject="x", devices=("gaze",))
    (other,) = (tmp_path / "other").glob("*.asc")
    ingest_path(unnamed(person, "eeg"), store, sorter=None)
    assert ingest_path(other.rename(tmp_path / "track.asc"), store, sorter=None).session == "sub-track_ses-01"


class Watched(Unboxed):
    """Knows beside which sessions a drop was looked for."""

    def __init__(self):
        self.beside = []

    def call(self, function, arguments, **how):
        self.beside += [arguments["beside"]] if arguments.get("beside") is not None else []
        return super().call(function, arguments, **how)


def of_another_day(path):
    path.write_text(path.read_text().replace("** DATE: ", "** DATE: Mon Mar  4 10:00:00 2002\n** "))


def test_what_names_nobody_is_held_only_against_sessions_of_that_day(person, store, tmp_path):
    record_person(tmp_path / "other", duration_s=5, seed=99, subject="x", devices=("gaze",))
    (other,) = (tmp_path / "other").glob("*.asc")
    of_another_day(other)
    ingest_path(other.rename(tmp_path / "another_day.asc"), store, sorter=None)
    ingest_path(unnamed(person, "eeg"), store, sorter=None)
    inside = Watched()
    gaze = unnamed(person, "gaze").rename(person.parent / "track.asc")
    assert ingest_path(gaze, store, sorter=None, inside=inside).session == "sub-tuesday_ses-01"
    assert inside.beside == [["sub-tuesday_ses-01"]]


def test_a_third_device_that_names_nobody_joins_too(store, tmp_path):
    made = []
    for name, first in (("a", 0), ("b", 700), ("c", 300)):
        marked(tmp_path, name, first, dated=True)
        made.append(ingest_path(tmp_path / f"{name}.vhdr", store, sorter=None))
    assert [(result.session, Path(result.file).parent.name) for result in made] == [
        ("sub-a_ses-01", "v001"), ("sub-a_ses-01", "v002"), ("sub-a_ses-01", "v003")
    ]  # fmt: skip


def test_a_catalog_from_before_it_knew_days_is_filled_first(person, store):
    ingest_path(unnamed(person, "eeg"), store, sorter=None)
    catalog = Catalog.of(store)
    with catalog.engine.begin() as connection:
        for table in ("days", "known"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    catalog.close()
    gaze = unnamed(person, "gaze").rename(person.parent / "track.asc")
    assert ingest_path(gaze, store, sorter=None).session == "sub-tuesday_ses-01"


def test_a_rebuilt_catalog_knows_the_same_days(person, store):
    ingest_path(unnamed(person, "eeg"), store, sorter=None)
    said = manifest.read(store.latest("sub-tuesday_ses-01"))
    anew = Catalog.at(f"sqlite:///{store.root / 'anew.sqlite'}")
    rebuild(store, anew)
    assert anew.sessions.ran_on(days_in(store, said)) == ran_on(store, days_in(store, said)) == ["sub-tuesday_ses-01"]
    anew.close()


def test_what_is_expected_and_not_there_yet_is_said(person, store):
    (person / "session.toml").write_text('subject = "sample"\ntask = "choice"\nexpects = ["eeg", "gaze"]\n')
    gaze = (person / f"{GAZE}.asc").rename(person.parent / f"{GAZE}.asc")
    session = Session.open(Path(ingest_path(person, store, sorter=None).file).parent)
    assert session.missing == ("gaze",)
    rebuild(store, Catalog.of(store))
    assert "gaze missing" in review_index(store).read_text()
    joined = ingest_path(gaze, store, sorter=None)
    assert Session.open(Path(joined.file).parent).missing == ()


def test_runs_are_sessions_of_their_own(store, tmp_path):
    for run in ("1", "2"):
        record_person(tmp_path / run, duration_s=10, seed=int(run), devices=("eeg",))
        with (tmp_path / run / "session.toml").open("a") as file:
            file.write(f'run = "{run}"\n')
    results = ingest_drop([tmp_path / "1", tmp_path / "2"], store, sorter=None)
    assert [result.session for result in results] == [f"sub-demo_ses-01_task-choice_run-{run}" for run in "12"]
    assert Session.open(Path(results[1].file).parent).run == "2"


def test_a_session_name_cannot_lead_out_of_the_store(person, store):
    (person / "session.toml").write_text('subject = "x/../../../outside"\n')
    result = ingest_path(person, store, sorter=None)
    assert result.state == "quarantined"
    assert "cannot name a session" in result.reason
    assert not (store.root.parent / "outside").exists()


def test_two_drops_of_a_session_at_the_same_time_are_both_in_it(tmp_path, person, store):
    late = tmp_path / "late"
    late.mkdir()
    shutil.move(person / f"{GAZE}.asc", late / f"{GAZE}.asc")

    class Meanwhile(Unboxed):
        """Another run publishes the other device while this one is at work."""

        is_first = True

        def call(self, function, arguments, **how):
            made = super().call(function, arguments, **how)
            if function is making.made and self.is_first:
                self.is_first = False
                assert ingest_path(person, store, sorter=None).state == "ingested"
            return made

    result = ingest_path(late / f"{GAZE}.asc", store, sorter=None, inside=Meanwhile())
    assert (result.state, Path(result.file).parent.name) == ("ingested", "v002")
    with Session.open(Path(result.file).parent) as session:
        assert {stream.modality for stream in session.streams} >= {"eeg", "gaze"}


class Spoiled(Unboxed):
    """Its first `n` readings end as where a disk fails and a library says of a part of itself that it is missing."""

    def __init__(self, function, n, said):
        self.function, self.n, self.said, self.n_calls = function, n, said, 0

    def call(self, function, arguments, **how):
        self.n_calls += function is self.function
        if function is self.function and self.n_calls <= self.n:
            return self.said()
        return super().call(function, arguments, **how)


def missing():
    raise ValueError("Cannot load imports from non-existent stub 'channels/__init__.pyi'")


def a_part_refused():
    return [{"paths": ["x"], "within": None, "strict": False, "refused": "no x.eeg beside it"}]


@pytest.mark.parametrize(
    ("function", "said"), [(making.made, missing), (making.surveyed, missing), (making.surveyed, a_part_refused)]
)
def test_what_is_refused_is_read_once_more(person, store, function, said):
    assert ingest_path(person, store, sorter=None, inside=Spoiled(function, 1, said)).state == "ingested"


def test_what_is_refused_twice_is_refused(person, store):
    inside = Spoiled(making.made, 9, missing)
    assert ingest_path(person, store, sorter=None, inside=inside).state == "quarantined"
    assert inside.n_calls == 2


def test_what_the_disk_refuses_is_left_to_the_next_attempt(person, store):
    def full():
        raise OSError(28, "No space left on device")

    inside = Spoiled(making.made, 1, full)
    with pytest.raises(OSError, match="No space left"):
        ingest_path(person, store, sorter=None, inside=inside)
    assert inside.n_calls == 1
