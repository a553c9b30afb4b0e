"""Fixed points and Lyapunov exponents of networks where they are known."""

import math
from dataclasses import replace

import pytest
import torch

from neuroloom.models import Area, GlobalModule, ModularNetwork, Pathway, Topology
from neuroloom.models.dynamics import fixed_points, lyapunov_exponents

ONE = Topology(name="one", areas=(Area(name="A"),))
TWO = Topology(
    name="two",
    areas=(Area(name="A"), Area(name="B")),
    pathways=(Pathway(source="A", target="B", length_mm=30.0), Pathway(source="B", target="A", length_mm=30.0)),
    speed_m_per_s=1.0,
)


def leaky(weight: torch.Tensor, tau_s: float = 0.1) -> ModularNetwork:
    """One area of leaky units with these weights, source first."""
    made = ModularNetwork(ONE, area_size=len(weight), bin_s=0.01, tau_s=tau_s)
    with torch.no_grad():
        made.groups[0].packed.weight[0] = weight
    return made


def test_without_weights_all_differences_shrink_with_the_time_constant():
    found = lyapunov_exponents(leaky(torch.zeros(3, 3)), 2, n_bins=100, settle_bins=10)
    assert found.tolist() == pytest.approx([-10.0, -10.0], rel=1e-5)  # 1 / 0.1 s


def test_a_unit_that_excites_itself_rests_at_three_states_of_which_the_outer_two_attract():
    found = fixed_points(leaky(torch.tensor([[2.0]])), n_starts=12)
    outer = 0.957504  # tanh(2 x) = x
    assert sorted(found.states.flatten().tolist()) == pytest.approx([-outer, 0.0, outer], abs=1e-4)
    assert found.n_stable == 2
    alpha = 1 - math.exp(-0.1)
    at_zero = found.growth[found.states.flatten().abs().argmin()].item()
    assert at_zero == pytest.approx(1 + alpha, rel=1e-4)  # 1 - alpha + 2 alpha


def test_strong_random_weights_make_chaos_and_weak_ones_do_not():
    def largest(gain: float) -> float:
        weight = gain / 10 * torch.randn(100, 100, generator=torch.Generator().manual_seed(0))
        return lyapunov_exponents(leaky(weight), n_bins=600, settle_bins=300).item()

    assert largest(0.5) < -1
    assert largest(3.0) > 1


def test_the_exponent_is_the_rate_at_which_two_trajectories_part():
    weight = 0.5 * torch.randn(100, 100, generator=torch.Generator().manual_seed(1))  # five times critical
    made = leaky(weight).double()
    drive = torch.zeros(1, 1500, 2, 100, dtype=torch.float64)
    drive[:, 0] = torch.randn(100, generator=torch.Generator().manual_seed(2))
    drive[:, 400, 1] += 1e-9 * torch.randn(100, generator=torch.Generator().manual_seed(3))
    states = made.run(drive)[0].detach()
    apart = (states[:, 0] - states[:, 1]).norm(dim=1)
    measured = float((apart[1200] / apart[500]).log()) / (700 * 0.01)
    assert apart[1200] < 0.1  # still small
    assert lyapunov_exponents(made, n_bins=1500).item() == pytest.approx(measured, rel=0.2)


def test_delays_do_not_move_a_fixed_point_but_count_in_how_fast_differences_grow():
    made = ModularNetwork(TWO, area_size=3, bin_s=0.01, gain=0.5)
    found = fixed_points(made, n_starts=3)
    assert len(found.states) == 1
    assert found.states.abs().max() < 1e-3
    exponent = lyapunov_exponents(made, n_bins=2000, settle_bins=1000).item()
    assert math.exp(exponent * 0.01) == pytest.approx(found.growth.item(), abs=2e-3)


def test_a_kind_that_remembers_more_than_its_state_is_refused():
    made = ModularNetwork(ONE, area_size=4, kind="transformer")
    with pytest.raises(ValueError, match="whose state is all that they remember"):
        fixed_points(made)


def test_a_module_that_updates_by_a_clock_rests_and_says_nothing_of_growth():
    slow = GlobalModule(name="slow", time_scale_s=0.1, every_s=0.05)
    made = ModularNetwork(replace(TWO, global_modules=(slow,)), area_size=3, bin_s=0.01)
    found = fixed_points(made, n_starts=2)
    assert len(found.states) >= 1
    assert torch.isnan(found.growth).all()
    rest = found.states[0].float()
    drive = (torch.zeros(3, 400, 1, 3) + made.bias()[:, None]).detach()
    with torch.no_grad():
        assert (made.run(drive)[:, -1, 0] - rest).abs().max() < 0.05 or len(found.states) > 1
    with pytest.raises(ValueError, match="update by a clock"):
        lyapunov_exponents(made)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: lyapunov_exponents(n, 0), "n_exponents 0, .* from 1 to 4 exponents are wanted"),
        (lambda n: lyapunov_exponents(n, 5), "n_exponents 5, .* from 1 to 4 exponents are wanted"),
        (lambda n: lyapunov_exponents(n, n_bins=5), "n_bins 5, every_bins 10; .* n_bins not below every_bins"),
        (lambda n: fixed_points(n, drive_NH=torch.zeros(2, 3)), r"drive of shape \(2, 3\); \(1, 4\), nodes by units"),
    ],
)
def test_what_cannot_be_measured_is_refused_instead_of_told_as_0(call, message):
    with pytest.raises(ValueError, match=message):
        call(ModularNetwork(ONE, area_size=4))
