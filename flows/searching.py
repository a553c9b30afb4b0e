"""`search`, on request from the dashboard: trials fanned out as tasks, each in a process of its own, taken up again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ProcessPoolTaskRunner

from neuroloom.flows.artifacts import Bar, trials_table
from neuroloom.flows.leases import living
from neuroloom.flows.telling import tell_failure
from neuroloom.flows.training import score
from neuroloom.pipeline.runs import searching
from neuroloom.pipeline.runs.searching import Trained
from neuroloom.pipeline.store import Store

WAIT_S = 7 * 24 * 3600.0  # for one trial; Prefect wants an end


@flow(
    name="search",
    flow_run_name="search {run}",
    on_crashed=[tell_failure],
    task_runner=ProcessPoolTaskRunner(),  # type: ignore[arg-type]  # as many at once as the search hands out
)
@living
def search(run: str) -> None:
    """Train the trials of a prepared search that are missing, make the best one the run, and score it."""
    store, log, n_done = Store.here(), get_run_logger(), 0
    wanted = searching.n_trials(run, store)
    bar = Bar(f"trials of {run}")

    def trained(numbers: Sequence[int]) -> Iterator[Trained]:
        waiting = [trial.submit(run, number, str(store.root)) for number in numbers]
        for done in as_completed(waiting, timeout=WAIT_S):
            yield done.result()

    def tell(words: str) -> None:
        nonlocal n_done
        n_done += 1
        log.info("%s", words)
        bar.move(n_done / wanted)

    began_s = time.monotonic()
    found = searching.run_search(run, store, trained, tell)
    bar.finish()
    log.info("best trial %d of %d, %.0f s", found["best"], len(found["trials"]), time.monotonic() - began_s)
    trials_table(run, found)
    score(run)


@task(task_run_name="trial {number} of {run}", cache_policy=NO_CACHE, persist_result=False)
def trial(run: str, number: int, root: str) -> Trained:
    """One training; its number and validation loss."""
    return searching.train_trial(run, number, root)
