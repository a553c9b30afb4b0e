"""Readouts that say too much are drawn towards their mean; those that do not stay as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Topology
from neuroloom.pipeline import train
from neuroloom.pipeline.runs.shrinking import SHARES, shrink_readouts, told
from neuroloom.pipeline.runs.training import Run, attach, read_metrics
from neuroloom.pipeline.runs.windowing import Windows, windows

from .stopping import StoppedError, stop_at

Simulate = Callable[..., Any]
SHORT: dict[str, Any] = {"steps": 12, "batch_size": 4, "validate_every": 4, "checkpoint_every": 6}


@pytest.fixture(scope="module")
def data(simulated: Simulate) -> Windows:
    return windows([simulated(duration_s=40, n_units=4).session], length_s=0.6)


def network() -> ModularNetwork:
    return ModularNetwork(Topology(name="one", areas=(Area(name="V1"),)), area_size=6, bin_s=0.02)


@torch.no_grad()
def nats(made: ModularNetwork, data: Windows) -> dict[str, float]:
    """On validation time, by port."""
    found: dict[str, float] = {}
    made.eval()
    for batch in data.validation.batches(batch_size=64, warm_up_bins=data.config.n_bins // 2):
        said, scored = made(batch.session, batch.inputs, batch.input_masks), torch.from_numpy(batch.scored)
        for port, target in batch.targets.items():
            loss = made.readout(batch.session, port).nll(said[port], target, batch.masks[port] & scored[None, :, None])
            found[port] = found.get(port, 0.0) + loss.sum().item()
    return found


def loud(data: Windows, by: float) -> tuple[ModularNetwork, str, list[str]]:
    """A network that says much, at random, of what it knows nothing of."""
    made = network()
    attach(made, data)
    (session,) = data.sessions
    ports = [name for name in data.sessions[session].target_names if hasattr(made.readout(session, name), "linear")]
    with torch.no_grad():
        for name in ports:
            made.readout(session, name).linear.weight.mul_(by)
    return made, session, ports


def test_what_says_much_and_knows_nothing_says_its_mean(data: Windows) -> None:
    made, session, ports = loud(data, 30.0)
    kept = shrink_readouts(made, data)
    assert ports
    assert set(kept[session]) >= set(ports)
    (line,) = told(kept)
    assert "units 0" in line
    assert max(kept[session].values()) <= 0.3
    silent = [name for name, share in kept[session].items() if share == 0]
    assert silent
    batch = data.validation.batch(session, data.validation.tiles(session)[:2])
    said = made(session, batch.inputs, batch.input_masks)
    assert all(said[name].std(dim=1).max() < 1e-5 for name in silent)


def test_what_says_nothing_says_the_best_constant_of_training_time(data: Windows) -> None:
    made, session, _ = loud(data, 30.0)
    shrink_readouts(made, data)
    batch = data.train.batch(session, data.train.tiles(session))
    rate = made(session, batch.inputs, batch.input_masks)["units"][0, 0, :, 0]
    assert torch.allclose(rate, batch.targets["units"].mean(dim=(0, 1)), rtol=0.02)


def test_what_knows_enough_stays_to_the_bit(data: Windows) -> None:
    run = train(network(), data, steps=150, batch_size=8, validate_every=25, learning_rate=1e-2)
    (session,) = data.sessions
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    kept = shrink_readouts(run.network, data)[session]
    assert set(kept.values()) <= set(SHARES)
    whole = [port for port, share in kept.items() if share == 1.0]
    assert whole
    for port in whole:
        readout = run.network.readout(session, port)
        names = {
            name for name, value in run.network.named_parameters() if any(value is p for p in readout.parameters())
        }
        assert all(torch.equal(run.network.state_dict()[name], before[name]) for name in names)


def test_bins_before_which_a_readout_saw_too_little_of_the_past_do_not_count(
    data: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, session, (port, *_) = loud(data, 5.0)
    readout: Any = made.readout(session, port)
    nll, masks = readout.nll, []

    def seen(parameters: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        masks.append(mask)
        return nll(parameters, target, mask)

    reach = 2 * data.config.n_bins // 5
    monkeypatch.setattr(readout, "nll", seen)
    monkeypatch.setattr(readout, "reach_bins", reach, raising=False)
    shrink_readouts(made, data)
    assert len(masks) > len(SHARES)
    assert not any(mask[:, :reach].any() for mask in masks)
    assert all(mask[:, -1].any() for mask in masks)


def test_no_port_is_worse_for_it_on_validation_time(data: Windows) -> None:
    made, _, ports = loud(data, 5.0)
    before = nats(made, data)
    shrink_readouts(made, data)
    after = nats(made, data)
    assert sum(after[port] < before[port] for port in ports) >= 2
    assert all(after[port] <= before[port] * (1 + 1e-6) for port in before)


@pytest.mark.parametrize("stop", [5, 12])
def test_a_run_stopped_on_the_way_or_before_it_shrinks_ends_the_same(data: Windows, tmp_path: Path, stop: int) -> None:
    whole = train(network(), data, folder=tmp_path / "whole", shrink_readouts=True, **SHORT)
    with pytest.raises(StoppedError):
        train(network(), data, folder=tmp_path / "cut", shrink_readouts=True, progress=stop_at(stop), **SHORT)
    cut = train(network(), data, folder=tmp_path / "cut", shrink_readouts=True, **SHORT)
    again = train(network(), data, folder=tmp_path / "cut", shrink_readouts=True, **SHORT)
    for one, two, three in zip(*(run.network.parameters() for run in (whole, cut, again)), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
    assert read_metrics(tmp_path / "cut") == read_metrics(tmp_path / "whole")
    assert sum("kept" in row for row in read_metrics(tmp_path / "cut")) == 1
    opened = Run.open(tmp_path / "cut")
    assert opened.kept == whole.kept == again.kept != {}
    for one, two in zip(whole.network.parameters(), opened.network.parameters(), strict=True):
        assert torch.equal(one, two)


def test_one_killed_between_its_last_checkpoint_and_shrinking_shrinks_when_it_goes_on(
    data: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise StoppedError

    whole = train(network(), data, folder=tmp_path / "whole", shrink_readouts=True, **SHORT)
    with monkeypatch.context() as patched:
        patched.setattr("neuroloom.pipeline.runs._trainer.shrink_readouts", killed)
        with pytest.raises(StoppedError):
            train(network(), data, folder=tmp_path / "cut", shrink_readouts=True, **SHORT)
    cut = train(network(), data, folder=tmp_path / "cut", shrink_readouts=True, **SHORT)
    assert read_metrics(tmp_path / "cut") == read_metrics(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(cut.network.parameters(), whole.network.parameters(), strict=True))
