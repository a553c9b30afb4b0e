"""The same task on many sessions, side by side: `for_each(task, [{...}, ...], settings)`.

Prefect's task runners do it: threads of this process, or processes of Dask, on this machine or on a cluster that runs
already. Only paths and codes go to a task, never arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect import Task
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.settings import FanOutSettings


def for_each(
    task: Task[..., Any],
    calls: Sequence[Mapping[str, Any]],
    settings: FanOutSettings,
    *,
    raises: bool = True,
    ended: Callable[[], None] = lambda: None,
) -> list[Any]:
    """What the task gives for each of these parameters, in order; called in a flow.

    All are tried; then the first error, if there was one, is raised, or given in place of a result.
    ended: called in the flow whenever one has ended, in order.
    """
    with _runner(settings) as runner:
        futures = [runner.submit(task, dict(call)) for call in calls]
        for future in futures:
            future.wait()
            ended()
        return [future.result(raise_on_failure=raises) for future in futures]


def _runner(settings: FanOutSettings) -> TaskRunner[Any]:
    """Raises ConfigError where Dask is asked for and not installed."""
    if settings.runner == "threads":
        return ThreadPoolTaskRunner(max_workers=settings.n_workers)
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise ConfigError(
            "neuroloom.toml: fan_out.runner: 'dask' is not installed; `pip install neuroloom[dask]` brings it"
        ) from error
    # No dashboard of Dask's own: nothing but the pages of this service listens on this machine.
    own = {"n_workers": settings.n_workers, "threads_per_worker": 1, "dashboard_address": None}
    where: dict[str, Any] = {"address": settings.address} if settings.address else {"cluster_kwargs": own}
    found: TaskRunner[Any] = DaskTaskRunner(**where)
    return found
