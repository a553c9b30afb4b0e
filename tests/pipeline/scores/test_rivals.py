"""Other networks under the same conditions, and what pathways of a trained one do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neuroloom.ingest import Session
from neuroloom.models import Area, ModularNetwork, Pathway, Topology
from neuroloom.pipeline import TrainConfig, evaluate
from neuroloom.pipeline.runs.training import attach, train
from neuroloom.pipeline.runs.windowing import Windows, windows
from neuroloom.pipeline.scores.pathways import pathway_rows
from neuroloom.pipeline.scores.rivals import NAMES, OFFERED, Conditions, check_rivals, rival, train_rivals

AREAS = tuple(
    Area(
        name=n,
        position_mm=(10.0 * i, 0, 0),
        inputs=("light",) if n == "A" else (),
        outputs=("hand",) if n == "C" else (),
    )
    for i, n in enumerate("ABCD")
)
TOPOLOGY = Topology(
    name="four",
    areas=AREAS,
    pathways=tuple(Pathway(source=s, target=t, length_mm=20.0) for s, t in ("AB", "BC", "CD", "DA")),
    speed_m_per_s=1.0,
)


def make(topology: Topology, seed: int) -> ModularNetwork:
    return ModularNetwork(topology, area_size=6, bin_s=0.02, seed=seed)


@pytest.fixture(scope="module")
def data(turning: Callable[..., Session]) -> Windows:
    torch.set_num_threads(1)
    return windows([turning(duration_s=40)], length_s=1.0, inputs=("light",), targets=("hand", "lfp"))


def n_shared(network: ModularNetwork) -> int:
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith("sessions."))


def test_a_gru_has_about_as_many_parameters() -> None:
    large = Topology(name="large", areas=tuple(Area(name=f"a{i}", size=30) for i in range(6)))
    found, wanted = (n_shared(rival(make, large, name, 0)) for name in ("gru", "again"))
    assert found == pytest.approx(wanted, rel=0.1)


def test_each_seed_draws_its_own_rewiring_and_the_others_keep_the_topology() -> None:
    ends = {
        seed: [(p.source, p.target) for p in rival(make, TOPOLOGY, "rewired", seed).topology.pathways]
        for seed in range(4)
    }
    assert len({tuple(pathways) for pathways in ends.values()}) > 1
    assert rival(make, TOPOLOGY, "again", 3).topology == TOPOLOGY
    assert rival(make, TOPOLOGY, "dense", 0).topology.density == 1
    assert rival(make, TOPOLOGY, "none", 0).topology.pathways == ()


def test_all_are_trained_alike_and_scored_together(data: Windows, tmp_path: Path) -> None:
    config = TrainConfig(steps=4, batch_size=4)
    conditions = Conditions(
        topology=TOPOLOGY, make=make, attach=lambda network: attach(network, data), data=data, config=config
    )
    rivals = train_rivals(conditions, ("dense", "gru"), seeds=(0, 1), folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"dense-0", "dense-1", "gru-0", "gru-1"}
    again = train_rivals(conditions, ("dense",), seeds=(0, 1), folder=tmp_path)  # found finished
    assert [run.losses for run in again["dense"]] == [run.losses for run in rivals["dense"]]
    own = train(make(TOPOLOGY, 0), data, steps=4, batch_size=4)
    scores = evaluate(own, data.held_out, baselines=("mean",), rivals=rivals)
    lead = scores.get(port="hand", model="gru").lead
    assert lead is not None
    assert lead[0] == pytest.approx(scores.get(port="hand").value - scores.get(port="hand", model="gru").value)


def test_a_name_that_is_not_known_lists_those_that_are(data: Windows) -> None:
    conditions = Conditions(topology=TOPOLOGY, make=make, attach=lambda n: None, data=data, config=TrainConfig())
    with pytest.raises(ValueError, match=f"no network 'lstm' to compare with; there are {', '.join(NAMES)}"):
        train_rivals(conditions, ("lstm",), seeds=(0,))


def test_the_network_itself_is_not_offered_to_compare_with() -> None:
    with pytest.raises(ValueError, match=f"no network 'again' to compare with; there are {', '.join(OFFERED)}$"):
        check_rivals(["dense", "again"])


def test_pathways_of_one_area_carry_what_their_weights_let_through(data: Windows) -> None:
    """A sends its first unit's state to B, its second one's to D: what D gets tells nothing of the first."""
    ends = (("A", "B"), ("A", "D"), ("B", "C"))
    run = train(make(replace(TOPOLOGY, pathways=tuple(Pathway(source=s, target=t) for s, t in ends)), 0), data, steps=1)
    with torch.no_grad():
        weights = run.network.messages.weight
        for n, position in enumerate(map(run.network.messages.order.index, (0, 1))):
            weights[position] = 1e-3 * torch.eye(6)
            weights[position][n, n] = 1.0
    first, second = (
        {row.target: row for row in pathway_rows(run, data.held_out, data.validation)}[target].carries["lfp"]
        for target in ("B", "D")
    )
    assert abs(first - second) > 0.01


def test_only_pathways_between_where_light_enters_and_the_hand_leaves_are_missed_by_the_hand(data: Windows) -> None:
    chain = replace(TOPOLOGY, pathways=TOPOLOGY.pathways[:3])  # A to D and not back
    run = train(make(chain, 0), data, steps=150, batch_size=8, learning_rate=1e-2, patience=0)
    rows = {f"{row.source}{row.target}": row for row in pathway_rows(run, data.held_out, data.validation)}
    assert min(rows["AB"].lesion["hand"], rows["BC"].lesion["hand"]) > 0.1
    assert rows["CD"].lesion["hand"] == pytest.approx(0, abs=1e-6)
    assert rows["AB"].carries["hand"] > 0.1
    assert torch.equal(run.network.messages.intact, torch.ones_like(run.network.messages.intact))
    assert 0 < rows["BC"].share < 1
    assert rows["AB"].to_json()["source"] == "A"
