"""Drops read in a box: the same sessions as without, and no reader takes a run down or reaches beyond its drop."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from neuroloom.ingest import Session, manifest
from neuroloom.ingest.formats import formats
from neuroloom.pipeline.boxed import _landlock, sniffing
from neuroloom.pipeline.boxed.box import BoxAwayError, BoxError, Unboxed, box_of
from neuroloom.pipeline.care.reingesting import reingest
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED, SUBMITTED
from neuroloom.pipeline.drops.in_place import ingest_paths
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.drops.reconciling import Reconciler
from neuroloom.pipeline.settings import BoxSettings, InboxSettings, IngestSettings, Settings
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.synthetic.sample_devices import record_person

from ...trust.harness import SETTINGS, inbox_of
from ...trust.hostile_paths import brainvision

HERE = Path(__file__).parent
SAMPLE = HERE.parents[2] / "sample_data" / "person"
ID = "sub-sample_ses-01_task-choice"
GAZE = f"{ID}_gaze.asc"
NOISE = ("/identifier", "/file_create_date")


@pytest.fixture(scope="module")
def wild(tmp_path_factory):
    """The format of `wild_format.py`, as a package that a lab has installed brings it."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(HERE / "wild_format.py", site)
    info = site / "wild_format-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wild-format\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[neuroloom.formats]\nwild = wild_format\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep))
        formats.cache_clear()
        yield
    formats.cache_clear()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("boxed") / "store").create()


@pytest.fixture(scope="module")
def box(place, wild):
    with box_of(place, BoxSettings(memory_mb=1024, sorting_mb=1024)) as box:
        yield box


@pytest.fixture
def person(tmp_path):
    return Path(shutil.copytree(SAMPLE, tmp_path / "person"))


def datasets(folder):
    return {
        f"{file} {name}": digest
        for file, entry in manifest.read(folder)["files"].items()
        for name, digest in entry["datasets"].items()
        if not name.startswith(NOISE)
    }


def drop(folder, name, what):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.wild"
    path.write_text(f"WILD {what}\n")
    return path


def test_a_session_made_in_a_box_is_the_one_made_without(box, place, store, person):
    boxed = ingest_path(person, place, sorter=None, inside=box, in_place=True)
    (place.root / ".secret").replace(place.root / "kept")
    shutil.copy(place.root / "kept", store.secret_file)
    (place.root / "kept").replace(place.secret_file)
    plain = ingest_path(person, store, sorter=None)
    assert boxed.state == plain.state == "ingested"
    assert datasets(Path(boxed.file).parent) == datasets(Path(plain.file).parent)
    assert manifest.verify(Path(boxed.file).parent) == []


def test_a_late_device_joins_in_a_box_and_nothing_is_stored_twice(tmp_path, store):
    record_person(tmp_path / "drop", duration_s=40, seed=3)
    (late,) = (tmp_path / "drop").glob("*.asc")
    late = late.rename(tmp_path / late.name)
    with box_of(store, BoxSettings()) as inside:
        first = Path(ingest_path(tmp_path / "drop", store, sorter=None, inside=inside).file).parent
        second = Path(ingest_path(late, store, sorter=None, inside=inside).file).parent
    assert (first.name, second.name) == ("v001", "v002")
    assert manifest.read(second)["lineage"]["follows"] == manifest.digest_of(first)
    companions = [name for name in manifest.read(first)["files"] if name != "session.nwb"]
    assert companions
    assert all((first / name).stat().st_ino == (second / name).stat().st_ino for name in companions)
    assert not any(path.is_symlink() for path in second.iterdir())
    with Session.open(second) as session:
        assert any(stream.modality == "gaze" for stream in session.streams)


def test_a_relative_path_leads_into_a_box(store, person, monkeypatch):
    monkeypatch.chdir(person.parent)
    with box_of(store, BoxSettings()) as inside:
        assert ingest_path(Path("person"), store, sorter=None, inside=inside).state == "ingested"


def test_a_session_is_made_anew_in_a_box(store, person):
    with box_of(store, BoxSettings()) as inside:
        ingest_path(person, store, sorter=None, inside=inside, in_place=True)
        assert reingest(store, ID, why="a check", sorter=None, inside=inside)["state"] == "unchanged"


def test_what_a_box_wrote_is_gone_when_it_closes(store, person):
    with box_of(store, BoxSettings()) as inside:
        ingest_path(person, store, sorter=None, inside=inside)
    assert list(store.staging.iterdir()) == []


@pytest.mark.parametrize(
    ("what", "reason"), [("crash", r"crashed \(SIGSEGV\)"), ("fill", "wanted more than 1024 MiB of memory")]
)
def test_a_reader_that_breaks_is_quarantined_and_the_others_go_on(box, place, tmp_path, what, reason):
    bad = drop(tmp_path / what, f"{what}er", what)
    good = drop(tmp_path / "good", f"good{what}", f"nothing {what}")
    found = {Path(r["path"]).stem: r for r in ingest_paths([bad, good], place, sorter=None, inside=box)}
    assert found[f"good{what}"]["state"] == "ingested"
    assert found[f"{what}er"]["state"] == "quarantined"
    assert re.search(reason, found[f"{what}er"]["reason"])


