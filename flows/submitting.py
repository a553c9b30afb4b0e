"""Hand drops over to the served deployment, or say that nobody takes them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Crashed

from neuroloom.flows.environment import INGEST_DEPLOYMENT
from neuroloom.pipeline.catalog.tables import Drop
from neuroloom.pipeline.drops.reconciling import SubmitError
from neuroloom.pipeline.settings import IngestSettings

UNREACHABLE = (httpx.HTTPError, PrefectException, OSError, RuntimeError)
log = logging.getLogger("neuroloom.submitting")


class Submitter:
    """Asks the server for one run for these drops. The same request twice is one run.

    Design rationale: the key holds how often a drop was handed over. Without it the server would give back the first
    run for ever, also where that has failed. Parameters are numbers only: they are shown to everybody as plain text.
    """

    def __init__(self, settings: IngestSettings) -> None:
        self._made_by = f"{version('neuroloom')}:{settings.sorter}"

    def __call__(self, drops: Sequence[Drop]) -> str:
        """The id of the run. Raises SubmitError where the server cannot be reached or knows no such deployment."""
        numbers = [drop.id for drop in drops]
        key = "+".join(f"{drop.id}.{drop.digest[:12]}.{drop.submissions}" for drop in drops)
        try:
            run: Any = run_deployment(
                INGEST_DEPLOYMENT,
                parameters={"drop_ids": numbers},
                flow_run_name=f"drop {', '.join(map(str, numbers[:5]))}{' …' if len(numbers) > 5 else ''}",
                timeout=0,
                idempotency_key=f"{key}:{self._made_by}",
                as_subflow=False,
            )
        except UNREACHABLE as error:
            raise SubmitError(f"the Prefect server did not take it ({type(error).__name__})") from error
        return str(run.id)

    def is_on_its_way(self, run: str, *, start_s: float) -> bool:
        """True where it is scheduled, or was taken up less than that ago; also where the server is away."""
        try:
            state = _state_of(run)
        except ObjectNotFound:
            return False
        except UNREACHABLE:
            return True
        if state is None or state.is_final():
            return False
        return state.is_scheduled() or (datetime.now(UTC) - state.timestamp).total_seconds() < start_s

    def has_ended(self, run: str) -> bool:
        """True where it is in a final state, or deleted; False where the server is away."""
        try:
            state = _state_of(run)
        except ObjectNotFound:
            return True
        except UNREACHABLE:
            return False
        return state is not None and state.is_final()

    def give_up(self, run: str, reason: str) -> None:
        """Shown as ended; for the dashboard, where it may fail."""
        try:
            end_run(run, reason)
        except UNREACHABLE as error:
            log.info("run %s is not shown as ended: %s", run, error)


def end_run(run: str, reason: str) -> bool:
    """Cancelled where it has not begun or was to be, else crashed; False where it has ended, or was deleted.

    Raises one of UNREACHABLE where the server does not take it.
    """
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(run)).state
            if state is None or state.is_final():
                return False
            was_to_end = state.is_scheduled() or state.is_cancelling()
            shown: State[Any] = Cancelled(message=reason) if was_to_end else Crashed(message=reason)
            client.set_flow_run_state(UUID(run), shown, force=True)
            return True
    except ObjectNotFound:
        return False


def runs_going_on(deployments: Collection[str], *, starts_s: float) -> dict[str, str]:
    """Runs of these deployments ("verify/verify") that have begun, or should have so long ago, and their flows.

    Raises one of UNREACHABLE where the server does not say.
    """
    flow_names, names = ([name.split("/")[part] for name in deployments] for part in (0, 1))
    begun = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=flow_names)),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=names)),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=begun))),
        )
        flows = {run.flow_id: client.read_flow(run.flow_id).name for run in runs}
    latest = datetime.now(UTC) - timedelta(seconds=starts_s)
    return {
        str(run.id): flows[run.flow_id]
        for run in runs
        if run.state is not None and not (run.state.is_pending() and run.state.timestamp > latest)
    }


def _state_of(run: str) -> State[Any] | None:
    """How a run stands. Raises ObjectNotFound where it was deleted, one of UNREACHABLE where nobody says."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(run)).state
