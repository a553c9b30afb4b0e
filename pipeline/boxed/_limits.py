"""Limits of this process: for what runs in a box, what is sorted there, and what must not outlive its parent."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PARENT_DEATH = 1  # prctl


def data_bytes() -> int:
    """What counts against RLIMIT_DATA now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0


def limit(what: int, soft: int, hard: int) -> None:
    """Set a limit, or the highest that this process may set."""
    _, highest = resource.getrlimit(what)
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    resource.setrlimit(what, (soft, hard))


@contextmanager
def memory_for_sorting() -> Iterator[None]:
    """While spikes are sorted, memory is limited by `[box] sorting_mb`; outside a box nothing changes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def end_with_parent(by: int = signal.SIGKILL) -> None:
    """From now on this process gets a signal when the thread that started it ends; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH, int(by))
