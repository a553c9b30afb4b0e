"""What is new is trained on, once."""

import numpy as np
import pytest

from neuroloom.ingest import Segment, Session, Signal, Timebase
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE
from neuroloom.pipeline.runs import preparing
from neuroloom.pipeline.runs.retraining import prepare_retraining
from neuroloom.pipeline.scores import judging
from neuroloom.pipeline.store import Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store").create()
    (store.root / "reach.toml").write_text("steps = 2\n")
    return store


def publish(store, session, version="v001"):
    """A minute of one slow signal."""
    slow = Signal(
        name="lfp",
        modality="lfp",
        segments=(Segment(samples=np.zeros((60, 1), np.int16), timebase=Timebase(rate_hz=1.0, n_samples=60)),),
        channel_names=("a",),
        unit="uV",
        gain=np.ones(1),
        offset=np.zeros(1),
    )
    made = Session(subject=session.removeprefix("sub-"), clock="probe", streams=(slow,))
    made.save(store.sessions / session / version)


def finish(store, name):
    catalog = Catalog.of(store)
    catalog.runs.put(name, state=DONE)
    catalog.close()
    (store.run_folder(name) / judging.SCORES).write_text("{}")


def test_without_a_config_or_sessions_nothing_is_trained(store):
    assert prepare_retraining(store, "").run == ""
    assert prepare_retraining(store, "reach.toml").why == "there is no session to train on yet"


def test_everything_there_is_is_trained_on_and_the_same_again_is_the_same_run(store):
    for session in ("sub-a", "sub-b"):
        publish(store, session)
    first, again = prepare_retraining(store, "reach.toml"), prepare_retraining(store, "reach.toml")
    assert first.run == again.run
    assert first.run.startswith("reach-")
    assert first.why == "2 of 2 sessions are new or have a new version"
    assert preparing.requested(store, first.run).versions == {"sub-a": "v001", "sub-b": "v001"}


def test_a_run_that_is_done_leaves_nothing_to_do(store):
    publish(store, "sub-a")
    name = prepare_retraining(store, "reach.toml").run
    finish(store, name)
    found = prepare_retraining(store, "reach.toml")
    assert (found.run, found.why) == ("", f"nothing is new since {name}")


@pytest.mark.parametrize(("session", "version", "n"), [("sub-b", "v001", 2), ("sub-a", "v002", 1)])
def test_a_new_session_or_version_makes_a_new_run(store, session, version, n):
    publish(store, "sub-a")
    before = prepare_retraining(store, "reach.toml").run
    finish(store, before)
    publish(store, session, version)
    found = prepare_retraining(store, "reach.toml")
    assert found.run not in ("", before)
    assert found.why == f"1 of {n} sessions are new or have a new version"


def test_whose_consent_has_ended_is_left_out(store):
    for session in ("sub-a_ses-1", "sub-b_ses-1"):
        publish(store, session)
    store.subjects_file.write_text('{"a": {"consent": {"given": "2019-01-01", "withdrawn": "2020-01-01"}}}')
    assert preparing.requested(store, prepare_retraining(store, "reach.toml").run).sessions == ("sub-b_ses-1",)
