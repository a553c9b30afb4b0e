"""`neuroloom doctor`: what is wrong before anybody has to search: installation, machine, store, service.

A row is not ok where something does not work; what is merely missing and not asked for is told and is ok.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from neuroloom.flows.environment import LOCALHOST, answers, free_port
from neuroloom.flows.pages import TOKEN_FILE
from neuroloom.flows.printing import one_line
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

EXTRAS = {"eyelink": "eyelinkio", "ica": "mne_icalabel", "teachers": "transformers", "server": "psycopg"}
WANTED_WATCHES, WANTED_INSTANCES = 8192, 32
MOST_SKEW_S = 5.0
ANSWER_S = 3.0
NOBODY_S = 120.0  # a drop that waits for a service longer than this waits for one that is not there
LIBRARIES = ("prefect", "sqlalchemy", "fastapi", "mne", "neo", "spikeinterface", "pynwb", "h5py", "torch")
# Versions with which scheduled runs are never made, or the server cannot start.
BELOW = {"sqlalchemy": (2, 1), "fastapi": (0, 151), "prefect": (3, 10)}


def checks(store: Store) -> list[dict[str, Any]]:
    """Every check as {"check", "ok", "found"}."""
    rows = [_row("Python", sys.version_info >= (3, 11), platform.python_version())]
    rows += [_library(name) for name in LIBRARIES]
    looks: list[tuple[str, Callable[[Store], str]]] = [
        ("reading box", _box),
        ("file events", _watches),
        ("store", _store),
    ]
    has_store, has_settings = _tried(_store, store)[0], _tried(_settings, store)[0]
    if has_store:  # what follows from there being none is not said; nor what follows from a broken catalog or settings
        looks += [("secrets", _secrets), ("catalog", _catalog)]
    has_catalog = has_store and _tried(_catalog, store)[0]
    if has_catalog:
        looks += [("clock", _clock)]
    looks += [("settings", _settings)]
    if has_settings:
        looks += [("extras", _extras), ("sorter", _sorter), ("ports", _ports)]
    if has_store and has_settings:
        looks += [("free disk", _disk)]
    if has_catalog and has_settings:
        looks += [("service", _service), ("leases", _leases), ("schedules", _schedules), ("alerts", _alerts)]
    return rows + [_row(name, *_tried(check, store)) for name, check in looks]


def _library(name: str) -> dict[str, Any]:
    try:
        found = version(name)
    except PackageNotFoundError:
        return _row(name, False, "not installed")
    limit = BELOW.get(name)
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if limit is not None and numbers >= limit:
        return _row(name, False, f"{found}; below {'.'.join(map(str, limit))} is wanted")
    return _row(name, True, found)


def _tried(check: Callable[[Store], str], store: Store) -> tuple[bool, str]:
    from sqlalchemy.exc import DBAPIError

    from neuroloom.pipeline.catalog.opening import away

    try:
        return True, check(store)
    except DBAPIError as error:
        return False, away(error)
    except (OSError, ValueError) as error:
        return False, one_line(error)


def _store(store: Store) -> str:
    store.create()
    for folder in (store.inbox, store.staging, store.originals, store.quarantine):
        try:
            tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor").close()
        except OSError as error:
            raise OSError(f"{folder}: cannot be written to ({error.strerror})") from error
    return f"{store.root} can be written"


def _catalog(store: Store) -> str:
    from neuroloom.pipeline.catalog import Catalog

    catalog = Catalog.of(store)
    n_drops = sum(catalog.drops.counts().values())
    catalog.close()
    return f"{catalog.engine.dialect.name}, {n_drops} drops"


def _settings(store: Store) -> str:
    Settings.of(store)
    return str(store.settings_file) if store.settings_file.is_file() else "all defaults"


def _extras(store: Store) -> str:
    """What is not installed; wrong where the settings ask for it."""
    missing = [extra for extra, module in EXTRAS.items() if find_spec(module) is None]
    wanted = {"ica": store.settings_file.is_file() and Settings.of(store).ingest.ica}
    wanted["server"] = store.catalog_url.startswith("postgresql")
    for extra in missing:
        if wanted.get(extra):
            raise OSError(f"{extra} is asked for and not installed; `pip install neuroloom[{extra}]` does that")
    return f"not installed: {', '.join(missing)}" if missing else "all are installed"


def _sorter(store: Store) -> str:
    from neuroloom.ingest.sorters import sorter_named

    name = Settings.of(store).ingest.sorter
    if name != "none":
        sorter_named(name)  # raises where it cannot be run
    return name


def _box(_: Store) -> str:
    from neuroloom.pipeline.boxed import _landlock

    abi = _landlock.version()
    return f"Landlock {abi}" if abi else "this kernel has no Landlock: readers are limited in memory and time alone"


def _watches(_: Store) -> str:
    """The inbox is also looked at by the clock, so this costs seconds, never a recording."""
    limits = Path("/proc/sys/fs/inotify")
    if not limits.is_dir():
        return "no inotify here: the file system's own events are used"
    watches, instances = (int((limits / f"max_user_{what}").read_text()) for what in ("watches", "instances"))
    if watches < WANTED_WATCHES or instances < WANTED_INSTANCES:
        raise OSError(
            f"{watches} watches and {instances} instances of inotify; {WANTED_WATCHES} and {WANTED_INSTANCES} are "
            "wanted (sysctl fs.inotify.max_user_watches, max_user_instances)"
        )
    return f"{watches} watches, {instances} instances"


def _secrets(store: Store) -> str:
    """Files that only their owner may read."""
    files = (store.secret_file, store.subjects_file, store.root / TOKEN_FILE)
    open_ones = [file.name for file in files if file.is_file() and file.stat().st_mode & 0o077]
    if open_ones:
        raise OSError(f"{', '.join(open_ones)} can be read by others; `chmod 600` in {store.root} mends that")
    return "only their owner can read them"


def _clock(store: Store) -> str:
    """This machine's clock beside that of the disk (a file server has its own), and beside what is noted already."""
    from neuroloom.pipeline.catalog import Catalog

    with tempfile.NamedTemporaryFile(dir=store.staging, prefix=".doctor") as file:
        skew_s = Path(file.name).stat().st_mtime - time.time()
    if abs(skew_s) > MOST_SKEW_S:
        raise OSError(f"the clock of the disk is {skew_s:+.0f} s from this machine's; set both by the network")
    catalog = Catalog.of(store)
    latest = max((drop.changed_at for drop in catalog.drops.every()), default=0.0)
    catalog.close()
    if latest > time.time() + MOST_SKEW_S:
        raise OSError(f"something is noted {latest - time.time():.0f} s in the future: this clock was set back")
    return f"{abs(skew_s):.1f} s from that of the disk"


