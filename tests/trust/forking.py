"""A process that has imported everything and forks a child per request, so that a fault costs a fork and no import.

stdin    {"place", "then", "most_bytes", "torn"}: a child is forked and said to be there; "go": it works
stdout   {"pid"}, then of the child {"states"} or {"raised"}, then {"ended": its status}; negative: the signal

then: what `scenes.WORK` names, in the store at `place`; "go on", its inbox is looked at over and over, until it is
    killed; "train", a short training in that folder.
most_bytes: no file can become longer, by the kernel: a write that reaches beyond it is short, and the next one fails,
    or, where `torn`, kills. Run as a script, alone.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


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
    """One ingest before the first fork: what is imported or kept then, no fork has to."""
    from tests.trust import scenes

    with tempfile.TemporaryDirectory() as folder:
        scenes.ingest(scenes.laid_out(scenes.SCENES["one"], Path(folder) / "store"))
    freeze()


def freeze() -> None:
    """What is there by now is looked through by no collection of garbage any more, so that no fork copies it."""
    gc.collect()
    gc.freeze()


def work_of(name: str) -> Callable[[str], dict[str, str]]:
    def done(place: str) -> dict[str, str]:
        from tests.trust import scenes

        return scenes.WORK[name](scenes.Store(Path(place)))

    return done


def go_on(place: str) -> dict[str, str]:
    from neuroloom.pipeline.store import Store
    from tests.trust.harness import SOAK, Inbox

    inbox = Inbox(Store(Path(place)), settings=SOAK, owner=f"run {os.getpid()}")
    while True:
        inbox.look()
        time.sleep(0.05)


def ready_to_train() -> None:
    """One training before the first fork: all that it imports takes 3 s, and the training itself 0.1 s."""
    from tests.trust import short_training

    with tempfile.TemporaryDirectory() as folder:
        short_training.trained(Path(folder) / "run")
    freeze()


def train(place: str) -> dict[str, str]:
    from tests.trust import short_training

    return {"losses": repr(short_training.trained(Path(place)))}


OTHERS = {"go on": (ready_to_ingest, go_on), "train": (ready_to_train, train)}


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
        prepare, work = OTHERS.get(request["then"], (ready_to_ingest, work_of(request["then"])))
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
