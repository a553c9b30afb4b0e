"""Published versions are read again, the one that waited longest first, while there is time; damage has a name."""

import json
from unittest.mock import ANY

import pytest

from neuroloom.ingest import manifest
from neuroloom.ingest.digest import digest_of_bytes
from neuroloom.pipeline.boxed import sniffing
from neuroloom.pipeline.care import checking
from neuroloom.pipeline.care.reingesting import reingest
from neuroloom.pipeline.drops.inbox import file_digest
from neuroloom.pipeline.reviewing import review_index
from neuroloom.pipeline.store import StoreError


@pytest.fixture(autouse=True)
def validated(monkeypatch):
    """The versions whose NWB was validated; every one is valid."""
    asked = []
    monkeypatch.setattr(sniffing, "_nwb_problems", lambda folder: asked.append(folder.parent.name) or [])
    return asked


def publish(store, session, version="v001", content=b"spikes"):
    folder = store.sessions / session / version
    folder.mkdir(parents=True)
    (folder / "session.nwb").write_bytes(content)
    files = {"session.nwb": {"digest": digest_of_bytes(content), "n_bytes": len(content), "datasets": {}}}
    manifest.write(folder, {"session": session}, files)
    return folder


def names(results):
    return [result["session"] for result in results]


def test_with_no_time_one_is_read_and_the_next_call_goes_on_behind_it(store, catalog):
    for session in ("sub-a", "sub-b", "sub-c"):
        publish(store, session)
    found = [names(checking.checked_some(store, catalog, budget_s=0)) for _ in range(4)]
    assert found == [["sub-a"], ["sub-b"], ["sub-c"], ["sub-a"]]


def original(store, session, content=b"as it was dropped"):
    folder = store.originals / "0123-a.rec"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "a.rec").write_bytes(content)
    digest = file_digest(folder / "files" / "a.rec")
    record = {"name": "a.rec", "files": ["a.rec"], "sessions": [session], "digest": digest, "moved": True}
    (folder / "drop.json").write_text(json.dumps(record))
    return folder / "files" / "a.rec"


def test_originals_are_read_with_the_newest_version_and_one_that_was_altered_is_named(store, catalog):
    folders = [publish(store, "sub-a"), publish(store, "sub-a", "v002", b"more")]
    file = original(store, "sub-a")
    assert all(result["sound"] for result in checking.checked(store, catalog, folders))
    with file.open("ab") as more:
        more.write(b" and later")
    older, newest = checking.checked(store, catalog, folders)
    assert older["sound"]
    assert newest["damage"] == [{"file": "originals/0123-a.rec", "dataset": "", "problem": ANY}]
    assert "digest differs" in newest["damage"][0]["problem"]
    (found,) = checking.health(store, catalog).damaged
    assert "restore originals/0123-a.rec from a backup" in found["advice"]
    with pytest.raises(StoreError, match=r"originals/0123-a.rec is not what was dropped"):
        reingest(store, "sub-a", why="a check")
    file.unlink()
    assert "a.rec is missing" in checking.checked(store, catalog, folders)[1]["damage"][0]["problem"]


def test_what_was_never_read_comes_before_what_was(store, catalog):
    publish(store, "sub-a")
    checking.checked_some(store, catalog, budget_s=0)
    publish(store, "sub-b")
    assert names(checking.checked_some(store, catalog, budget_s=0)) == ["sub-b"]


def test_with_time_enough_each_is_read_once(store, catalog):
    for session in ("sub-a", "sub-b"):
        publish(store, session)
    assert names(checking.checked_some(store, catalog, budget_s=1000)) == ["sub-a", "sub-b"]


def test_a_check_that_is_stopped_keeps_what_it_has_read(store, catalog):
    for session in ("sub-a", "sub-b"):
        publish(store, session)

    def stop(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checking.checked_some(store, catalog, budget_s=1000, progress=stop)
    assert names(checking.checked_some(store, catalog, budget_s=0)) == ["sub-b"]


def test_a_flipped_byte_is_found_though_the_version_was_sound_before(store, catalog):
    folder = publish(store, "sub-a")
    checking.checked_some(store, catalog, budget_s=0)
    (folder / "session.nwb").write_bytes(b"spikez")
    (result,) = checking.checked_some(store, catalog, budget_s=0)
    assert (result["sound"], result["damage"][0]["file"]) == (False, "session.nwb")


def test_valid_nwb_is_not_validated_again_while_its_bytes_stay(store, catalog, validated):
    folder = publish(store, "sub-a")
    for _ in range(2):
        checking.checked_some(store, catalog, budget_s=0)
    assert validated == ["sub-a"]
    (folder / "session.nwb").write_bytes(b"spikez")
    checking.checked_some(store, catalog, budget_s=0)
    (folder / "session.nwb").write_bytes(b"spikes")
    checking.checked_some(store, catalog, budget_s=0)
    assert validated == ["sub-a", "sub-a"]


def test_damage_says_what_to_do(store, catalog):
    folder = publish(store, "sub-a")
    (folder / "session.nwb").write_bytes(b"spikez")
    checking.checked_some(store, catalog, budget_s=0)
    found = checking.health(store, catalog)
    assert found.sentence == "1 of 1 published versions were read back, every byte: 1 damaged"
    assert "neuroloom reingest sub-a" in found.damaged[0]["advice"]


def test_damage_of_a_version_that_a_sound_one_replaced_says_so(store, catalog):
    folder = publish(store, "sub-a")
    publish(store, "sub-a", "v002")
    (folder / "session.nwb").write_bytes(b"spikez")
    checking.checked_some(store, catalog, budget_s=1000)
    (row,) = checking.health(store, catalog).damaged
    assert (row["version"], row["advice"][:14]) == ("v001", "v002 is sound;")


def test_a_version_that_is_gone_is_not_counted(store, catalog):
    folder = publish(store, "sub-a")
    checking.checked_some(store, catalog, budget_s=0)
    for path in folder.iterdir():
        path.unlink()
    assert checking.health(store, catalog).n_checked == 0


def test_the_front_page_says_when_and_what_is_damaged(store, catalog):
    folder = publish(store, "sub-a")
    assert "0 of 1 published versions were read" in review_index(store).read_text()
    (folder / "session.nwb").write_bytes(b"spikez")
    checking.checked_some(store, catalog, budget_s=0)
    page = review_index(store).read_text()
    assert "v001 damaged" in page
    assert "neuroloom reingest sub-a" in page
