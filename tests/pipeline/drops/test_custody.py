"""Files that leave the inbox: a move that was cut short, and folders that the disk did not let go."""

import errno
import json
import os

import pytest

from neuroloom.pipeline.catalog.tables import Drop
from neuroloom.pipeline.drops import custody
from neuroloom.pipeline.store import Store


def refusals(store):
    return {(entry.path, entry.reason) for entry in custody.refused(store)}


def test_what_was_refused_and_is_accepted_later_is_refused_no_more(store):
    for path in ("/a/x.edf", "/b/x.edf"):
        custody.note_refused(store, "x.edf", path, "torn")
    custody.note_refused(store, "x.edf", "/a/x.edf", "torn, still")
    assert refusals(store) == {("/a/x.edf", "torn, still"), ("/b/x.edf", "torn")}
    custody.accepted(store, "x.edf", "/a/x.edf")
    custody.accepted(store, "x.edf", "/c/x.edf")
    assert refusals(store) == {("/b/x.edf", "torn")}


def test_files_that_are_kept_in_quarantine_keep_their_record(store):
    folder = store.quarantine / "x.edf"
    (folder / custody.FILES).mkdir(parents=True)
    (folder / custody.REASON_RECORD).write_text(json.dumps({"path": "/a/x.edf", "reason": "kept"}))
    custody.note_refused(store, "x.edf", "/a/x.edf", "torn")
    assert refusals(store) == {("/a/x.edf", "kept"), ("/a/x.edf", "torn")}
    custody.accepted(store, "x.edf", "/a/x.edf")
    assert refusals(store) == {("/a/x.edf", "kept")}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path).create()


def begun(store, name, file):
    """A move into quarantine whose record is written and whose files still lie in the inbox."""
    (store.inbox / file).parent.mkdir(parents=True)
    (store.inbox / file).write_bytes(b"samples")
    folder = store.quarantine / name
    folder.mkdir()
    record = {"name": name, "folder": str(store.inbox), "files": [file], "moved": False}
    (folder / custody.REASON_RECORD).write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize("refused", ["study", "study/sub-01", "study/sub-01/eeg"])
def test_a_folder_that_the_disk_does_not_list_is_asked_for_again(store, monkeypatch, refused):
    folder = begun(store, "study", "study/sub-01/eeg/x.eeg")
    real = os.scandir

    def scandir(path="."):
        if os.fspath(path) == str(store.inbox / refused):
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))
        return real(path)

    with monkeypatch.context() as failing:
        failing.setattr(os, "scandir", scandir)
        with pytest.raises(OSError, match="Input/output error"):
            custody.finish_moves(store)
    assert custody.finish_moves(store) == 1
    assert not (store.inbox / "study").exists()
    assert (folder / custody.FILES / "study/sub-01/eeg/x.eeg").read_bytes() == b"samples"
    assert custody.finish_moves(store) == 0


def test_what_came_into_a_folder_meanwhile_stays(store):
    begun(store, "study", "study/a/x.eeg")
    (store.inbox / "study" / "later.eeg").write_bytes(b"more")
    assert custody.finish_moves(store) == 1
    assert [path.name for path in (store.inbox / "study").iterdir()] == ["later.eeg"]


def dropped(store, number):
    (store.inbox / "x").mkdir()
    (store.inbox / "x" / "x.eeg").write_bytes(b"%d" % number)
    return Drop(id=number, name="x", folder=str(store.inbox), files=["x/x.eeg"], paths=["x"])


def test_a_drop_that_the_disk_did_not_let_into_quarantine_is_there_once_in_the_end(store, monkeypatch):
    drop, real = dropped(store, 1), os.mkdir

    def mkdir(path, *how, **more):
        if os.fspath(path).endswith("files/x") and os.path.isdir(os.path.dirname(path)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
        real(path, *how, **more)

    with monkeypatch.context() as failing:
        failing.setattr(os, "mkdir", mkdir)
        with pytest.raises(OSError, match="No space left"):
            custody.quarantine(store, drop, "no samples")
    assert custody.quarantine(store, drop, "no samples") == store.quarantine / "x"
    assert [(entry.id, entry.kept) for entry in custody.refused(store)] == [("x", True)]


def test_two_drops_of_one_name_are_kept_apart_in_quarantine(store):
    folders = [custody.quarantine(store, dropped(store, number), "no samples") for number in (1, 2)]
    assert [(folder / custody.FILES / "x/x.eeg").read_bytes() for folder in folders] == [b"1", b"2"]
