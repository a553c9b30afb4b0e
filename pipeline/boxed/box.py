"""A box for what nobody can trust: files of others, read by readers of others.

    with box_of(store, settings) as box:
        made = box.call(making.made, {"part": ...}, readable=[...])

The call runs in a child process, forked per call from a process that has imported everything already. The child

    reads      what is named, published sessions, this installation, the system's libraries    (Landlock)
    writes     into the box's scratch folder, nothing else; no signals to others               (Landlock)
    calls      nobody: no sockets of any kind                                                  (seccomp)
    has        so much memory, CPU time, open files and wall time, and then ends                (limits)
    gives      JSON through a pipe, never a pickle

A child that crashes, hangs or wants too much is a BoxError with the reason; this process and the next call go on.
Where the kernel has no Landlock the limits still hold, and that is said once.

Design rationale: the whole way from files to a staged session runs inside, since readers are lazy: samples are decoded
while the session is written. What comes out is checked and published outside. To give a trusted reader more (a vendor's
library in /opt, more memory), name the folders in `[box] readable` of neuroloom.toml, or raise a limit there; `on =
false` leaves the box out, for readers that must call a licence server.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol, Self

from neuroloom.pipeline.boxed import _landlock
from neuroloom.pipeline.boxed._talk import Lines, told
from neuroloom.pipeline.settings import BoxSettings
from neuroloom.pipeline.store import Store

Progress = Callable[[str], None]
_PREFIX = "box-"
LOG = "log.txt"  # what a child prints, in the scratch folder
FOR_INBOX = ("neuroloom.pipeline.boxed.sniffing", "h5py", "hdf5plugin")
# What nearly every drop needs: imported once, where each child would do so anew.
FOR_SESSIONS = (
    "neuroloom.pipeline.drops.making", "neuroloom.pipeline.clocks.crosschecks", "neuroloom.ingest.eeg_artefacts",
    "neuroloom.ingest.gaze_events", "neuroloom.ingest.gaze_geometry", "neuroloom.ingest.lfp",
    "neuroloom.ingest.quality", "neuroloom.ingest._session_write",
    "h5py", "hdf5plugin", "isal.igzip_lib", "mne.channels.montage", "probeinterface", "pydantic.dataclasses", "pynwb",
    "scipy.signal",
)  # fmt: skip
OPEN_FILES = 4096  # at once, of a child
LOG_BYTES = 2000  # of what a child printed, where it ended without a word
SECONDS_TO_START, SECONDS_TO_END = 120.0, 5.0


class BoxError(RuntimeError):
    """What ran in the box ended without a result: it crashed, hung or wanted too much. The message says which."""


class BoxAwayError(BoxError):
    """There is no box: it did not start, or ended before the call. No fault of what was to be read."""


class BrokenReaderError(BoxError):
    """A reader crashed, hung or wanted too much memory, as it will again: its own fault or its file's."""


class HungError(BrokenReaderError):
    """What ran in the box was not done in time, and was stopped."""


class RefusedError(ValueError):
    """What ran in the box refused its input, in words a person can act on: FormatError and its like."""


