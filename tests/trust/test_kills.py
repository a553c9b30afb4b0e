"""Disturbed at any system call that changes a file, work on a store loses nothing, doubles nothing, and goes on.

NEUROLOOM_EVERY says that `make check-trust` tries each so-many-th call only, 1 where it says nothing. NEUROLOOM_CALL:
only calls of that name, such as mkdir.
"""

import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from neuroloom.ingest import manifest
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.drops import custody
from neuroloom.pipeline.store import Store

from .faults import Forks, can_trace
from .promises import broken_after_restart, broken_at_once
from .scenes import RECORDS, SCENES, Scene, ends_of, laid_out, originals_of, story

SAMPLE = 12
EVERY = int(os.environ.get("NEUROLOOM_EVERY", "1"))
ONLY = os.environ.get("NEUROLOOM_CALL", "")
N_CUTS = 150
KILL = "signal=SIGKILL"
LOSABLE = ("write", "pwrite64", "ftruncate", "fsync")
pytestmark = pytest.mark.skipif(bool(can_trace()), reason=can_trace() or "-")


@dataclass
class Disturbed:
    """A scene, disturbed over and over.

    calls: those of its work that change files. writes: what of them a disk can lose. left: originals that stay.
    ends: how each drop ends undisturbed, and after how many attempts.
    """

    forks: Forks
    scene: Scene
    root: Path

    def __post_init__(self):
        self.store = laid_out(self.scene, self.root / "template")
        self.originals = originals_of(self.store)
        whole = self._copied("whole")
        watched = self.forks.watched(whole.root, self.scene.work)
        self.calls = [(call.name, call.number) for call in watched]
        self.writes = [call for call in watched if call.name in LOSABLE and call.gave >= 0 and self._is_of_store(call)]
        self.undisturbed, self.left = story(whole), originals_of(whole)
        catalog = Catalog.of(whole)
        self.ends = ends_of(catalog.drops.every())
        catalog.close()
        self.longest = max(path.stat().st_size for path in whole.root.rglob("*") if path.is_file())

    def hit(self, call, number, fault):
        """Whether the fault was noticed, and what did not hold."""
        where = f"{fault} at {call} {number}"
        return self._tried(where, fault == KILL, lambda _: None, inject=f"{call}:{fault}:when={number}")

    def cut(self, most_bytes, *, torn):
        """The same of an ingest whose files could not become longer than that."""
        return self._tried(f"{most_bytes} bytes, torn {torn}", torn, _made_room, most_bytes=most_bytes, torn=torn)

    def lose(self, call):
        """After a call that says it did what it did not: what is wrong and is not found by `verify`.

        The restart may find what a person has to mend: that is what `verify` is for.
        """
        store = self._copied("hit")
        try:
            inject = f"{call.name}:retval={call.gave}:when={call.number}"
            is_told = self.forks.run(store.root, self.scene.work, inject=inject)["ended"] != 0
            damaged = [name for name in store.session_ids() if manifest.verify(store.latest(name))]
            lost = self.left - originals_of(store)
            silent = {name: said for name, said in story(store).items() if said != self.undisturbed.get(name)}
            wrong = [f"an original is gone: {digest}" for digest in lost]
            if is_told:  # what was not done yet is no wonder then
                silent = {name: said for name, said in silent.items() if " v0" in name and name in self.undisturbed}
            told = [name for name in silent if " v0" in name or name in RECORDS]
            wrong += [] if damaged else [f"{name} is {silent[name]!r:.200}" for name in told]
            return bool(damaged), [f"lost {call}: {what}" for what in wrong]
        finally:
            shutil.rmtree(store.root)

    def _is_of_store(self, call):
        place = Path(call.file)
        whole = self.root / "whole"
        is_record = place.parent == whole and place.name.removeprefix(".").startswith(RECORDS)
        return is_record or any(place.is_relative_to(whole / name) for name in ("sessions", "originals", "quarantine"))

    def _tried(self, where, is_kill, mended, **fault):
        store = self._copied("hit")
        try:
            ended = self.forks.run(store.root, self.scene.work, **fault)
            found = broken_at_once(store, self.scene, self.originals)
            found += mended(store) or []
            found += broken_after_restart(store, self.scene, self.originals, self.undisturbed)
            otherwise = any(self.ends.get(name) != end for name, end in ended.get("states", {}).items())
            noticed = ended["ended"] != 0 or (otherwise and not is_kill)
            return noticed, [f"{where}: {what}" for what in found]
        finally:
            shutil.rmtree(store.root)

    def _copied(self, name):
        return Store(shutil.copytree(self.store.root, self.root / name))


