"""How blocks of bins, kinds side by side, clocks and cuts behave in a network."""

from dataclasses import replace

import pytest
import torch

from neuroloom.models import Area, GlobalModule, ModularNetwork, Pathway, Port, Topology
from neuroloom.models.recurrence import Cut

BIN_S = 0.01
KINDS = ("leaky", "gru", "gated_linear", "transformer")
LIGHT = Port(name="light", kind="stimulus", channel_names=("s",), bin_s=BIN_S)
LFP = Port(name="lfp", kind="lfp", channel_names=("a",), areas=("A",), bin_s=BIN_S)
MIXED = {"A": "gated_linear", "B": "transformer", "C": "gru", "D": "leaky"}


def ring(length_mm: float, names: str = "ABCD", **others) -> Topology:
    """A -> B -> C -> D -> A; 10 mm take one bin."""
    ends = zip(names, names[1:] + names[0], strict=True)
    pathways = tuple(Pathway(source=s, target=t, length_mm=length_mm) for s, t in ends)
    return Topology(
        name="ring", areas=tuple(Area(name=n) for n in names), pathways=pathways, speed_m_per_s=1.0, **others
    )


def network(topology: Topology, **options) -> ModularNetwork:
    made = ModularNetwork(topology, **({"area_size": 8, "bin_s": BIN_S} | options))
    made.attach("s", [LIGHT], [LFP])
    return made


def light(n_bins: int = 20) -> dict[str, torch.Tensor]:
    return {"light": torch.randn(2, n_bins, 1, generator=torch.Generator().manual_seed(0))}


@pytest.mark.parametrize("kind", [*KINDS, MIXED])
def test_blocks_as_long_as_the_shortest_delay_give_what_single_bins_give(kind):
    made = network(ring(50), kind=kind)
    assert made.messages.min_delay == 5
    together = made.states("s", light())
    made.messages.min_delay = 1
    assert torch.allclose(together, made.states("s", light()), atol=1e-6)


def test_all_kinds_learn_together_in_one_network():
    made = network(ring(20), kind=MIXED)
    made("s", light())["lfp"].square().sum().backward()
    assert {type(group.packed).__module__.rsplit(".", 1)[-1] for group in made.groups} == set(KINDS)
    assert all(any(p.grad.abs().sum() > 0 for p in g.packed.parameters() if p.grad is not None) for g in made.groups)


def test_areas_of_different_size_keep_to_their_own_units_in_every_kind():
    topology = ring(20)
    sized = replace(topology, areas=tuple(replace(a, size=3 + 4 * (a.name == "B")) for a in topology.areas))
    for kind in (*KINDS, MIXED):
        states = network(sized, kind=kind).states("s", light())
        assert states.shape[2:] == (4, 7)
        assert states[:, :, [0, 2, 3], 3:].abs().max() == 0
        assert states[:, :, 1].abs().amin(dim=2).max() > 0


def calls_of(made: ModularNetwork, kind: str) -> list[int]:
    """The lengths of the blocks in which modules of a kind are run."""
    (packed,) = [g.packed for g in made.groups if type(g.packed).__module__.endswith(kind)]
    found, run = [], packed.run
    packed.run = lambda state, drive, *rest: found.append(drive.shape[1]) or run(state, drive, *rest)
    made.states("s", light())
    return found


def test_without_pathways_the_whole_sequence_runs_at_once():
    assert calls_of(network(ring(20).none(), kind="gated_linear"), "gated_linear") == [20]


def test_an_area_that_hears_nobody_runs_its_whole_sequence_at_once_while_others_wait():
    chain = replace(ring(10), pathways=ring(10).pathways[:-1])  # nothing leads back to A
    made = network(chain, kind={"A": "gated_linear", "": "leaky"})
    assert calls_of(made, "gated_linear") == [20]
    looped = network(ring(10), kind={"A": "gated_linear", "": "leaky"})
    assert calls_of(looped, "gated_linear") == [1] * 20


def test_an_area_that_hears_nobody_gives_the_same_numbers_either_way():
    chain = replace(ring(10), pathways=ring(10).pathways[:-1])
    made = network(chain, kind=MIXED)
    ahead = made.states("s", light())
    for group in made.groups:
        group.is_alone = False
    assert torch.allclose(ahead, made.states("s", light()), atol=1e-6)


def test_a_clocked_module_hears_what_came_between_its_updates():
    """A pulse that is over before the next update still reaches it, and its mean is what counts."""
    topology = replace(ring(10), pathways=(), global_modules=(GlobalModule(name="G", every_s=0.05),))
    made = network(topology, tau_s=1e-4)  # areas forget within a bin
    drive = torch.zeros(5, 12, 1, 8)
    drive[0, 2] = 3.0
    pulsed, still = (made.run(d)[4, :, 0] for d in (drive, torch.zeros_like(drive)))
    changed = (pulsed - still).abs().amax(dim=1) > 1e-6
    assert changed.tolist() == [False] * 5 + [True] * 7  # updates at bins 0, 5, 10
    assert torch.equal(pulsed[5], pulsed[9])


