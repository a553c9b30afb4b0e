"""WHEN, WHERE, HOW OFTEN: the only folder that may import Prefect."""

import os

# Nothing that is published or dropped is written to while it is read, and many network mounts refuse locks. Said before
# HDF5 is loaded; the boxes that readers run in have the same environment. Code that imports the library is left alone.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")

# Threads of torch wait for each other by turning round and round, for about a millisecond by default: on a machine that
# does something else, too, a small network takes several times as long to train. Said before torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
