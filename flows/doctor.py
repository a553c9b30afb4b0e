"""`neuroloom doctor`: what is installed, reachable and writable."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from neuroloom.pipeline.store import Store, StoreError

LIBRARIES = ("prefect", "sqlalchemy", "fastapi", "mne", "neo", "spikeinterface", "pynwb", "h5py", "torch")
# Versions with which scheduled runs are never made, or the server cannot start.
BELOW = {"sqlalchemy": (2, 1), "fastapi": (0, 151), "prefect": (3, 10)}
WANTED_FREE_BYTES = 2_000_000_000


def checks(store: Store) -> list[dict[str, Any]]:
    """Every check as {"check", "ok", "found"}."""
    rows = [_row("Python", sys.version_info >= (3, 11), platform.python_version())]
    rows += [_library(name) for name in LIBRARIES]
    for name, check in (("store", _store), ("catalog", _catalog), ("settings", _settings), ("free disk", _disk)):
        rows.append(_row(name, *_tried(check, store)))
    if _tried(_settings, store)[0]:  # what is wrong in the file is said once
        rows += [_row(name, *_tried(check, store)) for name, check in (("schedules", _schedules), ("alerts", _alerts))]
    return rows


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
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return True, check(store)
    except (OSError, StoreError, ValueError, SQLAlchemyError) as error:
        return False, " ".join(str(error).split())


def _store(store: Store) -> str:
    store.create()
    for folder in (store.inbox, store.staging, store.originals, store.quarantine):
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor"):
            pass
    return f"{store.root} can be written"


def _catalog(store: Store) -> str:
    from neuroloom.pipeline.catalog import Catalog

    catalog = Catalog.of(store)
    n_drops = sum(catalog.counts().values())
    catalog.close()
    return f"{catalog.engine.dialect.name}, {n_drops} drops"


def _settings(store: Store) -> str:
    from neuroloom.pipeline.config import Settings

    Settings.of(store)
    return str(store.settings_file) if store.settings_file.is_file() else "all defaults"


def _schedules(store: Store) -> str:
    from neuroloom.flows.scheduling import schedules_of
    from neuroloom.pipeline.config import Settings

    made = schedules_of(Settings.of(store))
    told = [f"{name} {s.cron or s.interval} {s.timezone}" if s.active else f"{name} off" for name, s in made.items()]
    return ", ".join(told)


def _alerts(store: Store) -> str:
    from neuroloom.pipeline.alerting import Alerts, alerts_of
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.config import Settings

    catalog = Catalog.of(store)
    ways = Alerts(store, catalog, Settings.of(store).alerts).ways
    untold = [row for row in alerts_of(catalog) if not row.told_at and row.way in ways and row.problem]
    catalog.close()
    if untold:
        raise OSError(f"{len(untold)} not told: {untold[-1].problem}")
    return ", ".join(ways) or "nobody is told; see [alerts] in docs/operations.md"


def _disk(store: Store) -> str:
    free = store.free_bytes()
    if free < WANTED_FREE_BYTES:
        raise OSError(f"{free / 1e9:.1f} GB free; {WANTED_FREE_BYTES / 1e9:.0f} GB are wanted")
    return f"{free / 1e9:.0f} GB free"


def _row(check: str, ok: bool, found: str) -> dict[str, Any]:
    return {"check": check, "ok": ok, "found": found}
