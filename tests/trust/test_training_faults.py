"""Killed, or refused by the disk, at any call that changes a file, a training goes on to the same numbers."""

import re
import shutil

import pytest

from neuroloom.pipeline.runs.run_files import CHECKPOINT, read_checkpoint, steps_done

from .faults import can_trace
from .short_training import EVERY, trained

SAMPLE = 2
KILL = "signal=SIGKILL"
TRUE = {KILL: "nobody is told", "error=EIO": r"Errno 5\b|Input/output", "error=ENOSPC": r"Errno 28\b|No space left"}
pytestmark = pytest.mark.skipif(bool(can_trace()), reason=can_trace() or "-")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, forks):
    """The losses of a training that nothing disturbed, and the calls it makes; the first call is of no training."""
    root = tmp_path_factory.mktemp("training")
    calls = forks.watched(root / "watched", "train")
    return trained(root / "whole"), calls, root


def broken(forks, whole, fault, call, number):
    """Whether the fault ended the training, and what did not hold after it and after going on."""
    losses, _, root = whole
    hit, where = root / "hit", f"{fault} at {call} {number}"
    ended = forks.run(hit, "train", inject=f"{call}:{fault}:when={number}")
    try:
        found, kept = [], 0
        if "raised" in ended and not re.search(TRUE[fault], ended["raised"]):
            found.append(f"{where}: is not what happened: {ended['raised']}")
        if (hit / CHECKPOINT).is_file():
            kept = read_checkpoint(hit)["step"]  # raises where it is not whole
        done = steps_done(hit)
        if done - kept > EVERY:
            found.append(f"{where}: {done} steps were done and {kept} are kept")
        again = trained(hit)
        if again != losses:
            found.append(f"{where}: {again} are not {losses}")
        return ended["ended"] != 0, found
    finally:
        shutil.rmtree(hit, ignore_errors=True)


def run_through(forks, whole, fault, points):
    outcomes = [broken(forks, whole, fault, call, number) for call, number, *_ in points]
    return sum(ended for ended, _ in outcomes), [what for _, found in outcomes for what in found]


def test_a_training_killed_at_some_calls_goes_on_to_the_same_numbers(forks, whole, tell):
    points = whole[1][:: len(whole[1]) // SAMPLE]
    n_hit, found = run_through(forks, whole, KILL, points)
    tell(f"training, kills: {n_hit} of {len(points)} points of {len(whole[1])} calls, {len(found)} violations")
    assert found == []
    assert n_hit >= SAMPLE


@pytest.mark.trust
@pytest.mark.parametrize("fault", list(TRUE))
def test_a_training_disturbed_at_every_call_goes_on_to_the_same_numbers(forks, whole, tell, fault):
    n_hit, found = run_through(forks, whole, fault, whole[1])
    tell(f"training, {fault}: {len(whole[1])} calls, {n_hit} ended it, {len(found)} violations")
    assert found == []
