"""`study`, on request from the dashboard: a grid of cells that is taken up where it stopped.

Each batch of cells (the seeds of one cell, mostly) is a task, named after the cell. Design rationale: a batch takes
as many cores as torch has threads, so as many run at once as cores hold. Fewer threads per batch would round otherwise
than the command line, which must come to the same tables. What all cells share is opened once in a process.

What studies need is imported when one runs: torch takes longer to import than everything else that is served.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from neuroloom.flows.artifacts import Bar, study_page
from neuroloom.flows.fanning import for_each
from neuroloom.flows.leases import living
from neuroloom.flows.telling import tell_failure
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.profiles import FULL
from neuroloom.pipeline.reviewing import review_index
from neuroloom.pipeline.settings import FanOutSettings, Settings
from neuroloom.pipeline.store import Store


@flow(name="study", flow_run_name="study {name}", on_crashed=[tell_failure])
@living
def study(
    name: str, full: bool = False, profile: str = "", settings: str = "", config: str = "", run_name: str = ""
) -> None:
    """Run a study's cells that are missing, then write its report and page.

    profile: quick where it is left out. config: a TOML file in the store's folder with other settings than the
    profile's; settings: the same as text, which counts before the file. run_name: of the run, which settings of one's
    own need where no file has a name.
    """
    from neuroloom.pipeline import studying

    if full and profile not in ("", FULL):
        raise ConfigError(f"full, and the profile {profile!r}; one of them is wanted")
    if settings.strip() and not (run_name or config):
        raise ConfigError("settings without a name; give run_name, or they would be taken for the profile's own")
    store = Store.here()
    run = studying.prepare_study(
        name, store, profile=FULL if full else profile, config=_within(store, config), text=settings, name=run_name
    )
    cells(run, store)
    conclusion(run)


def _within(store: Store, config: str) -> Path | None:
    """A file of the store's folder: whoever reaches the dashboard reads no other file of the machine by it."""
    if not config:
        return None
    path = (store.root / config).resolve()
    if not path.is_relative_to(store.root.resolve()):
        raise ConfigError(f"{config}: is not in the store's folder; a file there is wanted")
    return path


def cells(run: str, store: Store) -> None:
    """The cells that are missing, each batch a task. Raises CellsError after the others."""
    from neuroloom.pipeline import studying

    batches = studying.missing_batches(run, store)
    if not batches:
        return
    log, bar = get_run_logger(), Bar(f"cells of {run}")

    def tell() -> None:
        done, wanted = studying.progress_of(run, store)
        log.info("%d of %d cells", done, wanted)
        bar.move(done / wanted)

    try:
        teacher(run)
        calls = [{"run": run, "cell": studying.batch_words(batch), "keys": batch} for batch in batches]
        found = for_each(cell, calls, _fan_out(run, store), raises=False, ended=tell)
    finally:
        _bench.cache_clear()
    pairs = zip(calls, found, strict=True)
    failed = [(str(call["cell"]), error) for call, error in pairs if isinstance(error, BaseException)]
    if failed:
        raise studying.CellsError(failed, len(calls))
    bar.finish()


@task(task_run_name="teacher of {run}", cache_policy=NO_CACHE, persist_result=False)
def teacher(run: str) -> None:
    """What all cells share: a teacher that is not in the cache is trained."""
    _bench(run, Store.here().root)


@task(task_run_name="{cell}", cache_policy=NO_CACHE, persist_result=False)
def cell(run: str, cell: str, keys: Sequence[Mapping[str, Any]]) -> None:
    """The cells of one batch."""
    from neuroloom.pipeline import studying

    store = Store.here()
    with _opening:  # a process of Dask opens it once, too
        bench = _bench(run, store.root)
    studying.solve_batch(run, store, bench, keys)


_opening = Lock()


@lru_cache(maxsize=1)
def _bench(run: str, root: Path) -> Any:
    from neuroloom.pipeline import studying

    log = get_run_logger()
    return studying.open_bench(
        run, Store(root), lambda done, wanted, what: log.info("%d of %d: %s", done, wanted, what)
    )


def _fan_out(run: str, store: Store) -> FanOutSettings:
    """The settings' workers, but no more than cores hold; one where cells of this study disturb each other."""
    from neuroloom.pipeline import studying

    asked = Settings.of(store).fan_out
    if not studying.side_by_side(run, store):
        return FanOutSettings(workers=1)
    import torch

    if asked.runner == "dask":
        return asked
    return FanOutSettings(workers=max(1, min(asked.n_workers, (os.cpu_count() or 1) // torch.get_num_threads())))


@task(task_run_name="report of {run}", cache_policy=NO_CACHE, persist_result=False)
def conclusion(run: str) -> None:
    """Report, tables and page."""
    from neuroloom.pipeline import studying

    store = Store.here()
    report = studying.conclude(run, store)
    review_index(store)
    study_page(run, report.sentence, [dict(row) for row in report.wanted])
