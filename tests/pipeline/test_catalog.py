import json
import secrets
import threading

import pytest
from sqlalchemy import text

from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import (
    ALL,
    DONE,
    IGNORED,
    QUARANTINED,
    READY,
    RETRY,
    RUNNING,
    SEEN,
    SESSIONS,
    SETTLING,
    SUBMITTED,
)
from neuroloom.pipeline.noting import note_all, note_new, noted_run, rebuild

from .. import servers


@pytest.fixture(scope="session")
def postgresql():
    with servers.postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog(store, request, monkeypatch):
    """The store's catalog, in each database that it may lie in."""
    if request.param == "postgresql":
        database = servers.new_database(request.getfixturevalue("postgresql"), f"test-{secrets.token_hex(6)}")
        monkeypatch.setenv("NEUROLOOM_CATALOG_URL", f"postgresql+psycopg://{database}")
    catalog = Catalog.of(store)
    yield catalog
    catalog.close()


@pytest.fixture
def sqlite(store):
    catalog = Catalog.of(store)
    yield catalog
    catalog.close()


@pytest.fixture
def ready(catalog, store):
    return catalog.drops.add("a.edf", folder=store.inbox, state=READY)


def test_a_name_can_be_open_once_only(catalog, store):
    assert catalog.drops.add("a.edf", folder=store.inbox) is not None
    assert catalog.drops.add("a.edf", folder=store.inbox) is None


def test_a_name_may_come_again_when_the_earlier_drop_has_ended(catalog, store):
    first = catalog.drops.add("a.edf", folder=store.inbox)
    assert catalog.drops.move(first.id, DONE, frm=(SEEN,))
    assert catalog.drops.add("a.edf", folder=store.inbox).id != first.id


def test_of_two_that_submit_the_same_drop_one_wins(catalog, ready):
    assert catalog.drops.submit(ready.id, lease_s=10) is not None
    assert catalog.drops.submit(ready.id, lease_s=10) is None
    assert catalog.drops.get(ready.id).submissions == 1


def test_of_two_runs_that_claim_the_same_drop_one_wins(catalog, ready):
    catalog.drops.submit(ready.id, lease_s=10)
    assert catalog.drops.claim(ready.id, owner="first", lease_s=10).attempts == 1
    assert catalog.drops.claim(ready.id, owner="second", lease_s=10) is None
    assert catalog.drops.get(ready.id).owner == "first"


def test_only_the_owner_can_renew_or_end_its_work(catalog, ready):
    catalog.drops.claim(ready.id, owner="first", lease_s=10)
    assert not catalog.drops.renew(ready.id, owner="second", lease_s=10)
    assert not catalog.drops.move(ready.id, DONE, frm=(RUNNING,), owner="second")
    assert catalog.drops.move(ready.id, DONE, frm=(RUNNING,), owner="first")


def test_a_move_done_twice_happens_once(catalog, ready):
    assert catalog.drops.move(ready.id, QUARANTINED, frm=(READY,), reason="no")
    assert not catalog.drops.move(ready.id, QUARANTINED, frm=(READY,), reason="again")
    assert catalog.drops.get(ready.id).reason == "no"


@pytest.mark.parametrize(
    ("now", "n_expired"),
    [(109.0, 0), (110.0, 1), (50.0, 1), (89.0, 0)],
    ids=["still held", "run out", "clock set back further than a lease lasts", "renewed since the look began"],
)
def test_a_lease_runs_out(catalog, ready, now, n_expired):
    catalog.drops.submit(ready.id, lease_s=10, now=100.0)
    assert len(catalog.drops.expired(longest_lease_s=20, now=now)) == n_expired


def test_a_renewed_lease_holds_longer(catalog, ready):
    catalog.drops.claim(ready.id, owner="me", lease_s=10, now=100.0)
    assert catalog.drops.renew(ready.id, owner="me", lease_s=10, now=105.0)
    assert catalog.drops.expired(longest_lease_s=20, now=112.0) == []


def test_counts_tell_how_many_drops_are_in_each_state(catalog, store):
    for name, state in (("a", READY), ("b", READY), ("c", RETRY)):
        catalog.drops.add(name, folder=store.inbox, state=state)
    assert catalog.drops.counts() == {READY: 2, RETRY: 1}


