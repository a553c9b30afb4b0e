"""`study`, on request from the dashboard: a grid of cells that is taken up where it stopped.

What studies need is imported when one runs: torch takes longer to import than everything else that is served.
"""

from __future__ import annotations

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from neuroloom.flows.artifacts import Bar, study_page
from neuroloom.flows.telling import tell_failure
from neuroloom.pipeline.reviewing import review_index
from neuroloom.pipeline.store import Store


@flow(name="study", flow_run_name="study {name}", on_crashed=[tell_failure])
def study(name: str, full: bool = False) -> None:
    """Run a study's cells that are missing, then write its report and page."""
    from neuroloom.pipeline import studying

    run = studying.prepare_study(name, Store.here(), full=full)
    cells(run)
    conclusion(run)


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
