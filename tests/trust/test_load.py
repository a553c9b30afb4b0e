"""Ten thousand recordings at once: each is told apart and read in a box, and comes to its end once.

NEUROLOOM_LOAD says how many `make check-trust` drops, 10,000 where it says nothing: an hour or more.
"""

import os
import resource
import time
from collections import Counter

import pytest

from neuroloom.pipeline.catalog.tables import DONE

from .harness import inbox_of
from .test_soak import recording

N_DROPS = int(os.environ.get("NEUROLOOM_LOAD", "10000"))
MOST_MIB = 512


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("n_drops", [8, pytest.param(N_DROPS, marks=pytest.mark.trust)])
def test_many_recordings_at_once_are_each_ingested_once(tmp_path, tell, n_drops):
    with inbox_of(tmp_path) as inbox:
        for number in range(n_drops):
            inbox.put(f"drop{number:05d}", recording(number))
        before_mib, began_s = peak_mib(), time.monotonic()
        drops = inbox.look()
        took_s, added_mib = time.monotonic() - began_s, peak_mib() - before_mib
        store = inbox.store
        assert os.listdir(store.inbox) == []
    assert Counter(drop.state for drop in drops.values()) == {DONE: n_drops}
    assert {drop.attempts for drop in drops.values()} == {1}
    assert {len(store.versions(session)) for session in store.session_ids()} == {1}
    assert len(store.session_ids()) == len(list(store.originals.glob("*/drop.json"))) == n_drops
    assert added_mib < MOST_MIB
    tell(f"load: {n_drops} recordings at once in {took_s:.0f} s, {added_mib:.0f} MiB more in the process that looks")
