"""A language model that reads what a decoder says: it fills in what is not seen, and never reads a symbol itself."""

import pytest
import torch

from neuroloom.pipeline.studies._language_model import LanguageModel, Sayings, nats, taught, told

TURNS = torch.tensor([[0, 1] * 6, [1, 0] * 6] * 20)  # two symbols that take turns
SHARE = torch.tensor([0.5, 0.5]).log()


def evidence_of(symbols, strength=4.0, spread=1.0):
    generator = torch.Generator().manual_seed(1)
    clear = strength * torch.nn.functional.one_hot(symbols, 2).float()
    return clear + spread * torch.randn(clear.shape, generator=generator)


@pytest.fixture(scope="module", params=[False, True], ids=["before", "whole"])
def model(request):
    evidence = evidence_of(TURNS)
    return taught(TURNS, Sayings.of(evidence, TURNS), SHARE, (evidence, TURNS), ahead=request.param)


def test_it_fills_in_what_is_not_seen(model):
    evidence = evidence_of(TURNS)
    evidence[:, 5] = 0
    assert float(nats(told(model, evidence, 1.0)[:, 5:6], TURNS[:, 5:6])) < 0.2


def test_only_a_model_of_the_whole_sequence_knows_the_first_symbol(model):
    evidence = evidence_of(TURNS)
    assert (float(nats(model(evidence)[:, :1], TURNS[:, :1])) < 0.2) == (len(model.ways) == 2)


@pytest.mark.parametrize("ahead", [False, True])
def test_what_is_expected_of_a_symbol_does_not_rest_on_its_own_evidence(ahead):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LanguageModel(SHARE, ahead=ahead).eval()
    evidence = evidence_of(TURNS)
    changed = evidence.clone()
    changed[:, 5] += torch.tensor([3.0, -3.0])
    apart = (model(evidence) - model(changed)).abs().amax(dim=(0, 2)) > 1e-6
    assert apart.tolist() == [step > 5 or (ahead and step < 5) for step in range(12)]


def test_evidence_is_drawn_from_moments_of_the_same_symbol():
    symbols = torch.tensor([[0, 2, 0], [2, 0, 0]])
    evidence = torch.stack([torch.full((2, 3), value) for value in (1.0, 2.0, 3.0)], dim=-1) * (symbols[..., None] + 1)
    sayings = Sayings.of(evidence, symbols)
    drawn = sayings.drawn(torch.tensor([[0, 1, 2]] * 50), torch.Generator().manual_seed(0))
    assert torch.equal(drawn[:, 0], torch.tensor([1.0, 2.0, 3.0]).expand(50, 3))
    assert torch.equal(drawn[:, 2], torch.tensor([3.0, 6.0, 9.0]).expand(50, 3))
    assert not drawn[:, 1].any()  # a symbol that was never recorded: nothing is said
