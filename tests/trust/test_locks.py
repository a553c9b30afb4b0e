"""A file system without locks, as many network mounts are: recordings are ingested, sessions read and verified.

strace refuses every `flock`, which is how HDF5 locks what it opens.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import faults

GAZE = next((Path(__file__).parents[2] / "sample_data" / "person").glob("*_gaze.asc"))
UNSAID = {key: value for key, value in os.environ.items() if key != "HDF5_USE_FILE_LOCKING"}
OPENED = "from neuroloom.ingest import Session; print(Session.open({!r}).subject)"

pytestmark = pytest.mark.skipif(bool(faults.can_trace()), reason=faults.can_trace() or "it may")


def without_locks(*arguments, **said):
    tracer = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK"]
    command = [*tracer, sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=UNSAID | said, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store into which a recording was ingested where locks are refused."""
    root = tmp_path_factory.mktemp("locks")
    shutil.copy(GAZE, root)
    command = ("-m", "neuroloom.flows.main", "ingest", root / GAZE.name, "--no-pages", "--store", root / "store")
    done = without_locks(*command)
    assert done.returncode == 0, done.stderr + done.stdout
    return root / "store"


def test_what_was_ingested_without_locks_is_found_sound_without_them(store):
    done = without_locks("-m", "neuroloom.flows.main", "verify", "--store", store)
    assert done.returncode == 0, done.stderr + done.stdout


def test_from_code_the_setting_is_asked_for_by_name_and_is_enough(store):
    (session,) = (store / "sessions").glob("sub-*/v001")
    refused = without_locks("-c", OPENED.format(str(session)))
    assert "its file system refuses locks; HDF5_USE_FILE_LOCKING=FALSE reads without them" in refused.stderr
    opened = without_locks("-c", OPENED.format(str(session)), HDF5_USE_FILE_LOCKING="FALSE")
    assert opened.stdout.strip() == "sample", opened.stderr


def test_who_wants_locks_has_them(store):
    kept = without_locks("-c", "import os, neuroloom.flows; print(os.environ['HDF5_USE_FILE_LOCKING'])",
                         HDF5_USE_FILE_LOCKING="TRUE")  # fmt: skip
    assert kept.stdout.strip() == "TRUE"
