"""The inside of a box: one process that imports everything, forks a child per request, and confines the child.

stdin    one request a line, see `Box.call`
pipe     {"started": pid}  then of the child {"said"}, {"gave"} or {"refused"} or {"wanted"}  then {"ended": status}

A child has a pipe of its own, for one request: what it says is handed on with a mark before it. It can neither say that
it has ended, or that it is another process, nor leave a word for the next request.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import neuroloom
from neuroloom.ingest import durable
from neuroloom.pipeline.boxed import _landlock, _seccomp
from neuroloom.pipeline.boxed._limits import data_bytes, end_with_parent, limit
from neuroloom.pipeline.boxed._talk import OF_CHILD, Lines, write

SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sys/devices/system")
SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/fonts",
    "/etc/mime.types",
)
OWN_STATE = (
    "/proc/self",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/stat",
)  # no other process: its environment may hold secrets
DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero", "/dev/shm")
_SECONDS_BETWEEN_LOOKS = 0.1  # whether a child is over whose pipe another process holds open


def main() -> None:
    """Serve requests until stdin ends."""
    replies = int(sys.argv[1])
    end_with_parent()
    for name in sys.argv[2:]:
        importlib.import_module(name)
    from neuroloom.ingest.formats import formats

    formats()
    _tell(replies, {"ready": os.getpid()})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        heard, talk = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(heard)
            os.close(replies)
            _child(request, talk)
        os.close(talk)
        _tell(replies, {"started": pid})
        status = _hand_on(heard, replies, pid)
        os.close(heard)
        _tell(replies, {"ended": os.waitstatus_to_exitcode(status)})


def _hand_on(heard: int, replies: int, pid: int) -> int:
    """Hand on what a child says until it is over; gives its wait status. What it has started is ended with it."""
    lines, status = Lines(heard), None
    while status is None:
        _hand_on_lines(lines, replies, _SECONDS_BETWEEN_LOOKS)
        if lines.is_too_long:
            _end_group(pid)
        done, ended = os.waitpid(pid, os.WNOHANG if lines.is_open else 0)
        status = ended if done else None
    _end_group(pid)
    if lines.is_open:  # one block holds all that is left
        _hand_on_lines(lines, replies, 0.0)
    return status


def _hand_on_lines(lines: Lines, replies: int, seconds: float) -> None:
    for line in lines.come(seconds) or ():
        write(replies, OF_CHILD + line)


def _end_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _child(request: Mapping[str, Any], talk: int) -> None:
    """Run one request; never returns."""
    status = 1
    try:
        os.setpgid(0, 0)
        end_with_parent()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        _confine(request)
        _tell(talk, _outcome(request, lambda text: _tell(talk, {"said": text})))
        status = 0
    except BaseException as error:  # noqa: BLE001 - the fork must never run on into its parent's loop
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def _outcome(request: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    module, _, name = str(request["function"]).partition(":")
    function = getattr(importlib.import_module(module), name)
    try:
        return {"gave": function(**request["arguments"], progress=say)}
    except MemoryError:
        return {"wanted": f"wanted more than {request['limits']['memory_bytes'] >> 20} MiB of memory"}
    except PermissionError as error:
        return {"refused": _not_allowed(error, request)}
    except (ValueError, OSError) as error:
        if durable.is_of_disk(error):
            return {"wanted": f"wanted what the disk refuses: {error}", "of_disk": True}
        return {"refused": str(error) or type(error).__name__}


def _not_allowed(error: PermissionError, request: Mapping[str, Any]) -> str:
    path = Path(os.fsdecode(error.filename)) if error.filename else None
    if path is None or any(path.is_relative_to(folder) for folder in request["readable"]):
        return str(error)
    return f"{path}: its reader wanted to open it, which is no part of what was dropped"


def _confine(request: Mapping[str, Any]) -> None:
    limits = request["limits"]
    used = data_bytes()
    limit(
        resource.RLIMIT_DATA, used + limits["memory_bytes"], used + max(limits["sorting_bytes"], limits["memory_bytes"])
    )
    limit(resource.RLIMIT_CPU, limits["cpu_s"], limits["cpu_s"] + 5)
    limit(resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"])
    limit(resource.RLIMIT_CORE, 0, 0)
    if _landlock.version():
        _landlock.restrict(_rules(request))
    _seccomp.refuse_sockets()


def _rules(request: Mapping[str, Any]) -> Iterator[tuple[Path, int]]:
    for folder in _installation():
        yield Path(folder), _landlock.RUN
    for path in (*SYSTEM_FILES, *OWN_STATE):
        yield Path(path), _landlock.READ
    for device in DEVICES:
        yield Path(device), _landlock.WRITE
    for path in request["readable"]:
        yield Path(path), _landlock.READ
    for path in request["listable"]:
        yield Path(path), _landlock.LIST
    yield Path(request["scratch"]), _landlock.WRITE


def _installation() -> set[str]:
    """Where Python, its packages and the system's libraries lie."""
    packages = {*site.getsitepackages(), *sysconfig.get_paths().values()}
    own = {str(part.resolve()) for path in neuroloom.__path__ for part in (Path(path), *Path(path).iterdir())}
    imported = {str(Path(folder).resolve()) for folder in sys.path if folder and Path(folder).is_dir()}
    return {*SYSTEM, sys.prefix, sys.base_prefix, *packages, *own, *imported}


def _tell(pipe: int, reply: Mapping[str, Any]) -> None:
    write(pipe, json.dumps(reply, allow_nan=False).encode())


if __name__ == "__main__":
    main()
