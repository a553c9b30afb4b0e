"""One training in several processes of this machine: started here, ended together, told of by the first one's metrics.

Every process reads the same sessions and makes the same network from the same config; see `_trainer.py` for what they
do. This process only watches: whoever calls may do so in a thread, and several trainings may be watched at once. They
meet at a port of 127.0.0.1 which is bound here before they start, so no other program can take it in between.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuroloom.pipeline.runs._processes import LOOK_EVERY_S, Started, request, started
from neuroloom.pipeline.runs.run_config import RunConfig
from neuroloom.pipeline.runs.run_files import latest_rows, steps_done
from neuroloom.pipeline.store import Store

REFUSED, LEFT = 3, 4  # exit status: what is wrong is said in the last line; another process has ended
MODULE = "neuroloom.pipeline.runs._together"
GRACE_S = 2.0  # in which others that fail with the first one may say why
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"

Progress = Callable[[int, float], None]


def train_together(config: RunConfig, store: Store, folder: Path, n: int, tell: Progress) -> None:
    """Train in a folder with `n` processes, to the end. Raises ValueError for what they refuse or die of."""
    asked = {"store": str(store.root), "folder": str(folder), "config": json.loads(config.model_dump_json())}
    numbers = range(n)
    with (
        _meeting_point(n) as port,
        started(MODULE, dict.fromkeys(numbers, asked), {k: _environment(k, n, port) for k in numbers}) as processes,
    ):
        _watch(processes, folder, tell)


def _watch(processes: Sequence[Started], folder: Path, tell: Progress) -> None:
    told = 0
    while any(one.process.poll() is None for one in processes):
        if any(one.process.poll() for one in processes):
            break
        told = _tell(folder, told, tell)
        time.sleep(LOOK_EVERY_S)
    ends_s = time.monotonic() + GRACE_S
    while any(one.process.poll() is None for one in processes) and time.monotonic() < ends_s:
        time.sleep(LOOK_EVERY_S)
    failed = [one for one in processes if one.process.poll()]
    if not failed:
        _tell(folder, told, tell)
        return
    first = min(failed, key=_rank)
    if first.process.returncode == REFUSED:
        raise ValueError(first.last_words())
    raise ValueError(
        f"process {first.number + 1} of {len(processes)} {first.ending()}; the others were ended, too, at step "
        f"{steps_done(folder)}; the same again goes on from the last checkpoint"
    )


def _tell(folder: Path, told: int, tell: Progress) -> int:
    """Tell of the latest step, where it is a new one."""
    row = next((row for row in reversed(latest_rows(folder)) if "loss" in row), None)
    if row is None or row["step"] <= told:
        return told
    tell(int(row["step"]), float(row["loss"]))
    return int(row["step"])


@contextmanager
def _meeting_point(n: int) -> Iterator[int]:
    """A port of this machine alone, at which `n` processes find each other."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        # It closes the socket it is given.
        store = TCPStore(
            "127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=os.dup(listening.fileno())
        )
        yield port
        del store


def _environment(number: int, n: int, port: int) -> dict[str, Any]:
    """As `torchrun` has it. What they tell each other stays in this machine."""
    place = {"RANK": number, "LOCAL_RANK": number, "GROUP_RANK": 0, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": True}
    return {"GLOO_SOCKET_IFNAME": LOOPBACK, **os.environ, **place, **meet}


def _rank(ended: Started) -> int:
    """How much its ending explains, the most first: what is refused, a signal, an error, that another has ended."""
    status = ended.process.returncode
    return {REFUSED: 0, LEFT: 3}.get(status, 1 if status < 0 else 2)


def main() -> int:
    """One of the processes; what it is asked for comes as JSON on standard input."""
    from neuroloom.pipeline.runs.running import train_here

    asked = request()
    try:
        train_here(RunConfig.model_validate(asked["config"]), Store(Path(asked["store"])), Path(asked["folder"]))
    except (ValueError, LookupError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return REFUSED
    except ConnectionError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return LEFT
    return 0


if __name__ == "__main__":
    sys.exit(main())
