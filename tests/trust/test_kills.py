"""Killed at any system call that changes a file, an ingest loses nothing, doubles nothing, and goes on."""

import re
import shutil

import pytest

from neuroloom.pipeline import custody
from neuroloom.pipeline.catalog import DONE
from neuroloom.pipeline.store import Store

from .faults import can_trace
from .harness import Inbox
from .hostile_paths import brainvision
from .promises import broken_after_restart, broken_at_once, datasets, digests_below

SESSION = "sub-kept_ses-01"
SAMPLE = 12
N_CUTS = 150
pytestmark = pytest.mark.skipif(bool(can_trace()), reason=can_trace() or "-")


@pytest.fixture(scope="module")
def place(tmp_path_factory, forks):
    """A store with a drop in its inbox, what its session holds, and the calls that an ingest of it makes."""
    root = tmp_path_factory.mktemp("kills")
    store = Store(root / "template").create()
    inbox = Inbox(store)
    inbox.put("kept", brainvision)
    inbox.catalog.close()
    from neuroloom.pipeline.privacy import make_secret

    make_secret(store)
    whole = copied(store, root / "whole")
    calls = forks.watched(whole.root)
    return store, root, calls, digests_below(store.inbox / "kept"), datasets(whole.latest(SESSION))


def copied(store, to):
    return Store(shutil.copytree(store.root, to))


def violations(forks, place, fault, call, number):
    store, root, _, originals, holds = place
    hit = copied(store, root / "hit")
    try:
        ended = forks.run(hit.root, inject=f"{call}:{fault}:when={number}")
        at_once = broken_at_once(hit, originals)
        later = broken_after_restart(hit, originals, SESSION, holds)
        return ended, [f"{fault} at {call} {number}: {what}" for what in (*at_once, *later)]
    finally:
        shutil.rmtree(hit.root)


def run_through(forks, place, fault, points):
    n_hit, found = 0, []
    for call, number in points:
        ended, broken = violations(forks, place, fault, call, number)
        n_hit += ended["ended"] != 0 if "SIGKILL" in fault else "raised" in ended or ended["ended"] != 0
        found += broken
    return n_hit, found


def test_an_ingest_makes_many_calls_that_change_files(place):
    names = {name for name, _ in place[2]}
    assert {"openat", "fsync", "rename", "mkdir", "pwrite64"} <= names


def test_killed_at_some_calls_the_promises_hold(forks, place, tell):
    points = place[2][:: max(1, len(place[2]) // SAMPLE)]
    n_killed, found = run_through(forks, place, "signal=SIGKILL", points)
    tell(f"kills: {n_killed} of {len(points)} points of {len(place[2])} calls, {len(found)} violations")
    assert found == []
    assert n_killed >= len(points) - 1


@pytest.mark.trust
def test_killed_at_every_call_that_changes_a_file_the_promises_hold(forks, place, tell):
    n_killed, found = run_through(forks, place, "signal=SIGKILL", place[2])
    tell(f"kills, all: {n_killed} of {len(place[2])} calls, {len(found)} violations")
    assert found == []
    assert n_killed >= 0.98 * len(place[2])  # a call may come once less in another run


def cut_at(forks, place, most_bytes, *, torn):
    """What did not hold after an ingest whose files could not become longer than that, and whether it was too short."""
    store, root, _, originals, holds = place
    hit = copied(store, root / "hit")
    try:
        ended = forks.run(hit.root, most_bytes=most_bytes, torn=torn)
        was_hit = ended["ended"] != 0 or any(not said.startswith(DONE) for said in ended.get("states", {}).values())
        found = broken_at_once(hit, originals)
        for refused in custody.refused(hit):  # at every attempt: a person makes room and asks for another
            found += [] if durable_said(refused.reason) else [f"does not say that it is the disk: {refused.reason}"]
            custody.release(hit, refused.id)
        found += broken_after_restart(hit, originals, SESSION, holds)
        return was_hit, [f"{most_bytes} bytes, torn {torn}: {what}" for what in found]
    finally:
        shutil.rmtree(hit.root)


def durable_said(reason):
    return re.search(r"Errno 27|errno = 27|File too large|OSError\(27", reason)


def cut_through(forks, place, sizes):
    outcomes = [cut_at(forks, place, size, torn=torn) for size in sizes for torn in (False, True)]
    return sum(hit for hit, _ in outcomes), [what for _, found in outcomes for what in found]


@pytest.fixture(scope="module")
def longest(place):
    """Bytes of the longest file that an ingest writes."""
    written = [path for path in (place[1] / "whole").rglob("*") if path.is_file()]
    return max(path.stat().st_size for path in written)


def test_short_and_torn_writes_break_no_promise(forks, place, longest, tell):
    sizes = [longest // 3, longest - 1]
    n_hit, found = cut_through(forks, place, sizes)
    tell(f"short and torn writes: {2 * len(sizes)}, {n_hit} ended the work, {len(found)} violations")
    assert found == []
    assert n_hit >= len(sizes)


@pytest.mark.trust
def test_short_and_torn_writes_at_every_length_break_no_promise(forks, place, longest, tell):
    sizes = range(1, longest, max(1, longest // N_CUTS))
    n_hit, found = cut_through(forks, place, sizes)
    tell(f"short and torn writes, all: {2 * len(sizes)}, {n_hit} ended the work, {len(found)} violations")
    assert found == []


@pytest.mark.trust
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_after_an_error_at_every_call_that_changes_a_file_the_promises_hold(forks, place, tell, error):
    n_raised, found = run_through(forks, place, f"error={error}", place[2])
    tell(f"{error}, all: {len(place[2])} calls, {n_raised} ended the process's work, {len(found)} violations")
    assert found == []


def test_after_an_error_at_some_calls_the_promises_hold(forks, place, tell):
    points = place[2][1 :: max(1, len(place[2]) // SAMPLE)]
    n_raised, found = run_through(forks, place, "error=ENOSPC", points)
    tell(
        f"ENOSPC: {len(points)} of {len(place[2])} calls, {n_raised} ended the process's work, {len(found)} violations"
    )
    assert found == []
