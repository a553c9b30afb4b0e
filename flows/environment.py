"""The settings every Prefect process of a store runs with: at home in the store, on this machine only, silent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import httpx

from neuroloom.pipeline.store import STORE_VARIABLE, Store

REVIEW_VARIABLE = "NEUROLOOM_REVIEW_URL"
LOCALHOST = "127.0.0.1"
SERVER_READY_S = 120.0
INGEST_DEPLOYMENT = "ingest-recording/recordings"


def embedded_environment(store: Store, *, port: int, review_url: str) -> dict[str, str]:
    """The environment for the embedded server and for everything that talks to it.

    Design rationale: the port is set as a setting, not as an argument: the pages would call 4200 otherwise.
    """
    home = store.prefect_home
    return {
        **os.environ,
        STORE_VARIABLE: str(store.root),
        REVIEW_VARIABLE: review_url,
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": f"http://{LOCALHOST}:{port}/api",
        "PREFECT_SERVER_API_HOST": LOCALHOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "neuroloom",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # the watcher's lines go to the log alone
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        **_dashboard_files(home),
    }


def _dashboard_files(home: Path) -> dict[str, str]:
    """Where Prefect unpacks its dashboard: beside its code, or, where that belongs to somebody else, at home."""
    prefect = find_spec("prefect")
    places = prefect.submodule_search_locations if prefect else None
    if places is None or os.access(Path(places[0]) / "server", os.W_OK):
        return {}
    return {"PREFECT_UI_STATIC_DIRECTORY": str(home / "ui")}


def free_port(wanted: int) -> int:
    """`wanted` where nobody listens there, else any free port; 0 means any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, wanted))
        except OSError:
            probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])


def answers(url: str, *, timeout_s: float) -> bool:
    """Whether something answers at that address, and well."""
    try:
        return httpx.get(url, timeout=timeout_s).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def wait_for_server(api_url: str, ended: Callable[[], bool] = lambda: False) -> bool:
    """Wait until a Prefect server answers; False where it does not within `SERVER_READY_S`, or `ended` says so."""
    ends_s = time.monotonic() + SERVER_READY_S
    while api_url and time.monotonic() < ends_s and not ended():
        if answers(f"{api_url}/ready", timeout_s=5):
            return True
        time.sleep(0.1)
    return False


def review_url() -> str:
    """Where the review pages are served, "" where they are not."""
    return os.environ.get(REVIEW_VARIABLE, "")
