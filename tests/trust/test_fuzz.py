"""Mutated recordings of every format: each is ingested whole or quarantined with a reason; nobody dies, nothing hangs.

NEUROLOOM_MUTATIONS says how many of each seed `make check-trust` tries, 20 where it says nothing.
"""

import os
import shutil
from collections import Counter

import numpy as np
import pytest

from neuroloom.ingest import format_of, manifest, naming_files
from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED

from .harness import SETTINGS, inbox_of, lines
from .mutating import mutated, seeds, written

N_QUICK, N_ALL = 1, int(os.environ.get("NEUROLOOM_MUTATIONS", "20"))
KNOWN_ENDS = ("crashed", "wanted more", "not done after")


@pytest.fixture
def inbox(tmp_path):
    box = SETTINGS.box.model_copy(update={"wall_s": 120.0})
    with inbox_of(tmp_path, settings=SETTINGS.model_copy(update={"box": box})) as found:
        yield found


def fuzz(inbox, found, n_each, first_seed=0):
    """Counts of outcomes, and what was not as it should be. A mutation's name says its seed and its number."""
    for form, seed in found.items():
        for k in range(n_each):
            rng = np.random.default_rng([first_seed, k, *form.encode()])
            name = f"{form.replace('_', '')}{k:04d}"
            inbox.put(name, lambda folder, seed=seed: shutil.copytree(seed, folder, dirs_exist_ok=True))
            mutated(inbox.store.inbox / name, rng)
    drops = inbox.look()
    outcomes = Counter(drop.state for drop in drops.values())
    outcomes["ended by the box"] = sum(any(end in d.reason for end in KNOWN_ENDS) for d in drops.values())
    outcomes["an error no reader should raise"] = sum(
        "the reader stopped" in d.reason and not any(end in d.reason for end in KNOWN_ENDS) for d in drops.values()
    )
    wrong = [f"{d.name}: {d.state} {d.reason}" for d in drops.values() if not is_an_outcome(inbox.store, d)]
    wrong += [f"{d.name}: no reason, or of several lines" for d in drops.values()
              if d.state == QUARANTINED and lines(d.reason) != 1]  # fmt: skip
    surprises = [f"{d.name}: {d.reason}" for d in drops.values() if "the reader stopped" in d.reason]
    return outcomes, wrong, surprises


def is_an_outcome(store, drop):
    if drop.state == DONE:
        return all(manifest.verify(store.latest(name)) == [] for name in drop.sessions)
    return drop.state == QUARANTINED and bool(drop.reason)


def said(what, n_seeds, n_each, outcomes):
    counts = ", ".join(f"{n} {state}" for state, n in sorted(outcomes.items()))
    return f"{what}: {n_seeds} recordings, {n_seeds * n_each} mutations: {counts}"


def test_a_few_mutations_of_written_recordings(inbox, tmp_path, tell):
    found = written(tmp_path / "seeds")
    outcomes, wrong, _ = fuzz(inbox, found, N_QUICK)
    tell(said("fuzz", len(found), N_QUICK, outcomes))
    assert wrong == []
    assert outcomes[DONE] + outcomes[QUARANTINED] == len(found) * N_QUICK


def test_every_written_recording_is_of_its_format(tmp_path):
    found = written(tmp_path)
    assert {name: {format_of(path) for path in naming_files(folder)} for name, folder in found.items()} == {
        name: {name} for name in found
    }


@pytest.mark.trust
def test_many_mutations_of_written_recordings(inbox, tmp_path, tell):
    found = written(tmp_path / "seeds")
    outcomes, wrong, surprises = fuzz(inbox, found, N_ALL, 1)
    tell(said("fuzz, written", len(found), N_ALL, outcomes))
    for line in surprises:
        tell(f"  {line}")
    assert wrong == []


@pytest.mark.trust
def test_many_mutations_of_real_recordings(inbox, tmp_path, recordings_dir, tell):
    found = seeds(recordings_dir, tmp_path / "seeds")
    outcomes, wrong, surprises = fuzz(inbox, found, N_ALL, 2)
    tell(said("fuzz, real", len(found), N_ALL, outcomes))
    for line in surprises:
        tell(f"  {line}")
    assert wrong == []
