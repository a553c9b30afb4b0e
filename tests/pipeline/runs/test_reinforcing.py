"""Reinforcement on a leash has a known optimum: the copy's chances times exp(reward / leash)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Topology
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.runs.reinforcing import (
    ReinforceConfig,
    optimum,
    reached,
    read_reinforce_config,
    reinforce,
    reinforce_run,
)
from neuroloom.pipeline.runs.run import Run
from neuroloom.pipeline.runs.training import train
from neuroloom.pipeline.scores import judging
from neuroloom.pipeline.store import Store

from ..scores.test_fidelity import Person, person

ASKED: dict[str, Any] = {
    "copy": "copy",
    "port": "trials_choice",
    "events": "cue",
    "reward": {"hard": {"l": 1.0}},
    "steps": 120,
    "learning_rate": 0.02,
}


@pytest.fixture(scope="module")
def someone() -> Person:
    torch.set_num_threads(1)
    return person()


@pytest.fixture(scope="module")
def run(someone: Person) -> Run:
    network = ModularNetwork(Topology(name="one", areas=(Area(name="all", size=16),)), bin_s=0.1, tau_s=0.5)
    return train(network, someone.data, steps=60, batch_size=16, learning_rate=0.03)


def test_the_optimum_is_the_copy_tilted_by_the_reward() -> None:
    found = optimum(np.array([[0.5, 0.5], [0.8, 0.2]]), np.array([[0.0, 1.0], [0.0, 0.0]]), leash=1 / np.log(3))
    assert found == pytest.approx(np.array([[0.25, 0.75], [0.8, 0.2]]))


def test_a_shorter_leash_earns_less_and_stays_nearer_and_both_come_near_their_optimum(
    run: Run, someone: Person
) -> None:
    held_out, found = someone.data.held_out, {}
    state = {name: value.clone() for name, value in run.network.state_dict().items()}
    for leash in (0.3, 1.5):
        config = ReinforceConfig(**ASKED, leash=leash)
        found[leash] = reached(run, reinforce(run, someone.data, config), held_out, config)
        gain, best_gain = (
            value - found[leash].copy_reward for value in (found[leash].reward, found[leash].best_reward)
        )
        assert gain == pytest.approx(best_gain, rel=0.25)
        assert found[leash].bits == pytest.approx(found[leash].best_bits, rel=0.5, abs=0.01)
    assert found[0.3].reward > found[1.5].reward
    assert found[0.3].bits > 2 * found[1.5].bits
    assert all(torch.equal(value, state[name]) for name, value in run.network.state_dict().items())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"port": "cue"}, "'cue' is no target of classes; there are trials_choice"),
        ({"reward": {"late": {"l": 1}}}, "a reward for 'l' after 'late'; events are"),
        ({"reward": {"hard": {"up": 1}}}, "a reward for 'up' after 'hard'; .* answers l, r"),
        ({"reward": {"hard": {"l": 1, "r": 1}}}, "no answer of trials_choice is rewarded more than another: the last"),
    ],
)
def test_a_reward_for_what_is_not_there_is_told(run: Run, someone: Person, changed: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reinforce(run, someone.data, ReinforceConfig(**{**ASKED, **changed}))


def test_a_policy_is_a_run_and_tells_how_far_it_is_from_its_person(someone: Person, tmp_path: Path) -> None:
    store = Store(tmp_path / "store").create()
    someone.session.save(store.sessions / someone.session.id / "v001")
    text = 'length_s = 4.0\nbin_s = 0.1\nheld_out = 0.5\ninputs = ["cue"]\nsteps = 30\narea_size = 6\nloggers = []\n'
    (tmp_path / "copy.toml").write_text(text)
    preparing.prepare_run(run_config.read_run_config(tmp_path / "copy.toml"), store)
    running.train_run("copy", store)
    asked = 'copy = "copy"\nport = "trials_choice"\nevents = "cue"\nleash = 0.2\nsteps = 40\nlearning_rate = 0.03\n'
    (tmp_path / "better.toml").write_text(asked + "[reward.hard]\nl = 1.0\n[reward.turned]\nl = 1.0\n")
    config = read_reinforce_config(tmp_path / "better.toml")
    found, before, after = reinforce_run(config, store)
    assert found.reward > found.copy_reward
    assert (before.distances, after.distances[0].bits > 0) == ((), True)
    compared = [[(m.name, m.what) for m in one.ports[0].measures] for one in (before, after)]
    assert compared[0] == compared[1]
    wrong = {m.what for m in after.ports[0].departures}
    assert {"l after hard", "l after turned"} & wrong
    assert preparing.sessions_behind(store, "better") == {someone.session.id}
    assert len(judging.evaluate_run("better", store).rows) > 0
    with pytest.raises(ConfigError, match="is there already"):
        reinforce_run(config, store)
