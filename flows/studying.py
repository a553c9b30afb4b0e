"""`study`, on request from the dashboard: a grid of cells that is taken up where it stopped.

What studies need is imported when one runs: torch takes longer to import than everything else that is served.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from neuroloom.flows.artifacts import Bar, study_page
from neuroloom.flows.telling import tell_failure
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.profiles import FULL
from neuroloom.pipeline.reviewing import review_index
from neuroloom.pipeline.store import Store


@flow(name="study", flow_run_name="study {name}", on_crashed=[tell_failure])
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
    cells(run)
    conclusion(run)


def _within(store: Store, config: str) -> Path | None:
    """A file of the store's folder: whoever reaches the dashboard reads no other file of the machine by it."""
    if not config:
        return None
    path = (store.root / config).resolve()
    if not path.is_relative_to(store.root.resolve()):
        raise ConfigError(f"{config}: is not in the store's folder; a file there is wanted")
    return path


@task(task_run_name="cells of {run}", cache_policy=NO_CACHE, persist_result=False)
def cells(run: str) -> None:
    """The cells, with a progress bar that moves at most every two seconds."""
    from neuroloom.pipeline import studying

    log, bar = get_run_logger(), Bar(f"cells of {run}")

    def tell(done: int, wanted: int, what: str) -> None:
        log.info("%d of %d: %s", done, wanted, what)
        bar.move(done / wanted)

    studying.solve_cells(run, Store.here(), tell)
    bar.finish()


@task(task_run_name="report of {run}", cache_policy=NO_CACHE, persist_result=False)
def conclusion(run: str) -> None:
    """Report, tables and page."""
    from neuroloom.pipeline import studying

    store = Store.here()
    report = studying.conclude(run, store)
    review_index(store)
    study_page(run, report.sentence, [dict(row) for row in report.wanted])
