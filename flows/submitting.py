"""Hand drops over to the served deployment, or say that nobody takes them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import httpx
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectException

from neuroloom.flows.environment import INGEST_DEPLOYMENT
from neuroloom.pipeline.catalog import Drop
from neuroloom.pipeline.config import IngestSettings
from neuroloom.pipeline.reconciling import SubmitError


class Submitter:
    """Asks the server for one run for these drops. The same request twice is one run.

    Design rationale: the key holds how often a drop was handed over. Without it the server would give back the first
    run for ever, also where that has failed. Parameters are numbers only: they are shown to everybody as plain text.
    """

    def __init__(self, settings: IngestSettings) -> None:
        self._made_by = f"{version('neuroloom')}:{settings.sorter}"

    def __call__(self, drops: Sequence[Drop]) -> None:
        """Raises SubmitError where the server cannot be reached or knows no such deployment."""
        numbers = [drop.id for drop in drops]
        key = "+".join(f"{drop.id}.{drop.digest[:12]}.{drop.submissions}" for drop in drops)
        try:
            run_deployment(
                INGEST_DEPLOYMENT,
                parameters={"drop_ids": numbers},
                flow_run_name=f"drop {', '.join(map(str, numbers[:5]))}{' …' if len(numbers) > 5 else ''}",
                timeout=0,
                idempotency_key=f"{key}:{self._made_by}",
                as_subflow=False,
            )
        except (httpx.HTTPError, PrefectException, OSError, RuntimeError) as error:
            raise SubmitError(f"the Prefect server did not take it ({type(error).__name__})") from error
