from pathlib import Path

import h5py
import numpy as np
import pytest
from blake3 import blake3

from neuroloom.ingest import digest


@pytest.fixture
def hdf5(tmp_path: Path) -> h5py.File:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        yield file


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert digest.digest_of_file(tmp_path / "a") == "blake3:" + blake3(b"abc").hexdigest()


def test_a_file_longer_than_a_block_has_the_digest_of_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "BLOCK_BYTES", 4)
    (tmp_path / "a").write_bytes(b"0123456789")
    assert digest.digest_of_file(tmp_path / "a") == digest.digest_of_bytes(b"0123456789")


def test_an_empty_file_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert digest.digest_of_file(tmp_path / "a") == digest.digest_of_bytes(b"")


def test_a_folder_keeps_its_digest_under_another_name(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        (tmp_path / folder / "deep" / "x").write_text("1")
    assert digest.digest_of_folder(tmp_path / "a") == digest.digest_of_folder(tmp_path / "b")


def test_a_renamed_file_changes_the_digest_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    before = digest.digest_of_folder(tmp_path)
    (tmp_path / "x").rename(tmp_path / "y")
    assert digest.digest_of_folder(tmp_path) != before


def test_chunks_and_filters_do_not_change_the_digest_of_a_dataset(hdf5: h5py.File) -> None:
    values = np.arange(60, dtype=np.int16).reshape(20, 3)
    hdf5["plain"] = values
    hdf5.create_dataset("packed", data=values, chunks=(7, 3), compression="gzip")
    assert digest.digest_of_dataset(hdf5["plain"]) == digest.digest_of_dataset(hdf5["packed"])


def test_blocks_do_not_change_the_digest_of_a_dataset(hdf5: h5py.File, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5["a"] = np.arange(60, dtype=np.int16).reshape(20, 3)
    whole = digest.digest_of_dataset(hdf5["a"])
    monkeypatch.setattr(digest, "BLOCK_BYTES", 24)
    assert digest.digest_of_dataset(hdf5["a"]) == whole


def test_one_sample_type_or_shape_changes_the_digest_of_a_dataset(hdf5: h5py.File) -> None:
    values = np.zeros((2, 3), dtype=np.int16)
    hdf5["zeros"], hdf5["wide"], hdf5["turned"] = values, values.astype(np.int32), values.T
    values[1, 2] = -1
    hdf5["other"] = values
    assert len({digest.digest_of_dataset(hdf5[name]) for name in hdf5}) == 4


def test_text_is_digested_with_its_boundaries(hdf5: h5py.File) -> None:
    hdf5["a"], hdf5["b"] = ["ab", "c"], ["a", "bc"]
    assert digest.digest_of_dataset(hdf5["a"]) != digest.digest_of_dataset(hdf5["b"])


def test_every_dataset_of_a_file_has_a_digest_scalars_and_empty_ones_too(hdf5: h5py.File) -> None:
    hdf5["a/b"], hdf5["text"], hdf5["none"] = [1], "hello", np.zeros((0, 4))
    hdf5["refs"] = np.array([hdf5["a"].ref], dtype=h5py.ref_dtype)
    assert list(digest.digests_of_datasets(hdf5)) == ["/a/b", "/none", "/refs", "/text"]


def test_links_to_other_files_are_not_followed(hdf5: h5py.File) -> None:
    hdf5["link"] = h5py.ExternalLink("/etc/hostname", "/")
    assert digest.dataset_paths(hdf5) == []
