"""Programs of ours that train, side by side on this machine: started here, watched by whoever started them.

Design rationale: programs, not forks or a pool. A fork of a process with torch's threads may hang, and recordings that
are mapped into memory would be copied whole; what is sent is a request as JSON. Ctrl-C reaches the process that started
them alone, which ends them at once; a pool whose workers got it too waited for them for ever.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from neuroloom.ingest.words import visible
from neuroloom.pipeline.boxed._limits import end_with_parent

LOOK_EVERY_S = 0.1
END_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Started:
    """A process that was started. words: what it has written to its standard error."""

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


@contextmanager
def started(
    module: str, requests: Mapping[int, Any], environments: Mapping[int, Mapping[str, Any]] | None = None
) -> Iterator[list[Started]]:
    """A process of that module for each request, which comes to it on its standard input; they end with the context.

    Both by a process's number. The cores are shared among them where the environment does not say otherwise.
    """
    share = {"OMP_NUM_THREADS": max(1, (os.cpu_count() or 1) // max(1, len(requests)))}
    with ExitStack() as stack:
        found: list[Started] = []
        stack.callback(_end_all, found)
        for number, request in requests.items():
            words = stack.enter_context(tempfile.TemporaryFile())
            environment = {**share, **os.environ, **(environments or {}).get(number, {})}
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=words,
                env={name: str(value) for name, value in environment.items()},
                start_new_session=True,  # Ctrl-C is for this process, which ends them
                preexec_fn=end_with_parent,  # from the start: importing torch takes seconds
            )
            found.append(Started(number=number, process=process, words=words))
            with suppress(BrokenPipeError), process.stdin:  # type: ignore[union-attr]
                process.stdin.write(json.dumps(request).encode())  # type: ignore[union-attr]
        yield found


def request() -> Any:
    """In such a process: what it was asked for."""
    return json.loads(sys.stdin.buffer.read())


def _end_all(processes: Sequence[Started]) -> None:
    """By force where they do not end by themselves."""
    for one in processes:
        one.process.terminate()
    ends_s = time.monotonic() + END_S
    for one in processes:
        try:
            one.process.wait(max(0.0, ends_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
