"""Units that a network never hears."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Pathway, Topology
from neuroloom.pipeline import evaluate, train
from neuroloom.pipeline.runs.training import Run
from neuroloom.pipeline.runs.windowing import windows

Simulate = Callable[..., Any]
TOPOLOGY = Topology(
    name="two",
    areas=(Area(name="V1"), Area(name="M1")),
    pathways=(Pathway(source="V1", target="M1"), Pathway(source="M1", target="V1")),
)


def test_a_quarter_of_the_units_is_a_port_that_never_comes_in(simulated: Simulate) -> None:
    data = windows([simulated(n_units=12).session], held_out_units=0.25)
    (one,) = data.sessions.values()
    inside, outside = (one.features[name].port.channel_names for name in ("units", "units held out"))
    assert (len(inside), len(outside)) == (9, 3)
    assert set(inside) | set(outside) == {f"u{i}" for i in range(12)}
    assert "units held out" in one.target_names
    assert "units held out" not in one.input_names


def test_what_was_drawn_depends_on_the_seed_alone(simulated: Simulate) -> None:
    def held_out(seed: int) -> tuple[str, ...]:
        data = windows([simulated().session], held_out_units=0.25, seed=seed)
        return next(iter(data.sessions.values())).features["units held out"].port.channel_names

    assert held_out(1) == held_out(1)
    assert len({held_out(seed) for seed in range(6)}) > 1


def test_counts_and_areas_go_with_their_units(simulated: Simulate) -> None:
    whole = next(iter(windows([simulated().session]).sessions.values())).features["units"]
    data = windows([simulated().session], held_out_units=0.5)
    (one,) = data.sessions.values()
    for part in ("units", "units held out"):
        made = one.features[part]
        rows = [whole.port.channel_names.index(name) for name in made.port.channel_names]
        assert np.array_equal(made.values, whole.values[:, rows])
        assert made.port.areas == tuple(whole.port.areas[row] for row in rows)


def test_held_out_units_cannot_be_asked_for_as_an_input_or_of_a_single_unit(simulated: Simulate) -> None:
    session = simulated(duration_s=40).session
    with pytest.raises(ValueError, match="its units are held out"):
        windows([session], held_out_units=0.25, inputs=("units held out",))
    with pytest.raises(ValueError, match="no port with two units"):
        windows([simulated(duration_s=40, n_units=1).session], held_out_units=0.25)


def test_a_network_tells_held_out_units_from_the_others_and_is_opened_with_the_same(
    simulated: Simulate, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    made = simulated(duration_s=90, n_units=16)
    data = windows(
        [made.session], length_s=1.0, held_out_units=0.25, lag_bins=0, inputs=("units",), targets=("units held out",)
    )
    network = ModularNetwork(TOPOLOGY, area_size=12, bin_s=0.02)
    run = train(network, data, steps=150, batch_size=16, learning_rate=1e-2, folder=tmp_path)
    scores = evaluate(run, data.held_out, baselines=("ridge",))
    row = scores.get(port="units held out")
    assert row.metric == "co-smoothing bits per spike"
    assert row.low > 0.05
    again = Run.open(tmp_path).predict(made.session)
    assert again[made.session.id]["units held out"].shape[1] == 4
