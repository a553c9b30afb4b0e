"""Any byte of a published session that has changed is found by `verify`, which names the file and the dataset."""

import h5py
import numpy as np
import pytest

from neuroloom.ingest import manifest

from .harness import inbox_of
from .hostile_contents import edf_file

SOME, MANY = 60, 10_000


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session of an EDF with events, as it was published."""
    with inbox_of(tmp_path_factory.mktemp("flips"), boxed=False) as inbox:
        inbox.put("kept", lambda folder: edf_file(folder / "x.edf", range(60)))
        inbox.look()
        return inbox.store.latest("sub-kept_ses-01")


def stored_at(path):
    """Where the values of each dataset lie in a file: (first byte, byte after the last, name)."""
    found = []

    def look(name, item):
        if not isinstance(item, h5py.Dataset):
            return
        if item.chunks is None:
            if (at := item.id.get_offset()) is not None:
                found.append((at, at + item.id.get_storage_size(), f"/{name}"))
            return
        for k in range(item.id.get_num_chunks()):
            chunk = item.id.get_chunk_info(k)
            found.append((chunk.byte_offset, chunk.byte_offset + chunk.size, f"/{name}"))

    with h5py.File(path, "r") as file:
        file.visititems(look)
    return found


def flip(path, at, bit):
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def missed(session, n, seed):
    """Flips one bit after another, each put back; those that were not found, or not named."""
    rng = np.random.default_rng(seed)
    files = sorted(session.iterdir())
    sizes = np.array([path.stat().st_size for path in files])
    stored = {path: stored_at(path) for path in files if path.suffix != ".json"}
    known = {name for entry in manifest.read(session)["files"].values() for name in entry["datasets"]}
    found, n_in_data = [], 0
    places = [(path, a, b) for path, spans in stored.items() for a, b, name in spans if name in known and b > a]
    for k in range(n):
        if k % 2:  # most of a small file is structure: every second flip is among values
            path, a, b = places[rng.integers(len(places))]
            where = int(rng.integers(a, b))
        else:
            at = rng.integers(sizes.sum())
            number = int(np.searchsorted(np.cumsum(sizes), at, side="right"))
            path, where = files[number], int(at - sizes[:number].sum())
        bit = int(rng.integers(8))
        names = {name for a, b, name in stored.get(path, ()) if a <= where < b} & known
        flip(path, where, bit)
        damage = manifest.verify(session)
        flip(path, where, bit)
        if {d.file for d in damage} != {path.name}:
            found.append(f"{path.name} byte {where} bit {bit}: {damage}")
        elif names:
            n_in_data += 1
            if names != {d.dataset for d in damage}:
                found.append(f"{path.name} byte {where} bit {bit} of {names}: {damage}")
    assert manifest.verify(session) == []
    return n_in_data, found


def test_flipped_bits_are_found_and_named(session, tell):
    n_in_data, found = missed(session, SOME, 0)
    tell(f"flips: {SOME}, {n_in_data} in the values of a dataset, {len(found)} missed or misnamed")
    assert found == []
    assert n_in_data


@pytest.mark.trust
def test_ten_thousand_flipped_bits_are_found_and_named(session, tell):
    n_in_data, found = missed(session, MANY, 1)
    tell(f"flips, all: {MANY}, {n_in_data} in the values of a dataset, {len(found)} missed or misnamed")
    assert found == []
