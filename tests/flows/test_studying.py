"""The deployment `study/studies`: profile and settings as the dashboard hands them over."""

import json

import pytest

from neuroloom.flows import studying as flow
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.store import Store

PRICES = "budgets = [1_000, 10_000]\n[costs]\nperson_hour = 30\n"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Runs the flow without its cells; gives what was written down of a run."""
    store = Store.here(tmp_path / "store").create()
    monkeypatch.setattr(Store, "here", lambda *_: store)
    runs = []
    monkeypatch.setattr(flow, "cells", lambda run, store: runs.append(run))
    monkeypatch.setattr(flow, "conclusion", lambda run: None)

    def ask(*arguments, **more):
        flow.study.fn(*arguments, **more)
        return runs[-1], json.loads((store.run_folder(runs[-1]) / "study.json").read_text())["settings"]

    ask.store = store
    return ask


def test_a_profile_is_asked_for_by_name(asked):
    run, settings = asked("distill", profile="default")
    assert (run, settings["budgets"]) == ("distill-default", [256])


def test_own_prices_come_as_text_or_as_a_file_of_the_store(asked):
    run, settings = asked("tradeoff", settings=PRICES, run_name="cheap")
    assert (run, settings["budgets"], settings["costs"]["person_hour"]) == ("cheap", [1000, 10000], 30)
    (asked.store.root / "prices.toml").write_text(PRICES)
    run, settings = asked("tradeoff", config="prices.toml")
    assert (run, settings["budgets"]) == ("prices", [1000, 10000])
    _, settings = asked("tradeoff", config="prices.toml", settings="budgets = [5]\n", run_name="both")
    assert (settings["budgets"], settings["costs"]["person_hour"]) == ([5], 30)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"settings": "sedes = 1\n", "run_name": "x"}, r"settings: sedes: no such setting \(seeds\?\)"),
        ({"settings": "seeds = 1\n"}, "settings without a name; give run_name"),
        ({"config": "../mine.toml"}, "is not in the store's folder"),
        ({"config": "away.toml"}, "a TOML file is wanted"),
        ({"profile": "vast"}, "distill has no profile 'vast'"),
        ({"full": True, "profile": "default"}, "one of them is wanted"),
    ],
)
def test_what_is_wrong_is_told(asked, more, message):
    with pytest.raises(ValueError, match=message):
        asked("distill", **more)
    assert issubclass(ConfigError, ValueError)
    assert not any(asked.store.runs.glob("*"))
