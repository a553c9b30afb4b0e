"""States that are drawn towards what was recorded."""

import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Pathway, Port, Topology
from neuroloom.models.forcing import forcing

TOPOLOGY = Topology(name="two", areas=(Area(name="A"), Area(name="B")), pathways=(Pathway(source="A", target="B"),))
STIMULUS = Port(name="light", kind="stimulus", channel_names=("s",))
LFP = Port(name="lfp", kind="lfp", channel_names=("a", "b"), areas=("A", "B"))
CHOICE = Port(name="press", kind="choice", channel_names=("press",), n_classes=2)
T = 12


def network(kind: str = "leaky", **options) -> ModularNetwork:
    made = ModularNetwork(TOPOLOGY, area_size=6, kind=kind, **options)
    made.attach("s", [STIMULUS], [LFP, CHOICE])
    torch.nn.init.constant_(made.readout("s", "lfp").log_variance, -8.0)  # the readout is trusted
    return made


def pushed(made: ModularNetwork, strength: float, masked: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network says of the LFP and the states, while the LFP is said to be a wave."""
    wave = torch.sin(torch.arange(T) / 2)[None, :, None].expand(1, T, 2) * 0.5
    mask = torch.full((1, T, 2), not masked)
    nudge = forcing(made, "s", {"lfp": wave}, {"lfp": mask}, strength=strength)
    found = made("s", {"light": torch.zeros(1, T, 1)}, with_states=True, nudge=nudge)
    return made.readout("s", "lfp").mean(found["lfp"]), found["state_BTAH"]


@pytest.mark.parametrize("kind", ["leaky", "gru", "gated_linear", "transformer"])
def test_a_strength_of_0_changes_nothing(kind):
    made = network(kind)
    free = made.states("s", {"light": torch.zeros(1, T, 1)})
    assert torch.allclose(pushed(made, 0.0)[1], free, atol=1e-6)


def test_what_is_masked_draws_nothing():
    made = network()
    assert torch.equal(pushed(made, 1.0, masked=True)[1], pushed(made, 0.0)[1])


def test_the_state_after_a_nudge_of_strength_1_reads_out_as_what_was_recorded():
    made = network()
    wave = torch.full((1, T, 2), 0.4)
    nudge = forcing(made, "s", {"lfp": wave}, {"lfp": torch.ones(1, T, 2, dtype=torch.bool)}, strength=1.0)
    state_NBH = nudge(torch.zeros(2, 1, 6), 3)
    readout = made.readout("s", "lfp")
    assert torch.allclose(readout.mean(readout(state_NBH.transpose(0, 1)[:, None]))[0, 0], wave[0, 0], atol=0.01)


def test_what_is_said_of_a_bin_knows_nothing_of_that_bin():
    made = network()
    before = pushed(made, 1.0)[0]
    wave = torch.sin(torch.arange(T) / 2)[None, :, None].expand(1, T, 2) * 0.5
    wave = wave.clone()
    wave[:, 5] += 1.0
    nudge = forcing(made, "s", {"lfp": wave}, {"lfp": torch.ones(1, T, 2, dtype=torch.bool)}, strength=1.0)
    after = made.readout("s", "lfp").mean(made("s", {"light": torch.zeros(1, T, 1)}, nudge=nudge)["lfp"])
    assert torch.allclose(after[:, :6], before[:, :6])
    assert not torch.allclose(after[:, 6], before[:, 6])


def test_the_gradient_through_a_forced_state_is_smaller():
    def gradient(strength: float) -> float:
        made = ModularNetwork(TOPOLOGY, area_size=2, gain=1.5)
        made.attach("s", [STIMULUS], [LFP])
        torch.nn.init.constant_(made.readout("s", "lfp").log_variance, -8.0)
        light = torch.full((1, 30, 1), 0.1, requires_grad=True)
        known = torch.ones(1, 30, 2, dtype=torch.bool)
        nudge = forcing(made, "s", {"lfp": torch.zeros(1, 30, 2)}, {"lfp": known}, strength=strength)
        made.states("s", {"light": light}, nudge=nudge)[:, -1].sum().backward()
        return light.grad[0, 0].abs().item()

    assert gradient(1.0) < 0.2 * gradient(0.0)


@pytest.mark.parametrize(
    ("port", "strength", "message"), [("lfp", 1.5, "strength of the coupling is 1.5"), ("press", 0.5, "has no inverse")]
)
def test_wrong_use_is_told(port, strength, message):
    target, mask = torch.zeros(1, T, 1), torch.ones(1, T, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match=message):
        forcing(network(), "s", {port: target}, {port: mask}, strength=strength)
