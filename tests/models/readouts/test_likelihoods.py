"""Each nll is the one that torch.distributions computes."""

import math

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MixtureSameFamily,
    NegativeBinomial,
    Normal,
    Poisson,
)

from neuroloom.models import Port
from neuroloom.models.readouts import kinds
from neuroloom.models.readouts._shared import Site

STATE = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(0))
AREAS = ("A", "B", "C")


def made(kind: str, n_channels: int = 2, lead_field_CA: torch.Tensor | None = None, **fields):
    port = Port(name="p", kind=kind, channel_names=tuple("xyz"[:n_channels]), **fields)
    generator = torch.Generator().manual_seed(1)
    site = Site(port=port, area_names=AREAS, size=4, generator=generator, lead_field_CA=lead_field_CA)
    return kinds(kind).Readout(site)


def test_spikes_are_poisson():
    readout = made("spikes")
    count = torch.arange(24).reshape(2, 6, 2).remainder(4).float()
    parameters = readout(STATE)
    assert torch.allclose(readout.nll(parameters, count), -Poisson(parameters[..., 0]).log_prob(count), atol=1e-5)


@pytest.mark.parametrize("kind", ["lfp", "eeg", "meg", "bold", "continuous"])
def test_fields_and_movements_are_normal(kind):
    readout = made(kind)
    torch.nn.init.constant_(readout.log_variance, 0.7)
    value, parameters = torch.ones(2, 6, 2), readout(STATE)
    wanted = -Normal(parameters[..., 0], math.exp(0.35)).log_prob(value)
    assert torch.allclose(readout.nll(parameters, value), wanted, atol=1e-5)


def test_choices_are_categorical():
    readout = made("choice", 1, n_classes=3)
    chosen = torch.arange(12).reshape(2, 6, 1).remainder(3)
    parameters = readout(STATE)
    assert torch.allclose(readout.nll(parameters, chosen), -Categorical(logits=parameters).log_prob(chosen), atol=1e-6)
    assert torch.allclose(readout.mean(parameters).sum(dim=2), torch.ones(2, 6))


def test_gaze_is_a_mixture_over_places_shared_by_its_channels():
    readout = made("gaze")
    value, parameters = torch.full((2, 6, 2), 0.3), readout(STATE)
    means, log_variances, log_weights = parameters.chunk(3, dim=3)
    places = Independent(Normal(means.transpose(2, 3), torch.exp(0.5 * log_variances).transpose(2, 3)), 1)
    wanted = -MixtureSameFamily(Categorical(logits=log_weights[:, :, 0]), places).log_prob(value)
    assert torch.allclose(readout.nll(parameters, value).sum(dim=2), wanted, atol=1e-5)


def test_gaze_with_one_channel_masked_is_the_mixture_of_the_other():
    readout = made("gaze")
    value, parameters = torch.full((2, 6, 2), 0.3), readout(STATE)
    mask = torch.tensor([True, False]).expand(2, 6, 2)
    means, log_variances, log_weights = (part[:, :, 0] for part in parameters.chunk(3, dim=3))
    wanted = -MixtureSameFamily(
        Categorical(logits=log_weights), Normal(means, torch.exp(0.5 * log_variances))
    ).log_prob(value[..., 0])
    assert torch.allclose(readout.nll(parameters, value, mask)[..., 0], wanted, atol=1e-5)


def test_an_electrode_reads_its_own_area_only():
    readout = made("lfp", areas=("B", "C"))
    moved = STATE.clone()
    moved[:, :, 1] += 1.0
    change = (readout(moved) - readout(STATE))[..., 0].abs().amax(dim=(0, 1))
    assert (change > 0).tolist() == [True, False]


def test_behaviour_reads_every_area():
    readout = made("continuous")
    state = STATE.clone().requires_grad_()
    readout(state)[..., 0].sum().backward()
    assert (state.grad.abs().sum(dim=(0, 1, 3)) > 0).all()


def test_eeg_mixes_the_areas_sources_as_the_lead_field_says():
    field = torch.tensor([[3.0, 0.0, 4.0], [0.0, 5.0, 0.0]])  # rows of length 5, so scaled by 1/5
    readout = made("eeg", lead_field_CA=field)
    assert torch.allclose(readout(STATE)[..., 0], readout.sources(STATE) @ (field / 5).T, atol=1e-6)


def test_a_lead_field_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"lead field of shape \(3, 2\); \(2, 3\) \(channels x areas\)"):
        made("eeg", lead_field_CA=torch.ones(3, 2))


def test_a_choice_needs_classes():
    with pytest.raises(ValueError, match="at least 2 classes"):
        made("choice", 1)


