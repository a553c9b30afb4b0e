"""A disk that fails while HDF5 writes ends in an OSError: no crash, no file that looks whole and is not."""

import errno
import os

import h5py
import numpy as np
import pytest

from neuroloom.ingest.durable import is_of_disk
from neuroloom.ingest.hdf5_files import Disk, new_hdf5


def test_a_new_file_holds_what_was_written(tmp_path):
    with new_hdf5(tmp_path / "a.h5", libver=("v110", "v110")) as (file, _):
        file.create_dataset("x", data=np.arange(10_000), chunks=(100,), compression="gzip")
        file["x"].attrs["unit"] = "V"
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert file["x"][:].tolist() == list(range(10_000))
        assert file["x"].attrs["unit"] == "V"


def test_a_file_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"kept")
    with pytest.raises(FileExistsError), new_hdf5(tmp_path / "a.h5"):
        pass
    assert (tmp_path / "a.h5").read_bytes() == b"kept"


def refusing(monkeypatch, after):
    """The disk takes so many writes and no more."""
    taken = []

    def pwrite(descriptor, data, at):
        if len(taken) >= after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken.append(at)
        return wrote(descriptor, data, at)

    wrote = os.pwrite
    monkeypatch.setattr(os, "pwrite", pwrite)
    return taken


def test_whenever_the_disk_is_full_it_is_said_so_and_the_process_goes_on(tmp_path, monkeypatch):
    with new_hdf5(tmp_path / "whole.h5") as (file, _):
        fill(file)
    with monkeypatch.context() as patch:
        counted = refusing(patch, 10**9)
        with new_hdf5(tmp_path / "counted.h5") as (file, _):
            fill(file)
        n_writes = len(counted)
    assert n_writes > 10
    for after in range(n_writes):
        with monkeypatch.context() as patch:
            refusing(patch, after)
            with pytest.raises(OSError, match="No space left") as refused, new_hdf5(tmp_path / f"{after}.h5") as (f, _):
                fill(f)
        assert is_of_disk(refused.value)
        (tmp_path / f"{after}.h5").unlink()


def fill(file):
    for name in "abc":
        group = file.create_group(name)
        group.create_dataset("x", data=np.arange(3000.0), chunks=(500,))
        group["texts"] = ["one", "two"]
        group.attrs["about"] = "z" * 300


def test_what_is_read_before_it_was_written_is_zeros(tmp_path):
    disk = Disk(tmp_path / "a")
    disk.write(memoryview(b"abc"))
    disk.seek(1)
    assert disk.read(4) == b"bc\0\0"
    disk.close()