def test_sqlite_keeps_a_write_ahead_log(sqlite):
    with sqlite.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_lost_catalog_comes_back_from_the_files(store, catalog):
    version = store.sessions / "sub-01_ses-01" / "v001"
    version.mkdir(parents=True)
    (version / "manifest.json").write_text(json.dumps({"subject": "01"}))
    for parent, name, more in (
        (store.originals, "drop.json", {}),
        (store.quarantine, "reason.json", {"reason": "torn"}),
    ):
        (parent / "x").mkdir()
        record = {"name": f"{name}.edf", "folder": str(parent), "digest": name, "sessions": ["sub-01_ses-01"]} | more
        (parent / "x" / name).write_text(json.dumps(record))
    assert [rebuild(store, catalog), rebuild(store, catalog)] == [1, 1]
    assert [(d.name, d.state, d.reason) for d in catalog.drops.every()] == [
        ("drop.json.edf", DONE, ""),
        ("reason.json.edf", QUARANTINED, "torn"),
    ]
    assert catalog.drops.done_with("drop.json").sessions == ["sub-01_ses-01"]
    assert [(row.id, row.version, row.manifest) for row in catalog.sessions.every()] == [
        ("sub-01_ses-01", "v001", {"subject": "01"})
    ]


def refused(store):
    (store.quarantine / "x").mkdir()
    (store.quarantine / "x" / "reason.json").write_text('{"name": "a.edf", "folder": "x", "reason": "torn"}')


def test_all_files_are_noted_once_also_where_the_sessions_were_before(store, catalog):
    refused(store)
    note_new(store, catalog)
    assert (catalog.knows(SESSIONS), catalog.knows(ALL), catalog.drops.every()) == (True, False, [])
    note_all(store, catalog)
    assert (catalog.knows(ALL), [drop.state for drop in catalog.drops.every()]) == (True, [QUARANTINED])
    catalog.drops.forget(catalog.drops.every()[0].id)
    note_all(store, catalog)
    assert catalog.drops.every() == []


def test_what_a_folder_tells_that_is_away_is_noted_when_it_is_back(store, catalog):
    refused(store)
    store.quarantine.rename(store.root / "away")
    note_all(store, catalog)
    (store.root / "away").rename(store.quarantine)
    note_all(store, catalog)
    assert [drop.name for drop in catalog.drops.every()] == ["a.edf"]


def runs_of(store):
    catalog = Catalog.of(store)
    rebuild(store, catalog)
    found = [(run.name, run.kind, run.state, run.reason, run.summary) for run in catalog.runs.every()]
    catalog.close()
    return found


def test_runs_come_back_from_their_folders_as_they_were_noted(store):
    for name in ("done", "stopped"):
        store.run_folder(name).mkdir(parents=True)
    with noted_run(store, "done", "study") as summary:
        summary["best"] = 3
    with pytest.raises(ValueError, match="no room"), noted_run(store, "stopped", "train"):
        raise ValueError("no room")
    before = runs_of(store)
    assert [row[2] for row in before] == [DONE, RETRY]
    for path in store.root.glob("catalog*"):
        path.unlink()
    assert runs_of(store) == before


def test_submitted_is_a_state_of_its_own_so_a_lost_hand_over_is_found(catalog, ready):
    catalog.drops.submit(ready.id, lease_s=10, now=0.0)
    assert [d.state for d in catalog.drops.expired(longest_lease_s=10, now=11.0)] == [SUBMITTED]


def test_contents_are_found_in_the_versions_that_hold_all_of_them(catalog):
    one, other = {"a.edf": "1"}, {"g.asc": "2"}
    catalog.sessions.add(
        [
            ("sub-a", "v001", {"sources": [{"digests": one}]}, 0.0, ()),
            ("sub-a", "v010", {"sources": [{"digests": one}, {"digests": other}]}, 0.0, ()),
            ("sub-a", "v002", {"sources": [{"digests": one | other}]}, 0.0, ()),
        ]
    )
    assert catalog.sessions.holding(["1", "2"]) == [("sub-a", "v002"), ("sub-a", "v010")]
    assert catalog.sessions.holding(["1", "3"]) == []
    assert catalog.sessions.holding([]) == []


