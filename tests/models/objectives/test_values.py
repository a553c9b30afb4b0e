"""Objectives whose value one knows."""

import pytest
import torch

from neuroloom.models.objectives import (
    attention,
    cka,
    features,
    local,
    nll,
    similarity,
    soft_targets,
    time_scales,
    walk,
    wiring,
)


def test_cka_does_not_mind_rotation_scale_or_shift():
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    assert cka.Objective()(x, 3 * x @ rotation + 1).item() == pytest.approx(0.0, abs=1e-5)


def test_cka_of_unrelated_features_is_far_from_alike():
    x, y = torch.randn(2, 500, 3, generator=torch.Generator().manual_seed(0)).unbind(0)
    assert cka.Objective()(x, y).item() > 0.95


def test_soft_targets_equal_to_the_prediction_cost_nothing():
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    assert soft_targets.Objective()(logits, logits + 5).item() == pytest.approx(0.0, abs=1e-6)


def test_soft_targets_are_the_divergence_of_the_two():
    half, skewed = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log()
    # 0.5 ln(0.5 / 0.75) + 0.5 ln(0.5 / 0.25)
    assert soft_targets.Objective()(skewed, half).item() == pytest.approx(0.1438, abs=1e-4)


def test_wiring_costs_strength_times_length():
    strength, length_mm = torch.tensor([1.0, 2.0]), torch.tensor([100.0, 50.0])
    assert wiring.Objective()(strength, length_mm).item() == 1.0  # the mean of 1 x 1 and 2 x 0.5


def test_a_projector_learns_a_linear_relation():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(200, 5, generator=generator)
    electrodes = states @ torch.randn(5, 2, generator=generator)
    objective = features.Objective(5, 2, generator=generator)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = objective(states, electrodes)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3


def test_a_local_objective_needs_a_length():
    with pytest.raises(ValueError, match="every is 0 bins"):
        local.Objective(1, 1, every=0)


def test_nll_weighs_ports_and_leaves_out_those_of_weight_zero():
    objective, prediction, target, _ = nll.example(torch.Generator().manual_seed(0))
    model = objective.models[0]["hand"]
    two = {"a": model, "b": model}
    values = [{name: part["hand"] for name in two} for part in (prediction, target)]
    single = objective(prediction, target).item()
    assert nll.Objective(two, {"a": 0.5})(*values).item() == pytest.approx(1.5 * single)
    assert list(nll.Objective(two, {"a": 0.0}).by_port(*values)) == ["b"]


def test_nll_does_not_own_the_readouts():
    assert list(nll.example(torch.Generator())[0].parameters()) == []


def test_nll_without_a_target_is_told():
    objective, prediction, _, _ = nll.example(torch.Generator())
    with pytest.raises(ValueError, match="one port must have both"):
        objective(prediction, {})


def test_similarity_does_not_mind_rotation_or_scale():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    assert similarity.Objective()(x, 3 * x @ rotation).item() == pytest.approx(0.0, abs=1e-5)


def test_similarity_of_two_samples_by_hand():
    same, apart = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.eye(2)
    # rows (1, 1) / sqrt 2 against (1, 0) and (0, 1): mean of two times (1 - 0.7071)^2 and 0.7071^2, times 2 samples
    assert similarity.Objective()(same, apart).item() == pytest.approx((1 - 0.5**0.5) ** 2 + 0.5, abs=1e-5)


def test_attention_as_it_should_be_costs_nothing_and_elsewhere_its_divergence():
    energies, wanted = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 6.0]])
    assert attention.Objective()(energies, wanted).item() == pytest.approx(0.0, abs=1e-5)
    even = torch.tensor([[1.0, 1.0]])
    # 0.25 ln(0.25 / 0.5) + 0.75 ln(0.75 / 0.5)
    assert attention.Objective()(even, wanted).item() == pytest.approx(0.1308, abs=1e-4)


def test_twice_too_slow_costs_as_much_as_twice_too_fast():
    prior, slow, fast = (torch.full((1, 1), tau) for tau in (0.1, 0.2, 0.05))
    costs = [time_scales.Objective(width=0.5)(tau, prior).item() for tau in (slow, fast, prior)]
    assert costs == pytest.approx([2 * 0.6931**2, 2 * 0.6931**2, 0.0], abs=1e-3)


def test_a_walk_may_go_farther_in_more_time_and_starts_anew_with_each_person():
    places, days = torch.tensor([[0.0], [1.0], [3.0], [50.0]]), torch.tensor([1.0, 1.0, 4.0, 1.0])
    follows = torch.tensor([False, True, True, False])
    assert walk.Objective()(places, days, follows).item() == 1.0  # (1 / 1 + 4 / 4) / 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: walk.Objective(of="feet"),
        lambda: time_scales.Objective(tau_s={"A": 0.0}),
        lambda: time_scales.Objective(width=0),
    ],
)
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(ValueError, match="needed"):
        make()
