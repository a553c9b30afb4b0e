"""Faults from outside: a signal or an error at one system call of an ingest, by strace; nothing in the code is mocked.

with Forks() as forks:
    calls = forks.watched(store)                      calls that change files, in order
    forks.run(store, inject="pwrite64:signal=SIGKILL:when=3")
    forks.killed_after(1.7, store, "go on")
    forks.run(store, most_bytes=4097, torn=True)      killed at the first write beyond, which has begun
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

CHANGING = (
    "openat", "write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate", "fsync", "fdatasync", "rename",
    "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "link", "linkat", "symlink",
    "symlinkat", "chmod", "fchmod", "utimensat", "copy_file_range", "sendfile",
)  # fmt: skip
READING = ("openat", "read", "pread64", "lseek", "newfstatat", "mmap")
OPENS_FOR_WRITING = re.compile(r"O_CREAT|O_TRUNC")


def can_trace() -> str:
    """Why strace cannot be used here; "" where it can."""
    if shutil.which("strace") is None:
        return "no strace here (Debian: strace); kills and errors at system calls are left out"
    tried = subprocess.run(
        ["strace", "-e", "trace=openat", "-e", "inject=openat:signal=SIGKILL:when=1", "true"], capture_output=True
    )
    return "" if tried.returncode == -9 else "strace may not trace here; kills at system calls are left out"


class Call(NamedTuple):
    """A system call: its name, its number among those of its name, the open file it is of, and what it gave."""

    name: str
    number: int
    file: str
    gave: int


@dataclass
class Forks:
    """`forking.py`, and a tracer for each of its children."""

    process: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("forking.py")
        self.process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert "ready" in self._reply()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(20)
        self.process.stdout.close()  # type: ignore[union-attr]

    def watched(self, place: Path, then: str = "ingest") -> list[Call]:
        """The calls of an ingest that change files, in order."""
        with tempfile.NamedTemporaryFile("r") as log:
            assert self.run(place, then, log=log.name)["ended"] == 0
            return changing_calls(log.read())

    def run(
        self,
        place: Path,
        then: str = "ingest",
        *,
        inject: str = "",
        log: str = "",
        most_bytes: int | None = None,
        torn: bool = False,
    ) -> dict[str, Any]:
        """One piece of work; what was said of it, and {"ended"}. See `forking.py`; inject: as strace has it."""
        self._send(json.dumps({"place": str(place), "then": then, "most_bytes": most_bytes, "torn": torn}))
        pid = self._reply()["pid"]
        tracer = tracer_of(pid, inject=inject, log=log) if inject or log else None
        self._send("go")
        found: dict[str, Any] = {}
        while "ended" not in found:
            found |= self._reply()
        if tracer is not None:
            tracer.communicate(timeout=30)
        return found

    def killed_after(self, seconds: float, place: Path, then: str) -> None:
        """Work that is killed after so long, wherever it is."""
        self._send(json.dumps({"place": str(place), "then": then, "most_bytes": None, "torn": False}))
        pid = self._reply()["pid"]
        self._send("go")
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        found: dict[str, Any] = {}
        while "ended" not in found:
            found |= self._reply()
        assert found["ended"] == -signal.SIGKILL, found

    def _send(self, text: str) -> None:
        self.process.stdin.write(text.encode() + b"\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def _reply(self) -> dict[str, Any]:
        said = self.process.stdout.readline()  # type: ignore[union-attr]
        assert said, "the process that forks has ended"
        return dict(json.loads(said))


def changing_calls(log: str, *, reads: bool = False) -> list[Call]:
    """The calls that change files, in order, of what strace wrote. reads: all that it wrote."""
    n_seen: Counter[str] = Counter()
    calls = []
    for line in log.splitlines():
        if (call := re.match(r"(?:\d+ +)?(\w+)\(", line)) is None:
            continue
        n_seen[call[1]] += 1
        if reads or call[1] != "openat" or OPENS_FOR_WRITING.search(line):
            file, gave = re.match(r"\w+\(\d+<([^>]*)>", line), re.search(r"= (\d+)$", line)
            calls.append(Call(call[1], n_seen[call[1]], file[1] if file else "", int(gave[1]) if gave else -1))
    return calls


def tracer_of(pid: int, *, inject: str = "", log: str = "", calls: Sequence[str] = CHANGING) -> subprocess.Popen[bytes]:
    """A tracer that has hold of a process and ends with it. inject: as strace has it; log: a file for its calls."""
    traced = inject.split(":")[0] if inject else ",".join(calls)
    command = ["strace", "-y", "-o", log or os.devnull, "-e", f"trace={traced}"]
    command += [*(["-e", f"inject={inject}"] if inject else []), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    assert b"attached" in said, said
    return tracer
