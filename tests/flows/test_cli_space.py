"""`space` and `clean`: shown first, deleted when told."""

import pytest


@pytest.fixture
def store(neuroloom, tmp_path):
    from neuroloom.pipeline.store import Store

    store = Store(tmp_path / "store").create()
    store.settings_file.write_text("[retention]\nderived_days = 0\nquarantine_days = 0\n")
    for folder, name in ((store.derived / "cache", "a.npy"), (store.quarantine / "bad", "reason.json")):
        folder.mkdir()
        (folder / name).write_bytes(b"{}" * 500)
    return store


def test_space_shows_what_takes_how_much_and_what_may_go(neuroloom, store):
    rows = {row["what"]: row for row in neuroloom("space", "--json").document["space"]}
    assert (rows["derived"]["n_bytes"], rows["derived"]["to_go"], rows["derived"]["rule"]) == (
        1000,
        1000,
        "after 0 days",
    )
    assert (rows["originals"]["to_go"], rows["originals"]["rule"]) == (0, "never")


def test_clean_shows_only_unless_told_to_delete(neuroloom, store):
    said = neuroloom("clean", "--json").document["clean"]
    assert [(row["path"], row["deleted"]) for row in said] == [("quarantine/bad", False), ("derived/cache", False)]
    assert (store.derived / "cache" / "a.npy").exists()
    assert not (store.root / "deleted.jsonl").exists()


def test_clean_deletes_the_kinds_it_is_told_and_logs_the_user(neuroloom, store):
    import getpass
    import json

    assert neuroloom("clean", "--delete", "--only", "derived").code == 0
    assert not (store.derived / "cache").exists()
    assert (store.quarantine / "bad").exists()
    line = json.loads((store.root / "deleted.jsonl").read_text())
    assert (line["who"], line["what"], line["n_bytes"]) == (getpass.getuser(), "derived/cache", 1000)


def test_a_kind_that_is_not_there_is_named(neuroloom, store):
    said = neuroloom("clean", "--only", "photos")
    assert said.code == 2
    assert "'photos'; one of inbox, sessions" in said.err.replace("\n", " ").replace("│", "")


def test_withdraw_lists_first_and_removes_when_told(neuroloom, store):
    from neuroloom.ingest.durable import write_json

    write_json(store.subjects_file, {"07": {}})
    (store.derived / "sub-07_ses-1_0123").mkdir()
    (store.sessions / "sub-07_ses-1" / "v001").mkdir(parents=True)
    (store.sessions / "sub-07_ses-1" / "v001" / "manifest.json").write_text("{}")
    told = neuroloom("withdraw", "07", "--json").document
    assert [(row["kind"], row["removed"]) for row in told["entries"]] == [("features", False), ("session", False)]
    assert (store.derived / "sub-07_ses-1_0123").exists()
    assert "2 removed" in neuroloom("withdraw", "07", "--yes").out
    assert not (store.derived / "sub-07_ses-1_0123").exists()
    assert neuroloom("withdraw", "11").code == 2
