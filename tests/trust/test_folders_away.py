"""A folder of the store vanishes, or becomes read-only, while drops wait in the inbox; then it is as it was.

Root, who may write anywhere, gives that up for as long as a folder is read-only.
"""

import ctypes
import os
from collections import Counter
from contextlib import contextmanager
from typing import ClassVar

import pytest

from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED
from neuroloom.pipeline.store import Store, StoreAwayError

from .harness import Inbox
from .test_soak import broken, recording

FOLDERS = ("inbox", "sessions", "originals", "quarantine")
CAP_DAC_OVERRIDE = 1 << 1
CAPABILITIES_V3 = 0x20080522


class Capabilities(ctypes.Structure):
    _fields_: ClassVar = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


@contextmanager
def like_anybody():
    """Permissions hold for this thread, and those it starts, also where root runs it."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0)
    sets = (Capabilities * 2)()
    assert libc.capget(header, sets) == 0
    was = sets[0].effective
    sets[0].effective = was & ~CAP_DAC_OVERRIDE
    assert libc.capset(header, sets) == 0
    yield
    sets[0].effective = was
    assert libc.capset(header, sets) == 0


@pytest.fixture
def inbox(tmp_path):
    """A good drop and a broken one; each may be tried twice."""
    found = Inbox(Store(tmp_path / "store").create())
    found.put("good", recording(1))
    found.put("broken", broken)
    yield found
    found.catalog.close()


@contextmanager
def vanished(folder):
    away = folder.with_name(f"{folder.name}-away")
    folder.rename(away)
    yield "is not there"
    away.rename(folder)


@contextmanager
def read_only(folder):
    folders = [folder, folder / ".staging"] if folder.name == "sessions" else [folder]
    for one in folders:
        one.chmod(0o555)
    with like_anybody():
        yield "cannot be written to"
    for one in folders:
        one.chmod(0o755)


def ends_well(inbox):
    drops = {name: drop.state for name, drop in inbox.look().items()}
    assert drops == {"good": DONE, "broken": QUARANTINED}
    store = inbox.store
    kept = [path for place in (store.originals, store.quarantine) for path in place.glob("*/files/**/*.vhdr")]
    assert Counter(path.parent.name for path in kept) == {"good": 1, "broken": 1}
    assert [len(store.versions(session)) for session in store.session_ids()] == [1]
    assert os.listdir(store.inbox) == []


@pytest.mark.parametrize("fault", [vanished, read_only])
@pytest.mark.parametrize("name", FOLDERS)
def test_drops_wait_for_a_folder_and_go_on_when_it_is_back(inbox, name, fault):
    with fault(inbox.store.root / name) as words:
        for _ in range(5):
            with pytest.raises(StoreAwayError, match=f"/{name}.*: {words}; drops wait until it is as it was"):
                inbox.reconciler.step()
    ends_well(inbox)


@pytest.mark.parametrize("fault", [vanished, read_only])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_goes_while_a_drop_is_worked_on_costs_one_attempt(inbox, name, fault):
    works = inbox.reconciler.submit

    def while_it_works(drops):
        with fault(inbox.store.root / name):
            works(drops)

    inbox.reconciler.submit = while_it_works
    inbox.reconciler.step()
    inbox.reconciler.submit = works
    ends_well(inbox)
