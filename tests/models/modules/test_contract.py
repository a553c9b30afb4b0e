"""What every kind of module must do."""

from dataclasses import fields, replace

import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Pathway, Port, Topology
from neuroloom.models.modules import kinds
from neuroloom.models.modules._start import Start

N, B, H = 3, 2, 4


def packed(kind: str, **options):
    start = Start(
        n_modules=N,
        size=H,
        tau_bins=torch.tensor([1.0, 5.0, 50.0]),
        fixed_tau=torch.tensor([False, False, True]),
        gain=0.5,
        dale=False,
        generator=torch.Generator().manual_seed(0),
    )
    shared = {field.name for field in fields(Start)} & set(options)
    own = {name: value for name, value in options.items() if name not in shared}
    return kinds(kind).Module(replace(start, **{name: options[name] for name in shared}), **own)


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


@pytest.mark.parametrize("kind", kinds.names())
def test_its_time_constants_start_where_they_are_told(kind):
    wanted = torch.tensor([1.0, 5.0]).expand(H, 2).T  # the third is fixed, and a bound only for some kinds
    assert torch.allclose(packed(kind).tau_bins()[:2], wanted, rtol=1e-4)
    packed(kind).tau_bins().sum().backward()


RUNNING = [kind for kind in kinds.names() if hasattr(kinds(kind).Module, "run")]


def in_pieces(module, start, drive, sizes):
    """States of all bins, gone through in blocks of these sizes."""
    state, memory, parts = start, None, []
    for block in drive.split(sizes, dim=1):
        states, memory = module.run(state, block, module.constants(), memory)
        state = states[:, -1]
        parts.append(states)
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("kind", RUNNING)
@pytest.mark.parametrize("sizes", [[1] * 40, [7] * 5 + [5], [39, 1]])
def test_many_bins_at_once_are_the_same_as_one_after_the_other(kind, sizes):
    module, generator = packed(kind), torch.Generator().manual_seed(1)
    drive, start = (torch.randn(N, n, B, H, generator=generator) for n in (40, 1))
    whole = in_pieces(module, start[:, 0] / 4, drive, [40])
    assert torch.allclose(in_pieces(module, start[:, 0] / 4, drive, sizes), whole, atol=1e-6)


@pytest.mark.parametrize("kind", RUNNING)
def test_gradients_are_the_same_too(kind):
    gradients = []
    for sizes in ([40], [1] * 40):
        module = packed(kind)
        drive = torch.randn(N, 40, B, H, generator=torch.Generator().manual_seed(1)).requires_grad_()
        in_pieces(module, torch.zeros(N, B, H), drive, sizes).square().sum().backward()
        gradients.append([drive.grad, *(p.grad for p in module.parameters() if p.grad is not None)])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("kind", RUNNING)
def test_no_bin_sees_a_later_one(kind):
    module = packed(kind)
    drive = torch.randn(N, 12, B, H, generator=torch.Generator().manual_seed(1)).requires_grad_()
    module.run(torch.zeros(N, B, H), drive, module.constants())[0][:, 6].sum().backward()
    assert ((drive.grad != 0).any(dim=3).any(dim=2).any(dim=0)).tolist() == [True] * 7 + [False] * 5


def test_a_transformer_remembers_its_window_and_no_more():
    module = packed("transformer", window_bins=4)
    memory = module.run(torch.zeros(N, B, H), torch.ones(N, 12, B, H), module.constants())[1]
    assert [part.shape[3] for part in memory] == [3, 3]
    drive = torch.randn(N, 12, B, H, generator=torch.Generator().manual_seed(1)).requires_grad_()
    no_leak = (module.weight, torch.ones(N, 1, 1, H))  # the state is the block's own answer
    module.run(torch.zeros(N, B, H), drive, no_leak)[0][:, 9].sum().backward()
    reached = drive.grad.abs().amax(dim=(0, 2, 3)) > 0
    assert reached.tolist() == [False] * 6 + [True] * 4 + [False] * 2


def test_a_window_of_no_bins_is_refused():
    with pytest.raises(ValueError, match="window_bins is 0"):
        packed("transformer", window_bins=0)
