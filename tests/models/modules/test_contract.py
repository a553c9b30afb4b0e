"""What every kind of module must do."""

import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Pathway, Port, Topology
from neuroloom.models.modules import kinds

N, B, H = 3, 2, 4


def packed(kind: str, **options):
    settings = {"gain": 0.5, "fixed_tau": torch.tensor([False, False, True]), "dale": False}
    generator = torch.Generator().manual_seed(0)
    return kinds(kind).Module(N, H, torch.tensor([1.0, 5.0, 50.0]), generator=generator, **(settings | options))


@pytest.mark.parametrize("kind", kinds.names())
def test_state_keeps_its_shape_and_stays_bounded(kind):
    module = packed(kind)
    state = torch.zeros(N, B, H)
    for _ in range(50):
        state = module(state, torch.full((N, B, H), 100.0), module.constants())
    assert state.shape == (N, B, H)
    assert state.abs().max() <= 1.0


@pytest.mark.parametrize("kind", kinds.names())
def test_modules_do_not_see_each_other(kind):
    module = packed(kind)
    drive = torch.zeros(N, B, H, requires_grad=True)
    module(torch.zeros(N, B, H), drive, module.constants())[0].sum().backward()
    assert (drive.grad.abs().sum(dim=(1, 2)) > 0).tolist() == [True, False, False]


@pytest.mark.parametrize("kind", kinds.names())
def test_a_longer_time_constant_moves_less_in_one_bin(kind):
    module = packed(kind)
    moved = module(torch.zeros(N, B, H), torch.full((N, B, H), 5.0), module.constants()).mean(dim=(1, 2))
    assert moved[0] > 1.5 * moved[1] > 3 * moved[2] > 0


@pytest.mark.parametrize("kind", kinds.names())
def test_what_the_network_relies_on_is_there(kind):
    module = packed(kind)
    assert module.weight.shape == module.constants()[0].shape == (N, H, H)
    assert module.bias.shape == (N, 1, H)


def test_a_file_dropped_in_is_a_kind_of_module(tmp_path, monkeypatch):
    (tmp_path / "another.py").write_text("from neuroloom.models.modules.leaky import Module as Module\n")
    monkeypatch.setattr(kinds, "path", [*kinds.path, str(tmp_path)])
    monkeypatch.setattr("neuroloom.models.modules.__path__", [*kinds.path])
    areas = (Area(name="A"), Area(name="B"))
    topology = Topology(name="t", areas=areas, pathways=(Pathway(source="A", target="B"),))
    network = ModularNetwork(topology, area_size=4, kind="another")
    network.attach("s", [Port(name="x", kind="stimulus", channel_names=("x",))], [])
    assert network.states("s", {"x": torch.ones(1, 2, 1)}).shape == (1, 2, 2, 4)
