"""Currents, lesions and stimulation, on networks whose currents are known."""

import pytest
import torch

from neuroloom.models import Area, GlobalModule, ModularNetwork, Pathway, Port, Topology
from neuroloom.models.currents import currents, lesioned, stimulated

LIGHT = Port(name="light", kind="stimulus", channel_names=("a", "b"), bin_s=0.05)
HAND = Port(name="hand", kind="continuous", channel_names=("x",), areas=("B",), bin_s=0.05)
CHAIN = Topology(
    name="chain",
    areas=(Area(name="A", inputs=("light",)), Area(name="B"), Area(name="C")),
    pathways=(
        Pathway(source="A", target="B", length_mm=100.0),
        Pathway(source="B", target="C"),
        Pathway(source="C", target="A", weight=0.5),
    ),
    speed_m_per_s=1.0,
)


def network(topology: Topology = CHAIN, **options) -> ModularNetwork:
    made = ModularNetwork(topology, area_size=4, bin_s=0.05, **options)
    made.attach("s", [LIGHT], [HAND])
    return made.eval()


def light(n_bins: int = 12) -> dict[str, torch.Tensor]:
    return {"light": torch.randn(3, n_bins, 2, generator=torch.Generator().manual_seed(0))}


@pytest.mark.parametrize("options", [{}, {"rank": 2}, {"session_size": 2}])
def test_drive_messages_and_local_currents_make_the_next_state(options):
    made = network(**options)
    found, states = currents(made, "s", light()), made.states("s", light()).permute(2, 0, 1, 3)
    total = found.drive + found.local + found.global_modules
    total = total.index_add(0, found.targets, found.messages)
    alpha = made.groups[0].packed.constants()[1][:, None]
    before = torch.cat([torch.zeros_like(states[:, :, :1]), states[:, :, :-1]], dim=2)
    assert torch.allclose(before + alpha * (torch.tanh(total) - before), states, atol=1e-5)


def test_what_global_modules_send_is_counted_apart():
    topology = Topology(name="one", areas=(Area(name="B"),), global_modules=(GlobalModule(name="G"),))
    found = currents(network(topology), "s", light())
    assert found.global_modules.abs().sum() > 0
    assert found.messages.shape[0] == 0


def test_a_message_is_the_state_of_its_source_after_its_delay_times_its_weight():
    made = network()
    found, states = currents(made, "s", light()), made.states("s", light())
    weight = made.messages.weights()[made.messages.order.index(0)]
    assert torch.allclose(found.messages[0][:, 2:], states[:, :-2, 0] @ weight, atol=1e-6)  # 100 mm at 1 m/s: 2 bins
    assert found.messages[0][:, :2].abs().sum() == 0


def test_shares_of_all_currents_into_an_area_are_one():
    found = currents(network(), "s", light())
    pathways, local = found.shares()
    assert torch.allclose(local.index_add(0, found.targets, pathways), torch.ones(3))


def test_equal_activity_may_come_of_different_currents():
    """B follows A by a pathway in one network; in the other it makes the same by itself, from the same input."""
    areas = (Area(name="A"), Area(name="B"))
    by_pathway = network(Topology(name="p", areas=areas, pathways=(Pathway(source="A", target="B"),)), gain=0.5)
    by_itself = network(Topology(name="i", areas=areas, pathways=(Pathway(source="A", target="B"),)), gain=0.5)
    by_itself.load_state_dict(by_pathway.state_dict())
    with torch.no_grad():
        for made in (by_pathway, by_itself):
            encoder = made.sessions["n_s"].encoders["n_light"]
            encoder.weight[1] = encoder.weight[0]  # both areas get the same light,
            made.groups[0].packed.weight[1] = made.groups[0].packed.weight[0]
        whole = by_pathway.groups[0].packed.weight[0].clone()
        by_pathway.groups[0].packed.weight[1] = 0.0  # and what A sends itself B gets from A,
        by_pathway.messages.weight[0] = whole
        by_itself.messages.weight[0] = 0.0  # or from itself
    there = [made.states("s", light()) for made in (by_pathway, by_itself)]
    assert torch.allclose(there[0], there[1], atol=1e-6)
    share = [currents(made, "s", light()).shares()[0].item() for made in (by_pathway, by_itself)]
    assert share == [1.0, 0.0]


def test_a_lesion_changes_what_lies_behind_it_and_is_healed_afterwards():
    made = network()
    intact = made.readout("s", "hand").mean(made("s", light())["hand"])
    cut = lesioned(made, [("A", "B")], "s", light())["hand"]
    assert not torch.allclose(cut, intact)
    assert torch.equal(made.readout("s", "hand").mean(made("s", light())["hand"]), intact)
    with pytest.raises(ValueError, match="no pathway B -> A"):
        lesioned(made, [("A", "B"), ("B", "A")], "s", light())
    assert torch.equal(made.messages.intact, torch.ones_like(made.messages.intact))


def test_a_push_reaches_each_area_after_its_delay():
    outputs, states = stimulated(network(), {"A": 1.0}, "s", light(), bins=(3, 4))
    first = [int(torch.nonzero(states[0, :, a].abs().sum(dim=1))[0]) for a in range(3)]
    assert first == [3, 5, 6]  # A at once, B two bins later, C one more
    assert outputs["hand"][:, :5].abs().sum() == 0
    assert outputs["hand"][:, 5:].abs().sum() > 0
    with pytest.raises(ValueError, match="no area 'Z' to stimulate"):
        stimulated(network(), {"Z": 1.0}, "s", light())


def test_a_lesion_leaves_the_network_as_it_was():
    made = network().train()
    made.lesion("A", "B")
    before = made.messages.intact.clone()
    lesioned(made, [("A", "B"), ("B", "C")], "s", light())
    stimulated(made, {"A": 1.0}, "s", light())
    assert torch.equal(made.messages.intact, before)
    assert made.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: lesioned(n, [("A", "C")], "s", light()), "no pathway A -> C in 'chain'; from A to B$"),
        (lambda n: lesioned(n, [("A", "Z")], "s", light()), "no area or global module 'Z' in 'chain'; there are A"),
        (lambda n: lesioned(n, ("A", "B"), "s", light()), r"pathway 'A'; pairs of areas are wanted"),
        (lambda n: lesioned(n, [], "s", {"light": light()["light"].numpy()}), "'light' is a ndarray; a torch.Tensor"),
        (lambda n: stimulated(n, {"Z": 1.0}, "s", light()), "no area 'Z' to stimulate; there are A, B, C"),
        (lambda n: stimulated(n, {"A": 1.0}, "s", light(), bins=(4, 13)), "bins 4 to 13 of 12; .* from 0 to 12"),
        (lambda n: stimulated(n, {"A": 1.0}, "s", light(), bins=(4, 4)), "the first below the last"),
        (lambda n: stimulated(n, {"A": torch.ones(3)}, "s", light()), r"pulse of shape \(3,\) into A; .*unit \(4\)"),
    ],
)  # fmt: skip
def test_what_is_not_there_cannot_be_cut_or_pushed(call, message):
    with pytest.raises(ValueError, match=message):
        call(network())
