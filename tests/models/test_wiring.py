"""Sparse pathways: connections that are not there, and connections that are removed."""

import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Pathway, Port, Topology

NEAR_AND_FAR = Topology(
    name="t",
    areas=(Area(name="A"), Area(name="B"), Area(name="C")),
    pathways=(Pathway(source="A", target="B", length_mm=1.0), Pathway(source="A", target="C", length_mm=150.0)),
)
LIGHT = Port(name="light", kind="stimulus", channel_names=("s",))
INPUT = {"light": torch.ones(1, 6, 1)}


def network(**options) -> ModularNetwork:
    made = ModularNetwork(NEAR_AND_FAR, **({"area_size": 10} | options))
    made.attach("s", [LIGHT], [])
    return made


def test_a_density_of_a_fifth_leaves_a_fifth_of_the_connections():
    made = network(density=0.2)
    assert (made.messages.weights() != 0).float().mean().item() == pytest.approx(0.2)
    assert made.messages.share_removed() == pytest.approx(0.8)


def test_sparse_pathways_carry_as_much_as_full_ones_at_the_start():
    full, sparse = (network(density=d, area_size=60).messages.weights()[0].norm().item() for d in (1.0, 0.1))
    assert sparse == pytest.approx(full, rel=0.1)


@pytest.mark.parametrize("options", [{}, {"dale": True}, {"density": 0.5}])
def test_pruning_takes_the_weakest_and_says_what_is_gone(options):
    made = network(**options)
    before = made.messages.weights().detach().clone()
    assert made.prune(0.75) == pytest.approx(0.75)
    after = made.messages.weights()
    kept = after != 0
    assert torch.equal(after[kept], before[kept])
    assert before[kept].abs().min() >= before[~kept].abs().max()


def test_what_is_pruned_does_not_come_back_and_learns_nothing():
    made = network()
    made.prune(0.5)
    gone = made.messages.weights() == 0
    optimizer = torch.optim.SGD(made.parameters(), lr=1.0)
    made.states("s", INPUT).sum().backward()
    optimizer.step()
    assert (made.messages.weights()[gone] == 0).all()
    made.prune(0.6)
    assert (made.messages.weights()[gone] == 0).all()
    assert made.prune(0.1) == pytest.approx(0.6)


def test_long_connections_go_first_where_axon_costs():
    made = network()
    made.prune(0.5, scale_mm=10.0)
    left = (made.messages.weights() != 0).float().mean(dim=(1, 2))
    by_name = {
        made.node_names[edge.target]: share.item() for edge, share in zip(made.messages.edges, left, strict=True)
    }
    assert by_name["B"] > 0.8 > 0.2 > by_name["C"]


def test_of_messages_of_low_rank_whole_components_go():
    made = network(rank=4)
    made.prune(0.5)
    ranks = torch.linalg.matrix_rank(made.messages.weights())
    assert ranks.sum().item() == 4


def test_a_pruned_network_is_saved_and_loaded_whole(tmp_path):
    made, other = network(seed=1), network(seed=2)
    made.prune(0.6)
    torch.save(made.state_dict(), tmp_path / "w.pt")
    other.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    assert torch.equal(made.states("s", INPUT), other.states("s", INPUT))
    assert other.messages.share_removed() == pytest.approx(0.6)
    whole = network(seed=3)
    other.load_state_dict(whole.state_dict())
    assert torch.equal(whole.states("s", INPUT), other.states("s", INPUT))


@pytest.mark.parametrize("act", [lambda: network().prune(1.0), lambda: network(density=0.0)])
def test_nothing_at_all_is_refused(act):
    with pytest.raises(ValueError, match=r"share of 1\.0|density 0\.0"):
        act()
