import errno
import os
from pathlib import Path

import pytest

from neuroloom.ingest import durable


def test_a_written_file_holds_its_bytes_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    durable.write_bytes(tmp_path / "a.bin", b"123")
    assert (tmp_path / "a.bin").read_bytes() == b"123"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_that_fails_its_check_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    def refuse(path: Path) -> None:
        raise ValueError(path.read_text())

    with pytest.raises(ValueError, match="new"):
        durable.write_bytes(tmp_path / "a.txt", b"new", verify=refuse)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failed_fsync_is_not_tried_again_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError("no space")

    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="no space"):
        durable.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(calls) == 1


def test_equal_documents_are_equal_bytes() -> None:
    assert durable.json_bytes({"b": 1, "a": "µ"}) == durable.json_bytes({"a": "µ", "b": 1})


def test_json_without_nan() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        durable.json_bytes({"a": float("nan")})


def test_a_new_folder_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "v001"
    with durable.new_folder(target) as staging:
        (staging / "a").write_text("1")
        assert not target.exists()
        assert staging.stat().st_dev == tmp_path.stat().st_dev
    assert [p.name for p in target.parent.iterdir()] == ["v001"]
    assert (target / "a").read_text() == "1"


def fail_while_writing(target: Path) -> None:
    with durable.new_folder(target) as staging:
        (staging / "a").write_text("1")
        raise RuntimeError("stop")


def test_a_block_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        fail_while_writing(tmp_path / "v001")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "v001").mkdir()
    with pytest.raises(FileExistsError, match="v001: is there already"), durable.new_folder(tmp_path / "v001"):
        pass


def write_while_another_does(target: Path) -> None:
    with durable.new_folder(target) as staging:
        (staging / "mine").write_text("1")
        target.mkdir()
        (target / "theirs").write_text("2")


def test_a_folder_that_came_in_between_is_kept(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="is there already"):
        write_while_another_does(tmp_path / "v001")
    assert [p.name for p in (tmp_path / "v001").iterdir()] == ["theirs"]
    assert [p.name for p in tmp_path.iterdir()] == ["v001"]


def test_a_copy_holds_the_same_and_its_digest_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    digest = durable.copy_file(tmp_path / "a", tmp_path / "deep" / "b")
    assert (tmp_path / "deep" / "b").read_bytes() == b"abc"
    assert digest == durable.copy_file(tmp_path / "a", tmp_path / "deep" / "b")
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_a_copy_never_replaces_other_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abd")
    with pytest.raises(FileExistsError, match="with other content"):
        durable.copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"abd"


def test_a_disk_is_at_fault_also_where_a_reader_says_so_in_its_own_words():
    def read(number):
        try:
            raise OSError(number, "said by the system")
        except OSError as error:
            raise ValueError("session.toml: a TOML file is wanted") from error

    for number, is_of_disk in ((errno.EIO, True), (errno.ENOENT, False)):
        with pytest.raises(ValueError, match="wanted") as refused:
            read(number)
        assert durable.is_of_disk(refused.value) is is_of_disk
