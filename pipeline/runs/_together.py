"""One training in several processes of this machine: started here, ended together, told of by the first one's metrics.

Every process reads the same sessions and makes the same network from the same config; see `_trainer.py` for what they
do. This process only watches: whoever calls may do so in a thread, and several trainings may be watched at once.

Design rationale: programs, not forks or pickled arguments. A fork of a process with torch's threads may hang, and
recordings that are mapped into memory would be copied whole; what is sent is the config as JSON. They meet at a port
of 127.0.0.1 which is bound here before they start, so no other program can take it in between.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from neuroloom.ingest.words import visible
from neuroloom.pipeline.boxed._limits import end_with_parent
from neuroloom.pipeline.runs._runs import latest_rows, steps_done
from neuroloom.pipeline.runs.run_config import RunConfig
from neuroloom.pipeline.store import Store

REFUSED, LEFT = 3, 4  # exit status: what is wrong is said in the last line; another process has ended
LOOK_EVERY_S = 0.1
GRACE_S = 2.0  # in which others that fail with the first one may say why
END_S = 5.0
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"

Progress = Callable[[int, float], None]


@dataclass(frozen=True, kw_only=True)
class Started:
    """A process that was started. words: what it has written."""

    number: int
    process: subprocess.Popen[bytes]
    words: IO[bytes]

    def last_words(self) -> str:
        """The last line it wrote."""
        self.words.seek(0)
        lines = self.words.read().decode(errors="replace").split("\n")
        return visible(next((line.strip() for line in reversed(lines) if line.strip()), ""))

    def ending(self) -> str:
        """How it ended."""
        status = self.process.returncode
        if status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return f"failed: {self.last_words() or f'exit status {status}'}"

    def rank(self) -> int:
        """How much its ending explains, the most first: what is refused, a signal, an error, that another has ended."""
        status = self.process.returncode
        return {REFUSED: 0, LEFT: 3}.get(status, 1 if status < 0 else 2)


def train_together(config: RunConfig, store: Store, folder: Path, n: int, tell: Progress) -> None:
    """Train in a folder with `n` processes, to the end. Raises ValueError for what they refuse or die of."""
    request = {"store": str(store.root), "folder": str(folder), "config": json.loads(config.model_dump_json())}
    with _meeting_point(n) as port, _started(n, port, request) as processes:
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
    first = min(failed, key=Started.rank)
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


@contextmanager
def _started(n: int, port: int, request: Any) -> Iterator[list[Started]]:
    """The processes; they have ended with the context."""
    with ExitStack() as stack:
        found: list[Started] = []
        stack.callback(end_all, found)
        for number in range(n):
            words = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "neuroloom.pipeline.runs._together"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=words,
                env=_environment(number, n, port),
                start_new_session=True,  # Ctrl-C is for this process, which ends them
                preexec_fn=end_with_parent,  # from the start: importing torch takes seconds
            )
            found.append(Started(number=number, process=process, words=words))
            with suppress(BrokenPipeError), process.stdin:  # type: ignore[union-attr]
                process.stdin.write(json.dumps(request).encode())  # type: ignore[union-attr]
        yield found


def _environment(number: int, n: int, port: int) -> dict[str, str]:
    """As `torchrun` has it. The cores are shared, and what they tell each other stays in this machine."""
    share = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // n)), "GLOO_SOCKET_IFNAME": LOOPBACK}
    place = {"RANK": number, "LOCAL_RANK": number, "GROUP_RANK": 0, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": True}
    return {**share, **os.environ, **{name: str(value) for name, value in {**place, **meet}.items()}}


def end_all(processes: Sequence[Started]) -> None:
    """End them, by force where they do not end by themselves."""
    for one in processes:
        one.process.terminate()
    ends_s = time.monotonic() + END_S
    for one in processes:
        try:
            one.process.wait(max(0.0, ends_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()


def main() -> int:
    """One of the processes; what it is asked for comes as JSON on standard input."""
    from neuroloom.pipeline.runs.running import train_here

    request = json.loads(sys.stdin.buffer.read())
    try:
        train_here(RunConfig.model_validate(request["config"]), Store(Path(request["store"])), Path(request["folder"]))
    except (ValueError, LookupError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return REFUSED
    except ConnectionError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return LEFT
    return 0


if __name__ == "__main__":
    sys.exit(main())
