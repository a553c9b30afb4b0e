"""Any byte of a published session that has changed is found by `verify`, which names the file and the dataset."""

import h5py
import numpy as np
import pytest

from neuroloom.ingest import manifest

from .harness import inbox_of
from .hostile_contents import edf_file

SOME, MANY, MANY_IN_VALUES = 40, 10_000, 20_000
AT_ONCE = 16  # datasets with a flipped bit each, of which all have to be named


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


def missed_anywhere(session, n, seed):
    """Flips one bit of any file after another, each put back; those that were not found."""
    rng = np.random.default_rng(seed)
    files = sorted(session.iterdir())
    ends = np.cumsum([path.stat().st_size for path in files])
    found = []
    for _ in range(n):
        at = int(rng.integers(ends[-1]))
        number = int(np.searchsorted(ends, at, side="right"))
        path, where, bit = files[number], int(at - (ends[number] - files[number].stat().st_size)), int(rng.integers(8))
        flip(path, where, bit)
        damage = manifest.verify(session)
        flip(path, where, bit)
        if {d.file for d in damage} != {path.name}:
            found.append(f"{path.name} byte {where} bit {bit}: {damage}")
    return found


def misnamed(session, n, seed):
    """Flips a bit in the values of many datasets at once, over and over; those that were not named, or wrongly."""
    rng = np.random.default_rng(seed)
    known = {(file, name) for file, entry in manifest.read(session)["files"].items() for name in entry["datasets"]}
    places = {}
    for file in sorted({file for file, _ in known}):
        for a, b, name in stored_at(session / file):
            if (file, name) in known and b > a:
                places.setdefault((file, name), []).append((a, b))
    datasets, found, n_flipped = sorted(places), [], 0
    while n_flipped < n:
        flips = {}
        for k in rng.choice(len(datasets), min(AT_ONCE, n - n_flipped, len(datasets)), replace=False):
            spans = places[datasets[k]]
            a, b = spans[rng.integers(len(spans))]
            flips[datasets[k]] = (int(rng.integers(a, b)), int(rng.integers(8)))
        for (file, _), (where, bit) in flips.items():
            flip(session / file, where, bit)
        named = {(d.file, d.dataset) for d in manifest.verify(session)}
        for (file, _), (where, bit) in flips.items():
            flip(session / file, where, bit)
        found += [f"{each} {flips.get(each)}" for each in sorted(named ^ set(flips))]
        n_flipped += len(flips)
    return found


def test_flipped_bits_are_found_and_named(session, tell):
    found = [*missed_anywhere(session, SOME, 0), *misnamed(session, SOME, 0)]
    tell(f"flips: {SOME} anywhere and {SOME} in values, {len(found)} missed or misnamed")
    assert found == []
    assert manifest.verify(session) == []


@pytest.mark.trust
def test_very_many_flipped_bits_are_found_and_named(session, tell):
    found = [*missed_anywhere(session, MANY, 1), *misnamed(session, MANY_IN_VALUES, 1)]
    tell(f"flips, all: {MANY} anywhere and {MANY_IN_VALUES} in values, {len(found)} missed or misnamed")
    assert found == []
    assert manifest.verify(session) == []
