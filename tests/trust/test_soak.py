"""Recordings come in all the time, some twice, some broken, and whoever works on them is killed every second or so.

NEUROLOOM_SOAK_S says for how many seconds `make check-trust` goes on, 3600 where it says nothing; `make test` goes on
for 15, and for five kills.
"""

import os
import shutil
import time
from collections import Counter

import numpy as np
import pytest

from neuroloom.ingest import manifest
from neuroloom.ingest.digest import digest_of_file
from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED
from neuroloom.pipeline.store import Store

from .faults import Forks
from .harness import SOAK, Inbox
from .hostile_paths import brainvision
from .promises import LATER_S

SOAK_S = float(os.environ.get("NEUROLOOM_SOAK_S", "3600"))
LEAST_KILLS = 5  # also where the machine is busy with other things


def recording(number):
    """Fills a folder with a recording like no other."""

    def make(folder):
        brainvision(folder)
        np.arange(number, number + 100, dtype="<i2").tofile(folder / "x.eeg")

    return make


def broken(folder):
    (folder / "x.vhdr").write_text("Brain Vision Data Exchange Header File Version 1.0\n")


def dropped(inbox, number):
    """One more drop; gives its name, and the state it has to come to."""
    name = f"drop{number:04d}"
    if number % 7 == 3:
        inbox.put(name, broken)
        return name, QUARANTINED
    if number % 5 == 4:  # the same as the first, session.toml included
        shutil.copytree(inbox.first, inbox.store.inbox / name)
    else:
        inbox.put(name, recording(number))
    return name, DONE


@pytest.mark.parametrize("length_s", [15.0, pytest.param(SOAK_S, marks=pytest.mark.trust)])
def test_killed_over_and_over_everything_comes_to_its_end_once(tmp_path, tell, length_s):
    rng = np.random.default_rng(0)
    store = Store(tmp_path / "store").create()
    inbox = Inbox(store, settings=SOAK)
    inbox.put("template", recording(0))
    inbox.first = shutil.move(store.inbox / "template", tmp_path / "first")
    expected, n_files, n_kills = {}, Counter(), 0
    ends_s = time.monotonic() + length_s
    with Forks() as forks:
        while time.monotonic() < ends_s or n_kills < LEAST_KILLS:
            for _ in range(int(rng.integers(1, 4))):
                name, state = dropped(inbox, len(expected))
                expected[name] = state
                n_files.update(digest_of_file(path) for path in (store.inbox / name).iterdir())
            forks.killed_after(float(rng.uniform(0.1, 3.0)), store.root, "go on")
            n_kills += 1
    inbox.reconciler.clock = lambda: time.time() + LATER_S
    while inbox.catalog.drops.counts().keys() - {DONE, QUARANTINED, "IGNORED"} or os.listdir(store.inbox):
        inbox.look()
    drops = {drop.name: drop for drop in inbox.catalog.drops.every()}  # the last of each name
    inbox.catalog.close()
    tell(f"soak: {length_s:.0f} s, {n_kills} kills, {len(expected)} drops: {dict(Counter(expected.values()))}")
    assert {name: drop.state for name, drop in drops.items()} == expected
    kept = [path for place in (store.originals, store.quarantine) for path in place.glob("*/files/**/*")]
    assert Counter(digest_of_file(path) for path in kept if path.is_file()) == n_files
    made = {drops[name].sessions[0] for name, state in expected.items() if state == DONE}
    assert set(store.session_ids()) == made
    assert {name: [v.name for v in store.versions(name)] for name in made} == {name: ["v001"] for name in made}
    assert [damage for name in made for damage in manifest.verify(store.latest(name))] == []