def test_fast_slow_and_clocked_modules_live_side_by_side():
    modules = (
        GlobalModule(name="fast", time_scale_s=0.02),
        GlobalModule(name="slow", time_scale_s=2.0),
        GlobalModule(name="clocked", time_scale_s=0.5, every_s=0.04),
    )
    made = network(ring(10, global_modules=modules), kind={"clocked": "gru"})
    states = made.run(torch.randn(7, 20, 2, 8))
    steps = states.diff(dim=1).abs().mean(dim=(0, 2, 3))
    assert steps.shape == (19,)
    moved = [states[n].diff(dim=0).abs().mean().item() for n in (4, 5)]
    assert moved[0] > 10 * moved[1]
    assert [bool(step) for step in states[6].diff(dim=0).abs().sum(dim=(1, 2)) > 0][:8] == [
        False, False, False, True, False, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [*KINDS, MIXED])
def test_no_gradient_lives_longer_than_the_cut(kind):
    made = network(ring(10), kind=kind)
    inputs = light()
    inputs["light"].requires_grad_()
    made.states("s", inputs, cut=Cut(every_bins=4))[:, 13].sum().backward()
    reached = inputs["light"].grad.abs().sum(dim=(0, 2)) > 0
    assert reached.tolist() == [False] * 12 + [True] * 2 + [False] * 6


@pytest.mark.parametrize("kind", [*KINDS, MIXED])
def test_a_gradient_cut_between_areas_stays_at_home(kind):
    made = network(ring(10), kind=kind)
    drive = torch.randn(4, 20, 2, 8).requires_grad_()
    made.run(drive, cut=Cut(between_areas=True))[1, 15].sum().backward()  # an error of B
    assert (drive.grad.abs().sum(dim=(1, 2, 3)) > 0).tolist() == [False, True, False, False]
    into_b = [e for e, edge in enumerate(made.messages.edges) if edge.target == 1]
    taught = made.messages.weight.grad.abs().sum(dim=(1, 2)) > 0
    assert taught.nonzero().flatten().tolist() == into_b


def test_a_cut_changes_no_number():
    made = network(ring(10), kind=MIXED)
    whole = made.states("s", light())
    for cut in (Cut(every_bins=3), Cut(between_areas=True), Cut(every_bins=1, between_areas=True)):
        assert torch.allclose(made.states("s", light(), cut=cut), whole, atol=1e-6)


def test_settings_of_a_kind_reach_it_and_wrong_ones_are_told():
    made = network(ring(10), kind="transformer", kind_options={"transformer": {"window_bins": 3}})
    assert made.groups[0].packed.window_bins == 3
    with pytest.raises(ValueError, match="no kind of module 'trafo'; there are"):
        network(ring(10), kind_options={"trafo": {}})
    with pytest.raises(ValueError, match="'window' is no setting of kind 'transformer'; it has: window_bins"):
        network(ring(10), kind="transformer", kind_options={"transformer": {"window": 3}})


def kept_bytes(go) -> int:
    """Bytes of different tensors that a forward pass keeps for its gradient."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        go()
    return sum(kept.values())


@pytest.mark.parametrize("kind", ["gru", "gated_linear", "transformer", MIXED])
@pytest.mark.parametrize("cut", [None, Cut(every_bins=6, between_areas=True)])
def test_what_is_computed_again_gives_the_same_gradients(kind, cut):
    whole, again = (network(ring(20), kind=kind, recompute_bins=n) for n in (0, 7))
    for made in (whole, again):
        made("s", light(), cut=cut)["lfp"].square().sum().backward()
    assert torch.allclose(whole("s", light())["lfp"], again("s", light())["lfp"], atol=1e-6)
    for (name, one), other in zip(whole.named_parameters(), again.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        assert one.grad is None or torch.allclose(one.grad, other.grad, atol=1e-6), name


def test_what_is_computed_again_is_not_kept():
    whole, again = (network(ring(20), kind="gru", area_size=32, recompute_bins=n) for n in (0, 25))
    kept = [kept_bytes(lambda made=made: made("s", light(400))["lfp"]) for made in (whole, again)]
    assert kept[1] < 0.5 * kept[0]


def test_a_state_that_is_nudged_can_be_computed_again():
    def nudge(state, bin_):
        return state * (0.5 if bin_ % 3 else 1.0)

    grads = []
    for n in (0, 7):
        made = network(ring(20), kind="gru", recompute_bins=n)
        made("s", light(), nudge=nudge)["lfp"].square().sum().backward()
        grads.append([p.grad for p in made.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))
