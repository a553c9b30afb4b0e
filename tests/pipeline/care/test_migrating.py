"""`neuroloom migrate`: a store that older code has written, brought up to date on purpose, with nothing lost."""

import shutil
import tarfile
from pathlib import Path

import pytest

from neuroloom.ingest import Session, manifest
from neuroloom.ingest._nwb_layout import INDEX_VERSION
from neuroloom.ingest._nwb_read import written_version
from neuroloom.pipeline import verdicts
from neuroloom.pipeline.care.migrating import migrate
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.migrations import at_rest, newest
from neuroloom.pipeline.store import Store

OLDER = Path(__file__).parents[2] / "older" / "written-before.tar.xz"
NAME = "sub-07_ses-01_task-reach"


@pytest.fixture
def store(tmp_path) -> Store:
    """With the oldest session there is, the oldest catalog, and a page that another version wrote."""
    with tarfile.open(OLDER) as archive:
        archive.extractall(tmp_path / "older", filter="data")
    store = Store(tmp_path / "store").create()
    shutil.copytree(tmp_path / "older" / "session-1a", store.sessions / NAME / "v001")
    shutil.copy(tmp_path / "older" / "catalog-1.sqlite", store.root / "catalog.sqlite")
    (store.review / f"{NAME}.html").write_text("<html>of another version</html>")
    return store


def states(found):
    return {part: [(row["name"], row["state"]) for row in rows] for part, rows in found.items()}


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_lists_what_is_older_and_touches_nothing(store):
    before = contents(store.root)
    assert states(migrate(store, dry_run=True)) == {
        "catalog": [("catalog", "to do")],
        "sessions": [(NAME, "to do")],
        "pages": [(f"{NAME}.html", "to do")],
    }
    assert contents(store.root) == before


def test_all_of_it_is_brought_up_to_date_once_and_the_old_version_stays(store):
    verdicts.judge_session(store, NAME, verdict="reject", by="anna", note="asleep")
    old = contents(store.sessions / NAME / "v001")
    assert states(migrate(store))["sessions"] == [(NAME, "done")]
    assert contents(store.sessions / NAME / "v001") == old
    new = store.latest(NAME)
    assert (new.name, written_version(new)) == ("v002", INDEX_VERSION)
    assert manifest.verify(new) == []
    said = manifest.read(new)
    assert said["lineage"]["follows"] == manifest.digest_of(new.parent / "v001")
    assert verdicts.objection(store, NAME).startswith("rejected by anna")
    with Session.open(new.parent / "v001") as one, Session.open(new) as other:
        assert other.id == one.id
        assert other["codes"].times_s.tolist() == one["codes"].times_s.tolist()
        for a, b in zip(one["eeg"].segments, other["eeg"].segments, strict=True):
            assert a.samples[:].tolist() == b.samples[:].tolist()
    assert "Streams on one clock" in (store.review / f"{NAME}.html").read_text()
    catalog = Catalog.of(store)
    assert (NAME, "v002") in [(row.id, row.version) for row in catalog.sessions.newest()]
    catalog.close()
    assert states(migrate(store)) == {"catalog": [], "sessions": [], "pages": []}


def test_damage_is_not_written_anew(store):
    path = next((store.sessions / NAME / "v001").glob("*.nwb"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (row,) = migrate(store)["sessions"]
    assert row["state"] == "failed"
    assert f"`neuroloom reingest {NAME}`" in row["reason"]
    assert [folder.name for folder in store.versions(NAME)] == ["v001"]
    assert not list(store.staging.iterdir())


def test_the_catalog_is_brought_up_to_date_and_a_page_of_nothing_is_told_and_kept(store):
    shutil.move(store.review / f"{NAME}.html", store.review / "gone.html")
    found = migrate(store)
    assert states(found)["catalog"] == [("catalog", "done")]
    assert at_rest(store.catalog_url) == newest()
    (row,) = found["pages"]
    assert (row["name"], row["state"]) == ("gone.html", "failed")
    assert (store.review / "gone.html").is_file()
