"""Recordings are copied into the inbox slowly, in pieces, in any order, with pauses; it is looked at all along.

Whoever copies has a file open from its first byte to its last, as `cp`, `rsync` and file managers have, and may take
long between two files. The time is the reconciler's, so that minutes pass at once.

NEUROLOOM_COPIES says how many copies `make check-trust` makes, 200 where it says nothing; `make test` makes 8.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import manifest
from neuroloom.pipeline.catalog.tables import DONE

from ..ingest.formats.test_edf import edf_file
from .harness import SETTINGS, Inbox, inbox_of
from .mutating import spikeglx
from .scenes import datasets, marked

N_COPIES = int(os.environ.get("NEUROLOOM_COPIES", "200"))
SCAN_S, SETTLE_S, ORPHAN_S, STARTS_S = 3.0, 10.0, 300.0, 30.0
SLOW = SETTINGS.model_copy(
    update={"inbox": SETTINGS.inbox.model_copy(update={"settle_s": SETTLE_S, "orphan_s": ORPHAN_S})}
)
SESSION = "sub-kept_ses-01"
BY_STORE = (
    "/session_start_time",
    "/timestamps_reference_time",
    "/scratch",
)  # each store moves dates by days of its own


def triple(folder: Path) -> None:
    marked(folder, SESSION, 0)


@dataclass
class Copy:
    """One recording on its way. loose: its files lie in the inbox itself, else in a folder "day" of it."""

    inbox: Inbox
    rng: np.random.Generator
    source: Path
    loose: bool
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.now_s = time.time()
        self.inbox.reconciler.clock = lambda: self.now_s
        self.target = self.inbox.store.inbox / ("" if self.loose else "day")
        self.target.mkdir(exist_ok=True)

    def made(self) -> None:
        """From the first byte to the last; nothing must be published before the last file is closed."""
        files = [path for path in sorted(self.source.rglob("*")) if path.is_file()]
        for k in self.rng.permutation(len(files)):
            self._pass(float(self.rng.uniform(0, 0.9 * ORPHAN_S)) if self.rng.random() < 0.3 else SCAN_S)
            self._copied(files[k])

    def started_after_s(self) -> float:
        """How long after the last byte it was ingested."""
        ended_s = self.now_s
        while not self.sessions() and self.now_s < ended_s + ORPHAN_S:
            self.now_s += SCAN_S
            self.inbox.reconciler.step()
        return self.now_s - ended_s

    def sessions(self) -> list[Path]:
        store = self.inbox.store
        return [folder for name in store.session_ids() for folder in store.versions(name)]

    def _copied(self, path: Path) -> None:
        data = path.read_bytes()
        cuts = sorted(int(at) for at in self.rng.integers(0, len(data) + 1, int(self.rng.integers(0, 4))))
        place = self.target / path.relative_to(self.source)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb", buffering=0) as file:
            for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
                self._pass(float(self.rng.uniform(0, 5 * SETTLE_S)))
                file.write(data[start:stop])

    def _pass(self, seconds: float) -> None:
        """The inbox is looked at every few seconds meanwhile."""
        ends_s = self.now_s + seconds
        while self.now_s < ends_s:
            self.now_s = min(self.now_s + SCAN_S, ends_s)
            self.inbox.reconciler.step()
            assert self.sessions() == [], "ingested before it was whole"


def copied(root: Path, number: int, make: Callable[[Path], object], *, loose: bool) -> tuple[float, dict[str, str]]:
    """How long after its last byte it was ingested, and the values of its only version."""
    source = root / "source"
    source.mkdir(parents=True)
    make(source)
    with inbox_of(root, boxed=False, settings=SLOW) as inbox:
        copy = Copy(inbox, np.random.default_rng(number), source, loose)
        copy.made()
        after_s = copy.started_after_s()
        (version,) = copy.sessions()
        assert manifest.verify(version) == []
        assert [drop.state for drop in inbox.catalog.drops.every(DONE)] == [DONE]
        return after_s, values_of(version)


def values_of(version: Path) -> dict[str, str]:
    return {name: digest for name, digest in datasets(version).items() if not name.split(" ")[1].startswith(BY_STORE)}


KINDS = {
    "loose triple": (triple, True),
    "triple": (triple, False),
    "edf": (lambda folder: edf_file(folder / f"{SESSION}.edf", range(6)), True),
    "probe": (spikeglx, False),
}


def whole(root: Path, make: Callable[[Path], object], *, loose: bool) -> dict[str, str]:
    """The values of the same where it lay in the inbox at once."""
    with inbox_of(root, boxed=False) as inbox:
        target = inbox.store.inbox / ("" if loose else "day")
        target.mkdir(exist_ok=True)
        make(target)
        inbox.look()
        (name,) = inbox.store.session_ids()
        return values_of(inbox.store.latest(name))


def all_copied(root: Path, kind: str, n_copies: int) -> list[float]:
    """After how many seconds each of them was ingested; each is whole."""
    make, loose = KINDS[kind]
    expected = whole(root / "whole", make, loose=loose)
    found = [copied(root / f"{number}", number, make, loose=loose) for number in range(n_copies)]
    assert [values for _, values in found] == [expected] * n_copies
    return [after_s for after_s, _ in found]


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_copy_is_ingested_once_whole_and_soon_after_its_last_byte(tmp_path, tell, kind):
    after_s = all_copied(tmp_path, kind, 2)
    tell(f"slow copies, {kind}: {len(after_s)}, ingested {max(after_s):.0f} s after the last byte at most")
    assert max(after_s) <= STARTS_S


@pytest.mark.trust
@pytest.mark.apart
@pytest.mark.parametrize("kind", KINDS)
def test_many_slow_copies_are_ingested_once_whole_and_soon_after_their_last_byte(tmp_path, tell, kind):
    after_s = all_copied(tmp_path, kind, N_COPIES // len(KINDS))
    tell(f"slow copies, {kind}: {len(after_s)}, ingested {max(after_s):.0f} s after the last byte at most")
    assert max(after_s) <= STARTS_S
