"""The inside of a box: one process that imports everything, forks a child per request, and confines the child.

stdin    one request a line, see `Box.call`
pipe     {"started": pid}  then of the child {"said"}, {"gave"} or {"refused"} or {"wanted"}  then {"ended": status}
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
        pid = os.fork()
        if pid == 0:
            _child(request, replies)
        _tell(replies, {"started": pid})
        _, status = os.waitpid(pid, 0)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what it has started itself
        _tell(replies, {"ended": os.waitstatus_to_exitcode(status)})


def _child(request: Mapping[str, Any], replies: int) -> None:
    """Run one request; never returns."""
    status = 1
    try:
        os.setpgid(0, 0)
        end_with_parent()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        _confine(request)
        _tell(replies, _outcome(request, lambda text: _tell(replies, {"said": text})))
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
            return {"wanted": f"wanted what the disk refuses: {error}"}
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


def _tell(replies: int, reply: Mapping[str, Any]) -> None:
    data = json.dumps(reply, allow_nan=False).encode() + b"\n"
    while data:
        data = data[os.write(replies, data) :]


if __name__ == "__main__":
    main()