def _ports(store: Store) -> str:
    server, told, taken = Settings.of(store).server, [], []
    for name, port in (("dashboard", server.port), ("review pages", server.review_port)):
        if port == 0:
            told.append(f"{name}: any free")
        elif free_port(port) == port:
            told.append(f"{name}: {port} is free")
        elif _serves(port, "ready" if name == "dashboard" else "hello"):
            told.append(f"{name}: {port}, a neuroloom serves there")
        else:
            taken.append(f"{name}: {port}")
    if taken:
        words = f"{', '.join(taken)}, taken by another program; `neuroloom up` takes any that is free"
        raise OSError(f"{words}, [server] in {store.settings_file.name} names another for good")
    return ", ".join(told)


def _serves(port: int, what: str) -> bool:
    return answers(f"http://{LOCALHOST}:{port}/api/{what}", timeout_s=ANSWER_S)


def _service(store: Store) -> str:
    """Whether what waits for the service has one."""
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.catalog.tables import OPEN, READY
    from neuroloom.pipeline.drops.inbox import unseen

    url = os.environ.get("PREFECT_API_URL", "")
    if url and not answers(f"{url}/ready", timeout_s=ANSWER_S):
        raise OSError(f"no Prefect server answers at {url} (PREFECT_API_URL)")
    if url and not _lets_in(url):
        raise OSError(f"the Prefect server at {url} wants another password (PREFECT_API_AUTH_STRING)")
    catalog = Catalog.of(store)
    waiting = [drop for drop in catalog.drops.every(READY) if time.time() - drop.changed_at > NOBODY_S]
    unwatched = [name for name in unseen(store.inbox, catalog.drops.every(*OPEN)) if _lies_since(store, name)]
    catalog.close()
    if unwatched:
        raise OSError(f"{_first(unwatched)}: nothing watches the inbox; `neuroloom up` does")
    if waiting:
        why = waiting[0].reason or "nothing takes what waits; `neuroloom up` does"
        raise OSError(f"{_first([drop.name for drop in waiting])}: {why}")
    return f"{url} answers" if url else "nothing waits for it"


