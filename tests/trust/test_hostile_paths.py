"""Nothing outside a drop is read because the drop says so, with a box and without one."""

import os
import re

import h5py
import numpy as np
import pytest

from neuroloom.pipeline.boxed import _landlock
from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED

from . import hostile_paths as hostile
from .harness import CANARY, inbox_of, leaks, lines

CASES = {f.__name__: (lambda folder, outside, f=f: f(folder, outside)) for f in hostile.PLAIN_PATHS}
CASES |= {f.__name__: (lambda folder, outside, f=f: f(folder, outside)) for f in hostile.NO_PLAIN_FILES}
CASES |= {
    f"{form.__name__}_{way.__name__}": (lambda folder, outside, form=form, way=way: form(folder, outside, way))
    for form, way in hostile.HDF5
}
WHY = r"plain (file )?name|is a link|other files?|another file|device, pipe|invisible characters"
READ_HARMLESSLY = {"phy_samples_elsewhere"}  # the spikes are there, the samples that they were found in are not wanted


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    for name in hostile.OUTSIDE:
        (folder / name).write_bytes(CANARY)
    with h5py.File(folder / "canary.h5", "w") as file:
        file["values"] = np.frombuffer(CANARY[:160], "<f8").reshape(10, 2)
    return folder


@pytest.fixture(scope="module", params=["boxed", pytest.param("unboxed", id="unboxed")])
def looked(request, outside, tmp_path_factory):
    """Every case in one inbox, beside a good recording; what was said and printed."""
    with inbox_of(tmp_path_factory.mktemp("hostile"), boxed=request.param == "boxed") as inbox:
        for name, make in CASES.items():
            if name == "device" and os.geteuid():
                continue
            inbox.put(name, lambda folder, make=make: make(folder, outside))
        inbox.put("good", hostile.brainvision)
        yield inbox.store, inbox.look()


@pytest.mark.parametrize("name", CASES)
def test_a_drop_that_leads_elsewhere_is_refused_in_one_line_or_read_harmlessly(looked, name):
    _, drops = looked
    if name not in drops:
        pytest.skip("only root can make a device")
    drop = drops[name]
    assert drop.state == (DONE if name in READ_HARMLESSLY else QUARANTINED), drop.reason
    assert drop.attempts <= 1
    assert lines(drop.reason) == (0 if drop.state == DONE else 1)
    assert drop.state == DONE or re.search(WHY, drop.reason)


def test_the_good_recording_beside_them_is_ingested(looked):
    assert looked[1]["good"].state == DONE


def test_nothing_of_what_lies_outside_is_in_the_store(looked):
    store, drops = looked
    assert leaks(store, *[drop.reason for drop in drops.values()]) == []


def test_what_lies_outside_is_as_it_was(looked, outside):
    assert {path.name for path in outside.iterdir()} == set(hostile.OUTSIDE)
    assert all((outside / name).read_bytes() == CANARY for name in hostile.OUTSIDE if name != "canary.h5")


@pytest.mark.skipif(not _landlock.version(), reason="this kernel has no Landlock")
def test_the_canary_would_be_seen_where_it_is_read(tmp_path, outside):
    """The check itself: the same bytes dropped are found in what is published."""

    def make(folder):
        hostile.brainvision(folder)
        (folder / "x.eeg").write_bytes(CANARY)

    with inbox_of(tmp_path) as inbox:
        inbox.put("known", make)
        assert inbox.look()["known"].state == DONE
        assert any("session.nwb" in path for path in leaks(inbox.store))
