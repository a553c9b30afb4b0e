"""A process that has imported everything and forks a child per request, so that a fault costs a fork and no import.

stdin    {"store", "then"}: a child is forked and said to be there; "go": it ingests what lies in the inbox of the store
stdout   {"pid"}, then of the child {"states"}, then {"ended": its status}; negative: the signal

then: "ingest", or "write" for `durable.write_bytes` of 64 kB, or "train" for none of this. Run as a script, alone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def line() -> str:
    """A line of stdin, by single bytes: what follows is the child's."""
    found = b""
    while not found.endswith(b"\n"):
        if not (byte := os.read(0, 1)):
            return ""
        found += byte
    return found.decode()


def tell(**said: object) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


def ingest(store: str) -> dict[str, str]:
    from harness import Inbox

    from neuroloom.pipeline.store import Store

    inbox = Inbox(Store(Path(store)))
    return {name: f"{drop.state} {drop.reason}" for name, drop in inbox.look().items()}


def main() -> None:
    import harness  # noqa: F401  (before the first fork)
    import scipy.signal  # noqa: F401

    from neuroloom.ingest.formats import formats
    from neuroloom.pipeline import making  # noqa: F401

    formats()
    tell(ready=os.getpid())
    while request := line():
        pid = os.fork()
        if pid == 0:
            tell(pid=os.getpid())
            line()
            status = 1
            try:
                tell(states=ingest(json.loads(request)["store"]))
                status = 0
            except BaseException as error:  # noqa: BLE001 - the fork must never run on into its parent's loop
                tell(raised=f"{type(error).__name__}: {error}")
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        tell(ended=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
