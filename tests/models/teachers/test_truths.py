"""What is known of the teachers, checked on cases small enough to do by hand."""

from itertools import product

import pytest
import torch

from neuroloom.models.teachers import causal_lm, characters, hidden_markov, module, toggle
from neuroloom.models.teachers._hidden_markov_language import Language

TINY = hidden_markov.Settings(
    n_symbols=6, n_topics=2, successors=2, width=16, blocks=1, heads=2, context=12, steps=3, batch=4
)


def two_topics(stay=0.9):
    """In topic 0 a symbol is followed by the other one, in topic 1 by itself."""
    return Language(next_ZVV=torch.tensor([[[0.0, 1], [1, 0]], [[1, 0], [0, 1]]], dtype=torch.float64), stay=stay)


def test_a_repeated_symbol_proves_its_topic():
    posterior = two_topics().posterior(torch.tensor([[0, 0, 1]]))
    assert posterior[0].tolist() == [[0.5, 0.5], [0, 1], [1, 0]]


def test_the_best_prediction_weighs_the_topics():
    language = two_topics()
    symbols = torch.tensor([[0, 0]])
    best = language.next_log_prob(symbols, language.posterior(symbols)).exp()
    assert best[0, 1].tolist() == pytest.approx([0.9, 0.1])


def test_what_is_heard_badly_is_known_as_all_sequences_together_say():
    """Against the sum over every sequence of symbols and topics."""
    language = Language.drawn(n_symbols=3, n_topics=2, successors=2, stay=0.8, seed=3)
    evidence = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def chances(n_steps):
        """Chance of each symbol at each of the first steps (n, V) from the evidence of those steps."""
        found = torch.zeros(n_steps, 3, dtype=torch.float64)
        for symbols in product(range(3), repeat=n_steps):
            for topics in product(range(2), repeat=n_steps):
                chance = torch.exp(evidence[0, range(n_steps), symbols].sum())
                for t in range(1, n_steps):
                    kept = 0.8 if topics[t] == topics[t - 1] else 0.2
                    chance = chance * kept * language.next_ZVV[topics[t], symbols[t - 1], symbols[t]]
                found[range(n_steps), symbols] += chance
        return found / found.sum(dim=1, keepdim=True)

    past, whole = (each[0].exp() for each in language.heard(evidence))
    assert whole.numpy() == pytest.approx(chances(4).numpy(), abs=1e-9)
    assert past.numpy() == pytest.approx(torch.stack([chances(t + 1)[-1] for t in range(4)]).numpy(), abs=1e-9)


def test_the_floor_of_a_known_language_is_its_entropy():
    """After the first step the topic is known, so what is left is whether it stays."""
    entropy = -(0.9 * torch.log(torch.tensor(0.9)) + 0.1 * torch.log(torch.tensor(0.1)))
    found = two_topics().floor_nats(4000, 40, torch.Generator().manual_seed(0))
    assert found == pytest.approx((39 * float(entropy) + 0.693) / 40, abs=0.01)


def test_the_default_language_has_the_floor_that_is_stated():
    language = Language.drawn(n_symbols=32, n_topics=12, successors=6, stay=0.985, seed=0)
    assert language.floor_nats(500, 64, torch.Generator().manual_seed(1)) == pytest.approx(1.657, abs=0.02)
    assert language.bigram_nats() == pytest.approx(2.985, abs=0.02)


def test_toggled_bits_follow_the_pulses():
    symbols = torch.tensor([[1, 0, 1, 2, 3]])
    assert toggle.toggled(symbols, 2).tolist() == [[1, 1, 0, 2, 1]]


def test_independent_bits_make_one_distribution():
    found = toggle.joint_log_prob(torch.tensor([[[0.0, 100.0]]])).exp()
    assert found[0, 0].tolist() == pytest.approx([0, 0, 0.5, 0.5])


def test_a_trained_teacher_is_kept_and_opened_again(tmp_path):
    first = hidden_markov.make(TINY, cache=tmp_path)
    steps = []
    again = hidden_markov.make(TINY, cache=tmp_path, progress=lambda *told: steps.append(told))
    symbols = first.read(2, 5, torch.Generator().manual_seed(0)).symbols_BT
    assert steps == []
    assert torch.equal(first.watch(symbols).log_prob_BTV, again.watch(symbols).log_prob_BTV)


def test_a_damaged_cache_is_made_again(tmp_path):
    hidden_markov.make(TINY, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"not tensors")
    assert hidden_markov.make(TINY, cache=tmp_path).name == "hidden_markov"


def test_other_settings_are_another_teacher():
    other = hidden_markov.Settings(**{**TINY.__dict__, "seed": 1})
    assert hidden_markov.make(TINY).digest != hidden_markov.make(other).digest


def test_text_that_was_taught_is_not_read():
    settings = characters.Settings(taught=0.5)
    taught, read = characters._parts(torch.arange(4 * characters.BLOCK), settings)
    assert not set(torch.cat(taught).tolist()) & set(torch.cat(read).tolist())
    assert len(torch.cat(taught)) == len(torch.cat(read))


def test_pieces_of_text_do_not_overlap():
    pieces = characters._slices([torch.arange(10), torch.arange(100, 111)], 6, 3, torch.Generator().manual_seed(0))
    assert len(set(pieces.flatten().tolist())) == 18


def test_more_text_than_there_is_is_refused():
    with pytest.raises(ValueError, match="3 pieces of 3 characters; 4 were asked for"):
        characters._slices([torch.arange(10)], 4, 3, torch.Generator())


def test_a_modules_layers_are_named_where_one_is_missing():
    network = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3))
    with pytest.raises(ValueError, match="no layer '2'; it has 0, 1"):
        module.make(module.Settings(network=network, layers=("2",), n_inputs=3, n_outputs=3))


def test_a_module_is_recorded_where_it_was_asked():
    teacher = module.example()
    symbols = torch.tensor([[0, 1]])
    states = teacher.watch(symbols).states
    assert states["2"] == pytest.approx(states["1"].tanh())


def test_a_folder_without_a_model_is_refused(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match=r"no causal language model; a folder with config\.json"):
        causal_lm.make(causal_lm.Settings(path=str(tmp_path)))
