"""What reviewers say is kept, survives, and is gone by."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import manifest
from neuroloom.ingest.quality import quality
from neuroloom.pipeline import verdicts
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.noting import rebuild
from neuroloom.pipeline.reviewing import review_run
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.runs.feature_cache import build_features
from neuroloom.pipeline.runs.retraining import prepare_retraining
from neuroloom.pipeline.store import Store, StoreError
from neuroloom.pipeline.verdicts import VerdictError, judge_run, judge_session

from .conftest import simulate
from .review.test_pages import words

RUN = 'topology = "four-areas"\nlength_s = 1.0\nsteps = 2\narea_size = 4\nbatch_size = 2\ninputs = ["light"]\n'


@pytest.fixture
def store(tmp_path, turning):
    """Two sessions of one person: `a` and `b`."""
    made = Store(tmp_path / "store").create()
    for day in (1, 2):
        session = turning(session=f"{day:02d}", day=day)
        session.save(made.sessions / session.id / "v001")
    return made


@pytest.fixture
def a(store):
    return store.session_ids()[0]


@pytest.fixture
def b(store):
    return store.session_ids()[1]


def asked(store, text=RUN, name="run"):
    path = store.root / f"{name}.toml"
    path.write_text(text)
    return run_config.read_run_config(path)


def test_a_history_only_grows_and_the_last_decision_holds(store, a):
    judge_session(store, a, "accept", by="anna")
    judge_session(store, a, "reject", by="ben", note="he slept")
    judge_session(store, a, "note", by="anna", note="true")
    history = verdicts.of_session(store, a)
    assert [(one.verdict, one.by, one.version) for one in history] == [
        ("accept", "anna", "v001"), ("reject", "ben", "v001"), ("note", "anna", "v001"),
    ]  # fmt: skip
    holds = verdicts.standing(history)
    assert (holds.verdict, holds.by.note) == ("reject", "he slept")


def test_the_order_is_that_of_writing_also_where_the_clock_was_set_back(store, a):
    judge_session(store, a, "accept", by="anna", at=datetime(2026, 1, 2, tzinfo=UTC))
    judge_session(store, a, "reject", by="anna", at=datetime(2026, 1, 1, tzinfo=UTC))
    assert [one.verdict for one in verdicts.of_session(store, a)] == ["accept", "reject"]


def test_a_verdict_leaves_the_session_sound_and_survives_a_lost_catalog(store, a):
    judge_session(store, a, "reject", by="anna")
    assert manifest.verify(store.latest(a)) == []
    (store.root / "catalog.sqlite").unlink()
    catalog = Catalog.of(store)
    rebuild(store, catalog)
    (row,) = [row for row in catalog.sessions.newest() if row.id == a]
    catalog.close()
    assert verdicts.standing(verdicts.of_manifests([row.manifest])).verdict == "reject"


def test_a_verdict_on_an_older_version_still_counts(store, a, turning):
    judge_session(store, a, "reject", by="anna")
    turning(session="01", day=1).save(store.session_folder(a) / "v002")
    assert verdicts.objection(store, a).startswith("rejected by anna")


def channels(store, session, stream="lfp"):
    from neuroloom.ingest import Session

    return Session.open(store.latest(session))[stream].channel_names


def test_bad_channels_are_names_that_exist_and_stay_until_said_anew(store, a):
    first, second, *_ = channels(store, a)
    judge_session(store, a, "accept", by="anna", bad_channels=[f"lfp:{first}"])
    judge_session(store, a, "note", by="ben", note="agreed")
    assert verdicts.bad_channels_of(store, a) == {"lfp": (first,)}
    judge_session(store, a, "accept", by="ben", bad_channels={"lfp": [second]})
    assert verdicts.bad_channels_of(store, a) == {"lfp": (second,)}
    judge_session(store, a, "accept", by="ben", bad_channels=[])
    assert verdicts.bad_channels_of(store, a) == {}


def test_a_channel_is_bad_or_good_as_it_was_called_last(store, a):
    first, *_ = channels(store, a)
    judge_session(store, a, "accept", by="anna", good_channels={"lfp": [first]})
    assert verdicts.good_channels_of(store, a) == {"lfp": (first,)}
    judge_session(store, a, "accept", by="ben", bad_channels={"lfp": [first]})
    assert (verdicts.good_channels_of(store, a), verdicts.bad_channels_of(store, a)) == ({}, {"lfp": (first,)})
    with pytest.raises(VerdictError, match="is called bad and good; one of them is wanted"):
        judge_session(store, a, "accept", by="ben", bad_channels=[first], good_channels=[first])


def test_a_line_without_good_channels_is_spelled_as_before_there_were_any(store, a):
    said = judge_session(store, a, "accept", by="anna")
    assert set(verdicts.row(said)) == {"verdict", "by", "at", "note", "bad_channels", "version"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"verdict": "maybe"}, "one of accept, reject, note is wanted"),
        ({"by": " "}, "the reviewer's name"),
        ({"note": "x" * 4001}, "4001 characters; at most 4000"),
        ({"verdict": "note"}, "a note needs words"),
        ({"bad_channels": ["nobody"]}, "no stream has a channel 'nobody'; there are"),
        ({"bad_channels": {"lfp": ["nobody"]}}, "lfp has no channel 'nobody'; it has"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_one_line_and_nothing_is_written(store, a, said, told):
    with pytest.raises(VerdictError, match=told):
        judge_session(store, a, **{"verdict": "accept", "by": "anna", **said})
    assert verdicts.of_session(store, a) == []


def test_a_run_has_a_history_too(store):
    preparing.prepare_run(asked(store), store)
    judge_run(store, "run", "accept", by="anna", note="good")
    judge_run(store, "run", "reject", by="ben")
    kept = json.loads((store.run_folder("run") / verdicts.VERDICTS).read_text())["verdicts"]
    assert [row["verdict"] for row in kept] == ["accept", "reject"]
    with pytest.raises(StoreError, match="no such run"):
        judge_run(store, "walk", "accept", by="anna")


def test_a_rejected_session_is_left_out_and_refused_by_name(store, a, b):
    judge_session(store, a, "reject", by="anna", note="asleep")
    preparing.prepare_run(asked(store), store)
    prepared = preparing.requested(store, "run")
    assert prepared.sessions == (b,)
    assert list(prepared.left_out) == [a]
    with pytest.raises(StoreError, match=r"rejected by anna on .*: asleep; it cannot be trained on"):
        preparing.prepare_run(asked(store, f'{RUN}sessions = ["{a}"]\n', "named"), store)


def test_a_run_goes_on_with_the_bad_channels_it_began_with(store, a):
    first, *_ = channels(store, a)
    preparing.prepare_run(asked(store), store)
    judge_session(store, a, "accept", by="anna", bad_channels=[f"lfp:{first}"])
    preparing.prepare_run(asked(store), store)
    assert preparing.requested(store, "run").bad_channels == {}


def test_bad_channels_are_masked_in_training_and_the_page_says_so(store, a, b):
    first, *others = channels(store, a)
    judge_session(store, a, "accept", by="anna", bad_channels={"lfp": [first]})
    judge_session(store, b, "reject", by="anna", note="asleep")
    preparing.prepare_run(asked(store), store)
    data = running.windows_of(preparing.requested(store, "run"), store)
    batch = data.train.random_batch(0, batch_size=2)
    assert batch.masks["lfp"].any(dim=(0, 1)).tolist() == [False] + [True] * len(others)
    run = running.train_run("run", store)
    assert np.isfinite(run.best_loss)
    seen = words(review_run(store, "run"))
    assert f"{a} v001 lfp: {first}" in seen
    assert f"Left out Session Why {b} rejected by anna" in seen


def test_features_with_and_without_reviewers_are_two_caches(store, a, tmp_path: Path):
    from neuroloom.ingest import Session

    session = Session.open(store.latest(a))
    first, *_ = channels(store, a)
    judged = verdicts.reviewed(session, {"lfp": [first]})
    assert not build_features(judged, folder=tmp_path)["lfp"].valid[:, 0].any()
    assert build_features(session, folder=tmp_path)["lfp"].valid[:, 0].any()


def test_what_a_file_calls_bad_is_masked_until_a_reviewer_calls_it_good(store, a, turning):
    session = turning(session="01", day=1)
    _, second, *others = session["lfp"].channel_names
    table = {**session["lfp"].table, "bad_in_file": (True, True, *(False for _ in others))}
    streams = [replace(s, table=table) if s.name == "lfp" else s for s in session.streams]
    told = replace(session, streams=tuple(streams), quality=quality(streams))
    told.save(store.session_folder(a) / "v002")
    judge_session(store, a, "accept", by="anna", good_channels={"lfp": [second]})
    preparing.prepare_run(asked(store, RUN + f'sessions = ["{a}"]\n'), store)
    data = running.windows_of(preparing.requested(store, "run"), store)
    batch = data.train.random_batch(0, batch_size=2)
    assert batch.masks["lfp"].any(dim=(0, 1)).tolist() == [False, True] + [True] * len(others)
    assert f"{a} v002 – lfp: {second}" in words(review_run(store, "run"))


def test_units_that_reviewers_call_bad_are_masked():
    found = build_features(verdicts.reviewed(simulate(duration_s=4, n_units=3).session, {"units": ["u1"]}))["units"]
    assert found.valid.any(axis=0).tolist() == [True, False, True]


def test_a_verdict_makes_a_retraining_new(store, a):
    (store.root / "reach.toml").write_text(RUN)
    before = prepare_retraining(store, "reach.toml").run
    judge_session(store, a, "reject", by="anna")
    found = prepare_retraining(store, "reach.toml")
    assert found.run != before
    assert found.why.endswith("1 left out")
    assert list(preparing.requested(store, found.run).left_out) == [a]