def test_overdispersed_counts_are_negative_binomial():
    readout = made("negative_binomial")
    torch.nn.init.constant_(readout.log_shape, 0.4)
    count = torch.arange(24).reshape(2, 6, 2).remainder(5).float()
    rate, shape = (parameters := readout(STATE)).unbind(3)
    wanted = -NegativeBinomial(shape, logits=rate.log() - shape.log()).log_prob(count)
    assert torch.allclose(readout.nll(parameters, count), wanted, atol=1e-5)


def test_a_large_shape_is_poisson_and_a_small_one_is_not():
    generator, errors = torch.Generator().manual_seed(2), {}
    count = torch.poisson(torch.full((2, 6, 2), 1.5), generator=generator)
    for log_shape in (5.0, 0.0):
        readout = made("negative_binomial")
        torch.nn.init.constant_(readout.log_shape, log_shape)
        parameters = readout(STATE)
        poisson = -Poisson(parameters[..., 0]).log_prob(count)
        errors[log_shape] = (readout.nll(parameters, count) - poisson).abs().max().item()
    assert errors[5.0] < 0.05 < 0.3 < errors[0.0]


def test_the_shape_starts_where_the_counts_spread_says():
    readout = made("negative_binomial")
    readout.start_at(torch.tensor([2.0, 2.0]), torch.tensor([6.0**0.5, 2.0**0.5]))
    # variance = rate + rate^2 / shape: 6 = 2 + 4 / 1; a variance of 2 is Poisson
    assert readout.shape().tolist() == pytest.approx([1.0, math.exp(5.0)], rel=1e-4)


def test_a_saccade_is_a_bernoulli_event_with_the_chance_that_the_hazard_gives():
    readout = made("saccades")
    event = torch.arange(24).reshape(2, 6, 2).remainder(3).clamp_max(1).float()
    parameters = readout(STATE)
    wanted = -Bernoulli(probs=readout.mean(parameters)).log_prob(event)
    assert torch.allclose(readout.nll(parameters, event), wanted, atol=1e-5)


def test_two_short_bins_without_a_saccade_say_what_one_long_one_says():
    readout, nothing = made("saccades", 1), torch.zeros(1, 1, 1)
    short, long = (readout.nll(torch.full((1, 1, 1, 1), hazard), nothing).item() for hazard in (0.1, 0.2))
    assert 2 * short == pytest.approx(long)


def test_saccades_start_at_their_share_of_bins():
    readout = made("saccades")
    readout.start_at(torch.tensor([0.02, 0.3]), torch.ones(2))
    assert readout.mean(readout(torch.zeros(1, 1, 3, 4)))[0, 0].tolist() == pytest.approx([0.02, 0.3], abs=1e-4)


def test_tokens_are_categorical_over_the_vocabulary_and_only_where_there_is_one():
    readout = made("tokens", 1, n_classes=50)
    token = torch.arange(12).reshape(2, 6, 1).remainder(50)
    parameters = readout(STATE)
    wanted = -Categorical(logits=readout.logits(parameters)[:, :, None]).log_prob(token)
    assert torch.allclose(readout.nll(parameters, token), wanted, atol=1e-5)
    mask = torch.zeros(2, 6, 1, dtype=torch.bool)
    mask[1, 2] = True
    found = readout.nll(parameters, token, mask)
    assert found[1, 2].item() == pytest.approx(wanted[1, 2].item())
    assert (found != 0).sum() == 1


def test_text_costs_memory_by_the_token_not_by_the_bin():
    assert made("tokens", 1, n_classes=5000)(STATE).shape == (2, 6, 1, 64)


def test_text_needs_a_vocabulary():
    with pytest.raises(ValueError, match="a vocabulary of at least 2 tokens"):
        made("tokens", 1)


@pytest.mark.parametrize("kind", [kind for kind in kinds.names() if hasattr(kinds(kind).Readout, "linearised")])
def test_its_linear_form_says_what_it_says_itself_near_rest(kind):
    readout = made(kind)
    weight_CAH, offset_C, variance_C = readout.linearised()
    state = STATE * 1e-3
    linear = state.flatten(2) @ weight_CAH.flatten(1).T + offset_C
    assert torch.allclose(linear, readout.mean(readout(state)), atol=1e-5)
    assert (variance_C > 0).all()


@pytest.mark.parametrize("kind", ["continuous", "gaze"])
def test_the_chance_of_a_value_is_the_area_below_it(kind):
    readout = made(kind, n_channels=1)
    parameters, line = readout(STATE)[:1, :1], torch.linspace(-30, 30, 6001)
    each = parameters.expand(1, len(line), 1, parameters.shape[3])
    density = torch.exp(-readout.nll(each, line[None, :, None]))[0, :, 0]
    chance, variance = readout.cdf(each, line[None, :, None])
    assert torch.allclose(chance[0, :, 0], density.cumsum(0) * 0.01, atol=6e-3)
    spread = (density * (line - readout.mean(parameters).item()) ** 2).sum() * 0.01
    assert variance[0, 0, 0].item() == pytest.approx(spread.item(), rel=0.01)
