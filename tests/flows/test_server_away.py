"""Where no server answers, work goes on and nothing is taken for ended."""

from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from neuroloom.flows.artifacts import Bar, Progress
from neuroloom.flows.submitting import Submitter
from neuroloom.pipeline.settings import IngestSettings

pytestmark = pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow")


@pytest.fixture(autouse=True)
def away():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # a port at which nobody listens
        yield


def test_a_bar_that_cannot_be_made_stops_no_work():
    bar = Bar("training reach")
    bar.move(0.5)
    bar.finish()


def test_a_bar_whose_server_went_away_stops_no_work():
    bar = Bar("training reach")
    bar._artifact = uuid4()
    bar.move(0.5)
    bar.finish()


def test_stages_go_to_the_log_all_the_same():
    class Log:
        said = ()

        def info(self, _form, stage):
            self.said += (stage,)

    log = Log()
    Progress("drop 1", log)("a.edf: reading")
    assert log.said == ("reading",)


def test_of_a_run_nothing_is_known():
    server = Submitter(IngestSettings())
    assert not server.has_ended(str(uuid4()))
    assert server.is_on_its_way(str(uuid4()), start_s=1)