def test_what_was_announced_is_found_before_it_is_noted(catalog):
    catalog.sessions.announce("sub-a", "v001", {"sources": [{"digests": {"a.edf": "1"}}]})
    assert (catalog.sessions.holding(["1"]), catalog.sessions.every()) == ([("sub-a", "v001")], [])


def test_sessions_are_found_by_the_days_on_which_they_ran(catalog):
    catalog.sessions.announce("sub-a", "v001", {}, ["monday", "tuesday"])
    catalog.sessions.add([("sub-b", "v001", {}, 0.0, ["tuesday"]), ("sub-c", "v001", {}, 0.0, [])])
    sessions = catalog.sessions
    assert (sessions.ran_on(["monday"]), sessions.ran_on(["tuesday"])) == (["sub-a"], ["sub-a", "sub-b"])
    assert sessions.ran_on([]) == sessions.ran_on(["sunday"]) == []
    sessions.forget("sub-a", "v001")
    assert sessions.ran_on(["monday", "tuesday"]) == ["sub-b"]


def test_noting_a_version_again_changes_its_manifest_alone(catalog):
    for words in ("before", "after"):
        catalog.sessions.add([("sub-a", "v001", {"sources": [], "words": words}, 1.0, ())])
    assert [(row.manifest["words"], row.published_at) for row in catalog.sessions.every()] == [("after", 1.0)]


def test_only_versions_that_are_not_noted_are_read(store, catalog):
    for name in ("sub-a_ses-01", "sub-b_ses-01"):
        folder = store.session_folder(name) / "v001"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(f'{{"sources": [{{"digests": {{"x": "{name}"}}}}]}}')
    note_new(store, catalog)
    (store.session_folder("sub-a_ses-01") / "v001" / "manifest.json").write_text("damaged")
    note_new(store, catalog)
    assert catalog.sessions.holding(["sub-a_ses-01"]) == [("sub-a_ses-01", "v001")]


def test_every_transition_of_a_drop_that_goes_well(catalog, store):
    drop = catalog.drops.add("a.edf", folder=store.inbox)
    assert catalog.drops.move(drop.id, SETTLING, frm=(SEEN,))
    assert catalog.drops.move(drop.id, READY, frm=(SETTLING,), digest="1")
    assert catalog.drops.submit(drop.id, lease_s=10).state == SUBMITTED
    assert catalog.drops.claim(drop.id, owner="me", lease_s=10).state == RUNNING
    assert catalog.drops.move(drop.id, DONE, frm=(RUNNING,), owner="me", sessions=["sub-1"])
    assert catalog.drops.done_with("1").sessions == ["sub-1"]


def test_every_transition_of_a_drop_that_goes_wrong(catalog, store):
    drop = catalog.drops.add("a.edf", folder=store.inbox, state=READY)
    catalog.drops.claim(drop.id, owner="me", lease_s=10)
    assert catalog.drops.move(drop.id, RETRY, frm=(RUNNING,), owner="me", reason="stopped")
    assert catalog.drops.move(drop.id, READY, frm=(RETRY,))
    catalog.drops.claim(drop.id, owner="you", lease_s=10)
    assert catalog.drops.move(drop.id, QUARANTINED, frm=(RUNNING,), owner="you")
    assert catalog.drops.counts() == {QUARANTINED: 1}


def test_a_drop_that_is_gone_is_ignored_and_comes_back_as_another(catalog, store):
    drop = catalog.drops.add("a.edf", folder=store.inbox)
    assert catalog.drops.move(drop.id, IGNORED, frm=(SEEN,))
    assert catalog.drops.add("a.edf", folder=store.inbox).id != drop.id


def test_many_drops_at_once_leave_out_those_that_are_open(catalog, store):
    catalog.drops.add("1.edf", folder=store.inbox)
    catalog.drops.add_many([{"name": f"{n}.edf", "folder": str(store.inbox)} for n in range(3)])
    assert sorted(drop.name for drop in catalog.drops.every()) == ["0.edf", "1.edf", "2.edf"]


