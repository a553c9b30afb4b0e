"""What kind of system a trained network is, of networks where it is known."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from neuroloom.ingest import Session
from neuroloom.models import Area, GlobalModule, ModularNetwork, Topology
from neuroloom.pipeline.runs.training import train
from neuroloom.pipeline.runs.windowing import Windows, windows
from neuroloom.pipeline.scores.mechanism import mechanisms

AREA = Area(name="M1", inputs=("light",), outputs=("hand",))


@pytest.fixture(scope="module")
def data(turning: Callable[..., Session]) -> Windows:
    torch.set_num_threads(1)
    return windows([turning(duration_s=30)], length_s=0.6, inputs=("light",), targets=("hand",))


def found(data: Windows, global_modules: tuple[GlobalModule, ...] = (), **options: Any) -> Any:
    topology = Topology(name="one", areas=(AREA,), global_modules=global_modules)
    network = ModularNetwork(topology, area_size=12, bin_s=0.02, seed=1, **options)
    run = train(network, data, steps=1, batch_size=2, learning_rate=1e-9, patience=0)
    (one,) = mechanisms(run, data.held_out)
    return one


def test_a_network_of_low_gain_is_drawn_to_one_state(data: Windows) -> None:
    one = found(data, gain=0.5)
    assert len(one.growth) == 1
    assert one.growth[0] < 1
    assert one.exponents_per_s[0] < 0
    assert one.spectral_radius == pytest.approx(0.5, rel=0.05)
    assert "1 fixed point found, 1 of which attracts" in one.words()
    assert "small differences shrink" in one.words()


def test_a_network_of_high_gain_has_fixed_points_that_do_not_attract(data: Windows) -> None:
    one = found(data, gain=6.0)
    assert max(one.growth) > 1
    assert json.loads(json.dumps(one.to_json()))["growth"] == pytest.approx(list(one.growth))


def test_of_a_clock_it_is_said_why_there_are_no_exponents(data: Windows) -> None:
    one = found(data, (GlobalModule(name="slow", time_scale_s=0.2, every_s=0.1),))
    assert (one.exponents_per_s, one.to_json()["growth"][0]) == ((), None)
    assert "update by a clock" in one.words()


def test_a_network_that_sessions_modulate_is_refused(data: Windows) -> None:
    with pytest.raises(ValueError, match="a vector per session"):
        found(data, session_size=2)
