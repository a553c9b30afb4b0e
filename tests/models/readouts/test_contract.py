"""What every observation model must do, whatever it describes."""

from pathlib import Path

import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Port, Topology
from neuroloom.models.ports import CLASSES
from neuroloom.models.readouts import kinds
from neuroloom.models.readouts._shared import Site

AREAS = ("A", "B")
B, T, H = 2, 5, 4


def port(kind: str) -> Port:
    n_channels, n_classes = (1, 3) if kind in CLASSES else (3, 0)
    return Port(name="p", kind=kind, channel_names=tuple("abc"[:n_channels]), n_classes=n_classes)


def readout(kind: str, **options):
    generator = torch.Generator().manual_seed(0)
    return kinds(kind).Readout(Site(port=port(kind), area_names=AREAS, size=H, generator=generator, **options))


def target(kind: str) -> torch.Tensor:
    return torch.arange(B * T * port(kind).n_channels).reshape(B, T, -1).remainder(3).float()


@pytest.fixture
def state() -> torch.Tensor:
    return torch.randn(B, T, 2, H, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", kinds.names())
def test_shapes_are_as_promised(kind, state):
    made, wanted = readout(kind), target(kind)
    parameters = made(state)
    assert parameters.shape[:3] == wanted.shape
    assert made.nll(parameters, wanted).shape == wanted.shape
    assert made.mean(parameters).shape == ((B, T, 3) if kind in CLASSES else wanted.shape)


@pytest.mark.parametrize("kind", kinds.names())
def test_a_masked_target_may_hold_nan_and_costs_nothing(kind, state):
    made, wanted = readout(kind), target(kind)
    mask = torch.ones_like(wanted, dtype=torch.bool)
    mask[0] = False
    wanted[0] = float("nan")
    loss = made.nll(made(state), wanted, mask)
    loss.sum().backward()
    assert (loss[0] == 0).all()
    assert (loss[1] != 0).all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


@pytest.mark.parametrize("kind", kinds.names())
def test_a_mask_of_one_channel_counts_for_all(kind, state):
    made, wanted = readout(kind), target(kind)
    mask = torch.tensor([True, False, True, True, False]).expand(B, T)[..., None]
    parameters = made(state)
    assert torch.equal(made.nll(parameters, wanted, mask), made.nll(parameters, wanted, mask.expand_as(wanted)))


@pytest.mark.parametrize("kind", kinds.names())
def test_learning_lowers_its_nll(kind, state):
    made, wanted = readout(kind), target(kind)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = made.nll(made(state), wanted).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.02


@pytest.mark.parametrize("kind", [kind for kind in kinds.names() if kind not in (*CLASSES, "saccades")])
def test_it_can_start_at_the_datas_own_mean(kind):
    made = readout(kind)
    made.start_at(torch.tensor([2.0, 3.0, 4.0]), torch.tensor([0.01, 0.01, 0.01]))
    silent = made.mean(made(torch.zeros(B, T, 2, H)))
    assert silent[0, 0].tolist() == pytest.approx([2.0, 3.0, 4.0], abs=0.05)


@pytest.mark.parametrize("kind", [kind for kind in kinds.names() if kind not in ("eeg", "meg")])
def test_a_lead_field_is_refused_by_what_has_no_use_for_it(kind):
    with pytest.raises(ValueError, match="takes no lead field"):
        readout(kind, lead_field_CA=torch.ones(3, 2))


def test_a_file_dropped_in_is_a_readout_and_works_in_a_network(tmp_path, monkeypatch):
    (tmp_path / "pupil.py").write_text("from neuroloom.models.readouts.continuous import Readout as Readout\n")
    monkeypatch.setattr(kinds, "path", [*kinds.path, str(tmp_path)])
    monkeypatch.setattr("neuroloom.models.readouts.__path__", [*kinds.path])
    network = ModularNetwork(Topology(name="t", areas=(Area(name="A"),)), area_size=4)
    network.attach("s", [port("stimulus")], [Port(name="pupil", kind="pupil", channel_names=("d",))])
    assert network("s", {"p": torch.zeros(1, 2, 3)})["pupil"].shape == (1, 2, 1, 2)


def test_every_file_in_the_folder_is_listed():
    folder = Path(__file__).parents[3] / "models" / "readouts"
    assert kinds.names() == tuple(sorted(f.stem for f in folder.glob("*.py") if not f.stem.startswith("_")))
