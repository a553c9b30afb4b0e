"""The front page: what is of today, and what got better or worse."""

import json
import os
import time
from datetime import timedelta

import pytest

from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.sessions import Sessions
from neuroloom.pipeline.catalog.tables import DONE
from neuroloom.pipeline.noting import note_published, noted_run
from neuroloom.pipeline.review import write_index
from neuroloom.pipeline.reviewing import review_index, review_run, run_shown
from neuroloom.pipeline.verdicts import judge_session

from .example import run_folder, session
from .test_pages import index_view, words

DAY_S = 86400


def published(store, days_ago=0.0, **changed):
    one = session(**changed)
    folder = store.sessions / one.id / "v001"
    one.save(folder)
    when = time.time() - days_ago * DAY_S
    os.utime(folder / "session.nwb", (when, when))
    return one.id


def trained(store, name, better_by=0.0, hours_ago=0.0):
    folder = run_folder(store.runs / name)
    said = json.loads((folder / "scores.json").read_text())
    for row in said["scores"]:
        if row["model"] == "network":
            row |= {key: row[key] + better_by for key in ("value", "low", "high")}
    (folder / "scores.json").write_text(json.dumps(said))
    catalog = Catalog.of(store)
    catalog.runs.put(name, state=DONE, started_at=time.time() - hours_ago * 3600)
    catalog.close()


def today(store):
    catalog = Catalog.of(store)
    note_published(store, catalog)
    catalog.close()
    return words(review_index(store)).partition("Sessions Session")[0]


def test_what_came_in_is_of_the_last_day_and_a_verdict_later_does_not_make_it_new(store):
    old, new = published(store, days_ago=2, session="01"), published(store, session="02")
    judge_session(store, old, "accept", by="anna")
    seen = today(store).partition("Waits")[0]
    assert f"Came in 1 {new}" in seen
    assert old not in seen


def test_what_nobody_has_judged_is_listed_until_somebody_does(store):
    one = published(store)
    assert f"To be judged 1 {one}" in today(store)
    judge_session(store, one, "reject", by="anna")
    assert "To be judged 0 Every session has a verdict." in today(store)


def test_findings_stand_beside_those_of_the_subjects_session_before(store):
    start = session().start
    published(store, session="01", start=start)
    published(store, session="02", start=start + timedelta(days=1), quality={})
    assert "fewer than the session before" in today(store)


@pytest.mark.parametrize(("by", "told"), [(0.3, "▲ 0.300 better"), (-0.3, "▼ 0.300 worse"), (0.02, "▲ 0.020 within")])
def test_a_run_is_better_or_worse_where_intervals_are_apart(store, by, told):
    trained(store, "one", hours_ago=30)
    trained(store, "two", better_by=by)
    assert f"Better or worse 1 two {told}" in today(store)


def test_what_waits_is_not_what_was_refused(store):
    catalog = Catalog.of(store)
    catalog.drops.add("a.edf", folder=store.inbox, state="SETTLING", reason="it is growing")
    catalog.drops.add("b.edf", folder=store.inbox, state="QUARANTINED", reason="no samples")
    catalog.close()
    assert "Waits 1 a.edf settling it is growing" in today(store)


def test_damage_comes_first(tmp_path):
    from datetime import UTC, datetime

    from neuroloom.pipeline.review.views import DamageRow, HealthView

    damaged = DamageRow(session="s", version="v001", what=("x",), advice="reingest", when=datetime.now(UTC))
    seen = words(write_index(index_view(health=HealthView(damaged=(damaged,))), tmp_path))
    assert seen.index("1 version damaged on disk.") < seen.index("Came in")


def test_a_run_stands_beside_others_that_share_a_score_with_what_differs(store):
    trained(store, "one")
    trained(store, "two", better_by=0.2)
    (store.runs / "two" / "config.json").write_text('{"seed": 2}')
    seen = words(review_run(store, "one"))
    assert "Beside other runs Runs that were scored on the same: two . Port Metric one (this one) two" in seen
    assert "Settings that differ" in seen


def test_a_run_that_stopped_says_why_and_what_to_do_on_its_page_and_on_the_front_page(store):
    run_folder(store.runs / "reach")
    with pytest.raises(ValueError, match="no room"), run_shown(store, "reach"), noted_run(store, "reach", "train"):
        raise ValueError("there is no room")
    told = "topped: there is no room; asked for again as it was, it goes on where it stopped"
    page, front = (store.review / name for name in ("run-reach.html", "index.html"))
    assert f"S{told}." in words(page)
    assert words(front).count(f"s{told}") == 2  # today, and among all runs


def test_an_empty_store_says_what_to_do_first(store):
    seen = words(review_index(store))
    assert "Put recordings, files or folders, into the folder inbox" in seen
    assert "To be judged 0 No session yet." in seen


def test_a_session_that_comes_in_while_the_page_is_made_does_not_stop_it(store, monkeypatch):
    came = []

    def then_one_comes(asked):
        def answered(sessions, *keys):
            found = asked(sessions, *keys)
            if not came:
                came.append(published(store, session="02"))
                note_published(store, Catalog(sessions.engine))
            return found

        return answered

    published(store, session="01")
    today(store)
    for name in ("every", "newest"):
        monkeypatch.setattr(Sessions, name, then_one_comes(getattr(Sessions, name)))
    review_index(store)
    assert came[0] in words(review_index(store))
