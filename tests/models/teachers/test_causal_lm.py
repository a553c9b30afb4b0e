"""Language models on disk: tiny ones with random weights, saved here, whole or spoiled."""

import pytest
import torch

from neuroloom.models.teachers import causal_lm

GPT = {"n_positions": 12, "n_embd": 8, "n_layer": 2, "n_head": 2}
BERT = {
    "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
    "max_position_embeddings": 16,
}  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    transformers = pytest.importorskip("transformers")

    def save(name, **settings):
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(vocab_size=11, initializer_range=1.0, **settings)
        network = {"GPT2": "GPT2LMHeadModel", "Bert": "BertLMHeadModel", "Mamba": "MambaForCausalLM"}[name]
        getattr(transformers, network)(config).save_pretrained(tmp_path)
        return tmp_path

    return save


def refused(folder, told, **settings):
    with pytest.raises(ValueError, match=told):
        causal_lm.make(causal_lm.Settings(path=str(folder), **settings))


def test_one_whose_weights_are_missing_is_not_filled_up_with_random_ones(saved):
    from safetensors.torch import load_file, save_file

    folder = saved("GPT2", **GPT)
    weights = load_file(folder / "model.safetensors")
    weights.pop("transformer.h.1.mlp.c_fc.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, r"no weights for transformer\.h\.1\.mlp\.c_fc\.weight")


def test_one_that_looks_ahead_is_refused(saved):
    refused(saved("Bert", **BERT), "its answers depend on what comes later; a causal language model")


def test_one_without_attention_is_read(saved):
    folder = saved("Mamba", hidden_size=8, num_hidden_layers=2, state_size=4)
    teacher = causal_lm.make(causal_lm.Settings(path=str(folder), context=8))
    watched = teacher.watch(torch.tensor([[1, 2, 3]]), attention=True)
    assert (tuple(watched.states), watched.attention) == (("block0", "block1"), {})


def test_one_that_is_damaged_or_of_another_kind_is_one_line(saved):
    folder = saved("GPT2", **GPT)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:3000])
    refused(folder, r"cannot be read as a causal language model \(Error while .* not fully covered\)$")


def test_text_takes_a_file_and_a_tokenizer(saved, tmp_path):
    folder = saved("GPT2", **GPT)
    refused(folder, "nowhere.txt: no such file; a text to read is wanted", text="nowhere.txt")
    (tmp_path / "a.txt").write_text("a b c")
    refused(folder, "no tokenizer beside the weights", text=str(tmp_path / "a.txt"))
