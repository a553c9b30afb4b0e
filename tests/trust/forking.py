"""A process that has imported everything and forks a child per request, so that a fault costs a fork and no import.

stdin    {"place", "then", "most_bytes", "torn"}: a child is forked and said to be there; "go": it works
stdout   {"pid"}, then of the child {"states"} or {"raised"}, then {"ended": its status}; negative: the signal

then: "ingest", what lies in the inbox of the store at `place`; "go on", the same over and over, until it is killed;
    "train", a short training in that folder.
most_bytes: no file can become longer, by the kernel: a write that reaches beyond it is short, and the next one fails,
    or, where `torn`, kills. Run as a script, alone.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
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


def ready_to_ingest() -> None:
    import harness  # noqa: F401  (before the first fork)
    import scipy.signal  # noqa: F401

    from neuroloom.ingest.formats import formats
    from neuroloom.pipeline import making  # noqa: F401

    formats()


def ingest(place: str) -> dict[str, str]:
    from harness import Inbox

    from neuroloom.pipeline.store import Store

    inbox = Inbox(Store(Path(place)))
    return {name: f"{drop.state} {drop.reason}" for name, drop in inbox.look().items()}


def go_on(place: str) -> dict[str, str]:
    from harness import SOAK, Inbox

    from neuroloom.pipeline.store import Store

    inbox = Inbox(Store(Path(place)), settings=SOAK, owner=f"run {os.getpid()}")
    while True:
        inbox.look()
        time.sleep(0.05)


def ready_to_train() -> None:
    import short_training

    short_training.ready()


def train(place: str) -> dict[str, str]:
    import short_training

    return {"losses": repr(short_training.trained(Path(place)))}


WORK = {"ingest": (ready_to_ingest, ingest), "go on": (ready_to_ingest, go_on), "train": (ready_to_train, train)}


def shortened(most_bytes: int, *, torn: bool) -> None:
    """No file of this process becomes longer; see the head of this file."""
    if torn:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def main() -> None:
    ready = set()
    tell(ready=os.getpid())
    while text := line():
        request = json.loads(text)
        prepare, work = WORK[request["then"]]
        if prepare not in ready:
            prepare()
            ready.add(prepare)
        pid = os.fork()
        if pid == 0:
            tell(pid=os.getpid())
            line()
            status = 1
            try:
                if request["most_bytes"] is not None:
                    shortened(request["most_bytes"], torn=request["torn"])
                tell(states=work(request["place"]))
                status = 0
            except BaseException as error:  # noqa: BLE001 - the fork must never run on into its parent's loop
                tell(raised=f"{type(error).__name__}: {error}")
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        tell(ended=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