def test_of_many_threads_that_claim_the_same_drops_each_drop_has_one_owner(catalog, store):
    drops = [catalog.drops.add(f"{n}.edf", folder=store.inbox, state=READY).id for n in range(20)]
    won = []

    def claim_all(owner):
        won.extend((drop, owner) for drop in drops if catalog.drops.claim(drop, owner=owner, lease_s=60) is not None)

    threads = [threading.Thread(target=claim_all, args=(f"owner {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drop for drop, _ in won) == drops
    assert all(catalog.drops.get(drop).owner == owner for drop, owner in won)


def test_a_run_is_noted_and_changed(catalog):
    catalog.runs.put("reach", state=RUNNING)
    catalog.runs.put("reach", state=DONE, summary={"best_step": 3})
    assert [(run.name, run.state, run.summary) for run in catalog.runs.every()] == [("reach", DONE, {"best_step": 3})]


def test_a_check_replaces_the_one_before_and_goes_with_its_version(catalog):
    catalog.sessions.add([("sub-a", "v001", {"sources": [{"digests": {"x": "1"}}]}, 0.0, ())])
    for damage in ([{"file": "a", "dataset": "", "problem": "gone"}], []):
        catalog.checks.note("sub-a", "v001", checked_at=1.0, damage=damage)
    assert catalog.checks.every()["sub-a", "v001"].damage == []
    catalog.sessions.forget("sub-a", "v001")
    assert (catalog.checks.every(), catalog.sessions.every(), catalog.sessions.holding(["1"])) == ({}, [], [])


def test_tables_that_an_older_version_lacks_are_made_in_either_database(catalog, store):
    catalog.runs.put("reach")
    with catalog.engine.begin() as connection:
        for table in ("alembic_version", "alerts", "checks", "contents"):
            connection.execute(text(f"DROP TABLE {table}"))
    again = Catalog.of(store)
    again.checks.note("sub-07_ses-01", "v001", n_bytes=7)
    assert [run.name for run in again.runs.every()] == ["reach"]
    assert [row.n_bytes for row in again.checks.every().values()] == [7]
    again.close()


def test_the_newest_drops_come_first_and_only_of_the_states_that_are_asked_for(catalog, store):
    for n, state in enumerate([SEEN, DONE, QUARANTINED, DONE]):
        catalog.drops.add(f"{n}.edf", folder=store.inbox, state=state)
    assert [drop.name for drop in catalog.drops.newest(3)] == ["3.edf", "2.edf", "1.edf"]
    assert [drop.name for drop in catalog.drops.newest(3, [SEEN, QUARANTINED])] == ["2.edf", "0.edf"]


def test_what_changed_lately_is_told_also_where_many_change_at_once(catalog, store):
    old = [catalog.drops.add(f"{n}.edf", folder=store.inbox, changed_at=100.0) for n in range(3)]
    catalog.drops.note([old[1].id], frm=(SEEN,), state=SETTLING)
    catalog.drops.note([old[2].id], reason="waits")
    assert [drop.name for drop in catalog.drops.changed_since(101.0)] == ["1.edf"]


def test_content_is_known_once_it_is_done(catalog, store):
    catalog.drops.add("a.edf", folder=store.inbox, state=DONE, digest="aa")
    catalog.drops.add("b.edf", folder=store.inbox, state=READY, digest="bb")
    assert catalog.drops.done_among(["aa", "bb", "cc"]) == {"aa"}


def test_runs_hold_what_was_handed_over_to_them_and_nothing_else(catalog, store):
    drops = [catalog.drops.add(f"{n}.edf", folder=store.inbox, state=READY) for n in range(4)]
    ids = [drop.id for drop in drops]
    for drop in drops[:3]:
        catalog.drops.submit(drop.id, lease_s=10, now=0.0)
    catalog.drops.claim(ids[2], owner="other", lease_s=10, now=0.0)
    catalog.drops.hold(ids[:1], owner="other", lease_s=10, now=0.0)
    catalog.drops.hold(ids, owner="mine", lease_s=10, now=50.0)
    assert [(drop.owner, drop.lease_until) for drop in catalog.drops.every()] == [
        ("other", 10.0), ("mine", 60.0), ("other", 10.0), ("", 0.0)
    ]  # fmt: skip
