from pathlib import Path

import pytest

from neuroloom.ingest import manifest
from neuroloom.ingest.digest import digest_of_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.bin").write_bytes(b"data")
    files = {"a.bin": {"digest": digest_of_file(tmp_path / "a.bin"), "n_bytes": 4, "datasets": {}}}
    manifest.write(tmp_path, {"session": "sub-01_ses-01"}, files)
    return tmp_path


def test_a_manifest_reads_back_with_versions_and_empty_slots(folder: Path) -> None:
    found = manifest.read(folder)
    assert found["session"] == "sub-01_ses-01"
    assert found["versions"]["h5py"]
    assert (found["consent"], found["verdicts"], found["lineage"]["follows"]) == (None, [], None)


def test_any_flipped_byte_of_a_manifest_is_found(folder: Path) -> None:
    path = folder / "manifest.json"
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert [d.file for d in manifest.verify(folder)] == ["manifest.json"], at


def test_a_missing_manifest_is_damage(tmp_path: Path) -> None:
    assert "is missing" in str(manifest.verify(tmp_path)[0])


def test_a_changed_file_is_named(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"date")
    assert [d.file for d in manifest.verify(folder)] == ["a.bin"]


def test_a_missing_and_an_added_file_are_named(folder: Path) -> None:
    (folder / "a.bin").rename(folder / "b.bin")
    assert [(d.file, d.problem[:8]) for d in manifest.verify(folder)] == [("a.bin", "cannot b"), ("b.bin", "is not i")]


def test_consent_and_verdicts_can_be_written_later(folder: Path) -> None:
    manifest.amend(folder, consent={"form": "A"}, verdicts=[{"by": "ann", "verdict": "good"}])
    assert manifest.read(folder)["consent"] == {"form": "A"}
    assert manifest.verify(folder) == []


def test_nothing_else_can(folder: Path) -> None:
    with pytest.raises(ValueError, match="'files' never changes"):
        manifest.amend(folder, files={})


def test_a_session_is_known_by_its_files_not_by_its_verdicts(folder: Path) -> None:
    before = manifest.digest_of(folder)
    manifest.amend(folder, verdicts=[{"verdict": "bad"}])
    assert manifest.digest_of(folder) == before