class Inside(Protocol):
    """Where files are read: in a box, or in this process."""

    def call(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        *,
        readable: Iterable[Path] = (),
        listable: Iterable[Path] = (),
        n_bytes: int = 0,
        seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Any: ...

    def workplace(self, store: Store) -> AbstractContextManager[Path]: ...


class Unboxed:
    """Calls in this process: for files that are one's own, and where a box was left out on purpose."""

    def call(
        self, function: Callable[..., Any], arguments: Mapping[str, Any], *, progress: Progress | None = None, **_: Any
    ) -> Any:
        """What the function gives, or raises."""
        return function(**arguments, progress=progress or (lambda _: None))

    @contextmanager
    def workplace(self, store: Store) -> Iterator[Path]:
        """A new folder where the call may write, removed afterwards."""
        yield from _new_folder(store.staging)


@contextmanager
def box_of(store: Store, settings: BoxSettings, *, for_inbox: bool = False) -> Iterator[Inside]:
    """The box that a store's settings ask for, with a scratch folder among what is staged; removed afterwards.

    for_inbox: only what lies in the inbox is told apart there; it may not read what is published.
    """
    if not settings.on:
        yield Unboxed()
        return
    sweep(store)
    scratch = store.staging / f"{_PREFIX}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    scratch.mkdir(parents=True)
    published = () if for_inbox else (store.sessions, store.settings_file, store.subjects_file, store.secret_file)
    try:
        readable = [*published, *map(Path, settings.readable)]
        if for_inbox:  # started by the first file that comes, if one comes
            with closing(Box(scratch, settings, readable=readable, early=FOR_INBOX)) as box:
                yield box
        else:
            with Box(scratch, settings, readable=readable) as box:
                yield box
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def sweep(store: Store) -> None:
    """Remove what boxes of this machine left that were killed."""
    for folder in store.staging.glob(f"{_PREFIX}{socket.gethostname()}-*"):
        pid = folder.name.split("-")[-2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _new_folder(parent: Path) -> Iterator[Path]:
    folder = parent / f"made-{secrets.token_hex(6)}"
    folder.mkdir()  # in a store that is there, and not beneath one that is mounted again later
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Box:
    """A process that forks a confined child per call; see the head of this file.

    scratch: an existing folder, the only one a child may write to. early: modules imported before the first call.
    """

    def __init__(
        self,
        scratch: Path,
        settings: BoxSettings,
        *,
        readable: Iterable[Path] = (),
        early: Sequence[str] = FOR_SESSIONS,
    ) -> None:
        self.scratch = scratch
        self._early = early
        self.settings = settings
        self._readable = [str(path) for path in readable]
        self._process: subprocess.Popen[bytes] | None = None
        self._replies = -1
        self._lines: Lines
        self._unread: deque[bytes] = deque()
        self._log_from = 0
        self._is_ready = False

    def __enter__(self) -> Self:
        self._start()  # in this thread, which outlives it: the kernel ends it with the thread that started it
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        *,
        readable: Iterable[Path] = (),
        listable: Iterable[Path] = (),
        n_bytes: int = 0,
        seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """What `function(**arguments, progress=...)` gives, all of it JSON. function: of a module's top level.

        readable: files and folders; listable: folders whose names may be read, not their files. n_bytes: of the input.
        seconds: of wall time, by `n_bytes` where None.
        Raises RefusedError with the text of a ValueError or OSError it raised, BoxError where it ended without a word.
        """
        if self._process is None:
            self._start()
        seconds = self.settings.seconds(n_bytes) if seconds is None else seconds
        request = {
            "function": f"{function.__module__}:{function.__qualname__}",
            "arguments": dict(arguments),
            "readable": [*self._readable, *(str(path) for path in readable)],
            "listable": [str(path) for path in listable],
            "scratch": str(self.scratch),
            "limits": {
                "memory_bytes": self.settings.memory_mb << 20,
                "sorting_bytes": self.settings.sorting_mb << 20,
                "open_files": OPEN_FILES,
                "cpu_s": int(seconds * (os.cpu_count() or 1)) + 1,
            },
        }
        if not self._is_ready:
            self._wait_until_ready()
        self._log_from = (self.scratch / LOG).stat().st_size
        self._send(request)
        return self._result(seconds, progress or (lambda _: None))

    @contextmanager
    def workplace(self, store: Store) -> Iterator[Path]:
        """A new folder where a call may write, removed afterwards; on the file system of the store where it is ours."""
        yield from _new_folder(self.scratch)

    def close(self) -> None:
        """End the process and all it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        os.close(self._replies)  # before the wait: it may be in the middle of a word
        self._unread.clear()
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        tell_once()
        theirs: int
        self._replies, theirs = os.pipe()
        self._lines = Lines(self._replies)
        environment = {
            **os.environ,
            **{name: str(self.scratch) for name in ("HOME", "TMPDIR", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "_MNE_HOME")},
        }
        with (self.scratch / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "neuroloom.pipeline.boxed._boxed", str(theirs), *self._early],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[theirs],
                env=environment,
                cwd=self.scratch,
            )
        os.close(theirs)
        self._is_ready = False

    def _wait_until_ready(self) -> None:
        try:
            self._is_ready = self._reply(SECONDS_TO_START) is not None
        except BoxError as error:
            raise BoxAwayError(f"the box did not start ({self._last_words()})") from error
        if not self._is_ready:
            self.close()
            raise BoxAwayError(f"the box was not ready after {SECONDS_TO_START:.0f} s ({self._last_words()})")

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            self.close()
            raise BoxAwayError(f"the box ended before the call ({self._last_words()})") from error

    def _result(self, seconds: float, progress: Progress) -> Any:
        """Read replies until the child has ended. One that does not end in time is stopped, the whole box with it."""
        words: dict[str, Any] = {}
        end = time.monotonic() + seconds
        while "ended" not in words:
            reply = self._reply(end - time.monotonic())
            if reply is None or time.monotonic() > end:  # one may talk without a pause
                self._stop(words.get("started"))
                raise HungError(f"not done after {seconds:.0f} s; it was stopped")
            if isinstance(said := reply.get("said"), str):
                progress(said)
            else:
                words |= reply
        if words["ended"] == 0 and "refused" in words:
            raise RefusedError(str(words["refused"]))
        if words["ended"] == 0 and "gave" in words:
            return words["gave"]
        if "wanted" in words:
            raise (BoxError if words.get("of_disk") else BrokenReaderError)(str(words["wanted"]))
        raise (BrokenReaderError if words["ended"] < 0 else BoxError)(_ending(words["ended"], self._last_words()))

    def _stop(self, pid: int | None) -> None:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self.close()

    def _reply(self, seconds: float) -> dict[str, Any] | None:
        """The next line, None where none came in time. Raises BoxError where the box is gone."""
        end = time.monotonic() + seconds
        while not self._unread:
            if not self._lines.is_open:
                self.close()
                raise BoxError(f"the box ended in the middle of the call ({self._last_words()})")
            lines = self._lines.come(end - time.monotonic())
            if lines is None:
                return None
            self._unread.extend(lines)
        try:
            return told(self._unread.popleft())
        except (ValueError, RecursionError) as error:
            self.close()
            raise BoxError("what came out of the box is not what a box says") from error

    def _last_words(self) -> str:
        """The last line that was printed since the call."""
        with (self.scratch / LOG).open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - LOG_BYTES, self._log_from))
            lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else "it said nothing"


@cache
def tell_once() -> None:
    """Say where this kernel cannot confine a process."""
    if not _landlock.version():
        logging.getLogger("neuroloom").warning(
            "this kernel has no Landlock: readers of recordings are limited in memory and time, but not in what files "
            "they may open"
        )


def _ending(status: int, last_words: str) -> str:
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return f"the reader crashed ({name})"
    return f"the reader stopped ({last_words})"