def _lies_since(store: Store, name: str) -> bool:
    """Whether it has lain in the inbox longer than a watcher takes to look."""
    try:
        return time.time() - (store.inbox / name).lstat().st_ctime > NOBODY_S
    except FileNotFoundError:  # gone again
        return False


def _leases(store: Store) -> str:
    """Work whose worker has not been heard of: the watcher takes it up again, where one runs."""
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.catalog.tables import IN_FLIGHT

    ingest = Settings.of(store).ingest
    catalog = Catalog.of(store)
    stale = catalog.drops.expired(longest_lease_s=max(ingest.lease_s, ingest.queue_s))
    n_held = len(catalog.drops.every(*IN_FLIGHT))
    catalog.close()
    if stale:
        held = _first([drop.name for drop in stale])
        raise OSError(f"{held}: held by a worker that died; `neuroloom up` frees what it held")
    return f"{n_held} drops are being worked on" if n_held else "nothing is being worked on"


def _first(names: Sequence[str]) -> str:
    """ "a.edf and 2 more"."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _lets_in(url: str) -> bool:
    """Whether a Prefect server takes the password at hand, where it wants one."""
    user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    try:
        answer = httpx.get(f"{url}/admin/version", auth=(user, password) if user else None, timeout=ANSWER_S)
    except (httpx.HTTPError, httpx.InvalidURL):
        return True  # that it does not answer is said elsewhere
    return answer.status_code != httpx.codes.UNAUTHORIZED


def _schedules(store: Store) -> str:
    from neuroloom.flows.scheduling import schedules_of

    settings = Settings.of(store)
    made = schedules_of(settings)
    if (config := settings.schedules.retrain.config) and not (store.root / config).is_file():
        raise OSError(f"schedules.retrain.config: {store.root / config} is not there")
    told = [f"{name} {s.cron or s.interval} {s.timezone}" if s.active else f"{name} off" for name, s in made.items()]
    return ", ".join(told)


def _alerts(store: Store) -> str:
    from neuroloom.pipeline.care.alerting import MAIL, Alerts, alerts_of
    from neuroloom.pipeline.catalog import Catalog

    catalog = Catalog.of(store)
    settings = Settings.of(store).alerts
    ways = Alerts(store, catalog, settings).ways
    untold = [row for row in alerts_of(catalog) if not row.told_at and row.way in ways and row.problem]
    catalog.close()
    if untold:
        raise OSError(f"{len(untold)} not told: {untold[-1].problem}")
    if MAIL in ways:
        _connect(settings.smtp_host, settings.smtp_port)
    return ", ".join(ways) or "nobody is told; see [alerts] in docs/operations.md"


def _connect(host: str, port: int) -> None:
    """Raises OSError where no mail server can be reached there."""
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        why = f"{error.strerror or error}; [alerts] smtp_host and smtp_port name the mail server"
        raise OSError(f"no mail can be sent by {host}:{port}: {why}") from error


def _disk(store: Store) -> str:
    free, wanted = store.free_bytes(), Settings.of(store).ingest.min_free_bytes
    if free < wanted:
        raise OSError(f"{free / 1e9:.1f} GB free; {wanted / 1e9:.1f} GB are wanted (ingest.min_free_bytes)")
    return f"{free / 1e9:.0f} GB free"


def _row(check: str, ok: bool, found: str) -> dict[str, Any]:
    return {"check": check, "ok": ok, "found": found}
