"""Real PostgreSQL and Redis for tests, started by hand and ended with the test; skipped where not installed."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "test-only"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str) -> str:
    """The path of a server's program; skips the test where it is not there."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name) or (str(versions[0]) if versions else None)
    if found is None:
        pytest.skip(f"{name} is not installed here (.ci/system-packages installs it where root)")
    return found


def need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed here: pip install 'neuroloom[server]'")


@dataclass
class Postgres:
    """A PostgreSQL that can be stopped and started. address: `user:password@host:port`."""

    command: list[object]
    log: Path
    port: int
    as_user: dict[str, Any]

    def __post_init__(self) -> None:
        self.address = f"neuroloom:{PASSWORD}@127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, **self.as_user)  # type: ignore[call-overload]
        wait_for(self.port, self.process, self.log)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)  # does not wait for clients, as a test that failed may have left one
        self.process.wait(timeout=30)


@contextmanager
def postgres() -> Iterator[str]:
    """A new PostgreSQL with its own folder; gives `user:password@host:port`. Never run by root."""
    with stoppable_postgres() as server:
        yield server.address


@contextmanager
def stoppable_postgres() -> Iterator[Postgres]:
    """A new PostgreSQL with its own folder, started. Never run by root."""
    need("psycopg")
    initdb, server = program("initdb"), program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="neuroloom-pg-", dir="/tmp"))
    user = _user(folder)
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    as_user = {"user": user, "group": user, "extra_groups": []} if user else {}
    making = [initdb, "-D", folder / "data", "-U", "neuroloom", "--pwfile", secret, "-A", "scram-sha-256", "-E", "UTF8"]
    subprocess.run([*making, "--no-sync"], check=True, capture_output=True, cwd=folder, **as_user)
    port = free_port()
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", folder, "-c", "fsync=off"]
    found = Postgres([server, "-D", folder / "data", *options], folder / "log", port, as_user)
    found.start()
    try:
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis() -> Iterator[int]:
    """A new Redis without persistence; gives its port."""
    server, port = program("redis-server"), free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process, None)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def new_database(server: str, name: str) -> str:
    """Make a database; gives `user:password@host:port/name`."""
    import psycopg

    for attempt in range(50):
        try:
            with psycopg.connect(f"postgresql://{server}/postgres", autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}"')
                return f"{server}/{name}"
        except psycopg.OperationalError:  # it listens, and is still starting
            if attempt == 49:
                raise
            time.sleep(0.2)
    raise AssertionError


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path | None, timeout_s: float = 60) -> None:
    ends_s = time.monotonic() + timeout_s
    while time.monotonic() < ends_s and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"did not start: {log.read_text() if log else process.args}")


def _user(folder: Path) -> str | None:
    """Who runs PostgreSQL; None for whoever runs the test."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(folder, found.pw_uid, found.pw_gid)
        return name
    pytest.skip("PostgreSQL does not run as root, and no other user is here")
