"""Runs whose worker died before they began are not shown as coming for ever."""

import pytest
from prefect import flow, get_client
from prefect.states import Pending, Running

from neuroloom.flows.submitting import Submitter
from neuroloom.pipeline.config import IngestSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore"),
]  # a server for tests warns of much


@flow(name="ingest-recording")
def ingesting():
    pass


@flow(name="train")
def training():
    pass


@pytest.fixture
def run_of():
    """A run as it would stand if its worker were dead; and what is said of a run now."""
    with get_client(sync_client=True) as client:
        yield (
            lambda work, state: str(client.create_flow_run(work, state=state).id),
            lambda run: client.read_flow_run(run).state.type.value,
        )


def test_of_runs_that_never_began_those_that_hold_no_drop_are_cancelled(run_of):
    made, said = run_of
    forgotten, holds, works, other = (
        made(ingesting, Pending()),
        made(ingesting, Pending()),
        made(ingesting, Running()),
        made(training, Pending()),
    )
    server = Submitter(IngestSettings())
    assert server.give_up_pending(but={holds}, after_s=600) == 0  # all are young
    assert server.give_up_pending(but={holds}, after_s=0) == 1
    assert [said(run) for run in (forgotten, holds, works, other)] == ["CANCELLED", "PENDING", "RUNNING", "PENDING"]
