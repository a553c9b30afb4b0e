"""Only what the settings give up goes, and who did it stays."""

import os

import pytest

from neuroloom.pipeline.care import checking, retention
from neuroloom.pipeline.catalog.tables import DONE
from neuroloom.pipeline.settings import RetentionSettings

from .test_checking import publish, validated  # noqa: F401

DAY = 86400.0
EVERYTHING = RetentionSettings(
    derived_days=0, old_versions_days=0, quarantine_days=0, checkpoints_days=0, staging_days=1
)


def going(store, catalog, settings=EVERYTHING, after_days=10.0):
    import time

    found = retention.space(store, catalog, settings, now=time.time() + after_days * DAY)
    return {e.path.relative_to(store.root).as_posix(): e for kind in found for e in kind.may_go}


def two_versions(store, catalog):
    publish(store, "sub-a")
    publish(store, "sub-a", "v002")
    checking.checked_some(store, catalog, budget_s=1000)


def test_by_default_only_leftovers_of_dead_machines_go(store, catalog):
    two_versions(store, catalog)
    for folder in (store.derived / "x", store.quarantine / "y", store.staging / "box-dead"):
        folder.mkdir()
        (folder / "reason.json").write_text("{}")
    assert list(going(store, catalog, RetentionSettings())) == ["sessions/.staging/box-dead"]


def test_an_old_version_goes_and_the_newest_never(store, catalog):
    two_versions(store, catalog)
    assert list(going(store, catalog)) == ["sessions/sub-a/v001"]


def test_an_old_version_stays_until_the_newer_one_was_read(store, catalog):
    publish(store, "sub-a")
    publish(store, "sub-a", "v002")
    assert not going(store, catalog)


def test_an_old_version_stays_where_the_newer_one_is_damaged(store, catalog):
    publish(store, "sub-a")
    (publish(store, "sub-a", "v002") / "session.nwb").write_bytes(b"spikez")
    checking.checked_some(store, catalog, budget_s=1000)
    assert not going(store, catalog)


def test_a_version_that_a_run_rests_on_stays(store, catalog):
    two_versions(store, catalog)
    store.run_folder("reach").mkdir()
    (store.run_folder("reach") / "request.json").write_text('{"name": "reach", "versions": {"sub-a": "v001"}}')
    assert not going(store, catalog)


@pytest.mark.parametrize(("days", "goes"), [(9.0, True), (11.0, False)])
def test_what_was_refused_goes_after_its_days(store, catalog, days, goes):
    (store.quarantine / "bad").mkdir()
    (store.quarantine / "bad" / "reason.json").write_text('{"reason": "torn"}')
    assert ("quarantine/bad" in going(store, catalog, RetentionSettings(quarantine_days=days))) is goes


def test_a_cache_that_was_read_lately_stays(store, catalog):
    for name, ago in (("used", 1.0), ("unused", 40.0)):
        (store.derived / name).mkdir()
        path = store.derived / name / "features.npy"
        path.write_bytes(b"x")
        at = path.stat().st_mtime - ago * DAY
        os.utime(path, (at, at))
    found = going(store, catalog, RetentionSettings(derived_days=30), after_days=0)
    assert list(found) == ["derived/unused"]


def test_checkpoints_of_candidates_go_and_the_networks_stay(store, catalog):
    folder = store.run_folder("reach")
    (folder / "candidates" / "00").mkdir(parents=True)
    for name in ("choice.json", "checkpoint.pt", "candidates/00/checkpoint.pt"):
        (folder / name).write_text("{}")
    assert not going(store, catalog)
    catalog.runs.put("reach", state=DONE)
    assert list(going(store, catalog)) == ["runs/reach/candidates/00/checkpoint.pt"]


def test_originals_are_never_offered(store, catalog):
    (store.originals / "x" / "files").mkdir(parents=True)
    (store.originals / "x" / "files" / "a.edf").write_bytes(b"x")
    assert not going(store, catalog, after_days=10000)


def test_clean_deletes_just_what_it_is_given_and_says_who_and_when(store, catalog):
    two_versions(store, catalog)
    entry = going(store, catalog)["sessions/sub-a/v001"]
    retention.clean(store, catalog, [entry], who="Ada")
    assert [folder.name for folder in store.versions("sub-a")] == ["v002"]
    assert not list(store.staging.iterdir())
    (line,) = retention.deletions(store)
    assert (line["who"], line["what"], line["why"]) == (
        "Ada",
        "sessions/sub-a/v001",
        "replaced by a newer version for 0 days",
    )
    assert [row.version for row in catalog.sessions.every()] == []
    assert set(catalog.checks.every()) == {("sub-a", "v002")}


def test_a_deletion_that_is_cut_short_is_logged_and_taken_up_as_staging(store, catalog, monkeypatch):
    two_versions(store, catalog)
    entry = going(store, catalog)["sessions/sub-a/v001"]

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(retention.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        retention.clean(store, catalog, [entry])
    assert len(retention.deletions(store)) == 1
    assert [path.split("/")[1] for path in going(store, catalog)] == [".staging"]


def test_what_is_gone_already_is_not_logged(store, catalog):
    two_versions(store, catalog)
    entry = going(store, catalog)["sessions/sub-a/v001"]
    assert retention.clean(store, catalog, [entry, entry]) == [entry]
    assert len(retention.deletions(store)) == 1


def test_sizes_add_up_to_the_store(store, catalog):
    two_versions(store, catalog)
    catalog.close()
    kinds = retention.space(store, catalog, EVERYTHING)
    catalog.close()
    total = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    assert sum(kind.n_bytes for kind in kinds) == total
