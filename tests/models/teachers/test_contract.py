"""What every teacher must do."""

import importlib.util
from functools import cache
from pathlib import Path

import pytest
import torch

from neuroloom.models.teachers import kinds, sampled

NEEDS = {"causal_lm": "transformers"}


@cache
def example(kind):
    if kind in NEEDS and importlib.util.find_spec(NEEDS[kind]) is None:
        pytest.skip(f"{NEEDS[kind]} is not installed")
    return kinds(kind).example()


def reading(teacher, n=3, length=6):
    return teacher.read(n, length, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", kinds.names())
def test_it_reads_symbols_it_knows(kind):
    teacher = example(kind)
    symbols = reading(teacher).symbols_BT
    assert symbols.shape == (3, 6)
    assert 0 <= int(symbols.min()) <= int(symbols.max()) < teacher.n_inputs


@pytest.mark.parametrize("kind", kinds.names())
def test_the_same_seed_reads_the_same(kind):
    assert torch.equal(reading(example(kind)).symbols_BT, reading(example(kind)).symbols_BT)


@pytest.mark.parametrize("kind", kinds.names())
def test_it_shows_every_layer_step_by_step(kind):
    teacher = example(kind)
    watched = teacher.watch(reading(teacher).symbols_BT)
    assert tuple(watched.states) == teacher.layers
    assert all(state.shape[:2] == (3, 6) and state.isfinite().all() for state in watched.states.values())


@pytest.mark.parametrize("kind", kinds.names())
def test_it_answers_with_a_distribution(kind):
    teacher = example(kind)
    log_prob = teacher.watch(reading(teacher).symbols_BT).log_prob_BTV
    assert log_prob.shape == (3, 6, teacher.n_outputs)
    assert log_prob.exp().sum(-1) == pytest.approx(torch.ones(3, 6), abs=1e-5)


@pytest.mark.parametrize("kind", kinds.names())
def test_attention_looks_back_only_and_sums_to_one(kind):
    teacher = example(kind)
    for attention in teacher.watch(reading(teacher).symbols_BT, attention=True).attention.values():
        assert attention.sum(-1) == pytest.approx(torch.ones(attention.shape[:3]), abs=1e-5)
        assert not attention.triu(1).any()


@pytest.mark.parametrize("kind", kinds.names())
def test_what_it_says_does_not_depend_on_what_comes_later(kind):
    teacher = example(kind)
    symbols = reading(teacher).symbols_BT
    later = symbols.clone()
    later[:, 4:] = (later[:, 4:] + 1) % teacher.n_inputs
    before, after = teacher.watch(symbols).log_prob_BTV[:, :4], teacher.watch(later).log_prob_BTV[:, :4]
    assert before == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize("kind", kinds.names())
def test_an_oracle_is_never_worse_informed_than_a_distribution(kind):
    teacher = example(kind)
    if teacher.truth is None:
        return
    read = reading(teacher)
    oracle = teacher.truth(read.symbols_BT)
    assert oracle.log_prob_BTV.exp().sum(-1) == pytest.approx(torch.ones(3, 6).double())
    assert oracle.posterior_BTZ.sum(-1) == pytest.approx(torch.ones(3, 6).double())
    assert read.topic_BT.max() < oracle.posterior_BTZ.shape[-1]


@pytest.mark.parametrize("kind", kinds.names())
def test_a_layer_it_does_not_have_is_named(kind):
    teacher = example(kind)
    with pytest.raises(ValueError, match=f"no layer 'nowhere'; it has {teacher.layers[0]}"):
        teacher.watch(reading(teacher).symbols_BT, layers=("nowhere",))


@pytest.mark.parametrize("kind", kinds.names())
def test_longer_than_its_context_is_refused(kind):
    teacher = example(kind)
    with pytest.raises(ValueError, match=f"the {teacher.context} that"):
        teacher.read(1, teacher.context + 1, torch.Generator())


def test_behaviour_is_drawn_from_the_distribution():
    log_prob = torch.tensor([0.5, 0.25, 0.25]).log().expand(100, 100, 3)
    drawn = sampled(log_prob, torch.Generator().manual_seed(0))
    assert torch.bincount(drawn.flatten()) / 10_000 == pytest.approx(torch.tensor([0.5, 0.25, 0.25]), abs=0.02)


def test_a_file_dropped_in_is_a_teacher(tmp_path, monkeypatch):
    (tmp_path / "parrot.py").write_text("def example():\n    return 'says what it hears'\n")
    monkeypatch.setattr(kinds, "path", [*kinds.path, str(tmp_path)])
    monkeypatch.setattr("neuroloom.models.teachers.__path__", [*kinds.path])
    assert kinds("parrot").example() == "says what it hears"


def test_every_file_in_the_folder_is_listed():
    folder = Path(__file__).parents[3] / "models" / "teachers"
    assert kinds.names() == tuple(sorted(f.stem for f in folder.glob("*.py") if not f.stem.startswith("_")))


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(ValueError, match="no teacher 'oracle'; there are: causal_lm, characters"):
        kinds("oracle")


@pytest.mark.parametrize("kind", ["hidden_markov", "state_space", "dialect", "characters", "toggle"])
def test_settings_that_cannot_be_are_refused_before_it_trains(kind):
    with pytest.raises(ValueError, match=r"^steps = 0; 1 or more is wanted$"):
        kinds(kind).Settings(steps=0)


def test_heads_share_the_width_of_a_transformer_and_mean_nothing_to_a_state_space():
    with pytest.raises(ValueError, match="width = 18; a multiple of heads = 4 is wanted"):
        kinds("hidden_markov").Settings(width=18)
    assert kinds("state_space").Settings(width=18).width == 18


@pytest.mark.parametrize(
    ("last", "n_inputs", "told"),
    [
        (torch.nn.Linear(8, 4), 6, r"does not read symbols up to 5 \(n_inputs\): index out of range"),
        (torch.nn.LSTM(8, 4), 5, "answers with a tuple; `logits`, which takes a tensor from it, is wanted"),
    ],
)
def test_a_module_that_reads_or_answers_otherwise_is_refused(last, n_inputs, told):
    network = torch.nn.Sequential(torch.nn.Embedding(5, 8), last)
    with pytest.raises(ValueError, match=told):
        kinds("module").make(kinds("module").Settings(network=network, layers=("0",), n_inputs=n_inputs, n_outputs=4))


def test_text_that_is_too_short_to_be_parted_is_refused():
    with pytest.raises(ValueError, match=r"characters = 500 and taught = 0\.3: no text to be taught"):
        kinds("characters").make(kinds("characters").Settings(characters=500))


@pytest.mark.parametrize(
    ("layers", "n_outputs", "told"),
    [
        (("1",), 3, r"answers with \(2, 3, 4\); \(2, 3, 3\) is wanted"),
        ((), 4, "one that is gone through is wanted"),
        (("2",), 4, r"layer '2' puts out \(2, 3\); \(2, 3, features\) is wanted"),
        (("3",), 4, "layer '3' did nothing while the module read"),
    ],
)
def test_a_module_of_another_shape_is_refused(layers, n_outputs, told):
    class Odd(torch.nn.Sequential):
        def forward(self, symbols):
            states = self[1](self[0](symbols))
            self[2](states[..., 0])
            return states

    network = Odd(torch.nn.Embedding(5, 8), torch.nn.Linear(8, 4), torch.nn.Identity(), torch.nn.Identity())
    with pytest.raises(ValueError, match=told):
        kinds("module").make(kinds("module").Settings(network=network, layers=layers, n_inputs=5, n_outputs=n_outputs))