@pytest.mark.skipif(not _landlock.version(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("what", ["open", "write"])
def test_a_reader_that_reaches_beyond_its_drop_is_refused(box, place, tmp_path, what):
    outside = tmp_path / "outside.txt"
    outside.write_text("private")
    (result,) = ingest_paths(
        [drop(tmp_path / "in", f"reach{what}", f"{what} {outside}")], place, sorter=None, inside=box
    )
    assert result["state"] == "quarantined"
    assert "no part of what was dropped" in result["reason"]
    assert outside.read_text() == "private"


def test_without_a_box_the_same_is_read_in_this_process(store, tmp_path, wild):
    with box_of(store, BoxSettings(on=False)) as inside:
        assert ingest_path(drop(tmp_path / "in", "plain", "nothing"), store, inside=inside).state == "ingested"


def looked_at(store, inside):
    """What became of each drop after two looks at the inbox, the second when nothing is waited for any more."""
    settings = Settings(
        inbox=InboxSettings(settle_s=1, orphan_s=5), ingest=IngestSettings(in_flight=9, min_free_bytes=0)
    )
    now = [1000.0]
    looks = Reconciler(
        store=store,
        catalog=Catalog.of(store),
        settings=settings,
        submit=lambda _: None,
        inside=inside,
        clock=lambda: now[0],
    )
    for _ in range(2):
        looks.step()
        now[0] += 10
    drops = {Path(drop.name).stem: drop for drop in looks.catalog.drops.every()}
    looks.catalog.close()
    return drops


def test_a_sniffer_that_breaks_or_hangs_is_a_refusal_and_the_others_go_on(store, wild, monkeypatch):
    monkeypatch.setattr(sniffing, "CALL_S", 3.0)
    drop(store.inbox, "a", "nothing")
    drop(store.inbox, "crash", "sniff crash")
    drop(store.inbox, "hang", "sniff hang")
    drop(store.inbox, "z", "nothing at all")
    with box_of(store, BoxSettings(), for_inbox=True) as inside:
        drops = looked_at(store, inside)
    assert {name: found.state for name, found in drops.items()} == {
        "a": SUBMITTED, "crash": QUARANTINED, "hang": QUARANTINED, "z": SUBMITTED
    }  # fmt: skip
    assert drops["crash"].reason == "while it was told apart: the reader crashed (SIGSEGV)"
    assert re.fullmatch(r"while it was told apart: not done after \d+ s; it was stopped", drops["hang"].reason)


class KilledOnce(Unboxed):
    """The first call is ended by somebody else, after its first answer."""

    n_calls = 0

    def call(self, function, arguments, **more):
        self.n_calls += 1
        if self.n_calls > 1:
            return super().call(function, arguments, **more)
        super().call(function, {**arguments, "items": arguments["items"][:1]}, **more)
        raise BoxError("the reader crashed (SIGKILL)")


def test_a_sniffer_that_was_killed_for_others_sake_is_asked_again(store):
    brainvision(store.inbox)
    found = looked_at(store, KilledOnce())["x"]
    assert (found.state, found.files) == (SUBMITTED, ["x.eeg", "x.vhdr"])


@pytest.mark.skipif(not _landlock.version(), reason="this kernel has no Landlock")
def test_a_sniffer_reads_nothing_outside_the_inbox(store, tmp_path, wild):
    (store.sessions / "secret.txt").write_text("private")
    drop(store.inbox, "reach", f"sniff open {store.sessions / 'secret.txt'}")
    with box_of(store, BoxSettings(), for_inbox=True) as inside:
        found = looked_at(store, inside)["reach"]
    assert found.state == QUARANTINED
    assert "Permission denied" in found.reason


def test_where_there_is_no_box_the_inbox_waits(store, wild, monkeypatch):
    drop(store.inbox, "a", "nothing")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with box_of(store, BoxSettings(), for_inbox=True) as inside, pytest.raises(BoxAwayError):
        looked_at(store, inside)
    assert os.listdir(store.inbox) == ["a.wild"]


@pytest.mark.parametrize("n_good", [9, pytest.param(99, marks=pytest.mark.trust)])
def test_good_recordings_beside_one_that_crashes_and_one_that_hangs_are_all_ingested(tmp_path, wild, n_good):
    patient = SETTINGS.inbox.model_copy(update={"max_attempts": InboxSettings().max_attempts})
    box = BoxSettings(memory_mb=512, sorting_mb=512, wall_s=10)
    settings = SETTINGS.model_copy(update={"box": box, "inbox": patient})
    with inbox_of(tmp_path, settings=settings) as inbox:
        for n in range(n_good):
            inbox.put(f"good{n:02d}", lambda folder, n=n: drop(folder, "x", f"nothing {n}"))
        for what in ("crash", "hang"):
            inbox.put(what, lambda folder, what=what: drop(folder, "x", what))
        drops = inbox.look()
    bad = {name: drops.pop(name) for name in ("crash", "hang")}
    assert {found.state for found in drops.values()} == {DONE}
    assert len(drops) == n_good
    assert {(name, found.state, found.attempts <= 2) for name, found in bad.items()} == {
        ("crash", QUARANTINED, True), ("hang", QUARANTINED, True)
    }  # fmt: skip
    assert "crashed (SIGSEGV)" in bad["crash"].reason
    assert "it was stopped" in bad["hang"].reason
