"""The haemodynamic response: where it peaks, that it only looks back, that its delay stays in bounds."""

import pytest
import torch

from neuroloom.models import Port
from neuroloom.models.readouts._shared import Site
from neuroloom.models.readouts.bold import MOST_SHIFT_S, Readout, double_gamma

BIN_S = 0.5


def made(bin_s: float = BIN_S) -> Readout:
    port = Port(name="bold", kind="bold", channel_names=("a", "b"), areas=("A", "B"), bin_s=bin_s)
    return Readout(Site(port=port, area_names=("A", "B"), size=3, generator=torch.Generator().manual_seed(0)))


def after_an_event(readout: Readout, event_bin: int = 4, n_bins: int = 80) -> torch.Tensor:
    """The mean of channel a, (T,), where area A is active in one bin."""
    state = torch.zeros(1, n_bins, 2, 3)
    state[0, event_bin, 0] = 1.0
    return readout.mean(readout(state))[0, :, 0] / readout.linear.weight[0].sum()


def test_the_response_peaks_at_5_s_and_undershoots_around_15_s():
    time_s = torch.arange(0, 32, 0.01)
    response = double_gamma(time_s)
    assert time_s[response.argmax()].item() == pytest.approx(5.0, abs=0.05)
    assert time_s[response.argmin()].item() == pytest.approx(15.7, abs=0.1)
    assert (response.min() / response.max()).item() == pytest.approx(-0.0883, abs=0.001)


def test_an_event_is_seen_5_s_later_and_not_before():
    seen = after_an_event(made())
    assert seen[:4].abs().max() < 1e-6
    assert (int(seen.argmax()) - 4) * BIN_S == pytest.approx(4.75, abs=BIN_S)


def test_a_steady_state_is_seen_as_it_is():
    readout = made()
    with torch.no_grad():
        steady = readout.mean(readout(torch.ones(1, 100, 2, 3)))[0, -1]
    assert torch.allclose(steady, readout.linear(torch.ones(1, 1, 2, 3))[0, 0, :, 0], atol=1e-4)


@pytest.mark.parametrize("bin_s", [0.25, 1.0])
def test_its_shape_in_time_does_not_depend_on_the_bin(bin_s):
    fine, coarse = (made(b).response()[0] / b for b in (0.05, bin_s))
    every = round(bin_s / 0.05)
    averaged = fine[: len(fine) // every * every].view(-1, every).mean(dim=1)
    assert torch.allclose(averaged, coarse[: len(averaged)], atol=0.01)


def test_a_delay_is_learned_and_never_leaves_its_bounds():
    readout = made()
    later = after_an_event(made(), event_bin=6).detach()  # as if the response came 1 s later
    optimizer = torch.optim.Adam([readout.free_shift], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        (after_an_event(readout) - later).square().sum().backward()
        optimizer.step()
    assert readout.shift_s()[0].item() == pytest.approx(1.0, abs=0.1)
    torch.nn.init.constant_(readout.free_shift, 50.0)
    assert readout.shift_s().tolist() == [MOST_SHIFT_S] * 2


def test_it_says_how_many_bins_it_must_have_seen():
    assert made().reach_bins == 40
