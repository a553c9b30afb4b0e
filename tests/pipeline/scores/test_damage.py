"""Damage to a network whose only way from its input to its output is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.ingest import Session
from neuroloom.models import Area, ModularNetwork, Pathway, Topology
from neuroloom.pipeline.runs.training import train
from neuroloom.pipeline.runs.windowing import windows
from neuroloom.pipeline.scores.damage import Damage, damage_rows

CHAIN = Topology(
    name="chain",
    areas=(Area(name="V1", inputs=("light",)), Area(name="M1", outputs=("hand",)), Area(name="idle")),
    pathways=(
        Pathway(source="V1", target="M1", length_mm=10),
        Pathway(source="M1", target="V1", length_mm=10),
        Pathway(source="M1", target="idle", length_mm=10),
    ),
)


@pytest.fixture(scope="module")
def rows(turning: Callable[..., Session]) -> dict[tuple[str, str], Damage]:
    torch.set_num_threads(1)
    data = windows([turning(duration_s=60)], length_s=0.6, inputs=("light",), targets=("hand",))
    network = ModularNetwork(CHAIN, area_size=8, bin_s=0.02, seed=1)
    run = train(network, data, steps=80, batch_size=16, learning_rate=0.02, patience=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = list(damage_rows(run, data.held_out, ["hand"], noise=(0.1, 10.0)))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    return {(row.kind, row.what): row for row in found}


def test_without_the_only_way_through_nothing_is_known(rows: dict[tuple[str, str], Damage]) -> None:
    for blow in (("pathway", "V1 -> M1"), ("area", "V1"), ("area", "M1")):
        assert rows[blow].low > 0
        assert rows[blow].kept < 0.2


def test_what_leads_nowhere_is_not_missed(rows: dict[tuple[str, str], Damage]) -> None:
    for blow in (("pathway", "M1 -> idle"), ("area", "idle")):
        assert rows[blow].lost == pytest.approx(0, abs=1e-5)
        assert rows[blow].kept == pytest.approx(1, abs=1e-4)


def test_more_noise_costs_more(rows: dict[tuple[str, str], Damage]) -> None:
    assert rows["noise", "0.1"].kept > 0.8
    assert rows["noise", "10"].lost > rows["noise", "0.1"].high


def test_a_row_is_json(rows: dict[tuple[str, str], Damage]) -> None:
    said: dict[str, Any] = rows["area", "V1"].to_json()
    assert np.isfinite([said["lost"], said["low"], said["high"]]).all()
    assert (said["session"], said["port"]) == ("sub-01_ses-01", "hand")