def _made_room(store):
    """What was refused because of the disk says so, and a person who has made room asks for another try."""
    found = []
    for refused in custody.refused(store):
        if re.search(r"Errno 27|errno = 27|File too large|OSError\(27", refused.reason):
            custody.release(store, refused.id)
        elif refused.id != "broken":
            found.append(f"does not say that it is the disk: {refused.reason}")
    return found


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory, forks):
    """A scene by its name."""
    return cache(lambda name: Disturbed(forks, SCENES[name], tmp_path_factory.mktemp("disturbed")))


def run_through(outcomes, tell, what):
    """Tells how many were tried, and gives how many were noticed, and all that did not hold."""
    noticed, found, n = 0, [], 0
    for was_noticed, broken in outcomes:
        n, noticed = n + 1, noticed + was_noticed
        found += broken
        for line in broken:
            tell(f"  {what}: {line}")
    tell(f"{what}: {n} tried, {noticed} cut an attempt short, {len(found)} violations")
    return noticed, found


def test_an_ingest_makes_many_calls_that_change_files(disturbed):
    names = {name for name, _ in disturbed("one").calls}
    assert {"openat", "fsync", "rename", "mkdir", "pwrite64"} <= names


def test_killed_at_some_calls_the_promises_hold(disturbed, tell):
    one = disturbed("one")
    points = one.calls[:: max(1, len(one.calls) // SAMPLE)]
    noticed, found = run_through((one.hit(*point, KILL) for point in points), tell, f"kills, of {len(one.calls)} calls")
    assert found == []
    assert noticed == len(points)


def test_after_an_error_at_some_calls_the_promises_hold(disturbed, tell):
    one = disturbed("one")
    points = one.calls[1 :: max(1, len(one.calls) // SAMPLE)]
    outcomes = (one.hit(*point, "error=ENOSPC") for point in points)
    assert run_through(outcomes, tell, f"ENOSPC, of {len(one.calls)} calls")[1] == []


def test_an_amendment_stopped_at_some_calls_is_gone_on_with(disturbed, tell):
    amend = disturbed("amend")
    points = amend.calls[5 :: len(amend.calls) // 4]
    assert run_through((amend.hit(*point, KILL) for point in points), tell, "kills of an amendment")[1] == []


def test_short_and_torn_writes_break_no_promise(disturbed, tell):
    one = disturbed("one")
    sizes = [one.longest // 3, one.longest - 1]
    outcomes = (one.cut(size, torn=torn) for size in sizes for torn in (False, True))
    noticed, found = run_through(outcomes, tell, "short and torn writes")
    assert found == []
    assert noticed >= len(sizes)


def test_a_write_that_a_disk_lost_is_never_published_in_silence(disturbed, tell):
    """As a disk does that says it wrote and did not; the page cache holds nothing of it, so it is read back as lost."""
    one = disturbed("one")
    files = [call for call in one.writes if call.file.endswith(".nwb") and call.name == "pwrite64"]
    noted = [call for call in one.writes if call.file.endswith(".tmp") and call.name == "write"]
    tried = [*files[:: len(files) // 3], noted[0], noted[-1]]
    found = run_through(map(one.lose, tried), tell, f"lost writes, of {len(one.writes)}")[1]
    assert found == []


@pytest.mark.trust
@pytest.mark.apart
@pytest.mark.parametrize("name", SCENES)
def test_no_write_that_a_disk_lost_is_published_in_silence(disturbed, tell, name):
    scene = disturbed(name)
    assert run_through(map(scene.lose, scene.writes[::EVERY]), tell, f"lost writes, {name}")[1] == []


@pytest.mark.trust
@pytest.mark.apart
@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("fault", [KILL, "error=EIO", "error=ENOSPC"])
def test_disturbed_at_every_call_that_changes_a_file_the_promises_hold(disturbed, tell, fault, name):
    scene = disturbed(name)
    points = [point for point in scene.calls if ONLY in ("", point[0])][::EVERY]
    noticed, found = run_through((scene.hit(*point, fault) for point in points), tell, f"{fault}, {name}")
    assert found == []
    assert fault != KILL or noticed >= 0.98 * len(points)  # a call may come once less in another run


@pytest.mark.trust
@pytest.mark.apart
@pytest.mark.parametrize("name", SCENES)
def test_short_and_torn_writes_at_every_length_break_no_promise(disturbed, tell, name):
    scene = disturbed(name)
    sizes = range(1, scene.longest, max(1, scene.longest // N_CUTS))[::EVERY]
    outcomes = (scene.cut(size, torn=torn) for size in sizes for torn in (False, True))
    assert run_through(outcomes, tell, f"short and torn writes, {name}")[1] == []
