"""What sessions have of their own, and where their ports enter and leave."""

from dataclasses import replace

import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Pathway, Port, Topology

A, B, C = Area(name="A", inputs=("stimulus",)), Area(name="B"), Area(name="C", outputs=("press",))
CHAIN = Topology(
    name="chain", areas=(A, B, C), pathways=(Pathway(source="A", target="B"), Pathway(source="B", target="C"))
)
LIGHT = Port(name="light", kind="stimulus", channel_names=("s",))
PRESS = Port(name="press", kind="choice", channel_names=("press",), n_classes=2)
HAND = Port(name="hand", kind="continuous", channel_names=("x", "y"))
TEXT = Port(name="text", kind="tokens", channel_names=("token",), n_classes=40)
UNITS = Port(name="units", kind="spikes", channel_names=("u",), areas=("B",))
INPUTS = {"light": torch.ones(1, 6, 1)}


def network(*outputs: Port, topology: Topology = CHAIN, **options) -> ModularNetwork:
    made = ModularNetwork(topology, area_size=5, **options)
    made.attach("s", [LIGHT], list(outputs) or [PRESS])
    return made


def areas_read(made: ModularNetwork, port: str) -> list[str]:
    """The areas on whose states an output rests."""
    state = torch.randn(1, 2, 3, 5).requires_grad_()
    made.readout("s", port)(state).sum().backward()
    return [name for name, g in zip(made.areas, state.grad.abs().sum(dim=(0, 1, 3)), strict=True) if g > 0]


def areas_driven(made: ModularNetwork, name: str, value: torch.Tensor) -> list[str]:
    moved = made.states("s", {name: value})[:, 0] - made.states("s", {name: torch.zeros_like(value)})[:, 0]
    return [area for area, m in zip(made.areas, moved.abs().sum(dim=(0, 2)), strict=True) if m > 0]


def test_inputs_enter_where_the_topology_says():
    assert areas_driven(network(), "light", torch.ones(1, 1, 1)) == ["A"]
    everywhere = replace(CHAIN, areas=(Area(name="A"), B, C))
    assert areas_driven(network(topology=everywhere), "light", torch.ones(1, 1, 1)) == ["A", "B", "C"]


def test_behaviour_leaves_where_the_topology_says_by_name_or_kind():
    made = network(PRESS, HAND)
    assert (areas_read(made, "press"), areas_read(made, "hand")) == (["C"], ["A", "B", "C"])
    by_kind = replace(CHAIN, areas=(A, replace(B, outputs=("continuous",)), C))
    assert areas_read(network(HAND, topology=by_kind), "hand") == ["B"]


def test_a_stated_area_of_a_channel_wins_over_the_topology():
    assert areas_read(network(replace(PRESS, areas=("A",))), "press") == ["A"]


def test_a_port_may_say_by_itself_where_it_leaves():
    assert areas_read(network(replace(HAND, within=("A", "C"))), "hand") == ["A", "C"]


def test_a_port_that_leaves_by_an_unknown_area_is_refused():
    with pytest.raises(ValueError, match="is within 'Z', which is no area"):
        network(replace(HAND, within=("Z",)))


def test_ports_are_told_as_they_were_attached():
    assert network().ports("s") == ((LIGHT,), (PRESS,))


@pytest.mark.parametrize("kind", ["tokens", "choice"])
def test_text_comes_in_as_classes_and_a_masked_token_drives_nothing(kind):
    made = ModularNetwork(CHAIN, area_size=5)
    made.attach("s", [replace(TEXT, kind=kind)], [TEXT])
    token, nothing = torch.tensor([[[7.0]]]), torch.zeros(1, 1, 1, dtype=torch.bool)
    heard = made.states("s", {"text": token}, {"text": ~nothing})
    masked = made.states("s", {"text": torch.full_like(token, float("nan"))}, {"text": nothing})
    assert heard.abs().sum() > 0
    assert torch.equal(masked, torch.zeros_like(masked))


def test_a_session_starts_as_the_network_that_all_share():
    plain, with_vector = network(), network(session_size=3)
    assert torch.allclose(plain.states("s", INPUTS), with_vector.states("s", INPUTS))
    assert (plain.session_vector("s").shape, with_vector.session_vector("s").shape) == ((0,), (3,))


def test_a_sessions_vector_changes_its_own_states_and_no_others():
    made = network(session_size=3)
    made.attach("t", [LIGHT], [PRESS])
    before = {name: made.states(name, INPUTS) for name in "st"}
    torch.nn.init.ones_(made.session_vector("s"))
    assert not torch.allclose(made.states("s", INPUTS), before["s"])
    assert torch.equal(made.states("t", INPUTS), before["t"])


def test_the_vector_is_learned_from_its_start_at_zero():
    made = network(session_size=3)
    made("s", INPUTS)["press"][..., 0].sum().backward()
    assert made.session_vector("s").grad.abs().min() > 0


def test_freezing_what_is_shared_leaves_each_session_its_own():
    made = network(PRESS, UNITS, session_size=2)
    made.freeze_shared()
    learning = {name for name, p in made.named_parameters() if p.requires_grad}
    assert learning
    assert all(name.startswith("sessions.") for name in learning)
    made.freeze_shared(False)
    assert all(p.requires_grad for p in made.parameters())


def test_time_constants_are_told_in_seconds_and_can_be_learned():
    made = ModularNetwork(CHAIN, area_size=4, bin_s=0.01, tau_s=0.08, kind={"B": "gated_linear", "C": "gru"})
    tau_s, exists = made.time_constants_s()
    assert torch.allclose(tau_s, torch.full((3, 4), 0.08), rtol=1e-3)
    assert exists.all()
    tau_s.log().sum().backward()
    assert all(any(p.grad is not None for p in group.packed.parameters()) for group in made.groups)
